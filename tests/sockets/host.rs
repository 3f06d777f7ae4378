//! One loop, and all that can happen to its connections between two turns of it.

use crate::common::loopback::wait_for;
use crate::common::random::Random;
use crate::common::{ME, PLAIN};
use crate::far::{Act, Far, Near, read_answer};
use crate::leased;
use conncache::mio::{Events, Poll};
use conncache::{AggressiveCache, ConnId, Evicted, Handled, Limits, Peer, Reason};
use std::collections::HashMap;
use std::io::{self, Read};
use std::time::{Duration, Instant};

/// One connection, seen from both sides.
struct Pair {
    number: u64,
    far: Option<Far>,
    acted: Option<Act>,
    /// Done to it while it was active.
    unseen: bool,
}

/// Opens a connection.
pub type Connect<C> = Box<dyn FnMut() -> (C, Far)>;

pub struct Host<C: Near> {
    poll: Poll,
    events: Events,
    cache: AggressiveCache<C>,
    pairs: HashMap<ConnId, Pair>,
    active: Vec<ConnId>,
    peers: Vec<Peer>,
    connect: Connect<C>,
    start: Instant,
    pub opened: u64,
    pub exchanged: u64,
    pub evicted: [u64; Reason::ALL.len()],
}

impl<C: Near> Host<C> {
    pub fn new(random: &mut Random, connect: Connect<C>) -> Host<C> {
        let poll = Poll::new().unwrap();
        let mut builder = AggressiveCache::builder();
        if random.one_in(2) {
            builder = builder.max_inactive(20).max_inactive_per_peer(9).idle_timeout(Duration::from_secs(200));
        }
        if random.one_in(3) {
            builder = builder.tokens(5_000..9_096).max_uses(5);
        }
        Host {
            cache: builder.build(poll.registry()).unwrap(),
            poll,
            // So few that a turn may tell of a part only.
            events: Events::with_capacity(1 + random.below(8)),
            pairs: HashMap::new(),
            active: Vec::new(),
            peers: (0..3).map(|i| Peer::direct("127.0.0.1", i)).collect(),
            connect,
            start: Instant::now(),
            opened: 0,
            exchanged: 0,
            evicted: [0; Reason::ALL.len()],
        }
    }

    pub fn step(&mut self, random: &mut Random, step: u64) {
        // The cache's clock is the test's.
        let now = self.start + Duration::from_secs(step);
        match random.below(20) {
            0..4 if self.active.len() < 20 => self.open(random, now),
            4..8 => self.checkout(random, now),
            8..13 if !self.active.is_empty() => {
                let id = self.active.swap_remove(random.below(self.active.len()));
                let evicted = self.cache.checkin(now, id).unwrap();
                self.gone(evicted);
            }
            13..15 => self.act(random),
            15..17 => {
                self.turn();
            }
            17 => self.settle(),
            18 => {
                while let Some(evicted) = self.cache.expire(now) {
                    self.gone(Some(evicted));
                }
            }
            19 => match random.below(20) {
                0..3 => {
                    let evicted = self.cache.shed();
                    self.gone(evicted);
                }
                3 => self.cache.close_peer(&self.peers[random.below(3)]),
                4 => {
                    let most = 5 + random.below(20);
                    let mut limits: Limits = self.cache.limits().clone();
                    (limits.max_inactive, limits.max_inactive_per_peer) = (Some(most), Some(most));
                    self.cache.set_limits(limits).unwrap();
                }
                5..8 if !self.active.is_empty() => {
                    let id = self.active.swap_remove(random.below(self.active.len()));
                    let evicted = self.cache.close_connection(id).unwrap();
                    self.gone(Some(evicted));
                }
                _ => {}
            },
            _ => {}
        }
        let stats = self.cache.stats();
        assert_eq!(stats.inserted, (stats.active + stats.inactive) as u64 + stats.left_in_all());
        assert_eq!(stats.active, self.active.len());
    }

    fn open(&mut self, random: &mut Random, now: Instant) {
        let (near, far) = (self.connect)();
        let peer = &self.peers[random.below(3)];
        let id = self.cache.insert(now, near, peer, PLAIN, ME).unwrap_or_else(|e| panic!("{e}"));
        let pair = Pair { number: self.opened, far: Some(far), acted: None, unseen: false };
        self.opened += 1;
        self.pairs.insert(id, pair);
        self.active.push(id);
        self.exchange(id);
    }

