//! One random run: the cache and the reference side by side.

use super::naive::{Conn, Held, Naive, Pair, Standing, Waiter, channel};
use crate::common::random::Random;
use crate::common::scripted::{Far, Scripted, Shared};
use conncache::mio::Poll;
use conncache::{
    Aggressive, Cache, Candidate, ConnId, Counts, Evicted, KeepResidents, Limits, Owner, Peer, Place, Policy, Reason,
    Restrictive, Verdict,
};
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

pub const CHANNELS: usize = 3;

pub fn ms(ms: usize) -> Duration {
    Duration::from_millis(ms as u64)
}

/// One of the policies, with another number of connections for one peer.
struct Special {
    of: Box<dyn Policy>,
    peer: Peer,
    most: usize,
}

impl Policy for Special {
    fn on_inactive(&mut self, candidate: &Candidate<'_>) -> Verdict {
        self.of.on_inactive(candidate)
    }

    fn max_connections(&mut self, peer: &Peer) -> Option<usize> {
        (*peer == self.peer).then_some(self.most)
    }
}

pub struct Run {
    pub cache: Cache<Scripted, Box<dyn Policy>>,
    pub naive: Naive,
    pub peers: Vec<Peer>,
    /// Connections that were taken.
    pub outside: Vec<(Scripted, Shared)>,
    /// Places whose time was over, or that the cache has forgotten otherwise.
    pub stale: Vec<Place>,
    /// The latest requests that have left: none of them is named again.
    pub gone: Vec<Waiter>,
    pub waited: u64,
    pub timed_out: u64,
    /// How often in a row a grant said `None` while it was due.
    pub in_vain: u32,
    /// The policy's.
    clock: Rc<Cell<Instant>>,
    conns: usize,
    totals: Vec<usize>,
    _poll: Poll,
}

pub fn some_limits(random: &mut Random) -> Limits {
    let mut limits = Limits::default();
    if !random.one_in(4) {
        limits.max_connections = Some(random.pick(&[0, 1, 2, 2, 3, 3, 4, 4, 6, 8]));
    }
    if !random.one_in(3) {
        limits.max_connections_per_peer = Some(random.pick(&[0, 1, 1, 1, 2, 2, 3]));
    }
    if random.one_in(3) {
        limits.max_connecting_per_peer = Some(random.pick(&[0, 1, 1, 2]));
    }
    if random.one_in(3) {
        limits.max_waiting = Some(random.pick(&[0, 1, 3, 9]));
    }
    if random.one_in(3) {
        limits.max_inactive = Some(random.pick(&[0, 0, 1, 1, 2, 4]));
    }
    if random.one_in(2) {
        limits.idle_timeout = Some(random.pick(&[ms(1), ms(10), ms(30), ms(100)]));
    }
    limits
}

