//! The connection records, and lists of them that are linked through the records themselves.

use crate::reason::Reason;
use crate::state::{ConnId, Owner, PrivateData};
use crate::table::clock::Tick;
use slab::Slab;
use std::sync::atomic::{AtomicU64, Ordering};

/// No slot, bucket or position: the end of a list.
pub(crate) const NONE: u32 = u32::MAX;

pub(crate) type Slots<C> = Slab<Record<C>>;

/// All that is known of one connection.
pub(crate) struct Record<C> {
    /// A number that no other connection of the process has.
    pub(crate) generation: u64,
    /// How many owners it has had, the present one included: the number of its lease.
    pub(crate) uses: u32,
    pub(crate) bucket: u32,
    pub(crate) state: State,
    /// Its place in a list: its owner's while active, its bucket's while inactive.
    pub(crate) links: Links,
    pub(crate) opened: Tick,
    pub(crate) lifetime_end: Tick,
    /// Its number in the cache, whose low bits are in its token.
    pub(crate) serial: u32,
    /// The second until which its false alarms are paid for: a leaky bucket.
    pub(crate) alarms: u32,
    pub(crate) flags: Flags,
    pub(crate) conn: C,
}

pub(crate) enum State {
    Active { owner: Owner },
    Inactive { since: Tick, until: Tick, private: PrivateData },
}

/// What is known of a connection besides. Eight bytes: a record has no more to spare.
#[derive(Clone, Copy, Default)]
pub(crate) struct Flags {
    /// The connecting is over: it needn't be asked again.
    pub(crate) connected: bool,
    /// It counts as one that is being opened.
    pub(crate) connecting: bool,
    /// Its read side was reported closed while it was active.
    pub(crate) read_closed: bool,
    /// Registered for reading alone, as connections from a host's own table are while parked; and all inactive ones
    /// where edges are emulated.
    pub(crate) read_only: bool,
    /// It has an entry among the deadlines of inactive connections, at the end of its lifetime or earlier.
    pub(crate) armed: bool,
    /// It has an entry among the deadlines of active connections.
    pub(crate) timed: bool,
    pub(crate) standing: Standing,
    /// It is to go for this reason, active or not, wherever it is moved: the host closed a peer or channel binding that
    /// it went by; or it is condemned.
    pub(crate) doomed: Option<Reason>,
}

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

/// The neighbours in a list.
#[derive(Clone, Copy)]
pub(crate) struct Links {
    pub(crate) newer: u32,
    pub(crate) older: u32,
}

/// Where the links of each slot are.
pub(crate) trait Linked {
    fn links(&self, slot: u32) -> Links;
    fn links_mut(&mut self, slot: u32) -> &mut Links;
}

impl<C> Linked for Slots<C> {
    #[inline]
    fn links(&self, slot: u32) -> Links {
        self[slot as usize].links
    }

    #[inline]
    fn links_mut(&mut self, slot: u32) -> &mut Links {
        &mut self[slot as usize].links
    }
}

/// A list of slots, newest first. The newest one's `newer` and the oldest one's `older` mean nothing: taking out the
/// newest thus touches no other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    pub(crate) newest: u32,
    pub(crate) oldest: u32,
}

impl<C> Record<C> {
    /// A connection that was opened just now, for `owner`.
    pub(crate) fn new(conn: C, owner: Owner) -> Record<C> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Record {
            generation: NEXT.fetch_add(1, Ordering::Relaxed),
            uses: 1,
            bucket: NONE,
            state: State::Active { owner },
            links: Links { newer: NONE, older: NONE },
            opened: Tick::FIRST,
            lifetime_end: Tick::NEVER,
            serial: 0,
            alarms: 0,
            flags: Flags::default(),
            conn,
        }
    }

    #[inline]
    pub(crate) fn id(&self, slot: u32) -> ConnId {
        ConnId { generation: self.generation, slot, lease: self.uses }
    }

    pub(crate) fn inactive_since(&self) -> Option<Tick> {
        match self.state {
            State::Active { .. } => None,
            State::Inactive { since, .. } => Some(since),
        }
    }
}

