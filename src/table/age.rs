//! The oldest-first order over all inactive connections.
//!
//! Its links stand apart from the records, eight bytes to a slot: a hand-out unlinks a connection from between two
//! others that have nothing to do with it, and their whole records would have to come into the processor's cache.

use crate::table::slots::{Linked, Links, List, NONE};
#[derive(Default)]
pub(crate) struct Ages {
    links: Vec<Links>,
    kept: Order,
    /// Those over a lowered limit, in the order in which they were condemned.
    condemned: Order,
}

#[derive(Default)]
struct Order {
    list: List,
    len: usize,
}

impl Ages {
    pub(crate) fn with_capacity(slots: usize) -> Ages {
        Ages { links: Vec::with_capacity(slots), ..Ages::default() }
    }

    #[inline]
    pub(crate) fn push_newest(&mut self, slot: u32) {
        if self.links.len() <= slot as usize {
            self.links.resize(slot as usize + 1, Links { newer: NONE, older: NONE });
        }
        self.kept.list.push_newest(&mut self.links, slot);
        self.kept.len += 1;
    }

    /// One more than the highest slot that ever was inactive.
    pub(crate) fn slots_end(&self) -> usize {
        self.links.len()
    }

    /// Takes out a slot that is here; whether it is condemned is for the caller to remember.
    #[inline]
    pub(crate) fn remove(&mut self, slot: u32, condemned: bool) {
        let order = if condemned { &mut self.condemned } else { &mut self.kept };
        order.list.remove(&mut self.links, slot);
        order.len -= 1;
    }

    /// Moves a slot that is kept to those condemned.
    pub(crate) fn condemn(&mut self, slot: u32) {
        self.remove(slot, false);
        self.condemned.list.push_newest(&mut self.links, slot);
        self.condemned.len += 1;
    }

    #[inline]
    pub(crate) fn oldest_kept(&self) -> Option<u32> {
        Some(self.kept.list.oldest).filter(|&slot| slot != NONE)
    }

    #[inline]
    pub(crate) fn oldest_condemned(&self) -> Option<u32> {
        Some(self.condemned.list.oldest).filter(|&slot| slot != NONE)
    }

    /// How many are condemned.
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
    fn room_is_made_at_once_for_as_many_as_announced() {
        assert_eq!(Ages::with_capacity(100).links.capacity(), 100);
    }

    #[test]
    fn both_orders_are_those_of_plain_lists() {
        for seed in 0..5 {
            let (mut random, mut ages) = (Random::new(seed), Ages::default());
            let (mut kept, mut condemned) = (Vec::new(), Vec::new());
            for _ in 0..2_000 {
                let slot = random.below(100) as u32;
                let at = |list: &Vec<u32>| list.iter().position(|&s| s == slot);
                match (at(&kept), at(&condemned)) {
                    (Some(at), _) if random.below(4) == 0 => {
                        condemned.push(kept.remove(at));
                        ages.condemn(slot);
                    }
                    (Some(at), _) => {
                        kept.remove(at);
                        ages.remove(slot, false);
                    }
                    (_, Some(at)) => {
                        condemned.remove(at);
                        ages.remove(slot, true);
                    }
                    _ => {
                        kept.push(slot);
                        ages.push_newest(slot);
                    }
                }
                for (order, naive) in [(&ages.kept, &kept), (&ages.condemned, &condemned)] {
                    assert!(order.list.iter(&ages.links).eq(naive.iter().rev().copied()), "seed {seed}");
                    assert_eq!(order.len, naive.len(), "seed {seed}");
                }
                assert_eq!(ages.oldest_kept(), kept.first().copied(), "seed {seed}");
                assert_eq!(ages.oldest_condemned(), condemned.first().copied(), "seed {seed}");
            }
        }
    }
}
