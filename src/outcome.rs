//! What the calls of the cache return: a connection found, the meaning of an event, an eviction and so on.

use crate::channel::ChannelBindingId;
use crate::history::History;
use crate::peer::Peer;
use crate::reason::Reason;
use crate::state::{ConnId, ConnStateRef, Owner, PrivateData};
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

/// A connection that was handed out: it was inactive and is now active. Write at once: no event will say that it is
/// writable.
///
/// Its peer may have closed it just after it was probed. If a request may be repeated, be ready to repeat it on a newly
/// opened connection.
#[must_use = "the connection is active and has to be used or closed"]
#[non_exhaustive]
pub struct Found {
    /// The lease: it is good until the connection is handed out again.
    pub id: ConnId,
    /// How long it was inactive. The longer, the more likely it is that the peer is about to close it.
    pub inactive_for: Duration,
    /// How many owners it has had, including this one. The one who inserted it was the first.
    pub uses: u32,
    /// What was kept with it.
    pub private: PrivateData,
}

/// What an event means.
#[must_use = "a rejected event is the host's, an active connection's has to be acted upon"]
pub enum Handled<C> {
    /// The token isn't this cache's. The event is for somebody else.
    Rejected,
    /// An active connection is ready: read and write until that would block. It is a hint, and may be wrong.
    Active {
        /// The owner's lease.
        id: ConnId,
        /// Who has it.
        owner: Owner,
    },
    /// An inactive connection is no longer fit for use and has left the cache.
    Evicted(Evicted<C>),
    /// There is nothing to do: the event is for an inactive connection that is still good, or for one that has already
    /// left.
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

/// A connection's record, borrowed from [`Cache::iter`](crate::Cache::iter).
#[non_exhaustive]
pub struct Entry<'a, C> {
    /// Its latest lease. If you use the lease of an active connection, you act for its owner.
    pub id: ConnId,
    /// The connection.
    pub conn: &'a C,
    /// Where it leads.
    pub peer: &'a Peer,
    /// Its channel binding.
    pub channel: ChannelBindingId,
    /// Who has it, or what is kept with it.
    pub state: ConnStateRef<'a>,
    /// How many owners it has had, including the present one.
    pub uses: u32,
    /// When it was opened.
    pub opened: Instant,
    /// Since when it has been inactive. `None` if it is active.
    pub inactive_since: Option<Instant>,
}

/// A connection that has left the cache. It is the host's now, and no longer registered. Drop it to close it, or send
/// the protocol's last words first (such as TLS's close_notify).
#[must_use = "dropping it closes the connection; do so explicitly"]
#[non_exhaustive]
pub struct Evicted<C> {
    /// Its last lease.
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
    /// Its age and uses, for whoever gives it to a cache again.
    pub history: History,
    /// Since when it was inactive; `None` if it was active.
    pub inactive_since: Option<Instant>,
    /// The reason in the host's own words, from [`close_because`](crate::Cache::close_because).
    pub words: Option<&'static str>,
    /// The error behind [`Reason::Failed`], unless it is in the [`TakeError`](crate::TakeError) that this came with. The
    /// operating system reports it only once.
    pub error: Option<io::Error>,
}

/// A connection handed out for good by [`take`](crate::Cache::take), registered under the host's token. Write at once.
#[must_use = "dropping it closes the connection without deregistering it"]
#[non_exhaustive]
pub struct Taken<C> {
    /// The connection.
    pub conn: C,
    /// How long it was inactive.
    pub inactive_for: Duration,
    /// What was kept with it.
    pub private: PrivateData,
    /// Its age and uses. Give it back in [`ParkOptions::history`], or they start again.
    pub history: History,
}

/// What [`park`](crate::Cache::park) is told about a connection besides where it leads. By default it is a connection
/// opened just now, without private data and without a deadline.
#[derive(Default)]
#[must_use = "options do nothing until given to `park`"]
#[non_exhaustive]
pub struct ParkOptions {
    /// What to keep with it.
    pub private: PrivateData,
    /// The time from which it is evicted and no longer handed out.
    pub until: Option<Instant>,
    /// Its age and uses: what [`take`](crate::Cache::take) gave, or [`History::opened_at`].
    pub history: Option<History>,
}

