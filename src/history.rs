//! What is known about a connection that has left a cache, for when it comes back.

use crate::closings;
use crate::reason::Reason;
use std::time::Instant;

/// A connection's age and uses, and the time from which closings of its peer and channel binding apply to it.
///
/// It comes with a connection that was [taken](crate::Cache::take), [removed](crate::Cache::remove) or evicted. It goes
/// back in [`ParkOptions::history`](crate::ParkOptions::history) or by [`adopt`](crate::Cache::adopt), into the same
/// cache or another one of the process. It belongs to one connection, so it can't be copied.
#[derive(Debug, PartialEq, Eq)]
pub struct History {
    pub(crate) opened: Instant,
    pub(crate) uses: u32,
    /// The end of its lifetime, if a cache has limited that.
    pub(crate) lifetime_end: Option<Instant>,
    pub(crate) connected: bool,
    /// Its read side was reported closed while it was active.
    pub(crate) read_closed: bool,
    /// The number of the cache that it comes from, or 0.
    pub(crate) cache: u32,
    /// How many closings there had been in the process when this history was made.
    pub(crate) epoch: u64,
    /// Why it must not come back: its peer or channel binding was closed while it was in a cache.
    pub(crate) closed: Option<Reason>,
}

impl History {
    /// The history of a connection that the host itself opened at this time, and that has had one use since.
    ///
    /// Make it when the connection is opened: a [`close_peer`](crate::Cache::close_peer) or
    /// [`close_channel`](crate::Cache::close_channel) of the cache it will be parked in counts from this call on.
    pub fn opened_at(opened: Instant) -> History {
        History {
            opened,
            uses: 1,
            lifetime_end: None,
            connected: false,
            read_closed: false,
            cache: 0,
            epoch: closings::epoch(),
            closed: None,
        }
    }

    /// When the connection was opened.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// How many owners the connection has had: the one who opened it, and one for each hand-out.
    pub fn uses(&self) -> u32 {
        self.uses
    }
}
