//! The connection records by their slots, and lists of them that are linked through the records themselves.

use crate::table::record::{Record, Rest};
use slab::Slab;
use std::ops::{Index, IndexMut};

/// No slot, bucket or position: the end of a list.
pub(crate) const NONE: u32 = u32::MAX;

/// The records, and under the same numbers the rest of each connection in a slab, which says what slots are vacant.
pub(crate) struct Slots<C> {
    /// Those of vacant slots are [`Record::VACANT`].
    records: Vec<Record>,
    rest: Slab<Rest<C>>,
}

/// The neighbours in a list.
#[derive(Clone, Copy)]
pub(crate) struct Links {
    pub(crate) newer: u32,
    pub(crate) older: u32,
}

/// Where the links of each slot are.
pub(crate) trait Linked {
    fn links(&self, slot: u32) -> Links;
    fn links_mut(&mut self, slot: u32) -> &mut Links;
}

/// By how many a table that is full grows.
pub(crate) fn more_for(len: usize) -> usize {
    (len / 4).max(4)
}

/// The places in the order of age, rather than in the lists of owners and buckets.
pub(crate) struct ByAge<'a>(&'a mut [Record]);

/// A list of slots, newest first. The newest one's `newer` and the oldest one's `older` mean nothing: taking out the
/// newest thus touches no other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    pub(crate) newest: u32,
    pub(crate) oldest: u32,
}

impl<C> Slots<C> {
    pub(crate) fn with_capacity(slots: usize) -> Slots<C> {
        Slots { records: Vec::with_capacity(slots), rest: Slab::with_capacity(slots) }
    }

    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }

    /// The slot of the next connection.
    pub(crate) fn vacant_key(&self) -> usize {
        self.rest.vacant_key()
    }

    pub(crate) fn insert(&mut self, record: Record, rest: Rest<C>) -> u32 {
        if self.rest.len() == self.rest.capacity() {
            self.make_room();
        }
        let slot = self.rest.insert(rest);
        if self.records.len() <= slot {
            self.records.resize(slot + 1, Record::VACANT);
        }
        self.records[slot] = record;
        slot as u32
    }

    /// By a quarter: a table that doubles takes twice what it needs after each growth.
    #[cold]
    fn make_room(&mut self) {
        let more = more_for(self.rest.len());
        self.rest.reserve_exact(more);
        self.records.reserve_exact(self.rest.capacity() - self.records.len());
    }

    pub(crate) fn remove(&mut self, slot: u32) -> (Record, Rest<C>) {
        let rest = self.rest.remove(slot as usize);
        (std::mem::replace(&mut self.records[slot as usize], Record::VACANT), rest)
    }

    /// The record of a slot, which may be vacant.
    #[inline]
    pub(crate) fn get(&self, slot: u32) -> Option<&Record> {
        self.records.get(slot as usize)
    }

    pub(crate) fn try_rest(&self, slot: u32) -> Option<&Rest<C>> {
        self.rest.get(slot as usize)
    }

    #[inline]
    pub(crate) fn rest(&self, slot: u32) -> &Rest<C> {
        &self.rest[slot as usize]
    }

    #[inline]
    pub(crate) fn rest_mut(&mut self, slot: u32) -> &mut Rest<C> {
        &mut self.rest[slot as usize]
    }

    #[inline]
    pub(crate) fn by_age(&mut self) -> ByAge<'_> {
        ByAge(&mut self.records)
    }

    /// One more than the highest slot that ever was taken.
    pub(crate) fn end(&self) -> usize {
        self.records.len()
    }

    /// Gives back the memory that isn't needed for slots below `end`.
    pub(crate) fn shrink_to_fit(&mut self, end: usize) {
        self.records.truncate(end);
        self.records.shrink_to_fit();
        self.rest.shrink_to_fit();
    }
}

impl<C> Index<u32> for Slots<C> {
    type Output = Record;

    #[inline]
    fn index(&self, slot: u32) -> &Record {
        &self.records[slot as usize]
    }
}

impl<C> IndexMut<u32> for Slots<C> {
    #[inline]
    fn index_mut(&mut self, slot: u32) -> &mut Record {
        &mut self.records[slot as usize]
    }
}

impl<C> Linked for Slots<C> {
    #[inline]
    fn links(&self, slot: u32) -> Links {
        self[slot].links
    }

    #[inline]
    fn links_mut(&mut self, slot: u32) -> &mut Links {
        &mut self[slot].links
    }
}

