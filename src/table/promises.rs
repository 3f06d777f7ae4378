//! Inactive connections that are kept for those who wait: each is promised to whoever is next in the line of its bucket.

use crate::table::Table;
use crate::table::clock::Tick;
use crate::table::lists::{Links, NONE};
use crate::table::record::{Record, Standing, State};

impl<C> Table<C> {
    /// How many requests in the line of this bucket have no connection promised yet. A promise of the connection `but` isn't counted.
    pub(crate) fn unmatched_in(&self, bucket: u32, but: Option<u32>) -> u32 {
        let is_own = |it: &Record| it.bucket == bucket && it.is_inactive() && it.flags.standing == Standing::Promised;
        let own = but.is_some_and(|slot| is_own(self.at(slot)));
        self.waiting_in(bucket).saturating_sub(self.buckets.get(bucket).promised - u32::from(own))
    }

    /// Keeps a promised connection for whoever comes, because its request has left: until `end` at the latest.
    pub(crate) fn end_promise(&mut self, slot: u32, end: Tick) {
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
        self.buckets.sites.look_again(site);
    }

    /// The newest of those kept that became inactive no later than this one, or [`NONE`]. A line's promises are broken in the
    /// order of their age. So the search begins at the next older one of the bucket, if its promise was broken, too; else
    /// at the one whose promise was broken last. Otherwise each would pass all that became inactive later.
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

    /// To be called when a connection of this bucket, the newest, was promised to somebody who waits.
    pub(crate) fn promise(&mut self, slot: u32, bucket: u32) {
        if self.buckets.get(bucket).promised == 1 {
            self.buckets.more_mut(bucket).oldest_promised = slot;
        }
    }

    /// Counts a connection of this bucket, with these links in its list, no longer as promised.
    #[inline]
    pub(crate) fn forget_promise(&mut self, slot: u32, bucket: u32, links: Links) {
        let it = self.buckets.get_mut(bucket);
        it.promised -= 1;
        if it.promised > 0 && self.buckets.more(bucket).oldest_promised == slot {
            self.find_oldest_promised(bucket, links.newer);
        }
    }

    /// Finds the oldest promised connection of a bucket; none older than `from` is promised. O(1), amortised: what was
    /// passed isn't passed again.
    #[cold]
    fn find_oldest_promised(&mut self, bucket: u32, from: u32) {
        let list = self.buckets.get(bucket).list;
        let mut all = std::iter::successors(Some(from), |&slot| list.newer(&self.slots, slot));
        let oldest = all.find(|&slot| self.at(slot).flags.standing == Standing::Promised);
        self.buckets.more_mut(bucket).oldest_promised = oldest.expect("another one is promised");
    }

    /// The connection of this bucket whose promise is broken when only `waiting` requests wait there.
    pub(crate) fn broken_promise(&self, bucket: u32, waiting: u32) -> Option<u32> {
        (self.buckets.get(bucket).promised > waiting).then(|| self.buckets.more(bucket).oldest_promised)
    }
}
