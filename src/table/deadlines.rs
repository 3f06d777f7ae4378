//! A queue of deadlines, earliest first: a binary heap with at most one entry for each slot. There are three such
//! queues:
//!
//! * for inactive connections: when the first of their own deadline and the end of their lifetime comes,
//! * for active connections: the deadline that their owner has set,
//! * for requests: until when they wait, or their places are held.
//!
//! Idle time-outs are not here: connections reach them in the order of [`Ages`](crate::table::age::Ages).
//!
//! A connection's entry may be earlier than its true deadline, never later: it stays when the connection is handed out
//! or given back, and when its deadline moves to a later time. It is corrected when it comes up. So a usual cycle of
//! hand-out and return changes nothing here, and entries don't pile up.

use crate::table::clock::Tick;
use crate::table::lists::NONE;
use crate::table::slots::more_for;

#[derive(Default)]
pub(crate) struct Deadlines {
    heap: Vec<Entry>,
    /// The position of each slot's entry in the heap, or [`NONE`].
    position: Vec<u32>,
    /// How many slots to make room for when the first deadline is set. Many caches never set one.
    capacity: usize,
}

/// Twelve bytes: there may be one for each connection.
#[derive(Clone, Copy)]
#[repr(C, packed(4))]
struct Entry {
    at: Tick,
    slot: u32,
}

impl Entry {
    /// Returns a copy, because a field of a packed structure can't be borrowed.
    fn at(self) -> Tick {
        self.at
    }
}

impl Deadlines {
    pub(crate) fn with_capacity(slots: usize) -> Deadlines {
        Deadlines { heap: Vec::new(), position: Vec::new(), capacity: slots }
    }

    /// The earliest deadline, or [`Tick::NEVER`].
    pub(crate) fn earliest(&self) -> Tick {
        self.heap.first().map_or(Tick::NEVER, |entry| entry.at())
    }

    /// The slot with the earliest deadline, if that deadline has passed.
    #[inline]
    pub(crate) fn due(&self, now: Tick) -> Option<u32> {
        self.heap.first().filter(|entry| entry.at() <= now).map(|entry| entry.slot)
    }

    /// Makes sure that `slot` has an entry that isn't later than `at`. Does nothing if `at` is [`Tick::NEVER`].
    pub(crate) fn bring_forward(&mut self, slot: u32, at: Tick) {
        let entry = self.position.get(slot as usize).and_then(|&position| self.heap.get(position as usize));
        if entry.map_or(Tick::NEVER, |entry| entry.at()) > at {
            self.set(slot, at);
        }
    }

    /// Gives back the memory that isn't needed for slots below `end`.
    pub(crate) fn shrink_to_fit(&mut self, end: usize) {
        self.heap.shrink_to_fit();
        self.position.truncate(end);
        self.position.shrink_to_fit();
        self.capacity = 0;
    }

    /// Sets the entry of `slot` to `at`. If `at` is [`Tick::NEVER`], the entry is removed.
    #[inline]
    pub(crate) fn set(&mut self, slot: u32, at: Tick) {
        if at == Tick::NEVER { self.remove(slot) } else { self.insert(slot, at) }
    }

    fn insert(&mut self, slot: u32, at: Tick) {
        if self.position.is_empty() {
            self.heap.reserve_exact(self.capacity);
            self.position.reserve_exact(self.capacity);
        }
        if self.position.len() <= slot as usize {
            let missing = slot as usize + 1 - self.position.len();
            if missing > self.position.capacity() - self.position.len() {
                self.position.reserve_exact(missing + more_for(self.position.len()));
            }
            self.position.resize(slot as usize + 1, NONE);
        }
        if self.heap.len() == self.heap.capacity() {
            self.heap.reserve_exact(more_for(self.heap.len()));
        }
        let position = match self.position[slot as usize] {
            NONE => {
                self.heap.push(Entry { at, slot });
                self.heap.len() - 1
            }
            position => position as usize,
        };
        self.sift(position, Entry { at, slot });
    }

    /// Removes the entry of `slot`, if it has one. O(log n), and O(1) on average: most entries are near the bottom.
    #[inline]
    pub(crate) fn remove(&mut self, slot: u32) {
        let Some(&position) = self.position.get(slot as usize) else { return };
        if position == NONE {
            return;
        }
        self.position[slot as usize] = NONE;
        let last = self.heap.pop().expect("the slot is in the heap");
        if last.slot != slot {
            self.sift(position as usize, last);
        }
    }

    /// Puts `entry` into the free `position`, or moves it up or down from there to where it belongs.
    fn sift(&mut self, mut position: usize, entry: Entry) {
        while position > 0 && entry.at() < self.heap[(position - 1) / 2].at() {
            self.put(position, self.heap[(position - 1) / 2]);
            position = (position - 1) / 2;
        }
        loop {
            let left = 2 * position + 1;
            let Some(earlier) = (left..self.heap.len().min(left + 2)).min_by_key(|&child| self.heap[child].at()) else {
                break;
            };
            if entry.at() <= self.heap[earlier].at() {
                break;
            }
            self.put(position, self.heap[earlier]);
            position = earlier;
        }
        self.put(position, entry);
    }

    fn put(&mut self, position: usize, entry: Entry) {
        self.heap[position] = entry;
        self.position[entry.slot as usize] = position as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;
    use std::collections::BTreeMap;

    #[test]
    fn the_first_is_always_the_earliest_of_a_plain_map() {
        for seed in 0..5 {
            let (mut random, mut deadlines, mut naive) =
                (Random::new(seed), Deadlines::with_capacity(0), BTreeMap::new());
            for _ in 0..2_000 {
                let slot = random.below(200) as u32;
                if random.below(3) == 0 {
                    deadlines.remove(slot);
                    naive.remove(&slot);
                } else {
                    let at = Tick(random.below(1_000) as u64);
                    deadlines.set(slot, at);
                    naive.insert(slot, at);
                }
                assert_eq!(deadlines.heap.len(), naive.len(), "seed {seed}");
                let heap = &deadlines.heap;
                assert!((1..heap.len()).all(|i| heap[(i - 1) / 2].at() <= heap[i].at()), "seed {seed}: not a heap");
                let earliest = naive.values().min().copied();
                assert_eq!(deadlines.earliest(), earliest.unwrap_or(Tick::NEVER), "seed {seed}");
                assert_eq!(deadlines.due(Tick(1_000)).map(|slot| naive[&slot]), earliest, "seed {seed}");
                assert_eq!(deadlines.due(Tick(500)).is_some(), earliest.is_some_and(|at| at <= Tick(500)));
            }
        }
    }

    #[test]
    fn room_is_made_at_the_first_deadline_and_for_as_many_as_announced() {
        let mut deadlines = Deadlines::with_capacity(100);
        let room = |deadlines: &Deadlines| [deadlines.heap.capacity(), deadlines.position.capacity()];
        assert_eq!(room(&deadlines), [0, 0]);
        (0..100).for_each(|slot| deadlines.set(slot, Tick(0)));
        assert_eq!(room(&deadlines), [100, 100]);
    }
}
