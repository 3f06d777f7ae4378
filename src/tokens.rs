//! Which of mio's tokens are a cache's own, and which connection each of them names.
//!
//! mio neither allocates tokens nor checks them. Each cache has a block of consecutive ones; within it a token is a
//! slot and the low bits of the connection's generation, so that an event left over from a connection that has gone
//! doesn't hit the one that took its slot.

use crate::limits::ConfigError;
use crate::slots::NONE;
use crate::state::{CACHE_SHIFT, ConnId};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Bits of a block that a cache claims by itself: 2^48 tokens where they have 64 bits, 2^28 where they have 32.
const BLOCK_BITS: u32 = if usize::BITS >= 64 { 48 } else { 28 };
/// Blocks that can be claimed: all but the lowest, which is left to the host, and the highest, for `usize::MAX`.
const BLOCKS: usize = (1 << (usize::BITS - BLOCK_BITS)) - 2;

/// A cache's block of tokens. A third of its bits tell generations apart, the rest slots.
pub(crate) struct Tokens {
    start: usize,
    slots: usize,
    generation_bits: u32,
    /// Distinguishes this cache's connection ids from those of the process's other caches.
    serial: u64,
    claimed: Option<usize>,
}

impl Tokens {
    /// A block that no other cache of this process has.
    pub(crate) fn claim() -> Result<Tokens, ConfigError> {
        let mut registry = registry();
        let block = if registry.fresh < BLOCKS {
            registry.fresh += 1;
            registry.fresh
        } else {
            registry.released.pop_front().ok_or_else(|| ConfigError {
                field: "tokens",
                value: "none".into(),
                problem: format!("and all {BLOCKS} blocks are taken by other caches; give a range"),
            })?
        };
        let serial = registry.next_serial();
        Ok(Tokens { claimed: Some(block), ..Tokens::divide(block << BLOCK_BITS, 1 << BLOCK_BITS, serial) })
    }

    /// The block that the host says. It has to see to it that nobody else uses it.
    pub(crate) fn within(range: Range<usize>) -> Result<Tokens, ConfigError> {
        if range.is_empty() {
            let problem = "is empty".into();
            return Err(ConfigError { field: "tokens", value: format!("{range:?}"), problem });
        }
        Ok(Tokens::divide(range.start, range.len(), registry().next_serial()))
    }

    fn divide(start: usize, len: usize, serial: u64) -> Tokens {
        let generation_bits = len.ilog2() / 3;
        // Slots are numbers of 32 bits, of which the last means none.
        let slots = (len >> generation_bits).min(NONE as usize);
        Tokens { start, slots, generation_bits, serial, claimed: None }
    }

    /// How many connections have room.
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// Where this cache's generations start.
    pub(crate) fn first_generation(&self) -> u64 {
        self.serial << CACHE_SHIFT
    }

    /// The connection's token; `None` if there is no room for its slot.
    pub(crate) fn token(&self, id: ConnId) -> Option<usize> {
        let slot = id.slot as usize;
        (slot < self.slots).then(|| self.start + (slot << self.generation_bits) + self.low_bits(id.generation))
    }

    /// The slot that a token names; `None` if it is not of this block.
    pub(crate) fn slot(&self, token: usize) -> Option<usize> {
        let slot = token.checked_sub(self.start)? >> self.generation_bits;
        (slot < self.slots).then_some(slot)
    }

    /// Whether a token of this block may be that of a connection of this generation.
    pub(crate) fn is_of_generation(&self, token: usize, generation: u64) -> bool {
        (token - self.start) & self.mask() == self.low_bits(generation)
    }

    fn low_bits(&self, generation: u64) -> usize {
        generation as usize & self.mask()
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

/// What the caches of the process share: which blocks are free. Fresh ones are used up first, then those released for
/// longest.
struct Registry {
    fresh: usize,
    released: VecDeque<usize>,
    serials: u64,
}

impl Registry {
    fn next_serial(&mut self) -> u64 {
        self.serials += 1;
        self.serials
    }
}

fn registry() -> std::sync::MutexGuard<'static, Registry> {
    static REGISTRY: Mutex<Registry> = Mutex::new(Registry { fresh: 0, released: VecDeque::new(), serials: 0 });
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_leads_back_to_its_slot_and_generation() {
        for tokens in [Tokens::within(1_000..2_000).unwrap(), Tokens::claim().unwrap()] {
            for slot in [0, 1, (tokens.slots - 1) as u32] {
                for generation in [0, 1, 7, u64::MAX] {
                    let token = tokens.token(ConnId { slot, generation }).unwrap();
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
        let last = ConnId { slot: 124, generation: 7 };
        assert_eq!(tokens.token(last), Some(1_999));
        assert_eq!(tokens.token(ConnId { slot: 125, generation: 0 }), None);
        assert_eq!([999, 2_000].map(|token| tokens.slot(token)), [None, None]);
        let one = Tokens::within(5..6).unwrap();
        assert_eq!((one.slots, one.token(ConnId { slot: 0, generation: 9 })), (1, Some(5)));
        assert_eq!(one.slot(5), Some(0));
        assert!(Tokens::within(5..5).is_err());
        assert_eq!(Tokens::within(0..usize::MAX).unwrap().slots(), NONE as usize);
    }

    #[test]
    fn blocks_of_living_caches_are_disjoint_and_leave_the_host_its_own() {
        let (one, two) = (Tokens::claim().unwrap(), Tokens::claim().unwrap());
        let id = ConnId { slot: 0, generation: 0 };
        assert_eq!(one.slot(two.token(id).unwrap()), None);
        assert_eq!(two.slot(one.token(id).unwrap()), None);
        assert!([0, 1, (1 << BLOCK_BITS) - 1, usize::MAX].iter().all(|&token| one.slot(token).is_none()));
        assert_ne!(one.first_generation(), two.first_generation());
    }

    #[test]
    fn released_blocks_are_used_again_when_fresh_ones_run_out() {
        for _ in 0..2 * BLOCKS.min(1 << 17) {
            drop(Tokens::claim().unwrap());
        }
    }
}
