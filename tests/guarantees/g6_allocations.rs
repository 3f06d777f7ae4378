//! G6: once warm, the cache's cycle allocates nothing.

use crate::allocator::allocations;
use crate::common::PLAIN;
use crate::common::light::Light;
use conncache::mio::Poll;
use conncache::{AggressiveCache, ConnId, ConnState, Owner, Peer, RestrictiveCache};
use std::time::{Duration, Instant};

const CYCLES: u64 = 100_000;

#[test]
fn once_warm_nothing_is_allocated() {
    let poll = Poll::new().unwrap();
    let peers: Vec<Peer> = (0..1_000).map(|port| Peer::direct("host", port)).collect();
    let start = Instant::now();
    let mut cache: AggressiveCache<Light> = AggressiveCache::builder()
        .idle_timeout(Duration::from_secs(60))
        .max_lifetime(Duration::from_secs(86_400 * 365))
        .max_inactive(10_000)
        .max_inactive_per_peer(64)
        .build(poll.registry())
        .unwrap();
    for peer in peers.iter().cycle().take(3_000) {
        let id = cache.insert(start, Light, peer, PLAIN, Owner(0)).unwrap();
        assert!(cache.checkin(start, id).unwrap().is_none());
    }
    let mut cycles = |from: u64| {
        for cycle in from..from + CYCLES {
            let now = start + Duration::from_micros(cycle);
            let (peer, owner) = (&peers[(cycle * 7 % 1_000) as usize], Owner(cycle % 100));
            let found = cache.checkout(now, peer, PLAIN, owner).unwrap();
            assert_eq!(cache.find_my_connections(owner).count(), 1);
            let done = match cycle % 3 {
                0 => cache.checkin(now, found.id).unwrap(),
                1 => cache.checkin_until(now, found.id, now + Duration::from_secs(9)).unwrap(),
                _ => cache.set_connection_state(now, found.id, peer, ConnState::inactive(PLAIN)).unwrap().evicted,
            };
            assert!(done.is_none() && cache.expire(now).is_none());
            assert!(cache.next_deadline().is_some());
        }
    };
    cycles(0);
    assert_eq!(allocations(|| cycles(CYCLES)), 0, "hand-outs and returns");

    // Coming and going, too, once there was as much before.
    let mut restrictive: RestrictiveCache<Light> = RestrictiveCache::builder().build(poll.registry()).unwrap();
    let mut come_and_go = || {
        for round in 0..1_000_u64 {
            let peer = &peers[round as usize];
            let ids: [ConnId; 4] = std::array::from_fn(|i| {
                restrictive.insert(start, Light, peer, PLAIN, Owner(round + i as u64)).unwrap()
            });
            ids.iter().for_each(|&id| assert!(restrictive.checkin(start, id).unwrap().is_some()));
        }
    };
    come_and_go();
    assert_eq!(allocations(&mut come_and_go), 0, "an owner's or a peer's entry stayed behind");
}
