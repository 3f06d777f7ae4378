//! Connections that move from one cache to another one, with a loop of its own.

use crate::alone;
use crate::common::host::Host;
use crate::common::loopback::pair;
use crate::common::scripted::{Scripted, Shared};
use crate::common::{ME, PLAIN, SECOND, limits};
use conncache::mio::net::TcpStream;
use conncache::{Cause, ConnId, ConnState, Connection, Evicted, Handled, Limits, Owner, Reason};
use std::io::{Read, Write};

const NEXT: Owner = Owner(2);

fn hosts<C: Connection>(limits: Limits) -> [Host<C>; 2] {
    let one = Host::new(limits.clone());
    let other = Host { now: one.now, ..Host::new(limits) };
    [one, other]
}

fn adopt<C: Connection>(host: &mut Host<C>, evicted: Evicted<C>) -> ConnId {
    host.cache.adopt(host.now, evicted, NEXT).unwrap_or_else(|error| panic!("{error}"))
}

/// One that has been in a cache already.
fn removed(host: &mut Host<Scripted>) -> (Evicted<Scripted>, Shared) {
    let (conn, wire) = Scripted::new(1);
    let id = host.keep(conn);
    (host.cache.remove(id).unwrap(), wire)
}

#[test]
fn a_move_is_one_registration_ended_and_one_made() {
    let _alone = alone();
    let [mut one, mut other] = hosts(Limits::default());
    let (conn, wire) = Scripted::new(1);
    let id = one.insert(conn);
    assert_eq!(wire.borrow().calls, [1, 0, 0]);
    let moving = one.cache.remove(id).unwrap();
    let id = adopt(&mut other, moving);
    assert_eq!(wire.borrow().calls, [2, 0, 1]);
    assert_eq!(wire.borrow().registered.unwrap().0, other.cache.token(id).unwrap());
    assert_eq!(other.cache.find_my_connections(NEXT).collect::<Vec<_>>(), [id]);
    assert_eq!((one.cache.counts().active, one.cache.stats().left(Reason::Removed)), (0, 1));
    assert_eq!((other.cache.counts().active, other.cache.stats().inserted), (1, 1));
}

#[test]
fn age_and_uses_move_along_and_the_lifetime_ends_when_it_would_have_ended() {
    let _alone = alone();
    let [mut one, mut other] = hosts(limits(|limits| limits.max_lifetime = Some(60 * SECOND)));
    other.cache.set_limits(limits(|limits| limits.max_lifetime = Some(1_000 * SECOND))).unwrap();
    let (opened, (conn, wire)) = (one.now, Scripted::new(1));
    one.keep(conn);
    let id = one.checkout().unwrap();
    let moving = one.cache.remove(id).unwrap();
    let asked = wire.borrow().asked;
    other.now += 59 * SECOND;
    let id = adopt(&mut other, moving);
    let entry = other.cache.iter().next().unwrap();
    assert_eq!((entry.id, entry.uses, entry.opened), (id, 2, opened));
    assert_eq!(other.checkin(id), None);
    assert_eq!(wire.borrow().asked, asked, "it is known to be connected");
    assert_eq!(other.expire(), None);
    other.now += SECOND;
    assert_eq!(other.expire(), Some((id, Reason::MaxLifetime)));
}

#[test]
fn uses_count_on_towards_the_limit() {
    let _alone = alone();
    let [mut one, mut other] = hosts(limits(|limits| limits.max_uses = Some(2)));
    let (moving, _wire) = removed(&mut one);
    let id = adopt(&mut other, moving);
    assert_eq!(other.checkin(id), None);
    let id = other.checkout().unwrap();
    assert_eq!(other.checkin(id), Some((id, Reason::MaxUses)));
}

