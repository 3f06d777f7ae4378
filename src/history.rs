//! What a connection brings along when it comes back to a cache.

use crate::closings;
use std::time::Instant;

/// What a connection has used up of its limits, and what has been closed since it left the cache.
///
/// It comes with a connection that was [taken](crate::Cache::take), [removed](crate::Cache::remove) or evicted, and
/// goes back in [`ParkOptions::history`](crate::ParkOptions::history) or by [`adopt`](crate::Cache::adopt), be it into
/// the same cache or another one of the process. It belongs to one connection, so it can't be copied.
#[derive(Debug, PartialEq, Eq)]
pub struct History {
    pub(crate) opened: Instant,
    pub(crate) uses: u32,
    /// The end of its lifetime, once a cache has fixed it; none, if it is not limited.
    pub(crate) lifetime_end: Option<Option<Instant>>,
    pub(crate) connected: bool,
    /// Its read side was reported closed while it was active.
    pub(crate) read_closed: bool,
    /// The serial number of the cache that it comes from, or 0.
    pub(crate) cache: u32,
    /// How many closings there had been in the process.
    pub(crate) epoch: u64,
}

impl History {
    /// The history of a connection that the host itself opened at this time and has used since: one use.
    ///
    /// A [`close_peer`](crate::Cache::close_peer) or [`close_channel`](crate::Cache::close_channel) of the cache it is
    /// parked in counts from this call on. So make it when the connection is opened.
    pub fn opened_at(opened: Instant) -> History {
        History {
            opened,
            uses: 1,
            lifetime_end: None,
            connected: false,
            read_closed: false,
            cache: 0,
            epoch: closings::epoch(),
        }
    }

    /// When the connection was opened.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// How many owners the connection has had: whoever inserted it, and one for each hand-out.
    pub fn uses(&self) -> u32 {
        self.uses
    }
}
