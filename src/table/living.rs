//! A set of numbers: the taken slots, or the present buckets. A walk over it takes as long as the set is large now, not
//! as long as it was at its peak.

/// Levels of words of 64 bits. 64^6 is more than a `u32` can name.
const LEVELS: usize = 6;

/// A set of numbers, as a tree of bits. In the lowest level, a bit is set for each number in the set. In the levels
/// above, a bit is set for each word of the level below that isn't zero.
#[derive(Default)]
pub(crate) struct Living {
    levels: [Vec<u64>; LEVELS],
}

impl Living {
    pub(crate) fn with_capacity(numbers: usize) -> Living {
        let mut words = numbers;
        let levels = std::array::from_fn(|_| {
            words = words.div_ceil(64);
            Vec::with_capacity(words)
        });
        Living { levels }
    }

    pub(crate) fn add(&mut self, number: u32) {
        let mut number = number as usize;
        for level in &mut self.levels {
            let (word, bit) = (number / 64, 1 << (number % 64));
            if level.len() <= word {
                level.resize(word + 1, 0);
            }
            let before = level[word];
            level[word] |= bit;
            if before != 0 {
                return;
            }
            number = word;
        }
    }

    pub(crate) fn remove(&mut self, number: u32) {
        let mut number = number as usize;
        for level in &mut self.levels {
            let word = number / 64;
            level[word] &= !(1 << (number % 64));
            if level[word] != 0 {
                return;
            }
            number = word;
        }
    }

    /// All numbers, in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        std::iter::successors(self.next(0), |&last| self.next(last + 1)).map(|number| number as u32)
    }

    /// The highest number.
    pub(crate) fn last(&self) -> Option<u32> {
        let top = &self.levels[LEVELS - 1];
        let highest = top.iter().rposition(|&word| word != 0)?;
        let last = self.levels.iter().rev().fold(highest, |word, level| word * 64 + level[word].ilog2() as usize);
        Some(last as u32)
    }

    /// Gives back the memory behind the highest number.
    pub(crate) fn shrink_to_fit(&mut self) {
        for level in &mut self.levels {
            let words = level.iter().rposition(|&word| word != 0).map_or(0, |last| last + 1);
            level.truncate(words);
            level.shrink_to_fit();
        }
    }

    /// The lowest number that is at least `from`.
    fn next(&self, from: usize) -> Option<usize> {
        let mut at = from;
        for (height, level) in self.levels.iter().enumerate() {
            let word = at / 64;
            let bits = level.get(word).map_or(0, |bits| bits & (u64::MAX << (at % 64)));
            if bits != 0 {
                let found = word * 64 + bits.trailing_zeros() as usize;
                let below = self.levels[..height].iter().rev();
                return Some(below.fold(found, |word, level| word * 64 + level[word].trailing_zeros() as usize));
            }
            at = word + 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;
    use std::collections::BTreeSet;

    #[test]
    fn the_numbers_are_those_of_a_plain_set() {
        for range in [100, 5_000, 1 << 24] {
            let (mut random, mut living, mut naive) = (Random::new(range), Living::default(), BTreeSet::new());
            for round in 0..2_000 {
                let number = random.below(range as usize) as u32;
                if naive.remove(&number) {
                    living.remove(number);
                } else {
                    naive.insert(number);
                    living.add(number);
                }
                assert_eq!(living.last(), naive.last().copied());
                if round % 100 == 0 {
                    living.shrink_to_fit();
                    assert!(living.iter().eq(naive.iter().copied()), "below {range}");
                }
            }
        }
    }

    #[test]
    fn a_high_number_has_a_place() {
        let mut living = Living::default();
        living.add((1 << 30) - 1);
        assert_eq!(Vec::from_iter(living.iter()), [(1 << 30) - 1]);
        assert_eq!(living.last(), Some((1 << 30) - 1));
    }

    #[test]
    fn room_is_made_at_once_for_as_many_as_announced() {
        let (mut living, room) = (Living::with_capacity(5_000), [79, 2, 1, 1, 1, 1]);
        let capacities = |living: &Living| living.levels.each_ref().map(Vec::capacity);
        assert_eq!(capacities(&living), room);
        (0..5_000).for_each(|number| living.add(number));
        assert_eq!(capacities(&living), room);
    }
}
