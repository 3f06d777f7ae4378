//! G6: within an announced capacity no call makes a table grow, and what a peak took can be given back.

use crate::allocator::{allocations, bytes};
use crate::common::light::Light;
use crate::common::{PLAIN, SECOND, TLS};
use conncache::mio::{Interest, Poll, Token};
use conncache::{
    AggressiveCache, ChannelBindingId, ConnId, ConnState, Handled, History, Owner, ParkOptions, Peer, Reason,
    Requested, Unwatched,
};
use std::io::{self, ErrorKind, Read};
use std::time::{Duration, Instant};

const MANY: usize = 10_000;

fn build(capacity: usize) -> (Poll, AggressiveCache<Light>) {
    let poll = Poll::new().unwrap();
    let cache = AggressiveCache::builder().capacity(capacity).build(poll.registry()).unwrap();
    (poll, cache)
}

fn peers(count: usize) -> Vec<Peer> {
    (0..count).map(|number| Peer::direct(&format!("host-{number}"), 80)).collect()
}

/// As many connections as announced, each to a peer of its own, each of an owner of its own.
#[test]
fn up_to_the_capacity_no_call_allocates() {
    for many in [MANY, 1 << 12] {
        fill_and_empty(many);
    }
}

fn fill_and_empty(many: usize) {
    let ((_poll, mut cache), peers, now) = (build(many), peers(many), Instant::now());
    let mut ids: Vec<ConnId> = Vec::with_capacity(many);
    let owner = |at: usize| Owner(at as u64);
    assert_eq!(
        allocations(|| {
            for (at, peer) in peers.iter().enumerate() {
                ids.push(cache.insert(now, Light, peer, PLAIN, owner(at)).unwrap());
            }
        }),
        0,
        "insert"
    );
    assert_eq!(
        allocations(|| {
            for id in &ids {
                assert!(cache.checkin(now, *id).unwrap().is_none());
            }
        }),
        0,
        "checkin"
    );
    assert_eq!(
        allocations(|| {
            for (at, id) in ids.iter_mut().enumerate() {
                *id = cache.checkout(now, &peers[at], PLAIN, owner(at)).unwrap().id;
                assert!(matches!(cache.handle_readiness(cache.token(*id).unwrap(), false), Handled::Active { .. }));
            }
        }),
        0,
        "checkout"
    );
    assert_eq!(
        allocations(|| {
            for (at, id) in ids.iter().enumerate() {
                // To another peer, then under another channel binding.
                let state = ConnState::Active(owner(at));
                let moved = cache.set_connection_state(now, *id, &peers[(at + 1) % many], state).unwrap();
                assert_eq!(moved.id, *id);
                let moved = cache.set_connection_state(now, *id, &peers[at], ConnState::inactive(TLS)).unwrap();
                assert!(moved.evicted.is_none());
                assert!(cache.find_inactive_connection(now, &peers[at], TLS).is_ok());
            }
        }),
        0,
        "set_connection_state"
    );
    // Many caches have no deadlines: their two tables are made with the first one, at once for as many as announced.
    let until = now + SECOND;
    let mut back = |from: usize, to: usize| {
        allocations(|| {
            for peer in &peers[from..to] {
                let taken = cache.take(now, peer, TLS, Token(7), Interest::READABLE).unwrap().unwrap();
                let options = ParkOptions::default().history(taken.history).until(until);
                assert!(cache.park(now, taken.conn, peer, PLAIN, options).unwrap().evicted.is_none());
            }
        })
    };
    assert_eq!((back(0, 1), back(1, many)), (2, 0), "take and park");
    assert_eq!(
        allocations(|| {
            assert!((0..many).all(|_| cache.expire(until).is_some_and(|gone| gone.reason == Reason::Deadline)));
        }),
        0,
        "expire"
    );
    assert_eq!((cache.counts().inactive, cache.peers().count()), (0, 0));
}

#[test]
fn up_to_the_capacity_owners_times_allocate_once() {
    let ((_poll, mut cache), peer, now) = (build(MANY), Peer::direct("host", 80), Instant::now());
    let ids: Vec<ConnId> =
        (0..MANY).map(|at| cache.insert(now, Light, &peer, PLAIN, Owner(at as u64)).unwrap()).collect();
    let mut set =
        |ids: &[ConnId]| allocations(|| ids.iter().for_each(|&id| cache.set_deadline(id, Some(now + SECOND)).unwrap()));
    assert_eq!((set(&ids[..1]), set(&ids[1..])), (2, 0));
    assert_eq!(allocations(|| while cache.overdue(now + SECOND).is_some() {}), 0);
}

#[test]
fn a_capacity_beyond_the_ceiling_is_an_error_and_not_the_end_of_the_process() {
    let poll = Poll::new().unwrap();
    for capacity in [(1 << 24) + 1, 1_000_000_000, usize::MAX / 2, usize::MAX] {
        let error = AggressiveCache::<Light>::builder().capacity(capacity).build(poll.registry()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().starts_with(&format!("capacity = {capacity} ")), "{error}");
    }
}

