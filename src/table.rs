//! The [`Table`]: the connections, the waiting requests, and all lists, chains and queues that they are in, kept in
//! step with each other. Pure: no sockets, no clock, no log. docs/contributing.md explains the words that are used
//! here.
//!
//! An active connection is in a chain of its owner. An inactive one is in the order of age of its standing, and in the
//! list of its bucket unless it is condemned. Each has at most one entry in the queue of deadlines of inactive
//! connections, and one in the queue of owners' deadlines.

use crate::channel::ChannelBindingId;
use crate::peer::Peer;
use crate::policy::Candidate;
use crate::reason::Reason;
use crate::state::{ConnId, Owner, PrivateData};
use crate::table::age::Ages;
use crate::table::buckets::{Bucket, Buckets, Destination};
use crate::table::chains::Mixer;
use crate::table::clock::Tick;
use crate::table::deadlines::Deadlines;
use crate::table::lines::Lines;
use crate::table::lists::NONE;
use crate::table::living::Living;
use crate::table::owners::Owners;
use crate::table::record::{Record, Remarks, Rest, Standing, State};
use crate::table::slots::Slots;
use std::time::Instant;

pub(crate) mod age;
pub(crate) mod buckets;
pub(crate) mod chains;
pub(crate) mod clock;
mod cycle;
pub(crate) mod deadlines;
pub(crate) mod lines;
pub(crate) mod lists;
pub(crate) mod living;
pub(crate) mod owners;
mod promises;
pub(crate) mod record;
pub(crate) mod sites;
pub(crate) mod slots;
pub(crate) mod turns;
pub(crate) mod waiting;

/// All connections and waiting requests of a cache.
pub(crate) struct Table<C> {
    pub(crate) slots: Slots<C>,
    /// The slots that are taken.
    living: Living,
    pub(crate) buckets: Buckets,
    pub(crate) ages: Ages,
    owners: Owners,
    /// When inactive connections reach their own deadlines or the ends of their lifetimes. The first entry is never
    /// later than the first of these times.
    pub(crate) deadlines: Deadlines,
    /// The deadlines that owners have set for their active connections.
    pub(crate) owner_deadlines: Deadlines,
    pub(crate) lines: Lines,
    /// The connection whose promise was broken last. It may have left since.
    latest_broken: u32,
    next_serial: u32,
}

/// A connection that has left the table, and what was known of it.
pub(crate) struct Left<C> {
    pub(crate) record: Record,
    pub(crate) rest: Rest,
    pub(crate) conn: C,
    pub(crate) peer: Peer,
    pub(crate) channel: ChannelBindingId,
}

impl<C> Table<C> {
    /// A table with room for `capacity` connections, peers and owners. A random `seed` keeps others from choosing
    /// numbers whose hashes collide.
    pub(crate) fn new(capacity: usize, seed: u64) -> Table<C> {
        let mixer = Mixer::new(seed);
        Table {
            slots: Slots::with_capacity(capacity),
            living: Living::with_capacity(capacity),
            buckets: Buckets::new(capacity, mixer),
            ages: Ages::default(),
            owners: Owners::new(capacity, mixer),
            deadlines: Deadlines::with_capacity(capacity),
            owner_deadlines: Deadlines::with_capacity(capacity),
            lines: Lines::default(),
            latest_broken: NONE,
            next_serial: 0,
        }
    }

    /// The slot and serial number that the next connection inserted will have.
    pub(crate) fn next_slot_and_serial(&self) -> (u32, u32) {
        (self.slots.vacant_key(), self.next_serial)
    }

    /// Takes in an active connection. It gets the [next slot and serial number](Table::next_slot_and_serial). Returns
    /// its slot.
    pub(crate) fn insert(&mut self, mut record: Record, mut rest: Rest, conn: C, to: Destination<'_>) -> u32 {
        let State::Active { owner, .. } = record.state() else { unreachable!("connections come in active") };
        rest.serial = self.next_serial;
        self.next_serial = self.next_serial.wrapping_add(1);
        record.bucket = self.buckets.find_or_add(to);
        let bucket = self.buckets.get_mut(record.bucket);
        bucket.active += 1;
        let site = bucket.site;
        self.buckets.sites.get_mut(site).enter(record.flags.remarks.has(Remarks::CONNECTING));
        let slot = self.slots.insert(record, rest, conn);
        self.living.add(slot);
        self.owners.add(&mut self.slots, owner, slot);
        slot
    }

