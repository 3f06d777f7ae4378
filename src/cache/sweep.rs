//! Finding dead connections without events.

use crate::cache::Cache;
use crate::connection::Connection;
use crate::outcome::Evicted;
use crate::policy::Policy;

/// How many places without an inactive connection one sweep passes for each probe it may make.
const MOST_PASSED: usize = 16;

/// # The turn of the loop: no events
impl<C: Connection, P: Policy> Cache<C, P> {
    /// Probes at most `most` inactive connections, and evicts and returns the first one that isn't fit for use. `None` if
    /// it found none. The next call continues behind the last connection probed, and starts over at the end.
    ///
    /// It is for hosts whose loop doesn't report what happens to inactive connections: call it in each turn, or from
    /// time to time, as long as it returns one. Hosts with events don't need it.
    ///
    /// A call also passes at most 16 × `most` slots that are vacant or of active connections. If there are more of
    /// those between the inactive ones, a round takes more calls.
    #[must_use = "what is returned has left the cache; there may be more"]
    pub fn sweep(&mut self, most: usize) -> Option<Evicted<C>> {
        let end = self.table.slots_end();
        let mut probes = most.min(self.table.inactive());
        let mut places = probes.saturating_mul(1 + MOST_PASSED).min(end);
        while probes > 0 && places > 0 {
            places -= 1;
            let slot = self.swept;
            self.swept = if (slot as usize) + 1 < end { slot + 1 } else { 0 };
            if !self.table.is_inactive(slot) {
                continue;
            }
            probes -= 1;
            if let Err(fault) = self.probe(slot) {
                return Some(self.evict_faulty(slot, fault));
            }
        }
        None
    }
}
