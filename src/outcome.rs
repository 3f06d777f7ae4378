//! What the cache answers: a connection found, an event's meaning, an eviction and its reason.

use crate::channel::ChannelBindingId;
use crate::peer::Peer;
use crate::reason::Reason;
use crate::state::{ConnId, ConnStateRef, Owner, PrivateData};
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

/// A connection handed out by [`checkout`](crate::Cache::checkout): it was inactive and is now active.
///
/// Its far end may have closed it in the very moment after it was probed. Be ready to repeat a request that may be
/// repeated, on a newly opened connection.
#[must_use = "the connection is active and has to be used or closed"]
#[non_exhaustive]
pub struct Found {
    /// The connection.
    pub id: ConnId,
    /// For how long it was inactive: the longer, the likelier that its far end is about to give it up.
    pub inactive_for: Duration,
    /// How often it has been handed out, this time included.
    pub uses: u32,
    /// What was kept with it.
    pub private: PrivateData,
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found")
            .field("id", &self.id)
            .field("inactive_for", &self.inactive_for)
            .field("uses", &self.uses)
            .field("private", &self.private.is_some())
            .finish()
    }
}

/// What an event meant.
#[must_use = "a rejected event is the host's, an active connection's has to be acted upon"]
pub enum Handled<C> {
    /// The token is not this cache's: the event is somebody else's.
    Rejected,
    /// The owner's connection is ready: read and write until that would block. A hint: it may be a false one.
    Active {
        /// The connection.
        id: ConnId,
        /// Who has it.
        owner: Owner,
    },
    /// An inactive connection is no longer fit for use and has left the cache.
    Evicted(Evicted<C>),
    /// The event concerned nobody: an inactive connection that is well, or one that has already left.
    Nothing,
}

impl<C> fmt::Debug for Handled<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Handled::Rejected => f.write_str("Rejected"),
            Handled::Active { id, owner } => f.debug_struct("Active").field("id", id).field("owner", owner).finish(),
            Handled::Evicted(evicted) => f.debug_tuple("Evicted").field(evicted).finish(),
            Handled::Nothing => f.write_str("Nothing"),
        }
    }
}

/// A connection's record, as lent by [`Cache::iter`](crate::Cache::iter).
#[non_exhaustive]
pub struct Entry<'a, C> {
    /// Its name.
    pub id: ConnId,
    /// The connection.
    pub conn: &'a C,
    /// Where it leads.
    pub peer: &'a Peer,
    /// Its channel binding.
    pub channel: ChannelBindingId,
    /// Who has it, or what is kept with it.
    pub state: ConnStateRef<'a>,
    /// How often it was handed out.
    pub uses: u32,
}

impl<C> fmt::Debug for Entry<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("id", &self.id)
            .field("peer", &self.peer)
            .field("channel", &self.channel.0)
            .field("state", &self.state)
            .field("uses", &self.uses)
            .finish_non_exhaustive()
    }
}

/// A connection that has left the cache. It is the host's now, and no longer registered: drop it to close it, or say
/// goodbye first (TLS).
#[must_use = "dropping it closes the connection; do so explicitly"]
#[non_exhaustive]
pub struct Evicted<C> {
    /// The name it had.
    pub id: ConnId,
    /// Why it left.
    pub reason: Reason,
    /// The connection itself.
    pub conn: C,
    /// Where it leads.
    pub peer: Peer,
    /// Its channel binding.
    pub channel: ChannelBindingId,
    /// What was kept with it.
    pub private: PrivateData,
    /// How often it was handed out.
    pub uses: u32,
    /// The error behind [`Reason::Failed`], unless it stands in the [`TakeError`](crate::TakeError) that this came
    /// with. The operating system tells it only once.
    pub error: Option<io::Error>,
}

impl<C> fmt::Debug for Evicted<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evicted")
            .field("id", &self.id)
            .field("reason", &self.reason)
            .field("peer", &self.peer)
            .field("channel", &self.channel.0)
            .field("private", &self.private.is_some())
            .field("uses", &self.uses)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

