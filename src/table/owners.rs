//! The active connections of each owner.

use crate::state::Owner;
use crate::table::chains::{Heads, Mixer};
use crate::table::lists::{Links, NONE};
use crate::table::record::State;
use crate::table::slots::Slots;

/// How many connections are in a chain at most, on average, when all are active. Most are inactive in most caches.
const TO_A_CHAIN: usize = 2;
/// Owners with successive numbers have neighbouring chains, in blocks of this size. Most hosts number their owners one
/// after the other: the chains of those who are busy at the same time then share lines of the processor's cache.
const BLOCK: u64 = 64;

/// The active connections, in chains by their owners' hashes. Owners have no entries of their own.
pub(crate) struct Owners {
    heads: Heads,
    mixer: Mixer,
}

impl Owners {
    pub(crate) fn new(capacity: usize, mixer: Mixer) -> Owners {
        Owners { heads: Heads::with_room(capacity / TO_A_CHAIN), mixer }
    }

    /// Gives a new connection to its owner. First makes room for as many owners as there are connections, so that
    /// [`push`](Owners::push) need not check that.
    pub(crate) fn add<C>(&mut self, slots: &mut Slots<C>, owner: Owner, slot: u32) {
        if slots.len() > TO_A_CHAIN * self.heads.room() {
            self.make_room(slots);
        }
        self.push(slots, owner, slot);
    }

    /// Gives a connection that is in the tables already to its owner.
    #[inline]
    pub(crate) fn push<C>(&mut self, slots: &mut Slots<C>, owner: Owner, slot: u32) {
        self.heads.push(slots, hash(self.mixer, owner), slot);
    }

    /// Takes a connection, which has these links, from its owner.
    #[inline]
    pub(crate) fn remove<C>(&mut self, slots: &mut Slots<C>, owner: Owner, links: Links) {
        self.heads.remove(slots, links, || hash(self.mixer, owner));
    }

    /// The connections of `owner`. O(their number) on average.
    pub(crate) fn iter<C>(&self, slots: &Slots<C>, owner: Owner) -> impl Iterator<Item = u32> {
        self.heads.chain(slots, hash(self.mixer, owner)).filter(move |&slot| owner_of(slots, slot) == Some(owner))
    }

    /// Gives back the memory that the present connections don't need.
    pub(crate) fn shrink_to_fit<C>(&mut self, slots: &mut Slots<C>) {
        self.make_room(slots);
    }

    #[cold]
    fn make_room<C>(&mut self, slots: &mut Slots<C>) {
        for mut slot in self.heads.make_room(slots.len() / TO_A_CHAIN) {
            while slot != NONE {
                let older = slots[slot].links.older;
                if let Some(owner) = owner_of(slots, slot) {
                    self.push(slots, owner, slot);
                }
                slot = older;
            }
        }
    }
}

/// The chain of an owner. The chains of a block are neighbours, and where the block begins is random. So nobody can
/// choose numbers that share a chain, except a few of one block in a table with fewer chains than a block has.
#[inline]
fn hash(mixer: Mixer, owner: Owner) -> u64 {
    mixer.mix(owner.0 / BLOCK) ^ (owner.0 % BLOCK)
}

fn owner_of<C>(slots: &Slots<C>, slot: u32) -> Option<Owner> {
    match slots[slot].state() {
        State::Active { owner, .. } => Some(owner),
        State::Inactive { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::chains::colliding;
    use crate::table::clock::Tick;
    use crate::table::record::{Record, Rest};
    use crate::testing::Random;

    fn owners() -> Owners {
        Owners::new(0, Mixer::new(1))
    }

    #[test]
    fn each_owner_has_what_a_plain_list_would_say() {
        for seed in 0..5 {
            let (mut random, mut slots, mut owners) = (Random::new(seed), Slots::with_capacity(0), owners());
            let mut naive: Vec<(Owner, u32)> = Vec::new();
            for _ in 0..1_000 {
                if random.below(5) < 2 && !naive.is_empty() {
                    let (owner, slot) = naive.remove(random.below(naive.len()));
                    let links = slots[slot].links;
                    owners.remove(&mut slots, owner, links);
                    slots.remove(slot);
                } else {
                    let owner = Owner(random.below(30) as u64);
                    let slot = slots.insert(Record::new(owner), Rest::new(Tick::FIRST), ());
                    owners.add(&mut slots, owner, slot);
                    naive.push((owner, slot));
                }
                for owner in (0..30).map(Owner) {
                    let mut found: Vec<u32> = owners.iter(&slots, owner).collect();
                    found.sort();
                    let mut known: Vec<u32> = naive.iter().filter(|(o, _)| *o == owner).map(|&(_, s)| s).collect();
                    known.sort();
                    assert_eq!(found, known, "seed {seed}");
                }
            }
        }
    }

    #[test]
    fn chains_stay_short_however_many_there_are() {
        let (mut slots, mut owners) = (Slots::with_capacity(0), owners());
        for number in 0..1_000 {
            let slot = slots.insert(Record::new(Owner(number)), Rest::new(Tick::FIRST), ());
            owners.add(&mut slots, Owner(number), slot);
        }
        assert!(owners.heads.room() >= 500);
        let chain = |owner: u64| owners.heads.chain(&slots, hash(owners.mixer, Owner(owner))).count();
        assert!((0..1_000).map(chain).max() < Some(14));
    }

    #[test]
    fn successive_numbers_have_neighbouring_chains_of_their_own() {
        for seed in 0..50 {
            let place = |owner| hash(Mixer::new(seed), Owner(owner)) % 1_024;
            let mut places: Vec<u64> = (BLOCK..2 * BLOCK).map(place).collect();
            places.sort();
            assert!(places[0] % BLOCK == 0 && places.iter().zip(places[0]..).all(|(&place, next)| place == next));
        }
    }

    /// 1,000 numbers chosen so that they share a chain in one cache share none in another.
    #[test]
    fn chains_stay_short_whatever_numbers_are_chosen() {
        let chosen = colliding(1_000, |number| hash(Mixer::new(1), Owner(number)));
        let longest = |mixer: Mixer| {
            let (mut slots, mut owners) = (Slots::with_capacity(0), Owners::new(chosen.len(), mixer));
            for &number in &chosen {
                let slot = slots.insert(Record::new(Owner(number)), Rest::new(Tick::FIRST), ());
                owners.add(&mut slots, Owner(number), slot);
            }
            let chain = |&owner: &u64| owners.heads.chain(&slots, hash(owners.mixer, Owner(owner))).count();
            chosen.iter().map(chain).max()
        };
        assert_eq!(longest(Mixer::new(1)), Some(1_000));
        assert!(longest(Mixer::new(2)) < Some(12));
    }

    #[test]
    fn the_table_grows_by_those_there_at_once_not_by_those_who_came() {
        let (mut slots, mut owners) = (Slots::with_capacity(0), owners());
        let room = TO_A_CHAIN * owners.heads.room();
        for _ in 0..100 {
            for number in 0..room {
                let owner = Owner(number as u64);
                slots.insert(Record::new(owner), Rest::new(Tick::FIRST), ());
                owners.add(&mut slots, owner, number as u32);
            }
            for number in (0..room).rev() {
                let links = slots[number as u32].links;
                owners.remove(&mut slots, Owner(number as u64), links);
                slots.remove(number as u32);
            }
        }
        assert_eq!(TO_A_CHAIN * owners.heads.room(), room);
    }
}