    /// Moves an active connection to the bucket of another peer or channel binding.
    pub(crate) fn move_to(&mut self, slot: u32, to: Destination<'_>) {
        let from = self.slots[slot].bucket;
        let bucket = self.buckets.get_mut(from);
        let flags = &mut self.slots[slot].flags;
        flags.doomed = flags.doomed.or(bucket.closed);
        let connecting = flags.remarks.has(Remarks::CONNECTING);
        bucket.active -= 1;
        let old = bucket.site;
        let to = self.buckets.find_or_add(to);
        self.buckets.get_mut(to).active += 1;
        let new = self.buckets.get(to).site;
        if old != new {
            self.buckets.sites.get_mut(old).leave(connecting);
            self.buckets.sites.get_mut(new).enter(connecting);
            self.buckets.sites.enqueue(old);
        }
        self.slots[slot].bucket = to;
        self.buckets.release_if_empty(from);
    }

    /// Counts a connection no longer as one that is being opened.
    pub(crate) fn established(&mut self, slot: u32) {
        let record = &mut self.slots[slot];
        if record.flags.remarks.has(Remarks::CONNECTING) {
            record.flags.remarks.set(Remarks::CONNECTING, false);
            let site = self.buckets.get(record.bucket).site;
            self.buckets.sites.get_mut(site).connecting -= 1;
            self.buckets.sites.enqueue(site);
        }
    }

    /// Takes a connection out, whatever its state.
    pub(crate) fn remove(&mut self, slot: u32) -> Left<C> {
        self.established(slot);
        let at = self.slots[slot].bucket;
        match self.slots[slot].state() {
            State::Active { owner, .. } => {
                let links = self.slots[slot].links;
                self.owners.remove(&mut self.slots, owner, links);
                self.buckets.get_mut(at).active -= 1;
            }
            State::Inactive { .. } => self.unlist(slot),
        }
        let (mut record, rest, conn) = self.slots.remove(slot);
        self.living.remove(slot);
        self.deadlines.remove(slot);
        self.owner_deadlines.remove(slot);
        let bucket = self.buckets.get(at);
        let (peer, channel, site) = (bucket.peer.clone(), bucket.channel, bucket.site);
        record.flags.doomed = bucket.closed.or(record.flags.doomed);
        self.buckets.sites.get_mut(site).leave(false);
        if self.lines.waiting() > 0 {
            self.wake_waiting(at);
        }
        self.buckets.release_if_empty(at);
        Left { record, rest, conn, peer, channel }
    }

    /// Condemns the oldest kept connections until at most `most` are kept.
    pub(crate) fn keep_at_most(&mut self, most: usize, reason: Reason) {
        while let Some(oldest) = self.ages.oldest(Standing::Kept).filter(|_| self.ages.len(Standing::Kept) > most) {
            self.condemn(oldest, reason);
        }
    }

    /// Condemns the oldest kept connections of a bucket until at most `most` are kept there.
    pub(crate) fn keep_at_most_in(&mut self, bucket: u32, most: u32) {
        while self.buckets.get(bucket).kept > most {
            let oldest = self.oldest_kept_in(bucket).expect("some are kept");
            self.condemn(oldest, Reason::MaxInactivePerPeer);
        }
    }

    /// The oldest kept connection of a bucket.
    pub(crate) fn oldest_kept_in(&self, bucket: u32) -> Option<u32> {
        let mut all = self.buckets.get(bucket).list.oldest_first(&self.slots);
        all.find(|&slot| self.at(slot).flags.standing == Standing::Kept)
    }

