//! Why connections leave the cache.

use std::fmt;

/// Why a connection left the cache. Each leaves once, for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The peer closed its side; or, while the connection was in use, the loop was told that its read side is closed.
    HungUp,
    /// The peer sent something that nobody had asked for, or something was left unread.
    Unsolicited,
    /// The socket failed, by a reset, say. Or it couldn't be re-registered.
    Failed,
    /// It kept waking the loop, and the probe found nothing: more than 64 times, not counting one time for each second.
    FalseAlarms,
    /// It was to become inactive for the first time and was not connected: not yet, or no longer (after a reset, say).
    NotConnected,
    /// It was inactive for as long as allowed.
    IdleTimeout,
    /// It reached the deadline that it got when it became inactive, from
    /// [`checkin_until`](crate::Cache::checkin_until), say. (The deadline of an active connection, set by
    /// [`set_deadline`](crate::Cache::set_deadline), evicts nothing.)
    Deadline,
    /// It became as old as allowed.
    MaxLifetime,
    /// It served as many owners as allowed.
    MaxUses,
    /// Too many were inactive, and it was the one inactive for longest, apart from those that had to go anyway.
    MaxInactive,
    /// Too many of its peer and channel binding were inactive, and it was the one inactive for longest.
    MaxInactivePerPeer,
    /// It made room, at a limit on all connections, for a request or for a connection that was parked.
    MadeRoom,
    /// The policy decided so.
    Policy,
    /// It led to a peer that the host [closed](crate::Cache::close_peer). (If the peer itself hangs up, that is
    /// [`HungUp`](Reason::HungUp).)
    ClosedPeer,
    /// It was under a channel binding that the host [closed](crate::Cache::close_channel).
    ClosedChannel,
    /// The cache is being drained.
    Drained,
    /// The host [shed](crate::Cache::shed) it to free a descriptor.
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
        Reason::FalseAlarms,
        Reason::NotConnected,
        Reason::IdleTimeout,
        Reason::Deadline,
        Reason::MaxLifetime,
        Reason::MaxUses,
        Reason::MaxInactive,
        Reason::MaxInactivePerPeer,
        Reason::MadeRoom,
        Reason::Policy,
        Reason::ClosedPeer,
        Reason::ClosedChannel,
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
            Reason::FalseAlarms => "false_alarms",
            Reason::NotConnected => "not_connected",
            Reason::IdleTimeout => "idle_timeout",
            Reason::Deadline => "deadline",
            Reason::MaxLifetime => "max_lifetime",
            Reason::MaxUses => "max_uses",
            Reason::MaxInactive => "max_inactive",
            Reason::MaxInactivePerPeer => "max_inactive_per_peer",
            Reason::MadeRoom => "made_room",
            Reason::Policy => "policy",
            Reason::ClosedPeer => "closed_peer",
            Reason::ClosedChannel => "closed_channel",
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
}
