//! Randomness that can be repeated.

#![allow(dead_code)] // Not every test needs all of it.

use std::ops::Range;

/// A small generator (xorshift64*): the same seed, the same test.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }

    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.below(among.len())]
    }
}

/// Runs the test with each of these seeds, or with `CONNCACHE_SEED` alone if that is set. Says which one failed.
pub fn for_seeds(seeds: Range<u64>, test: impl Fn(u64)) {
    struct Blame(u64);

    impl Drop for Blame {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("failed with seed {0}; to repeat: CONNCACHE_SEED={0}", self.0);
            }
        }
    }

    let given = std::env::var("CONNCACHE_SEED").ok().map(|seed| seed.parse().expect("CONNCACHE_SEED is a number"));
    for seed in given.map_or(seeds, |seed: u64| seed..seed + 1) {
        let _blame = Blame(seed);
        test(seed);
    }
}
