//! Places: held, used once, put back, given up, or out of time.

use super::*;
use crate::common::SECOND;
use crate::common::scripted::Scripted;
use conncache::{Cause, NotFound, Reason, StateError};

#[test]
fn a_place_counts_as_a_connection_until_it_is_used() {
    let mut host = host(|l| l.max_connections = Some(2));
    let [one, two] = [host.place(1), host.place(2)];
    assert_eq!(host.cache.stats().places, 2);
    let places = [1, 2, 3].map(|to| host.cache.counts_of_peer(&peer(to)).places);
    assert_eq!((places, host.cache.counts().places), ([1, 1, 0], 2));
    let waiter = host.wait(3);
    host.nothing_to_grant();
    let error = host.cache.insert(host.now, Light, &peer(4), PLAIN, ME).unwrap_err();
    assert!(matches!(error.cause, Cause::AtLimit { limit: "max_connections", most: 2 }), "{error}");
    host.insert_at(one);
    assert_eq!((host.cache.stats().places, host.cache.counts().active, host.all()), (1, 1, 2));
    host.cache.give_up(two);
    assert_eq!(host.granted_place().0, waiter);
}

#[test]
fn a_place_is_held_until_the_requests_time_else_for_thirty_seconds() {
    for (until, held) in [(Some(5 * SECOND), 5 * SECOND), (None, 30 * SECOND)] {
        let mut host = host(|l| l.max_connections = Some(1));
        let Requested::Open { place, .. } = host.request(1, until) else { panic!() };
        assert_eq!((place.until(), host.cache.next_deadline()), (Some(host.now + held), Some(host.now + held)));
        let waiter = host.wait(2);
        host.now += held;
        let grant = host.grant().unwrap();
        assert!(grant.waiter == place.waiter() && matches!(grant.granted, Granted::TimedOut) && grant.owner == ME);
        assert_eq!(host.granted_place().0, waiter);
        let error = host.cache.insert_at(host.now, place, Light).unwrap_err();
        assert!(matches!(error.cause, Cause::PlaceGone) && error.place.is_none(), "{error}");
        assert_eq!(host.all(), 1, "the other's place");
    }
}

#[test]
fn a_place_can_be_used_after_its_time_until_the_request_has_timed_out() {
    let mut host = host(|l| l.max_connections = Some(1));
    let place = host.place(1);
    host.now += 31 * SECOND;
    host.insert_at(place);
    host.nothing_to_grant();
    assert_eq!((host.cache.stats().timed_out, host.all()), (0, 1));
}

#[test]
fn a_place_put_back_stands_at_the_head_of_the_line() {
    let mut host = host(|l| l.max_connections_per_peer = Some(1));
    let place = host.place(1);
    let [first, second] = [place.waiter(), host.wait(1)];
    assert_eq!(host.cache.put_back(place), Ok(first));
    assert_eq!(host.cache.counts().waiting, 2);
    let (waiter, place) = host.granted_place();
    assert_eq!(waiter, first);
    let id = host.insert_at(place);
    assert!(host.checkin(id));
    assert_eq!(host.granted_reuse().0, second);
}

#[test]
fn those_put_back_stand_in_the_order_in_which_they_came() {
    let mut host = host(|l| l.max_connections_per_peer = Some(3));
    let places = [host.place(1), host.place(1), host.place(1)];
    let mut waiters = places.each_ref().map(|place| place.waiter()).to_vec();
    waiters.push(host.wait(1));
    host.now += SECOND;
    let [first, second, third] = places;
    for place in [second, first, third] {
        host.cache.put_back(place).unwrap();
    }
    assert!(host.cache.grant(host.now - SECOND).is_some_and(|grant| grant.waiter == waiters[0]));
    let granted: Vec<WaiterId> = [(); 2].map(|()| host.granted_place().0).to_vec();
    assert_eq!(granted, waiters[1..3]);
    host.nothing_to_grant();
}

#[test]
fn a_place_put_back_while_the_cache_drains_is_refused() {
    let mut host = host(|l| l.max_connections = Some(1));
    let place = host.place(1);
    host.cache.drain();
    let waiter = host.cache.put_back(place).unwrap();
    let grant = host.grant().unwrap();
    assert!(grant.waiter == waiter && matches!(grant.granted, Granted::Refused));
    host.nothing_to_grant();
    assert_eq!(host.cache.peers().count(), 0);
}

/// All numbers, and what is due next.
fn picture(host: &Host) -> String {
    let peers: Vec<_> = host.cache.peers().collect();
    format!("{:?} {peers:?} {:?}", host.cache.stats(), host.cache.next_deadline())
}

