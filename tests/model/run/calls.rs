//! Calls that bring connections in, hand them out and take them back.

use super::{BOTH, CLOSINGS, HOSTS, MS, Outside, Run, number_of, open};
use crate::common::random::Random;
use crate::common::scripted::Scripted;
use crate::naive::{Handed, State, Time, nanos};
use conncache::mio::{Interest, Token};
use conncache::{
    Cause, ChannelBindingId, ConnId, ConnState, Evicted, Found, History, NotFound, Owner, ParkError, ParkOptions,
    Reason, StateChange, StateError,
};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Which connection the cache let go, and why.
fn hint(evicted: &Evicted<Scripted>) -> (ConnId, Reason) {
    (evicted.id, evicted.reason)
}

impl Run {
    pub(super) fn insert(&mut self, random: &mut Random) {
        if self.naive.conns.len() > self.size.crowd {
            return;
        }
        let ((now, told), key) = (self.time(random), self.key(random));
        let owner = random.below(self.size.owners as usize) as u64;
        let (conn, wire) = self.new_wire(random);
        wire.borrow_mut().fail_register = random.one_in(15);
        let done = self.cache.insert(now, conn, &self.peers[key.0], ChannelBindingId(key.1), Owner(owner));
        let full = self.naive.conns.len() >= self.slots;
        match done {
            Err(error) => {
                assert_eq!(error.conn.number(), wire.borrow().number);
                assert_eq!(wire.borrow().registered, None);
                match error.cause {
                    Cause::TokensExhausted { slots } => assert!(full && slots == self.slots),
                    Cause::Registry(_) => assert!(!full && wire.borrow().fail_register),
                    cause => panic!("{cause}"),
                }
            }
            Ok(id) => {
                assert!(!full && !wire.borrow().fail_register);
                self.naive.tell(told);
                self.came(id, &wire);
                let mut conn = self.fresh(id, wire, key, self.naive.lifetime_end(self.naive.now));
                conn.state = State::Active(owner);
                self.naive.conns.push(conn);
                self.naive.counts.inserted += 1;
            }
        }
    }

    pub(super) fn checkout(&mut self, random: &mut Random) {
        let (now, key, owner) = (self.now(random), self.key(random), random.below(self.size.owners as usize) as u64);
        let expected = self.naive.checkout(key.0, key.1, owner);
        let found = self.cache.checkout(now, &self.peers[key.0], ChannelBindingId(key.1), Owner(owner));
        let found = found.map(|Found { id, inactive_for, uses, private, .. }| {
            let number = self.cache[id].number();
            self.leased(number, id);
            Handed { number, inactive_for: nanos(inactive_for), uses, private: open(private) }
        });
        assert_eq!(found, expected);
    }

    pub(super) fn checkin(&mut self, random: &mut Random) {
        let Some(id) = self.some_active(random) else { return };
        let ((now, told), (until, time)) = (self.time(random), self.some_until(random));
        let done = match until {
            Some(until) => self.cache.checkin_until(now, id, until),
            None => self.cache.checkin(now, id),
        };
        self.naive.hint = done.as_ref().ok().and_then(Option::as_ref).map(hint);
        let expected = match self.naive.at(id) {
            None => Err(StateError::NotFound),
            Some(at) if self.naive.conns[at].owner().is_none() => Err(StateError::AlreadyInactive),
            Some(_) => {
                self.naive.tell(told);
                Ok(self.naive.give_back(id, None, time))
            }
        };
        match (done, expected) {
            (Ok(evicted), Ok(gone)) => self.same_gone(evicted, gone),
            (done, expected) => assert_eq!(done.map(drop), expected.map(drop)),
        }
    }

    pub(super) fn set_inactive(&mut self, random: &mut Random) {
        let Some(id) = self.some_id(random) else { return };
        let ((now, told), (until, time)) = (self.time(random), self.some_until(random));
        let mut key = self.key(random);
        let ((data, private), at) = (self.some_private(random), self.naive.at(id));
        if let Some(at) = at.filter(|_| random.one_in(2)) {
            key = (self.naive.conns[at].peer, self.naive.conns[at].channel);
        }
        let mut state = ConnState::inactive(ChannelBindingId(key.1)).private_data(data);
        if let Some(until) = until {
            state = state.until(until);
        }
        let done = self.cache.set_connection_state(now, id, &self.peers[key.0], state);
        self.naive.hint = done.as_ref().ok().and_then(|changed| changed.evicted.as_ref()).map(hint);
        let expected = at.map(|at| {
            self.naive.tell(told);
            self.naive.deactivate(at, key, private, time)
        });
        match (done, expected) {
            (Ok(StateChange { id: lease, private, evicted, .. }), Some((displaced, gone))) => {
                assert_eq!((lease, open(private)), (id, displaced));
                self.same_gone(evicted, gone);
            }
            (Err(error), None) => {
                assert_eq!(error.cause, StateError::NotFound);
                let ConnState::Inactive { private: data, .. } = error.into_state() else { panic!("another state") };
                assert_eq!(open(data), private);
            }
            (done, _) => panic!("{done:?}"),
        }
    }