/// What a cache has taken after a peak of which one connection is left, and what once that is given back.
#[test]
fn what_a_peak_took_is_given_back() {
    for capacity in [0, MANY] {
        let ((_poll, mut cache), peers, now) = (build(capacity), peers(MANY), Instant::now());
        let fresh = bytes(|| drop(build(0)));
        assert_eq!(fresh, 0, "nothing is left of a cache that is dropped");
        let mut first = None;
        let taken = bytes(|| {
            for (at, peer) in peers.iter().enumerate() {
                let id = cache.insert(now, Light, peer, ChannelBindingId(at as u64), Owner(at as u64)).unwrap();
                assert!(cache.checkin_until(now, id, now + Duration::from_secs(at as u64 + 1)).unwrap().is_none());
                first.get_or_insert(id);
            }
            let first = first.expect("there are many");
            let rest: Vec<ConnId> = cache.iter().map(|entry| entry.id).filter(|&id| id != first).collect();
            rest.iter().for_each(|&id| drop(cache.close_connection(id).unwrap()));
        });
        let given = -bytes(|| cache.shrink_to_fit());
        let most = if capacity == 0 { taken } else { i64::MAX };
        assert!(given > 100 * MANY as i64 && given <= most, "{given} of {taken}, capacity {capacity}");
        // It goes on as before.
        let id = first.expect("it is here");
        assert_eq!((cache.counts().inactive, cache.peers().count(), cache.channel(id)), (1, 1, Some(PLAIN)));
        assert_eq!(cache.next_deadline(), Some(now + SECOND));
        let left = bytes(|| drop(cache));
        assert!(-left < 8_192, "{} bytes were left, capacity {capacity}", -left);
    }
}

/// Each request has a line of its own. Half of them are withdrawn, and the others are refused.
#[test]
fn what_a_peak_of_requests_took_is_given_back() {
    let (poll, now) = (Poll::new().unwrap(), Instant::now());
    let mut cache: AggressiveCache<Light> =
        AggressiveCache::builder().max_connections(0).build(poll.registry()).unwrap();
    let peer = Peer::direct("host", 1);
    let left = bytes(|| {
        for at in 0..MANY as u64 {
            match cache.request(now, &peer, ChannelBindingId(at), Owner(at), Some(now + SECOND)).unwrap() {
                Requested::Wait(waiter) if at % 2 == 0 => cache.withdraw(waiter).unwrap(),
                Requested::Wait(_) => {}
                other => panic!("{other:?}"),
            }
        }
        cache.refuse(&peer);
        while cache.grant(now).is_some() {}
        cache.shrink_to_fit();
    });
    assert!(left < 1_024, "{left} bytes are left");
}

#[test]
fn a_cache_that_was_shrunk_grows_again() {
    let ((_poll, mut cache), peers, now) = (build(0), peers(100), Instant::now());
    for round in 0..4 {
        for (at, peer) in peers.iter().enumerate() {
            let history = History::opened_at(now);
            let options = ParkOptions::default().history(history).until(now + SECOND * (at as u32 + 1));
            assert!(cache.park(now, Light, peer, PLAIN, options).unwrap().evicted.is_none());
            let id = cache.insert(now, Light, peer, TLS, Owner(at as u64)).unwrap();
            assert!(cache.checkin(now, id).unwrap().is_none());
        }
        assert_eq!(cache.counts().inactive, 200 + round);
        for peer in &peers {
            assert!(cache.checkout(now, peer, PLAIN, Owner(0)).is_some());
            assert!(cache.checkout(now, peer, TLS, Owner(1)).is_some());
        }
        let all: Vec<ConnId> = cache.find_my_connections(Owner(0)).chain(cache.find_my_connections(Owner(1))).collect();
        assert_eq!(all.len(), 200);
        let (last, rest) = all.split_last().unwrap();
        rest.iter().for_each(|&id| drop(cache.close_connection(id).unwrap()));
        let elsewhere = Peer::direct("elsewhere", round as u16);
        assert!(
            cache.set_connection_state(now, *last, &elsewhere, ConnState::inactive(PLAIN)).unwrap().evicted.is_none()
        );
        cache.shrink_to_fit();
        assert_eq!(cache.iter().count(), round + 1);
    }
}

/// A connection of a known peer, in a cache with limits and deadlines. An owner's deadline takes 16 bytes more.
#[test]
fn a_slot_takes_at_most_128_bytes_besides_the_connection() {
    struct Conn([u64; 4]);
    impl Read for Conn {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            assert_eq!(self.0, [7; 4]);
            Err(ErrorKind::WouldBlock.into())
        }
    }
    let (peer, now, size) = (Peer::direct("host", 80), Instant::now(), size_of::<Conn>());
    for (timed, most) in [(false, 128), (true, 144)] {
        let mut left = None;
        let taken = bytes(|| {
            let mut cache: AggressiveCache<Unwatched<Conn>> = AggressiveCache::builder()
                .max_lifetime(100 * SECOND)
                .idle_timeout(50 * SECOND)
                .max_inactive(MANY)
                .max_connections(MANY)
                .build_unwatched()
                .unwrap();
            for _ in 0..MANY {
                let id = cache.insert(now, Unwatched(Conn([7; 4])), &peer, PLAIN, Owner(1)).unwrap();
                assert!(cache.checkin_until(now, id, now + SECOND).unwrap().is_none());
            }
            for _ in 0..MANY {
                let id = cache.checkout(now, &peer, PLAIN, Owner(1)).unwrap().id;
                cache.set_deadline(id, timed.then(|| now + SECOND)).unwrap();
            }
            cache.shrink_to_fit();
            left = Some(cache);
        });
        let each = taken / MANY as i64 - size as i64;
        assert!(each <= most, "{each} bytes, timed: {timed}");
        assert_eq!(left.map(|cache| cache.counts().active), Some(MANY));
    }
}
