//! Limits on numbers.

use crate::common::light::Light;
use crate::common::{ME, PLAIN, Same, TLS};
use crate::{host, keep_many, with_data};
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
    assert_eq!([host.reuse(), host.reuse(), host.reuse()], [Some(Same(newcomer)), Some(Same(kept[1])), None]);
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
        let refused = host.cache.park(host.now, Light, &host.peer, PLAIN, with_data()).unwrap_err();
        assert!(matches!(refused.cause, Cause::Refused(why) if why == reason), "{refused}");
        assert!(refused.into_parts().1.private.is_some());
        assert_eq!(host.cache.counts(), Counts::default());
    }
}

#[test]
fn the_insertion_is_the_first_use_and_each_hand_out_another() {
    for most in 1..4 {
        let mut host = host(|l| l.max_uses = Some(most));
        let mut id = host.insert(Light);
        for owner in 1..most {
            assert_eq!(host.checkin(id), None, "owner {owner} of {most}");
            let found = host.cache.checkout(host.now, &host.peer, PLAIN, ME).unwrap();
            assert_eq!((Same(found.id), found.uses), (Same(id), owner + 1));
            id = found.id;
        }
        assert_eq!(host.checkin(id), Some((id, Reason::MaxUses)));
        assert_eq!(host.cache.counts(), Counts::default());
    }
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
    assert_eq!(host.checkin(newcomer), Some((doomed[0], Reason::ClosedPeer)));
    assert_eq!(host.cache.shed().map(|evicted| evicted.id), Some(doomed[1]));
    assert_eq!(host.cache.shed().map(|evicted| evicted.id), Some(healthy));
    assert_eq!(host.cache.next_deadline(), None);
}
