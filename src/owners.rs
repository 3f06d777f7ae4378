//! Which active connections each owner has.

use crate::slots::{List, Slots};
use crate::state::Owner;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};

/// Lists of connections by owner. An owner without a connection has no entry.
#[derive(Default)]
pub(crate) struct Owners {
    lists: HashMap<Owner, List, BuildHasherDefault<Mixer>>,
}

impl Owners {
    pub(crate) fn add<C>(&mut self, slots: &mut Slots<C>, owner: Owner, slot: u32) {
        self.lists.entry(owner).or_insert(List::EMPTY).push_newest(slots, slot);
    }

    /// Takes `slot`, which `owner` has, from it.
    pub(crate) fn remove<C>(&mut self, slots: &mut Slots<C>, owner: Owner, slot: u32) {
        if let Entry::Occupied(mut entry) = self.lists.entry(owner) {
            entry.get_mut().remove(slots, slot);
            if entry.get().is_empty() {
                entry.remove();
            }
        }
    }

    pub(crate) fn list(&self, owner: Owner) -> List {
        self.lists.get(&owner).copied().unwrap_or(List::EMPTY)
    }

    /// How many owners have a connection.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lists.len()
    }
}

/// Owners are the host's own numbers, not an attacker's: one multiplication spreads them well enough.
#[derive(Default)]
struct Mixer(u64);

impl Hasher for Mixer {
    fn write_u64(&mut self, owner: u64) {
        let product = u128::from(owner) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product as u64) ^ (product >> 64) as u64;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("an owner hashes as one u64");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Tick;
    use crate::slots::Record;

    #[test]
    fn an_entry_goes_with_its_owners_last_connection() {
        let (mut slots, mut owners) = (Slots::new(), Owners::default());
        for slot in 0..3 {
            slots.insert(Record::new((), 0, Owner(7), Tick::NEVER));
            owners.add(&mut slots, Owner(7), slot);
        }
        owners.remove(&mut slots, Owner(7), 1);
        assert!(owners.list(Owner(7)).iter(&slots).eq([2, 0]));
        owners.remove(&mut slots, Owner(7), 2);
        owners.remove(&mut slots, Owner(7), 0);
        assert!(owners.list(Owner(7)).is_empty());
        assert_eq!(owners.len(), 0);
    }

    #[test]
    fn owners_that_are_addresses_or_small_numbers_do_not_collide() {
        use std::collections::HashSet;
        for step in [1, 64, 4096, 1 << 40] {
            let hash = |owner: u64| {
                let mut mixer = Mixer::default();
                mixer.write_u64(owner);
                mixer.finish() & 0xffff
            };
            let distinct: HashSet<u64> = (0..1_000).map(|i| hash(i * step)).collect();
            assert!(distinct.len() > 950, "step {step}: {}", distinct.len());
        }
    }
}
