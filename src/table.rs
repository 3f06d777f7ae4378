//! The connection records and every order they stand in, kept in step. Pure: no sockets, no clock, no log.
//!
//! A record is active (in its owner's list) or inactive (in its bucket's list and in the oldest-first order), and has
//! at most one entry among the deadlines in either state.

use crate::channel::ChannelBindingId;
use crate::peer::Peer;
use crate::reason::Reason;
use crate::state::{Owner, PrivateData};
use crate::table::age::Ages;
use crate::table::buckets::{Bucket, Buckets};
use crate::table::clock::Tick;
use crate::table::deadlines::Deadlines;
use crate::table::owners::Owners;
use crate::table::slots::{Record, Slots, State};
pub(crate) mod age;
pub(crate) mod buckets;
pub(crate) mod chains;
pub(crate) mod clock;
pub(crate) mod deadlines;
pub(crate) mod owners;
pub(crate) mod slots;

pub(crate) struct Table<C> {
    slots: Slots<C>,
    pub(crate) buckets: Buckets,
    pub(crate) ages: Ages,
    owners: Owners,
    deadlines: Deadlines,
    next_generation: u64,
}

/// What a connection leaves behind.
pub(crate) struct Left<C> {
    pub(crate) record: Record<C>,
    pub(crate) peer: Peer,
    pub(crate) channel: ChannelBindingId,
}

impl<C> Table<C> {
    pub(crate) fn new(capacity: usize) -> Table<C> {
        Table {
            slots: Slots::with_capacity(capacity),
            buckets: Buckets::default(),
            ages: Ages::with_capacity(capacity),
            owners: Owners::default(),
            deadlines: Deadlines::with_capacity(capacity),
            next_generation: 0,
        }
    }

    /// The slot and generation that the next connection inserted will have; `None` if no slot number is left. (The last
    /// number, which means none, no block of tokens has room for.)
    pub(crate) fn next_name(&self) -> Option<(u32, u64)> {
        let slot = u32::try_from(self.slots.vacant_key()).ok()?;
        Some((slot, self.next_generation))
    }

    /// Takes in an active connection, under the name announced by [`next_name`](Table::next_name).
    pub(crate) fn insert(
        &mut self,
        conn: C,
        peer: &Peer,
        channel: ChannelBindingId,
        owner: Owner,
        lifetime_end: Tick,
    ) -> u32 {
        let mut record = Record::new(conn, self.next_generation, owner, lifetime_end);
        self.next_generation += 1;
        record.bucket = self.buckets.find_or_add(peer, channel);
        self.buckets.get_mut(record.bucket).active += 1;
        let slot = self.slots.insert(record) as u32;
        self.owners.add(&mut self.slots, owner, slot);
        slot
    }

    /// Makes an inactive connection active: since when it was inactive, and its private data.
    pub(crate) fn activate(&mut self, slot: u32, owner: Owner) -> (Tick, PrivateData) {
        let record = &mut self.slots[slot as usize];
        let (since, private) = match std::mem::replace(&mut record.state, State::Active { owner }) {
            State::Inactive { since, private, .. } => (since, private),
            State::Active { .. } => unreachable!("only an inactive connection is made active"),
        };
        self.buckets.get_mut(record.bucket).active += 1;
        self.unlist(slot);
        self.owners.add(&mut self.slots, owner, slot);
        (since, private)
    }

    /// Makes an active connection inactive; it is the newest from now on.
    pub(crate) fn deactivate(&mut self, slot: u32, since: Tick, until: Tick, private: PrivateData) {
        let record = &mut self.slots[slot as usize];
        let owner = match std::mem::replace(&mut record.state, State::Inactive { since, until, private }) {
            State::Active { owner } => owner,
            State::Inactive { .. } => unreachable!("only an active connection is made inactive"),
        };
        let (at, due) = (record.bucket, until.min(record.lifetime_end));
        if due < record.armed {
            record.armed = due;
            self.deadlines.set(slot, due);
        }
        self.owners.remove(&mut self.slots, owner, slot);
        let bucket = self.buckets.get_mut(at);
        bucket.active -= 1;
        bucket.kept += 1;
        bucket.list.push_newest(&mut self.slots, slot);
        self.ages.push_newest(slot);
    }

