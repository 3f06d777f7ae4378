//! The calls about requests and places, made on both, and their answers compared.

use super::naive::{Conn, Held, Room, Standing, Waiter, channel};
use super::run::{Run, ms};
use crate::common::random::Random;
use crate::common::scripted::Scripted;
use conncache::{
    Cause, ConnId, Grant, Granted, NotFound, Owner, Reason, RequestError, Requested, StateError, WaiterId,
};

impl Run {
    pub fn request(&mut self, random: &mut Random) {
        let (pair, owner, now) = (self.pair(random), Owner(random.below(3) as u64), self.naive.now);
        let until = random.one_in(3).then(|| now + ms(random.pick(&[0, 1, 5, 20, 100])));
        let answer = self.cache.request(now, &self.peers[pair.0], channel(pair), owner, until);
        self.bury();
        let naive = &mut self.naive;
        let nobody_waits = naive.waiting_in(pair) == 0;
        let (to_reuse, room) = (naive.to_reuse(pair).is_some(), naive.room(pair.0, Some(pair.1)));
        // If it has its turn: if nobody waits who can be served.
        let may_open = room == Room::Yes
            && !naive.may_be_anybodys_turn()
            && naive.waiting.iter().all(|waiter| waiter.pair.0 != pair.0);
        let waiter = |id: WaiterId| Waiter { id, pair, owner, since: now, until };
        match answer {
            Err(RequestError::Draining) => assert!(naive.draining),
            Err(RequestError::TimedOut) => assert!(until.is_some_and(|until| until <= now)),
            Err(RequestError::LineFull { max_waiting }) => {
                assert_eq!(naive.limits.max_waiting, Some(max_waiting));
                assert!(naive.waiting.len() >= max_waiting);
                assert!(!(nobody_waits && to_reuse || may_open), "it needn't have waited");
            }
            Ok(Requested::Reuse(found)) => {
                assert!(nobody_waits, "it overtook");
                self.handed_out(found.id, pair, owner);
            }
            Ok(Requested::Open { place, evicted }) => {
                assert!(!to_reuse && naive.waiting.iter().all(|waiter| waiter.pair.0 != pair.0), "it overtook");
                if naive.limits.max_connections.is_some() {
                    assert!(naive.openable().is_none(), "it overtook {:?}", naive.openable());
                }
                let evicted = Run::named(&evicted);
                naive.check_victim(pair.0, Some(pair.1), evicted.map(|(id, _)| id));
                self.made_way(evicted);
                let end = until.unwrap_or(now + ms(30_000));
                self.place_at(waiter(place.waiter()), end, place);
            }
            Ok(Requested::Wait(id)) => {
                assert!(!(nobody_waits && to_reuse), "it needn't have waited");
                assert!(!may_open, "it needn't have waited");
                assert!(naive.limits.max_waiting.is_none_or(|most| naive.waiting.len() < most), "the line is full");
                assert!(naive.waiting.iter().chain(&self.gone).all(|waiter| waiter.id != id), "used before");
                naive.waiting.push(waiter(id));
                self.waited += 1;
            }
            answer => panic!("{answer:?}"),
        }
    }

    /// A connection that went for a new one.
    pub fn made_way(&mut self, evicted: Option<(conncache::ConnId, conncache::Reason)>) {
        if let Some((id, reason)) = evicted {
            let conn = self.naive.conns.remove(self.naive.at(id));
            assert_eq!(reason, self.naive.unfit(&conn).unwrap_or(conncache::Reason::MadeRoom));
        }
    }

    fn held(&mut self, random: &mut Random) -> Option<Held> {
        let places = &mut self.naive.places;
        if places.is_empty() {
            return None;
        }
        let at = random.below(places.len());
        if random.one_in(20) {
            // The host loses it: it is held until its time is over.
            places[at].place = None;
        }
        if places[at].place.is_some() { Some(places.swap_remove(at)) } else { None }
    }