    fn checkout(&mut self, random: &mut Random, now: Instant) {
        let peer = &self.peers[random.below(3)];
        let Some(found) = self.cache.checkout(now, peer, PLAIN, ME) else { return };
        assert_eq!(self.cache.peer(found.id), Some(peer));
        leased(&mut self.pairs, found.id);
        assert_eq!(self.pairs[&found.id].acted, None, "handed out though the far end had acted");
        self.active.push(found.id);
        self.exchange(found.id);
    }

    /// Says the connection's number, which must come back and nothing else.
    fn exchange(&mut self, id: ConnId) {
        let pair = self.pairs.get_mut(&id).unwrap();
        let near = &mut self.cache[id];
        near.write_all(&pair.number.to_le_bytes()).unwrap();
        assert_eq!(pair.far.as_mut().unwrap().answer(), pair.number.to_le_bytes(), "another connection's request");
        assert_eq!(read_answer(near), pair.number.to_le_bytes(), "another connection's answer");
        assert_eq!(near.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock, "an unclean connection");
        self.exchanged += 1;
    }

    /// A far end does something, and it has come to this side before the test goes on.
    fn act(&mut self, random: &mut Random) {
        let all: Vec<ConnId> = self.cache.iter().map(|entry| entry.id).collect();
        if all.is_empty() {
            return;
        }
        let id = all[random.below(all.len())];
        let pair = self.pairs.get_mut(&id).unwrap();
        if pair.acted.is_some() {
            return;
        }
        let far = pair.far.take().unwrap();
        let act = random.pick(&Act::ALL);
        pair.far = far.act(act);
        pair.acted = Some(act);
        pair.unseen = !self.cache.get_connection_state(id).unwrap().is_inactive();
        let near = &self.cache[id];
        wait_for("the far end's act", || near.has_felt(act));
    }

    /// One turn of the loop: whether it told anything.
    fn turn(&mut self) -> bool {
        self.poll.poll(&mut self.events, Some(Duration::ZERO)).unwrap();
        let mut gone = Vec::new();
        for event in &self.events {
            match self.cache.handle_event(event) {
                Handled::Rejected => panic!("no one else is here"),
                Handled::Active { id, owner } => {
                    assert!(owner == ME && self.active.contains(&id));
                }
                Handled::Evicted(evicted) => gone.push(evicted),
                Handled::Nothing => {}
            }
        }
        let told = !self.events.is_empty();
        gone.into_iter().for_each(|evicted| self.gone(Some(evicted)));
        told
    }

    /// Turns until all is told: then no inactive connection is left to which its far end did anything while inactive.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            if !self.turn() {
                let late = self.cache.iter().filter(|entry| entry.state.is_inactive()).find(|entry| {
                    let pair = &self.pairs[&entry.id];
                    // A byte told of while the connection was active is found when it is handed out.
                    pair.acted.is_some_and(|act| !pair.unseen || !matches!(act, Act::Bytes))
                });
                assert!(late.is_none(), "{late:?} is still here");
                return;
            }
        }
        panic!("the loop spins");
    }

    #[track_caller]
    fn gone(&mut self, evicted: Option<Evicted<C>>) {
        let Some(evicted) = evicted else { return };
        let pair = self.pairs.remove(&evicted.id).expect("it leaves once");
        self.evicted[evicted.reason as usize] += 1;
        match evicted.reason {
            Reason::HungUp | Reason::Unsolicited | Reason::Failed | Reason::NotConnected => {
                let act = pair.acted.unwrap_or_else(|| panic!("{} though the far end is well", evicted.reason));
                assert!(act.explains(evicted.reason), "{} after {act:?}", evicted.reason);
            }
            _ => {}
        }
        assert!(self.cache.get(evicted.id).is_none());
    }

    /// Every connection's descriptor is closed, by the cache itself.
    pub fn end(self) {
        drop(self.cache);
        for pair in self.pairs.into_values() {
            let Some(mut far) = pair.far.filter(|_| pair.acted.is_none()) else { continue };
            let end = far.read(&mut [0]);
            assert!(end.is_ok_and(|n| n == 0), "connection {} isn't closed", pair.number);
        }
    }
}