impl Linked for ByAge<'_> {
    #[inline]
    fn links(&self, slot: u32) -> Links {
        self.0[slot as usize].age
    }

    #[inline]
    fn links_mut(&mut self, slot: u32) -> &mut Links {
        &mut self.0[slot as usize].age
    }
}

impl Links {
    pub(crate) const NONE: Links = Links { newer: NONE, older: NONE };
}

impl Default for List {
    fn default() -> List {
        List::EMPTY
    }
}

impl List {
    pub(crate) const EMPTY: List = List { newest: NONE, oldest: NONE };

    pub(crate) fn is_empty(&self) -> bool {
        self.newest == NONE
    }

    #[inline]
    pub(crate) fn push_newest(&mut self, slots: &mut impl Linked, slot: u32) {
        slots.links_mut(slot).older = self.newest;
        match self.newest {
            NONE => self.oldest = slot,
            newest => slots.links_mut(newest).newer = slot,
        }
        self.newest = slot;
    }

    /// Puts `slot` next to `older`, on its newer side; at the oldest end if that is [`NONE`].
    pub(crate) fn insert(&mut self, slots: &mut impl Linked, slot: u32, older: u32) {
        let newer = match older {
            NONE => self.oldest,
            older => self.newer(slots, older).unwrap_or(NONE),
        };
        *slots.links_mut(slot) = Links { newer, older };
        match older {
            NONE => self.oldest = slot,
            older => slots.links_mut(older).newer = slot,
        }
        match newer {
            NONE => self.newest = slot,
            newer => slots.links_mut(newer).older = slot,
        }
    }

    /// Takes `slot`, which is in this list, out of it.
    #[inline]
    pub(crate) fn remove(&mut self, slots: &mut impl Linked, slot: u32) {
        let links = slots.links(slot);
        self.take_out(slots, slot, links);
    }

    /// Takes `slot`, which is in this list with these links, out of it.
    #[inline]
    pub(crate) fn take_out(&mut self, slots: &mut impl Linked, slot: u32, links: Links) {
        let Links { newer, older } = links;
        match (self.newest == slot, self.oldest == slot) {
            (true, true) => *self = List::EMPTY,
            (true, false) => self.newest = older,
            (false, true) => self.oldest = newer,
            (false, false) => {
                slots.links_mut(newer).older = older;
                slots.links_mut(older).newer = newer;
            }
        }
    }

    /// The one after `slot`, towards the oldest.
    pub(crate) fn older(&self, slots: &impl Linked, slot: u32) -> Option<u32> {
        (slot != self.oldest).then(|| slots.links(slot).older)
    }

    /// The one after `slot`, towards the newest.
    pub(crate) fn newer(&self, slots: &impl Linked, slot: u32) -> Option<u32> {
        (slot != self.newest).then(|| slots.links(slot).newer)
    }

    /// All of the list, newest first.
    #[cfg(test)]
    pub(crate) fn iter(&self, slots: &impl Linked) -> impl Iterator<Item = u32> {
        let list = *self;
        std::iter::successors((!list.is_empty()).then_some(list.newest), move |&slot| list.older(slots, slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Owner;
    use crate::table::clock::Tick;
    use crate::testing::Random;

    #[test]
    fn a_list_is_what_a_plain_vector_would_be() {
        let mut slots = Slots::with_capacity(0);
        (0..30).for_each(|_| {
            slots.insert(Record::new(Owner(0)), Rest::new((), Tick::FIRST));
        });
        for seed in 0..20 {
            let (mut random, mut list, mut naive) = (Random::new(seed), List::EMPTY, Vec::new());
            for _ in 0..2_000 {
                let slot = random.below(slots.len()) as u32;
                match naive.iter().position(|&s| s == slot) {
                    Some(at) => {
                        naive.remove(at);
                        list.remove(&mut slots, slot);
                    }
                    None if random.below(2) == 0 => {
                        naive.insert(0, slot);
                        list.push_newest(&mut slots, slot);
                    }
                    None => {
                        let at = random.below(naive.len() + 1);
                        list.insert(&mut slots, slot, naive.get(at).copied().unwrap_or(NONE));
                        naive.insert(at, slot);
                    }
                }
                assert!(list.iter(&slots).eq(naive.iter().copied()), "seed {seed}");
                assert_eq!(list.oldest, naive.last().copied().unwrap_or(NONE), "seed {seed}");
            }
        }
    }
}
