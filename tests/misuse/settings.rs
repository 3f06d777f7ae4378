//! What the host hands in reaches its place.

use crate::common::light::Light;
use crate::common::scripted::Scripted;
use crate::common::{ME, PLAIN, SECOND, Same, TLS, limits};
use crate::host;
use conncache::mio::Poll;
use conncache::{AggressiveCache, Cache, Candidate, Connection, Handled, Limits, ParkOptions, Peer, Reason, Verdict};
use std::time::Instant;

#[test]
fn each_of_the_builders_limits_is_its_namesake() {
    let poll = Poll::new().unwrap();
    let builder = AggressiveCache::builder()
        .max_inactive(9)
        .max_inactive_per_peer(8)
        .idle_timeout(7 * SECOND)
        .max_lifetime(6 * SECOND)
        .lifetime_jitter(5 * SECOND)
        .max_uses(4)
        .max_connections(3)
        .max_connections_per_peer(2)
        .max_connecting_per_peer(1)
        .max_waiting(0);
    let shown = format!("{builder:?}");
    assert!(shown.starts_with("Builder { limits: Limits { max_inactive: Some(9)"), "{shown}");
    let cache: AggressiveCache<Light> = builder.build(poll.registry()).unwrap();
    let set = limits(|l| {
        (l.max_inactive, l.max_inactive_per_peer, l.max_uses) = (Some(9), Some(8), Some(4));
        (l.idle_timeout, l.max_lifetime, l.lifetime_jitter) = (Some(7 * SECOND), Some(6 * SECOND), 5 * SECOND);
        (l.max_connections, l.max_connections_per_peer) = (Some(3), Some(2));
        (l.max_connecting_per_peer, l.max_waiting) = (Some(1), Some(0));
    });
    assert_eq!(*cache.limits(), set);
    assert_eq!(*host(|_| ()).cache.limits(), Limits::default());
}

#[test]
fn what_a_connection_is_parked_with_is_kept_with_it() {
    let mut host = host(|_| ());
    let due = host.now + SECOND;
    let parking = ParkOptions::default().private_data(Some(Box::new("data"))).until(due);
    let id = host.cache.park(host.now, Light, &host.peer, TLS, parking).unwrap().id;
    assert_eq!((host.cache.next_deadline(), host.cache.channel(id)), (Some(due), Some(TLS)));
    host.now = due;
    let evicted = host.cache.expire(host.now).expect("its deadline has come");
    assert_eq!((evicted.id, evicted.reason), (id, Reason::Deadline));
    assert_eq!(evicted.private.unwrap().downcast_ref(), Some(&"data"));
}

#[test]
fn a_candidate_made_for_a_test_is_new_and_alone() {
    let (now, peer) = (Instant::now(), Peer::direct("a", 1));
    let candidate = Candidate::new(now, &peer, TLS);
    assert_eq!((candidate.now, candidate.peer, candidate.channel), (now, &peer, TLS));
    assert_eq!((candidate.uses, candidate.inactive, candidate.inactive_to_peer), (1, 0, 0));
}

#[test]
fn the_policy_is_asked_only_if_nothing_else_decides() {
    let asked = std::cell::Cell::new(0);
    let policy = |_: &Candidate<'_>| {
        asked.set(asked.get() + 1);
        Verdict::Keep
    };
    let (poll, peer, now) = (Poll::new().unwrap(), Peer::direct("a", 1), Instant::now());
    let mut cache = Cache::with_policy(policy).build(poll.registry()).unwrap();
    let (one, two) =
        (cache.insert(now, Light, &peer, PLAIN, ME).unwrap(), cache.insert(now, Light, &peer, PLAIN, ME).unwrap());
    assert!(cache.checkin(now, one).unwrap().is_none());
    assert_eq!(asked.get(), 1);
    assert!(matches!(cache.handle_readiness(cache.token(two).unwrap(), true), Handled::Active { .. }));
    assert_eq!(cache.checkin(now, two).unwrap().unwrap().reason, Reason::HungUp);
    assert_eq!(asked.get(), 1);
}

/// It belongs to one connection, and so does a place.
#[test]
fn a_history_and_a_place_have_no_copies() {
    /// Two implementations for a type that is `Clone`, which is an error where one has to be chosen; one for another.
    trait Unique<A> {
        const IS: bool = true;
    }
    struct Copied;
    impl<T> Unique<()> for T {}
    impl<T: Clone> Unique<Copied> for T {}
    assert_eq!([<conncache::History as Unique<_>>::IS, <conncache::Place as Unique<_>>::IS], [true; 2]);
}

#[test]
fn a_cache_is_send_if_its_connections_are() {
    fn is_send<T: Send>() {}
    is_send::<AggressiveCache<conncache::mio::net::TcpStream>>();
    is_send::<conncache::RestrictiveCache<Box<dyn Connection + Send>>>();
    is_send::<conncache::Evicted<Light>>();
    is_send::<conncache::Requested<Light>>();
    is_send::<conncache::Grant<Light>>();
    is_send::<conncache::Place>();
    is_send::<conncache::History>();
    is_send::<conncache::ParkOptions>();
    is_send::<conncache::Builder<Scripted, conncache::Aggressive>>();
    let mut host = host(|_| ());
    let id = host.keep(Light);
    let (mut cache, now, peer) = (host.cache, host.now, host.peer);
    let found = std::thread::spawn(move || cache.checkout(now, &peer, PLAIN, ME).map(|found| Same(found.id)));
    assert_eq!(found.join().unwrap(), Some(Same(id)));
}
