//! The limits on all connections: once met, never exceeded.

use super::*;
use crate::common::{SECOND, TLS};
use conncache::{
    Cache, Candidate, Cause, ChannelBindingId, ConnState, ParkOptions, Policy, Reason, StateError, Verdict,
};
use std::cell::Cell;
use std::rc::Rc;

#[test]
fn an_idle_connection_of_another_peer_makes_room() {
    let mut host = host(|l| l.max_connections = Some(2));
    let [one, two] = [host.open(1), host.open(2)];
    assert!(host.checkin(two) && host.checkin(one));
    let Requested::Open { place, evicted } = host.request(3, None) else { panic!() };
    let evicted = evicted.expect("there were two");
    assert_eq!((evicted.id, evicted.reason), (two, Reason::MadeRoom), "inactive for longest");
    host.insert_at(place);
    assert_eq!(host.all(), 2);
    assert!(host.reuse(1).id.same_connection(one));
}

/// A live one may be reused; the other one is closed anyway.
#[test]
fn for_room_one_that_has_run_out_goes_before_an_older_live_one() {
    for per_peer in [false, true] {
        let mut host =
            host(|l| if per_peer { l.max_connections_per_peer = Some(2) } else { l.max_connections = Some(2) });
        let mut keep = |channel, until: Option<Duration>| {
            let id = host.cache.insert(host.now, Light, &peer(1), channel, ME).unwrap();
            let kept = match until {
                Some(time) => host.cache.checkin_until(host.now, id, host.now + time),
                None => host.cache.checkin(host.now, id),
            };
            assert!(kept.unwrap().is_none());
            id
        };
        let [_live, ending] = [keep(PLAIN, None), keep(TLS, Some(SECOND))];
        host.now += SECOND;
        let to = peer(if per_peer { 1 } else { 2 });
        let requested = host.cache.request(host.now, &to, ChannelBindingId(7), ME, None).unwrap();
        let Requested::Open { evicted: Some(evicted), .. } = requested else { panic!("{requested:?}") };
        assert_eq!((evicted.id, evicted.reason), (ending, Reason::Deadline), "per peer: {per_peer}");
    }
}

#[test]
fn an_idle_connection_under_another_channel_makes_room_at_the_peers_limit() {
    let mut host = host(|l| l.max_connections_per_peer = Some(1));
    let id = host.open(1);
    assert!(host.checkin(id));
    let other = host.open(2);
    assert!(host.checkin(other), "another peer's is of no help");
    let requested = host.cache.request(host.now, &peer(1), TLS, ME, None).unwrap();
    let Requested::Open { evicted: Some(evicted), .. } = requested else { panic!("{requested:?}") };
    assert_eq!((evicted.id, evicted.reason), (id, Reason::MadeRoom));
}

#[test]
fn a_lowered_limit_touches_nothing_active_and_lets_none_in_until_it_holds() {
    let mut host = host(|_| ());
    let ids: Vec<ConnId> = (0..4).map(|_| host.open(1)).collect();
    host.cache.set_limits(crate::common::limits(|l| l.max_connections = Some(2))).unwrap();
    assert_eq!(host.cache.counts().active, 4);
    let waiter = host.wait(2);
    host.nothing_to_grant();
    assert!(host.checkin(ids[0]));
    host.nothing_to_grant();
    for &id in &ids[1..3] {
        drop(host.cache.close_connection(id).unwrap());
    }
    let (served, place) = host.granted_place();
    assert_eq!((served, host.all()), (waiter, 2), "the inactive one made room");
    host.cache.give_up(place);
}

#[test]
fn so_many_may_be_opened_at_a_time_and_established_ones_count_no_longer() {
    let mut host = host(|l| l.max_connecting_per_peer = Some(1));
    let id = host.open(1);
    let waiter = host.wait(1);
    host.nothing_to_grant();
    let error = host.cache.insert(host.now, Light, &peer(1), PLAIN, ME).unwrap_err();
    assert!(matches!(error.cause, Cause::AtLimit { limit: "max_connecting_per_peer", most: 1 }), "{error}");
    host.cache.established(id).unwrap();
    let (served, place) = host.granted_place();
    assert_eq!(served, waiter);
    let id = host.insert_at(place);
    let (second, _third) = (host.wait(1), host.wait(1));
    assert!(host.checkin(id), "so it is established");
    assert_eq!(host.granted_reuse().0, second);
    let _ = host.granted_place();
}