    pub(super) fn set_active(&mut self, random: &mut Random) {
        let Some(id) = self.some_id(random) else { return };
        let ((now, told), owner) = (self.time(random), random.below(self.size.owners as usize) as u64);
        let (mut peer, at) = (random.below(self.size.peers), self.naive.at(id));
        if let Some(at) = at.filter(|_| !random.one_in(3)) {
            peer = self.naive.conns[at].peer;
        }
        let was_inactive = at.is_some_and(|at| self.naive.conns[at].owner().is_none());
        let refusal = at.map_or(Some(StateError::NotFound), |at| self.naive.refusal(at, peer, owner));
        let expected = match (refusal, at) {
            (None, Some(at)) if self.naive.conns[at].owner().is_some() => {
                self.naive.conns[at].peer = peer;
                Ok(None)
            }
            (None, Some(at)) => {
                self.naive.tell(told);
                self.naive.activate(at, owner)
            }
            _ => Ok(None),
        };
        let done = self.cache.set_connection_state(now, id, &self.peers[peer], ConnState::Active(Owner(owner)));
        match (done, refusal) {
            (Err(error), Some(refusal)) => {
                assert_eq!(error.cause, refusal);
                assert!(matches!(error.into_state(), ConnState::Active(Owner(o)) if o == owner));
            }
            (Ok(StateChange { id: lease, private, evicted, .. }), None) => {
                if was_inactive && expected.is_ok() {
                    self.leased(self.naive.conns[at.unwrap()].number, lease);
                } else {
                    assert_eq!(lease, id);
                }
                assert_eq!(open(private), *expected.as_ref().unwrap_or(&None));
                self.same_gone(evicted, expected.err());
            }
            (done, refusal) => panic!("{done:?} instead of {refusal:?}"),
        }
    }

    pub(super) fn find_inactive(&mut self, random: &mut Random) {
        let ((now, told), key, before) = (self.time(random), self.key(random), self.naive.now);
        self.naive.tell(told);
        let expected = self.naive.find(key.0, key.1).map(|at| {
            let conn = &self.naive.conns[at];
            (conn.id, conn.waiting().unwrap().private)
        });
        if expected.is_none() {
            self.naive.now = before;
        }
        let found = self.cache.find_inactive_connection(now, &self.peers[key.0], ChannelBindingId(key.1));
        assert_eq!(found.map(|(id, private)| (id, private.map(number_of))), expected.ok_or(NotFound));
    }

    /// A connection from outside: one that was taken before, or one that the host has opened.
    fn guest(&mut self, random: &mut Random) -> Option<Outside> {
        if !self.outside.is_empty() && !random.one_in(3) {
            return Some(self.outside.swap_remove(random.below(self.outside.len())));
        } else if self.naive.conns.len() > self.size.crowd {
            return None;
        }
        let closings = (self.naive.closings.len(), CLOSINGS[1].load(Ordering::SeqCst));
        let (conn, wire) = self.new_wire(random);
        // One in ten was never registered by its host.
        wire.borrow_mut().registered = (!random.one_in(10)).then_some((Token(HOSTS), BOTH));
        let opened = random.one_in(3).then(|| random.below(1 + (self.wall / MS) as usize) as Time * MS);
        let history = opened.map(|opened| History::opened_at(self.start + Duration::from_nanos(opened)));
        Some(Outside { conn, wire, history, uses: 1, opened, lifetime_end: None, closings })
    }

