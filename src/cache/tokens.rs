//! Which of mio's tokens belong to a cache, and which connection each of them names.
//!
//! mio neither allocates tokens nor checks them. Each cache has a block of consecutive tokens. A token in it consists
//! of a slot and the low bits of the connection's serial number in the cache. So a late event of a connection that has
//! left doesn't reach the connection that took its slot.

use crate::error::ConfigError;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// A block that a cache claims by itself has 2 to the power of this many tokens.
const BLOCK_BITS: u32 = if usize::BITS >= 64 { 48 } else { 28 };
/// How many blocks can be claimed: all but the lowest, which is left to the host, and the highest, which contains
/// `usize::MAX`.
const BLOCKS: usize = (1 << (usize::BITS - BLOCK_BITS)) - 2;

/// The fewest tokens that a host may give: with fewer, no bit would be left to tell the connections of a slot apart.
const FEWEST: usize = 8;

/// The most slots that a cache uses.
const MOST_SLOTS: usize = 1 << 24;

/// A cache's block of tokens. The low bits of a token tell the connections of a slot apart, and the others name the
/// slot.
pub(crate) struct Tokens {
    start: usize,
    /// For how many slots there are tokens.
    slots: usize,
    /// How many bits of a token are from the connection's serial number.
    serial_bits: u32,
    /// The cache's number in the process.
    cache: u32,
}

impl Tokens {
    /// A block that no other cache of this process has.
    pub(crate) fn claim() -> Result<Tokens, ConfigError> {
        let mut blocks = blocks();
        let cache = blocks.next_cache_number()?;
        let block = blocks.next_block().ok_or_else(|| ConfigError {
            field: "tokens",
            value: "none".into(),
            problem: format!("and all {BLOCKS} blocks are taken by other caches; give a range"),
        })?;
        Ok(Tokens::divide(block.start, block.len(), cache))
    }

    /// The block that the host gives. The host has to make sure that nobody but a cache uses its tokens.
    pub(crate) fn within(range: Range<usize>) -> Result<Tokens, ConfigError> {
        let error = |problem| Err(ConfigError { field: "tokens", value: format!("{range:?}"), problem });
        if range.len() < FEWEST {
            return error(format!("has fewer than {FEWEST} tokens: no room to tell connections apart"));
        }
        let mut blocks = blocks();
        if let Some(other) = blocks.overlapping(&range) {
            return error(format!("overlaps {other:?}, the tokens of another cache"));
        }
        let cache = blocks.next_cache_number()?;
        blocks.taken.insert(range.start, range.end);
        Ok(Tokens::divide(range.start, range.len(), cache))
    }

    /// Divides the bits of a block: at least a third of them for serial numbers, the others for slots.
    fn divide(start: usize, len: usize, cache: u32) -> Tokens {
        let bits = len.ilog2();
        let serial_bits = (bits / 3).max(bits.saturating_sub(MOST_SLOTS.ilog2()));
        Tokens { start, slots: (len >> serial_bits).min(MOST_SLOTS), serial_bits, cache }
    }

    /// For how many connections there are tokens.
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// The cache's number in the process. No other cache of the process has the same one.
    pub(crate) fn cache(&self) -> u32 {
        self.cache
    }

    /// The token of a connection; `None` if there is no room for its slot.
    #[inline]
    pub(crate) fn token(&self, slot: u32, serial: u32) -> Option<usize> {
        let slot = slot as usize;
        (slot < self.slots).then(|| self.start + (slot << self.serial_bits) + self.low_bits(serial))
    }

    /// The slot that a token names; `None` if it is not of this block.
    #[inline]
    pub(crate) fn slot(&self, token: usize) -> Option<usize> {
        let slot = token.checked_sub(self.start)? >> self.serial_bits;
        (slot < self.slots).then_some(slot)
    }

    /// Whether a token of this block may be that of the connection with this number in the cache.
    #[inline]
    pub(crate) fn is_of_serial(&self, token: usize, serial: u32) -> bool {
        (token - self.start) & self.mask() == self.low_bits(serial)
    }

    /// The bits of a serial number in a token. Each cache has another offset, because a cache may follow another one in
    /// the same block within one batch of events.
    fn low_bits(&self, serial: u32) -> usize {
        (serial as usize).wrapping_add((self.cache as usize).wrapping_mul(5)) & self.mask()
    }

    fn mask(&self) -> usize {
        (1 << self.serial_bits) - 1
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        blocks().taken.remove(&self.start);
    }
}

/// What the caches of the process share: which blocks of tokens are taken.
struct Blocks {
    /// The blocks of all present caches: the start of each, with its end.
    taken: BTreeMap<usize, usize>,
    latest_block: usize,
    /// The number of the latest cache.
    latest_cache: u32,
}

impl Blocks {
    const fn new() -> Blocks {
        Blocks { taken: BTreeMap::new(), latest_block: 0, latest_cache: 0 }
    }

    fn overlapping(&self, range: &Range<usize>) -> Option<Range<usize>> {
        let (&start, &end) = self.taken.range(..range.end).next_back()?;
        (end > range.start).then_some(start..end)
    }

