//! The cycle of a connection's life: it is inserted, given back, handed out again, and closed. `checkout` and `checkin`
//! have a short way for the usual case. The long ways are `reuse` (in `serving.rs`) and `give_back`.

use crate::cache::Cache;
use crate::cache::fitness::verdict;
use crate::channel::ChannelBindingId;
use crate::connection::Connection;
use crate::error::{Fault, InsertError, NotFound, StateError};
use crate::history::History;
use crate::outcome::{Evicted, Found};
use crate::peer::Peer;
use crate::policy::Policy;
use crate::reason::Reason;
use crate::state::{ConnId, Owner, PrivateData};
use crate::table::buckets::Destination;
use crate::table::clock::Tick;
use crate::table::record::{Flags, Record, Remarks, Rest, Standing, State};
use log::debug;
use std::time::{Duration, Instant};

/// # In and out
impl<C: Connection, P: Policy> Cache<C, P> {
    /// Takes in a connection that is open or still being opened, and makes `owner` its owner. The cache registers it
    /// for reading and writing, and keeps it until it is evicted, closed or removed. The id is the owner's lease.
    ///
    /// The socket has to be non-blocking, or its probe stops the loop. Those that mio opens are. For a socket of the
    /// standard library, call `socket.set_nonblocking(true)?` before `from_std`.
    ///
    /// Don't register it yourself, before or after. (A connection that is registered with the same `Poll` is refused.
    /// With another `Poll`, mio notices that only in debug builds.)
    ///
    /// # Errors
    ///
    /// The connection comes back with the cause, and nothing has changed. Causes are: the operating system refused it,
    /// the cache's [tokens](crate::Builder::tokens) are used up, a [limit](crate::Limits::max_connections) on all
    /// connections is reached, or requests [wait](Cache::request) for the same peer or can have the room that this
    /// connection would take.
    pub fn insert(
        &mut self,
        now: Instant,
        mut conn: C,
        peer: &Peer,
        channel: ChannelBindingId,
        owner: Owner,
    ) -> Result<ConnId, InsertError<C>> {
        let site = self.site_or_new(peer);
        if let Err(cause) = self.may_enter(now, &site, true).and_then(|()| self.register_next(&mut conn)) {
            return Err(InsertError { conn, cause, place: None });
        }
        let to = Destination { peer, channel, most: Some(site.most) };
        let id = self.take_in(now, conn, to, owner, None);
        log_insert(id, peer, channel, owner);
        Ok(id)
    }

    /// Takes in an active connection that is registered under the next token. It has a history if it comes from a
    /// cache. The caller logs the insertion last, because the logger may panic.
    pub(super) fn take_in(
        &mut self,
        now: Instant,
        conn: C,
        to: Destination<'_>,
        owner: Owner,
        history: Option<History>,
    ) -> ConnId {
        self.clock.advance(now);
        let history = history.unwrap_or_else(|| History::opened_at(self.clock.now()));
        let mut jitter = self.jitter;
        let (opened, lifetime_end) = self.times_of(&history, &self.clock, &mut jitter);
        self.jitter = jitter;
        let mut flags = Flags { doomed: self.closed_since(&history, to.peer, to.channel), ..Flags::default() };
        flags.remarks.set(Remarks::UNCONNECTED.union(Remarks::CONNECTING), !history.connected);
        flags.remarks.set(Remarks::READ_CLOSED, history.read_closed);
        let record = Record { uses: history.uses, lifetime_end, flags, ..Record::new(owner) };
        let slot = self.table.insert(record, Rest::new(opened), conn, to);
        self.stats.inserted += 1;
        self.table.at(slot).id(slot)
    }

