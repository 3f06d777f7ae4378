//! What ends connections besides their peers: time, limits, and the host's orders.

use crate::clock::Tick;
use crate::connection::Connection;
use crate::limits::{ConfigError, Limits};
use crate::outcome::{Evicted, Reason};
use crate::peer::Peer;
use crate::policy::Policy;
use crate::slots::State;
use crate::watch::Cache;
use std::time::Instant;

/// How many deadline entries of connections that were used in the meantime one call puts right.
const MOST_REARMS: u32 = 64;

impl<C: Connection, P: Policy> Cache<C, P> {
    /// When to call [`expire`](Cache::expire) next: the time-out for the loop's `poll`. Never later than the first
    /// time that anything runs out; it may be earlier, once for each deadline that was set for a connection and has
    /// been superseded since. `None` if nothing is inactive or nothing can run out.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.table.inactive() == 0 {
            return None;
        }
        if self.draining || self.table.buckets.is_any_waiting() || self.table.lru.condemned() > 0 {
            // Due, whatever the host's clock says.
            return self.clock.instant(Tick::default());
        }
        let oldest = self.table.lru.oldest_kept()?;
        let idle = match (self.limits.idle_timeout, &self.table.at(oldest).state) {
            (Some(time), State::Inactive { since, .. }) => since.after(time),
            _ => Tick::NEVER,
        };
        let deadline = self.table.first_deadline().map_or(Tick::NEVER, |(at, _)| at);
        self.clock.instant(idle.min(deadline))
    }

    /// Returns one inactive connection that has run out or has to go by the host's orders; `None` once there is none
    /// (or, rarely, when this call had enough to do with putting deadlines right: then
    /// [`next_deadline`](Cache::next_deadline) is still due).
    ///
    /// Call it in each turn until it says `None`, or fewer times, to bound the turn's work: what has run out is not
    /// handed out any more in any case.
    #[must_use = "what is returned has left the cache; as long as there is some, there may be more"]
    pub fn expire(&mut self, now: Instant) -> Option<Evicted<C>> {
        let now = self.clock.advance(now);
        let first = self.table.buckets.next_waiting().or_else(|| self.table.oldest_inactive())?;
        if let Some(reason) = self.unfit(first, now) {
            return Some(self.evict(first, reason));
        }
        for _ in 0..MOST_REARMS {
            let (_, slot) = self.table.first_deadline().filter(|&(at, _)| at <= now)?;
            if let Some(reason) = self.unfit(slot, now) {
                return Some(self.evict(slot, reason));
            }
            self.table.rearm(slot);
        }
        None
    }

    /// Evicts a connection, to make room when descriptors run out (`EMFILE` in the host's `connect` or `accept`): one
    /// that is to go anyway, of a closed peer or over a lowered limit, else the one inactive for longest. `None` if
    /// nothing is inactive.
    #[must_use = "the room is made when what is returned is dropped"]
    pub fn shed(&mut self) -> Option<Evicted<C>> {
        let slot = self.table.buckets.next_waiting().or_else(|| self.table.oldest_inactive())?;
        Some(self.evict(slot, Reason::Shed))
    }

    /// Hands out none of the present connections to `peer` any more, whatever their channel binding: after a change of
    /// its addresses, or a failover. Those inactive come from [`expire`](Cache::expire), those active are not kept when
    /// they would become inactive. Connections inserted from now on are not concerned, nor are those that were
    /// [taken](Cache::take): parked again, they count as new. A host that takes connections has to know which of them
    /// it took before, and not to park those.
    ///
    /// O(channel bindings in use with the peer, and its former closings while connections of theirs are active).
    pub fn close_peer(&mut self, peer: &Peer) {
        self.table.buckets.close(peer);
    }

    /// Keeps nothing any more, for an orderly end: those inactive come from [`expire`](Cache::expire), those active
    /// are not kept when they would become inactive. This can't be undone.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether the cache is being [drained](Cache::drain).
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Sets other limits. What is inactive and over a lowered number is not handed out any more and comes from
    /// [`expire`](Cache::expire), for each number the one inactive for longest first. Times count from now on for all
    /// connections, but for [`max_lifetime`](Limits::max_lifetime), which is fixed with each connection when it is
    /// inserted.
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
    /// O(surplus + peers), tens of nanoseconds each, where those of closed peers count as surplus, too; O(n) when
    /// `max_uses` is lowered.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the limits contradict each other; the old ones stay in force.
    pub fn set_limits(&mut self, limits: Limits) -> Result<(), ConfigError> {
        limits.check()?;
        self.table.condemn_waiting();
        if let Some(most) = limits.max_inactive {
            self.table.keep_newest(most);
        }
        if let Some(most) = limits.max_inactive_per_peer {
            let buckets: Vec<u32> = self.table.buckets.iter().map(|(at, _)| at).collect();
            for at in buckets {
                self.table.keep_newest_in(at, most);
            }
        }
        if let Some(most) = limits.max_uses.filter(|&most| self.limits.max_uses.is_none_or(|before| most < before)) {
            self.table.condemn_used(most);
        }
        self.limits = limits;
        Ok(())
    }
}