    /// Takes the next free block. Released blocks are taken again as late as possible.
    fn next_block(&mut self) -> Option<Range<usize>> {
        let tried = (1..=BLOCKS).map(|step| (self.latest_block + step - 1) % BLOCKS + 1);
        let range = |block: usize| block << BLOCK_BITS..(block + 1) << BLOCK_BITS;
        let block = tried.into_iter().find(|&block| self.overlapping(&range(block)).is_none())?;
        self.latest_block = block;
        self.taken.insert(range(block).start, range(block).end);
        Some(range(block))
    }

    fn next_cache_number(&mut self) -> Result<u32, ConfigError> {
        self.latest_cache = self.latest_cache.checked_add(1).ok_or_else(|| ConfigError {
            field: "caches",
            value: u32::MAX.to_string(),
            problem: "have been built in this process: no number is left for another".into(),
        })?;
        Ok(self.latest_cache)
    }
}

fn blocks() -> std::sync::MutexGuard<'static, Blocks> {
    static TAKEN: Mutex<Blocks> = Mutex::new(Blocks::new());
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_leads_back_to_its_slot_and_connection() {
        for tokens in [Tokens::within(1_001..2_001).unwrap(), Tokens::claim().unwrap()] {
            for slot in [0, 1, (tokens.slots - 1) as u32] {
                for serial in [0, 1, 7, u32::MAX] {
                    let token = tokens.token(slot, serial).unwrap();
                    assert_eq!(tokens.slot(token), Some(slot as usize));
                    assert!(tokens.is_of_serial(token, serial));
                    assert!(!tokens.is_of_serial(token, serial.wrapping_add(1)));
                }
            }
        }
    }

    #[test]
    fn a_small_range_is_kept_to() {
        let tokens = Tokens::within(11_000..12_000).unwrap();
        assert_eq!((tokens.slots, tokens.serial_bits), (125, 3));
        let mut last: Vec<_> = (0..8).filter_map(|serial| tokens.token(124, serial)).collect();
        last.sort_unstable();
        assert_eq!(last, Vec::from_iter(11_992..12_000));
        assert_eq!(tokens.token(125, 0), None);
        assert_eq!([10_999, 12_000].map(|token| tokens.slot(token)), [None, None]);
        assert!(Tokens::within(5..12).is_err());
        assert_eq!(Tokens::within(5..13).unwrap().slots, 4);
        // With 32-bit tokens, ten of the bits tell a slot's connections apart.
        assert_eq!(Tokens::divide(0, usize::MAX, 1).slots(), MOST_SLOTS.min(usize::MAX >> 10));
    }

    #[test]
    fn blocks_of_living_caches_are_disjoint_and_leave_the_host_its_own() {
        let (one, two) = (Tokens::claim().unwrap(), Tokens::claim().unwrap());
        assert_eq!(one.slot(two.token(0, 0).unwrap()), None);
        assert_eq!(two.slot(one.token(0, 0).unwrap()), None);
        assert!([0, 1, (1 << BLOCK_BITS) - 1, usize::MAX].iter().all(|&token| one.slot(token).is_none()));
        assert_ne!(one.cache(), two.cache());
        #[cfg(target_pointer_width = "64")]
        assert_eq!((one.slots, one.serial_bits, BLOCKS), (MOST_SLOTS, 24, 65_534));
    }

    #[test]
    fn an_overlap_with_a_living_cache_names_both() {
        let first = Tokens::within(21_000..22_000).unwrap();
        for range in [20_000..21_001, 21_999..22_500, 21_100..21_200, 20_000..23_000] {
            let error = Tokens::within(range.clone()).map(drop).unwrap_err().to_string();
            assert_eq!(error, format!("tokens = {range:?} overlaps 21000..22000, the tokens of another cache"));
        }
        assert!(Tokens::within(20_000..21_000).is_ok() && Tokens::within(22_000..23_000).is_ok());
        drop(first);
        assert!(Tokens::within(20_000..23_000).is_ok());
    }

    #[test]
    fn a_cache_rebuilt_in_the_same_range_does_not_know_the_old_ones_tokens() {
        let [old, new] = [7, 8].map(|serial| Tokens::divide(0, 1_000, serial));
        for serial in 0..5 {
            assert!(!new.is_of_serial(old.token(0, serial).unwrap(), 0), "the old one's {serial}");
        }
    }

    #[test]
    fn released_blocks_are_used_again_when_fresh_ones_run_out() {
        let mut blocks = Blocks::new();
        blocks.taken.insert(2 << BLOCK_BITS, (2 << BLOCK_BITS) + 8);
        let block_of = |range: Range<usize>| range.start >> BLOCK_BITS;
        let next = std::iter::from_fn(|| blocks.next_block().map(block_of));
        assert!(next.eq((1..=BLOCKS).filter(|&block| block != 2)), "a host's range lies in the second");
        let top = Tokens::divide(BLOCKS << BLOCK_BITS, 1 << BLOCK_BITS, 1);
        assert!(top.token((top.slots - 1) as u32, 0).is_some() && top.slot(usize::MAX).is_none());
        for block in [7, 3] {
            blocks.taken.remove(&(block << BLOCK_BITS));
        }
        let next = std::iter::from_fn(|| blocks.next_block().map(block_of));
        assert_eq!(Vec::from_iter(next), [3, 7]);
    }
}