    /// Records an active connection under another peer and channel.
    pub(crate) fn move_to(&mut self, slot: u32, peer: &Peer, channel: ChannelBindingId) {
        let from = self.slots[slot as usize].bucket;
        let bucket = self.buckets.get_mut(from);
        if bucket.closed {
            self.slots[slot as usize].flags.peer_closed = true;
        }
        bucket.active -= 1;
        let to = self.buckets.find_or_add(peer, channel);
        self.buckets.get_mut(to).active += 1;
        self.slots[slot as usize].bucket = to;
        self.buckets.release_if_empty(from);
    }

    /// Takes a connection out, whatever its state.
    pub(crate) fn remove(&mut self, slot: u32) -> Left<C> {
        let at = self.slots[slot as usize].bucket;
        match self.slots[slot as usize].state {
            State::Active { owner } => {
                self.owners.remove(&mut self.slots, owner, slot);
                self.buckets.get_mut(at).active -= 1;
            }
            State::Inactive { .. } => self.unlist(slot),
        }
        let record = self.slots.remove(slot as usize);
        self.deadlines.remove(slot);
        let bucket = self.buckets.get(at);
        let (peer, channel) = (bucket.peer.clone(), bucket.channel);
        self.buckets.release_if_empty(at);
        Left { record, peer, channel }
    }

    /// Takes an inactive connection out of the lists it stands in.
    #[inline]
    fn unlist(&mut self, slot: u32) {
        let record = &mut self.slots[slot as usize];
        let (condemned, at) = (record.flags.condemned.take().is_some(), record.bucket);
        let bucket = self.buckets.get_mut(at);
        if condemned {
            bucket.condemned -= 1;
        } else {
            bucket.kept -= 1;
            bucket.list.remove(&mut self.slots, slot);
            self.buckets.stop_waiting_if_empty(at);
        }
        self.ages.remove(slot, condemned);
    }

    /// Condemns the oldest inactive ones until at most `most` are kept; the last that had to be.
    #[inline]
    pub(crate) fn keep_newest(&mut self, most: usize) -> Option<(u32, Reason)> {
        let mut last = None;
        while self.ages.kept() > most {
            last = Some(self.condemn(self.ages.oldest_kept()?, Reason::MaxInactive));
        }
        last
    }

    /// Condemns the oldest inactive ones of a bucket until at most `most` are kept there; the last that had to be.
    #[inline]
    pub(crate) fn keep_newest_in(&mut self, bucket: u32, most: usize) -> Option<(u32, Reason)> {
        let mut last = None;
        while self.buckets.get(bucket).kept as usize > most {
            last = Some(self.condemn(self.buckets.get(bucket).list.oldest, Reason::MaxInactivePerPeer));
        }
        last
    }

    /// Condemns those of closed peers: no limit has to count them any more.
    pub(crate) fn condemn_waiting(&mut self) {
        while let Some(slot) = self.buckets.next_waiting() {
            self.condemn(slot, Reason::PeerClosed);
        }
    }

    /// Condemns the inactive ones that were handed out `most` times. O(n).
    pub(crate) fn condemn_used(&mut self, most: u32) {
        let kept =
            |record: &Record<C>| matches!(record.state, State::Inactive { .. }) && record.flags.condemned.is_none();
        let used = self.slots.iter().filter(|(_, record)| kept(record) && record.uses >= most);
        for slot in used.map(|(slot, _)| slot as u32).collect::<Vec<_>>() {
            self.condemn(slot, Reason::MaxUses);
        }
    }