    pub fn insert_at(&mut self, random: &mut Random) {
        let (conn, wire) = self.fresh();
        if let Some(place) = self.stale.pop() {
            let error = self.cache.insert_at(self.naive.now, place, conn).unwrap_err();
            assert!(matches!(error.cause, Cause::PlaceGone) && error.place.is_none(), "{error}");
            return;
        }
        let Some(mut held) = self.held(random) else { return };
        let place = held.place.take().expect("the host has it");
        if random.one_in(10) {
            wire.borrow_mut().fail_register = true;
            let error = self.cache.insert_at(self.naive.now, place, conn).unwrap_err();
            assert!(matches!(error.cause, Cause::Registry(_)), "{error}");
            self.naive.places.push(Held { place: error.place, ..held });
            return;
        }
        let id = self.cache.insert_at(self.naive.now, place, conn).unwrap_or_else(|error| panic!("{error}"));
        self.came(id, wire, held.waiter.pair, held.waiter.owner);
        self.forget(held.waiter);
    }

    pub fn give_up(&mut self, random: &mut Random) {
        if let Some(place) = self.stale.pop() {
            return self.cache.give_up(place);
        }
        if let Some(held) = self.held(random) {
            self.cache.give_up(held.place.expect("the host has it"));
            self.forget(held.waiter);
        }
    }

    pub fn put_back(&mut self, random: &mut Random) {
        if let Some(place) = self.stale.pop() {
            assert_eq!(self.cache.put_back(place), Err(NotFound));
            return;
        }
        let Some(held) = self.held(random) else { return };
        let waiter = held.waiter;
        assert_eq!(self.cache.put_back(held.place.expect("the host has it")), Ok(waiter.id));
        if self.naive.draining {
            self.naive.refused.push(waiter);
            return;
        }
        // The head of its line, but for those who came earlier and were put back, too.
        let behind = |other: &Waiter| other.pair == waiter.pair && other.id > waiter.id;
        let at = self.naive.waiting.iter().position(behind).unwrap_or(self.naive.waiting.len());
        self.naive.waiting.insert(at, waiter);
    }

    pub fn withdraw(&mut self, random: &mut Random) {
        let line = if random.one_in(4) { &mut self.naive.refused } else { &mut self.naive.waiting };
        if !line.is_empty() {
            let waiter = line.remove(random.below(line.len()));
            assert_eq!(self.cache.withdraw(waiter.id), Ok(()));
            self.naive.end_promises(waiter.pair);
            self.forget(waiter);
        }
        let places = self.naive.places.iter().map(|held| held.waiter.id);
        for id in self.gone.iter().map(|waiter| waiter.id).chain(places) {
            assert_eq!(self.cache.withdraw(id), Err(NotFound), "{id:?}");
        }
    }

    pub fn refuse(&mut self, random: &mut Random) {
        let peer = self.pair(random).0;
        self.cache.refuse(&self.peers[peer]);
        self.naive.refuse(|pair| pair.0 == peer);
    }

