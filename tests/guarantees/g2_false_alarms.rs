//! G2: a connection that keeps waking the loop and never says anything is evicted.

use crate::common::host::Host;
use crate::common::scripted::{PROBES, Scripted};
use crate::common::{SECOND, Same};
use conncache::mio::Poll;
use conncache::{AggressiveCache, ConnId, Handled, Limits, Peer, Reason};
use std::time::{Duration, Instant};

/// How many false alarms are let pass at once.
const AT_ONCE: usize = 64;

/// Wakes the loop for nothing, so many times: how often until the connection was evicted.
fn alarm(host: &mut Host<Scripted>, id: ConnId, times: usize) -> Option<usize> {
    let token = host.cache.token(id).unwrap();
    (1..=times).find(|_| match host.cache.handle_readiness(token, false) {
        Handled::Nothing => false,
        Handled::Evicted(evicted) => {
            assert_eq!((evicted.id, evicted.reason, evicted.error.is_none()), (id, Reason::FalseAlarms, true));
            true
        }
        handled => panic!("{handled:?}"),
    })
}

fn kept(limits: Limits) -> (Host<Scripted>, ConnId) {
    let mut host = Host::new(limits);
    let id = host.keep(Scripted::new(0).0);
    (host, id)
}

/// The far end sends urgent bytes, one in each turn. Each wakes the loop, and there is nothing to read.
#[test]
#[cfg(all(target_os = "linux", not(mio_unsupported_force_poll_poll)))]
fn urgent_bytes_without_end_are_ended() {
    use crate::common::loopback::pair;
    use conncache::mio::Events;
    let mut host = Host::new(Limits::default());
    let (near, far) = pair();
    let id = host.keep(near);
    let (mut events, mut woken) = (Events::with_capacity(8), 0);
    for turn in 0..10_000 {
        socket2::SockRef::from(&far).send_out_of_band(b"!").unwrap();
        host.poll.poll(&mut events, Some(10 * SECOND)).unwrap();
        for event in &events {
            woken += 1;
            if let Handled::Evicted(evicted) = host.cache.handle_event(event) {
                assert_eq!((evicted.id, evicted.reason, woken), (id, Reason::FalseAlarms, AT_ONCE + 1), "turn {turn}");
                assert_eq!(host.cache.stats().left(Reason::FalseAlarms), 1);
                return;
            }
        }
    }
    panic!("{woken} false alarms, and it is still here");
}

#[test]
fn so_many_at_once_are_let_pass_and_no_more() {
    let (mut host, id) = kept(Limits::default());
    let before = PROBES.get();
    assert_eq!(alarm(&mut host, id, 1_000), Some(AT_ONCE + 1));
    assert_eq!(PROBES.get() - before, AT_ONCE as u64 + 1, "each was looked at");
    assert_eq!((host.cache.get(id).is_none(), host.checkout()), (true, None));
}

#[test]
fn one_more_is_let_pass_with_each_second() {
    let (mut host, id) = kept(Limits::default());
    assert_eq!(alarm(&mut host, id, AT_ONCE), None);
    for _ in 0..100 {
        host.now += SECOND;
        assert_eq!((host.expire(), alarm(&mut host, id, 1)), (None, None));
    }
    host.now += SECOND - Duration::from_nanos(1);
    assert_eq!((host.expire(), alarm(&mut host, id, 1)), (None, Some(1)), "the second isn't over yet");
    let (mut host, id) = kept(Limits::default());
    assert_eq!(alarm(&mut host, id, AT_ONCE), None);
    host.now += 1_000 * SECOND;
    assert_eq!((host.expire(), alarm(&mut host, id, 1_000)), (None, Some(AT_ONCE + 1)), "the bucket is empty at most");
}

#[test]
fn a_host_that_writes_pings_is_forgiven_the_answers() {
    let (mut host, id) = kept(Limits::default());
    for _ in 0..50 {
        assert_eq!(alarm(&mut host, id, AT_ONCE), None);
        assert!(host.cache.get_mut(id).is_some());
    }
    assert_eq!(alarm(&mut host, id, AT_ONCE + 1), Some(AT_ONCE + 1));
}

#[test]
fn each_time_it_becomes_inactive_it_begins_anew() {
    let (mut host, mut id) = kept(Limits::default());
    for _ in 0..3 {
        assert_eq!(alarm(&mut host, id, AT_ONCE), None);
        let lease = host.checkout().unwrap();
        assert_eq!((Same(lease), host.checkin(lease)), (Same(id), None));
        id = lease;
    }
    assert_eq!(alarm(&mut host, id, AT_ONCE + 1), Some(AT_ONCE + 1));
}

#[test]
fn an_active_connection_may_wake_the_loop_as_often_as_it_likes() {
    let mut host = Host::new(Limits::default());
    let id = host.insert(Scripted::new(0).0);
    let token = host.cache.token(id).unwrap();
    for _ in 0..1_000 {
        assert!(matches!(host.cache.handle_readiness(token, false), Handled::Active { .. }));
    }
    assert_eq!(host.checkin(id), None);
    assert_eq!(alarm(&mut host, id, AT_ONCE), None);
}

/// A level-triggered loop tells again and again of what isn't read: that is no fault of the connection.
#[test]
fn in_a_level_triggered_loop_nothing_is_counted() {
    let poll = Poll::new().unwrap();
    let cache = AggressiveCache::builder().level_triggered(true).build(poll.registry()).unwrap();
    let mut host = Host { poll, cache, peer: Peer::direct("host", 80), now: Instant::now() };
    let id = host.keep(Scripted::new(0).0);
    assert_eq!(alarm(&mut host, id, 1_000), None);
}
