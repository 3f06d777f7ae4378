//! What is known of one connection, in two parts: the [`Record`], which every cycle needs, and the [`Rest`]. The
//! connection itself is in `slots.rs`.

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
    /// A number that no other connection of the process has. In a vacant slot, it is one that no connection will have.
    pub(crate) generation: NonZeroU64,
    /// How many owners it has had, with the present one. This is also the number of its lease.
    pub(crate) uses: u32,
    /// The bucket of its peer and channel binding.
    pub(crate) bucket: u32,
    pub(crate) state: PackedState,
    pub(crate) lifetime_end: Tick,
    /// Its neighbours: while active, in the chain of its owner's hash; while inactive, in the list of its bucket.
    pub(crate) links: Links,
    /// While inactive, its neighbours in the order of age of its standing.
    pub(crate) age: Links,
    pub(crate) flags: Flags,
}

/// What a usual cycle doesn't need.
pub(crate) struct Rest {
    /// The host's private data, while the connection is inactive.
    pub(crate) private: PrivateData,
    pub(crate) opened: Tick,
    /// Its number in the cache. The low bits of this number are in its token.
    pub(crate) serial: u32,
    /// The second in which the last of its false alarms is forgotten. Each of them takes one second: a leaky bucket.
    pub(crate) alarms: u32,
}

#[derive(Clone, Copy)]
pub(crate) enum State {
    /// In use. `until` is the deadline that its owner has set.
    Active { owner: Owner, until: Tick },
    /// Not in use since `since`. `until` is its own deadline.
    Inactive { since: Tick, until: Tick },
}

/// A [`State`] in two words. [`Flags::inactive`] says which of the two states it is.
#[derive(Clone, Copy)]
pub(crate) struct PackedState(u64, Tick);

/// The small parts of a record. They take eight bytes at most, because a record has no room for more.
#[derive(Clone, Copy, Default)]
pub(crate) struct Flags {
    /// What has to be checked or done when it becomes inactive.
    pub(crate) remarks: Remarks,
    /// It is registered only for reading. Parked connections are; and so are all inactive ones where edges are emulated
    /// or the loop is level-triggered.
    pub(crate) read_only: bool,
    /// It has an entry in the queue of deadlines of inactive connections, for the end of its lifetime or an earlier
    /// time.
    pub(crate) armed: bool,
    /// Its [`Rest`] holds private data or false alarms, which have to be taken out when it is handed out.
    pub(crate) rest_matters: bool,
    /// Whether it is inactive. Only [`set_state`](Record::set_state) writes this.
    pub(crate) inactive: bool,
    /// Its standing while it is inactive.
    pub(crate) standing: Standing,
    /// Why it has to leave, even if it is moved to another bucket: the host has closed a peer or channel binding that
    /// it had, or it is condemned.
    pub(crate) doomed: Option<Reason>,
}

/// What has to be checked or done when a connection becomes inactive. It is a set of bits. For most connections it is
/// empty, and one comparison finds that out.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Remarks(u8);

/// What an inactive connection is kept for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is kept for any request.
    #[default]
    Kept,
    /// It is promised to the requests in the line of its bucket. The limits on the number of inactive connections don't
    /// count it.
    Promised,
    /// It has to leave: it was beyond a limit, its peer was closed when a limit was lowered, or the policy didn't keep
    /// it after a broken promise. It isn't handed out, and those limits don't count it either.
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
    /// It isn't known to be connected, and has to be asked.
    pub(crate) const UNCONNECTED: Remarks = Remarks(1);
    /// It counts as a connection that is being opened, for `max_connecting_per_peer`.
    pub(crate) const CONNECTING: Remarks = Remarks(2);
    /// Its read side was reported closed while it was active.
    pub(crate) const READ_CLOSED: Remarks = Remarks(4);

    pub(crate) fn has(self, remark: Remarks) -> bool {
        self.0 & remark.0 != 0
    }

    pub(crate) fn set(&mut self, remark: Remarks, yes: bool) {
        self.0 = if yes { self.0 | remark.0 } else { self.0 & !remark.0 };
    }

    pub(crate) const fn union(self, other: Remarks) -> Remarks {
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
