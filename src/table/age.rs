//! The oldest-first order over all inactive connections.
//!
//! Its links stand apart from the records, eight bytes to a slot: a hand-out unlinks a connection from between two
//! others that have nothing to do with it, and their whole records would have to come into the processor's cache.

use crate::table::slots::{Linked, Links, List, NONE, Standing};

#[derive(Default)]
pub(crate) struct Ages {
    links: Vec<Links>,
    /// One order for each standing. That of the condemned ones is the one in which they were condemned.
    orders: [Order; 3],
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
    pub(crate) fn push_newest(&mut self, slot: u32, standing: Standing) {
        if self.links.len() <= slot as usize {
            self.links.resize(slot as usize + 1, Links { newer: NONE, older: NONE });
        }
        let order = &mut self.orders[standing as usize];
        order.list.push_newest(&mut self.links, slot);
        order.len += 1;
    }

    /// Puts a slot in next to `older`, on its newer side; at the oldest end if that is [`NONE`].
    pub(crate) fn insert(&mut self, slot: u32, standing: Standing, older: u32) {
        let order = &mut self.orders[standing as usize];
        order.list.insert(&mut self.links, slot, older);
        order.len += 1;
    }

    /// Takes out a slot that is here; its standing is for the caller to remember.
    #[inline]
    pub(crate) fn remove(&mut self, slot: u32, standing: Standing) {
        let order = &mut self.orders[standing as usize];
        order.list.remove(&mut self.links, slot);
        order.len -= 1;
    }

    #[inline]
    pub(crate) fn oldest(&self, standing: Standing) -> Option<u32> {
        Some(self.orders[standing as usize].list.oldest).filter(|&slot| slot != NONE)
    }

    #[inline]
    pub(crate) fn len(&self, standing: Standing) -> usize {
        self.orders[standing as usize].len
    }

    /// All of this standing, oldest first.
    pub(crate) fn iter(&self, standing: Standing) -> impl Iterator<Item = u32> {
        let list = self.orders[standing as usize].list;
        std::iter::successors(self.oldest(standing), move |&slot| list.newer(&self.links, slot))
    }

    /// All of this standing, newest first.
    pub(crate) fn newest_first(&self, standing: Standing) -> impl Iterator<Item = u32> {
        let list = self.orders[standing as usize].list;
        let newest = Some(list.newest).filter(|&slot| slot != NONE);
        std::iter::successors(newest, move |&slot| list.older(&self.links, slot))
    }

    /// One more than the highest slot that ever was inactive.
    pub(crate) fn slots_end(&self) -> usize {
        self.links.len()
    }

    /// Gives back the memory that isn't needed for slots below `end`.
    pub(crate) fn shrink_to_fit(&mut self, end: usize) {
        self.links.truncate(end);
        self.links.shrink_to_fit();
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
    fn each_order_is_that_of_a_plain_list() {
        let all = [Standing::Kept, Standing::Promised, Standing::Condemned];
        for seed in 0..5 {
            let (mut random, mut ages, mut naive) = (Random::new(seed), Ages::default(), [const { Vec::new() }; 3]);
            for _ in 0..2_000 {
                let (slot, to) = (random.below(100) as u32, all[random.below(3)]);
                for from in all {
                    if let Some(at) = naive[from as usize].iter().position(|&s| s == slot) {
                        naive[from as usize].remove(at);
                        ages.remove(slot, from);
                    }
                }
                if random.below(4) > 0 {
                    naive[to as usize].push(slot);
                    ages.push_newest(slot, to);
                }
                for standing in all {
                    let expected = &naive[standing as usize];
                    assert!(ages.iter(standing).eq(expected.iter().copied()), "seed {seed}");
                    assert_eq!(
                        (ages.len(standing), ages.oldest(standing)),
                        (expected.len(), expected.first().copied())
                    );
                }
            }
        }
    }
}
