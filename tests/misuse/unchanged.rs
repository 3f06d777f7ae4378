//! An error changes nothing: the clock and the jitter of lifetimes included.
//!
//! Two caches of one seed live the same life. In one of them all calls that can fail do so, between any two steps and
//! with times from the future. In the end nobody can tell which one that was.

use crate::common::host::Host;
use crate::common::scripted::{Scripted, Shared};
use crate::common::{ME, PLAIN, SECOND, Same, TLS, limits};
use conncache::mio::{Interest, Poll, Token};
use conncache::{
    AggressiveCache, Cause, ConnId, ConnState, Granted, History, Limits, NotFound, Owner, ParkOptions, Peer, Reason,
    RequestError, Requested, StateError,
};
use std::time::Instant;

const OTHER: Owner = Owner(99);
/// Where nothing leads.
const NOWHERE: u16 = 7;

fn twin(seed: u64, start: Instant, limits: Limits) -> Host<Scripted> {
    let poll = Poll::new().unwrap();
    let cache = AggressiveCache::builder().limits(limits).jitter_seed(seed).build(poll.registry()).unwrap();
    Host { poll, cache, peer: Peer::direct("host", 80), now: start }
}

fn jittered() -> Limits {
    limits(|l| (l.max_lifetime, l.lifetime_jitter, l.max_waiting) = (Some(1_000 * SECOND), 999 * SECOND, Some(0)))
}

fn registered() -> (Scripted, Shared) {
    let (conn, wire) = Scripted::new(0);
    wire.borrow_mut().registered = Some((Token(3), Interest::READABLE));
    (conn, wire)
}

/// All that a host can see without changing anything, ids apart: they differ from cache to cache.
fn picture(host: &Host<Scripted>) -> String {
    let entries: Vec<_> = host
        .cache
        .iter()
        .map(|entry| (entry.conn.number(), entry.peer.clone(), entry.channel, entry.uses, entry.opened))
        .collect();
    let since: Vec<_> = host.cache.iter().map(|entry| (entry.inactive_since, format!("{:?}", entry.state))).collect();
    let peers: Vec<_> = host.cache.peers().collect();
    let (stats, deadline) = (host.cache.stats(), host.cache.next_deadline());
    format!("{entries:?} {since:?} {peers:?} {stats:?} {deadline:?} {:?}", host.cache.limits())
}

