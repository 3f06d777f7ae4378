//! So many cycles of one kind, to be counted by callgrind: `instructions KIND CYCLES`. A multiple of 100 cycles is made.
//! `out` and `map-out` have many connections out at a time, and are for counting cache misses.

#[path = "../../../common/light.rs"]
mod light;

use conncache::mio::Poll;
use conncache::{AggressiveCache, ChannelBindingId, ConnId, Granted, Owner, Peer, Requested};
use light::Light;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

const PEERS: usize = 100;
const EACH: usize = 16;
const MANY_PEERS: usize = 10_000;
const CONNECTIONS: usize = 100_000;
const OUT: usize = 10_000;
const PLAIN: ChannelBindingId = ChannelBindingId::PLAIN;

fn main() {
    let mut args = std::env::args().skip(1);
    let (kind, cycles) = (args.next().expect("a kind"), args.next().expect("a number"));
    let cycles: usize = cycles.parse().expect("a number of cycles");
    match kind.as_str() {
        "map" => map(cycles),
        "plain" => cache(cycles, AggressiveCache::builder()),
        "limits" => {
            let (minute, many) = (Duration::from_secs(60), 1_000_000);
            let builder = AggressiveCache::builder().idle_timeout(minute).max_lifetime(60 * minute);
            let builder = builder.lifetime_jitter(minute).max_uses(u32::MAX).max_inactive(many);
            cache(cycles, builder.max_inactive_per_peer(many));
        }
        "connections" => {
            let (minute, many) = (Duration::from_secs(60), 1_000_000);
            let builder = AggressiveCache::builder().idle_timeout(minute).max_lifetime(60 * minute);
            let builder = builder.max_uses(u32::MAX).max_inactive(many).max_inactive_per_peer(many);
            let builder = builder.max_connections(many).max_connections_per_peer(many);
            cache(cycles, builder.max_connecting_per_peer(many).max_waiting(many));
        }
        "line" => line(cycles),
        "out" => out(cycles),
        "map-out" => map_out(cycles),
        other => panic!("no such kind: {other}"),
    }
}

/// All in a fixed order without a pattern.
fn mixed<T>(all: &[T]) -> Vec<&T> {
    std::iter::successors(Some(7), |at| Some((at * 21 + 7) % all.len())).map(|at| &all[at]).take(all.len()).collect()
}

fn cache(cycles: usize, builder: conncache::Builder<Light, conncache::Aggressive>) {
    let (poll, now) = (Poll::new().unwrap(), Instant::now());
    let mut cache = builder.capacity(PEERS * EACH).build(poll.registry()).unwrap();
    let peers: Vec<Peer> = (0..PEERS).map(|i| Peer::direct(&format!("host{i}.example"), 443)).collect();
    for peer in peers.iter().cycle().take(PEERS * EACH) {
        let id = cache.insert(now, Light, peer, PLAIN, Owner(7)).unwrap();
        assert!(cache.checkin(now, id).unwrap().is_none());
    }
    let order = mixed(&peers);
    for _ in 0..cycles / PEERS {
        for &peer in &order {
            let found = cache.checkout(now, peer, PLAIN, Owner(7)).unwrap();
            assert!(matches!(cache.checkin(now, found.id), Ok(None)));
        }
    }
    assert_eq!(cache.counts().inactive, PEERS * EACH);
    std::process::exit(0);
}

/// A request that waits, the checkin of the only connection, and the grants of a turn.
fn line(cycles: usize) {
    let (poll, now) = (Poll::new().unwrap(), Instant::now());
    let builder = AggressiveCache::builder().max_connections_per_peer(1);
    let mut cache = builder.capacity(PEERS).build(poll.registry()).unwrap();
    let mut peers: Vec<(Peer, ConnId)> = Vec::new();
    for i in 0..PEERS {
        let peer = Peer::direct(&format!("host{i}.example"), 443);
        let id = cache.insert(now, Light, &peer, PLAIN, Owner(7)).unwrap();
        peers.push((peer, id));
    }
    let order: Vec<usize> = mixed(&(0..PEERS).collect::<Vec<_>>()).into_iter().copied().collect();
    for _ in 0..cycles / PEERS {
        for &at in &order {
            let (peer, id) = &mut peers[at];
            assert!(matches!(cache.request(now, peer, PLAIN, Owner(7), None), Ok(Requested::Wait(_))));
            assert!(matches!(cache.checkin(now, *id), Ok(None)));
            while let Some(grant) = cache.grant(now) {
                let Granted::Reuse(found) = grant.granted else { panic!("not the connection") };
                *id = found.id;
            }
        }
    }
    assert_eq!(cache.counts().active, PEERS);
    std::process::exit(0);
}

fn map(cycles: usize) {
    let mut map: HashMap<(String, u16, u32), Vec<usize>> = HashMap::new();
    let keys: Vec<(String, u16, u32)> = (0..PEERS).map(|i| (format!("host{i}.example"), 443, 0)).collect();
    for (i, key) in keys.iter().cycle().take(PEERS * EACH).enumerate() {
        map.entry(key.clone()).or_default().push(i);
    }
    let order = mixed(&keys);
    for _ in 0..cycles / PEERS {
        for &key in &order {
            let found = map.get_mut(key).and_then(Vec::pop).unwrap();
            map.get_mut(key).unwrap().push(found);
        }
    }
    assert_eq!(map.values().map(Vec::len).sum::<usize>(), PEERS * EACH);
    std::process::exit(0);
}

/// The number of a peer for each cycle, at random, but the same in each run.
fn order(cycles: usize) -> impl Iterator<Item = usize> {
    let next = |&last: &u64| Some(last.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1));
    std::iter::successors(Some(1), next).map(|number| (number >> 33) as usize % MANY_PEERS).take(cycles)
}

/// What is taken first comes back first, and each is somebody else's.
fn out(cycles: usize) {
    let (poll, now) = (Poll::new().unwrap(), Instant::now());
    let mut cache = AggressiveCache::builder().capacity(CONNECTIONS).build(poll.registry()).unwrap();
    let peers: Vec<Peer> = (0..MANY_PEERS).map(|i| Peer::direct(&format!("host{i}.example"), 443)).collect();
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

fn map_out(cycles: usize) {
    let mut map: HashMap<(String, u16, u32), Vec<usize>> = HashMap::new();
    let keys: Vec<(String, u16, u32)> = (0..MANY_PEERS).map(|i| (format!("host{i}.example"), 443, 0)).collect();
    for (i, key) in keys.iter().cycle().take(CONNECTIONS).enumerate() {
        map.entry(key.clone()).or_default().push(i);
    }
    let mut taken = VecDeque::with_capacity(OUT);
    for peer in order(cycles) {
        if taken.len() == OUT {
            let first: usize = taken.pop_front().unwrap();
            map.get_mut(&keys[first % MANY_PEERS]).unwrap().push(first);
        }
        taken.extend(map.get_mut(&keys[peer]).and_then(Vec::pop));
    }
    assert_eq!(map.values().map(Vec::len).sum::<usize>() + taken.len(), CONNECTIONS);
    std::process::exit(0);
}
