//! The oldest-first order over all inactive connections.
//!
//! An append-only ring of slot numbers. A connection that leaves makes a hole in it, so that a hand-out touches one
//! line of the ring and no neighbour's record; once the holes are as many as the rest, a sweep moves the rest
//! together, a few entries with each newcomer, so that no single call pays for all.

use crate::slots::NONE;
use std::collections::VecDeque;

/// Entries that a sweep looks at for each newcomer: more than one, so that it catches up with the ring's end.
const SWEEP_STEP: u32 = 4;
/// Holes that are not worth a sweep.
const SLACK: usize = 64;

#[derive(Default)]
pub(crate) struct Lru {
    /// Slots, oldest first; [`NONE`] is a hole. The front is never one.
    ring: VecDeque<u32>,
    /// Where each slot stands, as a wrapping sequence number. Meaningful for those in the ring.
    sequence: Vec<u32>,
    /// The sequence number of the ring's front.
    first: u32,
    len: usize,
    /// How many of the oldest are over a lowered limit; all of them stand before `boundary`.
    condemned: usize,
    boundary: u32,
    sweep: Option<Sweep>,
}

/// Entries before `write` are moved together, from `write` to `read` all are holes, from `read` on nothing is moved.
#[derive(Clone, Copy)]
struct Sweep {
    write: u32,
    read: u32,
}

impl Lru {
    pub(crate) fn with_capacity(slots: usize) -> Lru {
        Lru { ring: VecDeque::with_capacity(slots), sequence: Vec::with_capacity(slots), ..Lru::default() }
    }

    pub(crate) fn push_newest(&mut self, slot: u32) {
        let sequence = self.end();
        self.ring.push_back(slot);
        if self.sequence.len() <= slot as usize {
            self.sequence.resize(slot as usize + 1, 0);
        }
        self.sequence[slot as usize] = sequence;
        self.len += 1;
        self.sweep_on();
    }

    /// Takes out a slot that is in the order.
    pub(crate) fn remove(&mut self, slot: u32) {
        let at = self.index(self.sequence[slot as usize]);
        debug_assert_eq!(self.ring[at], slot);
        if self.is_condemned(slot) {
            self.condemned -= 1;
        }
        self.ring[at] = NONE;
        self.len -= 1;
        if at == 0 {
            self.trim_front();
        }
    }

    pub(crate) fn oldest(&self) -> Option<u32> {
        self.ring.front().copied()
    }

    /// Marks the oldest as surplus until at most `keep` are not.
    pub(crate) fn keep_newest(&mut self, keep: usize) {
        if self.condemned == 0 {
            self.boundary = self.first;
        }
        while self.len - self.condemned > keep {
            if self.ring[self.index(self.boundary)] != NONE {
                self.condemned += 1;
            }
            self.boundary = self.boundary.wrapping_add(1);
        }
    }

    /// How many are surplus. They are the oldest.
    pub(crate) fn condemned(&self) -> usize {
        self.condemned
    }

    /// How many are not surplus.
    pub(crate) fn kept(&self) -> usize {
        self.len - self.condemned
    }

    /// Whether a slot that is in the order is surplus.
    pub(crate) fn is_condemned(&self, slot: u32) -> bool {
        self.condemned > 0 && self.index(self.sequence[slot as usize]) < self.index(self.boundary)
    }

    /// Whether `slot` came after `other`; both are in the order.
    pub(crate) fn is_newer(&self, slot: u32, other: u32) -> bool {
        self.index(self.sequence[slot as usize]) > self.index(self.sequence[other as usize])
    }

    fn index(&self, sequence: u32) -> usize {
        sequence.wrapping_sub(self.first) as usize
    }

    fn end(&self) -> u32 {
        self.first.wrapping_add(self.ring.len() as u32)
    }

    fn trim_front(&mut self) {
        while self.ring.front() == Some(&NONE) {
            self.ring.pop_front();
            let gone = self.first;
            self.first = gone.wrapping_add(1);
            let sweep = self.sweep.iter_mut().flat_map(|sweep| [&mut sweep.write, &mut sweep.read]);
            for sequence in sweep.chain([&mut self.boundary]) {
                if *sequence == gone {
                    *sequence = self.first;
                }
            }
        }
    }

    fn sweep_on(&mut self) {
        if self.sweep.is_none() && self.ring.len() > 2 * self.len + SLACK {
            self.sweep = Some(Sweep { write: self.first, read: self.first });
        }
        let Some(Sweep { mut write, mut read }) = self.sweep else { return };
        let end = self.end();
        for _ in 0..SWEEP_STEP {
            if read == self.boundary {
                self.boundary = write;
            }
            if read == end {
                self.ring.truncate(self.index(write));
                self.sweep = None;
                return;
            }
            let at = self.index(read);
            let slot = std::mem::replace(&mut self.ring[at], NONE);
            if slot != NONE {
                let to = self.index(write);
                self.ring[to] = slot;
                self.sequence[slot as usize] = write;
                write = write.wrapping_add(1);
            }
            read = read.wrapping_add(1);
        }
        self.sweep = Some(Sweep { write, read });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    /// The same order, kept the obvious way.
    #[derive(Default)]
    struct Naive(Vec<(u32, bool)>);

    impl Naive {
        fn keep_newest(&mut self, keep: usize) {
            let surplus = self.0.len().saturating_sub(keep);
            self.0[..surplus].iter_mut().for_each(|(_, condemned)| *condemned = true);
        }
    }

    #[test]
    fn the_order_and_the_surplus_are_those_of_a_plain_list() {
        for seed in 0..20 {
            let mut random = Random::new(seed);
            // Close to the end of the sequence numbers, so that they wrap.
            let mut lru = Lru { first: u32::MAX - 500, ..Lru::default() };
            let mut naive = Naive::default();
            for _ in 0..5_000 {
                let slot = random.below(100) as u32;
                match naive.0.iter().position(|&(s, _)| s == slot) {
                    Some(at) => {
                        assert_eq!(lru.is_condemned(slot), naive.0[at].1, "seed {seed}");
                        lru.remove(slot);
                        naive.0.remove(at);
                    }
                    None => {
                        lru.push_newest(slot);
                        naive.0.push((slot, false));
                    }
                }
                if random.below(50) == 0 {
                    let keep = random.below(100);
                    lru.keep_newest(keep);
                    naive.keep_newest(keep);
                }
                assert_eq!(lru.oldest(), naive.0.first().map(|&(slot, _)| slot), "seed {seed}");
                assert_eq!(lru.condemned(), naive.0.iter().filter(|(_, condemned)| *condemned).count(), "seed {seed}");
                assert_eq!(lru.condemned() + lru.kept(), naive.0.len(), "seed {seed}");
                let listed = lru.ring.iter().copied().filter(|&slot| slot != NONE);
                assert!(listed.eq(naive.0.iter().map(|&(slot, _)| slot)), "seed {seed}");
            }
        }
    }

    #[test]
    fn holes_stay_bounded_while_an_old_connection_waits_at_the_front() {
        let mut lru = Lru::default();
        (0..1_000).for_each(|slot| lru.push_newest(slot));
        for round in 0..100_000 {
            let slot = 1 + round % 999;
            lru.remove(slot);
            lru.push_newest(slot);
            assert!(lru.ring.len() <= 3_000 + SLACK);
        }
        assert_eq!(lru.oldest(), Some(0));
    }
}
