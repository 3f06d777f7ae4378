//! Whether there is room for one more connection, within the limits on all connections; and whether one that comes back has
//! to make room for others.

use crate::cache::Cache;
use crate::cache::rules::{Rules, most};
use crate::cache::serving::MOST_LOOKS;
use crate::channel::ChannelBindingId;
use crate::connection::Connection;
use crate::error::Cause;
use crate::peer::Peer;
use crate::policy::Policy;
use crate::reason::Reason;
use crate::table::clock::Tick;
use crate::table::record::Standing;
use crate::table::sites::Site;
use std::time::Instant;

impl<C: Connection, P: Policy> Cache<C, P> {
    /// What is known of this peer, or what would be known of it if it is new. For a new one, the policy is asked how
    /// many connections may lead there.
    pub(super) fn site_of(&mut self, peer: &Peer) -> Site {
        match self.table.buckets.site_of(peer) {
            Some(site) => *self.table.buckets.sites.get(site),
            None => Site::new(self.most_by_policy(peer, self.limits.max_connections_per_peer)),
        }
    }

    pub(super) fn most_by_policy(&mut self, peer: &Peer, limit: Option<usize>) -> u32 {
        most(self.policy.max_connections(peer).or(limit))
    }

    /// Whether no more connections to this peer may be opened until some are established.
    pub(super) fn is_stampede(&self, site: &Site) -> bool {
        site.connecting >= self.rules.max_connecting_per_peer
    }

    /// The limit that keeps a connection out that nobody gave a place.
    pub(super) fn overcrowded(&self, site: &Site, connecting: bool) -> Option<Cause> {
        let at_limit = |limit, most| Some(Cause::AtLimit { limit, most });
        if self.table.total() >= self.rules.max_connections {
            at_limit("max_connections", self.rules.max_connections)
        } else if site.is_full() {
            at_limit("max_connections_per_peer", site.most as usize)
        } else if connecting && self.is_stampede(site) {
            at_limit("max_connecting_per_peer", self.rules.max_connecting_per_peer as usize)
        } else {
            None
        }
    }

    /// Whether a connection may come in and be active at once. It must not take room that somebody who waits can have.
    pub(super) fn may_enter(&mut self, now: Instant, site: &Site, connecting: bool) -> Result<(), Cause> {
        let mut clock = self.clock;
        match self.overcrowded(site, connecting) {
            Some(cause) => Err(cause),
            None if self.comes_after_others(clock.advance(now), site) => Err(Cause::OthersWait),
            None => Ok(()),
        }
    }

    /// Whether a request that has just come has to wait until others had their turns, though they wait for other peers or
    /// channel bindings.
    #[inline]
    pub(super) fn comes_after_others(&mut self, now: Tick, site: &Site) -> bool {
        let others_wait = self.table.lines.waiting() > 0 && self.limits.max_connections.is_some();
        site.waiting > 0 || others_wait && self.is_anybodys_turn(now)
    }

    /// Whether the next grant may find something for somebody who waits. It may say so in vain if many wait for peers
    /// that have no room.
    pub(super) fn is_anybodys_turn(&mut self, now: Tick) -> bool {
        if !self.is_room_in_all() {
            return true;
        }
        for _ in 0..MOST_LOOKS {
            let Some(site) = self.table.buckets.sites.first() else { return false };
            if self.has_room(now, site) {
                return true;
            }
            self.table.buckets.sites.drop(site);
        }
        true
    }

    /// Whether a connection may be opened for one of those who wait here, perhaps not under every channel binding.
    pub(super) fn has_room(&self, now: Tick, site: u32) -> bool {
        let it = self.table.buckets.sites.get(site);
        !self.is_stampede(it) && (self.room(now, it, None).is_some() || self.can_shrink_to(it))
    }

    /// Whether a connection may be opened under this channel binding (or one parked, under any), and what has to go for
    /// it: one at most.
    pub(super) fn room(
        &self,
        now: Tick,
        site: &Site,
        channel: Option<ChannelBindingId>,
    ) -> Option<Option<(u32, Reason)>> {
        let (all, most) = (self.table.total(), self.rules.max_connections);
        if all > most || site.total > site.most || channel.is_some() && self.is_stampede(site) {
            return None;
        }
        if site.is_full() {
            return self.useless_at(now, site, channel).map(Some);
        }
        if all == most { self.first_to_go(now).map(Some) } else { Some(None) }
    }

