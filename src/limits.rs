//! How many connections are kept, and for how long.

use std::fmt;
use std::time::Duration;

/// What the cache keeps at most. By default everything, for as long as the peers do.
///
/// `None` is no limit; zero keeps nothing. A connection handed out is within every limit, however late
/// [`expire`](crate::Cache::expire) runs.
///
/// ```
/// let mut limits = conncache::Limits::default();
/// limits.max_inactive = Some(1_000);
/// limits.max_uses = Some(100);
/// ```
///
/// Where a host [takes and parks](crate::Cache::take) connections, lifetime and uses hold only if it gives back their
/// [`Past`](crate::Past).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Inactive connections in all. Over it, one of a [closed peer](crate::Cache::close_peer) goes, else the one
    /// inactive for longest.
    pub max_inactive: Option<usize>,
    /// Inactive connections to one peer under one channel binding. Over it, the one of them that is inactive for
    /// longest goes, never the newcomer.
    pub max_inactive_per_peer: Option<usize>,
    /// For how long a connection may be inactive.
    pub idle_timeout: Option<Duration>,
    /// How old a connection may become, counted from its insertion. Fixed with each connection when it is inserted:
    /// a change holds for those inserted later. One that is active then ends when it would become inactive.
    pub max_lifetime: Option<Duration>,
    /// By how much at most a lifetime is shortened, evenly at random, so that connections made together don't end
    /// together. At most `max_lifetime`.
    pub lifetime_jitter: Duration,
    /// How often a connection may be handed out. Being inserted is no hand-out: with `Some(1)` a connection serves
    /// whom it was opened for, and one more.
    pub max_uses: Option<u32>,
}

impl Limits {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let error = |field, value: &dyn fmt::Debug, problem: String| {
            Err(ConfigError { field, value: format!("{value:?}"), problem })
        };
        match (self.max_inactive_per_peer, self.max_inactive) {
            (Some(per_peer), Some(all)) if per_peer > all => {
                return error("max_inactive_per_peer", &per_peer, format!("is more than max_inactive, {all}"));
            }
            _ => {}
        }
        match self.max_lifetime {
            None if !self.lifetime_jitter.is_zero() => {
                error("lifetime_jitter", &self.lifetime_jitter, "has no max_lifetime to shorten".into())
            }
            Some(lifetime) if self.lifetime_jitter > lifetime => {
                error("lifetime_jitter", &self.lifetime_jitter, format!("is more than max_lifetime, {lifetime:?}"))
            }
            _ => Ok(()),
        }
    }
}

/// A setting that makes no sense: which one, its value, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub(crate) field: &'static str,
    pub(crate) value: String,
    pub(crate) problem: String,
}

impl ConfigError {
    /// The setting's name, as in [`Limits`] or [`Builder`](crate::Builder).
    pub fn field(&self) -> &'static str {
        self.field
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} {}", self.field, self.value, self.problem)
    }
}

impl std::error::Error for ConfigError {}

impl From<ConfigError> for std::io::Error {
    fn from(error: ConfigError) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::InvalidInput, error)
    }
}

/// A small generator (xorshift64*) for jitter: no secret depends on it.
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Jitter {
        Jitter(seed.max(1))
    }

    /// From zero to `most`.
    pub(crate) fn up_to(&mut self, most: Duration) -> Duration {
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
    fn contradicting_limits_are_named_with_their_values() {
        let second = Duration::from_secs(1);
        let errors = [
            Limits { max_inactive: Some(3), max_inactive_per_peer: Some(4), ..Limits::default() },
            Limits { lifetime_jitter: second, ..Limits::default() },
            Limits { lifetime_jitter: 2 * second, max_lifetime: Some(second), ..Limits::default() },
        ]
        .map(|limits| limits.check().unwrap_err().to_string());
        assert_eq!(
            errors,
            [
                "max_inactive_per_peer = 4 is more than max_inactive, 3",
                "lifetime_jitter = 1s has no max_lifetime to shorten",
                "lifetime_jitter = 2s is more than max_lifetime, 1s",
            ]
        );
        assert_eq!(
            Limits { max_inactive: Some(4), max_inactive_per_peer: Some(4), ..Limits::default() }.check(),
            Ok(())
        );
    }

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
