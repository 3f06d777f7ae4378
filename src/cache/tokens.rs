//! Which of mio's tokens are a cache's own, and which connection each of them names.
//!
//! mio neither allocates tokens nor checks them. Each cache has a block of consecutive ones; within it a token is a
//! slot and the low bits of the connection's generation, so that an event left over from a connection that has gone
//! doesn't hit the one that took its slot.

use crate::error::ConfigError;
use crate::table::slots::NONE;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Bits of a block that a cache claims by itself: 2^48 tokens where they have 64 bits, 2^28 where they have 32.
const BLOCK_BITS: u32 = if usize::BITS >= 64 { 48 } else { 28 };
/// Blocks that can be claimed: all but the lowest, which is left to the host, and the highest, for `usize::MAX`.
const BLOCKS: usize = (1 << (usize::BITS - BLOCK_BITS)) - 2;

/// The fewest tokens that have room for two generations.
const FEWEST: usize = 8;

/// A cache's block of tokens. A third of its bits tell generations apart, the rest slots.
pub(crate) struct Tokens {
    start: usize,
    slots: usize,
    generation_bits: u32,
    /// The cache's number in the process.
    serial: u32,
    claimed: Option<usize>,
}

impl Tokens {
    /// A block that no other cache of this process has.
    pub(crate) fn claim() -> Result<Tokens, ConfigError> {
        let mut registry = registry();
        let serial = registry.next_serial()?;
        let block = registry.next_block().ok_or_else(|| ConfigError {
            field: "tokens",
            value: "none".into(),
            problem: format!("and all {BLOCKS} blocks are taken by other caches; give a range"),
        })?;
        Ok(Tokens { claimed: Some(block), ..Tokens::divide(block << BLOCK_BITS, 1 << BLOCK_BITS, serial) })
    }

    /// The block that the host says. It has to see to it that nobody else uses it.
    pub(crate) fn within(range: Range<usize>) -> Result<Tokens, ConfigError> {
        if range.len() < FEWEST {
            let problem = format!("has fewer than {FEWEST} tokens: no room for generations");
            return Err(ConfigError { field: "tokens", value: format!("{range:?}"), problem });
        }
        Ok(Tokens::divide(range.start, range.len(), registry().next_serial()?))
    }

    fn divide(start: usize, len: usize, serial: u32) -> Tokens {
        let generation_bits = len.ilog2() / 3;
        // Slots are numbers of 32 bits, of which the last means none.
        let slots = (len >> generation_bits).min(NONE as usize);
        Tokens { start, slots, generation_bits, serial, claimed: None }
    }

    /// How many connections have room.
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// Tells this cache's ids from those of the process's other caches.
    pub(crate) fn serial(&self) -> u32 {
        self.serial
    }

    /// The token of a connection; `None` if there is no room for its slot.
    #[inline]
    pub(crate) fn token(&self, slot: u32, generation: u64) -> Option<usize> {
        let slot = slot as usize;
        (slot < self.slots).then(|| self.start + (slot << self.generation_bits) + self.low_bits(generation))
    }

    /// The slot that a token names; `None` if it is not of this block.
    #[inline]
    pub(crate) fn slot(&self, token: usize) -> Option<usize> {
        let slot = token.checked_sub(self.start)? >> self.generation_bits;
        (slot < self.slots).then_some(slot)
    }

    /// Whether a token of this block may be that of a connection of this generation.
    #[inline]
    pub(crate) fn is_of_generation(&self, token: usize, generation: u64) -> bool {
        (token - self.start) & self.mask() == self.low_bits(generation)
    }

    /// They start at another place in each cache: one may follow another in the same block, within one batch of events.
    fn low_bits(&self, generation: u64) -> usize {
        (generation as usize).wrapping_add((self.serial as usize).wrapping_mul(5)) & self.mask()
    }

    fn mask(&self) -> usize {
        (1 << self.generation_bits) - 1
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        if let Some(block) = self.claimed {
            registry().released.push_back(block);
        }
    }
}

/// What the caches of the process share: which blocks are free.
struct Registry {
    fresh: usize,
    released: VecDeque<usize>,
    serials: u32,
}

impl Registry {
    const fn new() -> Registry {
        Registry { fresh: 0, released: VecDeque::new(), serials: 0 }
    }

