//! G6: the work of a turn is bounded by what the host asks for.

use crate::common::host::Host;
use crate::common::light::Light;
use crate::common::{ME, PLAIN, SECOND, limits};
use conncache::{ChannelBindingId, ConnId, Granted, Limits, Peer, Requested};
use std::time::{Duration, Instant};

#[test]
fn a_hundred_thousand_expiring_at_once_come_one_by_one() {
    for which in [limits(|l| l.idle_timeout = Some(SECOND)), limits(|l| l.max_lifetime = Some(SECOND))] {
        let mut host = Host::new(which);
        (0..100_000).for_each(|_| {
            host.keep(Light);
        });
        host.now += SECOND;
        for left in 1..=10 {
            assert!(host.cache.expire(host.now).is_some());
            assert_eq!(host.cache.stats().left_in_all(), left);
            assert_eq!(host.cache.next_deadline(), Some(host.cache.next_deadline().unwrap().min(host.now)));
        }
        assert_eq!(host.checkout(), None, "what has run out isn't handed out, expired or not");
        let mut left = 10;
        while host.cache.expire(host.now).is_some() {
            left += 1;
        }
        assert_eq!((left, host.cache.next_deadline()), (100_000, None));
    }
}

#[test]
fn a_call_puts_a_bounded_number_of_deadlines_right() {
    let mut host = Host::new(Limits::default());
    let count = 10_000;
    for _ in 0..count {
        let id = host.insert(Light);
        assert!(host.cache.checkin_until(host.now, id, host.now + SECOND).unwrap().is_none());
    }
    // All are used again, and get later deadlines.
    let later = host.now + 3_600 * SECOND;
    let all: Vec<ConnId> = (0..count).map(|_| host.checkout().unwrap()).collect();
    all.iter().for_each(|&id| assert!(host.cache.checkin_until(host.now, id, later).unwrap().is_none()));
    host.now += SECOND;
    let mut calls = 0;
    while host.cache.next_deadline().unwrap() <= host.now {
        assert!(host.cache.expire(host.now).is_none());
        calls += 1;
        assert!(calls <= count, "no call gets anywhere");
    }
    assert!(calls > 50, "one call put {} right", count / calls);
    assert_eq!(host.cache.next_deadline(), Some(later));
}

#[test]
fn closing_a_peer_or_draining_returns_one_a_call() {
    for order in 0..3 {
        let mut host = Host::new(Limits::default());
        (0..1_000).for_each(|_| {
            host.keep(Light);
        });
        match order {
            0 => host.cache.close_peer(&host.peer),
            1 => host.cache.drain(),
            _ => host.cache.set_limits(limits(|l| l.max_inactive = Some(0))).unwrap(),
        }
        assert_eq!(host.cache.counts().inactive, 1_000);
        assert_eq!(host.checkout(), None);
        for left in (0..1_000).rev() {
            assert!(host.cache.next_deadline().unwrap() <= host.now);
            assert!(host.cache.expire(host.now).is_some());
            assert_eq!(host.cache.counts().inactive, left);
        }
        assert!(host.cache.expire(host.now).is_none());
    }
}

/// Connections are kept for all who wait, in lines of equal length. Others, kept for whoever comes, became inactive between
/// those of the first line and those of the second, or after them all. What ends for each request must not pass all of
/// these: that took 5 seconds for two lines of 16,000.
#[test]
fn ending_many_requests_costs_what_they_had_and_not_what_others_have() {
    const MANY: usize = 20_000;
    let mut alone = None;
    for (lines, others) in [(1, 0), (1, MANY), (2, MANY), (MANY, MANY)] {
        let mut host = Host::new(limits(|l| l.max_connections_per_peer = Some(MANY / lines)));
        let peer = |kind: &str, number: usize| Peer::direct(&format!("{kind}-{number}"), 80);
        let insert = |host: &mut Host<Light>, to: &Peer| host.cache.insert(host.now, Light, to, PLAIN, ME).unwrap();
        let wanted: Vec<Peer> = (0..MANY).map(|at| peer("wanted", at % lines)).collect();
        let own: Vec<ConnId> = wanted.iter().map(|to| insert(&mut host, to)).collect();
        let others: Vec<ConnId> = (0..others).map(|at| insert(&mut host, &peer("other", at % lines))).collect();
        for to in &wanted {
            let waits = host.cache.request(host.now, to, PLAIN, ME, Some(host.now + 100 * SECOND));
            assert!(matches!(waits, Ok(Requested::Wait(_))));
        }
        let (early, late): (Vec<_>, Vec<_>) = own.iter().enumerate().partition(|(at, _)| lines != 2 || at % 2 == 0);
        let ids = |of: Vec<(usize, &ConnId)>| of.into_iter().map(|(_, &id)| id).collect::<Vec<_>>();
        let back = [ids(early), others, ids(late)].concat();
        for &id in &back {
            host.now += Duration::from_nanos(1);
            assert_eq!(host.checkin(id), None);
        }
        assert_eq!(host.cache.iter_inactive().count(), back.len() - MANY);
        host.now += 100 * SECOND;
        let begin = Instant::now();
        (0..MANY).for_each(|_| assert!(matches!(host.cache.grant(host.now).unwrap().granted, Granted::TimedOut)));
        let took = begin.elapsed();
        is_no_walk(took, *alone.get_or_insert(took));
        assert!(host.cache.iter_inactive().map(|entry| entry.id).eq(back), "oldest first");
    }
}

#[test]
fn a_request_costs_the_same_however_long_its_line_is() {
    const MANY: u64 = 40_000;
    let mut alone = None;
    for lines in [MANY, 1] {
        let mut host = Host::<Light>::new(limits(|l| l.max_connections = Some(0)));
        let begin = Instant::now();
        for at in 0..MANY {
            let waits = host.cache.request(host.now, &host.peer, ChannelBindingId(at % lines), ME, None);
            assert!(matches!(waits, Ok(Requested::Wait(_))));
        }
        let took = begin.elapsed();
        is_no_walk(took, *alone.get_or_insert(took));
    }
}

/// One connection and one request are left of very many. Walking the tables as large as they were took seconds here.
#[test]
fn after_a_peak_a_walk_costs_what_is_there_and_not_what_was_there() {
    let mut alone = None;
    for peak in [1, 250_000] {
        let mut host = Host::new(Limits::default());
        let insert = |channel| host.cache.insert(host.now, Light, &host.peer, ChannelBindingId(channel), ME).unwrap();
        let mut all: Vec<ConnId> = (1..=peak).map(insert).collect();
        all.pop();
        all.into_iter().for_each(|id| drop(host.cache.close_connection(id).unwrap()));
        let full = limits(|l| l.max_connections = Some(1));
        host.cache.set_limits(full.clone()).unwrap();
        assert!(matches!(host.cache.request(host.now, &host.peer, PLAIN, ME, None), Ok(Requested::Wait(_))));
        let begin = Instant::now();
        for _ in 0..4_000 {
            assert_eq!((host.cache.iter().count(), host.cache.peers().count()), (1, 2));
            host.cache.set_limits(full.clone()).unwrap();
            assert_eq!(host.cache.longest_wait(), Duration::ZERO);
        }
        let took = begin.elapsed();
        is_no_walk(took, *alone.get_or_insert(took));
    }
}

/// The tests run on busy machines. A walk past all that is not concerned takes more than that on any.
#[track_caller]
fn is_no_walk(took: Duration, alone: Duration) {
    assert!(took < 2 * SECOND || took < 20 * alone, "{took:?}, where {alone:?} would do");
}
