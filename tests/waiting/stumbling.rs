//! What is easily overlooked: each test is for a mistake that was made once.

use super::*;
use crate::common::{SECOND, TLS};
use conncache::{ConnState, ParkOptions, Reason, RestrictiveCache};

#[test]
fn the_last_connection_of_a_pair_may_make_room_for_the_next_one_of_the_same() {
    let mut host = host(|l| (l.max_connections, l.idle_timeout) = (Some(1), Some(SECOND)));
    let id = host.open(1);
    assert!(host.checkin(id));
    host.now += SECOND;
    let Requested::Open { place, evicted: Some(evicted) } = host.request(1, None) else { panic!() };
    assert_eq!((evicted.id, evicted.reason), (id, Reason::IdleTimeout));
    let id = host.insert_at(place);
    assert!(host.checkin(id));
    host.now += SECOND;
    // The same for a line, and for one that is parked.
    let parked = host.cache.park(host.now, Light, &peer(1), PLAIN, ParkOptions::default()).unwrap();
    assert_eq!(parked.evicted.map(|evicted| evicted.id), Some(id));
    assert_eq!((host.all(), host.cache.peers().count()), (1, 1));
}

#[test]
fn while_more_are_there_than_a_lowered_limit_allows_nothing_is_closed_in_vain() {
    let mut host = host(|_| ());
    let ids = [1, 1, 1].map(|to| host.open(to));
    assert!(host.checkin(ids[0]));
    host.cache.set_limits(crate::common::limits(|l| l.max_connections = Some(1))).unwrap();
    let waiter = host.wait(2);
    host.nothing_to_grant();
    assert_eq!(host.cache.counts().inactive, 1);
    drop(host.cache.close_connection(ids[1]).unwrap());
    host.nothing_to_grant();
    drop(host.cache.close_connection(ids[2]).unwrap());
    assert_eq!(host.granted_place().0, waiter);
}

#[test]
fn what_is_kept_for_waiters_alone_goes_with_their_line_however_that_ends() {
    type End = fn(&mut RestrictiveCache<Light>, Instant, WaiterId);
    let ends: [(End, Reason); 5] = [
        (|cache, _, waiter| cache.withdraw(waiter).unwrap(), Reason::Policy),
        (|cache, _, _| cache.refuse(&peer(1)), Reason::Policy),
        (|cache, now, _| drop(cache.grant(now + SECOND)), Reason::Policy),
        (|cache, _, _| cache.close_channel(PLAIN), Reason::ClosedChannel),
        (|cache, _, _| cache.drain(), Reason::Drained),
    ];
    for (end, reason) in ends {
        let poll = Poll::new().unwrap();
        let mut cache: RestrictiveCache<Light> =
            RestrictiveCache::builder().max_connections_per_peer(1).max_inactive(0).build(poll.registry()).unwrap();
        let now = Instant::now();
        let id = cache.insert(now, Light, &peer(1), PLAIN, ME).unwrap();
        let Requested::Wait(waiter) = cache.request(now, &peer(1), PLAIN, ME, Some(now + SECOND)).unwrap() else {
            panic!()
        };
        assert!(cache.checkin(now, id).unwrap().is_none());
        assert!(cache.expire(now).is_none());
        end(&mut cache, now, waiter);
        assert!(cache.next_deadline().is_some_and(|at| at <= now));
        let gone = cache.expire(now).expect("nobody waits for it");
        assert_eq!((gone.id, gone.reason), (id, reason));
        while cache.grant(now).is_some() {}
        assert_eq!((cache.next_deadline(), cache.peers().count()), (None, 0));
    }
}

#[test]
fn a_connection_kept_for_a_waiter_stays_when_its_private_data_is_set() {
    let poll = Poll::new().unwrap();
    let mut cache: RestrictiveCache<Light> =
        RestrictiveCache::builder().max_connections_per_peer(1).max_inactive(0).build(poll.registry()).unwrap();
    let (now, to) = (Instant::now(), peer(1));
    let id = cache.insert(now, Light, &to, PLAIN, ME).unwrap();
    let Requested::Wait(waiter) = cache.request(now, &to, PLAIN, ME, None).unwrap() else { panic!() };
    assert!(cache.checkin(now, id).unwrap().is_none());
    let change = cache.set_connection_state(now, id, &to, ConnState::inactive(PLAIN).private(7)).unwrap();
    assert!(change.evicted.is_none());
    let grant = cache.grant(now).unwrap();
    assert!(grant.waiter == waiter && matches!(grant.granted, Granted::Reuse(found) if found.private.is_some()));
}

