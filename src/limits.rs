//! The limits: how many connections are kept, and for how long.

use crate::error::ConfigError;
use std::fmt;
use std::time::Duration;

/// What the cache keeps at most. By default nothing is limited: connections stay until their peers close them.
///
/// `None` is no limit. Zero keeps (or allows) none. A connection handed out is within every limit, even if
/// [`expire`](crate::Cache::expire) runs late.
///
/// ```
/// let mut limits = conncache::Limits::default();
/// limits.max_inactive = Some(1_000);
/// limits.max_uses = Some(100);
/// ```
///
/// If a host [takes and parks](crate::Cache::take) connections, the limits on lifetime and uses hold only if it gives
/// back their [`History`](crate::History).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How many connections may be inactive in total. If there are more, one that has to go anyway leaves: of a [closed
    /// peer](crate::Cache::close_peer), over a lowered limit, or past its own deadline or lifetime. If there is none,
    /// the one that has been inactive longest leaves.
    ///
    /// Set it above the number of peers that are used in turn. A host that goes through 2,000 servers in the same order
    /// and keeps 500 connections reuses none of them, because each is evicted before its turn comes again. Raise the
    /// limit, or keep those that came first: [`KeepResidents`](crate::KeepResidents).
    pub max_inactive: Option<usize>,
    /// How many connections to one peer under one channel binding may be inactive. If there are more, the one of them
    /// that has been inactive longest leaves, never the newcomer. This limit may be more than `max_inactive`: the
    /// smaller one counts.
    pub max_inactive_per_peer: Option<usize>,
    /// How many connections there may be in total: active ones, inactive ones, and [places](crate::Place). Once the
    /// limit holds, it is never exceeded. At the limit, [`insert`](crate::Cache::insert) fails, and a
    /// [`request`](crate::Cache::request) evicts an inactive connection to make room, or waits. Lowering the limit
    /// closes no active connection, so there may be more for a while. If a connection beyond the limit comes back while
    /// requests wait for it, it is evicted and doesn't serve them. Inactive ones beyond the limit stay and are reused,
    /// until a request waits for room that they can make. Then [`grant`](crate::Cache::grant) condemns the oldest of
    /// them, and [`expire`](crate::Cache::expire) returns them.
    pub max_connections: Option<usize>,
    /// How many connections there may be to one peer, whatever their channel bindings: to protect the server. Otherwise
    /// it works as `max_connections`. [`Policy::max_connections`](crate::Policy::max_connections) can give a peer a
    /// limit of its own. Connections that the host has [taken](crate::Cache::take) aren't counted.
    pub max_connections_per_peer: Option<usize>,
    /// How many connections to one peer may be opened at a time: places, and connections that were inserted and are not
    /// yet [established](crate::Cache::established). It protects a server that has just come back from being flooded by
    /// all its clients at once.
    pub max_connecting_per_peer: Option<usize>,
    /// How many [requests](crate::Cache::request) may wait. One more is an error.
    pub max_waiting: Option<usize>,
    /// How long a connection may be inactive. If you know how long the servers keep one, set it below that: otherwise
    /// some are handed out just when the server closes them.
    pub idle_timeout: Option<Duration>,
    /// How old a connection may become, counted from its insertion, or from what
    /// [`History::opened_at`](crate::History::opened_at) says. It is fixed for each connection when it comes in; a
    /// change applies to those that come in later. A connection that is active at the end of its lifetime isn't kept
    /// when it would become inactive. If a connection comes from another cache, the earlier end counts.
    pub max_lifetime: Option<Duration>,
    /// The most by which a lifetime is shortened. The amount is random (uniform), so that connections opened together
    /// don't end together. It can't be more than `max_lifetime`.
    pub lifetime_jitter: Duration,
    /// How many owners a connection may have. Whoever inserts it is the first: with `Some(1)` it serves nobody else. If
    /// you insert connections only to have them ready, allow one more.
    pub max_uses: Option<u32>,
}

impl Limits {
    /// Whether the limits contradict each other.
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
