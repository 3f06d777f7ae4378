//! G6: once warm, the cache's cycle allocates nothing.

use crate::allocator::allocations;
use crate::common::PLAIN;
use crate::common::light::Light;
use conncache::mio::Poll;
use conncache::{AggressiveCache, ConnId, ConnState, Granted, Owner, Peer, Requested, RestrictiveCache};
use std::collections::VecDeque;
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

#[test]
fn once_warm_waiting_allocates_nothing() {
    let poll = Poll::new().unwrap();
    let peers: Vec<Peer> = (0..500).map(|port| Peer::direct("host", port)).collect();
    let mut now = Instant::now();
    let mut cache: AggressiveCache<Light> =
        AggressiveCache::builder().max_connections(100).build(poll.registry()).unwrap();
    let (mut out, mut asked, mut endings) = (VecDeque::with_capacity(200), 0, [0; 3]);
    let mut serve = |times: usize| {
        for _ in 0..times {
            now += Duration::from_millis(1);
            while cache.counts().waiting < 2_000 {
                asked += 1;
                let until = (asked % 3 == 0).then(|| now + Duration::from_secs(5));
                match cache.request(now, &peers[asked * 7 % 500], PLAIN, Owner(0), until).unwrap() {
                    Requested::Open { place, .. } => out.push_back(cache.insert_at(now, place, Light).unwrap()),
                    Requested::Wait(waiter) if asked % 11 == 0 => cache.withdraw(waiter).unwrap(),
                    Requested::Wait(_) => {}
                    Requested::Reuse(_) => panic!("none is left inactive"),
                }
            }
            if let Some(id) = out.pop_front() {
                drop(cache.checkin(now, id).unwrap());
            }
            while let Some(grant) = cache.grant(now) {
                match grant.granted {
                    Granted::Reuse(found) => {
                        endings[0] += 1;
                        out.push_back(found.id);
                    }
                    Granted::Open { place, .. } if endings[1] % 10 == 9 => {
                        endings[1] += 1;
                        assert_eq!(cache.put_back(place), Ok(grant.waiter));
                    }
                    Granted::Open { place, .. } => {
                        endings[1] += 1;
                        out.push_back(cache.insert_at(now, place, Light).unwrap());
                    }
                    Granted::TimedOut => endings[2] += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
    };
    serve(30_000);
    assert_eq!(allocations(|| serve(30_000)), 0);
    assert!(endings.iter().all(|&ends| ends > 500), "{endings:?}");
}