#[test]
fn a_policy_gives_single_peers_other_numbers() {
    struct ByPort;
    impl Policy for ByPort {
        fn on_inactive(&mut self, _: &Candidate<'_>) -> Verdict {
            Verdict::Keep
        }
        fn max_connections(&mut self, peer: &Peer) -> Option<usize> {
            (*peer == super::peer(1)).then_some(2)
        }
    }
    let poll = Poll::new().unwrap();
    let mut cache: Cache<Light, ByPort> =
        Cache::with_policy(ByPort).max_connections_per_peer(1).build(poll.registry()).unwrap();
    let now = Instant::now();
    let mut opened = |to: u16| match cache.request(now, &peer(to), PLAIN, ME, None).unwrap() {
        Requested::Open { place, .. } => cache.insert_at(now, place, Light).is_ok(),
        _ => false,
    };
    assert_eq!([1, 1, 1].map(&mut opened), [true, true, false]);
    assert_eq!([2, 2].map(&mut opened), [true, false]);
}

/// Not at each connection: it may look something up.
#[test]
fn a_policy_is_asked_for_a_number_when_a_peer_comes_and_when_limits_are_set() {
    struct Curious(Rc<Cell<usize>>);
    impl Policy for Curious {
        fn on_inactive(&mut self, _: &Candidate<'_>) -> Verdict {
            Verdict::Keep
        }
        fn max_connections(&mut self, _: &Peer) -> Option<usize> {
            self.0.set(self.0.get() + 1);
            None
        }
    }
    let (poll, asked) = (Poll::new().unwrap(), Rc::new(Cell::new(0)));
    let mut cache: Cache<Light, Curious> =
        Cache::with_policy(Curious(Rc::clone(&asked))).max_connections_per_peer(3).build(poll.registry()).unwrap();
    let now = Instant::now();
    let first = cache.insert(now, Light, &peer(1), PLAIN, ME).unwrap();
    assert_eq!(asked.take(), 1);
    let second = cache.insert(now, Light, &peer(1), TLS, ME).unwrap();
    assert!(cache.checkin(now, second).unwrap().is_none());
    let Requested::Reuse(found) = cache.request(now, &peer(1), TLS, ME, None).unwrap() else { panic!() };
    let Requested::Open { place, .. } = cache.request(now, &peer(1), PLAIN, ME, None).unwrap() else { panic!() };
    assert!(matches!(cache.request(now, &peer(1), PLAIN, ME, None), Ok(Requested::Wait(_))));
    let third = cache.insert_at(now, place, Light).unwrap();
    assert!(cache.park(now, Light, &peer(1), PLAIN, ParkOptions::default()).is_err());
    assert_eq!(asked.take(), 0, "the peer is known");
    cache.insert(now, Light, &peer(2), PLAIN, ME).unwrap();
    assert_eq!(asked.take(), 1);
    cache.set_limits(crate::common::limits(|l| l.max_connections_per_peer = Some(4))).unwrap();
    assert_eq!(asked.take(), 2, "each of the two");
    let _ = cache.grant(now).unwrap();
    cache.refuse(&peer(1));
    for id in [first, found.id, third] {
        drop(cache.close_connection(id).unwrap());
    }
    assert_eq!(asked.take(), 0);
}

#[test]
fn parking_at_a_limit_evicts_the_oldest_inactive_one_else_is_refused() {
    for per_peer in [false, true] {
        let mut host =
            host(|l| if per_peer { l.max_connections_per_peer = Some(1) } else { l.max_connections = Some(1) });
        let park = |host: &mut Host| host.cache.park(host.now, Light, &peer(1), PLAIN, ParkOptions::default());
        let first = park(&mut host).unwrap();
        assert!(first.evicted.is_none());
        let second = park(&mut host).unwrap();
        assert_eq!(second.evicted.map(|evicted| (evicted.id, evicted.reason)), Some((first.id, Reason::MadeRoom)));
        let _ = host.reuse(1);
        let error = park(&mut host).unwrap_err();
        assert!(matches!(error.cause, Cause::AtLimit { most: 1, .. }), "{error}");
        assert_eq!(host.all(), 1);
    }
}

#[test]
fn moving_to_a_peer_at_its_limit_is_an_error_that_changes_nothing() {
    let mut host = host(|l| l.max_connections_per_peer = Some(1));
    let [one, two] = [host.open(1), host.open(2)];
    for state in [ConnState::Active(ME), ConnState::inactive(PLAIN).private(5)] {
        let is_active = matches!(state, ConnState::Active(_));
        let error = host.cache.set_connection_state(host.now, one, &peer(2), state).unwrap_err();
        assert_eq!(error.cause, StateError::PeerAtLimit);
        assert!(is_active || matches!(error.into_state(), ConnState::Inactive { private: Some(_), .. }));
    }
    assert_eq!(host.cache.peer(one), Some(&peer(1)));
    drop(host.cache.close_connection(two).unwrap());
    let moved = host.cache.set_connection_state(host.now, one, &peer(2), ConnState::Active(ME)).unwrap();
    assert!(moved.evicted.is_none() && moved.id == one);
}