impl Run {
    /// The policy keeps so many inactive connections that nobody waits for: all of them if that is `None`.
    pub fn new(random: &mut Random, peers: usize, residents: Option<usize>) -> Run {
        let poll = Poll::new().unwrap();
        let peers: Vec<Peer> = (0..peers).map(|port| Peer::direct("peer", port as u16)).collect();
        let oldest_first = random.one_in(3);
        let clock = Rc::new(Cell::new(Instant::now()));
        let keeps_for = (residents.is_none() && random.one_in(4)).then(|| ms(20));
        let of: Box<dyn Policy> = match (residents, keeps_for) {
            (Some(0), _) => Box::new(Restrictive),
            (Some(most), _) => Box::new(KeepResidents(most)),
            (None, None) => Box::new(Aggressive),
            (None, Some(time)) => {
                let clock = Rc::clone(&clock);
                Box::new(move |_: &Candidate<'_>| Verdict::KeepUntil(clock.get() + time))
            }
        };
        let special = random.one_in(3).then(|| (random.below(peers.len()), random.below(4)));
        let policy: Box<dyn Policy> = match special {
            Some((peer, most)) => Box::new(Special { of, peer: peers[peer].clone(), most }),
            None => of,
        };
        let limits = some_limits(random);
        let builder = Cache::with_policy(policy).limits(limits.clone()).oldest_first(oldest_first);
        let mut cache = builder.build(poll.registry()).unwrap();
        let now = clock.get();
        assert!(cache.grant(now).is_none());
        let naive = Naive {
            limits,
            special,
            residents,
            keeps_for,
            oldest_first,
            draining: false,
            now,
            conns: Vec::new(),
            places: Vec::new(),
            waiting: Vec::new(),
            refused: Vec::new(),
        };
        Run {
            cache,
            naive,
            totals: vec![0; 2 * peers.len() + 1],
            peers,
            outside: Vec::new(),
            stale: Vec::new(),
            gone: Vec::new(),
            waited: 0,
            timed_out: 0,
            in_vain: 0,
            clock,
            conns: 0,
            _poll: poll,
        }
    }

    pub fn step(&mut self, random: &mut Random) {
        // No two connections become inactive at the same time.
        self.naive.now += Duration::from_nanos(1);
        self.clock.set(self.naive.now);
        match random.below(100) {
            0..20 => self.request(random),
            20..30 => self.insert_at(random),
            30..32 => self.give_up(random),
            32..35 => self.put_back(random),
            35..52 => self.grant(),
            52..54 => self.withdraw(random),
            54 if random.one_in(3) => self.refuse(random),
            54 => self.reopen(random),
            55 => self.established(random),
            56 => self.insert(random),
            57..60 => self.checkout(random),
            60..72 => self.checkin(random),
            72..74 => self.park(random),
            74 => self.take(random),
            75..77 => self.set_inactive(random),
            77 => self.set_active(random),
            78 => self.readiness(random),
            79 if random.one_in(2) => self.close_peer(random),
            79 => self.sweep(random),
            80 if random.one_in(8) => self.close_channel(random),
            80 => self.set_deadline(random),
            81..83 => self.leave(random),
            83..86 => self.expire(),
            86 if random.one_in(2) => self.shed(),
            86 => self.overdue(),
            87 if random.one_in(2) => self.set_limits(random),
            88 => self.far_end(random),
            89..95 => self.naive.now += ms(random.pick(&[1, 2, 5, 5, 10])),
            95..97 => self.naive.now = self.cache.next_deadline().map_or(self.naive.now, |at| at.max(self.naive.now)),
            97 => self.settle(),
            98 if random.one_in(300) => self.drain(),
            98 if random.one_in(5) => self.cache.shrink_to_fit(),
            99 if random.one_in(100) => self.naive.now += ms(31_000),
            _ => {}
        }
        self.check();
    }

    /// Takes in all that is due, as a loop does in each turn.
    fn settle(&mut self) {
        while self.is_due() {
            self.overdue();
            self.grant();
            self.expire();
        }
    }

    pub fn is_due(&self) -> bool {
        self.cache.next_deadline().is_some_and(|at| at <= self.naive.now)
    }

    pub fn pair(&self, random: &mut Random) -> Pair {
        // Most requests are for few pairs.
        let (peers, channels) = if random.one_in(3) { (self.peers.len(), CHANNELS) } else { (self.peers.len() / 2, 2) };
        (random.below(peers), random.below(channels) as u64)
    }

    pub fn fresh(&mut self) -> (Scripted, Shared) {
        self.conns += 1;
        Scripted::new(self.conns)
    }

    pub fn came(&mut self, id: ConnId, wire: Shared, pair: Pair, owner: Owner) {
        let since = self.naive.now;
        let standing = Standing::Active(owner);
        let conn = Conn { id, wire, pair, standing, connecting: true, closed: None, since, until: None, time: None };
        self.naive.conns.push(conn);
    }

    /// Forgets those that the cache has found dead and closed.
    pub fn bury(&mut self) {
        let cache = &self.cache;
        self.naive.conns.retain(|conn| {
            let gone = conn.wire.borrow().dropped > 0;
            assert!(
                !gone || conn.is_inactive() && conn.is_dead() && cache.get(conn.id).is_none(),
                "{} was closed",
                conn.id
            );
            !gone
        });
    }

    /// Any connection for which this holds.
    pub fn any(&self, random: &mut Random, which: impl Fn(&Conn) -> bool) -> Option<usize> {
        let all: Vec<usize> = (0..self.naive.conns.len()).filter(|&at| which(&self.naive.conns[at])).collect();
        (!all.is_empty()).then(|| random.pick(&all))
    }

    pub fn named(evicted: &Option<Evicted<Scripted>>) -> Option<(ConnId, Reason)> {
        evicted.as_ref().map(|evicted| (evicted.id, evicted.reason))
    }

    pub fn handed_out(&mut self, id: ConnId, pair: Pair, owner: Owner) {
        let expected = self.naive.to_reuse(pair).expect("none was fit").id;
        assert!(expected.same_connection(id), "{id} was handed out instead of {expected}");
        let at = self.naive.at(id);
        let conn = &mut self.naive.conns[at];
        assert!(!conn.is_dead() && conn.id != id, "{id}");
        (conn.id, conn.standing) = (id, Standing::Active(owner));
    }

    /// All that holds after each step.
    fn check(&mut self) {
        self.bury();
        self.check_counts();
        self.check_limits();
        let naive = &self.naive;
        let is_over = |at: Option<Instant>| at.is_some_and(|at| at <= naive.now);
        let over = naive.waiting.iter().chain(&naive.refused).any(|waiter| is_over(waiter.until))
            || naive.places.iter().any(|held| held.end <= naive.now);
        let unfit = naive.conns.iter().any(|conn| naive.unfit(conn).is_some());
        let servable = naive.servable();
        let overdue = naive.overdue();
        if over || unfit || overdue.is_some() || !naive.refused.is_empty() || servable.is_some() {
            assert!(self.is_due(), "over {over}, unfit {unfit}, {overdue:?}, {servable:?} could be served");
        }
    }

    fn check_counts(&self) {
        let (naive, stats) = (&self.naive, self.cache.stats());
        assert_eq!([stats.waiting, stats.places], [naive.waiting.len(), naive.places.len()], "waiting, places");
        assert_eq!((stats.waited, stats.timed_out), (self.waited, self.timed_out), "waited, timed out");
        assert_eq!(stats.inserted, (stats.active + stats.inactive) as u64 + stats.left_in_all());
        // Active, inactive, condemned, waiting, places.
        let mut expected = vec![[[0; 5]; CHANNELS]; self.peers.len()];
        let mut found = expected.clone();
        let mut add = |pair: Pair, what: usize| expected[pair.0][pair.1 as usize][what] += 1;
        for conn in &naive.conns {
            add(conn.pair, usize::from(conn.is_inactive()));
            if let Standing::Condemned(_) = conn.standing {
                add(conn.pair, 2);
            }
        }
        naive.waiting.iter().for_each(|waiter| add(waiter.pair, 3));
        naive.places.iter().for_each(|held| add(held.waiter.pair, 4));
        let plain = |it: Counts| [it.active, it.inactive, it.condemned, it.waiting, it.places];
        for (peer, channel, counts) in self.cache.peers() {
            let peer = self.peers.iter().position(|it| it == peer).expect("a known peer");
            let sum = &mut found[peer][channel.0 as usize];
            sum.iter_mut().zip(plain(counts)).for_each(|(sum, counts)| *sum += counts);
            assert_ne!(plain(counts), [0; 5], "an entry outlived all in it");
        }
        let mut all = [0; 5];
        for (peer, (expected, found)) in expected.iter().zip(&found).enumerate() {
            let mut of_peer = [0; 5];
            for (channel, (expected, found)) in expected.iter().zip(found).enumerate() {
                assert_eq!(expected, found, "in the entries of peer {peer}, channel {channel}");
                of_peer.iter_mut().zip(expected).for_each(|(sum, counts)| *sum += counts);
            }
            assert_eq!(plain(self.cache.counts_of_peer(&self.peers[peer])), of_peer, "of peer {peer}");
            all.iter_mut().zip(of_peer).for_each(|(sum, counts)| *sum += counts);
        }
        assert_eq!(plain(self.cache.counts()), all, "in all");
    }

    /// No limit is exceeded, but by what was there when it was lowered.
    fn check_limits(&mut self) {
        let naive = &self.naive;
        let mut now = vec![(naive.total(), naive.most())];
        let most = naive.limits.max_connecting_per_peer.unwrap_or(usize::MAX);
        now.extend((0..self.peers.len()).map(|peer| (naive.total_to(peer), naive.most_to(peer))));
        now.extend((0..self.peers.len()).map(|peer| (naive.connecting_to(peer), most)));
        for ((total, most), before) in now.into_iter().zip(&mut self.totals) {
            assert!(total <= most.max(*before), "{total} where {most} are allowed, and {before} were");
            *before = total;
        }
    }

    /// What the far end of one connection does.
    fn far_end(&mut self, random: &mut Random) {
        if let Some(at) = self.any(random, |_| true) {
            self.naive.conns[at].wire.borrow_mut().far = random.pick(&[Far::Closed, Far::Unsolicited, Far::Failed]);
        }
    }

    pub fn forget(&mut self, waiter: Waiter) {
        self.gone.push(waiter);
        if self.gone.len() > 20 {
            self.gone.remove(0);
        }
    }

    pub fn place_at(&mut self, waiter: Waiter, end: Instant, place: Place) {
        assert_eq!((place.waiter(), place.owner()), (waiter.id, waiter.owner));
        assert_eq!((place.peer(), place.channel()), (&self.peers[waiter.pair.0], channel(waiter.pair)));
        assert_eq!(place.until(), Some(end));
        self.naive.places.push(Held { waiter, end, place: Some(place) });
    }

    /// The last turns: everybody leaves, and nothing is left behind.
    pub fn end(mut self) {
        self.naive.conns.iter().for_each(|conn| conn.wire.borrow_mut().far = Far::Quiet);
        self.cache.close_all();
        self.naive.refuse(|_| true);
        let left = self.naive.refused.len() + self.naive.places.len();
        self.naive.now += ms(3_600_000);
        let told: Vec<_> = std::iter::from_fn(|| self.cache.grant(self.naive.now)).map(|grant| grant.waiter).collect();
        let mut expected: Vec<_> = self.naive.refused.iter().map(|waiter| waiter.id).collect();
        expected.extend(self.naive.places.iter().map(|held| held.waiter.id));
        let sorted = |mut ids: Vec<conncache::WaiterId>| {
            ids.sort();
            ids
        };
        assert_eq!((told.len(), sorted(told)), (left, sorted(expected)));
        assert_eq!((self.cache.next_deadline(), self.cache.peers().count()), (None, 0));
    }
}
