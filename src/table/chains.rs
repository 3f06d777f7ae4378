//! The first of each chain, by hash: half of a hash table, whose other half are links in what it finds.

use crate::table::slots::NONE;
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

/// Spreads a number of the host's own choice over all bits of a hash: one multiplication is enough where no attacker
/// chooses.
#[inline]
pub(crate) fn mix(number: u64) -> u64 {
    let product = u128::from(number) * 0x9e37_79b9_7f4a_7c15;
    (product as u64) ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn numbers_that_are_addresses_small_or_shifted_do_not_collide() {
        for step in [1, 64, 4096, 1 << 16, 1 << 40] {
            let distinct: HashSet<u64> = (0..1_000).map(|i| mix(i * step) & 0xffff).collect();
            assert!(distinct.len() > 950, "step {step}: {}", distinct.len());
        }
    }
}