#[test]
fn the_new_loop_alone_is_told_of_what_happens() {
    let _alone = alone();
    let [mut one, other] = hosts::<TcpStream>(Limits::default());
    let (near, mut far) = pair();
    let id = one.insert(near);
    one.turns(|told| !told.is_empty());
    let moving = one.cache.remove(id).unwrap();
    let loop_of_its_own = std::thread::spawn(move || {
        let mut other = other;
        let id = adopt(&mut other, moving);
        far.write_all(b"!").unwrap();
        let mut byte = [0];
        while other.cache[id].read(&mut byte).is_err() {
            other.turns(|told| matches!(told.last(), Some(Handled::Active { owner: NEXT, .. })));
        }
        assert_eq!((byte, other.checkin(id)), (*b"!", None));
        drop(far);
        let told = other.turns(|told| matches!(told.last(), Some(Handled::Evicted(_))));
        assert!(matches!(told.last(), Some(Handled::Evicted(evicted)) if evicted.reason == Reason::HungUp));
    });
    loop_of_its_own.join().unwrap();
    let mut events = conncache::mio::Events::with_capacity(8);
    one.poll.poll(&mut events, Some(std::time::Duration::ZERO)).unwrap();
    assert!(events.is_empty(), "{events:?}");
}

#[test]
fn what_would_not_have_been_kept_is_not_kept_after_the_move() {
    let _alone = alone();
    let [mut one, mut other] = hosts(Limits::default());
    // The peer is closed while the connection is between the caches.
    let (moving, _wire) = removed(&mut one);
    one.cache.close_peer(&one.peer);
    let id = adopt(&mut other, moving);
    assert_eq!(other.checkin(id), Some((id, Reason::ClosedPeer)));
    // The peer has hung up, and the old loop was told.
    let (conn, _wire) = Scripted::new(2);
    let id = one.insert(conn);
    let token = one.cache.token(id).unwrap();
    assert!(matches!(one.cache.handle_readiness(token, true), Handled::Active { owner: ME, .. }));
    let moving = one.cache.remove(id).unwrap();
    let id = adopt(&mut other, moving);
    assert_eq!(other.checkin(id), Some((id, Reason::HungUp)));
}

#[test]
fn what_can_not_come_in_comes_back_as_it_was() {
    let _alone = alone();
    let [mut one, mut other] = hosts(limits(|limits| limits.max_connections = Some(1)));
    let (conn, wire) = Scripted::new(1);
    let id = one.keep(conn);
    let peer = one.peer.clone();
    let with_data = ConnState::inactive(PLAIN).private(7);
    drop(one.cache.set_connection_state(one.now, id, &peer, with_data).unwrap());
    let (opened, id) = (one.now, one.cache.find_inactive_connection(one.now, &peer, PLAIN).unwrap().0);
    let moving = one.cache.remove(id).unwrap();

    wire.borrow_mut().fail_register = true;
    let error = other.cache.adopt(other.now + SECOND, moving, NEXT).unwrap_err();
    assert!(matches!(error.cause, Cause::Registry(_)));
    let moving = error.into_evicted();
    wire.borrow_mut().fail_register = false;

    let (conn, _wire) = Scripted::new(2);
    let full = other.insert(conn);
    let error = other.cache.adopt(other.now + SECOND, moving, NEXT).unwrap_err();
    assert!(matches!(error.cause, Cause::AtLimit { limit: "max_connections", most: 1 }));
    let moving = error.into_evicted();
    assert!(wire.borrow().registered.is_none());
    assert_eq!((moving.id, moving.history.opened(), moving.history.uses()), (id, opened, 1));
    assert!(moving.private.as_ref().is_some_and(|data| data.is::<i32>()));

    drop(other.cache.close_connection(full).unwrap());
    adopt(&mut other, moving);
    assert_eq!(other.cache.stats().inserted, 2);
}

#[test]
fn one_that_is_still_connecting_counts_as_such() {
    let _alone = alone();
    let [mut one, mut other] = hosts(limits(|limits| limits.max_connecting_per_peer = Some(1)));
    let (conn, wire) = Scripted::new(1);
    wire.borrow_mut().connected = false;
    let id = one.insert(conn);
    let moving = one.cache.remove(id).unwrap();
    let id = adopt(&mut other, moving);
    let refused = other.cache.insert(other.now, Scripted::new(2).0, &other.peer, PLAIN, ME).unwrap_err();
    assert!(matches!(refused.cause, Cause::AtLimit { limit: "max_connecting_per_peer", .. }));
    let (moving, _wire) = removed(&mut one);
    adopt(&mut other, moving);
    other.cache.established(id).unwrap();
    other.insert(Scripted::new(3).0);
}