    /// Condemns the inactive connections of closed buckets, so that no limit counts them any more.
    pub(crate) fn condemn_closed(&mut self) {
        while let Some((slot, reason)) = self.buckets.next_closed() {
            self.condemn(slot, reason);
        }
    }

    /// Condemns the inactive connections that have had at least `most` owners. O(n).
    pub(crate) fn condemn_used(&mut self, most: u32) {
        let kept = |record: &Record| record.is_inactive() && record.flags.standing != Standing::Condemned;
        let used = self.iter().filter(|(_, record)| kept(record) && record.uses >= most);
        for slot in used.map(|(slot, _)| slot).collect::<Vec<_>>() {
            self.condemn(slot, Reason::MaxUses);
        }
    }

    /// Condemns an inactive connection: it leaves its bucket's list, and has to leave the cache for this reason.
    pub(crate) fn condemn(&mut self, slot: u32, reason: Reason) {
        self.unlist(slot);
        let record = &mut self.slots[slot];
        (record.flags.standing, record.flags.doomed) = (Standing::Condemned, Some(reason));
        self.buckets.more_mut(record.bucket).condemned += 1;
        self.ages.push_newest(&mut self.slots, slot, Standing::Condemned);
    }

    /// The inactive connections that have to leave first, in this order: the oldest one of a closed bucket, then the
    /// oldest condemned, kept and promised one.
    pub(crate) fn first_to_leave(&self) -> impl Iterator<Item = u32> + use<C> {
        let closed = self.buckets.next_closed().map(|(slot, _)| slot);
        let standings = [Standing::Condemned, Standing::Kept, Standing::Promised];
        closed.into_iter().chain(standings.map(|standing| self.ages.oldest(standing)).into_iter().flatten())
    }

    /// Corrects the earliest entry in the queue of deadlines, which has come up. It is set to the connection's next
    /// deadline, or removed while the connection is active.
    pub(crate) fn rearm(&mut self, slot: u32) {
        let record = &mut self.slots[slot];
        let due = match record.state() {
            State::Active { .. } => Tick::NEVER,
            State::Inactive { until, .. } => until.min(record.lifetime_end),
        };
        record.flags.armed = due != Tick::NEVER;
        self.deadlines.set(slot, due);
    }

    /// Sets the deadline of an active connection's owner.
    pub(crate) fn set_owner_deadline(&mut self, slot: u32, until: Tick) {
        let record = &mut self.slots[slot];
        if let State::Active { owner, .. } = record.state() {
            record.set_state(State::Active { owner, until });
            // An earlier entry is corrected when it comes up.
            self.owner_deadlines.bring_forward(slot, until);
        }
    }

    /// Corrects the earliest entry in the queue of owners' deadlines, which has come up. If the deadline has really
    /// passed, it is removed and the owner is returned, so that each is returned once.
    pub(crate) fn end_owner_deadline(&mut self, slot: u32, now: Tick) -> Option<Owner> {
        let record = &mut self.slots[slot];
        let (over, next) = match record.state() {
            State::Active { owner, until } if until <= now => {
                record.set_state(State::Active { owner, until: Tick::NEVER });
                (Some(owner), Tick::NEVER)
            }
            State::Active { until, .. } => (None, until),
            State::Inactive { .. } => (None, Tick::NEVER),
        };
        self.owner_deadlines.set(slot, next);
        over
    }

    /// The connection's record, as long as this is its latest lease.
    #[inline]
    pub(crate) fn leased(&self, id: ConnId) -> Option<&Record> {
        self.slots.get(id.slot()).filter(|record| record.generation == id.generation && record.uses == id.uses())
    }

    /// The record in this slot.
    #[inline]
    pub(crate) fn at(&self, slot: u32) -> &Record {
        &self.slots[slot]
    }

    #[inline]
    pub(crate) fn at_mut(&mut self, slot: u32) -> &mut Record {
        &mut self.slots[slot]
    }

    /// Keeps private data with an inactive connection that has none.
    pub(crate) fn keep_private(&mut self, slot: u32, private: PrivateData) {
        if private.is_some() {
            self.slots[slot].flags.rest_matters = true;
            self.slots.rest_mut(slot).private = private;
        }
    }

