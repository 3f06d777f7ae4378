//! Numbers for the host: how many connections and requests there are, and what the cache has done so far.

use crate::reason::Reason;
use std::fmt;

/// How many connections, places and waiting requests there are.
///
/// The limits on all connections ([`max_connections`](crate::Limits::max_connections) and
/// [`max_connections_per_peer`](crate::Limits::max_connections_per_peer)) bound `active + inactive + places`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// How many are in use.
    pub active: usize,
    /// How many are not in use. Those that have to go but haven't come from `expire` yet are included.
    pub inactive: usize,
    /// How many of the inactive ones are condemned: they were above a limit when it was lowered, their peer had been
    /// closed by then, or they were kept for requests that no longer wait. They are no longer handed out. They come
    /// from `expire`, and one leaves with each checkin.
    pub condemned: usize,
    /// How many [places](crate::Place) are held, for connections that are about to be opened.
    pub places: usize,
    /// How many requests wait for a connection.
    pub waiting: usize,
}

/// What the cache has done since it was built. [`inserted`](Stats::inserted) is always
/// [`active`](Stats::active) + [`inactive`](Stats::inactive) + [`left_in_all`](Stats::left_in_all).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// How many connections were taken in, by `insert`, `insert_at`, `park` or `adopt`.
    pub inserted: u64,
    /// How many connections are in use now.
    pub active: usize,
    /// How many connections are not in use now.
    pub inactive: usize,
    /// How often a connection was handed out, by `checkout`, `take`, `request`, `grant` or `set_connection_state`.
    pub handed_out: u64,
    /// How often `checkout`, `take` or `request` had nothing to hand out.
    pub missed: u64,
    /// How many requests had to wait.
    pub waited: u64,
    /// How many requests ran out of time while they waited or had a place.
    pub timed_out: u64,
    /// How many requests wait now.
    pub waiting: usize,
    /// How many places are held now, for connections that are being opened.
    pub places: usize,
    /// How often an inactive connection was probed.
    pub probes: u64,
    /// How many connections the probe before a hand-out (or in `find_inactive_connection`) found dead: the peer had
    /// closed or sent something, and the loop hadn't been told yet. Each is also counted by its reason.
    pub found_dead: u64,
    /// How many events were for connections that had already left.
    pub stale_events: u64,
    /// How often deregistering from the host's `Poll` failed. The connection left all the same.
    pub deregister_failures: u64,
    pub(crate) left: ByReason,
}

/// How many connections left, by reason.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct ByReason([u64; Reason::ALL.len()]);

impl Stats {
    /// How many connections left for this reason.
    pub fn left(&self, reason: Reason) -> u64 {
        self.left.0[reason as usize]
    }

    /// How many connections left.
    pub fn left_in_all(&self) -> u64 {
        self.left.0.iter().sum()
    }

    /// Every reason for which connections left, and how many.
    pub fn reasons(&self) -> impl Iterator<Item = (Reason, u64)> {
        self.left.reasons()
    }
}

impl ByReason {
    pub(crate) fn count(&mut self, reason: Reason) {
        self.0[reason as usize] += 1;
    }

    fn reasons(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.iter().copied().zip(self.0).filter(|&(_, count)| count > 0)
    }
}

impl fmt::Debug for ByReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.reasons()).finish()
    }
}