#[test]
fn an_active_connection_does_not_move_into_room_that_somebody_waits_for() {
    let mut host = host(|l| l.max_connections_per_peer = Some(1));
    let [one, two] = [host.open(1), host.open(2)];
    let waiter = host.wait(2);
    host.nothing_to_grant();
    drop(host.cache.close_connection(two).unwrap());
    let error = host.cache.set_connection_state(host.now, one, &peer(2), ConnState::Active(ME)).unwrap_err();
    assert_eq!((error.cause, host.cache.peer(one)), (StateError::OthersWait, Some(&peer(1))));
    assert_eq!(host.granted_place().0, waiter);
}

#[test]
fn a_connection_that_is_being_opened_does_not_move_where_somebody_waits_to_open_one() {
    let mut host = host(|l| l.max_connecting_per_peer = Some(1));
    let [one, two] = [host.open(1), host.open(2)];
    let waiter = host.wait(2);
    host.cache.established(two).unwrap();
    let error = host.cache.set_connection_state(host.now, one, &peer(2), ConnState::Active(ME)).unwrap_err();
    assert_eq!((error.cause, host.cache.peer(one)), (StateError::OthersWait, Some(&peer(1))));
    let (served, place) = host.granted_place();
    assert_eq!(served, waiter);
    let next = host.wait(2);
    // One that is established takes nothing from those who wait to open one.
    host.cache.established(one).unwrap();
    assert!(host.cache.set_connection_state(host.now, one, &peer(2), ConnState::Active(ME)).is_ok());
    host.insert_at(place);
    host.cache.withdraw(next).unwrap();
}

#[test]
fn a_connection_that_is_being_opened_is_not_moved_to_a_peer_where_as_many_are() {
    let mut host = host(|l| l.max_connecting_per_peer = Some(1));
    let [one, _two] = [host.open(1), host.open(2)];
    let moved = |host: &mut Host| host.cache.set_connection_state(host.now, one, &peer(2), ConnState::Active(ME));
    assert_eq!(moved(&mut host).unwrap_err().cause, StateError::PeerAtLimit);
    host.cache.established(one).unwrap();
    assert!(moved(&mut host).is_ok());
}

#[test]
fn without_limits_a_request_opens_or_reuses() {
    let mut host = host(|_| ());
    let ids: Vec<ConnId> = (0..100).map(|_| host.open(1)).collect();
    for id in ids {
        assert!(host.checkin(id));
    }
    for _ in 0..100 {
        let _ = host.reuse(1);
    }
    host.open(1);
}

#[test]
fn those_who_wait_for_a_full_peer_keep_no_other_from_opening() {
    let mut host =
        host(|l| (l.max_connections, l.max_connections_per_peer, l.max_waiting) = (Some(4), Some(1), Some(1)));
    host.open(1);
    let waiter = host.wait(1);
    // Whoever waits has no use for the room there is.
    host.open(2);
    host.open(3);
    host.open(4);
    assert!(host.cache.request(host.now, &peer(5), PLAIN, ME, None).is_err());
    host.cache.withdraw(waiter).unwrap();
    host.wait(5);
}

/// Without a limit on all connections, nobody takes another peer's room.
#[test]
fn those_who_wait_for_a_peer_with_room_keep_no_other_from_opening_if_only_peers_are_limited() {
    let mut host = host(|l| l.max_connections_per_peer = Some(1));
    let id = host.open(1);
    let waiter = host.wait(1);
    drop(host.cache.close_connection(id).unwrap());
    host.open(2);
    assert!(host.cache.insert(host.now, Light, &peer(3), PLAIN, ME).is_ok());
    assert_eq!(host.granted_place().0, waiter);
}

#[test]
fn a_line_whose_connection_has_run_out_keeps_no_other_from_opening() {
    let mut host = host(|l| {
        (l.max_connections, l.max_connections_per_peer, l.max_waiting) = (Some(2), Some(1), Some(1));
        l.idle_timeout = Some(SECOND);
    });
    let id = host.open(1);
    host.wait(1);
    assert!(host.checkin(id));
    host.now += SECOND;
    host.open(2);
}

