//! The order of the line, and that nobody overtakes or is forgotten.

use super::*;
use crate::common::scripted::{Far, Scripted};
use crate::common::{SECOND, TLS};
use conncache::mio::{Interest, Token};
use conncache::{
    Cache, Candidate, Cause, ConnState, KeepResidents, NotFound, Reason, RequestError, RestrictiveCache, StateError,
    Verdict,
};
use std::cell::RefCell;
use std::rc::Rc;

#[test]
fn a_request_reuses_else_opens_else_waits() {
    let mut host = host(|l| l.max_connections_per_peer = Some(1));
    let id = host.open(1);
    assert!(host.checkin(id));
    let found = host.reuse(1);
    assert!(found.id.same_connection(id));
    let waiter = host.wait(1);
    host.nothing_to_grant();
    assert!(host.checkin(found.id));
    let (served, id) = host.granted_reuse();
    assert_eq!(served, waiter);
    assert!(id.same_connection(found.id) && id != found.id);
    host.nothing_to_grant();
    assert_eq!(host.cache.stats().waited, 1);
}

#[test]
fn those_who_wait_for_a_peer_are_served_in_the_order_in_which_they_came() {
    let mut host = host(|l| l.max_connections_per_peer = Some(2));
    let mut ids = [host.open(1), host.open(1)];
    let waiters: Vec<WaiterId> = (0..20).map(|_| host.wait(1)).collect();
    let mut served = Vec::new();
    while served.len() < 20 {
        for id in &mut ids {
            assert!(host.checkin(*id));
        }
        for id in &mut ids {
            let (waiter, granted) = host.granted_reuse();
            served.push(waiter);
            *id = granted;
        }
        host.nothing_to_grant();
    }
    assert_eq!(served, waiters);
    assert_eq!(host.cache.counts().waiting, 0);
}

#[test]
fn nothing_is_due_for_a_line_that_is_gone() {
    let mut host = host(|l| l.max_connections_per_peer = Some(1));
    let id = host.open(1);
    let waiter = host.wait(1);
    assert!(host.checkin(id) && host.is_due());
    host.cache.withdraw(waiter).unwrap();
    assert_eq!(host.cache.next_deadline(), None);
    assert!(host.reuse(1).id.same_connection(id));
}

#[test]
fn a_connection_that_leaves_makes_room_for_a_new_one() {
    let mut host = host(|l| l.max_connections = Some(1));
    let id = host.open(1);
    let [same, other] = [host.wait(1), host.wait(2)];
    drop(host.cache.close_connection(id).unwrap());
    let (first, place) = host.granted_place();
    assert_eq!((first, place.peer()), (same, &peer(1)));
    host.nothing_to_grant();
    host.cache.give_up(place);
    let (second, place) = host.granted_place();
    assert_eq!((second, place.peer(), place.waiter()), (other, &peer(2), other));
    host.insert_at(place);
    host.nothing_to_grant();
}

#[test]
fn nobody_overtakes() {
    let mut host = host(|l| l.max_connections_per_peer = Some(1));
    let id = host.open(1);
    let waiter = host.wait(1);
    assert!(host.checkin(id));
    let (now, to) = (host.now, peer(1));
    assert!(host.cache.checkout(now, &to, PLAIN, ME).is_none());
    assert!(host.cache.take(now, &to, PLAIN, Token(1), Interest::READABLE).unwrap().is_none());
    assert_eq!(host.cache.find_inactive_connection(now, &to, PLAIN).map(|_| ()), Err(NotFound));
    let error = host.cache.set_connection_state(now, id, &to, ConnState::Active(ME)).unwrap_err();
    assert_eq!(error.cause, StateError::OthersWait);
    let late = host.wait(1);
    assert_eq!(host.granted_reuse().0, waiter);
    host.cache.withdraw(late).unwrap();
    // Where there is room again, a plain insertion comes after those who wait.
    let mut limits = host.cache.limits().clone();
    limits.max_connections_per_peer = Some(5);
    let last = host.wait(1);
    host.cache.set_limits(limits).unwrap();
    let error = host.cache.insert(now, Light, &to, PLAIN, ME).unwrap_err();
    assert!(matches!(error.cause, Cause::OthersWait), "{error}");
    assert_eq!(host.granted_place().0, last);
    assert!(host.cache.insert(now, Light, &to, PLAIN, ME).is_ok());
}