/// Every call that can fail, made to fail.
fn fail(host: &mut Host<Scripted>, active: ConnId, inactive: ConnId, foreign: ConnId) {
    let (late, peer, nowhere) = (host.now + 3_600 * SECOND, host.peer.clone(), Peer::direct("nowhere", NOWHERE));
    let before = picture(host);
    let cache = &mut host.cache;
    let (conn, wire) = Scripted::new(0);
    wire.borrow_mut().fail_register = true;
    let error = cache.insert(late, conn, &nowhere, TLS, OTHER).unwrap_err();
    assert!(matches!(error.cause, Cause::Registry(_)));
    // It would be refused, and it can't be registered.
    let ended = || ParkOptions::default().until(late);
    let old = || ParkOptions::default().history(History::opened_at(late - 2_000 * SECOND));
    for (options, reason) in [(ended(), Reason::Deadline), (old(), Reason::MaxLifetime)] {
        let error = cache.park(late, registered().0, &nowhere, TLS, options).unwrap_err();
        assert!(matches!(error.cause, Cause::Refused(why) if why == reason), "{error}");
    }
    let (conn, wire) = registered();
    wire.borrow_mut().connected = false;
    let error = cache.park(late, conn, &nowhere, TLS, ParkOptions::default()).unwrap_err();
    assert!(matches!(error.cause, Cause::Refused(Reason::NotConnected)));
    let error = cache.park(late, Scripted::new(0).0, &nowhere, TLS, ParkOptions::default()).unwrap_err();
    assert!(matches!(error.cause, Cause::Registry(_)));
    let own = cache.token(active).unwrap();
    let error = cache.take(late, &peer, PLAIN, own, Interest::READABLE).unwrap_err();
    assert!(matches!(error.cause, Cause::TokenOfCache(token) if token == own));

    assert_eq!(cache.checkin(late, inactive).map(drop), Err(StateError::AlreadyInactive));
    assert_eq!(cache.checkin_until(late, inactive, late).map(drop), Err(StateError::AlreadyInactive));
    assert_eq!(cache.checkin(late, foreign).map(drop), Err(StateError::NotFound));
    let mut set = |id, peer: &Peer, state| cache.set_connection_state(late, id, peer, state).unwrap_err().cause;
    assert_eq!(set(foreign, &nowhere, ConnState::inactive(TLS)), StateError::NotFound);
    assert_eq!(set(active, &nowhere, ConnState::Active(OTHER)), StateError::OwnedBy(ME));
    assert_eq!(set(inactive, &nowhere, ConnState::Active(OTHER)), StateError::OtherPeer);
    assert_eq!(cache.find_inactive_connection(late, &nowhere, PLAIN).map(drop), Err(NotFound));
    assert_eq!(cache.find_inactive_connection(late, &peer, TLS).map(drop), Err(NotFound));
    assert_eq!(cache.close_connection(foreign).map(drop), Err(NotFound));
    assert_eq!(cache.remove(foreign).map(drop), Err(NotFound));
    assert_eq!(cache.established(foreign), Err(NotFound));
    for (id, error) in [(foreign, StateError::NotFound), (inactive, StateError::AlreadyInactive)] {
        assert_eq!(cache.set_deadline(id, Some(late)), Err(error));
        assert_eq!(cache.reopen(late, id, None).map(drop), Err(error));
    }
    assert_eq!(cache.request(late, &nowhere, TLS, OTHER, Some(late)).map(drop), Err(RequestError::TimedOut));

    // No more than there are, and no place in the line.
    let (full, whole) = (cache.counts().active + cache.counts().inactive, cache.limits().clone());
    let mut narrow = whole.clone();
    narrow.max_connections = Some(full);
    cache.set_limits(narrow).unwrap();
    let error = cache.insert(late, Scripted::new(0).0, &nowhere, TLS, OTHER).unwrap_err();
    assert!(matches!(error.cause, Cause::AtLimit { limit: "max_connections", most } if most == full));
    cache.set_limits(whole).unwrap();
    let wrong = limits(|l| l.lifetime_jitter = SECOND);
    assert_eq!(cache.set_limits(wrong).unwrap_err().field(), "lifetime_jitter");
    assert_eq!(picture(host), before);
}

#[test]
fn nobody_can_tell_whether_calls_have_failed() {
    let mut other = Host::new(Limits::default());
    let foreign = other.insert(Scripted::new(0).0);
    for seed in 0..5 {
        let start = Instant::now();
        let mut twins = [0, 1].map(|_| twin(seed, start, jittered()));
        let mut ids: [Vec<ConnId>; 2] = Default::default();
        for step in 0..20 {
            for (which, (host, ids)) in twins.iter_mut().zip(&mut ids).enumerate() {
                host.now = start + step * SECOND;
                match step % 4 {
                    0 => {
                        let id = host.insert(Scripted::new(step as usize).0);
                        ids.push(id);
                    }
                    1 => {
                        let conn = Scripted::new(step as usize).0;
                        ids.push(host.keep(conn));
                    }
                    2 => {
                        let parked =
                            host.cache.park(host.now, registered().0, &host.peer, PLAIN, ParkOptions::default());
                        assert!(parked.unwrap().evicted.is_none());
                    }
                    _ => {
                        let active = ids.remove(0);
                        assert_eq!(host.checkin(active), None);
                        let again = host.checkout().unwrap();
                        assert_eq!(Same(again), Same(active));
                        ids.insert(0, again);
                    }
                }
                if which == 1 && step > 0 {
                    fail(host, ids[0], ids[1], foreign);
                }
            }
            let [one, failed] = &twins;
            assert_eq!(picture(one), picture(failed), "seed {seed}, step {step}");
        }
        // Not only what can be seen was the same: the lifetimes end in the same moments.
        for host in &mut twins {
            let active: Vec<ConnId> = host.cache.find_my_connections(ME).collect();
            active.into_iter().for_each(|id| assert_eq!(host.checkin(id), None));
        }
        let [ends, others] = twins.map(|mut host| {
            let due = |host: &mut Host<Scripted>| {
                let due = host.cache.next_deadline()?;
                Some((due, host.cache.expire(due).map(|evicted| evicted.reason)))
            };
            Vec::from_iter(std::iter::from_fn(|| due(&mut host)))
        });
        assert_eq!(ends, others, "seed {seed}");
        assert_eq!(ends.iter().filter(|(_, reason)| reason.is_some()).count(), 15, "{ends:?}");
    }
}