    /// Hands out an inactive connection to `peer` under `channel` that is fit for use, and makes `owner` its owner. It
    /// is probed at this moment ([`Builder::probe`](crate::Builder::probe)): a plain socket is open, has no error, and
    /// has nothing to read. The connection used last is tried first, because its far end is the least likely to give it
    /// up ([`Builder::oldest_first`](crate::Builder::oldest_first) changes the order).
    ///
    /// Write at once: no event will say that it is writable. The id is a new lease; those of former owners are over.
    ///
    /// `None` is a miss. Nothing is found while requests [wait](Cache::request) for the same peer and channel binding.
    /// Dead connections met on the way are closed and counted, and their private data is dropped; after eight of them
    /// it is a miss. Connections that have run out but haven't come from [`expire`](Cache::expire) yet are skipped;
    /// after 64 of them it is a miss, too.
    // Where the compiler makes a call of it, a cycle takes 7 % more time.
    #[must_use = "a connection found is active from now on"]
    #[inline(always)]
    pub fn checkout(&mut self, now: Instant, peer: &Peer, channel: ChannelBindingId, owner: Owner) -> Option<Found> {
        let now = self.clock.advance(now);
        if let Some(slot) = self.table.first_for(peer, channel, self.oldest_first) {
            let record = self.table.at(slot);
            if self.rules.is_fit(now, record) && !record.flags.read_only {
                return match self.probe_for_use(slot, now) {
                    Ok(()) => Some(self.hand_out(now, slot, owner)),
                    Err(fault) => {
                        drop(self.evict_faulty(slot, fault));
                        self.checkout_unusual(now, peer, channel, owner, 1)
                    }
                };
            }
        }
        self.checkout_unusual(now, peer, channel, owner, 0)
    }

    /// Makes an active connection inactive, under the peer and channel binding recorded for it. From now on the cache
    /// watches it and may hand it out.
    ///
    /// Call it when the whole request has been sent, its whole response has been read, no other response is owed, and
    /// all buffers are empty. Otherwise [`close_connection`](Cache::close_connection): the next owner would get what is
    /// still to come, or the server would take the next request for the rest of this one. No probe can see that.
    ///
    /// Once the connection is handed out again, `id` is over: a second `checkin` by a former owner is
    /// [`StateError::NotFound`].
    ///
    /// Returns what has to go: the connection itself if it isn't kept (then [`Evicted::id`] is `id`), or another one
    /// that makes room for it.
    ///
    /// # Errors
    ///
    /// [`StateError::NotFound`], also when the lease is over; or [`StateError::AlreadyInactive`]. Nothing has changed.
    #[inline]
    pub fn checkin(&mut self, now: Instant, id: ConnId) -> Result<Option<Evicted<C>>, StateError> {
        self.checkin_any(now, id, None)
    }

    /// [`checkin`](Cache::checkin) with a deadline for this connection, such as HTTP's `Keep-Alive: timeout=`. From
    /// `until` on, it isn't handed out but evicted.
    ///
    /// # Errors
    ///
    /// As for [`checkin`](Cache::checkin).
    pub fn checkin_until(
        &mut self,
        now: Instant,
        id: ConnId,
        until: Instant,
    ) -> Result<Option<Evicted<C>>, StateError> {
        self.checkin_any(now, id, Some(until))
    }

    /// Takes a connection out of the cache, whatever its state, and deregisters it: for example for a protocol upgrade,
    /// or for another cache to [adopt](Cache::adopt).
    ///
    /// # Errors
    ///
    /// [`NotFound`] if it isn't here, or the lease is over.
    pub fn remove(&mut self, id: ConnId) -> Result<Evicted<C>, NotFound> {
        let slot = self.slot_of(id)?;
        Ok(self.evict(slot, Reason::Removed))
    }

    /// Closes a connection, whatever its state: it comes back deregistered, and closes when you drop it.
    ///
    /// # Errors
    ///
    /// [`NotFound`] if it isn't here (perhaps because it was closed before), or the lease is over.
    pub fn close_connection(&mut self, id: ConnId) -> Result<Evicted<C>, NotFound> {
        let slot = self.slot_of(id)?;
        Ok(self.evict(slot, Reason::Closed))
    }

    /// [`close_connection`](Cache::close_connection) with a reason in the host's own words, such as `"response late"`.
    /// They come back in [`Evicted::words`], for the host's log.
    ///
    /// # Errors
    ///
    /// As for [`close_connection`](Cache::close_connection).
    pub fn close_because(&mut self, id: ConnId, words: &'static str) -> Result<Evicted<C>, NotFound> {
        Ok(Evicted { words: Some(words), ..self.close_connection(id)? })
    }

