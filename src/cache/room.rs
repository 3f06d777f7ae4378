//! The limits on all connections: whether there is room for one more connection, and whether a connection that comes
//! back has to make room for waiting requests. (The limits on inactive connections are in `fitness.rs`.)

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

/// The inactive connection that has to be evicted to make room for a new one, and the reason. `None` if room is free.
pub(super) type Victim = Option<(u32, Reason)>;

impl<C: Connection, P: Policy> Cache<C, P> {
    /// The site of this peer, copied. If the peer is new, a site as it would get, which isn't stored; for that, the
    /// policy is asked how many connections may lead to the peer.
    pub(super) fn site_or_new(&mut self, peer: &Peer) -> Site {
        match self.table.buckets.site_of(peer) {
            Some(site) => *self.table.buckets.sites.get(site),
            None => Site::new(self.most_by_policy(peer, self.limits.max_connections_per_peer)),
        }
    }

    /// How many connections may lead to this peer, by the policy or else by this limit.
    pub(super) fn most_by_policy(&mut self, peer: &Peer, limit: Option<usize>) -> u32 {
        most(self.policy.max_connections(peer).or(limit))
    }

    /// Whether as many connections to this peer are being opened as `max_connecting_per_peer` allows.
    pub(super) fn is_at_connecting_limit(&self, site: &Site) -> bool {
        site.connecting >= self.rules.max_connecting_per_peer
    }

    /// The limit that keeps out a connection that comes without a [`Place`](crate::Place). `connecting`: it isn't
    /// established yet.
    pub(super) fn limit_reached(&self, site: &Site, connecting: bool) -> Option<Cause> {
        let at_limit = |limit, most| Some(Cause::AtLimit { limit, most });
        if self.table.total() >= self.rules.max_connections {
            at_limit("max_connections", self.rules.max_connections)
        } else if site.is_full() {
            at_limit("max_connections_per_peer", site.most as usize)
        } else if connecting && self.is_at_connecting_limit(site) {
            at_limit("max_connecting_per_peer", self.rules.max_connecting_per_peer as usize)
        } else {
            None
        }
    }

    /// Whether a connection without a [`Place`](crate::Place) may come in as an active one. It must not take room that
    /// a waiting request can have.
    pub(super) fn may_enter(&mut self, now: Instant, site: &Site, connecting: bool) -> Result<(), Cause> {
        let mut clock = self.clock;
        match self.limit_reached(site, connecting) {
            Some(cause) => Err(cause),
            None if self.comes_after_others(clock.advance(now), site) => Err(Cause::OthersWait),
            None => Ok(()),
        }
    }

    /// Whether a request that has just come has to wait because others come first: those that wait for the same peer,
    /// under any channel binding, or those that wait for other peers and can have the room.
    #[inline]
    pub(super) fn comes_after_others(&mut self, now: Tick, site: &Site) -> bool {
        let others_wait = self.table.lines.waiting() > 0 && self.limits.max_connections.is_some();
        site.waiting > 0 || others_wait && self.may_have_room_for_waiting(now)
    }

    /// Whether the next grant may find room for a waiting request. If it doesn't find out within a few looks, the
    /// answer is yes.
    pub(super) fn may_have_room_for_waiting(&mut self, now: Tick) -> bool {
        if !self.is_room_in_total() {
            return true;
        }
        for _ in 0..MOST_LOOKS {
            let Some(site) = self.table.buckets.sites.first() else { return false };
            if self.has_room(now, site) {
                return true;
            }
            self.table.buckets.sites.dequeue(site);
        }
        true
    }

    /// Whether this site may have room for a connection under one of its channel bindings.
    pub(super) fn has_room(&self, now: Tick, site: u32) -> bool {
        let it = self.table.buckets.sites.get(site);
        !self.is_at_connecting_limit(it) && (self.room(now, it, None).is_some() || self.can_shrink_at(it))
    }

    /// Whether there is room for one more connection to this peer, and the victim if one has to make it. `channel` is
    /// the channel binding of a connection that is going to be opened. It is `None` for one that is being parked, and
    /// also to ask for any channel binding.
    pub(super) fn room(&self, now: Tick, site: &Site, channel: Option<ChannelBindingId>) -> Option<Victim> {
        let (all, most) = (self.table.total(), self.rules.max_connections);
        if all > most || site.total > site.most || channel.is_some() && self.is_at_connecting_limit(site) {
            return None;
        }
        if site.is_full() {
            return self.victim_at(now, site, channel).map(Some);
        }
        if all == most { self.first_to_go(now).map(Some) } else { Some(None) }
    }

    /// Whether there are more connections than a lowered `max_connections` allows, and room for a new one could be made
    /// by evicting inactive ones.
    pub(super) fn can_shrink(&self) -> bool {
        let (total, most, ages) = (self.table.total(), self.rules.max_connections, &self.table.ages);
        let goes = ages.len(Standing::Kept) + ages.len(Standing::Condemned);
        total > most && total - goes < most
    }

    /// Condemns the oldest kept connections beyond a lowered `max_connections`, if room can be made in this way. Each
    /// call condemns at most [`MOST_LOOKS`].
    #[cold]
    pub(super) fn condemn_beyond_max_connections(&mut self) {
        if self.can_shrink() {
            let (surplus, ages) = (self.table.total() - self.rules.max_connections, &self.table.ages);
            let goes = surplus.saturating_sub(ages.len(Standing::Condemned)).min(MOST_LOOKS as usize);
            self.table.keep_at_most(ages.len(Standing::Kept) - goes, Reason::MadeRoom);
        }
    }

    /// As [`can_shrink`](Cache::can_shrink), for the limit of one peer. O(channel bindings in use with the peer) if
    /// there are more connections than it allows.
    pub(super) fn can_shrink_at(&self, site: &Site) -> bool {
        site.total > site.most && site.total - self.table.inactive_at(site) < site.most
    }

    /// Whether `max_connections` allows one more connection, perhaps in exchange for an inactive one.
    pub(super) fn is_room_in_total(&self) -> bool {
        let (all, most) = (self.table.total(), self.rules.max_connections);
        all < most || all == most && self.first_to_go(self.clock.latest()).is_some()
    }

    /// The kept connection to this peer that is evicted first to make room for one under `channel`: one that can't be
    /// handed out, else the oldest one under another channel binding. One that could serve the request itself is not
    /// evicted. O(channel bindings in use with the peer), unless no connection is kept at all.
    pub(super) fn victim_at(&self, now: Tick, site: &Site, channel: Option<ChannelBindingId>) -> Option<(u32, Reason)> {
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

    /// Whether a connection that is about to become inactive has to make room for requests in other lines. `unmatched`
    /// is the number of requests that wait in its own bucket without a promised connection. `coming` is 1 if the
    /// connection isn't in the table yet, because it is being parked, else 0.
    ///
    /// If no request waits in its own bucket, it usually stays, because a grant can evict it when its room is needed.
    /// It has to make room now only if the other lines were passed over often enough. If there are more connections
    /// than a lowered limit allows, it has to go although requests wait for it. Otherwise a line that never ends would
    /// keep the limit from being reached.
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
