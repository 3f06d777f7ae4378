//! G4: every connection leaves exactly once, with one reason. The model test checks the counters after every call, too.

use crate::common::host::Host;
use crate::common::light::Light;
use crate::common::limits;
use conncache::{ConnId, Evicted, Reason};
use std::collections::HashSet;

#[test]
fn every_connection_leaves_once_and_is_counted_once() {
    let mut host = Host::new(limits(|l| l.max_inactive = Some(3)));
    let all: Vec<ConnId> = (0..8).map(|_| host.insert(Light)).collect();
    let sum = |host: &Host<Light>| {
        let stats = host.cache.stats();
        assert_eq!(stats.inserted, (stats.active + stats.inactive) as u64 + stats.left_in_all());
        stats.left_in_all()
    };
    let mut left = HashSet::new();
    let mut leave = |evicted: Evicted<Light>| assert!(left.insert(evicted.id), "{evicted:?} left twice");
    for &id in &all[..6] {
        if let Some(evicted) = host.cache.checkin(host.now, id).unwrap() {
            leave(evicted);
        }
        sum(&host);
    }
    leave(host.cache.shed().unwrap());
    leave(host.cache.close_connection(all[6]).unwrap());
    host.cache.drain();
    while let Some(evicted) = host.cache.expire(host.now) {
        leave(evicted);
        sum(&host);
    }
    leave(host.cache.checkin(host.now, all[7]).unwrap().unwrap());
    assert_eq!(sum(&host), 8);
    let reasons: Vec<(Reason, u64)> = host.cache.stats().reasons().collect();
    assert_eq!(reasons, [(Reason::MaxInactive, 3), (Reason::Drained, 3), (Reason::Shed, 1), (Reason::Closed, 1)]);
}
