//! G3: no connection has two owners, and a late event never reaches a newcomer.

use crate::common::host::Host;
use crate::common::light::Light;
use crate::common::loopback::{Act, pair};
use crate::common::{PLAIN, SECOND, Same};
use conncache::mio::Events;
use conncache::{ConnId, Counts, Handled, Limits};
use std::collections::HashSet;

#[test]
fn a_connection_is_never_handed_out_twice() {
    let mut host = Host::new(Limits::default());
    let id = host.keep(Light);
    let (found, _) = host.cache.find_inactive_connection(host.now, &host.peer, PLAIN).unwrap();
    assert_eq!((found, host.reuse()), (id, Some(Same(id))));
    assert_eq!(host.checkout(), None);
    assert!(host.cache.find_inactive_connection(host.now, &host.peer, PLAIN).is_err());
}

#[test]
fn an_id_never_comes_to_name_another_connection() {
    let mut host = Host::new(Limits::default());
    let mut seen = HashSet::new();
    for _ in 0..10_000 {
        let id = host.insert(Light);
        assert!(seen.insert(id));
        drop(host.cache.close_connection(id).unwrap());
    }
    assert!(seen.iter().all(|&id| host.cache.get(id).is_none()));
    let mut other: Host<Light> = Host::new(Limits::default());
    assert!(!seen.contains(&other.insert(Light)), "another cache's");
}

#[test]
fn a_stale_event_of_the_same_batch_misses_the_connection_that_took_the_slot() {
    let mut host = Host::new(Limits::default());
    let (one, far_one) = pair();
    let (two, far_two) = pair();
    let ids = [host.keep(one), host.keep(two)];
    Act::Fin.by(far_one, &host.cache[ids[0]]);
    Act::Fin.by(far_two, &host.cache[ids[1]]);
    let mut events = Events::with_capacity(8);
    host.poll.poll(&mut events, Some(SECOND)).unwrap();
    let mut batch = events.iter();
    let first = batch.next().unwrap();
    let Handled::Evicted(evicted) = host.cache.handle_event(first) else { panic!("it hung up") };
    // The host opens another; on the way, the checkout finds the second one dead.
    assert_eq!(host.checkout(), None);
    assert_eq!(host.cache.counts(), Counts::default());
    let (replacements, _fars): (Vec<ConnId>, Vec<_>) = (0..2)
        .map(|_| {
            let (near, far) = pair();
            (host.keep(near), far)
        })
        .unzip();
    let second = batch.next().expect("both are told in one batch");
    let token = |id| host.cache.token(id).unwrap();
    assert!(second.is_read_closed() && replacements.iter().all(|&id| token(id) != second.token()));
    assert!(matches!(host.cache.handle_event(second), Handled::Nothing));
    assert_eq!((host.cache.stats().stale_events, host.cache.counts().inactive), (1, 2));
    assert_ne!(evicted.id, ids[usize::from(evicted.id == ids[0])]);
}

#[test]
fn a_stale_event_does_not_mark_the_newcomer_as_closed() {
    let mut host = Host::new(Limits::default());
    let old = host.insert(Light);
    let token = host.cache.token(old).unwrap();
    drop(host.cache.close_connection(old).unwrap());
    let id = host.insert(Light);
    assert!(matches!(host.cache.handle_readiness(token, true), Handled::Nothing));
    assert!(host.cache.checkin(host.now, id).unwrap().is_none(), "it is kept");
}
