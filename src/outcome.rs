//! What the cache answers: a connection found, an event's meaning, an eviction and its reason.

use crate::peer::Peer;
use crate::state::{ChannelBindingId, ConnId, Owner, PrivateData};
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
    Quiet,
}

impl<C> fmt::Debug for Handled<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Handled::Rejected => f.write_str("Rejected"),
            Handled::Active { id, owner } => f.debug_struct("Active").field("id", id).field("owner", owner).finish(),
            Handled::Evicted(evicted) => f.debug_tuple("Evicted").field(evicted).finish(),
            Handled::Quiet => f.write_str("Quiet"),
        }
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
    pub past: Past,
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
pub struct Past {
    pub(crate) uses: u32,
    /// The end of its lifetime; none, if it is not limited.
    pub(crate) lifetime_end: Option<Option<Instant>>,
}

impl Past {
    /// How often the connection was handed out.
    pub fn uses(&self) -> u32 {
        self.uses
    }
}

/// What [`park_with`](crate::Cache::park_with) is told of a connection besides where it leads.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Parking {
    /// What to keep with it.
    pub private: PrivateData,
    /// A deadline of its own.
    pub until: Option<Instant>,
    /// What it has used up of its limits, as told by [`take`](crate::Cache::take).
    pub past: Past,
}

impl Parking {
    /// Keeps private data with the connection.
    pub fn private_data(mut self, data: PrivateData) -> Parking {
        self.private = data;
        self
    }

    /// From `deadline` on it isn't handed out any more but evicted.
    pub fn until(mut self, deadline: Instant) -> Parking {
        self.until = Some(deadline);
        self
    }

    /// Counts its age and uses on.
    pub fn past(mut self, past: Past) -> Parking {
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
pub struct Changed<C> {
    /// The private data that was kept with the connection and isn't any longer.
    pub private: PrivateData,
    /// The connection itself, if it isn't fit for the state; or another one that had to make room for it.
    pub evicted: Option<Evicted<C>>,
}

impl<C> fmt::Debug for Changed<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changed").field("private", &self.private.is_some()).field("evicted", &self.evicted).finish()
    }
}

/// Why a connection left the cache. Each leaves once, for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The peer closed its side; or, while the connection was in use, the loop was told that its read side is closed.
    HungUp,
    /// The peer sent something while nobody had asked, or something was left unread.
    Unsolicited,
    /// The socket failed, as by a reset.
    Failed,
    /// It was to become inactive for the first time and was not connected: not yet, or not any longer, as after a
    /// reset.
    NotConnected,
    /// It was inactive for as long as allowed.
    IdleTimeout,
    /// Its own deadline came.
    Deadline,
    /// It became as old as allowed.
    MaxLifetime,
    /// It was handed out as often as allowed.
    MaxUses,
    /// There were too many inactive ones, and it was the one inactive for longest (but for those that had to go
    /// anyway).
    MaxInactive,
    /// There were too many inactive ones of its peer and channel, and it was the one inactive for longest.
    MaxInactivePerPeer,
    /// The policy said so.
    Policy,
    /// The host closed its peer.
    PeerClosed,
    /// The cache is being drained.
    Drained,
    /// The host asked for room.
    Shed,
    /// The host closed it, or the whole cache.
    Closed,
    /// The host removed it, to use it for something else.
    Removed,
    /// The host took it into its own table.
    Taken,
}

impl Reason {
    /// All reasons; there may be more of them in later versions.
    pub const ALL: &[Reason] = &[
        Reason::HungUp,
        Reason::Unsolicited,
        Reason::Failed,
        Reason::NotConnected,
        Reason::IdleTimeout,
        Reason::Deadline,
        Reason::MaxLifetime,
        Reason::MaxUses,
        Reason::MaxInactive,
        Reason::MaxInactivePerPeer,
        Reason::Policy,
        Reason::PeerClosed,
        Reason::Drained,
        Reason::Shed,
        Reason::Closed,
        Reason::Removed,
        Reason::Taken,
    ];

    /// A word for logs and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::HungUp => "hung_up",
            Reason::Unsolicited => "unsolicited",
            Reason::Failed => "failed",
            Reason::NotConnected => "not_connected",
            Reason::IdleTimeout => "idle_timeout",
            Reason::Deadline => "deadline",
            Reason::MaxLifetime => "max_lifetime",
            Reason::MaxUses => "max_uses",
            Reason::MaxInactive => "max_inactive",
            Reason::MaxInactivePerPeer => "max_inactive_per_peer",
            Reason::Policy => "policy",
            Reason::PeerClosed => "peer_closed",
            Reason::Drained => "drained",
            Reason::Shed => "shed",
            Reason::Closed => "closed",
            Reason::Removed => "removed",
            Reason::Taken => "taken",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn all_reasons_stand_in_their_place() {
        for (place, &reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason as usize, place, "{reason}");
        }
    }

    #[test]
    fn each_reason_has_a_word_of_its_own_that_pads() {
        let words: HashSet<String> = Reason::ALL.iter().map(Reason::to_string).collect();
        assert_eq!(words.len(), Reason::ALL.len());
        assert_eq!(format!("{:>6}|{}", Reason::Shed, Reason::MaxUses), "  shed|max_uses");
    }

    #[test]
    fn whether_there_is_private_data_is_shown() {
        let id = ConnId { generation: 1, slot: 0, cache: 1 };
        let (peer, channel) = (Peer::direct("host", 1), ChannelBindingId::PLAIN);
        for is_some in [false, true] {
            let private = || is_some.then(|| Box::new(1) as _);
            let changed = Changed::<()> { private: private(), evicted: None };
            let found = Found { id, inactive_for: Duration::ZERO, uses: 1, private: private() };
            let taken = Taken { conn: (), inactive_for: Duration::ZERO, private: private(), past: Past::default() };
            let (reason, peer) = (Reason::Shed, peer.clone());
            let evicted = Evicted { id, reason, conn: (), peer, channel, private: private(), uses: 1, error: None };
            for shown in [format!("{changed:?}"), format!("{found:?}"), format!("{taken:?}"), format!("{evicted:?}")] {
                assert!(shown.contains(&format!("private: {is_some}")), "{shown}");
            }
        }
    }
}
