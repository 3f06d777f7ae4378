//! The first of each chain, by hash: half of a hash table, whose other half are links in what it finds.

use crate::slots::NONE;

/// At most one chain for each thing in it, on average; several hashes may share one.
pub(crate) struct Heads {
    /// As many as a power of two.
    firsts: Vec<u32>,
}

impl Default for Heads {
    fn default() -> Heads {
        Heads { firsts: vec![NONE; 8] }
    }
}

impl Heads {
    /// How many things may be in the chains before they get too long.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.firsts.len()
    }

    /// Empties all chains, and makes twice as many; the old ones' firsts.
    pub(crate) fn double(&mut self) -> Vec<u32> {
        let twice = vec![NONE; 2 * self.firsts.len()];
        std::mem::replace(&mut self.firsts, twice)
    }

    /// The first of the chain of `hash`, or [`NONE`]. The low bits of the hash have to be well mixed.
    #[inline]
    pub(crate) fn first(&self, hash: u64) -> u32 {
        self.firsts[hash as usize & (self.firsts.len() - 1)]
    }

    #[inline]
    pub(crate) fn first_mut(&mut self, hash: u64) -> &mut u32 {
        let last = self.firsts.len() - 1;
        &mut self.firsts[hash as usize & last]
    }
}
