//! Time-outs, lifetimes and deadlines.

use crate::common::light::Light;
use crate::common::{ME, PLAIN, SECOND, Same, limits};
use crate::{INSTANT, host};
use conncache::mio::{Interest, Poll, Token};
use conncache::{AggressiveCache, ConnState, Limits, ParkOptions, Peer, Reason};
use std::time::{Duration, Instant};

#[test]
fn an_idle_time_out_is_kept_to_the_nanosecond_and_restarts_with_each_use() {
    let mut host = host(|l| l.idle_timeout = Some(SECOND));
    let id = host.keep(Light);
    let start = host.now;
    assert_eq!(host.cache.next_deadline(), Some(start + SECOND));
    host.now = start + SECOND - INSTANT;
    assert_eq!(host.expire(), None);
    let again = host.checkout().unwrap();
    assert_eq!((Same(again), host.checkin(again)), (Same(id), None));
    host.now = start + SECOND;
    assert_eq!(host.expire(), None);
    host.now = start + 2 * SECOND - INSTANT;
    assert_eq!((host.checkout(), host.expire()), (None, Some((again, Reason::IdleTimeout))));
}

#[test]
fn a_lifetime_counts_from_the_insertion_whatever_happens() {
    let mut host = host(|l| l.max_lifetime = Some(SECOND));
    let id = host.insert(Light);
    let start = host.now;
    host.now = start + SECOND - INSTANT;
    assert_eq!(host.checkin(id), None);
    assert_eq!(host.cache.next_deadline(), Some(start + SECOND));
    let again = host.checkout().unwrap();
    host.now = start + SECOND;
    assert_eq!(host.checkin(again), Some((again, Reason::MaxLifetime)), "it ends when it would become inactive");
}

#[test]
fn a_lifetime_goes_with_a_connection_that_is_taken_and_parked() {
    let mut host = host(|l| (l.max_lifetime, l.max_uses) = (Some(SECOND), Some(3)));
    host.keep(Light);
    let taken = host.cache.take(host.now, &host.peer, PLAIN, Token(1), Interest::READABLE).unwrap().unwrap();
    assert_eq!((taken.history.uses(), taken.history.opened()), (2, host.now));
    let parking = ParkOptions::default().history(taken.history);
    let start = host.now;
    host.now += SECOND - INSTANT;
    assert!(host.cache.park(host.now, taken.conn, &host.peer, PLAIN, parking).unwrap().evicted.is_none());
    assert_eq!(host.cache.next_deadline(), Some(start + SECOND));
    host.now += INSTANT;
    assert_eq!(host.expire().unwrap().1, Reason::MaxLifetime);
}

#[test]
fn the_earliest_of_all_deadlines_counts_and_gives_the_reason() {
    let mut host = host(|l| (l.idle_timeout, l.max_lifetime) = (Some(3 * SECOND), Some(5 * SECOND)));
    let id = host.insert(Light);
    assert!(host.cache.checkin_until(host.now, id, host.now + 2 * SECOND).unwrap().is_none());
    let start = host.now;
    host.now = start + 9 * SECOND;
    assert_eq!(host.expire(), Some((id, Reason::Deadline)), "however late");
    let id = host.insert(Light);
    let late = host.now - INSTANT;
    let refused = host.cache.checkin_until(host.now, id, late).unwrap().unwrap();
    assert_eq!((refused.id, refused.reason), (id, Reason::Deadline), "a deadline that has passed");
}

#[test]
fn the_longest_time_out_is_longer_than_any_program_runs() {
    let mut host = host(|l| (l.idle_timeout, l.max_lifetime) = (Some(Duration::MAX), Some(Duration::MAX)));
    let id = host.keep(Light);
    let century = Duration::from_secs(3_155_760_000);
    assert!(host.cache.next_deadline().is_some_and(|due| due > host.now + 4 * century));
    host.now += 4 * century;
    assert_eq!((host.expire(), host.reuse()), (None, Some(Same(id))));
    let mut limits = limits(|l| l.max_lifetime = Some(Duration::MAX));
    limits.lifetime_jitter = Duration::MAX;
    host.cache.set_limits(limits).unwrap();
    host.insert(Light);
}

#[test]
fn what_has_a_limit_has_ended_when_the_clock_has_no_more_numbers() {
    for limited in [true, false] {
        let mut host = host(|l| l.idle_timeout = limited.then_some(Duration::MAX));
        let id = host.keep(Light);
        // More nanoseconds than 64 bits hold; some platforms have no such instants.
        let Some(late) = host.now.checked_add(Duration::from_secs(1 << 36)) else { return };
        host.now = late;
        assert_eq!(host.reuse(), (!limited).then_some(Same(id)));
        assert_eq!(host.expire(), limited.then_some((id, Reason::IdleTimeout)));
    }
}

#[test]
fn moving_a_connection_does_not_revive_one_that_has_run_out() {
    let mut host = host(|l| l.idle_timeout = Some(10 * SECOND));
    let id = host.insert(Light);
    let keep = |data: &'static str| ConnState::inactive(PLAIN).private(data);
    let kept = host.cache.set_connection_state(host.now, id, &host.peer, keep("old")).unwrap();
    assert!(kept.evicted.is_none());
    host.now += 10 * SECOND;
    let moved = host.cache.set_connection_state(host.now, id, &host.peer, keep("new")).unwrap();
    let evicted = moved.evicted.expect("it has run out");
    assert_eq!((evicted.id, evicted.reason), (id, Reason::IdleTimeout));
    let text = |data: Option<Box<dyn std::any::Any + Send>>| data.and_then(|data| data.downcast_ref().copied());
    assert_eq!((text(moved.private), text(evicted.private)), (Some("old"), Some("new")));
    assert_eq!(host.checkout(), None);
}

