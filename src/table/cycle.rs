//! How a connection becomes active or inactive in the tables. Every cycle of hand-out and return runs this code, so it
//! touches as few lines of the processor's cache as possible.

use crate::channel::ChannelBindingId;
use crate::peer::Peer;
use crate::state::Owner;
use crate::table::Table;
use crate::table::clock::Tick;
use crate::table::lists::Links;
use crate::table::record::{Standing, State};

impl<C> Table<C> {
    /// The connection to this peer under this channel binding that a checkout tries first. `None` also while any
    /// request waits, for whatever peer: then the checkout takes the long way.
    #[inline(always)]
    pub(crate) fn first_for(&self, peer: &Peer, channel: ChannelBindingId, oldest: bool) -> Option<u32> {
        let bucket = self.buckets.find(peer, channel)?;
        if self.lines.waiting() > 0 { None } else { self.first_in(bucket, oldest) }
    }

    /// Makes an inactive connection active.
    #[inline(always)]
    pub(crate) fn activate(&mut self, slot: u32, owner: Owner) {
        let record = &mut self.slots[slot];
        debug_assert!(record.is_inactive());
        record.set_state(State::Active { owner, until: Tick::NEVER });
        let (at, standing, links) = (record.bucket, record.flags.standing, record.links);
        let bucket = self.buckets.get_mut(at);
        bucket.active += 1;
        if standing == Standing::Kept && bucket.closed.is_none() {
            bucket.kept -= 1;
            bucket.list.take_out(&mut self.slots, slot, links);
            self.ages.remove(&mut self.slots, slot, Standing::Kept);
        } else {
            self.leave_lists(slot, at, standing, links);
            self.end_condemnation(slot);
        }
        self.owners.push(&mut self.slots, owner, slot);
    }

    /// Makes a connection no longer condemned.
    fn end_condemnation(&mut self, slot: u32) {
        let flags = &mut self.slots[slot].flags;
        if flags.standing == Standing::Condemned {
            (flags.standing, flags.doomed) = (Standing::Kept, None);
        }
    }

    /// Makes an active connection inactive, as the newest one, and lets waiting requests have it. It counts as
    /// established.
    pub(crate) fn deactivate(&mut self, slot: u32, since: Tick, until: Tick, standing: Standing) {
        self.established(slot);
        let State::Active { owner, .. } = self.slots[slot].state() else {
            unreachable!("only an active connection is made inactive")
        };
        self.shelve(slot, owner, since, until, standing);
        if self.lines.waiting() > 0 {
            self.offer_to_waiting(slot, self.at(slot).bucket, standing);
        }
    }

    /// Lets waiting requests have a connection of this bucket that has become inactive, or its room. To be called if
    /// any request waits, for whatever peer.
    #[inline]
    pub(crate) fn offer_to_waiting(&mut self, slot: u32, bucket: u32, standing: Standing) {
        match standing {
            // It serves its own line, and makes room for no other.
            Standing::Promised => {
                self.note_promise(slot, bucket);
                self.mark_line_ready(bucket);
            }
            _ => self.wake_waiting(bucket),
        }
    }

    /// Makes an active connection of this owner inactive. It has to be established. The caller has to let waiting
    /// requests have it. Returns how many connections are then kept in its bucket.
    #[inline(always)]
    pub(crate) fn shelve(&mut self, slot: u32, owner: Owner, since: Tick, until: Tick, standing: Standing) -> u32 {
        let record = &mut self.slots[slot];
        debug_assert!(!record.is_inactive());
        let bucket = self.buckets.get_mut(record.bucket);
        record.set_state(State::Inactive { since, until });
        record.flags.standing = standing;
        let due = until.min(record.lifetime_end);
        // If it is armed, its entry isn't later than the end of its lifetime, and need not be set for that.
        if due != Tick::NEVER && !(record.flags.armed && until == Tick::NEVER) {
            record.flags.armed = true;
            self.deadlines.bring_forward(slot, due);
        }
        bucket.active -= 1;
        match standing {
            Standing::Promised => bucket.promised += 1,
            _ => bucket.kept += 1,
        }
        let (kept, links) = (bucket.kept, record.links);
        bucket.list.push_newest(&mut self.slots, slot);
        self.owners.remove(&mut self.slots, owner, links);
        self.ages.push_newest(&mut self.slots, slot, standing);
        kept
    }

    /// Takes an inactive connection out of the lists that it is in.
    pub(super) fn unlist(&mut self, slot: u32) {
        let record = &self.slots[slot];
        self.leave_lists(slot, record.bucket, record.flags.standing, record.links);
    }

    /// The same for a caller that knows the connection's bucket, standing and links.
    fn leave_lists(&mut self, slot: u32, bucket: u32, standing: Standing, links: Links) {
        match standing {
            Standing::Kept => self.buckets.get_mut(bucket).kept -= 1,
            Standing::Promised => self.forget_promise(slot, bucket, links),
            Standing::Condemned => self.buckets.more_mut(bucket).condemned -= 1,
        }
        if standing != Standing::Condemned {
            let it = self.buckets.get_mut(bucket);
            it.list.take_out(&mut self.slots, slot, links);
            if it.closed.is_some() {
                self.buckets.forget_if_emptied(bucket);
            }
        }
        self.ages.remove(&mut self.slots, slot, standing);
    }
}
