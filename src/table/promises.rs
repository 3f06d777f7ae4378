//! Promised connections: inactive ones that are kept for the requests in the line of their bucket. A promise names no
//! request: as many requests as there are promised connections have one coming.
//!
//! A promise ends when the connection is handed out or leaves. If a request leaves the line without a connection, more
//! connections may be promised than requests wait. Then the promise of the oldest one is broken: it is kept for
//! anybody, or condemned.

use crate::table::Table;
use crate::table::clock::Tick;
use crate::table::lists::{Links, NONE};
use crate::table::record::{Record, Standing, State};

impl<C> Table<C> {
    /// How many requests in the line of this bucket have no promised connection yet. If the connection `but` is
    /// promised there itself, it isn't counted.
    pub(crate) fn unmatched_in(&self, bucket: u32, but: Option<u32>) -> u32 {
        let is_own = |it: &Record| it.bucket == bucket && it.is_inactive() && it.flags.standing == Standing::Promised;
        let own = but.is_some_and(|slot| is_own(self.at(slot)));
        self.waiting_in(bucket).saturating_sub(self.buckets.get(bucket).promised - u32::from(own))
    }

    /// Breaks the promise of a connection: from now on it is kept for anybody, until `end` at the latest.
    pub(crate) fn keep_for_anybody(&mut self, slot: u32, end: Tick) {
        let older = self.kept_before(slot);
        self.ages.remove(&mut self.slots, slot, Standing::Promised);
        self.ages.insert(&mut self.slots, slot, Standing::Kept, older);
        self.latest_broken = slot;
        let record = &mut self.slots[slot];
        record.flags.standing = Standing::Kept;
        if let State::Inactive { since, until } = record.state() {
            record.set_state(State::Inactive { since, until: end.min(until) });
        }
        if end != Tick::NEVER {
            record.flags.armed = true;
            self.deadlines.bring_forward(slot, end);
        }
        let Record { bucket, links, .. } = self.slots[slot];
        self.forget_promise(slot, bucket, links);
        let it = self.buckets.get_mut(bucket);
        it.kept += 1;
        let site = it.site;
        self.buckets.sites.enqueue(site);
    }

    /// The neighbour that this promised connection gets in the order of age of those kept: the newest one that became
    /// inactive no later than it, or [`NONE`].
    ///
    /// Promises of a line are broken in the order of age. So the neighbour is usually near the next older connection of
    /// the bucket, or near the connection whose promise was broken last. The search begins at the first of these two
    /// that is kept, else at the newest one. If it always began at the newest one, it would pass all connections that
    /// became inactive later.
    fn kept_before(&self, slot: u32) -> u32 {
        let since = |slot: u32| self.at(slot).inactive_since();
        let is_before = |&other: &u32| since(other) <= since(slot);
        let is_kept = |&slot: &u32| self.is_inactive(slot) && self.at(slot).flags.standing == Standing::Kept;
        let broken = || Some(self.latest_broken).filter(is_kept);
        let near = self.next_in(slot, false).filter(is_kept).or_else(broken);
        let first = near.or_else(|| self.ages.newest(Standing::Kept));
        let older = |&at: &u32| self.ages.older(&self.slots, at, Standing::Kept);
        let Some(first) = std::iter::successors(first, older).find(is_before) else { return NONE };
        let newer = |&at: &u32| self.ages.newer(&self.slots, at, Standing::Kept).filter(is_before);
        std::iter::successors(Some(first), newer).last().unwrap_or(first)
    }

    /// Remembers the oldest promised connection. To be called when the newest connection of this bucket was promised.
    pub(crate) fn note_promise(&mut self, slot: u32, bucket: u32) {
        if self.buckets.get(bucket).promised == 1 {
            self.buckets.more_mut(bucket).oldest_promised = slot;
        }
    }

    /// Counts one promised connection of this bucket less. It still has these links in the bucket's list.
    #[inline]
    pub(crate) fn forget_promise(&mut self, slot: u32, bucket: u32, links: Links) {
        let it = self.buckets.get_mut(bucket);
        it.promised -= 1;
        if it.promised > 0 && self.buckets.more(bucket).oldest_promised == slot {
            self.find_oldest_promised(bucket, links.newer);
        }
    }

    /// Finds the oldest promised connection of a bucket, none of which is older than `from`. O(1), amortised: a
    /// connection that was passed isn't passed again.
    #[cold]
    fn find_oldest_promised(&mut self, bucket: u32, from: u32) {
        let list = self.buckets.get(bucket).list;
        let mut all = std::iter::successors(Some(from), |&slot| list.newer(&self.slots, slot));
        let oldest = all.find(|&slot| self.at(slot).flags.standing == Standing::Promised);
        self.buckets.more_mut(bucket).oldest_promised = oldest.expect("another one is promised");
    }

    /// The connection of this bucket whose promise has to be broken if only `waiting` requests wait there.
    pub(crate) fn promised_beyond(&self, bucket: u32, waiting: u32) -> Option<u32> {
        (self.buckets.get(bucket).promised > waiting).then(|| self.buckets.more(bucket).oldest_promised)
    }
}