#[test]
fn a_request_ends_once_served_timed_out_withdrawn_or_refused() {
    let mut host = host(|l| l.max_connections = Some(1));
    let id = host.open(1);
    let timed = match host.request(1, Some(SECOND)) {
        Requested::Wait(waiter) => waiter,
        other => panic!("{other:?}"),
    };
    let [withdrawn, refused, served] = [host.wait(1), host.wait(2), host.wait(3)];
    host.cache.withdraw(withdrawn).unwrap();
    assert_eq!(host.cache.withdraw(withdrawn), Err(NotFound));
    host.cache.refuse(&peer(2));
    let grant = host.grant().unwrap();
    assert!(grant.waiter == refused && matches!(grant.granted, Granted::Refused) && grant.peer == peer(2));
    host.nothing_to_grant();
    assert_eq!(host.cache.next_deadline(), Some(host.now + SECOND));
    host.now += SECOND;
    // It could be served now, but its time is over.
    assert!(host.checkin(id));
    let grant = host.grant().unwrap();
    assert!(grant.waiter == timed && matches!(grant.granted, Granted::TimedOut) && grant.waited == SECOND);
    let (waiter, place) = host.granted_place();
    assert_eq!((waiter, host.cache.withdraw(served)), (served, Err(NotFound)), "it has a place");
    host.cache.give_up(place);
    host.nothing_to_grant();
    assert_eq!((host.cache.stats().timed_out, host.cache.counts().waiting), (1, 0));
}

#[test]
fn those_refused_wait_no_longer_though_they_have_not_been_told() {
    let mut host = host(|l| (l.max_connections, l.max_waiting) = (Some(1), Some(2)));
    let _id = host.open(1);
    let waiters = [host.wait(1), host.wait(1)];
    host.now += SECOND;
    host.nothing_to_grant();
    assert_eq!(host.cache.longest_wait(), SECOND);
    host.cache.refuse(&peer(1));
    let counts = (host.cache.counts().waiting, host.cache.counts_of_peer(&peer(1)).waiting);
    assert_eq!((counts, host.cache.stats().waiting, host.cache.longest_wait()), ((0, 0), 0, Duration::ZERO));
    let later = host.wait(2);
    assert_eq!([(); 2].map(|()| host.grant().unwrap().waiter), waiters);
    assert_eq!(host.cache.withdraw(later), Ok(()));
    host.nothing_to_grant();
}

#[test]
fn the_longest_wait_is_that_of_whoever_came_first_in_any_line() {
    let mut host = host(|l| l.max_connections = Some(0));
    let first = host.wait(2);
    for to in [1, 3, 2] {
        host.now += SECOND;
        host.wait(to);
    }
    host.nothing_to_grant();
    assert_eq!(host.cache.longest_wait(), 3 * SECOND);
    host.cache.withdraw(first).unwrap();
    assert_eq!(host.cache.longest_wait(), 2 * SECOND);
}

#[test]
fn a_drain_refuses_all_and_takes_no_more() {
    let mut host = host(|l| l.max_connections = Some(1));
    let id = host.open(1);
    let mut waiters: Vec<WaiterId> = (1..5).map(|to| host.wait(to)).collect();
    host.cache.drain();
    let error = host.cache.request(host.now, &peer(1), PLAIN, ME, None).unwrap_err();
    assert_eq!(error, RequestError::Draining);
    let mut refused: Vec<WaiterId> = std::iter::from_fn(|| host.grant()).map(|grant| grant.waiter).collect();
    waiters.sort();
    refused.sort();
    assert_eq!(refused, waiters);
    drop(host.cache.close_connection(id).unwrap());
    host.nothing_to_grant();
    assert_eq!(host.cache.peers().count(), 0);
}