#[test]
fn a_place_of_another_cache_is_none_here_and_changes_nothing_in_either() {
    // The same numbers stand for a place, and for a request that waits, in both.
    let [mut one, mut two] = [(); 2].map(|()| host(|l| l.max_connections = Some(3)));
    let [place, other, third] = [1, 1, 1].map(|to| one.place(to));
    let [_held, _other, _third] = [1, 1, 1].map(|to| two.place(to));
    let before = [&one, &two].map(picture);
    let error = two.cache.insert_at(two.now, place, Light).unwrap_err();
    assert!(matches!(error.cause, Cause::PlaceGone), "{error}");
    assert_eq!(two.cache.put_back(other), Err(NotFound));
    two.cache.give_up(third);
    assert_eq!([&one, &two].map(picture), before);
    // What came back is good where it comes from; the others are held there until their time is over.
    one.insert_at(error.place.expect("it comes back"));
    assert_eq!(one.cache.stats().places, 2);
    one.now += 30 * SECOND;
    let told: Vec<_> = std::iter::from_fn(|| one.grant()).map(|grant| grant.granted).collect();
    assert!(matches!(told[..], [Granted::TimedOut, Granted::TimedOut]), "{told:?}");
}

#[test]
fn a_request_of_another_cache_does_not_wait_here() {
    let [mut one, mut two] = [(); 2].map(|()| host(|l| l.max_connections = Some(0)));
    let [waiter, foreign] = [one.wait(1), two.wait(1)];
    let before = [&one, &two].map(picture);
    assert_eq!(one.cache.withdraw(foreign), Err(NotFound));
    assert_eq!(two.cache.withdraw(waiter), Err(NotFound));
    assert_eq!([&one, &two].map(picture), before);
    assert_eq!([one.cache.withdraw(waiter), two.cache.withdraw(foreign)], [Ok(()); 2]);
    assert_eq!([one.cache.withdraw(waiter), two.cache.withdraw(foreign)], [Err(NotFound); 2]);
}

#[test]
fn a_connection_that_cannot_be_registered_comes_back_with_its_place() {
    let poll = Poll::new().unwrap();
    let mut cache: AggressiveCache<Scripted> =
        AggressiveCache::builder().max_connections(1).build(poll.registry()).unwrap();
    let now = Instant::now();
    let Requested::Open { place, .. } = cache.request(now, &peer(1), PLAIN, ME, None).unwrap() else { panic!() };
    let (conn, wire) = Scripted::new(1);
    wire.borrow_mut().fail_register = true;
    let error = cache.insert_at(now, place, conn).unwrap_err();
    assert!(matches!(error.cause, Cause::Registry(_)), "{error}");
    wire.borrow_mut().fail_register = false;
    assert!(cache.insert_at(now, error.place.expect("it is held"), error.conn).is_ok());
    assert_eq!((cache.stats().places, cache.counts().active), (0, 1));
}

#[test]
fn who_reopens_a_broken_connection_overtakes_nobody_and_is_overtaken_by_nobody() {
    let mut host = host(|l| l.max_connections_per_peer = Some(1));
    let id = host.open(1);
    let waiter = host.wait(1);
    let (place, broken) = host.cache.reopen(host.now, id, None).unwrap();
    assert!(broken.id == id && broken.reason == Reason::Closed);
    host.nothing_to_grant();
    let fresh = host.insert_at(place.expect("the connection made room"));
    assert!(!fresh.same_connection(id) && host.all() == 1);
    assert_eq!(host.cache.reopen(host.now, id, None).map(drop), Err(StateError::NotFound), "the lease is over");
    assert!(host.checkin(fresh));
    assert_eq!(host.cache.reopen(host.now, fresh, None).map(drop), Err(StateError::AlreadyInactive), "nobody has it");
    assert_eq!(host.granted_reuse().0, waiter);
}

#[test]
fn who_gets_a_reused_connection_can_have_a_new_one_instead() {
    let mut host = host(|l| l.max_connections_per_peer = Some(1));
    let first = host.open(1);
    assert!(host.checkin(first));
    let requested = host.reuse(1).id;
    host.wait(1);
    let reopen = |host: &mut Host, id| {
        let (place, reused) = host.cache.reopen(host.now, id, None).unwrap();
        assert_eq!(reused.id, id);
        host.insert_at(place.expect("the connection made room"))
    };
    let second = reopen(&mut host, requested);
    assert!(host.checkin(second));
    let granted = host.granted_reuse().1;
    assert!(granted.same_connection(second));
    let third = reopen(&mut host, granted);
    assert!(!third.same_connection(second) && !second.same_connection(first) && host.all() == 1);
}

#[test]
fn there_is_no_place_to_reopen_at_beyond_a_limit() {
    let mut host = host(|l| l.max_connecting_per_peer = Some(1));
    let [id, other] = [(); 2].map(|()| {
        let id = host.open(1);
        host.cache.established(id).unwrap();
        id
    });
    let opening = host.open(1);
    assert!(host.cache.reopen(host.now, id, None).unwrap().0.is_none(), "one is being opened");
    host.cache.established(opening).unwrap();
    host.cache.set_limits(crate::common::limits(|l| l.max_connections = Some(1))).unwrap();
    assert!(host.cache.reopen(host.now, other, None).unwrap().0.is_none(), "one more than allowed is left");
    assert_eq!(host.all(), 1);
}
