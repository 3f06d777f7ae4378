//! What the host changes while the cache runs: it sets limits, closes peers and channel bindings, sheds, drains, or
//! closes everything.

use crate::cache::Cache;
use crate::cache::rules::Rules;
use crate::channel::ChannelBindingId;
use crate::closings::{self, Closed};
use crate::connection::Connection;
use crate::error::ConfigError;
use crate::limits::Limits;
use crate::outcome::Evicted;
use crate::peer::Peer;
use crate::policy::Policy;
use crate::reason::Reason;
use crate::table::buckets::Bucket;
use crate::table::lists::NONE;

/// # Limits, closing and draining
impl<C: Connection, P: Policy> Cache<C, P> {
    /// Evicts an inactive connection, to free a descriptor when they run out (`EMFILE` in the host's `connect` or
    /// `accept`): one that has to go anyway because its peer was closed or a limit was lowered, else the one that has
    /// been inactive longest. `None` if nothing is inactive.
    #[must_use = "the room is made when what is returned is dropped"]
    pub fn shed(&mut self) -> Option<Evicted<C>> {
        let slot = self.table.first_to_leave().next()?;
        Some(self.evict(slot, Reason::Shed))
    }

    /// Closes all connections, active ones too. Requests that wait are refused. O(n).
    pub fn close_all(&mut self) {
        self.refuse_lines(|_| true);
        while let Some(slot) = self.table.last() {
            drop(self.evict(slot, Reason::Closed));
        }
    }

    /// Stops handing out the present connections to `peer`, whatever their channel binding: after a change of its
    /// addresses, or a failover. Inactive ones come from [`expire`](Cache::expire). Active ones are not kept when they
    /// would become inactive. Connections [taken](Cache::take) or opened earlier are refused when they are
    /// [parked](Cache::park) with their [`History`](crate::History). Connections inserted from now on are not affected.
    /// Requests that wait keep waiting, for new connections.
    ///
    /// The latest 1,024 closings in the process are remembered, to check histories against them. A history that is
    /// older than all of them is refused.
    ///
    /// O(channel bindings in use with the peer, and its former closings while connections from before are active).
    pub fn close_peer(&mut self, peer: &Peer) {
        closings::remember(self.tokens.cache(), Closed::Peer(peer.clone()));
        for bucket in self.table.buckets.all_of_peer(peer) {
            self.table.close(bucket, Reason::ClosedPeer);
        }
    }

    /// Stops handing out the present connections under `channel`, whatever their peer: after a credential or a client
    /// certificate was revoked. Requests that wait for the channel binding are refused. Otherwise as
    /// [`close_peer`](Cache::close_peer).
    ///
    /// O(pairs of peer and channel binding in use).
    pub fn close_channel(&mut self, channel: ChannelBindingId) {
        closings::remember(self.tokens.cache(), Closed::Channel(channel));
        self.refuse_lines(|bucket| bucket.channel == channel);
        for bucket in self.table.buckets.all(|bucket| bucket.channel == channel) {
            self.table.close(bucket, Reason::ClosedChannel);
        }
    }

    /// Gives memory back after a peak, down to the highest slot in use. That includes what
    /// [`capacity`](crate::Builder::capacity) made room for. O(n).
    pub fn shrink_to_fit(&mut self) {
        self.table.shrink_to_fit();
    }

    /// Stops keeping connections, for an orderly shutdown. Inactive ones come from [`expire`](Cache::expire). Active
    /// ones are not kept when they would become inactive. Requests that wait are refused. This can't be undone.
    ///
    /// O(1); if requests wait, O(pairs of peer and channel binding in use).
    pub fn drain(&mut self) {
        self.draining = true;
        self.rules = Rules::new(&self.limits, true, self.narrows());
        self.refuse_lines(|_| true);
    }

    /// Whether the cache is being [drained](Cache::drain).
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Replaces the limits. Inactive connections above a lowered number are condemned: they are no longer handed out.
    /// [`expire`](Cache::expire) returns them, the one inactive longest first, and one more leaves with each connection
    /// that becomes inactive. Nothing active is touched. New times apply to all connections, except
    /// [`max_lifetime`](Limits::max_lifetime), which is fixed for each connection when it comes in.
    ///
    /// ```
    /// # use conncache::{AggressiveCache, mio};
    /// # let poll = mio::Poll::new()?;
    /// # let mut cache: AggressiveCache<mio::net::TcpStream> = AggressiveCache::builder().build(poll.registry())?;
    /// let mut limits = cache.limits().clone();
    /// limits.max_inactive = Some(100);
    /// cache.set_limits(limits)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// O(surplus + peers), tens of nanoseconds for each. Connections of closed peers count as surplus. O(n) if
    /// `max_uses` is lowered.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the limits contradict each other; the old ones stay in force.
    pub fn set_limits(&mut self, limits: Limits) -> Result<(), ConfigError> {
        limits.check()?;
        let new_mosts = self.mosts_of_sites(limits.max_connections_per_peer);
        let before = std::mem::replace(&mut self.limits, limits);
        self.rules = Rules::new(&self.limits, self.draining, self.narrows());
        for (site, most) in new_mosts {
            self.table.buckets.sites.get_mut(site).most = most;
            self.table.buckets.sites.enqueue(site);
        }
        self.table.condemn_closed();
        self.table.keep_at_most(self.rules.max_inactive, Reason::MaxInactive);
        for bucket in self.table.buckets.all(|_| true) {
            self.table.keep_at_most_in(bucket, self.rules.max_inactive_per_peer);
        }
        if let Some(most) = self.limits.max_uses.filter(|&most| before.max_uses.is_none_or(|before| most < before)) {
            self.table.condemn_used(most);
        }
        // A connection that had run out may be fit again under the new limits.
        self.waiting_buckets(|_| true).into_iter().for_each(|bucket| self.table.mark_line_ready(bucket));
        Ok(())
    }

    /// How many connections may lead to each present peer, with its site.
    fn mosts_of_sites(&mut self, limit: Option<usize>) -> Vec<(u32, u32)> {
        let buckets = &self.table.buckets;
        let all = buckets.iter().filter(|&(at, bucket)| buckets.sites.get(bucket.site).first_bucket == at);
        let all: Vec<(u32, Peer)> = all.map(|(_, bucket)| (bucket.site, bucket.peer.clone())).collect();
        all.into_iter().map(|(site, peer)| (site, self.most_by_policy(&peer, limit))).collect()
    }

    /// Refuses the lines of these buckets, for a call that also lets their inactive connections go. So, other than in
    /// [`refuse_line`](Cache::refuse_line), the policy isn't asked about their promised connections. (It could panic.)
    fn refuse_lines(&mut self, which: impl Fn(&Bucket) -> bool) {
        self.waiting_buckets(which).into_iter().for_each(|bucket| self.table.refuse_line(bucket));
    }

    /// The buckets that requests wait in.
    fn waiting_buckets(&self, which: impl Fn(&Bucket) -> bool) -> Vec<u32> {
        if self.table.lines.waiting() == 0 {
            return Vec::new();
        }
        self.table.buckets.all(|bucket| bucket.line != NONE && which(bucket))
    }
}