    /// Forgets the false alarms, and takes out the private data.
    #[inline(always)]
    pub(crate) fn clear_rest(&mut self, slot: u32) -> PrivateData {
        if self.slots[slot].flags.rest_matters { self.clear_rest_that_matters(slot) } else { None }
    }

    #[cold]
    fn clear_rest_that_matters(&mut self, slot: u32) -> PrivateData {
        self.slots[slot].flags.rest_matters = false;
        let rest = self.slots.rest_mut(slot);
        rest.alarms = 0;
        rest.private.take()
    }

    /// Forgets the false alarms.
    #[inline]
    pub(crate) fn forgive(&mut self, slot: u32) {
        if self.slots[slot].flags.rest_matters {
            self.slots.rest_mut(slot).alarms = 0;
        }
    }

    /// The serial number of the connection in this slot, if there is one.
    pub(crate) fn serial(&self, slot: u32) -> Option<u32> {
        self.slots.is_taken(slot).then(|| self.slots.rest(slot).serial)
    }

    /// Whether there is a connection in this slot that is inactive.
    pub(crate) fn is_inactive(&self, slot: u32) -> bool {
        self.slots.get(slot).is_some_and(Record::is_inactive)
    }

    /// The bucket of the connection in this slot.
    pub(crate) fn bucket_of(&self, slot: u32) -> &Bucket {
        self.buckets.get(self.slots[slot].bucket)
    }

    /// The newest connection in the list of a bucket, or the oldest if `oldest` says so.
    #[inline]
    pub(crate) fn first_in(&self, bucket: u32, oldest: bool) -> Option<u32> {
        let list = &self.buckets.get(bucket).list;
        if oldest { list.oldest() } else { list.newest() }
    }

    /// The next connection after `slot` in the list of its bucket, towards the oldest, or the newest if
    /// `towards_newest` says so.
    pub(crate) fn next_in(&self, slot: u32, towards_newest: bool) -> Option<u32> {
        let list = &self.bucket_of(slot).list;
        if towards_newest { list.newer(&self.slots, slot) } else { list.older(&self.slots, slot) }
    }

    /// The active connections of this owner.
    pub(crate) fn owned_by(&self, owner: Owner) -> impl Iterator<Item = u32> {
        self.owners.iter(&self.slots, owner)
    }

    /// All connections.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Record)> {
        self.living.iter().map(|slot| (slot, self.at(slot)))
    }

    /// The highest slot that is taken.
    pub(crate) fn last(&self) -> Option<u32> {
        self.living.last()
    }

    /// Gives back the memory that isn't needed now.
    pub(crate) fn shrink_to_fit(&mut self) {
        let end = self.living.last().map_or(0, |last| last as usize + 1);
        self.slots.shrink_to_fit(end);
        self.living.shrink_to_fit();
        self.buckets.shrink_to_fit();
        self.owners.shrink_to_fit(&mut self.slots);
        self.deadlines.shrink_to_fit(end);
        self.owner_deadlines.shrink_to_fit(end);
        self.lines.shrink_to_fit();
    }

    /// How many connections are inactive.
    pub(crate) fn inactive(&self) -> usize {
        self.ages.len(Standing::Kept) + self.ages.len(Standing::Promised) + self.ages.len(Standing::Condemned)
    }

    /// What a policy is told about an active connection that is about to become inactive in this bucket. `bucket` is
    /// `None` if the bucket doesn't exist yet.
    #[inline]
    pub(crate) fn candidate<'a>(
        &self,
        now: Instant,
        (peer, channel): (&'a Peer, ChannelBindingId),
        bucket: Option<u32>,
        uses: u32,
        waiting: u32,
    ) -> Candidate<'a> {
        let inactive_to_peer = bucket.map_or(0, |bucket| self.buckets.inactive(bucket) as usize);
        let (inactive, waiting) = (self.inactive(), waiting as usize);
        Candidate { now, peer, channel, uses, inactive, inactive_to_peer, waiting }
    }

    /// How many connections there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}
