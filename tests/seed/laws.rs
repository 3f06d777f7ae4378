//! The laws of the trait, for every cache.

use crate::common::PLAIN;
use crate::common::light::Light;
use crate::common::random::{Random, for_seeds};
use crate::policies::KeepSome;
use crate::{insert, peers};
use conncache::mio::Poll;
use conncache::{
    AggressiveCache, Cache, Candidate, ConnId, ConnState, ConnectionCache, Owner, Peer, RestrictiveCache, StateError,
    Verdict,
};
use std::collections::{HashMap, HashSet};
use std::time::Instant;

/// Every law, for any cache.
fn laws(seed: u64, cache: &mut dyn ConnectionCache<Light>) {
    let (mut random, now, (one, two)) = (Random::new(seed), Instant::now(), peers());
    let (mut here, mut left): (HashMap<ConnId, Peer>, HashSet<ConnId>) = Default::default();
    // Leases that are over, since somebody else has the connection or it has left.
    let mut over: HashSet<ConnId> = HashSet::new();
    for _ in 0..400 {
        let (peer, owner) = (if random.one_in(2) { &one } else { &two }, Owner(random.below(3) as u64));
        let some = here.keys().nth(random.below(here.len().max(1))).copied();
        let mut gone = Vec::new();
        match (random.below(7), some) {
            (0 | 1, _) => {
                let id = insert(cache, now, Light, peer, owner);
                assert!(here.insert(id, peer.clone()).is_none() && !left.contains(&id));
            }
            (2 | 3, _) => {
                let had: HashSet<ConnId> = (0..3).flat_map(|o| cache.find_my_connections(Owner(o))).collect();
                if let Some(found) = cache.checkout(now, peer, PLAIN, owner) {
                    assert!(had.iter().all(|id| !id.same_connection(found.id)), "somebody had it");
                    let former = *here.keys().find(|id| id.same_connection(found.id)).expect("it is here");
                    let leads_to = here.remove(&former).unwrap();
                    assert_eq!((&leads_to, cache.peer(found.id)), (peer, Some(peer)));
                    assert!(cache.find_my_connections(owner).contains(&found.id));
                    assert!(here.insert(found.id, leads_to).is_none() && over.insert(former));
                }
            }
            (4, Some(id)) => {
                let was_active = cache.get_connection_state(id).unwrap().owner().is_some();
                match cache.checkin(now, id) {
                    Ok(evicted) => {
                        assert!(was_active);
                        gone.extend(evicted.map(|evicted| evicted.id));
                    }
                    Err(error) => assert!(!was_active && error == StateError::AlreadyInactive),
                }
            }
            (5, Some(id)) => {
                let state = ConnState::inactive(PLAIN).private(seed);
                let changed = cache.set_connection_state(now, id, peer, state).unwrap();
                here.insert(id, peer.clone());
                if let Some(evicted) = changed.evicted {
                    let private = evicted.private.map(|data| *data.downcast::<u64>().unwrap());
                    assert!(evicted.id != id || private == Some(seed), "its private data comes back");
                    gone.push(evicted.id);
                }
            }
            (_, Some(id)) => gone.push(cache.close_connection(id).unwrap().id),
            _ => {}
        }
        for id in gone {
            assert!(here.remove(&id).is_some() && left.insert(id), "it leaves once");
        }
        for &id in left.union(&over) {
            assert!(cache.get(id).is_none() && cache.peer(id).is_none());
            assert!(cache.get_connection_state(id).is_err() && cache.close_connection(id).is_err());
            assert_eq!(cache.checkin(now, id).map(drop), Err(StateError::NotFound));
        }
        let mut active = 0;
        for owner in (0..3).map(Owner) {
            for id in cache.find_my_connections(owner) {
                active += 1;
                assert_eq!(cache.get_connection_state(id).unwrap().owner(), Some(owner));
            }
        }
        let inactive = here.keys().filter(|&&id| cache.get_connection_state(id).unwrap().is_inactive()).count();
        assert_eq!(active + inactive, here.len(), "active or inactive, and nothing else");
        let stats = cache.stats();
        assert_eq!((stats.active, stats.inactive), (active, inactive));
        assert_eq!(stats.left_in_all(), left.len() as u64);
    }
    cache.close_all();
    assert!(here.keys().all(|&id| cache.get(id).is_none()));
}

#[test]
fn every_cache_keeps_the_laws() {
    for_seeds(0..40, |seed| {
        let poll = Poll::new().unwrap();
        let registry = poll.registry();
        laws(seed, &mut RestrictiveCache::builder().build(registry).unwrap());
        laws(seed, &mut AggressiveCache::builder().build(registry).unwrap());
        laws(seed, &mut AggressiveCache::builder().max_inactive(5).max_inactive_per_peer(3).build(registry).unwrap());
        laws(seed, &mut Cache::with_policy(KeepSome(2)).build(registry).unwrap());
        let mut turn = 0;
        let moody = move |_: &Candidate<'_>| {
            turn += 1;
            if turn % 3 == 0 { Verdict::Close } else { Verdict::Keep }
        };
        laws(seed, &mut Cache::with_policy(moody).build(registry).unwrap());
    });
}