/// A connection handed out of the cache for good by [`take`](crate::Cache::take), registered under the host's token.
#[must_use = "dropping it closes the connection without deregistering it"]
#[non_exhaustive]
pub struct Taken<C> {
    /// The connection.
    pub conn: C,
    /// For how long it was inactive.
    pub inactive_for: Duration,
    /// What was kept with it.
    pub private: PrivateData,
    /// Its age and uses. Give it back with [`park_with`](crate::Cache::park_with), or they start anew.
    pub past: History,
}

impl<C> fmt::Debug for Taken<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taken")
            .field("inactive_for", &self.inactive_for)
            .field("private", &self.private.is_some())
            .field("past", &self.past)
            .finish_non_exhaustive()
    }
}

/// What a connection that was [taken](crate::Cache::take) has used up of its limits. The default is a new connection.
/// It means the same in another cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    pub(crate) uses: u32,
    /// The end of its lifetime; none, if it is not limited.
    pub(crate) lifetime_end: Option<Option<Instant>>,
}

impl History {
    /// How often the connection was handed out.
    pub fn uses(&self) -> u32 {
        self.uses
    }
}

/// What [`park_with`](crate::Cache::park_with) is told of a connection besides where it leads.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ParkOptions {
    /// What to keep with it.
    pub private: PrivateData,
    /// A deadline of its own.
    pub until: Option<Instant>,
    /// What it has used up of its limits, as told by [`take`](crate::Cache::take).
    pub past: History,
}

impl ParkOptions {
    /// Keeps private data with the connection.
    pub fn private_data(mut self, data: PrivateData) -> ParkOptions {
        self.private = data;
        self
    }

    /// From `deadline` on it isn't handed out any more but evicted.
    pub fn until(mut self, deadline: Instant) -> ParkOptions {
        self.until = Some(deadline);
        self
    }

    /// Counts its age and uses on.
    pub fn past(mut self, past: History) -> ParkOptions {
        self.past = past;
        self
    }
}

/// A parked connection's name, and what had to make room for it.
#[must_use = "an evicted connection is the host's now"]
#[non_exhaustive]
pub struct Parked<C> {
    /// The name of the connection that was parked.
    pub id: ConnId,
    /// Another connection that had to go because of a limit.
    pub evicted: Option<Evicted<C>>,
}

impl<C> fmt::Debug for Parked<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parked").field("id", &self.id).field("evicted", &self.evicted).finish()
    }
}

/// What [`set_connection_state`](crate::Cache::set_connection_state) changed besides the state.
#[must_use = "an eviction and displaced private data are the host's now"]
#[non_exhaustive]
pub struct StateChange<C> {
    /// The private data that was kept with the connection and isn't any longer.
    pub private: PrivateData,
    /// The connection itself, if it isn't fit for the state; or another one that had to make room for it.
    pub evicted: Option<Evicted<C>>,
}

impl<C> fmt::Debug for StateChange<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateChange").field("private", &self.private.is_some()).field("evicted", &self.evicted).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_there_is_private_data_is_shown() {
        let id = ConnId { generation: 1, slot: 0, cache: 1 };
        let (peer, channel) = (Peer::direct("host", 1), ChannelBindingId::PLAIN);
        for is_some in [false, true] {
            let private = || is_some.then(|| Box::new(1) as _);
            let change = StateChange::<()> { private: private(), evicted: None };
            let found = Found { id, inactive_for: Duration::ZERO, uses: 1, private: private() };
            let taken = Taken { conn: (), inactive_for: Duration::ZERO, private: private(), past: History::default() };
            let (reason, peer) = (Reason::Shed, peer.clone());
            let evicted = Evicted { id, reason, conn: (), peer, channel, private: private(), uses: 1, error: None };
            for shown in [format!("{change:?}"), format!("{found:?}"), format!("{taken:?}"), format!("{evicted:?}")] {
                assert!(shown.contains(&format!("private: {is_some}")), "{shown}");
            }
        }
    }
}
