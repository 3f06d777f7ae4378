//! Why connections leave the cache.

use std::fmt;

/// The reasons, each with its word.
macro_rules! reasons {
    ($($(#[$about:meta])* $reason:ident = $word:literal,)*) => {
        /// Why a connection left the cache. Each leaves once, for one reason.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[$about])* $reason,)*
        }

        impl Reason {
            /// All reasons; there may be more of them in later versions.
            pub const ALL: &[Reason] = &[$(Reason::$reason),*];

            /// A word for logs and reports.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Reason::$reason => $word,)*
                }
            }
        }
    };
}

reasons! {
    /// The peer closed its side; or, while the connection was in use, the loop was told that its read side is closed.
    HungUp = "hung_up",
    /// The peer sent something that nobody had asked for, or something was left unread.
    Unsolicited = "unsolicited",
    /// The socket failed, for example by a reset, or it couldn't be re-registered.
    Failed = "failed",
    /// It kept waking the loop, and the probe found nothing: more than 64 times, not counting once a second.
    FalseAlarms = "false_alarms",
    /// It was to become inactive for the first time and was not connected: not yet, or no longer (for example after a
    /// reset).
    NotConnected = "not_connected",
    /// It was inactive for as long as allowed.
    IdleTimeout = "idle_timeout",
    /// It reached the deadline that it got when it became inactive, for example from
    /// [`checkin_until`](crate::Cache::checkin_until). (The deadline of an active connection, set by
    /// [`set_deadline`](crate::Cache::set_deadline), evicts nothing.)
    Deadline = "deadline",
    /// It became as old as allowed.
    MaxLifetime = "max_lifetime",
    /// It served as many owners as allowed.
    MaxUses = "max_uses",
    /// Too many were inactive, and it was the one inactive longest, apart from those that had to go anyway.
    MaxInactive = "max_inactive",
    /// Too many of its peer and channel binding were inactive, and it was the one inactive longest.
    MaxInactivePerPeer = "max_inactive_per_peer",
    /// It made room, at a limit on all connections, for a request or for a connection that was parked.
    MadeRoom = "made_room",
    /// The policy decided so.
    Policy = "policy",
    /// It led to a peer that the host [closed](crate::Cache::close_peer). (If the peer itself hangs up, that is
    /// [`HungUp`](Reason::HungUp).)
    ClosedPeer = "closed_peer",
    /// It was under a channel binding that the host [closed](crate::Cache::close_channel).
    ClosedChannel = "closed_channel",
    /// The cache is being drained.
    Drained = "drained",
    /// The host [shed](crate::Cache::shed) it to free a descriptor.
    Shed = "shed",
    /// The host closed it, or the whole cache.
    Closed = "closed",
    /// The host removed it, to use it for something else.
    Removed = "removed",
    /// The host took it into its own table.
    Taken = "taken",
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
    fn each_reason_has_a_word_of_its_own_that_pads() {
        let words: HashSet<String> = Reason::ALL.iter().map(Reason::to_string).collect();
        assert_eq!(words.len(), Reason::ALL.len());
        assert_eq!(format!("{:>6}|{}", Reason::Shed, Reason::MaxUses), "  shed|max_uses");
    }
}