#[test]
fn closing_a_channel_refuses_its_line_and_closing_a_peer_leaves_it_waiting() {
    let mut host = host(|l| l.max_connections_per_peer = Some(1));
    let id = host.open(1);
    let plain = host.wait(1);
    let Requested::Wait(tls) = host.cache.request(host.now, &peer(1), TLS, ME, None).unwrap() else { panic!() };
    host.cache.close_channel(TLS);
    let grant = host.grant().unwrap();
    assert!(grant.waiter == tls && grant.channel == TLS && matches!(grant.granted, Granted::Refused));
    host.cache.close_peer(&peer(1));
    host.nothing_to_grant();
    assert!(!host.checkin(id), "its peer was closed");
    let (waiter, place) = host.granted_place();
    assert_eq!(waiter, plain);
    let fresh = host.insert_at(place);
    assert!(host.checkin(fresh));
    assert!(host.reuse(1).id.same_connection(fresh));
}

#[test]
fn a_full_line_is_an_error_and_changes_nothing() {
    let mut host = host(|l| (l.max_connections, l.max_waiting) = (Some(1), Some(2)));
    let _id = host.open(1);
    let [first, _] = [host.wait(1), host.wait(2)];
    let before = (host.cache.stats(), host.cache.next_deadline());
    let error = host.cache.request(host.now + SECOND, &peer(3), PLAIN, ME, None).unwrap_err();
    assert_eq!(error, RequestError::LineFull { max_waiting: 2 });
    assert!(error.to_string().contains("max_waiting = 2"), "{error}");
    let error = host.cache.request(host.now, &peer(1), PLAIN, ME, Some(host.now)).unwrap_err();
    assert_eq!(error, RequestError::TimedOut);
    assert_eq!((host.cache.stats(), host.cache.next_deadline()), before);
    assert_eq!(host.cache.peers().count(), 2, "the peer refused leaves no entry");
    host.cache.withdraw(first).unwrap();
    host.wait(3);
}

#[test]
fn a_connection_found_dead_is_not_granted_and_the_next_one_is_opened() {
    let poll = Poll::new().unwrap();
    let mut cache: AggressiveCache<Scripted> =
        AggressiveCache::builder().max_connections(1).build(poll.registry()).unwrap();
    let (now, to) = (Instant::now(), peer(1));
    let Requested::Open { place, .. } = cache.request(now, &to, PLAIN, ME, None).unwrap() else { panic!() };
    let (conn, wire) = Scripted::new(1);
    let id = cache.insert_at(now, place, conn).unwrap();
    let Requested::Wait(waiter) = cache.request(now, &to, PLAIN, owner(7), None).unwrap() else { panic!() };
    assert!(cache.checkin(now, id).unwrap().is_none());
    wire.borrow_mut().far = Far::Closed;
    let grant = cache.grant(now).unwrap();
    assert!(grant.waiter == waiter && grant.owner == owner(7) && matches!(grant.granted, Granted::Open { .. }));
    assert_eq!((cache.stats().found_dead, wire.borrow().dropped), (1, 1));
}

/// Closing takes time, and each line that a grant looks at may have many.
#[test]
fn a_grant_closes_eight_dead_ones_and_no_more() {
    let poll = Poll::new().unwrap();
    let mut cache: AggressiveCache<Scripted> =
        AggressiveCache::builder().max_connections(60).build(poll.registry()).unwrap();
    let now = Instant::now();
    let mut open = |number: u16| {
        let (conn, wire) = Scripted::new(number.into());
        (cache.insert(now, conn, &peer(number % 20), PLAIN, ME).unwrap(), wire)
    };
    let all: Vec<_> = (0..60).map(&mut open).collect();
    for number in 0..60 {
        assert!(matches!(cache.request(now, &peer(number % 20), PLAIN, ME, None), Ok(Requested::Wait(_))));
    }
    for (id, wire) in &all {
        assert!(cache.checkin(now, *id).unwrap().is_none());
        wire.borrow_mut().far = Far::Closed;
    }
    let (mut dead, mut in_vain) = (0, 0);
    while cache.counts().waiting > 0 {
        assert!(cache.next_deadline().is_some_and(|at| at <= now), "they wait for ever");
        match cache.grant(now) {
            Some(grant) => assert!(matches!(grant.granted, Granted::Open { .. })),
            None => in_vain += 1,
        }
        let closed = cache.stats().found_dead - dead;
        assert!(closed <= 8, "{closed} in one call");
        dead += closed;
    }
    assert!(dead == 60 && in_vain <= 60 / 8, "{dead} dead, {in_vain} grants in vain");
}

