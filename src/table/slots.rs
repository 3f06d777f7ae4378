//! The connections, and what is known of each, by slot. A slot is the number of a connection in these tables.

use crate::table::lists::linked;
use crate::table::record::{Record, Rest};
use slab::Slab;
use std::ops::{Index, IndexMut};

/// Three tables with the same slots: the connections, their records, and the rest. The slab of connections knows which
/// slots are vacant. The connections have a table of their own, so that a probe reads nothing else.
pub(crate) struct Slots<C> {
    /// The record of a vacant slot is [`Record::VACANT`].
    records: Vec<Record>,
    rest: Vec<Rest>,
    conns: Slab<C>,
}

/// By how many entries a full table of this length grows: by a quarter. A table that doubles has room for twice what it
/// needs after each growth.
pub(crate) fn more_for(len: usize) -> usize {
    (len / 4).max(4)
}

/// The records, seen as a list linked by [`Record::age`] instead of by [`Record::links`].
pub(crate) struct ByAge<'a>(&'a mut [Record]);

impl<C> Slots<C> {
    pub(crate) fn with_capacity(slots: usize) -> Slots<C> {
        Slots { records: Vec::with_capacity(slots), rest: Vec::with_capacity(slots), conns: Slab::with_capacity(slots) }
    }

    pub(crate) fn len(&self) -> usize {
        self.conns.len()
    }

    /// The slot of the next connection. It fits: tokens have room for 2^24 slots at most.
    pub(crate) fn vacant_key(&self) -> u32 {
        self.conns.vacant_key() as u32
    }

    pub(crate) fn insert(&mut self, record: Record, rest: Rest, conn: C) -> u32 {
        if self.conns.len() == self.conns.capacity() {
            self.make_room();
        }
        let slot = self.conns.insert(conn);
        if self.records.len() <= slot {
            self.records.resize(slot + 1, Record::VACANT);
            self.rest.resize_with(slot + 1, || Rest::VACANT);
        }
        (self.records[slot], self.rest[slot]) = (record, rest);
        slot as u32
    }

    #[cold]
    fn make_room(&mut self) {
        self.conns.reserve_exact(more_for(self.conns.len()));
        let more = self.conns.capacity() - self.records.len();
        self.records.reserve_exact(more);
        self.rest.reserve_exact(more);
    }

    pub(crate) fn remove(&mut self, slot: u32) -> (Record, Rest, C) {
        let conn = self.conns.remove(slot as usize);
        let rest = std::mem::replace(&mut self.rest[slot as usize], Rest::VACANT);
        (std::mem::replace(&mut self.records[slot as usize], Record::VACANT), rest, conn)
    }

    /// The record of a slot, which may be vacant.
    #[inline]
    pub(crate) fn get(&self, slot: u32) -> Option<&Record> {
        self.records.get(slot as usize)
    }

    pub(crate) fn is_taken(&self, slot: u32) -> bool {
        self.conns.contains(slot as usize)
    }

    #[inline]
    pub(crate) fn conn(&self, slot: u32) -> &C {
        &self.conns[slot as usize]
    }

    #[inline]
    pub(crate) fn conn_mut(&mut self, slot: u32) -> &mut C {
        &mut self.conns[slot as usize]
    }

    #[inline]
    pub(crate) fn rest(&self, slot: u32) -> &Rest {
        &self.rest[slot as usize]
    }

    #[inline]
    pub(crate) fn rest_mut(&mut self, slot: u32) -> &mut Rest {
        &mut self.rest[slot as usize]
    }

    /// For the lists in the order of age.
    #[inline]
    pub(crate) fn by_age(&mut self) -> ByAge<'_> {
        ByAge(&mut self.records)
    }

    /// One more than the highest slot in the tables, taken or vacant.
    pub(crate) fn end(&self) -> usize {
        self.records.len()
    }

    /// Gives back the memory that isn't needed for slots below `end`.
    pub(crate) fn shrink_to_fit(&mut self, end: usize) {
        self.records.truncate(end);
        self.records.shrink_to_fit();
        self.rest.truncate(end);
        self.rest.shrink_to_fit();
        self.conns.shrink_to_fit();
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

// By default, a list of slots goes through `links`. Lists in the order of age go through `age`.
linked!([C] |self: Slots<C>, slot| self[slot].links);
linked!(|self: ByAge<'_>, slot| self.0[slot as usize].age);