    /// The long way of a checkout, which has already closed `dead` connections.
    #[cold]
    fn checkout_unusual(
        &mut self,
        now: Tick,
        peer: &Peer,
        channel: ChannelBindingId,
        owner: Owner,
        dead: u32,
    ) -> Option<Found> {
        let bucket = self.table.bucket_for_newcomers(peer, channel);
        let found = bucket.and_then(|bucket| self.reuse(now, bucket, owner, dead));
        self.stats.missed += u64::from(found.is_none());
        found
    }

    /// A checkin with or without a deadline.
    #[inline(always)]
    fn checkin_any(
        &mut self,
        now: Instant,
        id: ConnId,
        until: Option<Instant>,
    ) -> Result<Option<Evicted<C>>, StateError> {
        let Some(record) = self.table.leased(id) else { return Err(StateError::NotFound) };
        let State::Active { owner, .. } = record.state() else { return Err(StateError::AlreadyInactive) };
        let now = self.clock.advance(now);
        let until = self.clock.end(until);
        // The record is looked up again, because the compiler forgets what it knew of it when the clock changes.
        let record = self.table.at(id.slot());
        let home = self.table.buckets.get(record.bucket);
        if !self.rules.is_kept_as_usual(now, record, home, until) {
            return Ok(self.checkin_unusual(now, id.slot(), until));
        }
        if self.table.lines.waiting() > 0 {
            return self.checkin_in_line(now, id.slot(), owner, until);
        }
        self.checkin_as_usual(now, id.slot(), owner, until, false)
    }

    /// The long way of a checkin.
    #[cold]
    fn checkin_unusual(&mut self, now: Tick, slot: u32, until: Tick) -> Option<Evicted<C>> {
        self.give_back(now, slot, None, &mut None, until)
    }

    /// The usual checkin while any request waits, for whatever peer. It isn't inlined, so that the usual checkin while
    /// none waits stays short.
    #[inline(never)]
    fn checkin_in_line(
        &mut self,
        now: Tick,
        slot: u32,
        owner: Owner,
        until: Tick,
    ) -> Result<Option<Evicted<C>>, StateError> {
        self.checkin_as_usual(now, slot, owner, until, true)
    }

    /// A shorter `give_back`, for a connection that no rule keeps out. `in_line` says whether any request waits. Both
    /// callers pass a constant, so the code for waiting requests is compiled into only one of them. It returns what
    /// `checkin` returns, because wrapping that in the callers takes 39 instructions more.
    #[inline(always)]
    fn checkin_as_usual(
        &mut self,
        now: Tick,
        slot: u32,
        owner: Owner,
        until: Tick,
        in_line: bool,
    ) -> Result<Option<Evicted<C>>, StateError> {
        let record = self.table.at(slot);
        let (bucket, home) = (record.bucket, self.table.buckets.get(record.bucket));
        let waiting = if in_line { self.table.unmatched_in(bucket, None) } else { 0 };
        let to = (&home.peer, home.channel);
        let candidate = self.table.candidate(self.clock.now(), to, Some(bucket), record.uses, waiting);
        let until = match verdict(&mut self.policy, &self.clock, &candidate, until) {
            Ok(until) => until,
            Err(reason) => return Ok(Some(self.evict(slot, reason))),
        };
        if in_line && self.has_to_yield(bucket, waiting, 0) {
            return Ok(Some(self.evict(slot, Reason::MadeRoom)));
        }
        let standing = if waiting > 0 { Standing::Promised } else { Standing::Kept };
        let kept = self.table.shelve(slot, owner, now, until, standing);
        if in_line {
            self.table.offer_to_waiting(slot, bucket, standing);
        }
        if self.is_within(kept) { Ok(None) } else { Ok(self.evict_surplus(now, slot)) }
    }

    /// Makes an inactive connection, found fit, active.
    #[inline(always)]
    pub(super) fn hand_out(&mut self, now: Tick, slot: u32, owner: Owner) -> Found {
        let found = self.lend(now, slot, owner);
        log_reuse(found.id, owner);
        found
    }

