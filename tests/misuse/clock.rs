//! Clocks that run backwards.

use crate::common::light::Light;
use crate::common::{ME, PLAIN, SECOND, Same};
use crate::host;
use conncache::mio::Poll;
use conncache::{Cache, Candidate, Peer, Reason, Requested, Verdict};
use std::time::{Duration, Instant};

#[test]
fn a_clock_going_backwards_expires_nothing_early_and_nothing_for_ever() {
    let mut host = host(|l| l.idle_timeout = Some(SECOND));
    let start = host.now;
    host.now = start + 10 * SECOND;
    let id = host.insert(Light);
    host.now = start;
    assert_eq!(host.checkin(id), None);
    assert_eq!(host.cache.next_deadline(), Some(start + 11 * SECOND), "it counts from the latest time known");
    assert_eq!(host.expire(), None);
    let found = host.cache.checkout(start, &host.peer, PLAIN, ME).unwrap();
    assert_eq!((Same(found.id), found.inactive_for), (Same(id), Duration::ZERO));
    assert_eq!(host.checkin(found.id), None);
    host.now = start + 11 * SECOND;
    assert_eq!(host.expire(), Some((found.id, Reason::IdleTimeout)));
}

#[test]
fn a_request_that_is_served_at_once_tells_the_time_too() {
    let mut host = host(|l| l.idle_timeout = Some(100 * SECOND));
    let start = host.now;
    host.keep(Light);
    let requested = host.cache.request(start + 10 * SECOND, &host.peer, PLAIN, ME, None);
    let Ok(Requested::Reuse(found)) = requested else { panic!("{requested:?}") };
    assert_eq!(host.checkin(found.id), None);
    assert_eq!(host.cache.next_deadline(), Some(start + 110 * SECOND));
}

#[test]
fn what_is_due_now_is_due_by_any_clock() {
    let mut host = host(|_| ());
    let behind = host.now;
    assert_eq!(host.expire(), None);
    host.now += 100 * SECOND;
    host.keep(Light);
    host.cache.drain();
    assert!(host.cache.next_deadline().is_some_and(|due| due <= behind));
    assert_eq!(host.cache.expire(behind).map(|evicted| evicted.reason), Some(Reason::Drained));
}

#[test]
fn a_policy_is_told_a_time_that_never_runs_backwards() {
    let poll = Poll::new().unwrap();
    let half_a_minute = |candidate: &Candidate<'_>| Verdict::KeepUntil(candidate.now + 30 * SECOND);
    let mut cache: Cache<Light, _> = Cache::with_policy(half_a_minute).build(poll.registry()).unwrap();
    let (start, peer) = (Instant::now(), Peer::direct("host", 80));
    let later = start + 100 * SECOND;
    let id = cache.insert(later, Light, &peer, PLAIN, ME).unwrap();
    assert!(cache.checkin(start, id).unwrap().is_none());
    assert_eq!(cache.next_deadline(), Some(later + 30 * SECOND));
}
