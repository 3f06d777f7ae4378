//! What every cycle of hand-out and return does to the tables. It touches as few lines of the processor's cache as it can.

use crate::channel::ChannelBindingId;
use crate::peer::Peer;
use crate::state::Owner;
use crate::table::Table;
use crate::table::clock::Tick;
use crate::table::lists::Links;
use crate::table::record::{Standing, State};

impl<C> Table<C> {
    /// The connection to this peer under this channel binding that is looked at first. None while anybody waits, whatever
    /// the peer.
    #[inline]
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

    fn end_condemnation(&mut self, slot: u32) {
        let flags = &mut self.slots[slot].flags;
        if flags.standing == Standing::Condemned {
            (flags.standing, flags.doomed) = (Standing::Kept, None);
        }
    }

    /// Makes an active connection inactive; it is the newest from now on.
    pub(crate) fn deactivate(&mut self, slot: u32, since: Tick, until: Tick, standing: Standing) {
        self.established(slot);
        let State::Active { owner, .. } = self.slots[slot].state() else {
            unreachable!("only an active connection is made inactive")
        };
        self.shelve(slot, owner, since, until, standing);
        if self.lines.waiting() > 0 {
            self.show_to_line(slot, self.at(slot).bucket, standing);
        }
    }

    /// To be called when a connection of this bucket became inactive while somebody waits, whatever the peer.
    #[inline]
    pub(crate) fn show_to_line(&mut self, slot: u32, bucket: u32, standing: Standing) {
        match standing {
            // It is for its own line, and makes room for nobody else.
            Standing::Promised => {
                self.note_promise(slot, bucket);
                self.mark_line_ready(bucket);
            }
            _ => self.wake_waiting(bucket),
        }
    }

    /// Makes an active connection of this owner's inactive. It has to be established. Returns how many are kept in its
    /// bucket then.
    #[inline(always)]
    pub(crate) fn shelve(&mut self, slot: u32, owner: Owner, since: Tick, until: Tick, standing: Standing) -> u32 {
        let record = &mut self.slots[slot];
        debug_assert!(!record.is_inactive());
        let bucket = self.buckets.get_mut(record.bucket);
        record.set_state(State::Inactive { since, until });
        record.flags.standing = standing;
        let due = until.min(record.lifetime_end);
        // The entry of one that is armed is never later than the end of its lifetime.
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

    /// Takes an inactive connection out of the lists it stands in.
    pub(super) fn unlist(&mut self, slot: u32) {
        let record = &self.slots[slot];
        self.leave_lists(slot, record.bucket, record.flags.standing, record.links);
    }

    /// Takes an inactive connection of this bucket, standing and links out of the lists it stands in.
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
