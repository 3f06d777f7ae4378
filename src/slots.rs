//! The connection records, and lists of them that are linked through the records themselves.

use crate::clock::Tick;
use crate::state::{ConnId, Owner, PrivateData};
use slab::Slab;

/// No slot, bucket or position: the end of a list.
pub(crate) const NONE: u32 = u32::MAX;

pub(crate) type Slots<C> = Slab<Record<C>>;

/// All that is known of one connection.
pub(crate) struct Record<C> {
    pub(crate) generation: u64,
    pub(crate) state: State,
    /// Its place in a list: its owner's while active, its bucket's while inactive.
    links: Links,
    pub(crate) bucket: u32,
    /// How often it was handed out.
    pub(crate) uses: u32,
    pub(crate) lifetime_end: Tick,
    /// The time of its entry among the deadlines; [`Tick::NEVER`] if it has none.
    pub(crate) armed: Tick,
    pub(crate) flags: Flags,
    pub(crate) conn: C,
}

pub(crate) enum State {
    Active { owner: Owner },
    Inactive { since: Tick, until: Tick, private: PrivateData },
}

/// What was found out about a connection once and holds for the rest of its life.
#[derive(Clone, Copy, Default)]
pub(crate) struct Flags {
    /// The connecting is over: it needn't be asked again.
    pub(crate) connected: bool,
    /// Its read side was reported closed while it was active.
    pub(crate) read_closed: bool,
    /// Registered for reading alone, as connections from a host's own table are while parked.
    pub(crate) read_only: bool,
    /// Its peer was closed: it is not kept any more, whatever peer it goes by.
    pub(crate) peer_closed: bool,
}

#[derive(Clone, Copy)]
struct Links {
    newer: u32,
    older: u32,
}

/// A list through the records, newest first. The newest one's `newer` and the oldest one's `older` mean nothing: taking
/// out the newest thus touches no other record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    pub(crate) newest: u32,
    pub(crate) oldest: u32,
}

impl<C> Record<C> {
    pub(crate) fn new(conn: C, generation: u64, owner: Owner, lifetime_end: Tick) -> Record<C> {
        Record {
            generation,
            state: State::Active { owner },
            links: Links { newer: NONE, older: NONE },
            bucket: NONE,
            uses: 0,
            lifetime_end,
            armed: Tick::NEVER,
            flags: Flags::default(),
            conn,
        }
    }

    pub(crate) fn id(&self, slot: u32) -> ConnId {
        ConnId { generation: self.generation, slot }
    }
}

impl List {
    pub(crate) const EMPTY: List = List { newest: NONE, oldest: NONE };

    pub(crate) fn is_empty(&self) -> bool {
        self.newest == NONE
    }

    pub(crate) fn push_newest<C>(&mut self, slots: &mut Slots<C>, slot: u32) {
        slots[slot as usize].links.older = self.newest;
        match self.newest {
            NONE => self.oldest = slot,
            newest => slots[newest as usize].links.newer = slot,
        }
        self.newest = slot;
    }

    /// Takes `slot`, which is in this list, out of it.
    pub(crate) fn remove<C>(&mut self, slots: &mut Slots<C>, slot: u32) {
        let Links { newer, older } = slots[slot as usize].links;
        match (self.newest == slot, self.oldest == slot) {
            (true, true) => *self = List::EMPTY,
            (true, false) => self.newest = older,
            (false, true) => self.oldest = newer,
            (false, false) => {
                slots[newer as usize].links.older = older;
                slots[older as usize].links.newer = newer;
            }
        }
    }

    /// The one after `slot`, towards the oldest.
    pub(crate) fn older<C>(&self, slots: &Slots<C>, slot: u32) -> Option<u32> {
        (slot != self.oldest).then(|| slots[slot as usize].links.older)
    }

    /// The one before `slot`, which is not the newest.
    pub(crate) fn newer<C>(&self, slots: &Slots<C>, slot: u32) -> u32 {
        slots[slot as usize].links.newer
    }

    /// All of the list, newest first.
    pub(crate) fn iter<'a, C>(&self, slots: &'a Slots<C>) -> impl Iterator<Item = u32> + use<'a, C> {
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
            slots.insert(Record::new((), 0, Owner(0), Tick::NEVER));
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
                    None => {
                        naive.insert(0, slot);
                        list.push_newest(&mut slots, slot);
                    }
                }
                assert!(list.iter(&slots).eq(naive.iter().copied()), "seed {seed}");
                assert_eq!(list.oldest, naive.last().copied().unwrap_or(NONE), "seed {seed}");
            }
        }
    }
}