    fn condemn(&mut self, slot: u32, reason: Reason) -> (u32, Reason) {
        let record = &mut self.slots[slot as usize];
        record.flags.condemned = Some(reason);
        let at = record.bucket;
        let bucket = self.buckets.get_mut(at);
        bucket.kept -= 1;
        bucket.condemned += 1;
        bucket.list.remove(&mut self.slots, slot);
        self.buckets.stop_waiting_if_empty(at);
        self.ages.condemn(slot);
        (slot, reason)
    }

    /// The inactive connection to go first: one condemned, else the one inactive for longest.
    pub(crate) fn oldest_inactive(&self) -> Option<u32> {
        self.ages.oldest_condemned().or(self.ages.oldest_kept())
    }

    /// Puts right the earliest deadline entry, which came up: the connection's next one, or none while it is active.
    pub(crate) fn rearm(&mut self, slot: u32) {
        let record = &mut self.slots[slot as usize];
        record.armed = match record.state {
            State::Active { .. } => Tick::NEVER,
            State::Inactive { until, .. } => until.min(record.lifetime_end),
        };
        match record.armed {
            Tick::NEVER => self.deadlines.remove(slot),
            at => self.deadlines.set(slot, at),
        }
    }

    /// The earliest deadline entry. Never later than the earliest deadline of an inactive connection.
    pub(crate) fn first_deadline(&self) -> Option<(Tick, u32)> {
        self.deadlines.first()
    }

    #[inline]
    pub(crate) fn slot_of(&self, slot: u32, generation: u64) -> Option<u32> {
        self.slots.get(slot as usize).filter(|record| record.generation == generation).map(|_| slot)
    }

    pub(crate) fn at(&self, slot: u32) -> &Record<C> {
        &self.slots[slot as usize]
    }

    pub(crate) fn at_mut(&mut self, slot: u32) -> &mut Record<C> {
        &mut self.slots[slot as usize]
    }

    pub(crate) fn try_at(&self, slot: u32) -> Option<&Record<C>> {
        self.slots.get(slot as usize)
    }

    pub(crate) fn try_at_mut(&mut self, slot: u32) -> Option<&mut Record<C>> {
        self.slots.get_mut(slot as usize)
    }

    pub(crate) fn bucket_of(&self, slot: u32) -> &Bucket {
        self.buckets.get(self.slots[slot as usize].bucket)
    }

    /// The connection after `slot` in its bucket, towards the oldest.
    pub(crate) fn older(&self, slot: u32) -> Option<u32> {
        self.bucket_of(slot).list.older(&self.slots, slot)
    }

    pub(crate) fn owned_by(&self, owner: Owner) -> impl Iterator<Item = u32> {
        self.owners.iter(&self.slots, owner)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Record<C>)> {
        self.slots.iter().map(|(slot, record)| (slot as u32, record))
    }

    /// One more than the highest slot that may be taken.
    pub(crate) fn slots_end(&self) -> u32 {
        self.slots.capacity() as u32
    }

    pub(crate) fn inactive(&self) -> usize {
        self.ages.condemned() + self.ages.kept()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_run_out_stands_among_the_deadlines() {
        let (mut table, peer, channel) = (Table::new(0), Peer::direct("host", 1), ChannelBindingId::PLAIN);
        let lasting = table.insert((), &peer, channel, Owner(0), Tick::NEVER);
        table.deactivate(lasting, Tick(1), Tick::NEVER, None);
        assert_eq!(table.first_deadline(), None);
        let ending = table.insert((), &peer, channel, Owner(0), Tick::NEVER);
        table.deactivate(ending, Tick(1), Tick(5), None);
        assert_eq!(table.first_deadline(), Some((Tick(5), ending)));
        [lasting, ending].into_iter().for_each(|slot| drop(table.remove(slot)));
        assert_eq!(table.first_deadline(), None);
    }
}