    pub fn grant(&mut self) {
        let (now, was_due) = (self.naive.now, self.is_due());
        let grant = self.cache.grant(now);
        self.condemned_for_waiters(&grant);
        let Some(grant) = grant else {
            self.bury();
            // It may have had enough to do with dead connections and leftovers.
            self.in_vain += u32::from(self.naive.servable().is_some());
            assert!(self.in_vain < 3, "{:?} could be served", self.naive.servable());
            let over = |end: &Option<std::time::Instant>| end.is_some_and(|end| end <= now);
            let ends = self.naive.waiting.iter().chain(&self.naive.refused).map(|waiter| waiter.until);
            assert!(!ends.chain(self.naive.places.iter().map(|held| Some(held.end))).any(|end| over(&end)));
            assert!(self.naive.refused.is_empty());
            let longest = self.naive.waiting.iter().map(|waiter| now - waiter.since).max();
            assert_eq!(self.cache.longest_wait(), longest.unwrap_or_default());
            let expirable = self.naive.conns.iter().any(|conn| self.naive.unfit(conn).is_some());
            if self.naive.servable().is_none() && !expirable && self.naive.overdue().is_none() && self.is_due() {
                // A deadline that was replaced or has ended, or work left.
                for _ in 0..3 {
                    assert!(self.cache.overdue(now).is_none());
                    assert!(self.cache.expire(now).is_none());
                    assert!(self.cache.grant(now).is_none());
                }
                assert!(!self.is_due(), "the loop spins");
            }
            return;
        };
        self.in_vain = 0;
        self.bury();
        assert!(was_due, "nobody was told");
        let naive = &mut self.naive;
        let is_over = |waiter: &Waiter| waiter.until.is_some_and(|until| until <= now);
        let over = naive.waiting.iter().chain(&naive.refused).any(is_over);
        let over = over || naive.places.iter().any(|held| held.end <= now);
        let waiting = naive.waiting.iter().position(|waiter| waiter.id == grant.waiter);
        let waiter = match &grant.granted {
            Granted::TimedOut => {
                let ends = naive.waiting.iter().chain(&naive.refused).filter_map(|waiter| waiter.until);
                let first = ends.chain(naive.places.iter().map(|held| held.end)).min();
                let refused = naive.refused.iter().position(|waiter| waiter.id == grant.waiter);
                let place = naive.places.iter().position(|held| held.waiter.id == grant.waiter);
                let (waiter, end) = match (waiting, refused, place) {
                    (Some(at), ..) => (naive.waiting.remove(at), None),
                    (_, Some(at), _) => (naive.refused.remove(at), None),
                    (.., Some(at)) => {
                        let held = naive.places.remove(at);
                        self.stale.extend(held.place);
                        (held.waiter, Some(held.end))
                    }
                    _ => panic!("{:?} was here no longer", grant.waiter),
                };
                assert!(first <= Some(now) && end.or(waiter.until) == first, "out of turn");
                naive.end_promises(waiter.pair);
                self.timed_out += 1;
                waiter
            }
            _ if over => panic!("somebody is out of time, but {grant:?}"),
            Granted::Refused => {
                let at = naive.refused.iter().position(|waiter| waiter.id == grant.waiter).expect("it was refused");
                let waiter = naive.refused.remove(at);
                let earlier = naive.refused[..at].iter().any(|other| other.pair == waiter.pair && other.id < waiter.id);
                assert!(!earlier, "out of turn");
                waiter
            }
            _ if !naive.refused.is_empty() => panic!("somebody is refused, but {grant:?}"),
            Granted::Reuse(found) => {
                let waiter = self.first_in_line(grant.waiter);
                self.handed_out(found.id, waiter.pair, waiter.owner);
                self.naive.end_promises(waiter.pair);
                waiter
            }
            Granted::Open { evicted, .. } => {
                let waiter = self.first_in_line(grant.waiter);
                let naive = &mut self.naive;
                assert!(!naive.reusable(waiter.pair), "one is there");
                let evicted = Run::named(evicted);
                naive.check_victim(waiter.pair.0, Some(waiter.pair.1), evicted.map(|(id, _)| id));
                self.made_way(evicted);
                self.naive.end_promises(waiter.pair);
                waiter
            }
        };
        let to = (&grant.peer, grant.channel, grant.owner);
        assert_eq!(to, (&self.peers[waiter.pair.0], channel(waiter.pair), waiter.owner));
        assert_eq!(grant.waited, now - waiter.since);
        match grant.granted {
            Granted::Open { place, .. } => {
                let end = waiter.until.unwrap_or(now + ms(30_000));
                self.place_at(waiter, end, place);
            }
            _ => self.forget(waiter),
        }
    }