impl Default for List {
    fn default() -> List {
        List::EMPTY
    }
}

impl List {
    pub(crate) const EMPTY: List = List { newest: NONE, oldest: NONE };

    pub(crate) fn is_empty(&self) -> bool {
        self.newest == NONE
    }

    #[inline]
    pub(crate) fn push_newest(&mut self, slots: &mut impl Linked, slot: u32) {
        slots.links_mut(slot).older = self.newest;
        match self.newest {
            NONE => self.oldest = slot,
            newest => slots.links_mut(newest).newer = slot,
        }
        self.newest = slot;
    }

    /// Puts `slot` next to `older`, on its newer side; at the oldest end if that is [`NONE`].
    pub(crate) fn insert(&mut self, slots: &mut impl Linked, slot: u32, older: u32) {
        let newer = match older {
            NONE => self.oldest,
            older => self.newer(slots, older).unwrap_or(NONE),
        };
        *slots.links_mut(slot) = Links { newer, older };
        match older {
            NONE => self.oldest = slot,
            older => slots.links_mut(older).newer = slot,
        }
        match newer {
            NONE => self.newest = slot,
            newer => slots.links_mut(newer).older = slot,
        }
    }

    /// Takes `slot`, which is in this list, out of it.
    #[inline]
    pub(crate) fn remove(&mut self, slots: &mut impl Linked, slot: u32) {
        let links = slots.links(slot);
        self.take_out(slots, slot, links);
    }

    /// Takes `slot`, which is in this list with these links, out of it.
    #[inline]
    pub(crate) fn take_out(&mut self, slots: &mut impl Linked, slot: u32, links: Links) {
        let Links { newer, older } = links;
        match (self.newest == slot, self.oldest == slot) {
            (true, true) => *self = List::EMPTY,
            (true, false) => self.newest = older,
            (false, true) => self.oldest = newer,
            (false, false) => {
                slots.links_mut(newer).older = older;
                slots.links_mut(older).newer = newer;
            }
        }
    }

    /// The one after `slot`, towards the oldest.
    pub(crate) fn older(&self, slots: &impl Linked, slot: u32) -> Option<u32> {
        (slot != self.oldest).then(|| slots.links(slot).older)
    }

    /// The one after `slot`, towards the newest.
    pub(crate) fn newer(&self, slots: &impl Linked, slot: u32) -> Option<u32> {
        (slot != self.newest).then(|| slots.links(slot).newer)
    }

    /// All of the list, newest first.
    #[cfg(test)]
    pub(crate) fn iter(&self, slots: &impl Linked) -> impl Iterator<Item = u32> {
        let list = *self;
        std::iter::successors((!list.is_empty()).then_some(list.newest), move |&slot| list.older(slots, slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn a_list_is_what_a_plain_vector_would_be() {
        let mut slots = Slots::new();
        (0..30).for_each(|_| {
            slots.insert(Record::new((), Owner(0)));
        });
        for seed in 0..20 {
            let (mut random, mut list, mut naive) = (Random::new(seed), List::EMPTY, Vec::new());
            for _ in 0..2_000 {
                let slot = random.below(slots.len()) as u32;
                match naive.iter().position(|&s| s == slot) {
                    Some(at) => {
                        naive.remove(at);
                        list.remove(&mut slots, slot);
                    }
                    None if random.below(2) == 0 => {
                        naive.insert(0, slot);
                        list.push_newest(&mut slots, slot);
                    }
                    None => {
                        let at = random.below(naive.len() + 1);
                        list.insert(&mut slots, slot, naive.get(at).copied().unwrap_or(NONE));
                        naive.insert(at, slot);
                    }
                }
                assert!(list.iter(&slots).eq(naive.iter().copied()), "seed {seed}");
                assert_eq!(list.oldest, naive.last().copied().unwrap_or(NONE), "seed {seed}");
            }
        }
    }
}
