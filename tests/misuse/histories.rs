//! What a connection has used up goes with it, out of a cache and into one.

use crate::common::host::Host;
use crate::common::light::Light;
use crate::common::scripted::{Scripted, Shared};
use crate::common::{ME, PLAIN, SECOND, Same, TLS, limits};
use crate::{INSTANT, host};
use conncache::mio::{Interest, Token};
use conncache::{
    Cause, ConnId, ConnState, Evicted, Handled, History, Limits, ParkError, ParkOptions, Peer, Reason, Taken,
};

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

fn take<C: conncache::Connection>(host: &mut Host<C>) -> Taken<C> {
    host.cache.take(host.now, &host.peer, PLAIN, Token(9), BOTH).unwrap().expect("one is inactive")
}

fn taken_with(taken: Taken<Light>) -> ParkOptions {
    ParkOptions::default().history(taken.history)
}

#[track_caller]
fn refused<C>(parked: Result<conncache::Parked<C>, ParkError<C>>) -> Reason {
    match parked.map(|parked| parked.id).map_err(|error| error.cause) {
        Err(Cause::Refused(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn uses_and_age_count_on_however_often_a_connection_is_taken_and_parked() {
    let mut host = host(|l| (l.max_uses, l.max_lifetime) = (Some(5), Some(100 * SECOND)));
    let start = host.now;
    host.keep(Light);
    for uses in 2..5 {
        host.now += SECOND;
        let taken = take(&mut host);
        assert_eq!((taken.history.uses(), taken.history.opened()), (uses, start));
        assert!(host.cache.park(host.now, Light, &host.peer, PLAIN, taken_with(taken)).unwrap().evicted.is_none());
        assert_eq!(host.cache.next_deadline(), Some(start + 100 * SECOND));
    }
    let taken = take(&mut host);
    assert_eq!(taken.history.uses(), 5);
    assert_eq!(refused(host.cache.park(host.now, Light, &host.peer, PLAIN, taken_with(taken))), Reason::MaxUses);
}

#[test]
fn a_lifetime_counts_from_when_the_host_opened_the_connection() {
    let mut host = host(|l| l.max_lifetime = Some(10 * SECOND));
    // Opened before the cache was told any time.
    let opened = host.now - 7 * SECOND;
    let options = ParkOptions::default().history(History::opened_at(opened));
    let id = host.cache.park(host.now, Light, &host.peer, PLAIN, options).unwrap().id;
    assert_eq!(host.cache.iter().next().map(|entry| (entry.opened, entry.uses)), Some((opened, 1)));
    assert_eq!(host.cache.next_deadline(), Some(opened + 10 * SECOND));
    host.now = opened + 10 * SECOND - INSTANT;
    assert_eq!(host.expire(), None);
    host.now += INSTANT;
    assert_eq!(host.expire(), Some((id, Reason::MaxLifetime)));
    let options = ParkOptions::default().history(History::opened_at(opened));
    assert_eq!(refused(host.cache.park(host.now, Light, &host.peer, PLAIN, options)), Reason::MaxLifetime);
    // Without a history, it counts as opened now.
    assert!(host.cache.park(host.now, Light, &host.peer, PLAIN, ParkOptions::default()).is_ok());
    assert_eq!(host.cache.next_deadline(), Some(host.now + 10 * SECOND));
}

#[test]
fn the_lifetime_of_each_cache_that_a_connection_comes_to_counts() {
    let lifetime = |seconds: Option<u32>| host(|l| l.max_lifetime = seconds.map(|seconds| seconds * SECOND));
    for (old, new, expected) in
        [(None, Some(10), 10), (Some(60), Some(10), 10), (Some(10), Some(60), 10), (Some(10), None, 10)]
    {
        let (mut old, mut new) = (lifetime(old), lifetime(new));
        let start = old.now;
        old.keep(Light);
        old.now += SECOND;
        let taken = take(&mut old);
        assert!(new.cache.park(old.now, Light, &new.peer, PLAIN, taken_with(taken)).is_ok());
        assert_eq!(new.cache.next_deadline(), Some(start + expected * SECOND));
    }
}

#[test]
fn a_connection_said_to_be_opened_in_the_future_is_opened_now() {
    let mut host = host(|l| l.max_lifetime = Some(SECOND));
    let options = ParkOptions::default().history(History::opened_at(host.now + 100 * SECOND));
    assert!(host.cache.park(host.now, Light, &host.peer, PLAIN, options).is_ok());
    assert_eq!(host.cache.next_deadline(), Some(host.now + SECOND));
}

#[test]
fn what_was_taken_when_its_peer_was_closed_is_not_taken_back() {
    let elsewhere = Peer::direct("elsewhere", 1);
    for (closed, back_to, expected) in [
        (true, true, Some(Reason::ClosedPeer)),
        // It leads elsewhere now.
        (true, false, None),
        (false, true, None),
    ] {
        let mut host = host(|_| ());
        host.keep(Light);
        let taken = take(&mut host);
        let (now, peer) = (host.now, host.peer.clone());
        host.cache.close_peer(if closed { &peer } else { &elsewhere });
        let to = if back_to { &peer } else { &Peer::direct("third", 1) };
        let parked = host.cache.park(now, Light, to, PLAIN, taken_with(taken));
        match expected {
            Some(reason) => assert_eq!(refused(parked), reason),
            None => assert!(parked.is_ok()),
        }
        // What comes from now on is not concerned.
        let options = ParkOptions::default().history(History::opened_at(now));
        assert!(host.cache.park(now, Light, &peer, PLAIN, options).is_ok());
    }
}

#[test]
fn what_was_taken_when_its_channel_was_closed_is_not_taken_back() {
    for (closed, expected) in [(PLAIN, Some(Reason::ClosedChannel)), (TLS, None)] {
        let mut host = host(|_| ());
        host.keep(Light);
        let taken = take(&mut host);
        host.cache.close_channel(closed);
        let parked = host.cache.park(host.now, Light, &host.peer, PLAIN, taken_with(taken));
        match expected {
            Some(reason) => assert_eq!(refused(parked), reason),
            None => assert!(parked.is_ok()),
        }
    }
}

#[test]
fn a_closing_holds_in_another_cache_if_it_was_made_where_the_connection_comes_from_or_goes_to() {
    for by in 0..3 {
        let mut hosts = [(); 3].map(|()| host(|_| ()));
        hosts[0].keep(Light);
        let taken = take(&mut hosts[0]);
        let peer = hosts[0].peer.clone();
        hosts[by].cache.close_peer(&peer);
        let [_, to, _] = &mut hosts;
        let parked = to.cache.park(to.now, Light, &peer, PLAIN, taken_with(taken));
        match by {
            2 => assert!(parked.is_ok(), "a third cache's closings are its own"),
            _ => assert_eq!(refused(parked), Reason::ClosedPeer, "closed by cache {by}"),
        }
    }
}

#[test]
fn what_leaves_after_its_peer_or_channel_was_closed_is_not_taken_back() {
    type Close = fn(&mut Host<Light>);
    let closings: [(Close, Reason); 2] = [
        (|host| host.cache.close_peer(&host.peer), Reason::ClosedPeer),
        (|host| host.cache.close_channel(PLAIN), Reason::ClosedChannel),
    ];
    type Leave = fn(&mut Host<Light>, ConnId) -> Evicted<Light>;
    let ways: [Leave; 4] = [
        |host, id| host.cache.remove(id).unwrap(),
        |host, id| host.cache.checkin(host.now, id).unwrap().unwrap(),
        |host, id| {
            // Wherever it is moved.
            let moved = host.cache.set_connection_state(host.now, id, &Peer::direct("new", 1), ConnState::Active(ME));
            host.cache.close_connection(moved.unwrap().id).unwrap()
        },
        |host, id| {
            drop(host.cache.close_connection(id));
            // One that was inactive, and is condemned by now.
            host.cache.set_limits(Limits::default()).unwrap();
            host.cache.expire(host.now).unwrap()
        },
    ];
    for (close, reason) in closings {
        for leave in ways {
            let mut host = host(|_| ());
            let id = host.insert(Light);
            host.keep(Light);
            close(&mut host);
            let evicted = leave(&mut host, id);
            let (to, options) = (host.peer.clone(), ParkOptions::default().history(evicted.history));
            assert_eq!(refused(host.cache.park(host.now, evicted.conn, &to, PLAIN, options)), reason);
        }
    }
}

#[test]
fn what_leaves_after_its_peer_was_closed_is_not_kept_where_it_is_adopted() {
    let (mut old, mut new) = (host(|_| ()), host(|_| ()));
    let id = old.insert(Light);
    old.cache.close_peer(&old.peer);
    let evicted = old.cache.remove(id).unwrap();
    let id = new.cache.adopt(new.now, evicted, ME).unwrap();
    assert_eq!(new.checkin(id), Some((id, Reason::ClosedPeer)));
}

/// One cache's limits are nothing to another cache.
#[test]
fn what_a_lowered_limit_has_condemned_is_kept_where_it_is_adopted() {
    let (mut old, mut new) = (host(|_| ()), host(|_| ()));
    let id = old.keep(Light);
    old.cache.set_limits(limits(|l| l.max_inactive = Some(0))).unwrap();
    assert_eq!(old.cache.counts().condemned, 1);
    let evicted = old.cache.remove(id).unwrap();
    let id = new.cache.adopt(new.now, evicted, ME).unwrap();
    assert_eq!(new.checkin(id), None);
}

/// It leaves its cache.
fn reported_closed_while_active(host: &mut Host<Light>) -> Evicted<Light> {
    let id = host.insert(Light);
    let token = host.cache.token(id).unwrap();
    assert!(matches!(host.cache.handle_readiness(token, true), Handled::Active { .. }));
    host.cache.remove(id).unwrap()
}

#[test]
fn what_was_reported_closed_while_active_is_not_kept_where_it_is_adopted() {
    let (mut old, mut new) = (host(|_| ()), host(|_| ()));
    let evicted = reported_closed_while_active(&mut old);
    let id = new.cache.adopt(new.now, evicted, ME).unwrap();
    assert_eq!(new.checkin(id), Some((id, Reason::HungUp)));
}

#[test]
fn what_was_reported_closed_while_active_is_not_parked() {
    let mut host = host(|_| ());
    let evicted = reported_closed_while_active(&mut host);
    let (to, options) = (host.peer.clone(), ParkOptions::default().history(evicted.history));
    assert_eq!(refused(host.cache.park(host.now, evicted.conn, &to, PLAIN, options)), Reason::HungUp);
}

#[test]
fn what_the_host_opened_before_a_closing_is_refused_too() {
    let mut host = host(|_| ());
    let before = History::opened_at(host.now);
    host.cache.close_peer(&host.peer);
    let parked = host.cache.park(host.now, Light, &host.peer, PLAIN, ParkOptions::default().history(before));
    assert_eq!(refused(parked), Reason::ClosedPeer);
}

#[test]
fn a_refused_connection_comes_back_with_all_it_was_given() {
    let mut host = host(|l| l.max_uses = Some(2));
    host.keep(Light);
    let taken = take(&mut host);
    let (opened, until) = (taken.history.opened(), host.now + SECOND);
    let options = taken_with(taken).private_data(Some(Box::new("data"))).until(until);
    let error = host.cache.park(host.now, Light, &host.peer, PLAIN, options).unwrap_err();
    let (Light, options) = error.into_parts();
    assert_eq!(options.until, Some(until));
    assert_eq!(options.private.unwrap().downcast_ref(), Some(&"data"));
    let history = options.history.expect("it comes back");
    assert_eq!((history.uses(), history.opened()), (2, opened));
    let mut generous = Host::<Light>::new(limits(|l| l.max_uses = Some(3)));
    let options = ParkOptions::default().history(history);
    assert!(generous.cache.park(host.now, Light, &generous.peer, PLAIN, options).is_ok());
}

#[test]
fn what_is_known_to_be_connected_is_not_asked_again() {
    let (mut host, asked) = (Host::<Scripted>::new(limits(|_| ())), |wire: &Shared| wire.borrow().asked);
    let (conn, wire) = Scripted::new(0);
    host.keep(conn);
    assert_eq!(asked(&wire), 1);
    let [_, before, _] = wire.borrow().calls;
    for _ in 0..10 {
        let taken = take(&mut host);
        let options = ParkOptions::default().history(taken.history);
        assert!(host.cache.park(host.now, taken.conn, &host.peer, PLAIN, options).unwrap().evicted.is_none());
    }
    // Each is one registration.
    assert_eq!((asked(&wire), wire.borrow().calls), (1, [1, before + 20, 0]));
    let taken = take(&mut host);
    let options = ParkOptions::default();
    assert!(host.cache.park(host.now, taken.conn, &host.peer, PLAIN, options).is_ok());
    assert_eq!(asked(&wire), 2, "without a history, it is");
}

#[test]
fn an_evicted_connection_has_its_history_and_says_since_when_it_was_inactive() {
    let mut host = host(|_| ());
    let (start, id) = (host.now, host.insert(Light));
    host.now += SECOND;
    assert_eq!(host.checkin(id), None);
    let again = host.checkout().unwrap();
    assert_eq!((Same(again), host.checkin(again)), (Same(id), None));
    let evicted = host.cache.shed().unwrap();
    assert_eq!((evicted.history.uses(), evicted.history.opened()), (2, start));
    assert_eq!(evicted.inactive_since, Some(host.now));
    let id = host.cache.insert(host.now, Light, &host.peer, PLAIN, ME).unwrap();
    assert_eq!(host.cache.remove(id).unwrap().inactive_since, None);
}

#[test]
fn one_that_is_not_kept_when_it_is_moved_tells_since_when_it_was_inactive() {
    let mut host = Host::new(Limits::default());
    let id = host.keep(Light);
    let since = host.now;
    host.now += SECOND;
    let over = ConnState::inactive(TLS).until(host.now);
    let change = host.cache.set_connection_state(host.now, id, &host.peer, over).unwrap();
    let evicted = change.evicted.expect("its time is over");
    assert_eq!((evicted.id, evicted.reason, evicted.inactive_since), (id, Reason::Deadline, Some(since)));
}
