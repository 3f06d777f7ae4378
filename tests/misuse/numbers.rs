//! Limits on numbers.

use crate::common::light::Light;
use crate::common::{ME, PLAIN, TLS};
use crate::{host, keep_many};
use conncache::{Cause, Counts, Limits, Peer, Reason};
use std::time::Duration;

#[test]
fn over_max_inactive_the_one_inactive_for_longest_goes() {
    let mut host = host(|l| l.max_inactive = Some(2));
    let first = host.keep(Light);
    let other = Peer::direct("other", 1);
    let second = host.cache.insert(host.now, Light, &other, TLS, ME).unwrap();
    assert_eq!(host.checkin(second), None, "exactly at the limit");
    let third = host.insert(Light);
    assert_eq!(host.checkin(third), Some((first, Reason::MaxInactive)));
    assert_eq!(host.cache.counts().inactive, 2);
}

#[test]
fn over_max_inactive_per_peer_the_buckets_oldest_goes_never_the_newcomer() {
    let mut host = host(|l| l.max_inactive_per_peer = Some(2));
    let other = host.cache.insert(host.now, Light, &host.peer, TLS, ME).unwrap();
    assert_eq!(host.checkin(other), None);
    let kept = keep_many(&mut host, 2);
    let newcomer = host.insert(Light);
    assert_eq!(host.checkin(newcomer), Some((kept[0], Reason::MaxInactivePerPeer)));
    assert_eq!((host.checkout(), host.checkout(), host.checkout()), (Some(newcomer), Some(kept[1]), None));
}

#[test]
fn zero_keeps_nothing_and_says_which_limit_it_was() {
    type Set = fn(&mut Limits);
    let zeros: [(Set, Reason); 5] = [
        (|l| l.max_inactive = Some(0), Reason::MaxInactive),
        (|l| l.max_inactive_per_peer = Some(0), Reason::MaxInactivePerPeer),
        (|l| l.idle_timeout = Some(Duration::ZERO), Reason::IdleTimeout),
        (|l| l.max_lifetime = Some(Duration::ZERO), Reason::MaxLifetime),
        (|l| l.max_uses = Some(0), Reason::MaxUses),
    ];
    for (zero, reason) in zeros {
        let mut host = host(zero);
        let id = host.insert(Light);
        assert_eq!(host.checkin(id), Some((id, reason)));
        let refused = host.cache.park(host.now, Light, &host.peer, PLAIN, Some(Box::new(5))).unwrap_err();
        assert!(matches!(refused.cause, Cause::Refused(why) if why == reason), "{refused}");
        assert!(refused.private.is_some());
        assert_eq!(host.cache.counts(), Counts::default());
    }
}

#[test]
fn one_use_is_one_hand_out() {
    let mut host = host(|l| l.max_uses = Some(2));
    let id = host.keep(Light);
    for _ in 0..2 {
        assert_eq!(host.checkout(), Some(id));
        let left = host.checkin(id);
        assert_eq!(left, (host.cache.counts().inactive == 0).then_some((id, Reason::MaxUses)));
    }
    assert_eq!(host.cache.counts(), Counts::default());
}

#[test]
fn those_of_closed_peers_go_before_healthy_ones() {
    let mut host = host(|l| l.max_inactive = Some(3));
    let healthy = host.keep(Light);
    let closed = Peer::direct("closed", 1);
    let doomed = [0, 1].map(|_| {
        let id = host.cache.insert(host.now, Light, &closed, PLAIN, ME).unwrap();
        assert_eq!(host.checkin(id), None);
        id
    });
    host.cache.close_peer(&closed);
    let newcomer = host.insert(Light);
    assert_eq!(host.checkin(newcomer), Some((doomed[0], Reason::PeerClosed)));
    assert_eq!(host.cache.shed().map(|evicted| evicted.id), Some(doomed[1]));
    assert_eq!(host.cache.shed().map(|evicted| evicted.id), Some(healthy));
    assert_eq!(host.cache.next_deadline(), None);
}