#[test]
fn a_connection_with_a_later_deadline_is_found_behind_many_that_have_run_out() {
    let mut host = host(|_| ());
    let lasting = host.keep(Light);
    for _ in 0..20 {
        let id = host.insert(Light);
        assert!(host.cache.checkin_until(host.now, id, host.now + SECOND).unwrap().is_none());
    }
    host.now += SECOND;
    assert_eq!(host.reuse(), Some(Same(lasting)));
}

#[test]
fn a_history_means_the_same_in_another_cache() {
    let lifetime = |l: &mut Limits| l.max_lifetime = Some(60 * SECOND);
    let (mut old, mut new) = (host(lifetime), host(lifetime));
    let id = old.cache.insert(old.now, Light, &old.peer, PLAIN, ME).unwrap();
    assert_eq!(old.checkin(id), None);
    let at_59 = old.now + 59 * SECOND;
    let both = Interest::READABLE.add(Interest::WRITABLE);
    let taken = old.cache.take(at_59, &old.peer, PLAIN, Token(1), both).unwrap().expect("it lives");
    let parking = ParkOptions::default().history(taken.history);
    let parked = new.cache.park(at_59, taken.conn, &new.peer, PLAIN, parking).unwrap();
    assert_eq!(new.cache.next_deadline(), Some(old.now + 60 * SECOND));
    let ended = new.cache.expire(old.now + 60 * SECOND).expect("its lifetime has ended");
    assert_eq!((ended.id, ended.reason), (parked.id, Reason::MaxLifetime));
}

#[test]
fn a_search_passes_by_sixty_four_that_have_run_out_and_no_more() {
    for (passed, found) in [(63, true), (64, false)] {
        let mut host = host(|_| ());
        let lasting = host.keep(Light);
        for _ in 0..passed {
            let id = host.insert(Light);
            assert!(host.cache.checkin_until(host.now, id, host.now + SECOND).unwrap().is_none());
        }
        host.now += SECOND;
        assert_eq!(host.reuse(), found.then_some(Same(lasting)));
    }
}

#[test]
fn jitter_differs_from_cache_to_cache() {
    let ends: Vec<Duration> = (0..4)
        .map(|_| {
            let mut host = host(|l| (l.max_lifetime, l.lifetime_jitter) = (Some(1_000 * SECOND), 1_000 * SECOND));
            host.keep(Light);
            host.cache.next_deadline().expect("a lifetime") - host.now
        })
        .collect();
    assert!(ends.iter().any(|end| *end != ends[0]), "{ends:?}");
}

#[test]
fn jitter_of_one_seed_is_the_same_in_every_cache() {
    let poll = Poll::new().unwrap();
    let ends = |seed: u64| {
        let (now, peer) = (Instant::now(), Peer::direct("a", 1));
        let lifetimes = limits(|l| (l.max_lifetime, l.lifetime_jitter) = (Some(1_000 * SECOND), 1_000 * SECOND));
        let builder = AggressiveCache::builder().limits(lifetimes).jitter_seed(seed);
        let mut cache: AggressiveCache<Light> = builder.build(poll.registry()).unwrap();
        for _ in 0..4 {
            let id = cache.insert(now, Light, &peer, PLAIN, ME).unwrap();
            assert!(cache.checkin(now, id).unwrap().is_none());
        }
        let due = |cache: &mut AggressiveCache<Light>| cache.next_deadline().inspect(|&at| drop(cache.expire(at)));
        std::iter::from_fn(|| due(&mut cache)).take(9).map(|at| at - now).collect::<Vec<_>>()
    };
    for seed in [0, 1, 2] {
        assert_eq!(ends(seed).len(), 4);
        assert_eq!(ends(seed), ends(seed), "seed {seed}");
    }
    assert_ne!(ends(1), ends(2));
}

/// As from a clock that begins with something silly, before it is set.
#[test]
fn after_a_first_time_in_the_remote_past_limits_end_early_rather_than_never() {
    for limited in [true, false] {
        let mut host = host(|l| l.idle_timeout = limited.then_some(SECOND));
        let now = host.now;
        let Some(past) = now.checked_sub(Duration::from_secs(1 << 40)) else { return };
        assert!(host.cache.expire(past).is_none());
        let id = host.insert(Light);
        let kept = host.checkin(id);
        host.now += 2 * SECOND;
        let gone = kept.or_else(|| host.expire());
        assert_eq!(gone, limited.then_some((id, Reason::IdleTimeout)));
        assert_eq!(host.reuse(), (!limited).then_some(Same(id)));
    }
}

#[test]
fn a_deadline_beyond_all_numbers_is_announced_before_it_comes() {
    let mut host = host(|_| ());
    let id = host.insert(Light);
    let Some(remote) = host.now.checked_add(Duration::from_secs(1 << 40)) else { return };
    assert!(host.cache.checkin_until(host.now, id, remote).unwrap().is_none());
    assert!(host.cache.next_deadline().is_some_and(|due| due < remote && due > host.now));
    host.now = remote;
    assert_eq!(host.expire(), Some((id, Reason::Deadline)));
}
