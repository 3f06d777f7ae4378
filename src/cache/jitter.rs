//! Random shortening of lifetimes.

use crate::limits::Limits;
use crate::table::clock::Tick;
use std::time::Duration;

/// A small generator (xorshift64*) for jitter: no secret depends on it.
#[derive(Clone, Copy)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Jitter {
        Jitter(seed.max(1))
    }

    /// The end of the lifetime of a connection opened at this time.
    pub(crate) fn lifetime_end(&mut self, limits: &Limits, opened: Tick) -> Tick {
        let Some(lifetime) = limits.max_lifetime else { return Tick::NEVER };
        opened.after(lifetime.saturating_sub(self.up_to(limits.lifetime_jitter)))
    }

    /// From zero to `most`.
    fn up_to(&mut self, most: Duration) -> Duration {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let fraction = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        let nanos = (most.as_nanos() * u128::from(fraction)) >> 32;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_and_reaches_both_halves() {
        let (mut jitter, most) = (Jitter::new(5), Duration::from_secs(10));
        let drawn: Vec<Duration> = (0..1_000).map(|_| jitter.up_to(most)).collect();
        assert!(drawn.iter().all(|&j| j <= most));
        let low = drawn.iter().filter(|&&j| j < most / 2).count();
        assert!((400..600).contains(&low), "{low}");
        assert_eq!(jitter.up_to(Duration::ZERO), Duration::ZERO);
        assert!(jitter.up_to(Duration::MAX) <= Duration::MAX);
    }

    #[test]
    fn any_seed_is_a_seed() {
        for seed in [0, 1, u64::MAX] {
            let mut jitter = Jitter::new(seed);
            let drawn: Vec<Duration> = (0..10).map(|_| jitter.up_to(Duration::from_secs(10))).collect();
            assert!(drawn.iter().any(|&j| j != drawn[0]), "seed {seed}: {drawn:?}");
        }
    }
}
