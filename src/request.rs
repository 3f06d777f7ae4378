//! What a request for a connection gets: an answer, a place, a wait in line, a grant or an error.

use crate::channel::ChannelBindingId;
use crate::outcome::{Evicted, Found, show};
use crate::peer::Peer;
use crate::state::Owner;
use std::error::Error;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

/// Identifies a request while it waits, and while it has a [`Place`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WaiterId {
    /// A number that no other request of the process has.
    pub(crate) number: u64,
    /// The number under which the cache keeps the request.
    pub(crate) slot: u32,
}

impl fmt::Display for WaiterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}

impl fmt::Debug for WaiterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WaiterId({self})")
    }
}

/// The right to open one connection, within all limits. Until it is used, it counts as a connection that is being
/// opened.
///
/// Give it to [`insert_at`](crate::Cache::insert_at) with the connection, to [`put_back`](crate::Cache::put_back) if
/// the connection can't be opened now, or to [`give_up`](crate::Cache::give_up) if nobody needs it any more. A place
/// that you only drop is held until its time is over. Then [`grant`](crate::Cache::grant) returns
/// [`TimedOut`](Granted::TimedOut) for its request.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a place counts as a connection until it is used, put back or given up"]
pub struct Place {
    pub(crate) waiter: WaiterId,
    /// The number of the cache that gave it.
    pub(crate) cache: u32,
    pub(crate) peer: Peer,
    pub(crate) channel: ChannelBindingId,
    pub(crate) owner: Owner,
    pub(crate) until: Option<Instant>,
}

impl Place {
    /// The request that has it.
    pub fn waiter(&self) -> WaiterId {
        self.waiter
    }

    /// Where the connection has to lead. Connect to its [`first_hop`](Peer::first_hop).
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The channel binding of the connection.
    pub fn channel(&self) -> ChannelBindingId {
        self.channel
    }

    /// Who made the request.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// When its time is over: the request's `until`, else 30 seconds after it was given. It can be used until
    /// [`grant`](crate::Cache::grant) has returned [`TimedOut`](Granted::TimedOut) for its request.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }
}

/// The answer to a [`request`](crate::Cache::request).
#[must_use = "a connection found is active, a place counts as a connection, and a request that waits is granted later"]
pub enum Requested<C> {
    /// A connection that was inactive: write at once.
    Reuse(Found),
    /// A new connection may be opened.
    Open {
        /// For [`insert_at`](crate::Cache::insert_at).
        place: Place,
        /// What had to go to make room for it. Drop it before you connect. (If your pattern hides it behind `..`, Rust drops
        /// it only after the arm has run, and one connection too many is open in the meantime.)
        evicted: Option<Evicted<C>>,
    },
    /// The request waits in line. [`grant`](crate::Cache::grant) names it, and its owner, when it is served, timed out
    /// or refused. To end it earlier, give the id to [`withdraw`](crate::Cache::withdraw).
    Wait(WaiterId),
}

impl<C> fmt::Debug for Requested<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Requested::Reuse(found) => f.debug_tuple("Reuse").field(found).finish(),
            Requested::Open { place, evicted } => {
                f.debug_struct("Open").field("place", place).field("evicted", evicted).finish()
            }
            Requested::Wait(waiter) => f.debug_tuple("Wait").field(waiter).finish(),
        }
    }
}

/// A request that waited or had a place, and what it gets.
#[must_use = "the request waits no longer"]
#[non_exhaustive]
pub struct Grant<C> {
    /// The request.
    pub waiter: WaiterId,
    /// Who made the request.
    pub owner: Owner,
    /// The peer it was made for.
    pub peer: Peer,
    /// The channel binding it was made for.
    pub channel: ChannelBindingId,
    /// The time since the request was made.
    pub waited: Duration,
    /// What it gets.
    pub granted: Granted<C>,
}

show! {
    Grant<C> { waiter, owner, peer, channel: channel.0, waited, granted }.finish();
}

/// What a request gets.
pub enum Granted<C> {
    /// A connection that was inactive: write at once.
    Reuse(Found),
    /// A new connection may be opened.
    Open {
        /// For [`insert_at`](crate::Cache::insert_at).
        place: Place,
        /// What had to go to make room for it. Drop it before you connect. (If your pattern hides it behind `..`, Rust drops
        /// it only after the arm has run, and one connection too many is open in the meantime.)
        evicted: Option<Evicted<C>>,
    },
    /// Nothing: its time is over. If it had a place, that is no longer held.
    TimedOut,
    /// Nothing: the cache drains, or the host has [refused](crate::Cache::refuse) the requests for this peer, or has
    /// [closed](crate::Cache::close_channel) the channel binding.
    Refused,
}

impl<C> fmt::Debug for Granted<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Granted::Reuse(found) => f.debug_tuple("Reuse").field(found).finish(),
            Granted::Open { place, evicted } => {
                f.debug_struct("Open").field("place", place).field("evicted", evicted).finish()
            }
            Granted::TimedOut => f.write_str("TimedOut"),
            Granted::Refused => f.write_str("Refused"),
        }
    }
}

/// Why a request can't wait. Nothing has changed, except that dead connections met on the way were closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// As many requests wait as [`max_waiting`](crate::Limits::max_waiting) allows. Refuse the client: nothing tells
    /// you when there is room again.
    LineFull {
        /// The limit.
        max_waiting: usize,
    },
    /// The cache is being [drained](crate::Cache::drain).
    Draining,
    /// `until` has passed already.
    TimedOut,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::LineFull { max_waiting } => {
                write!(f, "max_waiting = {max_waiting}: that many requests wait already")
            }
            RequestError::Draining => f.write_str("the cache is being drained"),
            RequestError::TimedOut => f.write_str("until: the time has passed already"),
        }
    }
}

impl Error for RequestError {}

impl From<RequestError> for io::Error {
    fn from(error: RequestError) -> io::Error {
        let kind = match error {
            RequestError::TimedOut => io::ErrorKind::TimedOut,
            RequestError::LineFull { .. } | RequestError::Draining => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}
