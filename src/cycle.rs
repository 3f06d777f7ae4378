//! The cycle of a connection's life: handed out, used, given back.

use crate::clock::Tick;
use crate::connection::Connection;
use crate::error::{NotFound, SetStateError, StateError};
use crate::outcome::{Changed, Evicted, Found, Reason};
use crate::peer::Peer;
use crate::policy::{Candidate, Policy, Verdict};
use crate::slots::{Flags, Record, State};
use crate::state::{ChannelBindingId, ConnId, ConnState, Owner, PrivateData};
use crate::watch::{Cache, verdict_of};
use log::debug;
use std::any::Any;
use std::time::Instant;

/// How many connections one search looks at before it is a miss: dead ones are closed on the way, which takes time.
const MOST_LOOKS: u32 = 8;

/// What decides whether a connection is kept.
#[derive(Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) bucket: u32,
    pub(crate) flags: Flags,
    pub(crate) uses: u32,
    pub(crate) lifetime_end: Tick,
    pub(crate) until: Tick,
}

impl<C: Connection, P: Policy> Cache<C, P> {
    /// Hands out a connection to `peer` under `channel`, if one is fit for use, and makes it `owner`'s: the one that
    /// was used last, since it is the least likely to be given up by its far end. It is looked at in this moment
    /// ([`Builder::probe`](crate::Builder::probe)): for plain sockets, open, without error, without a byte to read.
    ///
    /// Write at once: no event will tell that it is writable. Dead ones met on the way are closed and counted; after
    /// eight that won't do it is a miss.
    pub fn checkout(&mut self, now: Instant, peer: &Peer, channel: ChannelBindingId, owner: Owner) -> Option<Found> {
        let now = self.clock.advance(now);
        if let Some(slot) = self.find(now, peer, channel) {
            match self.widen(slot) {
                Ok(()) => return Some(self.hand_out(now, slot, owner)),
                Err(fault) => drop(self.evict_faulty(slot, fault)),
            }
        }
        self.stats.missed += 1;
        None
    }

    /// Makes an active connection inactive, under the peer and channel binding recorded for it: from now on the cache
    /// watches it and may hand it out. To be called when the response is complete and nothing is left in the buffers.
    ///
    /// Returns what has to go: the connection itself if it isn't kept ([`Evicted::id`] is its own), or the one that
    /// has to make room for it.
    ///
    /// # Errors
    ///
    /// [`StateError::NotFound`], or [`StateError::AlreadyInactive`]; nothing has changed.
    pub fn checkin(&mut self, now: Instant, id: ConnId) -> Result<Option<Evicted<C>>, StateError> {
        self.checkin_any(now, id, None)
    }

