//! All that is known of one connection, in two parts. The connection itself is in `slots.rs`.

use crate::reason::Reason;
use crate::state::{ConnId, Owner, PrivateData};
use crate::table::clock::Tick;
use crate::table::lists::{Links, NONE};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a cycle of hand-out and return reads and writes: one line of the processor's cache, and no more.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Record {
    /// A number that no other connection of the process has; in a vacant slot, one that none will have.
    pub(crate) generation: NonZeroU64,
    /// How many owners it has had, the present one included: the number of its lease.
    pub(crate) uses: u32,
    pub(crate) bucket: u32,
    pub(crate) state: PackedState,
    pub(crate) lifetime_end: Tick,
    /// Its place in a list: its owner's while active, its bucket's while inactive.
    pub(crate) links: Links,
    /// Its place among all inactive ones of its standing, by age.
    pub(crate) age: Links,
    pub(crate) flags: Flags,
}

/// What a cycle doesn't need.
pub(crate) struct Rest {
    /// What is kept with an inactive one.
    pub(crate) private: PrivateData,
    pub(crate) opened: Tick,
    /// Its number in the cache, whose low bits are in its token.
    pub(crate) serial: u32,
    /// The second until which its false alarms are paid for: a leaky bucket.
    pub(crate) alarms: u32,
}

#[derive(Clone, Copy)]
pub(crate) enum State {
    /// `until`: when its owner wants to have done with it.
    Active {
        owner: Owner,
        until: Tick,
    },
    Inactive {
        since: Tick,
        until: Tick,
    },
}

/// The two words of a [`State`]. Which of the two it is, [`Flags::inactive`] says.
#[derive(Clone, Copy)]
pub(crate) struct PackedState(u64, Tick);

/// What is known of a connection besides. At most eight bytes: a record has no more to spare.
#[derive(Clone, Copy, Default)]
pub(crate) struct Flags {
    /// What has to be seen to when it becomes inactive.
    pub(crate) remarks: Remarks,
    /// Registered for reading alone, as connections from a host's own table are while parked; and all inactive ones
    /// where edges are emulated.
    pub(crate) read_only: bool,
    /// It has an entry among the deadlines of inactive connections, at the end of its lifetime or earlier.
    pub(crate) armed: bool,
    /// Its [`Rest`] holds private data or counted false alarms, which have to go when it is handed out.
    pub(crate) rest_matters: bool,
    /// Written by [`set_state`](Record::set_state) alone.
    pub(crate) inactive: bool,
    pub(crate) standing: Standing,
    /// It is to go for this reason, active or not, wherever it is moved: the host closed a peer or channel binding that
    /// it went by; or it is condemned.
    pub(crate) doomed: Option<Reason>,
}

/// What has to be seen to when a connection becomes inactive: nothing, for most. A set, so that one comparison tells.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Remarks(u8);

/// What an inactive connection is kept for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// For whoever comes.
    #[default]
    Kept,
    /// For somebody who waits: no limit on the number of inactive ones counts it.
    Promised,
    /// To go: a limit was lowered, or at that time its peer had been closed. Nor does a limit count these.
    Condemned,
}

impl Record {
    pub(crate) const VACANT: Record = Record {
        generation: NonZeroU64::MAX,
        uses: 0,
        bucket: NONE,
        state: PackedState(0, Tick::NEVER),
        lifetime_end: Tick::NEVER,
        links: Links::NONE,
        age: Links::NONE,
        flags: Flags {
            remarks: Remarks::NONE,
            read_only: false,
            armed: false,
            rest_matters: false,
            inactive: false,
            standing: Standing::Kept,
            doomed: None,
        },
    };

    /// A connection that was opened just now, for `owner`.
    pub(crate) fn new(owner: Owner) -> Record {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let generation = NonZeroU64::new(NEXT.fetch_add(1, Ordering::Relaxed)).expect("2^64 connections are too many");
        let mut record = Record { generation, uses: 1, ..Record::VACANT };
        record.set_state(State::Active { owner, until: Tick::NEVER });
        record
    }

    #[inline]
    pub(crate) fn id(&self, slot: u32) -> ConnId {
        ConnId::new(self.generation, slot, self.uses)
    }

    #[inline]
    pub(crate) fn state(&self) -> State {
        let PackedState(word, until) = self.state;
        match self.flags.inactive {
            false => State::Active { owner: Owner(word), until },
            true => State::Inactive { since: Tick(word), until },
        }
    }

    #[inline]
    pub(crate) fn set_state(&mut self, state: State) {
        (self.flags.inactive, self.state) = match state {
            State::Active { owner, until } => (false, PackedState(owner.0, until)),
            State::Inactive { since, until } => (true, PackedState(since.0, until)),
        };
    }

    #[inline]
    pub(crate) fn is_inactive(&self) -> bool {
        self.flags.inactive
    }

    #[inline]
    pub(crate) fn inactive_since(&self) -> Option<Tick> {
        match self.state() {
            State::Active { .. } => None,
            State::Inactive { since, .. } => Some(since),
        }
    }
}

impl Rest {
    pub(crate) const VACANT: Rest = Rest::new(Tick::FIRST);

    pub(crate) const fn new(opened: Tick) -> Rest {
        Rest { private: None, opened, serial: 0, alarms: 0 }
    }
}

impl Remarks {
    pub(crate) const NONE: Remarks = Remarks(0);
    /// It may still be connecting: it has to be asked.
    pub(crate) const UNCONNECTED: Remarks = Remarks(1);
    /// It counts as one that is being opened.
    pub(crate) const CONNECTING: Remarks = Remarks(2);
    /// Its read side was reported closed while it was active.
    pub(crate) const READ_CLOSED: Remarks = Remarks(4);

    pub(crate) fn has(self, remark: Remarks) -> bool {
        self.0 & remark.0 != 0
    }

    pub(crate) fn set(&mut self, remark: Remarks, yes: bool) {
        self.0 = if yes { self.0 | remark.0 } else { self.0 & !remark.0 };
    }

    pub(crate) const fn and(self, other: Remarks) -> Remarks {
        Remarks(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_of_the_processors_cache() {
        assert_eq!(size_of::<Record>(), 64);
        assert!(size_of::<Rest>() <= 32, "with 32-bit pointers less");
    }

    #[test]
    fn every_state_comes_back_as_it_was() {
        let mut record = Record::new(Owner(0));
        assert!(matches!(record.state(), State::Active { owner: Owner(0), until: Tick::NEVER }));
        for (owner, until) in [(0, Tick::NEVER), (1, Tick(0)), (u64::MAX, Tick::FIRST)] {
            record.set_state(State::Active { owner: Owner(owner), until });
            assert!(matches!(record.state(), State::Active { owner: Owner(o), until: u } if (o, u) == (owner, until)));
            assert!(!record.is_inactive() && record.inactive_since().is_none());
        }
        for (since, until) in [(Tick::FIRST, Tick::NEVER), (Tick(0), Tick(0)), (Tick::LAST, Tick::FIRST)] {
            record.set_state(State::Inactive { since, until });
            assert!(matches!(record.state(), State::Inactive { since: s, until: u } if (s, u) == (since, until)));
            assert_eq!(record.inactive_since(), Some(since));
        }
    }
}
