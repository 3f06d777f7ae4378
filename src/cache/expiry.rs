//! What ends connections besides their peers: time, limits, and the host's orders.

use crate::cache::Cache;
use crate::connection::Connection;
use crate::outcome::Evicted;
use crate::policy::Policy;
use crate::table::clock::Tick;
use crate::table::record::Standing;
use std::time::Instant;

/// How many deadline entries of connections that were used in the meantime one call puts right.
const MOST_REARMS: u32 = 64;

/// # The turn of the loop: time
impl<C: Connection, P: Policy> Cache<C, P> {
    /// When the loop has to call the cache next: the time-out for its `poll`. It is never later than the first time at
    /// which [`expire`](Cache::expire), [`grant`](Cache::grant) or [`overdue`](Cache::overdue) has something to return,
    /// and due as long as one of them has. A deadline that was replaced may cause one wake-up for nothing. `None` if
    /// nothing can run out and nobody can be served.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.is_expiry_due() || self.is_grant_due() {
            return self.clock.due();
        }
        let idle = |standing| {
            let oldest = self.table.ages.oldest(standing).and_then(|slot| self.table.at(slot).inactive_since());
            oldest.zip(self.limits.idle_timeout).map_or(Tick::NEVER, |(since, time)| since.after(time))
        };
        let first = |entry: Option<(Tick, u32)>| entry.map_or(Tick::NEVER, |(at, _)| at);
        let own = if self.table.inactive() > 0 { first(self.table.first_deadline()) } else { Tick::NEVER };
        let inactive = idle(Standing::Kept).min(idle(Standing::Promised)).min(own);
        self.clock.instant(inactive.min(first(self.table.first_time())).min(first(self.table.lines.first_deadline())))
    }

    /// Returns one inactive connection that has run out, or that has to go because you said so. Call it in each turn
    /// until it returns `None`, or fewer times, to bound the turn's work: what has run out isn't handed out in any case.
    ///
    /// Rarely, it returns `None` with work left, after putting 64 deadlines right. Then
    /// [`next_deadline`](Cache::next_deadline) is still due.
    #[must_use = "what is returned has left the cache; as long as there is some, there may be more"]
    pub fn expire(&mut self, now: Instant) -> Option<Evicted<C>> {
        let now = self.clock.advance(now);
        let closed = self.table.buckets.next_closed().map(|(slot, _)| slot);
        let oldest = |standing| self.table.ages.oldest(standing);
        let first = [closed, oldest(Standing::Condemned), oldest(Standing::Kept), oldest(Standing::Promised)];
        for slot in first.into_iter().flatten() {
            if let Some(reason) = self.unfit(slot, now) {
                return Some(self.evict(slot, reason));
            }
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

    fn is_expiry_due(&self) -> bool {
        self.draining && self.table.inactive() > 0
            || self.table.buckets.is_any_closed()
            || self.table.ages.len(Standing::Condemned) > 0
    }
}
