//! How many connections are kept, and for how long.

use crate::error::ConfigError;
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
/// [`History`](crate::History).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Inactive connections in all. Over it, one that has to go anyway goes first: of a
    /// [closed peer](crate::Cache::close_peer), over a lowered limit, past its deadline. Else the one inactive for
    /// longest.
    ///
    /// Set it above the number of peers that are used in turns. A host that goes through 2,000 servers in the same
    /// order and keeps 500 connections reuses none: each is evicted before its turn comes again. Raise the limit, or
    /// keep those that came first: [`KeepResidents`](crate::KeepResidents).
    pub max_inactive: Option<usize>,
    /// Inactive connections to one peer under one channel binding. Over it, the one of them that is inactive for
    /// longest goes, never the newcomer. It may be more than `max_inactive`: the smaller one counts.
    pub max_inactive_per_peer: Option<usize>,
    /// Connections in all: active, inactive, and those being opened. Once met, never exceeded: at the limit,
    /// [`insert`](crate::Cache::insert) is refused, and [`request`](crate::Cache::request) makes room by an inactive one or
    /// waits. Lowering it touches nothing active.
    pub max_connections: Option<usize>,
    /// Connections to one peer, whatever their channel bindings: to protect the server. Otherwise as `max_connections`.
    /// [`Policy::max_connections`](crate::Policy::max_connections) gives single peers other numbers. Connections that the
    /// host has [taken](crate::Cache::take) aren't counted.
    pub max_connections_per_peer: Option<usize>,
    /// Connections to one peer that were inserted and are not [established](crate::Cache::established) yet, so that a
    /// server that comes back isn't stampeded.
    pub max_connecting_per_peer: Option<usize>,
    /// [Requests](crate::Cache::request) that wait. One more is refused.
    pub max_waiting: Option<usize>,
    /// For how long a connection may be inactive.
    pub idle_timeout: Option<Duration>,
    /// How old a connection may become, counted from its opening: its insertion, or what
    /// [`History::opened_at`](crate::History::opened_at) says. Fixed with each connection when it comes in: a change
    /// holds for those that come in later. One that is active then ends when it would become inactive.
    pub max_lifetime: Option<Duration>,
    /// By how much at most a lifetime is shortened, evenly at random, so that connections made together don't end
    /// together. At most `max_lifetime`.
    pub lifetime_jitter: Duration,
    /// How many owners a connection may have. Whoever inserts it is the first: with `Some(1)` it serves nobody else.
    /// Whoever inserts connections to have them ready asks for one more.
    pub max_uses: Option<u32>,
}

impl Limits {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let error = |field, value: &dyn fmt::Debug, problem: String| {
            Err(ConfigError { field, value: format!("{value:?}"), problem })
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradicting_limits_are_named_with_their_values() {
        let second = Duration::from_secs(1);
        let errors = [
            Limits { lifetime_jitter: second, ..Limits::default() },
            Limits { lifetime_jitter: 2 * second, max_lifetime: Some(second), ..Limits::default() },
        ]
        .map(|limits| limits.check().unwrap_err().to_string());
        assert_eq!(
            errors,
            [
                "lifetime_jitter = 1s has no max_lifetime to shorten",
                "lifetime_jitter = 2s is more than max_lifetime, 1s",
            ]
        );
        // The smaller one counts: whoever lowers `max_inactive` in an emergency need not think of the other.
        let limits = Limits { max_inactive: Some(3), max_inactive_per_peer: Some(4), ..Limits::default() };
        assert_eq!(limits.check(), Ok(()));
    }
}
