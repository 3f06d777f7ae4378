//! Whether there is room for one more connection, within the limits on all connections.

use crate::cache::Cache;
use crate::cache::serving::MOST_LOOKS;
use crate::channel::ChannelBindingId;
use crate::connection::Connection;
use crate::error::Cause;
use crate::peer::Peer;
use crate::policy::Policy;
use crate::reason::Reason;
use crate::table::clock::Tick;
use crate::table::record::Standing;
use crate::table::sites::UNLIMITED;
use std::time::Instant;

impl<C: Connection, P: Policy> Cache<C, P> {
    /// How many connections may lead to this peer. Asks the policy if the peer isn't known.
    pub(crate) fn most_to(&mut self, peer: &Peer) -> u32 {
        match self.table.buckets.site_of(peer) {
            Some(site) => self.table.buckets.sites.get(site).most,
            None => self.most_by_policy(peer, self.limits.max_connections_per_peer),
        }
    }

    pub(crate) fn most_by_policy(&mut self, peer: &Peer, limit: Option<usize>) -> u32 {
        let most = self.policy.max_connections(peer).or(limit);
        most.map_or(UNLIMITED, |most| u32::try_from(most).unwrap_or(UNLIMITED))
    }

    /// Why a connection that nobody gave a place may not come in.
    pub(crate) fn overcrowded(&self, peer: &Peer, most: u32, connecting: bool) -> Option<Cause> {
        if let Some(most) = self.limits.max_connections.filter(|&most| self.table.total() >= most) {
            return Some(Cause::AtLimit { limit: "max_connections", most });
        }
        let site = self.table.buckets.site_of(peer).map(|site| self.table.buckets.sites.get(site));
        let (total, being_opened) = site.map_or((0, 0), |site| (site.total, site.connecting));
        if total >= most {
            return Some(Cause::AtLimit { limit: "max_connections_per_peer", most: most as usize });
        }
        match self.limits.max_connecting_per_peer {
            Some(most) if connecting && being_opened as usize >= most => {
                Some(Cause::AtLimit { limit: "max_connecting_per_peer", most })
            }
            _ if site.is_some_and(|site| site.waiting > 0) => Some(Cause::OthersWait),
            _ => None,
        }
    }

    /// Why a connection may not come in and be active at once. It takes no room that somebody who waits could have.
    pub(super) fn kept_out(&mut self, now: Instant, peer: &Peer, most: u32, connecting: bool) -> Option<Cause> {
        let cause = self.overcrowded(peer, most, connecting);
        if cause.is_some() || self.table.lines.waiting() == 0 {
            return cause;
        }
        let mut clock = self.clock;
        self.comes_after_others(clock.advance(now), None).then_some(Cause::OthersWait)
    }

    /// Whether a request that has just come has to wait until others had their turns, though they wait for other peers or
    /// channel bindings.
    pub(super) fn comes_after_others(&mut self, now: Tick, site: Option<u32>) -> bool {
        let others_wait = self.table.lines.waiting() > 0 && self.limits.max_connections.is_some();
        others_wait && self.is_anybodys_turn(now)
            || site.is_some_and(|site| self.table.buckets.sites.get(site).waiting > 0)
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
        let (it, lines) = (self.table.buckets.sites.get(site), &self.table.lines);
        let is_stampede = self.limits.max_connecting_per_peer.is_some_and(|most| it.connecting as usize >= most);
        let first = self.table.buckets.sites.lines(site, &lines.lines).next();
        let has_room = |line| self.room(now, Some(site), &lines.line(line).peer, None, it.most).is_some();
        first.is_some_and(|line| !is_stampede && has_room(line))
    }

    /// Whether a connection may be opened under this channel binding (or one parked, under any), and what has to go for
    /// it: one at most. `site` is the peer's, if it has one.
    pub(crate) fn room(
        &self,
        now: Tick,
        site: Option<u32>,
        peer: &Peer,
        channel: Option<ChannelBindingId>,
        most: u32,
    ) -> Option<Option<(u32, Reason)>> {
        let (all, most_in_all) = (self.table.total(), self.limits.max_connections.unwrap_or(usize::MAX));
        let site = site.map(|site| self.table.buckets.sites.get(site));
        let (total, connecting) = site.map_or((0, 0), |site| (site.total, site.connecting));
        let most_connecting = self.limits.max_connecting_per_peer.unwrap_or(usize::MAX);
        if all > most_in_all || total > most || channel.is_some() && connecting as usize >= most_connecting {
            return None;
        }
        if total == most {
            return self.useless_at(now, peer, channel).map(Some);
        }
        if all == most_in_all { self.first_to_go(now).map(Some) } else { Some(None) }
    }

    /// Whether the limit on all connections leaves room, or something inactive can make it.
    pub(super) fn is_room_in_all(&self) -> bool {
        let Some(most) = self.limits.max_connections else { return true };
        match self.table.total() {
            total if total < most => true,
            total => total == most && self.first_to_go(self.clock.latest()).is_some(),
        }
    }

    /// The inactive connection to this peer that goes first to make room for one under `channel`. O(channel bindings in
    /// use with the peer).
    pub(super) fn useless_at(
        &self,
        now: Tick,
        peer: &Peer,
        channel: Option<ChannelBindingId>,
    ) -> Option<(u32, Reason)> {
        let candidates = self.table.buckets.of_peer(peer).filter_map(|(at, bucket)| {
            let slot = self.table.oldest_in(at, Standing::Kept)?;
            let unfit = self.unfit(slot, now);
            let useful = Some(bucket.channel) == channel && unfit.is_none();
            (!useful).then_some((unfit.is_none(), self.table.at(slot).inactive_since(), slot, unfit))
        });
        let (_, _, slot, unfit) = candidates.min_by_key(|&(fit, since, ..)| (fit, since))?;
        Some((slot, unfit.unwrap_or(Reason::MadeRoom)))
    }
}