#[test]
fn the_restrictive_cache_keeps_for_those_who_wait_and_for_nobody_else() {
    let poll = Poll::new().unwrap();
    let mut cache: RestrictiveCache<Light> =
        RestrictiveCache::builder().max_connections(1).max_inactive(0).build(poll.registry()).unwrap();
    let (now, to) = (Instant::now(), peer(1));
    let Requested::Open { place, .. } = cache.request(now, &to, PLAIN, ME, None).unwrap() else { panic!() };
    let id = cache.insert_at(now, place, Light).unwrap();
    let Requested::Wait(first) = cache.request(now, &to, PLAIN, ME, None).unwrap() else { panic!() };
    assert!(cache.checkin(now, id).unwrap().is_none(), "somebody waits for it");
    let grant = cache.grant(now).unwrap();
    let Granted::Reuse(found) = grant.granted else { panic!() };
    assert_eq!(grant.waiter, first);
    let Requested::Wait(second) = cache.request(now, &to, PLAIN, ME, None).unwrap() else { panic!() };
    assert!(cache.checkin(now, found.id).unwrap().is_none());
    cache.withdraw(second).unwrap();
    let gone = cache.expire(now).expect("nobody waits any more");
    assert!(gone.reason == Reason::Policy && gone.id == found.id);
    assert!(cache.counts().active + cache.counts().inactive == 0);
}

#[test]
fn keep_residents_keeps_one_more_for_whoever_waits() {
    let poll = Poll::new().unwrap();
    let mut cache: Cache<Light, _> =
        Cache::with_policy(KeepResidents(1)).max_connections_per_peer(1).build(poll.registry()).unwrap();
    let now = Instant::now();
    let resident = cache.insert(now, Light, &peer(2), PLAIN, ME).unwrap();
    assert!(cache.checkin(now, resident).unwrap().is_none());
    let id = cache.insert(now, Light, &peer(1), PLAIN, ME).unwrap();
    let Requested::Wait(waiter) = cache.request(now, &peer(1), PLAIN, ME, None).unwrap() else { panic!() };
    assert!(cache.checkin(now, id).unwrap().is_none(), "somebody waits for it");
    let grant = cache.grant(now).unwrap();
    let Granted::Reuse(found) = grant.granted else { panic!() };
    assert!(grant.waiter == waiter && found.id.same_connection(id));
    let gone = cache.checkin(now, found.id).unwrap().expect("nobody waits for it");
    assert_eq!((gone.id, gone.reason), (found.id, Reason::Policy));
}

/// How many connections were inactive whenever a policy was asked, and how many of them led to the peer.
type Told = Rc<RefCell<Vec<(usize, usize)>>>;

/// A policy that keeps everything, and notes what it is told.
fn noting_policy() -> (Told, impl FnMut(&Candidate<'_>) -> Verdict) {
    let told = Told::default();
    let tells = Rc::clone(&told);
    let policy = move |candidate: &Candidate<'_>| {
        tells.borrow_mut().push((candidate.inactive, candidate.inactive_to_peer));
        Verdict::Keep
    };
    (told, policy)
}

/// Two connections are kept for two requests, one of which leaves. The other one gets the older connection.
#[test]
fn a_policy_that_is_asked_again_is_not_told_of_the_connection_that_leaves() {
    let (told, policy) = noting_policy();
    let poll = Poll::new().unwrap();
    let builder = Cache::with_policy(policy).max_connections_per_peer(2).oldest_first(true);
    let mut cache: Cache<Light, _> = builder.build(poll.registry()).unwrap();
    let now = Instant::now();
    let [resident, older, newer] = [2, 1, 1].map(|to| cache.insert(now, Light, &peer(to), PLAIN, ME).unwrap());
    let [first, _] = [1, 1].map(|to| match cache.request(now, &peer(to), PLAIN, ME, None) {
        Ok(Requested::Wait(waiter)) => waiter,
        other => panic!("{other:?}"),
    });
    for id in [resident, older, newer] {
        assert!(cache.checkin(now, id).unwrap().is_none());
    }
    cache.withdraw(first).unwrap();
    let Some(Grant { granted: Granted::Reuse(found), .. }) = cache.grant(now) else { panic!() };
    assert!(found.id.same_connection(older));
    assert_eq!(*told.borrow(), [(0, 0), (1, 0), (2, 1), (2, 1), (1, 0)]);
}