    pub(super) fn park(&mut self, random: &mut Random) {
        let (key, (until, time)) = (self.key(random), self.some_until(random));
        let Some(Outside { conn, wire, history, uses, opened, lifetime_end, closings }) = self.guest(random) else {
            return;
        };
        let (before, asked, (now, told)) = (wire.borrow().registered, wire.borrow().asked, self.time(random));
        let ((data, private), time_before) = (self.some_private(random), self.naive.now);
        let full = self.naive.conns.len() >= self.slots;
        self.naive.tell(told);
        if let Some(history) = &history {
            assert_eq!((history.uses(), Some(self.nanos_of(history.opened()))), (uses, opened));
        }
        // The cache's time may be behind the host's.
        let opened = opened.map_or(self.naive.now, |opened| opened.min(self.naive.now));
        let lifetime_end = lifetime_end.unwrap_or(self.naive.lifetime_end(opened));
        // Its id isn't known yet.
        let mut newcomer = self.fresh(self.foreign, Rc::clone(&wire), key, lifetime_end);
        (newcomer.uses, newcomer.opened) = (uses, opened);
        if history.is_some() {
            newcomer.closed = self.naive.closed_since(closings.0, key.0, key.1);
            newcomer.looked = wire.borrow().asked > 0;
        }
        let looked = newcomer.looked;
        let mut parking = ParkOptions::default().private_data(data);
        (parking.until, parking.history) = (until, history);
        let done = self.cache.park(now, conn, &self.peers[key.0], ChannelBindingId(key.1), parking);
        // Of so many closings the cache remembers the latest alone.
        let too_old = CLOSINGS[0].load(Ordering::SeqCst) - closings.1 > 1_024;
        let is_closed = |error: &ParkError<Scripted>| matches!(error.cause, Cause::Refused(Reason::ClosedPeer));
        if too_old && newcomer.closed.is_none() && done.as_ref().is_err_and(is_closed) {
            newcomer.closed = Some(Reason::ClosedPeer);
        }
        self.naive.hint = done.as_ref().ok().and_then(|parked| parked.evicted.as_ref()).map(hint);
        let expected = if full { Err(None) } else { self.naive.park(newcomer, private, time) };
        match done {
            Ok(parked) => {
                let at = self.naive.at(self.foreign).expect("the reference has taken it, too");
                self.naive.conns[at].id = parked.id;
                self.came(parked.id, &wire);
                self.same_gone(parked.evicted, expected.expect("the reference has taken it, too"));
                assert_eq!(wire.borrow().asked, asked + u32::from(!looked), "whether it is connected");
            }
            Err(error) => {
                self.naive.now = time_before;
                match (&error.cause, expected) {
                    (Cause::Refused(reason), Err(expected)) => assert_eq!(Some(*reason), expected),
                    (Cause::Failed(_), Err(expected)) => assert_eq!(expected, Some(Reason::Failed)),
                    (Cause::Registry(_), Err(None)) => assert!(!full),
                    (Cause::TokensExhausted { .. }, Err(None)) => assert!(full),
                    (cause, expected) => panic!("{cause:?} instead of {expected:?}"),
                }
                let (conn, parking) = error.into_parts();
                assert_eq!((conn.number(), parking.until), (wire.borrow().number, until));
                assert_eq!(open(parking.private), private);
                assert_eq!(wire.borrow().registered, before);
            }
        }
    }

    pub(super) fn take(&mut self, random: &mut Random) {
        let ((now, told), key) = (self.time(random), self.key(random));
        let (peer, channel) = (&self.peers[key.0], ChannelBindingId(key.1));
        if random.one_in(20) {
            let Some(token) = self.naive.conns.first().and_then(|conn| self.cache.token(conn.id)) else { return };
            let error = self.cache.take(now, peer, channel, token, Interest::READABLE).unwrap_err();
            assert!(matches!(error.cause, Cause::TokenOfCache(t) if t == token) && error.into_evicted().is_none());
            return;
        }
        self.naive.tell(told);
        let closings = (self.naive.closings.len(), CLOSINGS[1].load(Ordering::SeqCst));
        let expected = self.naive.take(key.0, key.1);
        let token = Token(HOSTS + random.below(100));
        match (self.cache.take(now, peer, channel, token, Interest::WRITABLE), expected) {
            (Ok(None), None) => {}
            (Err(error), Some(Err(gone))) => {
                assert!(matches!(error.cause, Cause::Registry(_)));
                self.same_gone(error.into_evicted(), Some(gone));
            }
            (Ok(Some(taken)), Some(Ok((handed, opened, lifetime_end)))) => {
                let number = taken.conn.number();
                let inactive_for = nanos(taken.inactive_for);
                let (uses, history) = (taken.history.uses(), Some(taken.history));
                assert_eq!(Handed { number, inactive_for, uses, private: open(taken.private) }, handed);
                let wire = Rc::clone(&self.wires[number]);
                assert_eq!(wire.borrow().registered, Some((token, Interest::WRITABLE)));
                assert_eq!(wire.borrow().dropped, 0);
                let (opened, lifetime_end) = (Some(opened), Some(lifetime_end));
                self.outside.push(Outside { conn: taken.conn, wire, history, uses, opened, lifetime_end, closings });
            }
            (done, expected) => panic!("{done:?} instead of {expected:?}"),
        }
    }
}
