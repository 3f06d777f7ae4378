//! The oldest-first order over all inactive connections.
//!
//! Its links stand apart from the records, eight bytes to a slot: a hand-out unlinks a connection from between two
//! others that have nothing to do with it, and their whole records would have to come into the processor's cache.

use crate::slots::{Linked, Links, List, NONE};

#[derive(Default)]
pub(crate) struct Lru {
    links: Vec<Links>,
    kept: Order,
    /// Those over a lowered limit; all are older than those kept.
    condemned: Order,
}

struct Order {
    list: List,
    len: usize,
}

impl Lru {
    pub(crate) fn with_capacity(slots: usize) -> Lru {
        Lru { links: Vec::with_capacity(slots), ..Lru::default() }
    }

    #[inline]
    pub(crate) fn push_newest(&mut self, slot: u32) {
        if self.links.len() <= slot as usize {
            self.links.resize(slot as usize + 1, Links { newer: NONE, older: NONE });
        }
        self.kept.list.push_newest(&mut self.links, slot);
        self.kept.len += 1;
    }

    /// Takes out a slot that is in the order; whether it was condemned has to be remembered by the caller.
    #[inline]
    pub(crate) fn remove(&mut self, slot: u32, condemned: bool) {
        let order = if condemned { &mut self.condemned } else { &mut self.kept };
        order.list.remove(&mut self.links, slot);
        order.len -= 1;
    }

    pub(crate) fn oldest(&self) -> Option<u32> {
        [self.condemned.list, self.kept.list].into_iter().find(|list| !list.is_empty()).map(|list| list.oldest)
    }

    /// Condemns the oldest if more than `keep` are not condemned; which one that is.
    pub(crate) fn condemn_over(&mut self, keep: usize) -> Option<u32> {
        let slot = Some(self.kept.list.oldest).filter(|_| self.kept.len > keep)?;
        self.remove(slot, false);
        self.condemned.list.push_newest(&mut self.links, slot);
        self.condemned.len += 1;
        Some(slot)
    }

    /// How many are condemned. They are the oldest.
    #[inline]
    pub(crate) fn condemned(&self) -> usize {
        self.condemned.len
    }

    /// How many are not condemned.
    #[inline]
    pub(crate) fn kept(&self) -> usize {
        self.kept.len
    }
}

impl Default for Order {
    fn default() -> Order {
        Order { list: List::EMPTY, len: 0 }
    }
}

impl Linked for Vec<Links> {
    #[inline]
    fn links(&self, slot: u32) -> Links {
        self[slot as usize]
    }

    #[inline]
    fn links_mut(&mut self, slot: u32) -> &mut Links {
        &mut self[slot as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn the_order_and_the_surplus_are_those_of_a_plain_list() {
        for seed in 0..20 {
            let (mut random, mut lru) = (Random::new(seed), Lru::default());
            // Slots, oldest first, and whether they are condemned.
            let mut naive: Vec<(u32, bool)> = Vec::new();
            for _ in 0..5_000 {
                let slot = random.below(100) as u32;
                match naive.iter().position(|&(s, _)| s == slot) {
                    Some(at) => {
                        let (_, condemned) = naive.remove(at);
                        lru.remove(slot, condemned);
                    }
                    None => {
                        lru.push_newest(slot);
                        naive.push((slot, false));
                    }
                }
                if random.below(50) == 0 {
                    let keep = random.below(100);
                    while let Some(condemned) = lru.condemn_over(keep) {
                        let oldest = naive.iter_mut().find(|(_, condemned)| !condemned).expect("one is kept");
                        assert_eq!(oldest.0, condemned, "seed {seed}");
                        oldest.1 = true;
                    }
                    assert!(lru.kept() <= keep, "seed {seed}");
                }
                assert_eq!(lru.oldest(), naive.first().map(|&(slot, _)| slot), "seed {seed}");
                assert_eq!(lru.condemned(), naive.iter().filter(|(_, condemned)| *condemned).count(), "seed {seed}");
                assert_eq!(lru.condemned() + lru.kept(), naive.len(), "seed {seed}");
                let [kept, condemned] = [&lru.kept, &lru.condemned].map(|order| order.list.iter(&lru.links));
                assert!(kept.chain(condemned).eq(naive.iter().rev().map(|&(slot, _)| slot)), "seed {seed}");
            }
        }
    }
}
