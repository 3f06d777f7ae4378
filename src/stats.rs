//! What the cache has done so far.

use crate::reason::Reason;
use std::fmt;

/// How many connections there are of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// In use.
    pub active: usize,
    /// Not in use. Those that are to go but haven't come from `expire` yet are counted here, too.
    pub inactive: usize,
    /// How many of the inactive ones are condemned: over a lowered limit, or closed at that time. They are not handed
    /// out any more and come from `expire`, one with each checkin besides.
    pub condemned: usize,
    /// Requests that wait for a connection.
    pub waiting: usize,
}

/// Counts since the cache was built. [`inserted`](Stats::inserted) is always
/// [`active`](Stats::active) + [`inactive`](Stats::inactive) + [`left_in_all`](Stats::left_in_all).
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections taken in, by `insert` or `park`.
    pub inserted: u64,
    /// Connections in use now.
    pub active: usize,
    /// Connections not in use now.
    pub inactive: usize,
    /// Hand-outs, by `checkout`, `take` or `set_connection_state`.
    pub handed_out: u64,
    /// Times that `checkout`, `take` or `request` had nothing to hand out.
    pub missed: u64,
    /// Requests that had to wait.
    pub waited: u64,
    /// Requests whose time was over while they waited or had a place.
    pub timed_out: u64,
    /// Requests that wait now.
    pub waiting: usize,
    /// Places given for connections that are being opened now.
    pub places: usize,
    /// Looks at inactive connections.
    pub probes: u64,
    /// Connections found dead by the probe before a hand-out (or by `find_inactive_connection`): the other side had
    /// closed, or sent something, and the loop hadn't been told yet. Each is also counted by its reason.
    pub found_dead: u64,
    /// Events for connections that had already left.
    pub stale_events: u64,
    /// Failed attempts to take a connection out of the host's `Poll`. The connection left all the same.
    pub deregister_failures: u64,
    pub(crate) left: [u64; Reason::ALL.len()],
}

impl Stats {
    /// How many connections left for this reason.
    pub fn left(&self, reason: Reason) -> u64 {
        self.left[reason as usize]
    }

    /// How many connections left.
    pub fn left_in_all(&self) -> u64 {
        self.left.iter().sum()
    }

    /// Every reason for which connections left, and how many.
    pub fn reasons(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.iter().map(|&reason| (reason, self.left(reason))).filter(|&(_, count)| count > 0)
    }
}

impl fmt::Debug for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Left<'a>(&'a Stats);

        impl fmt::Debug for Left<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_map().entries(self.0.reasons()).finish()
            }
        }

        f.debug_struct("Stats")
            .field("inserted", &self.inserted)
            .field("active", &self.active)
            .field("inactive", &self.inactive)
            .field("handed_out", &self.handed_out)
            .field("missed", &self.missed)
            .field("waited", &self.waited)
            .field("timed_out", &self.timed_out)
            .field("waiting", &self.waiting)
            .field("places", &self.places)
            .field("probes", &self.probes)
            .field("found_dead", &self.found_dead)
            .field("stale_events", &self.stale_events)
            .field("deregister_failures", &self.deregister_failures)
            .field("left", &Left(self))
            .finish()
    }
}
