//! One random run: the cache and the reference side by side.

use crate::naive::{Asked, Conn, Gone, Handed, NEVER, Naive, State, Time};
use crate::random::Random;
use crate::scripted::{Far, PROBES, Scripted, Shared};
use crate::{CHANNELS, OWNERS, PEERS, ms};
use conncache::mio::{Interest, Poll, Token};
use conncache::{
    AggressiveCache, Cache, Candidate, Cause, Changed, ChannelBindingId, ConnId, ConnState, ConnStateRef, Evicted,
    Found, Handled, Limits, NotFound, Owner, Parking, Past, Peer, PrivateData, Reason, StateError, Stats, Verdict,
};
use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

const MS: Time = 1_000_000;
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);
/// The hosts' own tokens.
const HOSTS: usize = 100_000;

#[derive(Clone, Copy, PartialEq)]
pub enum Policies {
    Keep,
    Moody,
}

thread_local! {
    static DROPPED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Private data whose fate is known.
struct Secret(u64);

impl Drop for Secret {
    fn drop(&mut self) {
        DROPPED.with_borrow_mut(|dropped| dropped.push(self.0));
    }
}

fn number_of(private: &(dyn Any + Send)) -> u64 {
    private.downcast_ref::<Secret>().expect("a secret went in").0
}

/// Private data that came out.
fn open(private: PrivateData) -> Option<u64> {
    let number = number_of(&*private?);
    DROPPED.with_borrow_mut(|dropped| assert_eq!(dropped.pop(), Some(number)));
    Some(number)
}

/// What the policy says, and what it was told.
#[derive(Default)]
struct Mind {
    verdict: Option<Verdict>,
    asked: Vec<Asked>,
}

type AnyPolicy = Box<dyn FnMut(&Candidate<'_>) -> Verdict>;

/// A connection that the host has in a table of its own.
struct Outside {
    conn: Scripted,
    wire: Shared,
    past: Past,
    uses: u32,
    lifetime_end: Option<Time>,
}

pub struct Run {
    poll: Poll,
    cache: Cache<Scripted, AnyPolicy>,
    naive: Naive,
    mind: Rc<RefCell<Mind>>,
    moody: bool,
    start: Instant,
    wall: Time,
    peers: Vec<Peer>,
    slots: usize,
    /// As many connections the run tends to.
    crowd: usize,
    wires: Vec<Shared>,
    /// All that ever was here.
    seen: Vec<(ConnId, Token)>,
    /// An id of another cache.
    foreign: ConnId,
    probes_before: u64,
    outside: Vec<Outside>,
    secrets: u64,
}

pub fn some_limits(random: &mut Random) -> Limits {
    let mut limits = Limits::default();
    if !random.one_in(3) {
        limits.max_inactive = Some(random.pick(&[0, 1, 2, 5, 5, 5, 9, 9, 9, 20, 20, 20]));
    }
    if !random.one_in(3) {
        let most = limits.max_inactive.unwrap_or(10);
        limits.max_inactive_per_peer = Some(random.pick(&[0, 1, 2, 2, 3, 3, 3, 5, 5, 5]).min(most));
    }
    if !random.one_in(3) {
        limits.idle_timeout =
            Some(random.pick(&[Duration::ZERO, ms(5), ms(30), ms(30), ms(100), ms(100), ms(300), Duration::MAX]));
    }
    if random.one_in(2) {
        limits.max_lifetime =
            Some(random.pick(&[Duration::ZERO, ms(50), ms(300), ms(300), ms(300), ms(900), Duration::MAX]));
    }
    if random.one_in(2) {
        limits.max_uses = Some(random.pick(&[0, 1, 3, 3, 3, 8, 8, 8]));
    }
    limits
}

impl Run {
    pub fn new(
        random: &mut Random,
        limits: Limits,
        probing: bool,
        policies: Policies,
        few_tokens: bool,
        crowd: usize,
    ) -> Run {
        let poll = Poll::new().unwrap();
        let mind = Rc::new(RefCell::new(Mind::default()));
        let peers: Vec<Peer> = (0..PEERS).map(|i| Peer::direct("peer", i as u16)).collect();
        let policy: AnyPolicy = Box::new({
            let (mind, peers) = (Rc::clone(&mind), peers.clone());
            move |candidate| {
                let mut mind = mind.borrow_mut();
                mind.asked.push(Asked {
                    peer: peers.iter().position(|peer| peer == candidate.peer).unwrap(),
                    channel: candidate.channel.0,
                    uses: candidate.uses,
                    inactive: candidate.inactive,
                    inactive_to_peer: candidate.inactive_to_peer,
                });
                mind.verdict.unwrap_or(Verdict::Keep)
            }
        });
        let mut builder = Cache::with_policy(policy).limits(limits.clone()).probe(probing);
        if few_tokens {
            builder = builder.tokens(1_000..1_064);
        }
        if random.one_in(2) {
            builder = builder.capacity(random.below(16));
        }
        let mut other = AggressiveCache::builder().build(poll.registry()).unwrap();
        let foreign = other.insert(Instant::now(), Scripted::new(0).0, &peers[0], ChannelBindingId(0), Owner(0));
        let foreign = foreign.unwrap_or_else(|error| panic!("{error}"));
        let (mut cache, start) = (builder.build(poll.registry()).unwrap(), Instant::now() + Duration::from_secs(10));
        assert!(cache.expire(start).is_none());
        Run {
            cache,
            poll,
            naive: Naive::new(limits, probing),
            mind,
            moody: policies == Policies::Moody,
            start,
            wall: 0,
            peers,
            // 64 tokens: two bits for generations.
            slots: if few_tokens { 16 } else { usize::MAX },
            crowd,
            wires: Vec::new(),
            seen: Vec::new(),
            foreign,
            probes_before: PROBES.get(),
            outside: Vec::new(),
            secrets: 0,
        }
    }

    pub fn step(&mut self, random: &mut Random, step: usize) {
        DROPPED.with_borrow_mut(Vec::clear);
        self.mood(random);
        match random.below(100) {
            0..20 => self.insert(random),
            20..30 => self.checkout(random),
            30..50 => self.checkin(random),
            50..58 => self.set_inactive(random),
            58..62 => self.set_active(random),
            62..64 => self.find_inactive(random),
            64..68 => self.park(random),
            68..72 => self.take(random),
            72..74 => self.leave_by_order(random),
            74..75 => self.shed(),
            75..84 => self.readiness(random),
            84..92 => self.expire(random),
            92..97 => self.far_end(random),
            97 => self.misfortune(random),
            98 if random.one_in(4) => {
                let peer = random.below(PEERS);
                self.cache.close_peer(&self.peers[peer]);
                self.naive.conns.iter_mut().filter(|conn| conn.peer == peer).for_each(|conn| conn.closed = true);
            }
            99 if random.one_in(2) => self.limits(random),
            _ if random.one_in(150) => {
                self.cache.drain();
                self.naive.draining = true;
            }
            _ => {}
        }
        self.compare(step);
    }

    /// Time goes on, mostly; the policy makes up its mind.
    fn mood(&mut self, random: &mut Random) {
        if random.one_in(8) {
            self.wall += random.below(12) as Time * MS;
        }
        let mut mind = self.mind.borrow_mut();
        mind.asked.clear();
        self.naive.asked.clear();
        if self.moody {
            self.naive.verdict_until = (self.wall + random.below(40) as Time * MS).saturating_sub(5 * MS);
            let until = self.start + Duration::from_nanos(self.naive.verdict_until);
            mind.verdict = random.pick(&[None, None, None, Some(Verdict::Close), Some(Verdict::KeepUntil(until))]);
            self.naive.verdict = mind.verdict;
        }
    }

    /// What the host's clock says: now and then, too early.
    fn time(&self, random: &mut Random) -> (Instant, Time) {
        let mut time = self.wall;
        if random.one_in(15) {
            time = time.saturating_sub(random.below(100) as Time * MS);
        }
        let now = self.start + Duration::from_nanos(time);
        (if time == 0 && random.one_in(2) { now - Duration::from_secs(5) } else { now }, time)
    }

    /// The same, for calls that take note of it in any case.
    fn now(&mut self, random: &mut Random) -> Instant {
        let (now, time) = self.time(random);
        self.naive.tell(time);
        now
    }

    fn key(&self, random: &mut Random) -> (usize, u32) {
        if let Some(id) = self.some_inactive(random).filter(|_| random.one_in(2)) {
            let conn = &self.naive.conns[self.naive.at(id).unwrap()];
            return (conn.peer, conn.channel);
        }
        (random.below(PEERS), random.below(CHANNELS as usize) as u32)
    }

    /// An id: mostly of a connection here, else of one that has gone.
    fn some_id(&self, random: &mut Random) -> Option<ConnId> {
        if random.one_in(12) || self.naive.conns.is_empty() {
            let foreign = self.seen.is_empty() || random.one_in(10);
            return Some(if foreign { self.foreign } else { self.seen[random.below(self.seen.len())].0 });
        }
        Some(self.naive.conns[random.below(self.naive.conns.len())].id)
    }

    fn some_active(&self, random: &mut Random) -> Option<ConnId> {
        if random.one_in(10) {
            return self.some_id(random);
        }
        let active: Vec<ConnId> = self.naive.conns.iter().filter(|c| c.owner().is_some()).map(|c| c.id).collect();
        (!active.is_empty()).then(|| active[random.below(active.len())])
    }

    fn some_inactive(&self, random: &mut Random) -> Option<ConnId> {
        let inactive = self.naive.oldest_first();
        (!inactive.is_empty()).then(|| self.naive.conns[inactive[random.below(inactive.len())]].id)
    }

    fn some_until(&mut self, random: &mut Random) -> (Option<Instant>, Time) {
        if !random.one_in(3) {
            return (None, NEVER);
        }
        let time = (self.wall + random.below(60) as Time * MS).saturating_sub(3 * MS);
        (Some(self.start + Duration::from_nanos(time)), time)
    }

    fn some_private(&mut self, random: &mut Random) -> (PrivateData, Option<u64>) {
        if random.one_in(2) {
            return (None, None);
        }
        self.secrets += 1;
        (Some(Box::new(Secret(self.secrets))), Some(self.secrets))
    }

    fn new_wire(&mut self, random: &mut Random) -> (Scripted, Shared) {
        let (conn, wire) = Scripted::new(self.wires.len());
        self.wires.push(Rc::clone(&wire));
        wire.borrow_mut().connected = !random.one_in(8);
        (conn, wire)
    }

    fn fresh(&self, id: ConnId, wire: Shared, (peer, channel): (usize, u32), lifetime_end: Time) -> Conn {
        let number = wire.borrow().number;
        Conn {
            id,
            wire,
            number,
            peer,
            channel,
            uses: 0,
            lifetime_end,
            state: State::Active(0),
            read_closed: false,
            closed: false,
            looked: false,
            read_only: false,
        }
    }

    fn came(&mut self, id: ConnId, wire: &Shared) {
        assert!(self.seen.iter().all(|&(seen, _)| seen != id), "an id came again");
        self.seen.push((id, wire.borrow().registered.unwrap().0));
    }

    fn insert(&mut self, random: &mut Random) {
        if self.naive.conns.len() > self.crowd {
            return;
        }
        let (now, key, owner) = (self.now(random), self.key(random), random.below(OWNERS as usize) as u64);
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
                self.came(id, &wire);
                let mut conn = self.fresh(id, wire, key, self.naive.lifetime_end());
                conn.state = State::Active(owner);
                self.naive.conns.push(conn);
                self.naive.counts.inserted += 1;
            }
        }
    }

    fn checkout(&mut self, random: &mut Random) {
        let (now, key, owner) = (self.now(random), self.key(random), random.below(OWNERS as usize) as u64);
        let expected = self.naive.checkout(key.0, key.1, owner);
        let found = self.cache.checkout(now, &self.peers[key.0], ChannelBindingId(key.1), Owner(owner));
        let found = found.map(|Found { id, inactive_for, uses, private, .. }| Handed {
            number: self.cache[id].number(),
            inactive_for: crate::naive::nanos(inactive_for),
            uses,
            private: open(private),
        });
        assert_eq!(found, expected);
    }

    fn checkin(&mut self, random: &mut Random) {
        let Some(id) = self.some_active(random) else { return };
        let ((now, told), (until, time)) = (self.time(random), self.some_until(random));
        let done = match until {
            Some(until) => self.cache.checkin_until(now, id, until),
            None => self.cache.checkin(now, id),
        };
        self.naive.hint = done.as_ref().ok().and_then(|evicted| evicted.as_ref()).map(|evicted| evicted.id);
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

    fn set_inactive(&mut self, random: &mut Random) {
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
        self.naive.hint = done.as_ref().ok().and_then(|changed| changed.evicted.as_ref()).map(|evicted| evicted.id);
        let expected = at.map(|at| {
            self.naive.tell(told);
            self.naive.deactivate(at, key, private, time)
        });
        match (done, expected) {
            (Ok(Changed { private, evicted, .. }), Some((displaced, gone))) => {
                assert_eq!(open(private), displaced);
                self.same_gone(evicted, gone);
            }
            (Err(error), None) => {
                assert_eq!(error.cause, StateError::NotFound);
                let ConnState::Inactive { private: data, .. } = error.state else { panic!("another state") };
                assert_eq!(open(data), private);
            }
            (done, _) => panic!("{done:?}"),
        }
    }

    fn set_active(&mut self, random: &mut Random) {
        let Some(id) = self.some_id(random) else { return };
        let ((now, told), owner) = (self.time(random), random.below(OWNERS as usize) as u64);
        let (mut peer, at) = (random.below(PEERS), self.naive.at(id));
        if let Some(at) = at.filter(|_| !random.one_in(3)) {
            peer = self.naive.conns[at].peer;
        }
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
                assert!(matches!(error.state, ConnState::Active(Owner(o)) if o == owner));
            }
            (Ok(Changed { private, evicted, .. }), None) => {
                assert_eq!(open(private), *expected.as_ref().unwrap_or(&None));
                self.same_gone(evicted, expected.err());
            }
            (done, refusal) => panic!("{done:?} instead of {refusal:?}"),
        }
    }

    fn find_inactive(&mut self, random: &mut Random) {
        let (now, key) = (self.now(random), self.key(random));
        let expected = self.naive.find(key.0, key.1).map(|at| {
            let conn = &self.naive.conns[at];
            (conn.id, conn.waiting().unwrap().private)
        });
        let found = self.cache.find_inactive_connection(now, &self.peers[key.0], ChannelBindingId(key.1));
        assert_eq!(found.map(|(id, private)| (id, private.map(number_of))), expected.ok_or(NotFound));
    }

    fn park(&mut self, random: &mut Random) {
        let (key, (until, time)) = (self.key(random), self.some_until(random));
        let guest = if self.outside.is_empty() || random.one_in(3) {
            if self.naive.conns.len() > self.crowd {
                return;
            }
            let (conn, wire) = self.new_wire(random);
            // One in ten was never registered by its host.
            wire.borrow_mut().registered = (!random.one_in(10)).then_some((Token(HOSTS), BOTH));
            Outside { conn, wire, past: Past::default(), uses: 0, lifetime_end: None }
        } else {
            self.outside.swap_remove(random.below(self.outside.len()))
        };
        let Outside { conn, wire, past, uses, lifetime_end } = guest;
        let (before, now) = (wire.borrow().registered, self.now(random));
        let (data, private) = self.some_private(random);
        let full = self.naive.conns.len() >= self.slots;
        // Its id isn't known yet.
        let lifetime_end = lifetime_end.unwrap_or(self.naive.lifetime_end());
        let mut newcomer = self.fresh(self.foreign, Rc::clone(&wire), key, lifetime_end);
        newcomer.uses = uses;
        let mut parking = Parking::default();
        (parking.private, parking.until, parking.past) = (data, until, past);
        let done = self.cache.park_with(now, conn, &self.peers[key.0], ChannelBindingId(key.1), parking);
        self.naive.hint = done.as_ref().ok().and_then(|parked| parked.evicted.as_ref()).map(|evicted| evicted.id);
        let expected = if full { Err(None) } else { self.naive.park(newcomer, private, time) };
        match done {
            Ok(parked) => {
                let at = self.naive.at(self.foreign).expect("the reference has taken it, too");
                self.naive.conns[at].id = parked.id;
                self.came(parked.id, &wire);
                self.same_gone(parked.evicted, expected.expect("the reference has taken it, too"));
            }
            Err(error) => {
                assert_eq!(error.conn.number(), wire.borrow().number);
                assert_eq!(open(error.private), private);
                assert_eq!(wire.borrow().registered, before);
                match (error.cause, expected) {
                    (Cause::Refused(reason), Err(expected)) => assert_eq!(Some(reason), expected),
                    (Cause::Registry(_), Err(None)) => assert!(!full),
                    (Cause::TokensExhausted { .. }, Err(None)) => assert!(full),
                    (cause, expected) => panic!("{cause:?} instead of {expected:?}"),
                }
            }
        }
    }

    fn take(&mut self, random: &mut Random) {
        let ((now, told), key) = (self.time(random), self.key(random));
        let (peer, channel) = (&self.peers[key.0], ChannelBindingId(key.1));
        if random.one_in(20) {
            let Some(token) = self.naive.conns.first().and_then(|conn| self.cache.token(conn.id)) else { return };
            let error = self.cache.take(now, peer, channel, token, Interest::READABLE).unwrap_err();
            assert!(matches!(error.cause, Cause::TokenOfCache(t) if t == token) && error.evicted.is_none());
            return;
        }
        self.naive.tell(told);
        let expected = self.naive.take(key.0, key.1);
        let token = Token(HOSTS + random.below(100));
        match (self.cache.take(now, peer, channel, token, Interest::WRITABLE), expected) {
            (Ok(None), None) => {}
            (Err(error), Some(Err(gone))) => {
                assert!(matches!(error.cause, Cause::Registry(_)));
                self.same_gone(error.evicted, Some(gone));
            }
            (Ok(Some(taken)), Some(Ok((handed, lifetime_end)))) => {
                let number = taken.conn.number();
                let inactive_for = crate::naive::nanos(taken.inactive_for);
                let uses = taken.past.uses();
                assert_eq!(Handed { number, inactive_for, uses, private: open(taken.private) }, handed);
                let wire = Rc::clone(&self.wires[number]);
                assert_eq!(wire.borrow().registered, Some((token, Interest::WRITABLE)));
                assert_eq!(wire.borrow().dropped, 0);
                let lifetime_end = Some(lifetime_end);
                self.outside.push(Outside { conn: taken.conn, wire, past: taken.past, uses, lifetime_end });
            }
            (done, expected) => panic!("{done:?} instead of {expected:?}"),
        }
    }

    fn leave_by_order(&mut self, random: &mut Random) {
        let Some(id) = self.some_id(random) else { return };
        let remove = random.one_in(2);
        let reason = if remove { Reason::Removed } else { Reason::Closed };
        let expected = self.naive.at(id).map(|at| self.naive.leave(at, reason));
        let done = if remove { self.cache.remove(id) } else { self.cache.close_connection(id) };
        assert_eq!(done.is_err(), expected.is_none());
        self.same_gone(done.ok(), expected);
    }

    fn shed(&mut self) {
        let done = self.cache.shed();
        // Those of closed peers go first, then those condemned, in whatever order they were; then the oldest.
        let mut next = [self.naive.waiting_closed(), self.naive.condemned()].into_iter().find(|some| !some.is_empty());
        let among = next.take().unwrap_or_else(|| self.naive.oldest_first().into_iter().take(1).collect());
        let known = done.as_ref().and_then(|evicted| self.naive.at(evicted.id));
        let expected = known.filter(|at| among.contains(at)).or(among.first().copied());
        let expected = expected.map(|at| self.naive.leave(at, Reason::Shed));
        self.same_gone(done, expected);
    }

    fn readiness(&mut self, random: &mut Random) {
        let read_closed = random.one_in(4);
        let token = match random.below(8) {
            0 => Token(random.below(1_000)),
            1 => Token(usize::MAX),
            2 | 3 if !self.seen.is_empty() => self.seen[self.seen.len() - 1 - random.below(self.seen.len().min(9))].1,
            _ => match self.some_id(random).and_then(|id| self.cache.token(id)) {
                Some(token) => token,
                None => return,
            },
        };
        let handled = self.cache.handle_readiness(token, read_closed);
        if token.0 < 1_000 || token.0 == usize::MAX {
            assert!(matches!(handled, Handled::Rejected));
            return;
        }
        // Compared by the token: with few generations, a late event may name a newcomer.
        let tokens = |wire: &Shared| wire.borrow().registered.map(|(token, _)| token);
        let named = match &handled {
            Handled::Evicted(evicted) => self.naive.at(evicted.id),
            _ => self.naive.conns.iter().position(|conn| tokens(&conn.wire) == Some(token)),
        };
        let Some(at) = named else {
            assert!(matches!(handled, Handled::Quiet), "{handled:?}");
            self.naive.counts.stale_events += 1;
            return;
        };
        let (id, owner) = (self.naive.conns[at].id, self.naive.conns[at].owner());
        match (handled, self.naive.ready(at, read_closed)) {
            (Handled::Active { id: named, owner: o }, None) => assert_eq!((named, Some(o.0)), (id, owner)),
            (Handled::Quiet, None) => assert_eq!(owner, None),
            (Handled::Evicted(evicted), Some(gone)) => self.same_gone(Some(evicted), Some(gone)),
            (handled, gone) => panic!("{handled:?} instead of {gone:?}"),
        }
    }

    /// Until nothing is due, or fewer times.
    fn expire(&mut self, random: &mut Random) {
        let now = self.now(random);
        for _ in 0..1 + random.below(30) {
            let Some(evicted) = self.cache.expire(now) else {
                let due = (0..self.naive.conns.len()).find(|&at| !self.naive.due(at).is_empty());
                assert_eq!(due.map(|at| self.naive.conns[at].number), None, "due, but expire has nothing");
                let deadline = self.cache.next_deadline();
                let latest = self.start + Duration::from_nanos(self.naive.now);
                assert!(deadline.is_none_or(|at| at > latest), "the loop would spin");
                return;
            };
            let at = self.naive.at(evicted.id).expect("the reference has it, too");
            let due = self.naive.due(at);
            assert!(due.contains(&evicted.reason), "{:?}, not one of {due:?}", evicted.reason);
            let gone = self.naive.leave(at, evicted.reason);
            self.same_gone(Some(evicted), Some(gone));
        }
    }

    /// The far end of a connection does something.
    fn far_end(&mut self, random: &mut Random) {
        let Some(id) = self.some_inactive(random) else { return };
        let far = random.pick(&[Far::Quiet, Far::Closed, Far::Unsolicited, Far::Failed]);
        let conn = &self.naive.conns[self.naive.at(id).unwrap()];
        conn.wire.borrow_mut().far = far;
        if random.one_in(4) {
            for conn in self.naive.conns.iter().filter(|other| other.peer == conn.peer) {
                conn.wire.borrow_mut().far = far;
            }
        }
    }

    /// The operating system does something.
    fn misfortune(&mut self, random: &mut Random) {
        let Some(id) = self.some_id(random).and_then(|id| self.naive.at(id)) else { return };
        let mut wire = self.naive.conns[id].wire.borrow_mut();
        match random.below(2) {
            0 => wire.fail_reregister = !wire.fail_reregister,
            _ => wire.fail_deregister = true,
        }
    }

    fn limits(&mut self, random: &mut Random) {
        if random.one_in(5) {
            let mut wrong = some_limits(random);
            wrong.max_inactive = Some(3);
            wrong.max_inactive_per_peer = Some(4);
            assert_eq!(self.cache.set_limits(wrong).unwrap_err().field(), "max_inactive_per_peer");
            return;
        }
        let limits = some_limits(random);
        self.cache.set_limits(limits.clone()).unwrap();
        self.naive.set_limits(limits);
    }

    #[track_caller]
    fn same_gone(&mut self, evicted: Option<Evicted<Scripted>>, gone: Option<Gone>) {
        let Some(evicted) = evicted else { return assert_eq!(gone, None) };
        let wire = Rc::clone(&evicted.conn.0);
        assert_eq!(wire.borrow().dropped, 0);
        let failed = wire.borrow().far == Far::Failed || wire.borrow().fail_reregister;
        assert!(evicted.error.is_none() || failed && evicted.reason == Reason::Failed);
        let seen = Gone {
            id: evicted.id,
            number: evicted.conn.number(),
            reason: evicted.reason,
            peer: self.peers.iter().position(|peer| *peer == evicted.peer).unwrap(),
            channel: evicted.channel.0,
            private: open(evicted.private),
            uses: evicted.uses,
        };
        assert_eq!(Some(&seen), gone.as_ref());
        let registered = wire.borrow().registered;
        self.left(&seen, registered);
    }

    /// A connection has left: its registration, too.
    fn left(&mut self, gone: &Gone, registered: Option<(Token, Interest)>) {
        let stuck = self.wires[gone.number].borrow().fail_deregister;
        assert!(registered.is_none() || stuck, "still registered");
        self.wires[gone.number].borrow_mut().fail_deregister = false;
    }

    fn compare(&mut self, step: usize) {
        let at = format!("after step {step}");
        // What the cache closed by itself, with the private data of it, and nothing else.
        let mut dropped = DROPPED.take();
        dropped.sort_unstable();
        let closed = std::mem::take(&mut self.naive.closed_inside);
        let mut expected: Vec<u64> = closed.iter().filter_map(|gone| gone.private).collect();
        expected.sort_unstable();
        assert_eq!(dropped, expected, "private data dropped silently {at}");
        for gone in &closed {
            assert_eq!(self.wires[gone.number].borrow().dropped, 1, "{at}");
            let registered = self.wires[gone.number].borrow().registered;
            self.left(gone, registered);
        }
        assert_eq!(self.mind.borrow().asked, self.naive.asked, "what the policy was asked {at}");
        self.compare_records(&at);
        self.compare_numbers(&at);
    }

    fn compare_records(&mut self, at: &str) {
        let mut seen = 0;
        for entry in self.cache.iter() {
            seen += 1;
            let conn = &self.naive.conns[self.naive.at(entry.id).unwrap_or_else(|| panic!("{} {at}", entry.id))];
            assert_eq!(entry.conn.number(), conn.number, "{at}");
            assert!(*entry.peer == self.peers[conn.peer] && entry.channel.0 == conn.channel, "{at}");
            assert_eq!(entry.uses, conn.uses, "{at}");
            match (entry.state, &conn.state) {
                (ConnStateRef::Active(owner), State::Active(expected)) => assert_eq!(owner.0, *expected, "{at}"),
                (ConnStateRef::Inactive { channel, private, until, .. }, State::Inactive(waiting)) => {
                    assert_eq!(channel.0, conn.channel, "{at}");
                    assert_eq!(private.map(number_of), waiting.private, "{at}");
                    let expected = (waiting.until != NEVER).then(|| self.start + Duration::from_nanos(waiting.until));
                    assert_eq!(until, expected, "{at}");
                }
                (state, _) => panic!("{state:?} {at}"),
            }
            let wire = conn.wire.borrow();
            assert_eq!(wire.dropped, 0, "{at}");
            let interest = if conn.read_only { Interest::READABLE } else { BOTH };
            assert_eq!(wire.registered, Some((self.cache.token(entry.id).unwrap(), interest)), "{at}");
        }
        assert_eq!(seen, self.naive.conns.len(), "{at}");
        for owner in 0..OWNERS + 1 {
            let mut listed: Vec<ConnId> = self.cache.find_my_connections(Owner(owner)).collect();
            let has = |conn: &&Conn| conn.owner() == Some(owner);
            let mut expected: Vec<ConnId> = self.naive.conns.iter().filter(has).map(|conn| conn.id).collect();
            listed.sort_unstable();
            expected.sort_unstable();
            assert_eq!(listed, expected, "{at}");
        }
    }

    fn compare_numbers(&self, at: &str) {
        let count = |which: &dyn Fn(&Conn) -> bool| {
            let of = |inactive: bool| {
                self.naive.conns.iter().filter(|c| which(c) && c.waiting().is_some() == inactive).count()
            };
            (of(false), of(true))
        };
        let numbers = |counts: conncache::Counts| (counts.active, counts.inactive);
        assert_eq!(numbers(self.cache.counts()), count(&|_| true), "{at}");
        let mut by_key = BTreeMap::new();
        for (peer, channel, counts) in self.cache.peers() {
            assert!(counts.active + counts.inactive > 0, "an empty entry {at}");
            let peer = self.peers.iter().position(|p| p == peer).unwrap();
            let sum: &mut (usize, usize) = by_key.entry((peer, channel.0)).or_default();
            *sum = (sum.0 + counts.active, sum.1 + counts.inactive);
        }
        for (number, peer) in self.peers.iter().enumerate() {
            assert_eq!(numbers(self.cache.counts_of_peer(peer)), count(&|c| c.peer == number), "{at}");
            for channel in 0..CHANNELS {
                let expected = count(&|c| (c.peer, c.channel) == (number, channel));
                assert_eq!(numbers(self.cache.counts_of(peer, ChannelBindingId(channel))), expected, "{at}");
                assert_eq!(by_key.remove(&(number, channel)).unwrap_or_default(), expected, "{at}");
            }
        }
        assert!(by_key.is_empty(), "{at}");
        self.compare_stats(&self.cache.stats(), at);
        self.compare_deadline(at);
        assert_eq!(PROBES.get() - self.probes_before, self.naive.counts.probes, "looked at needlessly {at}");
    }

    fn compare_stats(&self, stats: &Stats, at: &str) {
        let counts = &self.naive.counts;
        for &reason in Reason::ALL {
            assert_eq!(stats.left(reason), counts.left[reason as usize], "{reason} {at}");
        }
        assert_eq!(stats.inserted, (stats.active + stats.inactive) as u64 + stats.left_in_all(), "{at}");
        let seen = [
            stats.inserted,
            stats.handed_out,
            stats.missed,
            stats.probes,
            stats.found_dead,
            stats.stale_events,
            stats.deregister_failures,
        ];
        let expected = [
            counts.inserted,
            counts.handed_out,
            counts.missed,
            counts.probes,
            counts.found_dead,
            counts.stale_events,
            counts.deregister_failures,
        ];
        assert_eq!(seen, expected, "inserted, handed out, missed, probes, dead, stale, deregister {at}");
    }

    /// Never late, and nothing when nothing is inactive.
    fn compare_deadline(&self, at: &str) {
        let deadline = self.cache.next_deadline();
        let first = self.naive.first_due();
        if self.naive.oldest_first().is_empty() {
            assert_eq!(deadline, None, "{at}");
        } else if first != NEVER {
            let due = self.start + Duration::from_nanos(first);
            assert!(deadline.is_some_and(|deadline| deadline <= due), "late {at}: {deadline:?}");
        }
    }

    /// All that is left goes with the cache, or with `close_all`.
    pub fn end(mut self, random: &mut Random) {
        DROPPED.with_borrow_mut(Vec::clear);
        let closed = random.one_in(2);
        let inside: Vec<u64> = self.naive.conns.iter().filter_map(|c| c.waiting().and_then(|w| w.private)).collect();
        if closed {
            self.cache.close_all();
            assert_eq!(self.cache.counts(), conncache::Counts::default());
            assert_eq!((self.cache.iter().count(), self.cache.peers().count()), (0, 0));
            let stats = self.cache.stats();
            assert_eq!(stats.inserted, stats.left_in_all());
            assert_eq!(self.cache.next_deadline(), None);
        }
        drop(self.cache);
        let mut dropped = DROPPED.take();
        dropped.sort_unstable();
        let mut expected = inside;
        expected.sort_unstable();
        assert_eq!(dropped, expected);
        for conn in &self.naive.conns {
            let wire = conn.wire.borrow();
            assert!(wire.registered.is_none() || wire.fail_deregister);
        }
        self.outside.clear();
        assert!(self.wires.iter().all(|wire| wire.borrow().dropped == 1), "each is closed once");
        drop(self.poll);
    }
}
