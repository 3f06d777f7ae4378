//! What the loop's events mean to the connections.

use crate::cache::Cache;
use crate::connection::Connection;
use crate::outcome::Handled;
use crate::policy::Policy;
use crate::reason::Reason;
use crate::table::slots::State;
use log::trace;
use mio::Token;
use mio::event::Event;

/// # The turn of the loop: events
impl<C: Connection, P: Policy> Cache<C, P> {
    /// What an event means: whose it is. Call it for each event of the loop, in their order.
    ///
    /// An inactive connection of which anything is told is probed at once, and evicted unless it is quiet. That an
    /// active one's read side was closed is remembered: it won't be kept.
    pub fn handle_event(&mut self, event: &Event) -> Handled<C> {
        self.handle_readiness(event.token(), event.is_read_closed())
    }

    /// [`handle_event`](Cache::handle_event) for hosts that keep events in a form of their own: the event's token, and
    /// whether it said that the read side is closed.
    pub fn handle_readiness(&mut self, token: Token, read_closed: bool) -> Handled<C> {
        let Some(slot) = self.tokens.slot(token.0) else { return Handled::Rejected };
        let slot = slot as u32;
        let record = match self.table.try_at_mut(slot) {
            Some(record) if self.tokens.is_of_generation(token.0, record.generation) => record,
            _ => {
                self.stats.stale_events += 1;
                trace!(target: "conncache", "event=stale token={}", token.0);
                return Handled::Nothing;
            }
        };
        trace!(target: "conncache", "event=readiness id={} read_closed={read_closed}", record.id(slot, self.tokens.serial()));
        if let State::Active { owner } = record.state {
            record.flags.read_closed |= read_closed;
            return Handled::Active { id: record.id(slot, self.tokens.serial()), owner };
        }
        match self.probe(slot) {
            // mio promises that this is never a false alarm.
            Ok(()) if read_closed => Handled::Evicted(self.evict(slot, Reason::HungUp)),
            Ok(()) => Handled::Nothing,
            Err(fault) => Handled::Evicted(self.evict_faulty(slot, fault)),
        }
    }
}
