//! G3: nobody but its present owner can release, close or move a connection.

use crate::common::host::Host;
use crate::common::light::Light;
use crate::common::scripted::{Far, Scripted};
use crate::common::{ME, PLAIN, TLS, limits};
use conncache::mio::{Interest, Token};
use conncache::{
    ConnId, ConnState, Connection, Granted, Handled, Limits, NotFound, Owner, Peer, Requested, StateError,
};

const A: Owner = Owner(10);
const B: Owner = Owner(11);
const C: Owner = Owner(12);

/// Every call that takes an id, with one that is no use any more: each is `NotFound`, and nothing has changed.
#[track_caller]
fn is_over<T: Connection>(host: &mut Host<T>, id: ConnId) {
    let picture = |host: &Host<T>| {
        let entries: Vec<_> = host.cache.iter().map(|entry| format!("{entry:?}")).collect();
        (entries, host.cache.stats(), host.cache.next_deadline())
    };
    let (before, now, peer) = (picture(host), host.now, host.peer.clone());
    let cache = &mut host.cache;
    assert!(cache.get(id).is_none() && cache.get_mut(id).is_none() && cache.token(id).is_none());
    assert!(cache.peer(id).is_none() && cache.channel(id).is_none());
    assert_eq!(cache.get_connection_state(id).map(drop), Err(NotFound));
    assert_eq!(cache.checkin(now, id).map(drop), Err(StateError::NotFound));
    assert_eq!(cache.checkin_until(now, id, now).map(drop), Err(StateError::NotFound));
    let states: [fn() -> ConnState; 4] = [
        || ConnState::Active(A),
        || ConnState::Active(B),
        || ConnState::inactive(PLAIN),
        || ConnState::inactive(TLS).private("data"),
    ];
    for state in states {
        for peer in [&peer, &Peer::direct("elsewhere", 1)] {
            let error = cache.set_connection_state(now, id, peer, state()).unwrap_err();
            assert_eq!(error.cause, StateError::NotFound);
        }
    }
    assert_eq!(cache.close_connection(id).map(drop), Err(NotFound));
    assert_eq!(cache.close_because(id, "words").map(drop), Err(NotFound));
    assert_eq!(cache.remove(id).map(drop), Err(NotFound));
    assert_eq!(cache.reopen(now, id, None).map(drop), Err(StateError::NotFound));
    assert_eq!(cache.established(id), Err(NotFound));
    assert_eq!(cache.set_deadline(id, Some(now)), Err(StateError::NotFound));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| cache[id].is_connected()));
    assert!(panicked.is_err(), "indexing panics");
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(cache[id].probe())));
    assert!(panicked.is_err(), "mutable indexing, too");
    assert_eq!(picture(host), before);
}

fn lease<T: Connection>(host: &mut Host<T>, owner: Owner) -> ConnId {
    host.cache.checkout(host.now, &host.peer, PLAIN, owner).expect("one is inactive").id
}

#[test]
fn a_former_owner_cannot_touch_the_connection_of_the_next() {
    let mut host = Host::new(Limits::default());
    let first = host.cache.insert(host.now, Light, &host.peer, PLAIN, A).unwrap();
    assert_eq!(host.checkin(first), None);
    let second = lease(&mut host, B);
    assert!(second.same_connection(first) && second != first);
    is_over(&mut host, first);
    assert!(host.cache.find_my_connections(B).eq([second]));
    // Nobody else gets it meanwhile.
    assert!(host.cache.checkout(host.now, &host.peer, PLAIN, C).is_none());
    assert_eq!(host.checkin(second), None);
    let third = lease(&mut host, C);
    for former in [first, second] {
        is_over(&mut host, former);
    }
    assert_eq!(host.checkin(third), None);
}

#[test]
fn every_way_of_handing_out_ends_the_lease_before() {
    for way in 0..5 {
        let mut host = Host::new(Limits::default());
        let (conn, _wire) = Scripted::new(0);
        let before = host.keep(conn);
        let (now, peer) = (host.now, host.peer.clone());
        match way {
            0 => drop(host.cache.checkout(now, &peer, PLAIN, ME).unwrap()),
            1 => {
                let changed = host.cache.set_connection_state(now, before, &peer, ConnState::Active(ME)).unwrap();
                assert!(changed.id.same_connection(before) && changed.id != before);
                assert!(host.cache.get(changed.id).is_some());
            }
            2 => drop(host.cache.request(now, &peer, PLAIN, ME, None).unwrap()),
            3 => {
                let lease = lease(&mut host, A);
                host.cache.set_limits(limits(|l| l.max_connections = Some(1))).unwrap();
                assert!(matches!(host.cache.request(now, &peer, PLAIN, B, None), Ok(Requested::Wait(_))));
                assert_eq!(host.checkin(lease), None);
                assert!(matches!(host.cache.grant(now).unwrap().granted, Granted::Reuse(_)));
                is_over(&mut host, lease);
            }
            _ => drop(host.cache.take(now, &peer, PLAIN, Token(1), Interest::READABLE).unwrap().unwrap()),
        }
        is_over(&mut host, before);
    }
}

#[test]
fn the_last_lease_finds_a_connection_as_long_as_it_is_inactive() {
    let mut host = Host::new(Limits::default());
    let id = host.keep(Light);
    let (now, peer) = (host.now, host.peer.clone());
    assert_eq!(host.cache.find_inactive_connection(now, &peer, PLAIN).map(|(found, _)| found), Ok(id));
    assert!(host.cache.get(id).is_some() && host.cache.get_connection_state(id).unwrap().is_inactive());
    // Moving it hands it out to nobody.
    let moved = host.cache.set_connection_state(now, id, &peer, ConnState::inactive(TLS)).unwrap();
    assert_eq!((moved.id, host.cache.channel(id)), (id, Some(TLS)));
    assert_eq!(host.cache.iter().next().map(|entry| entry.id), Some(id));
    assert_eq!(host.cache.close_connection(id).map(|evicted| evicted.id), Ok(id));
    is_over(&mut host, id);
}

#[test]
fn an_active_connection_keeps_its_lease_while_its_owner_records_another_peer() {
    let mut host = Host::new(Limits::default());
    let id = host.insert(Light);
    let elsewhere = Peer::direct("elsewhere", 1);
    let changed = host.cache.set_connection_state(host.now, id, &elsewhere, ConnState::Active(ME)).unwrap();
    assert_eq!((changed.id, host.cache.peer(id)), (id, Some(&elsewhere)));
    let token = host.cache.token(id).unwrap();
    assert!(matches!(host.cache.handle_readiness(token, false), Handled::Active { id: told, owner: ME } if told == id));
}

#[test]
fn a_hand_out_that_fails_ends_no_lease() {
    let mut host = Host::new(Limits::default());
    let (conn, wire) = Scripted::new(0);
    let id = host.keep(conn);
    wire.borrow_mut().far = Far::Closed;
    let changed = host.cache.set_connection_state(host.now, id, &host.peer, ConnState::Active(ME)).unwrap();
    assert_eq!((changed.id, changed.evicted.map(|evicted| evicted.id)), (id, Some(id)));
}

#[test]
fn a_log_shows_the_connection_and_the_use() {
    let mut host = Host::new(Limits::default());
    let first = host.keep(Light);
    let second = lease(&mut host, B);
    let (first, second) = (first.to_string(), second.to_string());
    let (connection, again) = (first.strip_suffix("#1").unwrap(), second.strip_suffix("#2").unwrap());
    assert_eq!((connection, connection.parse::<u64>().is_ok()), (again, true));
}
