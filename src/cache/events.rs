//! What the loop's events mean to the connections.

use crate::cache::Cache;
use crate::connection::Connection;
use crate::outcome::Handled;
use crate::policy::Policy;
use crate::reason::Reason;
use crate::table::record::{Remarks, State};
use log::trace;
use mio::Token;
use mio::event::Event;

/// How often at once an inactive connection may wake the loop for nothing.
const MOST_FALSE_ALARMS: u32 = 64;

/// # The turn of the loop: events
impl<C: Connection, P: Policy> Cache<C, P> {
    /// Tells whose an event is, and acts on those of inactive connections. Call it for each event of the loop, in order.
    ///
    /// An inactive connection is probed when anything is reported of it, and evicted unless it is quiet. If the read side
    /// of an active connection is reported closed, the cache remembers that and won't keep the connection.
    ///
    /// An inactive connection that keeps waking the loop while its probe is quiet (because of urgent data, say) is
    /// evicted, too: 64 such false alarms are allowed at once, and one more each second.
    /// [`get_mut`](Cache::get_mut) forgives them all, for hosts that ping inactive connections. In a
    /// [level-triggered](crate::Builder::level_triggered) loop they aren't counted.
    pub fn handle_event(&mut self, event: &Event) -> Handled<C> {
        let handled = self.handle_readiness(event.token(), event.is_read_closed());
        if let (Handled::Active { id, .. }, true) = (&handled, event.is_readable() && !event.is_read_closed()) {
            self.table.established(id.slot());
        }
        handled
    }

    /// [`handle_event`](Cache::handle_event) for hosts whose events have another form: the event's token, and whether it
    /// said that the read side is closed.
    ///
    /// One thing is left to the host: if it limits
    /// [`max_connecting_per_peer`](crate::Limits::max_connecting_per_peer), it calls
    /// [`established`](Cache::established) when the event of an active connection says that there is something to read.
    pub fn handle_readiness(&mut self, token: Token, read_closed: bool) -> Handled<C> {
        let Some(slot) = self.tokens.slot(token.0) else { return Handled::Rejected };
        let slot = slot as u32;
        if !self.table.try_rest(slot).is_some_and(|rest| self.tokens.is_of_serial(token.0, rest.serial.get())) {
            self.stats.stale_events += 1;
            trace!(target: "conncache", "event=stale token={}", token.0);
            return Handled::Nothing;
        }
        let record = self.table.at_mut(slot);
        trace!(target: "conncache", "event=readiness id={} read_closed={read_closed}", record.id(slot));
        if let State::Active { owner } = record.state() {
            if read_closed {
                record.flags.remarks.set(Remarks::READ_CLOSED, true);
            }
            return Handled::Active { id: record.id(slot), owner };
        }
        match self.probe(slot) {
            // mio promises that this is never a false alarm.
            Ok(()) if read_closed => Handled::Evicted(self.evict(slot, Reason::HungUp)),
            Ok(()) if !self.level_triggered && self.alarmed_too_often(slot) => {
                Handled::Evicted(self.evict(slot, Reason::FalseAlarms))
            }
            Ok(()) => Handled::Nothing,
            Err(fault) => Handled::Evicted(self.evict_faulty(slot, fault)),
        }
    }

    /// Counts a false alarm, into a bucket that leaks one a second.
    fn alarmed_too_often(&mut self, slot: u32) -> bool {
        let now = self.clock.latest().seconds();
        self.table.at_mut(slot).flags.rest_matters = true;
        let paid = &mut self.table.rest_mut(slot).alarms;
        *paid = now.max(*paid).saturating_add(1);
        *paid - now > MOST_FALSE_ALARMS
    }
}