    /// Whether there are more connections than a lowered limit allows, and evicting inactive ones would make room for
    /// one within it.
    pub(super) fn can_shrink(&self) -> bool {
        let (total, most, ages) = (self.table.total(), self.rules.max_connections, &self.table.ages);
        let goes = ages.len(Standing::Kept) + ages.len(Standing::Condemned);
        total > most && total - goes < most
    }

    /// Condemns the oldest inactive ones beyond a lowered limit on all connections, if that makes room. Each call
    /// condemns a few.
    #[cold]
    pub(super) fn condemn_exceeding(&mut self) {
        if self.can_shrink() {
            let (surplus, ages) = (self.table.total() - self.rules.max_connections, &self.table.ages);
            let goes = surplus.saturating_sub(ages.len(Standing::Condemned)).min(MOST_LOOKS as usize);
            self.table.keep_newest(ages.len(Standing::Kept) - goes, Reason::MadeRoom);
        }
    }

    /// Whether more connections lead to a peer than a lowered limit allows, and evicting inactive ones would make room
    /// for one within it. O(channel bindings in use with the peer) if they are too many.
    pub(super) fn can_shrink_to(&self, site: &Site) -> bool {
        site.total > site.most && site.total - self.table.inactive_at(site) < site.most
    }

    /// Whether the limit on all connections leaves room, or something inactive can make it.
    pub(super) fn is_room_in_all(&self) -> bool {
        let (all, most) = (self.table.total(), self.rules.max_connections);
        all < most || all == most && self.first_to_go(self.clock.latest()).is_some()
    }

    /// The inactive connection to this peer that goes first to make room for one under `channel`. O(channel bindings in
    /// use with the peer), unless no connection is kept at all.
    pub(super) fn useless_at(
        &self,
        now: Tick,
        site: &Site,
        channel: Option<ChannelBindingId>,
    ) -> Option<(u32, Reason)> {
        if self.table.ages.len(Standing::Kept) == 0 {
            return None;
        }
        let keeping = self.table.buckets.of_site(site).filter(|(_, bucket)| bucket.kept > 0);
        let candidates = keeping.filter_map(|(at, bucket)| {
            let slot = self.table.oldest_kept_in(at)?;
            let unfit = self.unfit(slot, now);
            let useful = Some(bucket.channel) == channel && unfit.is_none();
            (!useful).then_some((unfit.is_none(), self.table.at(slot).inactive_since(), slot, unfit))
        });
        let (_, _, slot, unfit) = candidates.min_by_key(|&(fit, since, ..)| (fit, since))?;
        Some((slot, unfit.unwrap_or(Reason::MadeRoom)))
    }

    /// Whether a connection about to become inactive has to make room for requests that wait elsewhere. `unmatched`
    /// requests wait in its own bucket and have no connection promised. `coming` is 1 if the connection isn't in the table
    /// yet, because it is being parked, else 0.
    ///
    /// If nobody waits in its own bucket, it may stay: a grant evicts it when its room is needed. But if the others were
    /// passed over too often before that, it has to make room now. Beyond a lowered limit, no request keeps it: the line
    /// may never end.
    #[inline]
    pub(super) fn has_to_yield(&mut self, bucket: u32, unmatched: u32, coming: u32) -> bool {
        if unmatched == 0 && !self.table.is_quantum_over(bucket) {
            return false;
        }
        let Rules { max_connections, max_connecting_per_peer, .. } = self.rules;
        let site = self.table.buckets.sites.get(self.table.buckets.get(bucket).site);
        if unmatched > 0 && (self.table.total() > max_connections || site.total > site.most) {
            return true;
        }
        let yields = self.table.yields_to_others(bucket, coming, max_connections, max_connecting_per_peer);
        self.opens_next |= yields;
        yields
    }
}
