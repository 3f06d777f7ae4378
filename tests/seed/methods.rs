//! The six methods of the seed, and what else the trait asks.

use crate::common::light::Light;
use crate::common::{PLAIN, counts};
use crate::{A, B, aggressive, insert, peers};
use conncache::mio::Poll;
use conncache::{AggressiveCache, ConnState, ConnStateRef, ConnectionCache, Limits, NotFound, Peer, Reason};
use std::time::{Duration, Instant};

#[test]
fn the_six_methods_do_what_the_seed_says() {
    let (_poll, mut cache) = aggressive();
    let cache: &mut dyn ConnectionCache<Light> = &mut cache;
    let (now, (peer, _)) = (Instant::now(), peers());
    let id = insert(cache, now, Light, &peer, A);
    assert_eq!(cache.get_connection_state(id).unwrap().owner(), Some(A));
    assert_eq!(cache.find_my_connections(A), [id]);
    let state = ConnState::inactive(PLAIN).private("a session");
    assert!(cache.set_connection_state(now, id, &peer, state).unwrap().evicted.is_none());
    let ConnStateRef::Inactive { channel, private, .. } = cache.get_connection_state(id).unwrap() else { panic!() };
    assert_eq!((channel, private.unwrap().downcast_ref()), (PLAIN, Some(&"a session")));
    let (found, private) = cache.find_inactive_connection(now, &peer, PLAIN).unwrap();
    assert_eq!((found, private.unwrap().downcast_ref()), (id, Some(&"a session")));
    let changed = cache.set_connection_state(now, id, &peer, ConnState::Active(B)).unwrap();
    assert_eq!(changed.private.unwrap().downcast_ref(), Some(&"a session"));
    assert_eq!((cache.find_my_connections(B), changed.id.same_connection(id)), (vec![changed.id], true));
    assert_eq!(cache.close_connection(changed.id).unwrap().reason, Reason::Closed);
    assert_eq!(cache.get_connection_state(changed.id).map(drop), Err(NotFound));
    let last = insert(cache, now, Light, &peer, A);
    cache.close_all();
    assert_eq!(cache.get_connection_state(last).map(drop), Err(NotFound));
}

#[test]
fn what_the_trait_is_asked_the_cache_answers() {
    let (poll, now, peer) = (Poll::new().unwrap(), Instant::now(), Peer::direct("host", 80));
    let mut it: AggressiveCache<Light> = AggressiveCache::builder().build(poll.registry()).unwrap();
    let cache: &mut dyn ConnectionCache<Light> = &mut it;
    let keep = |cache: &mut dyn ConnectionCache<Light>, port| {
        let id = cache.insert(now, Light, &Peer::direct("host", port), PLAIN, A).unwrap();
        assert!(cache.checkin_until(now, id, now + Duration::from_secs(1)).unwrap().is_none());
        id
    };
    let [first, second, _] = [80, 80, 81].map(|port| keep(cache, port));
    assert!(cache.get(first).is_some() && cache.get_mut(first).is_some() && cache.token(first).is_some());
    assert_eq!((cache.peer(first), cache.channel(first)), (Some(&peer), Some(PLAIN)));
    assert_eq!(cache.counts(), counts(0, 3));
    assert_eq!(cache.counts_of_peer(&peer), counts(0, 2));
    assert_eq!(it.counts_of(&peer, PLAIN), counts(0, 2));
    assert!(!it.is_draining());
    let cache: &mut dyn ConnectionCache<Light> = &mut it;
    assert_eq!(cache.next_deadline(), Some(now + Duration::from_secs(1)));
    assert!(matches!(cache.shed(), Some(evicted) if evicted.id == first));
    let mut limits = Limits::default();
    limits.max_inactive = Some(1);
    it.set_limits(limits).unwrap();
    assert_eq!(it.limits().max_inactive, Some(1));
    let cache: &mut dyn ConnectionCache<Light> = &mut it;
    let expire = |cache: &mut dyn ConnectionCache<Light>| cache.expire(now).map(|gone| (gone.id, gone.reason));
    assert_eq!(expire(cache), Some((second, Reason::MaxInactive)));
    cache.close_peer(&Peer::direct("host", 81));
    assert!(matches!(expire(cache), Some((_, Reason::ClosedPeer))));
    cache.drain();
    assert_eq!(cache.stats().left_in_all(), 3);
    assert!(it.is_draining());
}
