//! The oldest-first order over all inactive connections.

use crate::table::lists::List;
use crate::table::record::Standing;
use crate::table::slots::Slots;

/// An order for each standing. Connections are in it in the order in which they became inactive; condemned ones in the
/// order in which they were condemned.
#[derive(Default)]
pub(crate) struct Ages([Order; 3]);

/// The connections of one standing.
#[derive(Default)]
struct Order {
    list: List,
    len: usize,
}

impl Ages {
    #[inline(always)]
    pub(crate) fn push_newest<C>(&mut self, slots: &mut Slots<C>, slot: u32, standing: Standing) {
        let order = &mut self.0[standing as usize];
        order.list.push_newest(&mut slots.by_age(), slot);
        order.len += 1;
    }

    /// Puts a slot into the middle, as [`List::insert`] does.
    pub(crate) fn insert<C>(&mut self, slots: &mut Slots<C>, slot: u32, standing: Standing, older: u32) {
        let order = &mut self.0[standing as usize];
        order.list.insert(&mut slots.by_age(), slot, older);
        order.len += 1;
    }

    /// Takes out a slot that has this standing.
    #[inline(always)]
    pub(crate) fn remove<C>(&mut self, slots: &mut Slots<C>, slot: u32, standing: Standing) {
        let order = &mut self.0[standing as usize];
        order.list.remove(&mut slots.by_age(), slot);
        order.len -= 1;
    }

    #[inline]
    pub(crate) fn oldest(&self, standing: Standing) -> Option<u32> {
        self.0[standing as usize].list.oldest()
    }

    #[inline]
    pub(crate) fn len(&self, standing: Standing) -> usize {
        self.0[standing as usize].len
    }

    /// All of this standing, oldest first.
    pub(crate) fn iter<C>(&self, slots: &Slots<C>, standing: Standing) -> impl Iterator<Item = u32> {
        std::iter::successors(self.oldest(standing), move |&slot| self.newer(slots, slot, standing))
    }

    #[inline]
    pub(crate) fn newest(&self, standing: Standing) -> Option<u32> {
        self.0[standing as usize].list.newest()
    }

    /// The one of this standing after `slot`, towards the newest.
    pub(crate) fn newer<C>(&self, slots: &Slots<C>, slot: u32, standing: Standing) -> Option<u32> {
        (slot != self.0[standing as usize].list.newest).then(|| slots[slot].age.newer)
    }

    /// The one of this standing after `slot`, towards the oldest.
    pub(crate) fn older<C>(&self, slots: &Slots<C>, slot: u32, standing: Standing) -> Option<u32> {
        (slot != self.0[standing as usize].list.oldest).then(|| slots[slot].age.older)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Owner;
    use crate::table::clock::Tick;
    use crate::table::record::{Record, Rest};
    use crate::testing::Random;

    #[test]
    fn each_order_is_that_of_a_plain_list() {
        let all = [Standing::Kept, Standing::Promised, Standing::Condemned];
        let mut slots = Slots::with_capacity(0);
        (0..100).for_each(|_| {
            slots.insert(Record::new(Owner(0)), Rest::new(Tick::FIRST), ());
        });
        for seed in 0..5 {
            let (mut random, mut ages, mut naive) = (Random::new(seed), Ages::default(), [const { Vec::new() }; 3]);
            for _ in 0..2_000 {
                let (slot, to) = (random.below(100) as u32, all[random.below(3)]);
                for from in all {
                    if let Some(at) = naive[from as usize].iter().position(|&s| s == slot) {
                        naive[from as usize].remove(at);
                        ages.remove(&mut slots, slot, from);
                    }
                }
                if random.below(4) > 0 {
                    naive[to as usize].push(slot);
                    ages.push_newest(&mut slots, slot, to);
                }
                for standing in all {
                    let expected = &naive[standing as usize];
                    assert!(ages.iter(&slots, standing).eq(expected.iter().copied()), "seed {seed}");
                    assert_eq!(
                        (ages.len(standing), ages.oldest(standing)),
                        (expected.len(), expected.first().copied())
                    );
                }
            }
        }
    }
}