    /// [`hand_out`](Cache::hand_out) without the log. The caller logs it last, because the logger may panic.
    #[inline(always)]
    pub(super) fn lend(&mut self, now: Tick, slot: u32, owner: Owner) -> Found {
        let record = self.table.at_mut(slot);
        record.uses += 1;
        let inactive_for = record.inactive_since().map_or(0, |since| now.nanos_since(since));
        let inactive_for = Duration::from_nanos(inactive_for);
        let (id, uses) = (record.id(slot), record.uses);
        let private = self.table.clear_rest(slot);
        let found = Found { id, inactive_for, uses, private };
        self.table.activate(slot, owner);
        self.stats.handed_out += 1;
        found
    }

    /// Makes a connection inactive if it is to be kept, perhaps under another peer and channel binding. Returns what
    /// has to go. `private` is exchanged for the private data kept with the connection before.
    ///
    /// The host's code (probe, source, policy) is called before anything changes: it may panic.
    pub(super) fn give_back(
        &mut self,
        now: Tick,
        slot: u32,
        to: Option<Destination<'_>>,
        private: &mut PrivateData,
        until: Tick,
    ) -> Option<Evicted<C>> {
        let (bucket, was_inactive) = (self.table.at(slot).bucket, self.table.at(slot).is_inactive());
        let target = match to {
            None => Some(bucket),
            Some(to) => self.table.buckets.find(to.peer, to.channel),
        };
        let waiting = match target {
            Some(target) if self.table.lines.waiting() > 0 => self.table.unmatched_in(target, Some(slot)),
            _ => 0,
        };
        let kept = self.try_to_keep(now, slot, to, target, waiting, until);
        // From here on, only the tables' own code runs until they are consistent again.
        if was_inactive {
            self.table.activate(slot, Owner(0));
        }
        if let Some(to) = to {
            self.table.move_to(slot, to);
            let before = self.table.clear_rest(slot);
            self.table.keep_private(slot, std::mem::replace(private, before));
        }
        match kept {
            Ok(until) => {
                let standing = if waiting > 0 { Standing::Promised } else { Standing::Kept };
                self.table.deactivate(slot, now, until, standing);
                self.evict_if_surplus(now, slot)
            }
            Err(fault) => Some(self.evict_faulty(slot, fault)),
        }
    }

    /// Until when a connection that is about to become inactive is kept, or why it isn't. `target` is the bucket that
    /// it goes to, if that exists already. If the connection is kept, it is registered in the way of inactive ones.
    fn try_to_keep(
        &mut self,
        now: Tick,
        slot: u32,
        to: Option<Destination<'_>>,
        target: Option<u32>,
        waiting: u32,
        until: Tick,
    ) -> Result<Tick, Fault> {
        let (record, home) = (self.table.at(slot), self.table.bucket_of(slot));
        let (bucket, uses, was_inactive) = (record.bucket, record.uses, record.is_inactive());
        let closed = record.flags.doomed.or(home.closed);
        self.allowed(now, record, closed, until, waiting > 0).map_err(|reason| (reason, None))?;
        self.check_watchable(slot)?;
        let home = self.table.buckets.get(bucket);
        let to = to.map_or((&home.peer, home.channel), |to| (to.peer, to.channel));
        let mut candidate = self.table.candidate(self.clock.now(), to, target, uses, waiting);
        if was_inactive {
            candidate.inactive -= 1;
            candidate.inactive_to_peer -= usize::from(target == Some(bucket));
        }
        let until = verdict(&mut self.policy, &self.clock, &candidate, until).map_err(|reason| (reason, None))?;
        if self.table.lines.waiting() > 0 && self.has_to_yield(target.unwrap_or(bucket), waiting, 0) {
            return Err((Reason::MadeRoom, None));
        }
        self.narrow(slot)?;
        Ok(until)
    }
}

pub(super) fn log_insert(id: ConnId, peer: &Peer, channel: ChannelBindingId, owner: Owner) {
    debug!(target: "conncache", "event=insert id={id} peer={peer} channel={channel} owner={}", owner.0);
}

#[inline(always)]
pub(super) fn log_reuse(id: ConnId, owner: Owner) {
    if log::max_level() >= log::LevelFilter::Debug {
        write_reuse(id, owner);
    }
}

/// A function of its own, so that what is handed out need not be written to memory for the log.
#[cold]
fn write_reuse(id: ConnId, owner: Owner) {
    debug!(target: "conncache", "event=reuse id={id} owner={}", owner.0);
}
