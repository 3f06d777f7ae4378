//! What waiting costs, with few and with many requests in line.

use crate::fixtures::{ME, PLAIN, Random, Scripted};
use crate::measure::{Spread, allocations, nanos};
use crate::report::{Effort, Report};
use conncache::mio::Poll;
use conncache::{AggressiveCache, ConnId, Granted, Peer, Requested};
use std::collections::{HashMap, VecDeque};
use std::time::Instant;

const BATCH: usize = 1_000;

pub fn requests(report: &mut Report, effort: Effort) {
    report.heading(
        "    request + checkin + grant (+ insert_at), by the number of requests that wait, ten to a peer",
        "O(1): grows at most 3 x as much as a bare map of queues, whose memory grows, too; no allocation",
    );
    let sizes = [1_000, 10_000, 100_000];
    let (mut lines, mut queues) = (sizes.map(Line::new), sizes.map(Queues::new));
    lines.iter_mut().for_each(|line| (0..5 * line.peers.len() * 10).for_each(|_| line.serve_one()));
    queues.iter_mut().for_each(|queues| (0..5 * queues.keys.len() * 10).for_each(|_| queues.serve_one()));
    let (mut ours, mut bare): ([Vec<f64>; 3], [Vec<f64>; 3]) = Default::default();
    let mut allocated = 0;
    for _ in 0..effort.of(10, 100) {
        for (size, (line, queues)) in lines.iter_mut().zip(&mut queues).enumerate() {
            bare[size].push(nanos(BATCH, || (0..BATCH).for_each(|_| queues.serve_one())));
            let before = allocations();
            let time = nanos(BATCH, || (0..BATCH).for_each(|_| line.serve_one()));
            allocated += allocations() - before;
            ours[size].push(time);
        }
    }
    let growth =
        |times: &[Vec<f64>; 3]| -> Vec<f64> { times[2].iter().zip(&times[0]).map(|(many, few)| many / few).collect() };
    let over = Spread::of_ratios(&growth(&ours), &growth(&bare));
    let reused = lines.each_ref().map(|line| 100 * line.reused / line.served);
    let [ours, bare] = [ours, bare].map(|times| times.map(|times| Spread::of(times).median));
    report.verdict(
        over.median <= 3.0 && allocated == 0,
        format_args!("{sizes:?}: {ours:.0?} ns, bare {bare:.0?}, growth over its {over}, {allocated} allocations, {reused:?} % reused"),
    );
}

/// The least that any line does: a map to queues of numbers.
struct Queues {
    map: HashMap<(String, u16), VecDeque<u64>>,
    keys: Vec<(String, u16)>,
    random: Random,
}

impl Queues {
    fn new(waiting: usize) -> Queues {
        let keys: Vec<_> = (0..waiting / 10).map(|peer| (format!("host-{peer}"), 443)).collect();
        let map = keys.iter().map(|key| (key.clone(), (0..10).collect())).collect();
        Queues { map, keys, random: Random(0x5eed) }
    }

    /// One comes, and one is served where somebody waits.
    fn serve_one(&mut self) {
        let to = self.random.below(self.keys.len());
        self.map.get_mut(&self.keys[to]).expect("a known peer").push_back(7);
        loop {
            let of = self.random.below(self.keys.len());
            if self.map.get_mut(&self.keys[of]).expect("a known peer").pop_front().is_some() {
                return;
            }
        }
    }
}

/// A cache at its limit, and those who wait for its connections: as many connections as there are peers.
struct Line {
    cache: AggressiveCache<Scripted>,
    peers: Vec<Peer>,
    out: VecDeque<ConnId>,
    random: Random,
    now: Instant,
    served: usize,
    reused: usize,
    _poll: Poll,
}

impl Line {
    fn new(waiting: usize) -> Line {
        let peers: Vec<Peer> = (0..waiting / 10).map(|peer| Peer::direct(&format!("host-{peer}"), 443)).collect();
        let (poll, random, now) = (Poll::new().expect("a poll"), Random(0x5eed), Instant::now());
        let builder = AggressiveCache::builder().capacity(waiting / 5).max_connections(peers.len());
        let cache = builder.build(poll.registry()).expect("a cache");
        let out = VecDeque::with_capacity(peers.len() + 1);
        let mut line = Line { cache, peers, out, random, now, served: 0, reused: 0, _poll: poll };
        while line.cache.counts().waiting < waiting {
            line.request();
        }
        line
    }

    fn request(&mut self) {
        let to = self.random.below(self.peers.len());
        match self.cache.request(self.now, &self.peers[to], PLAIN, ME, None).expect("there is no limit on those") {
            Requested::Open { place, .. } => {
                let id = self.cache.insert_at(self.now, place, Scripted { leads_to: to }).expect("it has a place");
                self.out.push_back(id);
            }
            Requested::Wait(_) => {}
            Requested::Reuse(found) => panic!("{found:?}"),
        }
    }

    /// One comes, one is given back, one is served.
    fn serve_one(&mut self) {
        self.request();
        let id = self.out.pop_front().expect("some are out");
        drop(self.cache.checkin(self.now, id).expect("it is active"));
        let grant = self.cache.grant(self.now).expect("a connection came back");
        self.served += 1;
        self.out.push_back(match grant.granted {
            Granted::Reuse(found) => {
                self.reused += 1;
                found.id
            }
            Granted::Open { place, .. } => {
                self.cache.insert_at(self.now, place, Scripted { leads_to: 0 }).expect("it has a place")
            }
            other => panic!("{other:?}"),
        });
    }
}