    /// A fresh block as long as there is one, then the one released for longest.
    fn next_block(&mut self) -> Option<usize> {
        if self.fresh == BLOCKS {
            return self.released.pop_front();
        }
        self.fresh += 1;
        Some(self.fresh)
    }

    fn next_serial(&mut self) -> Result<u32, ConfigError> {
        self.serials = self.serials.checked_add(1).ok_or_else(|| ConfigError {
            field: "caches",
            value: u32::MAX.to_string(),
            problem: "have been built in this process: no number is left for another".into(),
        })?;
        Ok(self.serials)
    }
}

fn registry() -> std::sync::MutexGuard<'static, Registry> {
    static REGISTRY: Mutex<Registry> = Mutex::new(Registry::new());
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_leads_back_to_its_slot_and_generation() {
        for tokens in [Tokens::within(1_001..2_001).unwrap(), Tokens::claim().unwrap()] {
            for slot in [0, 1, (tokens.slots - 1) as u32] {
                for generation in [0, 1, 7, u64::MAX] {
                    let token = tokens.token(slot, generation).unwrap();
                    assert_eq!(tokens.slot(token), Some(slot as usize));
                    assert!(tokens.is_of_generation(token, generation));
                    assert!(!tokens.is_of_generation(token, generation.wrapping_add(1)));
                }
            }
        }
    }

    #[test]
    fn a_small_range_is_kept_to() {
        let tokens = Tokens::within(1_000..2_000).unwrap();
        assert_eq!((tokens.slots, tokens.generation_bits), (125, 3));
        let mut last: Vec<_> = (0..8).filter_map(|generation| tokens.token(124, generation)).collect();
        last.sort_unstable();
        assert_eq!(last, Vec::from_iter(1_992..2_000));
        assert_eq!(tokens.token(125, 0), None);
        assert_eq!([999, 2_000].map(|token| tokens.slot(token)), [None, None]);
        assert!(Tokens::within(5..12).is_err());
        assert_eq!(Tokens::within(5..13).unwrap().slots, 4);
        assert_eq!(Tokens::within(0..usize::MAX).unwrap().slots(), NONE as usize);
    }

    #[test]
    fn blocks_of_living_caches_are_disjoint_and_leave_the_host_its_own() {
        let (one, two) = (Tokens::claim().unwrap(), Tokens::claim().unwrap());
        assert_eq!(one.slot(two.token(0, 0).unwrap()), None);
        assert_eq!(two.slot(one.token(0, 0).unwrap()), None);
        assert!([0, 1, (1 << BLOCK_BITS) - 1, usize::MAX].iter().all(|&token| one.slot(token).is_none()));
        assert_ne!(one.serial(), two.serial());
        let blocks = [&one, &two].map(|tokens| tokens.token(0, 0).unwrap() >> BLOCK_BITS);
        assert_eq!(blocks.map(Some), [one.claimed, two.claimed]);
        #[cfg(target_pointer_width = "64")]
        assert_eq!((one.slots, one.generation_bits, BLOCKS), (NONE as usize, 16, 65_534));
    }

    #[test]
    fn a_cache_rebuilt_in_the_same_range_does_not_know_the_old_ones_tokens() {
        let [old, new] = [7, 8].map(|serial| Tokens::divide(0, 1_000, serial));
        for generation in 0..5 {
            assert!(!new.is_of_generation(old.token(0, generation).unwrap(), 0), "the old one's {generation}");
        }
    }

    #[test]
    fn released_blocks_are_used_again_when_fresh_ones_run_out() {
        let mut registry = Registry::new();
        assert!((1..=BLOCKS).all(|block| registry.next_block() == Some(block)));
        let top = Tokens::divide(BLOCKS << BLOCK_BITS, 1 << BLOCK_BITS, 1);
        assert!(top.token((top.slots - 1) as u32, 0).is_some() && top.slot(usize::MAX).is_none());
        assert_eq!(registry.next_block(), None);
        for block in [7, 3] {
            registry.released.push_back(block);
        }
        assert_eq!([(); 3].map(|()| registry.next_block()), [Some(7), Some(3), None]);
    }

    #[test]
    fn a_dropped_cache_releases_its_block() {
        let tokens = Tokens::claim().unwrap();
        let block = tokens.claimed.unwrap();
        drop(tokens);
        assert!(registry().released.contains(&block));
    }
}