#[test]
fn a_cache_without_tokens_left_refuses_and_changes_nothing() {
    let (poll, peer, start) = (Poll::new().unwrap(), Peer::direct("host", 80), Instant::now());
    let builder = AggressiveCache::builder().limits(jittered()).tokens(40..48).jitter_seed(1);
    let mut host = Host { cache: builder.build(poll.registry()).unwrap(), poll, peer, now: start };
    for number in 0..4 {
        host.keep(Scripted::new(number).0);
    }
    let (before, late) = (picture(&host), start + 3_600 * SECOND);
    let error = host.cache.insert(late, Scripted::new(4).0, &host.peer, PLAIN, ME).unwrap_err();
    assert!(matches!(error.cause, Cause::TokensExhausted { slots: 4 }));
    let error = host.cache.park(late, registered().0, &host.peer, PLAIN, ParkOptions::default()).unwrap_err();
    assert!(matches!(error.cause, Cause::TokensExhausted { slots: 4 }));
    assert_eq!(picture(&host), before);
    assert!(host.checkout().is_some(), "its clock stands where it stood");
}

#[test]
fn a_request_that_is_refused_changes_nothing() {
    let narrow = limits(|l| (l.max_connections, l.max_waiting) = (Some(1), Some(0)));
    let mut host = twin(1, Instant::now(), narrow);
    let late = host.now + 3_600 * SECOND;
    let Ok(Requested::Open { place, .. }) = host.cache.request(host.now, &host.peer, PLAIN, ME, None) else {
        panic!("there is room")
    };
    let before = picture(&host);
    let error = host.cache.request(late, &host.peer, PLAIN, OTHER, None).map(drop).unwrap_err();
    assert_eq!(error, RequestError::LineFull { max_waiting: 0 });
    assert_eq!(host.cache.withdraw(place.waiter()), Err(NotFound), "it doesn't wait");
    let (conn, wire) = Scripted::new(0);
    wire.borrow_mut().fail_register = true;
    let error = host.cache.insert_at(late, place, conn).unwrap_err();
    assert!(matches!(error.cause, Cause::Registry(_)));
    assert_eq!(picture(&host), before);
    let (conn, place) = (error.conn, error.place.expect("it is still held"));
    wire.borrow_mut().fail_register = false;
    assert!(host.cache.insert_at(host.now, place, conn).is_ok());
    host.cache.drain();
    let before = picture(&host);
    let error = host.cache.request(late, &host.peer, PLAIN, OTHER, None).map(drop).unwrap_err();
    assert_eq!((error, picture(&host)), (RequestError::Draining, before));
    let opened = host.cache.iter().next().map(|entry| entry.opened);
    assert_eq!(opened, Some(host.now));
}

#[test]
fn a_place_whose_time_is_over_is_no_place_and_changes_nothing() {
    let mut host = twin(1, Instant::now(), limits(|l| l.max_connections = Some(1)));
    let Ok(Requested::Open { place, .. }) = host.cache.request(host.now, &host.peer, PLAIN, ME, None) else {
        panic!("there is room")
    };
    host.now += 30 * SECOND;
    assert!(matches!(host.cache.grant(host.now).map(|grant| grant.granted), Some(Granted::TimedOut)));
    let before = picture(&host);
    let error = host.cache.insert_at(host.now + SECOND, place, Scripted::new(0).0).unwrap_err();
    assert!(matches!(error.cause, Cause::PlaceGone) && error.place.is_none());
    assert_eq!(picture(&host), before);
}