/// The connection kept for the request has run out, so another peer's makes room for a new one.
#[test]
fn a_policy_that_is_asked_again_is_told_of_no_other_peers_connection_as_one_to_its_own() {
    let (told, policy) = noting_policy();
    let poll = Poll::new().unwrap();
    let builder = Cache::with_policy(policy).max_connections(2).idle_timeout(2 * SECOND);
    let mut cache: Cache<Light, _> = builder.build(poll.registry()).unwrap();
    let now = Instant::now();
    let [own, other] = [1, 2].map(|to| cache.insert(now, Light, &peer(to), PLAIN, ME).unwrap());
    assert!(matches!(cache.request(now, &peer(1), PLAIN, ME, None), Ok(Requested::Wait(_))));
    assert!(cache.checkin(now, own).unwrap().is_none());
    assert!(cache.checkin(now + SECOND, other).unwrap().is_none());
    let granted = cache.grant(now + 2 * SECOND).map(|grant| grant.granted);
    let Some(Granted::Open { evicted: Some(evicted), .. }) = granted else { panic!("{granted:?}") };
    assert!(evicted.id.same_connection(other));
    assert_eq!(*told.borrow(), [(0, 0), (1, 0), (0, 0)]);
}

#[test]
fn an_aggressive_cache_keeps_what_nobody_waits_for_any_more() {
    let mut host = host(|l| (l.max_connections_per_peer, l.max_inactive) = (Some(1), Some(1)));
    let id = host.open(1);
    let waiter = host.wait(1);
    assert!(host.checkin(id));
    host.cache.withdraw(waiter).unwrap();
    assert!(host.cache.expire(host.now).is_none());
    host.nothing_to_grant();
    assert!(host.reuse(1).id.same_connection(id));
}

/// The policy is asked again about a connection that was kept for a request, and may give it a time then.
#[test]
fn what_nobody_waits_for_any_more_is_kept_for_as_long_as_the_policy_says() {
    let a_second = |candidate: &Candidate<'_>| match candidate.waiting {
        0 => Verdict::KeepUntil(candidate.now + SECOND),
        _ => Verdict::Keep,
    };
    let poll = Poll::new().unwrap();
    let mut cache: Cache<Light, _> =
        Cache::with_policy(a_second).max_connections_per_peer(1).build(poll.registry()).unwrap();
    let (now, to) = (Instant::now(), peer(1));
    let id = cache.insert(now, Light, &to, PLAIN, ME).unwrap();
    let Requested::Wait(waiter) = cache.request(now, &to, PLAIN, ME, None).unwrap() else { panic!() };
    assert!(cache.checkin(now, id).unwrap().is_none());
    cache.withdraw(waiter).unwrap();
    assert_eq!(cache.next_deadline(), Some(now + SECOND));
    assert!(cache.checkout(now + SECOND, &to, PLAIN, ME).is_none());
    assert_eq!(cache.expire(now + SECOND).map(|gone| gone.reason), Some(Reason::Deadline));
}

#[test]
fn whoever_comes_after_one_who_withdrew_is_served() {
    let mut host = host(|l| l.max_connections_per_peer = Some(2));
    let ids = [host.open(1), host.open(1)];
    let waiter = host.wait(1);
    host.cache.withdraw(waiter).unwrap();
    host.nothing_to_grant();
    let waiter = host.wait(1);
    drop(host.cache.close_connection(ids[0]).unwrap());
    let (served, _place) = host.granted_place();
    assert_eq!(served, waiter);
}