#[test]
fn any_connection_that_comes_back_leaves_or_moves_serves_whoever_waits_for_its_room() {
    type Event = fn(&mut Host, ConnId);
    let events: [Event; 5] = [
        |host, id| assert!(host.checkin(id)),
        |host, id| drop(host.cache.remove(id).unwrap()),
        |host, id| {
            assert!(host.checkin(id));
            drop(host.cache.shed().unwrap());
        },
        |host, id| {
            let state = ConnState::inactive(PLAIN);
            assert!(host.cache.set_connection_state(host.now, id, &peer(3), state).unwrap().evicted.is_none());
        },
        |host, _| {
            let limits =
                crate::common::limits(|l| (l.max_connections, l.max_connections_per_peer) = (Some(2), Some(1)));
            host.cache.set_limits(limits).unwrap();
        },
    ];
    for event in events {
        let mut host = host(|l| (l.max_connections, l.max_connections_per_peer) = (Some(1), Some(1)));
        let id = host.open(1);
        let waiter = host.wait(2);
        host.nothing_to_grant();
        event(&mut host, id);
        assert_eq!(host.granted_place().0, waiter);
    }
}

#[test]
fn a_connection_moved_to_another_peer_makes_room_at_its_old_one() {
    let mut host = host(|l| l.max_connections_per_peer = Some(1));
    let id = host.open(1);
    let waiter = host.wait(1);
    host.nothing_to_grant();
    assert!(host.cache.set_connection_state(host.now, id, &peer(2), ConnState::Active(ME)).is_ok());
    assert_eq!(host.granted_place().0, waiter);
}

#[test]
fn the_limit_on_inactive_ones_takes_nothing_from_those_who_wait() {
    let mut host = host(|l| (l.max_connections_per_peer, l.max_inactive) = (Some(1), Some(1)));
    let ids = [1, 2, 3].map(|to| host.open(to));
    let waiter = host.wait(1);
    assert!(host.checkin(ids[0]) && host.checkin(ids[1]));
    let evicted = host.cache.checkin(host.now, ids[2]).unwrap().expect("two are inactive for nobody");
    assert_eq!((evicted.id, evicted.reason), (ids[1], Reason::MaxInactive));
    let (served, id) = host.granted_reuse();
    assert!(served == waiter && id.same_connection(ids[0]));
}

#[test]
fn a_wait_is_a_miss_once_and_a_refusal_at_a_full_line_is_none() {
    let mut host = host(|l| (l.max_connections, l.max_waiting) = (Some(1), Some(1)));
    let id = host.open(1);
    let _waiter = host.wait(1);
    assert_eq!(host.cache.stats().missed, 2, "one was opened, one waits");
    host.nothing_to_grant();
    assert!(host.cache.request(host.now, &peer(1), PLAIN, ME, None).is_err());
    assert!(host.checkin(id));
    let _ = host.granted_reuse();
    assert_eq!((host.cache.stats().missed, host.cache.stats().waited), (2, 1));
}

#[test]
fn a_closed_peers_line_has_its_connections_when_the_old_ones_have_gone() {
    let mut host = host(|l| l.max_connections_per_peer = Some(2));
    let ids = [1, 1].map(|to| host.open(to));
    let waiters = [host.wait(1), host.wait(1)];
    let Requested::Wait(tls) = host.cache.request(host.now, &peer(1), TLS, ME, None).unwrap() else { panic!() };
    assert!(host.checkin(ids[0]));
    host.cache.close_peer(&peer(1));
    assert_eq!(host.cache.counts_of_peer(&peer(1)).waiting, 3);
    // What was kept for them is closed, and what is active isn't kept.
    assert_eq!(host.cache.expire(host.now).map(|gone| gone.reason), Some(Reason::ClosedPeer));
    assert!(!host.checkin(ids[1]));
    let (first, place) = host.granted_place();
    let (second, other) = host.granted_place();
    assert_eq!((first, second), (waiters[0], tls), "channel bindings take turns");
    host.nothing_to_grant();
    host.cache.give_up(other);
    assert_eq!(host.granted_place().0, waiters[1]);
    host.insert_at(place);
}
