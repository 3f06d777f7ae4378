//! Caches without a `Poll`, and sources in level-triggered loops.

use crate::alone;
use crate::common::host::Host;
use crate::common::light::Light;
use crate::common::loopback::{Act, has_something, pair, wait_for};
use crate::common::scripted::{Far, PROBES, Scripted};
use crate::common::{ME, PLAIN, limits};
use conncache::mio::{Interest, Poll};
use conncache::{AggressiveCache, Connection, Handled, Limits, Reason, Unwatched};
use std::io::Write;

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

fn host<C: Connection>() -> Host<C> {
    Host { cache: AggressiveCache::builder().build_unwatched().unwrap(), ..Host::new(Limits::default()) }
}

fn unwatched() -> (Unwatched<std::net::TcpStream>, std::net::TcpStream) {
    let (near, far) = pair();
    (Unwatched(near.into()), far)
}

#[test]
fn a_cache_without_a_poll_has_no_descriptor_and_registers_nothing() {
    let _alone = alone();
    let before = crate::descriptors();
    let cache: AggressiveCache<Scripted> = AggressiveCache::builder().build_unwatched().unwrap();
    assert_eq!(crate::descriptors(), before);
    let mut host = Host { cache, ..host() };
    let (conn, wire) = Scripted::new(1);
    host.keep(conn);
    let id = host.checkout().unwrap();
    let conn = host.cache.remove(id).unwrap().conn;
    drop(host.cache.park(host.now, conn, &host.peer, PLAIN, Default::default()).unwrap());
    let token = conncache::mio::Token(1);
    drop(host.cache.take(host.now, &host.peer, PLAIN, token, BOTH).unwrap().unwrap());
    assert_eq!(wire.borrow().calls, [0; 3]);
}

#[test]
fn a_standard_stream_is_probed_at_hand_out_when_told_of_and_when_swept() {
    let _alone = alone();
    let mut host = host();
    let ends = [(); 3].map(|()| unwatched());
    let mut ends = ends.map(|(near, far)| (host.keep(near), far));
    assert!(host.cache.sweep(8).is_none());
    for (id, far) in &mut ends {
        far.write_all(b"?").unwrap();
        wait_for("a byte", || host.cache[*id].0.peek(&mut [0]).is_ok());
    }
    let [(told, _), (swept, _), (searched, _)] = ends;
    let Handled::Evicted(evicted) = host.cache.handle_readiness(host.cache.token(told).unwrap(), false) else {
        panic!("it isn't evicted");
    };
    assert_eq!((evicted.id, evicted.reason), (told, Reason::Unsolicited));
    let evicted = host.cache.sweep(1).unwrap();
    assert_eq!((evicted.id, evicted.reason), (swept, Reason::Unsolicited));
    assert_eq!(host.checkout(), None);
    assert!(host.cache.get(searched).is_none());
}

#[test]
fn sweeping_probes_so_many_and_goes_round() {
    let _alone = alone();
    let mut host = host();
    let wires: Vec<_> = (0..10)
        .map(|number| {
            let (conn, wire) = Scripted::new(number);
            let id = host.insert(conn);
            // Every other one stays active, and isn't probed.
            assert!(number % 2 == 0 || host.checkin(id).is_none());
            wire
        })
        .collect();
    let before = PROBES.get();
    assert!(host.cache.sweep(3).is_none());
    assert_eq!(PROBES.get() - before, 3);
    // Behind the third.
    wires[1].borrow_mut().far = Far::Closed;
    wires[7].borrow_mut().far = Far::Failed;
    let evicted = host.cache.sweep(4).unwrap();
    assert_eq!((evicted.conn.number(), evicted.reason), (7, Reason::Failed));
    let evicted = host.cache.sweep(4).unwrap();
    assert_eq!((evicted.conn.number(), evicted.reason), (1, Reason::HungUp));
    let before = PROBES.get();
    assert!(host.cache.sweep(usize::MAX).is_none());
    assert_eq!(PROBES.get() - before, 3, "each of the inactive ones once");
}

#[test]
fn sweeping_few_among_many_active_ones_is_bounded_and_comes_to_all() {
    let _alone = alone();
    let mut host = host();
    let ids: Vec<_> = (0..1_000).map(|_| host.keep(Light)).collect();
    for _ in &ids[1..] {
        assert!(host.checkout().is_some());
    }
    let before = host.cache.stats().probes;
    let calls = (0..1_000).take_while(|_| {
        assert!(host.cache.sweep(1).is_none());
        host.cache.stats().probes < before + 2
    });
    assert_eq!(calls.count(), 1_000 / 17 + 1, "17 places a call");
}

#[test]
fn a_level_triggered_loop_watches_inactive_connections_for_reading_alone() {
    let _alone = alone();
    let mut host = Host::new(Limits::default());
    let poll = Poll::new().unwrap();
    host.cache = AggressiveCache::builder().level_triggered(true).build(poll.registry()).unwrap();
    let (conn, wire) = Scripted::new(1);
    let mut id = host.insert(conn);
    let interest = || wire.borrow().registered.unwrap().1;
    assert_eq!(interest(), BOTH);
    for _ in 0..2 {
        assert_eq!(host.checkin(id), None);
        assert_eq!(interest(), Interest::READABLE);
        id = host.checkout().unwrap();
        assert_eq!(interest(), BOTH);
    }
    assert_eq!(wire.borrow().calls, [1, 4, 0]);
}

/// Whether one more connection may be opened, where one may be at a time. If so, it comes and goes.
fn may_open<C: Connection>(host: &mut Host<C>, conn: C) -> bool {
    let inserted = host.cache.insert(host.now, conn, &host.peer, PLAIN, ME);
    inserted.is_ok_and(|id| host.cache.close_connection(id).is_ok())
}

#[test]
fn the_first_readable_event_says_that_a_connection_is_established() {
    let _alone = alone();
    let one_at_a_time = || limits(|limits| limits.max_connecting_per_peer = Some(1));
    let mut host = Host::new(one_at_a_time());
    let (near, mut far) = pair();
    let id = host.insert(near);
    let active = |handled: &[Handled<_>]| matches!(handled, [Handled::Active { .. }, ..]);
    host.turns(active);
    assert!(!may_open(&mut host, pair().0), "it is writable, which may mean that it failed");
    far.write_all(b"?").unwrap();
    wait_for("a byte", || has_something(&host.cache[id]));
    host.turns(active);
    assert!(may_open(&mut host, pair().0));

    // A hangup can be read, too. The connection may never have been established.
    let mut host = Host::new(one_at_a_time());
    let (near, far) = pair();
    let id = host.insert(near);
    Act::Fin.by(far, &host.cache[id]);
    host.turns(active);
    assert!(!may_open(&mut host, pair().0));

    // A report in another form doesn't say whether it is readable, and the host does.
    let cache = AggressiveCache::builder().limits(one_at_a_time()).build_unwatched().unwrap();
    let mut host = Host { cache, ..Host::new(Limits::default()) };
    let (near, _far) = unwatched();
    let id = host.insert(near);
    let token = host.cache.token(id).unwrap();
    assert!(matches!(host.cache.handle_readiness(token, false), Handled::Active { .. }));
    assert!(!may_open(&mut host, unwatched().0));
    host.cache.established(id).unwrap();
    assert!(may_open(&mut host, unwatched().0));
}
