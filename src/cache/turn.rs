//! What the host calls in each turn of its loop: `handle_event`, `next_deadline`, `expire`, and for loops without
//! events `sweep`.

use crate::cache::Cache;
use crate::connection::Connection;
use crate::outcome::{Evicted, Handled};
use crate::policy::Policy;
use crate::reason::Reason;
use crate::table::clock::Tick;
use crate::table::record::{Remarks, Standing, State};
use log::trace;
use mio::Token;
use mio::event::Event;
use std::time::Instant;

/// How many false alarms of an inactive connection are allowed at once.
const MOST_FALSE_ALARMS: u32 = 64;
/// How many outdated entries in a queue of deadlines one call corrects.
pub(super) const MOST_REARMS: u32 = 64;
/// How many slots without an inactive connection one sweep may skip, for each probe that it may make.
const MOST_SKIPPED: usize = 16;

/// # The turn of the loop
impl<C: Connection, P: Policy> Cache<C, P> {
    /// Tells you what an event means, and acts on events of inactive connections. Call it for each event of the loop,
    /// in order.
    ///
    /// An inactive connection is probed when any event is reported for it, and evicted unless it is quiet. If the read
    /// side of an active connection is reported closed, the cache remembers that and won't keep the connection.
    ///
    /// An inactive connection that keeps waking the loop while its probe is quiet (because of urgent data, for example)
    /// is evicted, too: 64 such false alarms are allowed at once, and one more each second. [`get_mut`](Cache::get_mut)
    /// forgives them all, for hosts that ping inactive connections. In a
    /// [level-triggered](crate::Builder::level_triggered) loop they aren't counted.
    pub fn handle_event(&mut self, event: &Event) -> Handled<C> {
        let handled = self.handle_readiness(event.token(), event.is_read_closed());
        if let (Handled::Active { id, .. }, true) = (&handled, event.is_readable() && !event.is_read_closed()) {
            self.table.established(id.slot());
        }
        handled
    }

    /// [`handle_event`](Cache::handle_event) for hosts whose events have another form: the event's token, and whether
    /// it said that the read side is closed.
    ///
    /// One thing is left to the host: if it limits
    /// [`max_connecting_per_peer`](crate::Limits::max_connecting_per_peer), it calls
    /// [`established`](Cache::established) when the event of an active connection says that there is something to read.
    pub fn handle_readiness(&mut self, token: Token, read_closed: bool) -> Handled<C> {
        let Some(slot) = self.tokens.slot(token.0) else { return Handled::Rejected };
        let slot = slot as u32;
        if !self.table.serial(slot).is_some_and(|serial| self.tokens.is_of_serial(token.0, serial)) {
            self.stats.stale_events += 1;
            trace!(target: "conncache", "event=stale token={}", token.0);
            return Handled::Nothing;
        }
        let record = self.table.at_mut(slot);
        trace!(target: "conncache", "event=readiness id={} read_closed={read_closed}", record.id(slot));
        if let State::Active { owner, .. } = record.state() {
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

    /// When the loop has to call the cache next: the time-out for its `poll`. It is never later than the first time at
    /// which [`expire`](Cache::expire), [`grant`](Cache::grant) or [`overdue`](Cache::overdue) has something to return,
    /// and due as long as one of them has. A deadline that was replaced or has ended may cause one unnecessary wake-up.
    /// `None` if nothing can run out and nobody can be served.
    ///
    /// If you have timers of your own, wait for the earlier one: `[mine,
    /// cache.next_deadline()].into_iter().flatten().min()`. (`mine.min(..)` alone is `None` if either is, and the loop
    /// would sleep through the other.)
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.is_expiry_due() || self.is_grant_due() {
            return self.clock.due();
        }
        let idle = |standing| {
            let oldest = self.table.ages.oldest(standing).and_then(|slot| self.table.at(slot).inactive_since());
            oldest.map_or(Tick::NEVER, |since| self.rules.idle_end(since))
        };
        let own = if self.table.inactive() > 0 { self.table.deadlines.earliest() } else { Tick::NEVER };
        let inactive = idle(Standing::Kept).min(idle(Standing::Promised)).min(own);
        let (active, requests) = (self.table.owner_deadlines.earliest(), self.table.lines.deadlines.earliest());
        self.clock.instant(inactive.min(active).min(requests))
    }

    /// Returns one inactive connection that has run out, or that has to go because you said so. Call it in each turn
    /// until it returns `None`, or fewer times to bound the turn's work: a connection that has run out isn't handed out
    /// in any case.
    ///
    /// Rarely, it returns `None` with work left, after correcting 64 deadlines. Then
    /// [`next_deadline`](Cache::next_deadline) is still due.
    #[must_use = "what is returned has left the cache; as long as there is some, there may be more"]
    pub fn expire(&mut self, now: Instant) -> Option<Evicted<C>> {
        let now = self.clock.advance(now);
        for slot in self.table.first_to_leave() {
            if let Some(reason) = self.unfit(slot, now) {
                return Some(self.evict(slot, reason));
            }
        }
        for _ in 0..MOST_REARMS {
            let slot = self.table.deadlines.due(now)?;
            if let Some(reason) = self.unfit(slot, now) {
                return Some(self.evict(slot, reason));
            }
            self.table.rearm(slot);
        }
        None
    }

    /// Probes at most `most` inactive connections, and evicts and returns the first one that isn't fit for use. `None`
    /// if it found none. The next call continues behind the last connection probed, and starts over at the end.
    ///
    /// It is for hosts whose loop doesn't report what happens to inactive connections: call it in each turn, or from
    /// time to time, until it returns `None`. Hosts with events don't need it.
    ///
    /// A call also skips at most 16 × `most` slots that are vacant or belong to active connections. If there are more
    /// of those between the inactive ones, a round takes more calls.
    #[must_use = "what is returned has left the cache; there may be more"]
    pub fn sweep(&mut self, most: usize) -> Option<Evicted<C>> {
        let end = self.table.slots.end();
        let mut probes = most.min(self.table.inactive());
        let mut slots = probes.saturating_mul(1 + MOST_SKIPPED).min(end);
        while probes > 0 && slots > 0 {
            slots -= 1;
            let slot = self.next_swept;
            self.next_swept = if (slot as usize) + 1 < end { slot + 1 } else { 0 };
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

    /// Counts a false alarm. One is forgotten each second. Returns whether there were too many.
    fn alarmed_too_often(&mut self, slot: u32) -> bool {
        let now = self.clock.latest().seconds();
        self.table.at_mut(slot).flags.rest_matters = true;
        let forgotten_at = &mut self.table.slots.rest_mut(slot).alarms;
        *forgotten_at = now.max(*forgotten_at).saturating_add(1);
        *forgotten_at - now > MOST_FALSE_ALARMS
    }

    /// Whether an inactive connection has to leave now, for another reason than a deadline.
    fn is_expiry_due(&self) -> bool {
        self.draining && self.table.inactive() > 0
            || self.table.buckets.next_closed().is_some()
            || self.table.ages.len(Standing::Condemned) > 0
    }
}
