//! One random run: the cache and the reference side by side.

mod calls;
mod choices;
mod compare;
mod events;
mod tried;

use crate::common::random::Random;
use crate::common::scripted::{PROBES, Scripted, Shared};
use crate::naive::{Asked, Naive, Size, Time};
use conncache::mio::{Interest, Poll, Token};
use conncache::{
    AggressiveCache, Cache, Candidate, ChannelBindingId, ConnId, History, Limits, Owner, Peer, PrivateData, Verdict,
};
use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub use tried::Tried;

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
    history: Option<History>,
    uses: u32,
    opened: Option<Time>,
    lifetime_end: Option<Time>,
    /// How many closings there had been in the cache, and at least in the process.
    closings: (usize, u64),
}

/// The closings of all runs: which have begun and which are done.
static CLOSINGS: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

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
    size: Size,
    wires: Vec<Shared>,
    /// All that ever was here.
    seen: Vec<(ConnId, Token)>,
    /// Leases that are over, since the connection was handed out again.
    former: Vec<ConnId>,
    /// An id of another cache.
    foreign: ConnId,
    probes_before: u64,
    outside: Vec<Outside>,
    secrets: u64,
    steps: u64,
}

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub fn some_limits(random: &mut Random) -> Limits {
    let mut limits = Limits::default();
    if !random.one_in(3) {
        limits.max_inactive = Some(random.pick(&[0, 1, 2, 5, 5, 5, 9, 9, 9, 20, 20, 20]));
    }
    if !random.one_in(3) {
        limits.max_inactive_per_peer = Some(random.pick(&[0, 1, 2, 2, 3, 3, 3, 5, 5, 5]));
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
        limits.max_uses = Some(random.pick(&[0, 1, 2, 4, 4, 4, 9, 9, 9]));
    }
    limits
}

impl Run {
    pub fn new(
        random: &mut Random,
        size: Size,
        limits: Limits,
        probing: bool,
        policies: Policies,
        few_tokens: bool,
    ) -> Run {
        let poll = Poll::new().unwrap();
        let mind = Rc::new(RefCell::new(Mind::default()));
        let peers: Vec<Peer> = (0..size.peers).map(|i| Peer::direct("peer", i as u16)).collect();
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
            // Other runs of the process have other ranges.
            static RANGES: AtomicUsize = AtomicUsize::new(0);
            let start = 1_000 + RANGES.fetch_add(1, Ordering::Relaxed) % 1_000 * 64;
            builder = builder.tokens(start..start + 64);
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
            naive: Naive::new(size, limits, probing),
            mind,
            moody: policies == Policies::Moody,
            start,
            wall: 0,
            peers,
            size,
            // 64 tokens: two bits tell those apart that follow each other in a slot.
            slots: if few_tokens { 16 } else { usize::MAX },
            wires: Vec::new(),
            seen: Vec::new(),
            former: Vec::new(),
            foreign,
            probes_before: PROBES.get(),
            outside: Vec::new(),
            secrets: 0,
            steps: 0,
        }
    }

    pub fn step(&mut self, random: &mut Random, step: usize) {
        self.steps += 1;
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
            98 if random.one_in(3) => self.false_alarms(random),
            98 if random.one_in(3) => self.close(random),
            98 if random.one_in(2) => self.sweep(random),
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
        if random.one_in(400) {
            self.wall += random.below(5_000) as Time * MS;
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

    /// All that is left goes with the cache, or with `close_all`.
    pub fn end(mut self, random: &mut Random) -> Tried {
        DROPPED.with_borrow_mut(Vec::clear);
        let tried = Tried::of(&self);
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
        tried
    }
}