impl ParkOptions {
    /// Keeps private data with the connection.
    pub fn private_data(mut self, data: PrivateData) -> ParkOptions {
        self.private = data;
        self
    }

    /// From `until` on, it isn't handed out but evicted.
    pub fn until(mut self, until: Instant) -> ParkOptions {
        self.until = Some(until);
        self
    }

    /// Continues its age and uses: what [`take`](crate::Cache::take) gave, or [`History::opened_at`].
    pub fn history(mut self, history: History) -> ParkOptions {
        self.history = Some(history);
        self
    }
}

/// The id of a connection that was parked, and what had to make room for it.
#[must_use = "an evicted connection is the host's now"]
#[non_exhaustive]
pub struct Parked<C> {
    /// The id of the connection that was parked.
    pub id: ConnId,
    /// A connection that had to go because of a limit.
    pub evicted: Option<Evicted<C>>,
}

/// What [`set_connection_state`](crate::Cache::set_connection_state) changed besides the state.
#[must_use = "an eviction and displaced private data are the host's now"]
#[non_exhaustive]
pub struct StateChange<C> {
    /// The connection's present lease: a new one if it was made active, else the one given.
    pub id: ConnId,
    /// The private data that was kept with the connection and no longer is.
    pub private: PrivateData,
    /// The connection itself, if it isn't fit for the state; or another one that made room for it.
    pub evicted: Option<Evicted<C>>,
}

/// Implements `Debug` without calling a connection's own `Debug`, and without showing private data. If an expression
/// follows the name of a field, it is shown instead of the field.
macro_rules! show {
    ($($type:ident $(<$($parameter:tt),+>)? { $($field:ident $(: $shown:expr)?),+ }.$finish:ident();)+) => {$(
        impl$(<$($parameter),+>)? fmt::Debug for $type$(<$($parameter),+>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let $type { $($field,)+ .. } = self;
                $($(let $field = &$shown;)?)+
                f.debug_struct(stringify!($type))$(.field(stringify!($field), $field))+.$finish()
            }
        }
    )+};
}

pub(crate) use show;

show! {
    Found { id, inactive_for, uses, private: private.is_some() }.finish();
    Entry<'a, C> { id, peer, channel: channel.0, state, uses, opened, inactive_since }.finish_non_exhaustive();
    Evicted<C> {
        id, reason, peer, channel: channel.0, private: private.is_some(), history, inactive_since, words, error
    }.finish_non_exhaustive();
    Taken<C> { inactive_for, private: private.is_some(), history }.finish_non_exhaustive();
    ParkOptions { private: private.is_some(), until, history }.finish();
    Parked<C> { id, evicted }.finish();
    StateChange<C> { id, private: private.is_some(), evicted }.finish();
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn whether_there_is_private_data_is_shown() {
        let id = ConnId::new(std::num::NonZeroU64::MIN, 0, 1);
        let (peer, channel, history) =
            (Peer::direct("host", 1), ChannelBindingId::PLAIN, || History::opened_at(Instant::now()));
        for is_some in [false, true] {
            let private = || is_some.then(|| Box::new(1) as _);
            let change = StateChange::<()> { id, private: private(), evicted: None };
            let found = Found { id, inactive_for: Duration::ZERO, uses: 1, private: private() };
            let taken = Taken { conn: (), inactive_for: Duration::ZERO, private: private(), history: history() };
            let options = ParkOptions::default().private_data(private());
            let evicted = Evicted {
                id,
                reason: Reason::Shed,
                conn: (),
                peer: peer.clone(),
                channel,
                private: private(),
                history: history(),
                inactive_since: None,
                words: None,
                error: None,
            };
            for shown in [
                format!("{change:?}"),
                format!("{found:?}"),
                format!("{taken:?}"),
                format!("{evicted:?}"),
                format!("{options:?}"),
            ] {
                assert!(shown.contains(&format!("private: {is_some}")), "{shown}");
            }
        }
    }
}
