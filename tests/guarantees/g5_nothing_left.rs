//! G5: no descriptor, token or table entry outlives its connection.

use crate::common::PLAIN;
use crate::common::host::Host;
use crate::common::light::Light;
use crate::common::loopback::pair;
use crate::scripted;
use conncache::{ConnState, Counts, Limits, Owner, ParkOptions, Peer};
use std::io::Read;

#[test]
fn a_connection_goes_though_deregistering_fails() {
    let mut host = Host::new(Limits::default());
    let (mut near, mut far) = pair();
    let id = host.keep(std::mem::replace(&mut near, pair().0));
    // Somebody else has deregistered it.
    host.poll.registry().deregister(host.cache.get_mut(id).unwrap()).unwrap();
    drop(host.cache.close_connection(id).unwrap());
    assert_eq!(host.cache.stats().deregister_failures, 1);
    assert_eq!((host.cache.counts(), host.cache.peers().count()), (Counts::default(), 0));
    assert_eq!(far.read(&mut [0]).unwrap(), 0, "its descriptor is closed");
    let mut host = Host::new(Limits::default());
    let (_, wire) = scripted(&mut host, 1).remove(0);
    wire.borrow_mut().fail_deregister = true;
    drop(host.cache.shed().unwrap());
    assert_eq!((wire.borrow().dropped, host.cache.counts()), (1, Counts::default()));
}

#[test]
fn entries_go_with_their_last_connection() {
    let mut host: Host<Light> = Host::new(Limits::default());
    for port in 0..100 {
        let peer = Peer::direct("host", port);
        let id = host.cache.insert(host.now, Light, &peer, PLAIN, Owner(port.into())).unwrap();
        match port % 4 {
            0 => drop(host.cache.close_connection(id).unwrap()),
            1 => drop(host.cache.remove(id).unwrap()),
            2 => {
                assert!(host.cache.checkin(host.now, id).unwrap().is_none());
                drop(host.cache.shed().unwrap());
            }
            _ => {
                let elsewhere = Peer::direct("elsewhere", port);
                let changed =
                    host.cache.set_connection_state(host.now, id, &elsewhere, ConnState::Active(Owner(port.into())));
                assert!(changed.unwrap().evicted.is_none());
                assert_eq!(host.cache.counts_of_peer(&peer), Counts::default());
                drop(host.cache.close_connection(id).unwrap());
            }
        }
        assert_eq!(host.cache.peers().count(), 0, "port {port}");
        assert_eq!(host.cache.find_my_connections(Owner(port.into())).count(), 0);
    }
    assert!(host.cache.park(host.now, Light, &host.peer, PLAIN, ParkOptions::default()).is_ok());
    drop(host.cache.shed());
    let parking = ParkOptions::default().until(host.now);
    assert!(host.cache.park(host.now, Light, &host.peer, PLAIN, parking).is_err());
    assert_eq!(host.cache.peers().count(), 0, "a refused one leaves no entry");
}

#[test]
fn a_dropped_cache_closes_active_and_inactive_ones() {
    let mut host = Host::new(Limits::default());
    let all = scripted(&mut host, 3);
    assert!(host.checkout().is_some());
    drop(host.cache);
    assert!(all.iter().all(|(_, wire)| wire.borrow().dropped == 1 && wire.borrow().registered.is_none()));
}
