//! The calls that know nothing of requests, and have to respect them.

use super::naive::{Conn, Pair, Room, Standing, channel};
use super::run::{CHANNELS, Run, ms, some_limits};
use crate::common::random::Random;
use crate::common::scripted::{Far, Scripted};
use conncache::mio::{Interest, Token};
use conncache::{Cause, ConnState, Evicted, Handled, Owner, ParkOptions, Reason, StateError};
use std::time::Instant;

const HOSTS: Token = Token(1);

impl Run {
    /// The limit that keeps a connection to this peer out, unless it has a place.
    pub fn full(&self, peer: usize, connecting: bool) -> Option<&'static str> {
        let naive = &self.naive;
        let most_connecting = naive.limits.max_connecting_per_peer.filter(|_| connecting);
        if naive.total() >= naive.most() {
            Some("max_connections")
        } else if naive.total_to(peer) >= naive.most_to(peer) {
            Some("max_connections_per_peer")
        } else {
            most_connecting.filter(|&most| naive.connecting_to(peer) >= most).map(|_| "max_connecting_per_peer")
        }
    }

    /// Whether this is the right cause for a connection to this peer to be kept out; none is right if it may come in.
    fn kept_out(&self, peer: usize, connecting: bool, cause: Option<&Cause>) {
        let full = self.full(peer, connecting);
        let naive = &self.naive;
        let may_open = naive.limits.max_connections.and_then(|_| naive.openable());
        let others_wait = naive.waiting.iter().any(|waiter| waiter.pair.0 == peer) || may_open.is_some();
        match cause {
            None => assert!(full.is_none() && !others_wait, "it overtook, or {full:?}"),
            Some(Cause::AtLimit { limit, .. }) => assert_eq!(Some(*limit), full),
            Some(Cause::OthersWait) => assert!(full.is_none() && (others_wait || naive.may_be_anybodys_turn())),
            Some(cause) => panic!("{cause}"),
        }
    }

    pub fn insert(&mut self, random: &mut Random) {
        let (pair, owner) = (self.pair(random), Owner(random.below(3) as u64));
        let (conn, wire) = self.fresh();
        let inserted = self.cache.insert(self.naive.now, conn, &self.peers[pair.0], channel(pair), owner);
        self.kept_out(pair.0, true, inserted.as_ref().err().map(|error| &error.cause));
        if let Ok(id) = inserted {
            self.came(id, wire, pair, owner);
        }
    }

    pub fn checkout(&mut self, random: &mut Random) {
        let (pair, owner) = (self.pair(random), Owner(random.below(3) as u64));
        let found = self.cache.checkout(self.naive.now, &self.peers[pair.0], channel(pair), owner);
        self.bury();
        let waited = self.naive.waiting_in(pair) > 0;
        match found {
            Some(found) => {
                assert!(!waited, "it overtook");
                self.handed_out(found.id, pair, owner);
            }
            None => assert!(waited || self.naive.to_reuse(pair).is_none()),
        }
    }

    pub fn checkin(&mut self, random: &mut Random) {
        let Some(at) = self.any(random, |conn| !conn.is_inactive()) else { return };
        let (id, pair, now) = (self.naive.conns[at].id, self.naive.conns[at].pair, self.naive.now);
        let until = random.one_in(5).then(|| now + ms(random.pick(&[0, 3, 10, 50])));
        let expected = self.naive.giving_back(at, pair, until);
        let evicted = match until {
            Some(until) => self.cache.checkin_until(now, id, until),
            None => self.cache.checkin(now, id),
        };
        self.gave_back(at, pair, until, expected, evicted.unwrap());
    }

    fn gave_back(
        &mut self,
        at: usize,
        pair: Pair,
        until: Option<Instant>,
        (reason, may_yield, promised): (Option<Reason>, bool, bool),
        evicted: Option<Evicted<Scripted>>,
    ) {
        let (conn, evicted) = (&self.naive.conns[at], Run::named(&evicted));
        match evicted.filter(|(id, _)| *id == conn.id) {
            Some((_, Reason::MadeRoom)) => {
                // At a new pair it yields for the pair that it comes from.
                let passes_over = self.naive.may_yield(pair, 0) || self.naive.may_yield(conn.pair, 0);
                assert!(may_yield && passes_over, "nobody is passed over");
                self.naive.conns.remove(at);
            }
            Some((_, left)) => {
                assert_eq!(Some(left), reason);
                self.naive.conns.remove(at);
            }
            None => {
                assert_eq!(reason, None, "it was kept");
                assert!(!(promised && self.naive.has_to_yield(pair)), "it is beyond a lowered limit");
                self.naive.deactivate(at, pair, until, promised);
                self.naive.made_room(evicted);
            }
        }
    }

    pub fn set_inactive(&mut self, random: &mut Random) {
        let Some(at) = self.any(random, |_| true) else { return };
        let to = self.pair(random);
        let (id, now, from) = (self.naive.conns[at].id, self.naive.now, self.naive.conns[at].pair);
        let to = if random.one_in(2) { to } else { from };
        let unfit = self.naive.unfit(&self.naive.conns[at]);
        let expected = self.naive.giving_back(at, to, None);
        let full = to.0 != from.0 && self.naive.total_to(to.0) >= self.naive.most_to(to.0);
        match self.cache.set_connection_state(now, id, &self.peers[to.0], ConnState::inactive(channel(to))) {
            Err(error) => assert!(full && error.cause == StateError::PeerAtLimit, "{error}"),
            Ok(change) => {
                assert!(!full && change.id == id);
                match unfit {
                    Some(reason) => {
                        assert_eq!(Run::named(&change.evicted), Some((id, reason)));
                        self.naive.conns.remove(at);
                    }
                    None => self.gave_back(at, to, None, expected, change.evicted),
                }
            }
        }
    }

    pub fn set_active(&mut self, random: &mut Random) {
        let Some(at) = self.any(random, |_| true) else { return };
        let to = self.pair(random).0;
        let (now, conn, owner) = (self.naive.now, self.naive.conns[at].clone(), Owner(random.below(3) as u64));
        let to = if conn.is_inactive() { conn.pair.0 } else { to };
        let owner = if let Standing::Active(owner) = conn.standing { owner } else { owner };
        let naive = &self.naive;
        let connecting = naive.limits.max_connecting_per_peer.filter(|_| conn.connecting);
        let full = to != conn.pair.0
            && (naive.total_to(to) >= naive.most_to(to)
                || connecting.is_some_and(|most| naive.connecting_to(to) >= most));
        let error = if conn.is_inactive() && naive.waiting_in(conn.pair) > 0 {
            Some(StateError::OthersWait)
        } else if full {
            Some(StateError::PeerAtLimit)
        } else {
            let awaited = to != conn.pair.0 && naive.waiting.iter().any(|waiter| waiter.pair.0 == to);
            let limited = naive.most_to(to) < usize::MAX || connecting.is_some();
            (awaited && limited).then_some(StateError::OthersWait)
        };
        let unfit = naive.unfit(&conn);
        match self.cache.set_connection_state(now, conn.id, &self.peers[to], ConnState::Active(owner)) {
            Err(failed) => assert_eq!(Some(failed.cause), error),
            Ok(change) => {
                assert_eq!(error, None);
                if let Some(evicted) = change.evicted {
                    assert!(conn.is_inactive() && (conn.is_dead() || unfit.is_some()) && evicted.id == conn.id);
                    self.naive.conns.remove(at);
                    return;
                }
                assert!(!conn.is_inactive() || unfit.is_none() && !conn.is_dead());
                let conn = &mut self.naive.conns[at];
                (conn.id, conn.pair.0, conn.standing) = (change.id, to, Standing::Active(owner));
            }
        }
    }

    pub fn park(&mut self, random: &mut Random) {
        let (pair, now) = (self.pair(random), self.naive.now);
        let (conn, wire) = if let Some(taken) = self.outside.pop() { taken } else { self.fresh() };
        wire.borrow_mut().far = Far::Quiet;
        wire.borrow_mut().registered = Some((HOSTS, Interest::READABLE));
        let room = self.naive.room(pair.0, None);
        let waited = self.naive.unmatched_in(pair, None) > 0;
        let limited = !waited && self.naive.limits.max_inactive == Some(0);
        let refused = self.naive.draining || limited || !waited && !self.naive.is_resident(None);
        match self.cache.park(now, conn, &self.peers[pair.0], channel(pair), ParkOptions::default()) {
            Err(error) => {
                let yields = matches!(error.cause, Cause::OthersWait) && self.naive.may_yield(pair, 1);
                let at_limit = matches!(error.cause, Cause::AtLimit { .. } | Cause::OthersWait);
                assert!(yields || if at_limit { room != Room::Yes } else { refused }, "{error}");
            }
            Ok(parked) => {
                assert!(room != Room::No && !refused);
                let (made_way, victim) = (Run::named(&parked.evicted), self.naive.total() == self.naive.most());
                let victim = victim || self.naive.total_to(pair.0) == self.naive.most_to(pair.0);
                if victim {
                    self.naive.check_victim(pair.0, None, made_way.map(|(id, _)| id));
                }
                self.came(parked.id, wire, pair, Owner(0));
                self.naive.deactivate(self.naive.conns.len() - 1, pair, None, waited);
                if victim {
                    self.naive.condemn_surplus();
                    self.made_way(made_way);
                } else {
                    self.naive.made_room(made_way);
                }
            }
        }
    }

    pub fn take(&mut self, random: &mut Random) {
        let (pair, now) = (self.pair(random), self.naive.now);
        let taken = self.cache.take(now, &self.peers[pair.0], channel(pair), HOSTS, Interest::READABLE).unwrap();
        self.bury();
        let waited = self.naive.waiting_in(pair) > 0;
        match taken {
            Some(taken) => {
                assert!(!waited, "it overtook");
                let (expected, number) = (self.naive.to_reuse(pair).expect("none was fit"), taken.conn.number());
                assert_eq!(expected.wire.borrow().number, number);
                let conn = self.naive.conns.remove(self.naive.at(expected.id));
                self.outside.push((taken.conn, conn.wire));
            }
            None => assert!(waited || self.naive.to_reuse(pair).is_none()),
        }
    }

    pub fn readiness(&mut self, random: &mut Random) {
        let Some(at) = self.any(random, |_| true) else { return };
        let conn = &self.naive.conns[at];
        let token = self.cache.token(conn.id).expect("it is here");
        match self.cache.handle_readiness(token, false) {
            Handled::Active { id, .. } => assert!(id == conn.id && !conn.is_inactive()),
            Handled::Evicted(evicted) => {
                assert!(evicted.id == conn.id && conn.is_inactive());
                // The other model knows how many false alarms are too many.
                assert!(conn.is_dead() || evicted.reason == Reason::FalseAlarms, "{}", evicted.reason);
                self.naive.conns.remove(at);
            }
            Handled::Nothing => assert!(conn.is_inactive() && !conn.is_dead()),
            Handled::Rejected => panic!("{token:?}"),
        }
    }

    pub fn leave(&mut self, random: &mut Random) {
        let Some(at) = self.any(random, |_| true) else { return };
        let conn = self.naive.conns.remove(at);
        if random.one_in(2) {
            assert_eq!(self.cache.close_connection(conn.id).unwrap().reason, Reason::Closed);
            return;
        }
        let removed = self.cache.remove(conn.id).unwrap();
        assert_eq!(removed.reason, Reason::Removed);
        if random.one_in(2) {
            self.adopt(conn, removed);
        }
    }

    /// It comes back at once.
    fn adopt(&mut self, conn: Conn, removed: Evicted<Scripted>) {
        let adopted = self.cache.adopt(self.naive.now, removed, Owner(0));
        self.kept_out(conn.pair.0, false, adopted.as_ref().err().map(|error| &error.cause));
        if let Ok(id) = adopted {
            let closed = conn.closed;
            self.came(id, conn.wire, conn.pair, Owner(0));
            let came = self.naive.conns.last_mut().expect("it came");
            (came.connecting, came.closed) = (false, closed);
        }
    }

    pub fn expire(&mut self) {
        let unfit = self.naive.conns.iter().filter(|conn| self.naive.unfit(conn).is_some()).count();
        match self.cache.expire(self.naive.now) {
            Some(evicted) => {
                let conn = self.naive.conns.remove(self.naive.at(evicted.id));
                assert_eq!(self.naive.unfit(&conn), Some(evicted.reason));
            }
            None => assert_eq!(unfit, 0),
        }
    }

    pub fn shed(&mut self) {
        match self.cache.shed() {
            Some(evicted) => {
                let conn = self.naive.conns.remove(self.naive.at(evicted.id));
                assert!(conn.is_inactive());
            }
            None => assert!(self.naive.conns.iter().all(|conn| !conn.is_inactive())),
        }
    }

    /// Finds some dead connections, or all of them.
    pub fn sweep(&mut self, random: &mut Random) {
        let most = random.pick(&[0, 1, 2, usize::MAX]);
        // Vacant slots may make a round take more than one call.
        let mut calls_left = if most == usize::MAX { 20 } else { 1 };
        while calls_left > 0 {
            let Some(evicted) = self.cache.sweep(most) else {
                calls_left -= 1;
                continue;
            };
            let conn = self.naive.conns.remove(self.naive.at(evicted.id));
            assert!(conn.is_inactive() && conn.is_dead(), "{} was fit", conn.id);
        }
        let dead = self.naive.conns.iter().any(|conn| conn.is_inactive() && conn.is_dead());
        assert!(most < usize::MAX || !dead, "a dead one is left");
    }

    pub fn close_peer(&mut self, random: &mut Random) {
        let peer = random.below(self.peers.len());
        self.cache.close_peer(&self.peers[peer]);
        self.naive.close(|pair| pair.0 == peer, Reason::ClosedPeer);
    }

    pub fn close_channel(&mut self, random: &mut Random) {
        let of = random.below(CHANNELS) as u64;
        self.cache.close_channel(channel((0, of)));
        self.naive.close(|pair| pair.1 == of, Reason::ClosedChannel);
        self.naive.refuse(|pair| pair.1 == of);
    }

    pub fn set_limits(&mut self, random: &mut Random) {
        let limits = some_limits(random);
        self.cache.set_limits(limits.clone()).unwrap();
        self.naive.set_limits(limits);
    }

    pub fn drain(&mut self) {
        self.cache.drain();
        self.naive.draining = true;
        self.naive.refuse(|_| true);
    }
}
