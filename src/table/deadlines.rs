//! The connections that run out at a time of their own: a deadline given with them, or the end of their lifetime; and
//! those whose owners want to have done with them by some time. (Idle time-outs need no place here: their order is that
//! of [`Ages`](crate::table::age::Ages).)
//!
//! A binary heap with at most one entry for each connection. An entry stays when the connection is used or given back,
//! and is put right only when it comes up, so that a cycle of hand-out and return touches nothing here, and nothing piles
//! up.

use crate::table::clock::Tick;
use crate::table::lists::NONE;
use crate::table::slots::more_for;

#[derive(Default)]
pub(crate) struct Deadlines {
    heap: Vec<Entry>,
    /// Where each slot stands in the heap, or [`NONE`].
    position: Vec<u32>,
    /// Slots to make room for at the first deadline. Many caches have none.
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
    /// By value: a field of a packed structure can't be borrowed.
    fn at(self) -> Tick {
        self.at
    }
}

impl Deadlines {
    pub(crate) fn with_capacity(slots: usize) -> Deadlines {
        Deadlines { heap: Vec::new(), position: Vec::new(), capacity: slots }
    }

    /// The earliest deadline; never if there is none.
    pub(crate) fn earliest(&self) -> Tick {
        self.heap.first().map_or(Tick::NEVER, |entry| entry.at())
    }

    /// The slot with the earliest deadline, if that has come.
    #[inline]
    pub(crate) fn due(&self, now: Tick) -> Option<u32> {
        self.heap.first().filter(|entry| entry.at() <= now).map(|entry| entry.slot)
    }

    /// Sees to it that `slot` has an entry, and that it isn't later than `at`, unless that is never.
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

    /// Makes `at` the entry of `slot`, whether it had one or not. If `at` is never, the entry is removed.
    #[inline]
    pub(crate) fn set(&mut self, slot: u32, at: Tick) {
        if at == Tick::NEVER { self.remove(slot) } else { self.enter(slot, at) }
    }

    fn enter(&mut self, slot: u32, at: Tick) {
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
        self.place(position, Entry { at, slot });
    }

    /// Takes out the entry of `slot`, if it has one. O(log n), and O(1) on average: most entries are near the bottom.
    #[inline]
    pub(crate) fn remove(&mut self, slot: u32) {
        let Some(&position) = self.position.get(slot as usize) else { return };
        if position == NONE {
            return;
        }
        self.position[slot as usize] = NONE;
        let last = self.heap.pop().expect("the slot stands in the heap");
        if last.slot != slot {
            self.place(position as usize, last);
        }
    }

    /// Puts `entry` where `position` is free, or as far up or down from there as the order wants.
    fn place(&mut self, mut position: usize, entry: Entry) {
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