    /// [`checkin`](Cache::checkin) with a deadline of the connection's own, such as HTTP's `Keep-Alive: timeout=`: from
    /// `deadline` on it isn't handed out but evicted.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn checkin_until(
        &mut self,
        now: Instant,
        id: ConnId,
        deadline: Instant,
    ) -> Result<Option<Evicted<C>>, StateError> {
        self.checkin_any(now, id, Some(deadline))
    }

    fn checkin_any(
        &mut self,
        now: Instant,
        id: ConnId,
        until: Option<Instant>,
    ) -> Result<Option<Evicted<C>>, StateError> {
        let slot = self.table.slot_of(id).ok_or(StateError::NotFound)?;
        match self.table.at(slot).state {
            State::Active { .. } => Ok(self.give_back(now, slot, None, until)),
            State::Inactive { .. } => Err(StateError::AlreadyInactive),
        }
    }

    /// Sets a connection's state, in the manner of the seed.
    ///
    /// * Active to inactive is a [checkin](Cache::checkin), with private data, a deadline, another peer or channel as
    ///   desired.
    /// * Inactive to inactive moves it: it counts as newly inactive, and has the new private data alone.
    /// * Inactive to active is a [checkout](Cache::checkout) of this very connection. If it isn't fit for use any
    ///   more, it is evicted instead.
    /// * Active to active by its owner records another peer, for which it is kept from then on.
    ///
    /// Returns private data that isn't kept any longer, and an eviction: of this connection, or of one that has to
    /// make room for it.
    ///
    /// # Errors
    ///
    /// The state comes back, with its private data, and nothing has changed, if there is no such connection, if
    /// another owner has it, or if it was to be made active for a peer it isn't kept for.
    pub fn set_connection_state(
        &mut self,
        now: Instant,
        id: ConnId,
        peer: &Peer,
        state: ConnState,
    ) -> Result<Changed<C>, SetStateError> {
        let Some(slot) = self.table.slot_of(id) else {
            return Err(SetStateError { cause: StateError::NotFound, state });
        };
        let bucket = self.table.bucket_of(slot);
        let (same_peer, old_channel) = (bucket.peer == *peer, bucket.channel);
        let owner = match self.table.at(slot).state {
            State::Active { owner } => Some(owner),
            State::Inactive { .. } => None,
        };
        match (owner, state) {
            (Some(owner), ConnState::Active(new)) if owner != new => {
                Err(SetStateError { cause: StateError::OwnedBy(owner), state: ConnState::Active(new) })
            }
            (Some(_), ConnState::Active(_)) => {
                if !same_peer {
                    self.table.move_to(slot, peer, old_channel);
                }
                Ok(Changed { private: None, evicted: None })
            }
            (None, ConnState::Active(new)) if !same_peer => {
                Err(SetStateError { cause: StateError::OtherPeer, state: ConnState::Active(new) })
            }
            (None, ConnState::Active(new)) => Ok(self.activate(now, slot, new)),
            (owner, ConnState::Inactive { channel, private: new, until }) => {
                let mut displaced = None;
                if owner.is_none() {
                    displaced = self.table.activate(slot, Owner(0)).1;
                }
                if !same_peer || channel != old_channel {
                    self.table.move_to(slot, peer, channel);
                }
                Ok(Changed { private: displaced, evicted: self.give_back(now, slot, new, until) })
            }
        }
    }

    /// An inactive connection that a [`checkout`](Cache::checkout) would hand out now, with its private data, which
    /// stays with it. It is looked at, and not taken: ask again in the next turn.
    ///
    /// # Errors
    ///
    /// [`NotFound`] if there is none.
    #[allow(clippy::type_complexity)]
    pub fn find_inactive_connection(
        &mut self,
        now: Instant,
        peer: &Peer,
        channel: ChannelBindingId,
    ) -> Result<(ConnId, Option<&(dyn Any + Send)>), NotFound> {
        let now = self.clock.advance(now);
        let slot = self.find(now, peer, channel).ok_or(NotFound)?;
        let record = self.table.at(slot);
        match &record.state {
            State::Inactive { private, .. } => Ok((record.id(slot), private.as_deref())),
            State::Active { .. } => Err(NotFound),
        }
    }

    /// Makes this inactive connection active, or evicts it.
    fn activate(&mut self, now: Instant, slot: u32, owner: Owner) -> Changed<C> {
        let now = self.clock.advance(now);
        let fit = match self.unfit(slot, now) {
            Some(reason) => Err((reason, None)),
            None => self.probe(slot),
        };
        match fit.and_then(|()| self.widen(slot)) {
            Ok(()) => Changed { private: self.hand_out(now, slot, owner).private, evicted: None },
            Err(fault) => Changed { private: None, evicted: Some(self.evict_faulty(slot, fault)) },
        }
    }

    /// The newest inactive connection that is fit for use. Closes those found dead.
    pub(crate) fn find(&mut self, now: Tick, peer: &Peer, channel: ChannelBindingId) -> Option<u32> {
        let bucket = self.table.buckets.find(peer, channel)?;
        let list = self.table.buckets.get(bucket).list;
        let mut next = (!list.is_empty()).then_some(list.newest);
        for _ in 0..MOST_LOOKS {
            let slot = next?;
            let fit = match self.unfit(slot, now) {
                None => self.probe(slot),
                Some(Reason::MaxUses) => Err((Reason::MaxUses, None)),
                // Still to come from `expire`. Those behind it may have a later deadline.
                Some(_) => {
                    next = self.table.older(slot);
                    continue;
                }
            };
            let Err(fault) = fit else { return Some(slot) };
            next = self.table.older(slot);
            self.stats.found_dead += u64::from(fault.0 != Reason::MaxUses);
            drop(self.evict_faulty(slot, fault));
        }
        None
    }

    fn probe(&mut self, slot: u32) -> Result<(), (Reason, Option<std::io::Error>)> {
        if !self.probing {
            return Ok(());
        }
        self.stats.probes += 1;
        verdict_of(self.table.at_mut(slot).conn.probe())
    }

    /// Why an inactive connection must not be handed out, as far as the tables know.
    fn unfit(&self, slot: u32, now: Tick) -> Option<Reason> {
        let record = self.table.at(slot);
        let bucket = self.table.buckets.get(record.bucket);
        if self.draining {
            Some(Reason::Drained)
        } else if bucket.closed {
            Some(Reason::PeerClosed)
        } else if record.flags.condemned.is_some() {
            record.flags.condemned
        } else if self.limits.max_uses.is_some_and(|most| record.uses >= most) {
            Some(Reason::MaxUses)
        } else {
            self.expired(record, now)
        }
    }

    /// Which of an inactive connection's time limits has passed, if any: the one that did so first.
    pub(crate) fn expired(&self, record: &Record<C>, now: Tick) -> Option<Reason> {
        let State::Inactive { since, until, .. } = record.state else { return None };
        let idle_end = self.limits.idle_timeout.map_or(Tick::NEVER, |time| since.after(time));
        let end = record.lifetime_end.min(until).min(idle_end);
        if end > now || end == Tick::NEVER {
            None
        } else if end == record.lifetime_end {
            Some(Reason::MaxLifetime)
        } else if end == until {
            Some(Reason::Deadline)
        } else {
            Some(Reason::IdleTimeout)
        }
    }

    /// Makes an inactive connection, found fit, active.
    fn hand_out(&mut self, now: Tick, slot: u32, owner: Owner) -> Found {
        let (since, private) = self.table.activate(slot, owner);
        let record = self.table.at_mut(slot);
        record.uses = record.uses.saturating_add(1);
        self.stats.handed_out += 1;
        let found = Found { id: record.id(slot), inactive_for: now.since(since), uses: record.uses, private };
        debug!(target: "conncache", "event=reuse id={} owner={}", found.id, owner.0);
        found
    }

    /// Makes an active connection inactive if it is to be kept; what has to go.
    fn give_back(
        &mut self,
        now: Instant,
        slot: u32,
        private: PrivateData,
        until: Option<Instant>,
    ) -> Option<Evicted<C>> {
        let tick = self.clock.advance(now);
        let until = until.map_or(Tick::NEVER, |until| self.clock.tick(until));
        let record = self.table.at(slot);
        let (bucket, flags) = (record.bucket, record.flags);
        let facts = Facts { bucket, flags, uses: record.uses, lifetime_end: record.lifetime_end, until };
        let kept = match self.verdict(now, facts) {
            Ok(until) => self.look_once(slot).map(|()| until),
            Err(reason) => Err((reason, None)),
        };
        match kept {
            Ok(until) => {
                self.table.deactivate(slot, tick, until, private);
                self.make_room(bucket)
            }
            Err(fault) => Some(Evicted { private, ..self.evict_faulty(slot, fault) }),
        }
    }

    /// Until when a connection that is about to become inactive is kept, or why it isn't.
    pub(crate) fn verdict(&mut self, now: Instant, facts: Facts) -> Result<Tick, Reason> {
        let tick = self.clock.latest();
        let bucket = self.table.buckets.get(facts.bucket);
        let limits = &self.limits;
        if bucket.closed || facts.flags.peer_closed {
            return Err(Reason::PeerClosed);
        } else if self.draining {
            return Err(Reason::Drained);
        } else if facts.flags.read_closed {
            return Err(Reason::HungUp);
        } else if limits.max_uses.is_some_and(|most| facts.uses >= most) {
            return Err(Reason::MaxUses);
        } else if facts.lifetime_end <= tick {
            return Err(Reason::MaxLifetime);
        } else if facts.until <= tick {
            return Err(Reason::Deadline);
        } else if limits.idle_timeout.is_some_and(|time| time.is_zero()) {
            return Err(Reason::IdleTimeout);
        } else if limits.max_inactive == Some(0) {
            return Err(Reason::MaxInactive);
        } else if limits.max_inactive_per_peer == Some(0) {
            return Err(Reason::MaxInactivePerPeer);
        }
        let candidate = Candidate {
            now,
            peer: &bucket.peer,
            channel: bucket.channel,
            uses: facts.uses,
            inactive: self.table.inactive(),
            inactive_to_peer: bucket.inactive() as usize,
        };
        match self.policy.on_inactive(&candidate) {
            Verdict::Close => Err(Reason::Policy),
            Verdict::Keep => Ok(facts.until),
            Verdict::KeepUntil(until) => {
                let until = self.clock.tick(until);
                if until <= tick { Err(Reason::Deadline) } else { Ok(until.min(facts.until)) }
            }
        }
    }

    /// Enforces the limits on numbers after a connection became inactive; what has to go. That is one at most.
    pub(crate) fn make_room(&mut self, bucket: u32) -> Option<Evicted<C>> {
        let of_peer = self.limits.max_inactive_per_peer.and_then(|most| self.table.keep_newest_in(bucket, most));
        let of_all = self.limits.max_inactive.and_then(|most| self.table.keep_newest(most));
        let (slot, reason) = of_peer.or(of_all)?;
        Some(self.evict(slot, reason))
    }
}
