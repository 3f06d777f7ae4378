//! Cycles with 10,000 of 100,000 connections out, for callgrind to count the cache misses: `misses KIND CYCLES`. A program
//! of its own, because a second place that calls `checkout` changes what is inlined in the first.

#[path = "../light.rs"]
mod light;

use conncache::mio::Poll;
use conncache::{AggressiveCache, ChannelBindingId, Owner, Peer};
use light::Light;
use std::collections::{HashMap, VecDeque};
use std::time::Instant;

const PEERS: usize = 10_000;
const CONNECTIONS: usize = 100_000;
const OUT: usize = 10_000;
const PLAIN: ChannelBindingId = ChannelBindingId::PLAIN;

fn main() {
    let mut args = std::env::args().skip(1);
    let (kind, cycles) = (args.next().expect("a kind"), args.next().expect("a number"));
    let cycles: usize = cycles.parse().expect("a number of cycles");
    match kind.as_str() {
        "ours" => ours(cycles),
        "map" => map(cycles),
        other => panic!("no such kind: {other}"),
    }
}

/// The number of a peer for each cycle, at random, but the same in each run.
fn order(cycles: usize) -> impl Iterator<Item = usize> {
    let next = |&last: &u64| Some(last.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1));
    std::iter::successors(Some(1), next).map(|number| (number >> 33) as usize % PEERS).take(cycles)
}

/// What is taken first comes back first, and each is somebody else's.
fn ours(cycles: usize) {
    let (poll, now) = (Poll::new().unwrap(), Instant::now());
    let mut cache = AggressiveCache::builder().capacity(CONNECTIONS).build(poll.registry()).unwrap();
    let peers: Vec<Peer> = (0..PEERS).map(|i| Peer::direct(&format!("host{i}.example"), 443)).collect();
    for peer in peers.iter().cycle().take(CONNECTIONS) {
        let id = cache.insert(now, Light, peer, PLAIN, Owner(0)).unwrap();
        assert!(cache.checkin(now, id).unwrap().is_none());
    }
    let mut taken = VecDeque::with_capacity(OUT);
    for (owner, peer) in (1..).zip(order(cycles)) {
        if taken.len() == OUT {
            let first = taken.pop_front().unwrap();
            assert!(matches!(cache.checkin(now, first), Ok(None)));
        }
        taken.extend(cache.checkout(now, &peers[peer], PLAIN, Owner(owner)).map(|found| found.id));
    }
    assert_eq!(cache.counts().active, taken.len());
    std::process::exit(0);
}

fn map(cycles: usize) {
    let mut map: HashMap<(String, u16, u32), Vec<usize>> = HashMap::new();
    let keys: Vec<(String, u16, u32)> = (0..PEERS).map(|i| (format!("host{i}.example"), 443, 0)).collect();
    for (i, key) in keys.iter().cycle().take(CONNECTIONS).enumerate() {
        map.entry(key.clone()).or_default().push(i);
    }
    let mut taken = VecDeque::with_capacity(OUT);
    for peer in order(cycles) {
        if taken.len() == OUT {
            let first: usize = taken.pop_front().unwrap();
            map.get_mut(&keys[first % PEERS]).unwrap().push(first);
        }
        taken.extend(map.get_mut(&keys[peer]).and_then(Vec::pop));
    }
    assert_eq!(map.values().map(Vec::len).sum::<usize>() + taken.len(), CONNECTIONS);
    std::process::exit(0);
}
