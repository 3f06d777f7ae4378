//! Token ranges: full, too small, and belonging to somebody else. Each test has ranges of its own: they run at once.

use crate::common::light::Light;
use crate::common::scripted::Scripted;
use crate::common::{ME, PLAIN, Same};
use crate::{host, with_data};
use conncache::mio::{Interest, Poll, Token};
use conncache::{AggressiveCache, Cause, Handled, Peer};
use std::io;
use std::time::Instant;

#[test]
fn a_full_token_range_is_an_error_that_names_its_size_and_returns_the_connection() {
    let (poll, peer, now) = (Poll::new().unwrap(), Peer::direct("a", 1), Instant::now());
    let mut cache: AggressiveCache<Scripted> =
        AggressiveCache::builder().tokens(10..18).build(poll.registry()).unwrap();
    let mut ids = Vec::new();
    let (error, wire) = loop {
        let (conn, wire) = Scripted::new(ids.len());
        match cache.insert(now, conn, &peer, PLAIN, ME) {
            Ok(id) => ids.push(id),
            Err(error) => break (error, wire),
        }
        let token = cache.token(*ids.last().unwrap()).unwrap();
        assert!((10..18).contains(&token.0), "{token:?}");
    };
    // Eight tokens: one bit tells connections of a slot apart.
    assert_eq!(ids.len(), 4);
    assert!(matches!(error.cause, Cause::TokensExhausted { slots: 4 }));
    assert!(error.to_string().contains('4'), "{error}");
    assert_eq!((error.conn.number(), wire.borrow().calls), (4, [0, 0, 0]));
    drop(cache.close_connection(ids[2]).unwrap());
    assert!(cache.insert(now, error.conn, &peer, PLAIN, ME).is_ok(), "there is room again");
    let (conn, wire) = Scripted::new(9);
    wire.borrow_mut().registered = Some((Token(100), Interest::READABLE));
    let error = cache.park(now, conn, &peer, PLAIN, with_data()).unwrap_err();
    assert!(matches!(error.cause, Cause::TokensExhausted { .. }) && error.into_parts().1.private.is_some());
}

/// As the builder's documentation says: nine bits, three of which tell generations apart.
#[test]
fn those_who_follow_each_other_in_a_slot_have_eight_tokens_of_a_thousand() {
    let (poll, peer, now) = (Poll::new().unwrap(), Peer::direct("a", 1), Instant::now());
    let mut cache: AggressiveCache<Light> =
        AggressiveCache::builder().tokens(1_000..2_000).build(poll.registry()).unwrap();
    let mut tokens = std::collections::HashSet::new();
    for _ in 0..8 {
        let id = cache.insert(now, Light, &peer, PLAIN, ME).unwrap();
        assert!(tokens.insert(cache.token(id).unwrap()), "too soon");
        drop(cache.close_connection(id).unwrap());
    }
    let full = (0..1_000).take_while(|_| cache.insert(now, Light, &peer, PLAIN, ME).is_ok()).count();
    assert_eq!(full, 125);
}

#[test]
fn an_event_outside_the_range_is_rejected_and_one_inside_is_not() {
    let poll = Poll::new().unwrap();
    let mut cache: AggressiveCache<Light> = AggressiveCache::builder().tokens(30..38).build(poll.registry()).unwrap();
    for token in [0, 29, 38, usize::MAX] {
        assert!(matches!(cache.handle_readiness(Token(token), true), Handled::Rejected), "{token}");
    }
    for token in [30, 37] {
        assert!(matches!(cache.handle_readiness(Token(token), true), Handled::Nothing), "{token}");
    }
    assert_eq!(cache.stats().stale_events, 2);
}

#[test]
#[allow(clippy::reversed_empty_ranges)]
fn a_token_range_without_room_is_refused_by_name() {
    let poll = Poll::new().unwrap();
    for range in [5..5, 7..5, 5..12] {
        let error = AggressiveCache::<Light>::builder().tokens(range).build(poll.registry()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().starts_with("tokens = "), "{error}");
    }
    let end = usize::MAX - 8..usize::MAX;
    assert!(AggressiveCache::<Light>::builder().tokens(end).build(poll.registry()).is_ok());
}

#[test]
fn a_capacity_beyond_the_tokens_is_refused_by_name() {
    let poll = Poll::new().unwrap();
    for builder in [
        AggressiveCache::<Light>::builder().capacity(usize::MAX),
        AggressiveCache::builder().tokens(100..164).capacity(17),
    ] {
        let error = builder.build(poll.registry()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().starts_with("capacity = "), "{error}");
    }
    assert!(AggressiveCache::<Light>::builder().tokens(100..164).capacity(16).build(poll.registry()).is_ok());
}

#[test]
fn a_token_of_the_cache_is_refused_by_take() {
    let mut host = host(|_| ());
    let id = host.keep(Light);
    let token = host.cache.token(id).unwrap();
    let error = host.cache.take(host.now, &host.peer, PLAIN, token, Interest::READABLE).unwrap_err();
    assert!(matches!(error.cause, Cause::TokenOfCache(t) if t == token) && error.into_evicted().is_none());
    assert_eq!((host.cache.stats().handed_out, host.reuse()), (0, Some(Same(id))));
}

#[test]
fn a_range_that_a_living_cache_has_is_refused_and_both_are_named() {
    let poll = Poll::new().unwrap();
    let build = |range| AggressiveCache::<Light>::builder().tokens(range).build(poll.registry());
    let first = build(3_000..4_000).unwrap();
    for range in [3_000..4_000, 2_500..3_001, 3_999..4_500, 3_400..3_500, 2_000..5_000] {
        let text = build(range.clone()).unwrap_err().to_string();
        assert!(text.contains(&format!("{range:?}")) && text.contains("3000..4000"), "{text}");
    }
    let (_below, _above) = (build(2_000..3_000).unwrap(), build(4_000..5_000).unwrap());
    drop(first);
    assert!(build(3_000..4_000).is_ok(), "it went with its cache");
}

/// Eight caches take turns: their connections' ids are eight apart in each of them, their tokens are not.
#[test]
fn caches_in_lockstep_tell_as_many_connections_apart_as_one_alone() {
    let (poll, peer, now) = (Poll::new().unwrap(), Peer::direct("a", 1), Instant::now());
    let mut caches: Vec<AggressiveCache<Light>> = (0..8)
        .map(|at| 10_000 + at * 1_000..11_000 + at * 1_000)
        .map(|range| AggressiveCache::builder().tokens(range).build(poll.registry()).unwrap())
        .collect();
    let mut tokens = std::collections::HashSet::new();
    for _ in 0..8 {
        for cache in &mut caches {
            let id = cache.insert(now, Light, &peer, PLAIN, ME).unwrap();
            assert!(tokens.insert(cache.token(id).unwrap()), "too soon");
            drop(cache.close_connection(id).unwrap());
        }
    }
    assert_eq!(tokens.len(), 64);
}
