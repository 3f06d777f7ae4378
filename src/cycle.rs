//! The cycle of a connection's life: handed out, used, given back.

use crate::clock::Tick;
use crate::connection::Connection;
use crate::error::{NotFound, SetStateError, StateError};
use crate::outcome::{Changed, Evicted, Found, Reason};
use crate::peer::Peer;
use crate::policy::{Candidate, Policy, Verdict};
use crate::slots::{Flags, State};
use crate::state::{ChannelBindingId, ConnId, ConnState, Owner, PrivateData};
use crate::watch::{Cache, Fault};
use log::debug;
use std::any::Any;
use std::time::Instant;

/// How many dead connections one search closes before it is a miss: closing takes time.
const MOST_DEAD: u32 = 8;
/// How many connections that have run out, and are still to come from `expire`, one search passes by.
const MOST_PASSED: u32 = 64;

/// What decides whether a connection may be, or become, inactive and be handed out again.
#[derive(Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) bucket: u32,
    pub(crate) flags: Flags,
    pub(crate) uses: u32,
    pub(crate) lifetime_end: Tick,
    pub(crate) since: Tick,
    pub(crate) until: Tick,
}

impl<C: Connection, P: Policy> Cache<C, P> {
    /// Hands out a connection to `peer` under `channel`, if one is fit for use, and makes it `owner`'s: the one that
    /// was used last, since it is the least likely to be given up by its far end. It is probed in this moment
    /// ([`Builder::probe`](crate::Builder::probe)): for plain sockets, open, without error, without a byte to read.
    ///
    /// Write at once: no event will tell that it is writable.
    ///
    /// Dead ones met on the way are closed and counted, their private data dropped with them; after eight of them it is
    /// a miss. Those that have run out and haven't come from [`expire`](Cache::expire) yet are passed by; after 64 of
    /// them it is a miss, too.
    #[must_use = "a connection found is active from now on"]
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
    /// Forget `id` then: it names the connection, not your use of it, and the next owner's connection has the same.
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
        let slot = self.slot_of(id).ok_or(StateError::NotFound)?;
        match self.table.at(slot).state {
            State::Active { .. } => Ok(self.give_back(now, slot, None, until)),
            State::Inactive { .. } => Err(StateError::AlreadyInactive),
        }
    }

    /// Sets a connection's state, in the manner of the seed.
    ///
    /// * Active to inactive is a [checkin](Cache::checkin), with private data, a deadline, another peer or channel as
    ///   desired.
    /// * Inactive to inactive moves it: it counts as newly inactive, and has the new private data alone. One that has
    ///   run out already is evicted instead.
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
        let Some(slot) = self.slot_of(id) else {
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
                    let now = self.clock.advance(now);
                    if let Some(reason) = self.unfit(slot, now) {
                        let mut evicted = self.evict(slot, reason);
                        let displaced = std::mem::replace(&mut evicted.private, new);
                        return Ok(Changed { private: displaced, evicted: Some(evicted) });
                    }
                    displaced = self.table.activate(slot, Owner(0)).1;
                }
                self.table.move_to(slot, peer, channel);
                Ok(Changed { private: displaced, evicted: self.give_back(now, slot, new, until) })
            }
        }
    }

    /// An inactive connection that a [`checkout`](Cache::checkout) would hand out now, with its private data, which
    /// stays with it. It is probed, and not taken: ask again in the next turn. Dead ones met on the way are closed.
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
            State::Inactive { private, .. } => Ok((record.id(slot, self.tokens.serial()), private.as_deref())),
            State::Active { .. } => Err(NotFound),
        }
    }

    /// Makes this inactive connection active, or evicts it.
    fn activate(&mut self, now: Instant, slot: u32, owner: Owner) -> Changed<C> {
        let now = self.clock.advance(now);
        let fit = match self.unfit(slot, now) {
            Some(reason) => Err((reason, None)),
            None => self.look(slot),
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
        let (mut dead, mut passed) = (0, 0);
        while dead < MOST_DEAD && passed < MOST_PASSED {
            let slot = next?;
            // Those that have run out come from `expire`. The ones behind may have a later deadline.
            if self.unfit(slot, now).is_some() {
                next = self.table.older(slot);
                passed += 1;
                continue;
            }
            let Err(fault) = self.look(slot) else { return Some(slot) };
            next = self.table.older(slot);
            drop(self.evict_faulty(slot, fault));
            dead += 1;
        }
        None
    }

    /// Probes an inactive connection that is about to be handed out.
    fn look(&mut self, slot: u32) -> Result<(), Fault> {
        if !self.probing {
            return Ok(());
        }
        let looked = self.probe(slot);
        self.stats.found_dead += u64::from(looked.is_err());
        looked
    }

    /// Why an inactive connection must not be handed out, as far as the tables know.
    #[inline]
    pub(crate) fn unfit(&self, slot: u32, now: Tick) -> Option<Reason> {
        let record = self.table.at(slot);
        let State::Inactive { since, until, .. } = record.state else { return None };
        let (bucket, flags, uses, lifetime_end) = (record.bucket, record.flags, record.uses, record.lifetime_end);
        self.barred(now, Facts { bucket, flags, uses, lifetime_end, since, until })
    }

    /// Why a connection must not be inactive and handed out again: the host's orders first, then what ran out first.
    #[inline]
    fn barred(&self, now: Tick, facts: Facts) -> Option<Reason> {
        let limits = &self.limits;
        let idle_end = limits.idle_timeout.map_or(Tick::NEVER, |time| facts.since.after(time));
        let end = facts.lifetime_end.min(facts.until).min(idle_end);
        if facts.flags.peer_closed || self.table.buckets.get(facts.bucket).closed {
            Some(Reason::PeerClosed)
        } else if self.draining {
            Some(Reason::Drained)
        } else if facts.flags.condemned.is_some() {
            facts.flags.condemned
        } else if limits.max_uses.is_some_and(|most| facts.uses >= most) {
            Some(Reason::MaxUses)
        } else if end > now || end == Tick::NEVER {
            None
        } else if end == facts.lifetime_end {
            Some(Reason::MaxLifetime)
        } else if end == facts.until {
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
        let found = Found {
            id: record.id(slot, self.tokens.serial()),
            inactive_for: now.since(since),
            uses: record.uses,
            private,
        };
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
        let (bucket, flags, uses, lifetime_end) = (record.bucket, record.flags, record.uses, record.lifetime_end);
        let facts = Facts { bucket, flags, uses, lifetime_end, since: tick, until };
        let kept = match self.refused(facts) {
            Some(reason) => Err((reason, None)),
            None => self.look_once(slot).and_then(|()| self.ask(now, facts).map_err(|reason| (reason, None))),
        };
        match kept.and_then(|until| self.narrow(slot).map(|()| until)) {
            Ok(until) => {
                self.table.deactivate(slot, tick, until, private);
                self.make_room(bucket)
            }
            Err(fault) => Some(Evicted { private, ..self.evict_faulty(slot, fault) }),
        }
    }

    /// Why a connection can't become inactive, whatever the policy would say.
    pub(crate) fn refused(&self, facts: Facts) -> Option<Reason> {
        self.barred(self.clock.latest(), facts).or(
            match (self.limits.max_inactive, self.limits.max_inactive_per_peer) {
                (Some(0), _) => Some(Reason::MaxInactive),
                (_, Some(0)) => Some(Reason::MaxInactivePerPeer),
                _ => None,
            },
        )
    }

    /// Until when the policy would keep a connection that is about to become inactive.
    pub(crate) fn ask(&mut self, now: Instant, facts: Facts) -> Result<Tick, Reason> {
        let bucket = self.table.buckets.get(facts.bucket);
        let candidate = Candidate {
            now: self.clock.now().unwrap_or(now),
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
                if until <= self.clock.latest() { Err(Reason::Deadline) } else { Ok(until.min(facts.until)) }
            }
        }
    }

    /// Enforces the limits on numbers after a connection became inactive; what has to go. That is one at most.
    pub(crate) fn make_room(&mut self, bucket: u32) -> Option<Evicted<C>> {
        let of_peer = self.limits.max_inactive_per_peer.and_then(|most| self.table.keep_newest_in(bucket, most));
        if let Some((slot, reason)) = of_peer {
            return Some(self.evict(slot, reason));
        }
        let most = self.limits.max_inactive?;
        if self.table.lru.kept() <= most {
            return None;
        }
        let (slot, reason) = match self.table.buckets.next_waiting() {
            Some(slot) => (slot, Reason::PeerClosed),
            None => self.table.keep_newest(most)?,
        };
        Some(self.evict(slot, reason))
    }
}
