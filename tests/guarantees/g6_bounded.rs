//! G6: the work of a turn is bounded by what the host asks for.

use crate::common::host::Host;
use crate::common::light::Light;
use crate::common::{SECOND, limits};
use conncache::{ConnId, Limits};

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
