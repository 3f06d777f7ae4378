//! A hash table with chains, without keys or values of its own. [`Heads`] has the first entry of each chain. The
//! entries are in another table (buckets, sites or records), and so are the links of the chains: `older` leads to the
//! next entry.

use crate::table::lists::{Linked, Links, NONE, some};

/// The first entry of each chain. Several hashes may share a chain.
pub(crate) struct Heads {
    /// Their number is a power of two.
    firsts: Vec<u32>,
}

impl Heads {
    /// Makes room for so many entries.
    pub(crate) fn with_room(entries: usize) -> Heads {
        Heads { firsts: vec![NONE; entries.max(8).next_power_of_two()] }
    }

    /// For how many entries there is room: with more of them, the chains get too long.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.firsts.len()
    }

    /// Empties all chains, and makes room for so many entries. Returns the first entry of each old chain. The caller
    /// has to push all entries again.
    pub(crate) fn make_room(&mut self, entries: usize) -> Vec<u32> {
        std::mem::replace(self, Heads::with_room(entries)).firsts
    }

    /// The first entry in the chain of `hash`, or [`NONE`]. The low bits of the hash have to be well mixed.
    #[inline]
    pub(crate) fn first(&self, hash: u64) -> u32 {
        self.firsts[hash as usize & (self.firsts.len() - 1)]
    }

    #[inline]
    pub(crate) fn first_mut(&mut self, hash: u64) -> &mut u32 {
        let last = self.firsts.len() - 1;
        &mut self.firsts[hash as usize & last]
    }

    /// Puts `entry` first in the chain of `hash`.
    #[inline]
    pub(crate) fn push(&mut self, entries: &mut impl Linked, hash: u64, entry: u32) {
        let older = std::mem::replace(self.first_mut(hash), entry);
        *entries.links_mut(entry) = Links { newer: NONE, older };
        if older != NONE {
            entries.links_mut(older).newer = entry;
        }
    }

    /// Takes the entry with these links out of its chain. `hash` is called only if the entry is the first of its chain.
    #[inline(always)]
    pub(crate) fn remove(&mut self, entries: &mut impl Linked, links: Links, hash: impl FnOnce() -> u64) {
        let Links { newer, older } = links;
        match newer {
            NONE => *self.first_mut(hash()) = older,
            newer => entries.links_mut(newer).older = older,
        }
        if older != NONE {
            entries.links_mut(older).newer = newer;
        }
    }

    /// All entries in the chain of `hash`. Those of other hashes may be among them.
    #[inline]
    pub(crate) fn chain(&self, entries: &impl Linked, hash: u64) -> impl Iterator<Item = u32> {
        std::iter::successors(some(self.first(hash)), move |&at| some(entries.links(at).older))
    }
}

/// Makes hashes of numbers that the host chooses. Each cache has a random mixer, so that nobody can choose numbers that
/// share a chain.
#[derive(Clone, Copy)]
pub(crate) struct Mixer {
    add: u64,
    multiply: u64,
}

impl Mixer {
    pub(crate) fn new(seed: u64) -> Mixer {
        let fixed = Mixer { add: 0x9e37_79b9_7f4a_7c15, multiply: 0xd129_0e19_4a1c_66d5 };
        let (add, multiply) = (fixed.mix(seed), fixed.mix(!seed));
        Mixer { add, multiply: multiply | 1 }
    }

    #[inline]
    pub(crate) fn mix(self, number: u64) -> u64 {
        let product = u128::from(number ^ self.add) * u128::from(self.multiply);
        (product as u64) ^ (product >> 64) as u64
    }
}

/// So many numbers that share a chain of a table with room for 2,048, by this hash.
#[cfg(test)]
pub(crate) fn colliding(numbers: usize, hash: impl Fn(u64) -> u64) -> Vec<u64> {
    (0..).filter(|&number| hash(number) & 2_047 == 0).take(numbers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn numbers_that_are_addresses_small_or_shifted_do_not_collide() {
        for (seed, step) in [1, 64, 4096, 1 << 16, 1 << 40].into_iter().enumerate() {
            let mixer = Mixer::new(seed as u64);
            let distinct: HashSet<u64> = (0..1_000).map(|i| mixer.mix(i * step) & 0xffff).collect();
            assert!(distinct.len() > 950, "step {step}: {}", distinct.len());
        }
    }
}