    /// Notes which connections were condemned because a lowered limit doesn't hold and somebody waits for room.
    fn condemned_for_waiters(&mut self, grant: &Option<Grant<Scripted>>) {
        let victim = match grant.as_ref().map(|grant| &grant.granted) {
            None => None,
            Some(Granted::Open { evicted, .. }) => {
                evicted.as_ref().filter(|evicted| evicted.reason == Reason::MadeRoom).map(|evicted| evicted.id)
            }
            // Found before anybody's room was looked at. What was condemned was so by the end of a promise.
            Some(_) => return,
        };
        let kept: Vec<ConnId> = self.cache.iter_inactive().map(|entry| entry.id).collect();
        let is_here = |id: ConnId| self.cache.get(id).is_some();
        let naive = &mut self.naive;
        let gone = |conn: &Conn| conn.standing == Standing::Kept && !kept.contains(&conn.id);
        let condemned = naive.conns.iter().filter(|conn| gone(conn) && is_here(conn.id));
        // The victim may be one that this grant condemned before, perhaps the only one.
        let victim = victim.filter(|&id| naive.conns[naive.at(id)].standing == Standing::Kept);
        for id in condemned.map(|conn| conn.id).chain(victim).collect::<Vec<_>>() {
            let (at, peer) = (naive.at(id), naive.conns[naive.at(id)].pair.0);
            let exceeds_all = naive.total() > naive.most() && !naive.waiting.is_empty();
            let waits = naive.waiting.iter().any(|waiter| waiter.pair.0 == peer);
            let exceeds = naive.total_to(peer) > naive.most_to(peer) && waits;
            // Else it was over the limit on inactive ones, once a promise had ended.
            if exceeds_all || exceeds {
                naive.conns[at].standing = Standing::Condemned(Reason::MadeRoom);
            }
        }
    }

    /// Takes the request out of its line, whose head it has to be.
    fn first_in_line(&mut self, id: WaiterId) -> Waiter {
        let waiting = &mut self.naive.waiting;
        let at = waiting.iter().position(|waiter| waiter.id == id).unwrap_or_else(|| panic!("{id:?} doesn't wait"));
        let waiter = waiting.remove(at);
        assert!(waiting[..at].iter().all(|other| other.pair != waiter.pair), "{id:?} overtook");
        waiter
    }

    /// A connection makes room for one place, so its owner overtakes nobody, whoever waits.
    pub fn reopen(&mut self, random: &mut Random) {
        let Some(at) = self.any(random, |_| true) else { return };
        let (conn, now) = (self.naive.conns[at].clone(), self.naive.now);
        let until = random.one_in(3).then(|| now + ms(random.pick(&[0, 5, 20])));
        let answer = self.cache.reopen(now, conn.id, until);
        let Standing::Active(owner) = conn.standing else {
            return assert_eq!(answer.map(drop), Err(StateError::AlreadyInactive));
        };
        let (place, evicted) = answer.unwrap();
        assert_eq!((evicted.id, evicted.reason), (conn.id, Reason::Closed));
        self.naive.conns.remove(at);
        assert_eq!(place.is_none(), self.full(conn.pair.0, true).is_some());
        if let Some(place) = place {
            let waiter = Waiter { id: place.waiter(), pair: conn.pair, owner, since: now, until };
            self.place_at(waiter, until.unwrap_or(now + ms(30_000)), place);
        }
    }

    pub fn set_deadline(&mut self, random: &mut Random) {
        let Some(at) = self.any(random, |_| true) else { return };
        let time = (!random.one_in(4)).then(|| self.naive.now + ms(random.pick(&[0, 1, 5, 20])));
        let conn = &mut self.naive.conns[at];
        let set = self.cache.set_deadline(conn.id, time);
        if conn.is_inactive() {
            return assert_eq!(set, Err(StateError::AlreadyInactive));
        }
        assert_eq!(set, Ok(()));
        conn.time = time;
    }

    pub fn overdue(&mut self) {
        let first = self.naive.overdue();
        match self.cache.overdue(self.naive.now) {
            None => assert_eq!(first, None, "nobody is told"),
            Some((id, owner)) => {
                let at = self.naive.at(id);
                let conn = &mut self.naive.conns[at];
                assert_eq!((conn.id, conn.standing, conn.time), (id, Standing::Active(owner), first));
                conn.time = None;
            }
        }
    }

    pub fn established(&mut self, random: &mut Random) {
        if let Some(at) = self.any(random, |conn| matches!(conn.standing, Standing::Active(_))) {
            assert_eq!(self.cache.established(self.naive.conns[at].id), Ok(()));
            self.naive.conns[at].connecting = false;
        }
    }
}