#[test]
fn a_line_that_was_left_empty_for_a_while_is_not_forgotten() {
    let mut host = host(|l| l.max_connections_per_peer = Some(1));
    let id = host.open(1);
    let first = host.wait(1);
    host.cache.withdraw(first).unwrap();
    host.nothing_to_grant();
    let second = host.wait(1);
    drop(host.cache.close_connection(id).unwrap());
    assert_eq!(host.granted_place().0, second);
}

#[test]
fn a_connection_that_waited_for_its_waiter_in_vain_has_been_inactive_all_the_time() {
    let mut host = host(|l| (l.max_connections_per_peer, l.idle_timeout) = (Some(1), Some(2 * SECOND)));
    let id = host.open(1);
    let other = host.open(2);
    let Requested::Wait(_) = host.request(1, Some(SECOND)) else { panic!() };
    assert!(host.checkin(id));
    host.now += SECOND;
    assert!(host.checkin(other));
    assert!(matches!(host.grant().unwrap().granted, Granted::TimedOut));
    assert!(host.grant().is_none());
    let ages: Vec<_> = host.cache.iter_inactive().map(|entry| entry.inactive_since).collect();
    assert_eq!(ages, [Some(host.now - SECOND), Some(host.now)]);
    assert_eq!(host.cache.next_deadline(), Some(host.now + SECOND));
    host.now += SECOND;
    let gone = host.cache.expire(host.now).expect("its idle time is over");
    assert_eq!((gone.id, gone.reason), (id, Reason::IdleTimeout));
}

#[test]
fn a_connection_kept_for_a_waiter_who_got_another_is_kept_no_longer() {
    let poll = Poll::new().unwrap();
    let mut cache: RestrictiveCache<Light> =
        RestrictiveCache::builder().max_connections_per_peer(1).idle_timeout(SECOND).build(poll.registry()).unwrap();
    let (now, to) = (Instant::now(), peer(1));
    let id = cache.insert(now, Light, &to, PLAIN, ME).unwrap();
    let Requested::Wait(waiter) = cache.request(now, &to, PLAIN, ME, None).unwrap() else { panic!() };
    assert!(cache.checkin(now, id).unwrap().is_none());
    cache
        .set_limits(crate::common::limits(|l| (l.idle_timeout, l.max_connections_per_peer) = (Some(SECOND), Some(2))))
        .unwrap();
    // It has run out, hence another one is opened.
    let grant = cache.grant(now + SECOND).unwrap();
    assert!(grant.waiter == waiter && matches!(grant.granted, Granted::Open { .. }));
    cache.set_limits(Limits::default()).unwrap();
    let gone = cache.expire(now).expect("nobody waits for it");
    assert_eq!((gone.id, gone.reason), (id, Reason::Policy));
}

#[test]
fn a_connection_that_may_be_inactive_for_longer_now_serves_those_who_wait() {
    let mut host = host(|l| (l.max_connections_per_peer, l.idle_timeout) = (Some(1), Some(SECOND)));
    let id = host.open(1);
    let waiter = host.wait(1);
    assert!(host.checkin(id));
    host.now += SECOND;
    assert!(host.grant().is_none(), "it has run out");
    host.cache.set_limits(crate::common::limits(|l| l.max_connections_per_peer = Some(1))).unwrap();
    assert_eq!(host.granted_reuse().0, waiter);
}

/// Between the two that were kept for the requests, a third one came back, which was kept for nobody.
#[test]
fn connections_kept_for_requests_that_leave_are_kept_for_others() {
    let mut host = host(|l| l.max_connections = Some(3));
    let mut ids = [1, 1, 1].map(|to| host.open(to));
    let first = host.wait(1);
    assert!(host.checkin(ids[0]) && host.checkin(ids[1]));
    let second = host.wait(1);
    assert!(host.checkin(ids[2]));
    for waiter in [first, second] {
        host.cache.withdraw(waiter).unwrap();
    }
    let mut kept: Vec<_> = host.cache.iter_inactive().map(|entry| entry.id).collect();
    ids.sort_unstable();
    kept.sort_unstable();
    assert_eq!(kept, ids);
}
