//! Ids that are unknown, stale or used twice.

use crate::common::host::Host;
use crate::common::light::Light;
use crate::common::{ME, PLAIN, Same, TLS};
use crate::{host, keep_many};
use conncache::{ConnState, NotFound, Peer, StateError};

#[test]
fn an_unknown_or_stale_id_is_not_found_and_changes_nothing() {
    let (mut one, mut two) = (host(|_| ()), host(|_| ()));
    let stale = one.insert(Light);
    drop(one.cache.remove(stale).unwrap());
    // All have the same slot, and the same use of it.
    let (here, foreign) = (one.insert(Light), two.insert(Light));
    let picture = |host: &Host<Light>| format!("{:?} {:?}", host.cache.stats(), host.cache.next_deadline());
    let (before, now) = ([&one, &two].map(picture), one.now);
    for id in [stale, foreign] {
        let cache = &mut one.cache;
        assert!(cache.get(id).is_none() && cache.get_mut(id).is_none() && cache.token(id).is_none());
        assert!(cache.peer(id).is_none() && cache.channel(id).is_none());
        assert_eq!(cache.get_connection_state(id).map(drop), Err(NotFound));
        assert_eq!(cache.remove(id).map(drop), Err(NotFound));
        assert_eq!(cache.close_connection(id).map(drop), Err(NotFound));
        assert_eq!(cache.close_because(id, "words").map(drop), Err(NotFound));
        assert_eq!(cache.established(id), Err(NotFound));
        assert_eq!(cache.set_deadline(id, Some(now)), Err(StateError::NotFound));
        assert_eq!(cache.reopen(now, id, None).map(drop), Err(StateError::NotFound));
        assert_eq!(cache.checkin(now, id).map(drop), Err(StateError::NotFound));
        assert_eq!(cache.checkin_until(now, id, now).map(drop), Err(StateError::NotFound));
        for state in [ConnState::Active(ME), ConnState::inactive(PLAIN).private(7)] {
            let is_active = matches!(state, ConnState::Active(_));
            let error = cache.set_connection_state(now, id, &one.peer, state).unwrap_err();
            assert_eq!(error.cause, StateError::NotFound);
            let state = error.into_state();
            assert!(is_active || matches!(state, ConnState::Inactive { private: Some(_), .. }), "it comes back");
        }
        let indexed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| one.cache[id] == Light));
        assert!(indexed.is_err(), "it has another's connection");
    }
    assert_eq!([&one, &two].map(picture), before);
    assert!(one.cache.get(here).is_some() && two.cache.get(foreign).is_some());
}

#[test]
fn closing_or_checking_in_twice_is_an_error() {
    let mut host = host(|_| ());
    let id = host.keep(Light);
    assert_eq!(host.cache.checkin(host.now, id).map(drop), Err(StateError::AlreadyInactive));
    assert!(host.cache.close_connection(id).is_ok());
    assert_eq!(host.cache.close_connection(id).map(drop), Err(NotFound));
    assert_eq!(host.cache.stats().left_in_all(), 1);
}

#[test]
fn inactive_moved_to_another_peer_and_channel_is_listed_once_and_newest() {
    let mut host = host(|_| ());
    let all = keep_many(&mut host, 2);
    let other = Peer::direct("other", 1);
    let changed = host.cache.set_connection_state(host.now, all[0], &other, ConnState::inactive(TLS)).unwrap();
    assert!(changed.evicted.is_none() && changed.private.is_none());
    assert_eq!(host.cache.counts_of(&other, TLS).inactive, 1);
    let second = host.checkout().unwrap();
    assert_eq!((Same(second), host.checkout()), (Same(all[1]), None));
    let changed = host.cache.set_connection_state(host.now, second, &host.peer, ConnState::inactive(PLAIN)).unwrap();
    assert!(changed.evicted.is_none());
    assert_eq!(host.cache.shed().unwrap().id, all[0], "the moved one was first");
    let wrong = host.cache.set_connection_state(host.now, second, &other, ConnState::Active(ME)).unwrap_err();
    assert_eq!(wrong.cause, StateError::OtherPeer);
    assert_eq!(host.reuse(), Some(Same(second)));
}