/// Connections beyond a lowered limit don't serve the line, because it may never end.
#[test]
fn a_lowered_limit_is_reached_though_the_line_is_always_busy() {
    for per_peer in [false, true] {
        let mut host = host(|_| ());
        let busy = [1, 1, 1].map(|to| host.open(to));
        let lowered =
            |l: &mut Limits| if per_peer { l.max_connections_per_peer = Some(2) } else { l.max_connections = Some(2) };
        host.cache.set_limits(crate::common::limits(lowered)).unwrap();
        let waiter = host.wait(1);
        let evicted = host.cache.checkin(host.now, busy[0]).unwrap().unwrap();
        assert_eq!((evicted.id, evicted.reason), (busy[0], Reason::MadeRoom));
        host.nothing_to_grant();
        assert!(host.checkin(busy[1]), "the limit holds");
        assert_eq!((host.granted_reuse().0, host.all()), (waiter, 2));
    }
}

/// As many inactive connections under a limit lowered to 2, and a request that waits for room.
fn beyond_a_lowered_limit(connections: usize, per_peer: bool) -> (Host, Vec<ConnId>, WaiterId) {
    let mut host = host(|_| ());
    let ids: Vec<ConnId> = (0..connections).map(|_| host.open(1)).collect();
    assert!(ids.iter().all(|&id| host.checkin(id)));
    let lowered =
        |l: &mut Limits| if per_peer { l.max_connections_per_peer = Some(2) } else { l.max_connections = Some(2) };
    host.cache.set_limits(crate::common::limits(lowered)).unwrap();
    let to = if per_peer { 1 } else { 2 };
    let Requested::Wait(waiter) = host.cache.request(host.now, &peer(to), TLS, ME, None).unwrap() else { panic!() };
    (host, ids, waiter)
}

/// Where more are inactive than a lowered limit allows in all, enough of them go for somebody who waits.
#[test]
fn somebody_who_waits_gets_room_though_a_lowered_limit_is_exceeded_by_inactive_ones() {
    for per_peer in [false, true] {
        let (mut host, ids, waiter) = beyond_a_lowered_limit(4, per_peer);
        // The two beyond the limit leave first.
        let mut gone = Vec::new();
        let place = loop {
            assert!(host.is_due(), "it waits for ever");
            match host.grant() {
                Some(Grant { granted: Granted::Open { place, evicted }, .. }) => {
                    gone.extend(evicted);
                    break place;
                }
                other => assert!(other.is_none()),
            }
            gone.extend(std::iter::from_fn(|| host.cache.expire(host.now)));
        };
        assert_eq!((place.waiter(), host.all()), (waiter, 2));
        assert_eq!(gone.iter().map(|gone| gone.id).collect::<Vec<_>>(), ids[..3]);
        assert!(gone.iter().all(|gone| gone.reason == Reason::MadeRoom));
    }
}

/// Those that another limit has condemned already count.
#[test]
fn a_grant_condemns_no_more_than_are_beyond_a_peers_lowered_limit() {
    let mut host = host(|l| l.max_connections_per_peer = Some(5));
    let ids: Vec<ConnId> = (0..5).map(|_| host.open(1)).collect();
    assert!(ids[1..].iter().all(|&id| host.checkin(id)));
    let lowered = common::limits(|l| (l.max_connections_per_peer, l.max_inactive) = (Some(3), Some(2)));
    host.cache.set_limits(lowered).unwrap();
    assert_eq!(host.cache.counts().condemned, 2);
    host.wait_under(1, TLS);
    assert!(host.grant().is_none());
    assert_eq!(host.cache.counts().condemned, 2);
}

/// However many are beyond the limit, a grant condemns a few of them, and stays due for the others.
#[test]
fn a_grant_condemns_no_more_than_16_beyond_a_lowered_limit() {
    for per_peer in [false, true] {
        let (mut host, _, waiter) = beyond_a_lowered_limit(100, per_peer);
        let mut turns = 0;
        let place = loop {
            assert!(host.is_due(), "it waits for ever");
            if let Some(Grant { granted: Granted::Open { place, .. }, .. }) = host.grant() {
                break place;
            }
            assert!(host.cache.counts().condemned <= 16);
            while host.cache.expire(host.now).is_some() {}
            turns += 1;
        };
        assert_eq!((place.waiter(), host.all(), turns), (waiter, 2, 98_usize.div_ceil(16)));
    }
}

/// Neither a lowered limit nor eight passes over a line that has as many makes one go that nobody waits for: a grant
/// can evict it.
#[test]
fn beyond_a_lowered_limit_a_connection_stays_if_only_others_with_as_many_wait() {
    let mut host = host(|l| l.max_connections = Some(2));
    let [mut id, _other] = [host.open(1), host.open(2)];
    host.wait(2);
    for _ in 0..8 {
        host.wait(1);
        assert!(host.checkin(id));
        id = host.granted_reuse().1;
    }
    host.cache.set_limits(common::limits(|l| l.max_connections = Some(1))).unwrap();
    assert!(host.checkin(id));
}
