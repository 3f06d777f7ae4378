//! Orders of the host: move, shed, close a peer, drain.

use crate::common::light::Light;
use crate::common::{ME, PLAIN, Same, TLS, counts};
use crate::{host, keep_many};
use conncache::{Cause, ChannelBindingId, ConnState, Counts, ParkOptions, Peer, Reason};

#[test]
fn recording_the_peer_that_is_recorded_already_changes_nothing() {
    let mut host = host(|_| ());
    let old = host.insert(Light);
    host.cache.close_peer(&host.peer);
    host.insert(Light);
    let changed = host.cache.set_connection_state(host.now, old, &host.peer, ConnState::Active(ME)).unwrap();
    assert!(changed.evicted.is_none());
    let each: Vec<Counts> = host.cache.peers().map(|(_, _, counts)| counts).collect();
    assert_eq!(each, [counts(1, 0); 2], "the one of the closed peer stands apart");
    assert_eq!(host.checkin(old), Some((old, Reason::ClosedPeer)));
}

#[test]
fn shed_returns_the_one_inactive_for_longest_and_no_active_one() {
    let mut host = host(|_| ());
    let all = keep_many(&mut host, 3);
    assert_eq!(host.reuse(), Some(Same(all[2])));
    let shed: Vec<_> = std::iter::from_fn(|| host.cache.shed()).map(|evicted| (evicted.id, evicted.reason)).collect();
    assert_eq!(shed, [(all[0], Reason::Shed), (all[1], Reason::Shed)]);
    assert_eq!(host.cache.counts(), counts(1, 0));
}

#[test]
fn a_closed_peer_is_closed_under_all_channels_but_not_for_newcomers() {
    let mut host = host(|_| ());
    let (active, plain) = (host.insert(Light), host.keep(Light));
    let tls = host.cache.insert(host.now, Light, &host.peer, TLS, ME).unwrap();
    assert_eq!(host.checkin(tls), None);
    let other = Peer::direct("other", 1);
    let else_where = host.cache.insert(host.now, Light, &other, PLAIN, ME).unwrap();
    assert_eq!(host.checkin(else_where), None);
    host.cache.close_peer(&host.peer);
    assert!(host.cache.checkout(host.now, &host.peer, TLS, ME).is_none());
    assert_eq!((host.checkout(), host.cache.counts_of_peer(&host.peer).inactive), (None, 2));
    let newcomer = host.keep(Light);
    let mut expired = host.expire_all();
    expired.sort_unstable_by_key(|&(id, _)| id);
    assert_eq!(expired, [(plain, Reason::ClosedPeer), (tls, Reason::ClosedPeer)]);
    // Neither under another name nor under another channel does an active one come back.
    let changed = host.cache.set_connection_state(host.now, active, &other, ConnState::inactive(TLS)).unwrap();
    assert_eq!(changed.evicted.unwrap().reason, Reason::ClosedPeer);
    assert_eq!(host.reuse(), Some(Same(newcomer)));
    assert!(host.cache.checkout(host.now, &other, PLAIN, ME).is_some());
}

#[test]
fn a_drain_keeps_nothing_and_takes_nothing_back() {
    let mut host = host(|_| ());
    let (active, inactive) = (host.insert(Light), host.keep(Light));
    assert!(!host.cache.is_draining());
    host.cache.drain();
    assert!(host.cache.is_draining());
    assert_eq!(host.cache.next_deadline(), Some(host.now));
    assert_eq!(host.checkout(), None);
    assert_eq!(host.expire(), Some((inactive, Reason::Drained)));
    assert_eq!(host.checkin(active), Some((active, Reason::Drained)));
    let refused = host.cache.park(host.now, Light, &host.peer, PLAIN, ParkOptions::default()).unwrap_err();
    assert!(matches!(refused.cause, Cause::Refused(Reason::Drained)));
    let late = host.insert(Light);
    assert_eq!(host.checkin(late), Some((late, Reason::Drained)));
    assert_eq!((host.expire(), host.cache.next_deadline()), (None, None));
}

#[test]
fn a_closed_channel_is_closed_for_all_peers_but_not_for_newcomers() {
    let mut host = host(|_| ());
    let others: Vec<Peer> = (1..4).map(|port| Peer::direct("other", port)).collect();
    let mut revoked = Vec::new();
    for peer in &others {
        let id = host.cache.insert(host.now, Light, peer, TLS, ME).unwrap();
        assert_eq!(host.checkin(id), None);
        revoked.push(id);
    }
    let active = host.cache.insert(host.now, Light, &others[0], TLS, ME).unwrap();
    let (plain, wanted) = (host.keep(Light), ChannelBindingId(7));
    host.cache.close_channel(TLS);
    for peer in &others {
        assert!(host.cache.checkout(host.now, peer, TLS, ME).is_none());
        assert!(host.cache.find_inactive_connection(host.now, peer, TLS).is_err());
    }
    let changed = host.cache.set_connection_state(host.now, revoked[0], &others[0], ConnState::Active(ME)).unwrap();
    assert_eq!(changed.evicted.map(|evicted| evicted.reason), Some(Reason::ClosedChannel));
    assert!(host.cache.next_deadline().is_some_and(|due| due <= host.now), "they are due");
    let mut expired = host.expire_all();
    expired.sort_unstable_by_key(|&(id, _)| id);
    assert_eq!(expired, [1, 2].map(|at| (revoked[at], Reason::ClosedChannel)));
    // Neither under another name nor under another channel does an active one come back.
    let changed = host.cache.set_connection_state(host.now, active, &host.peer, ConnState::inactive(wanted)).unwrap();
    assert_eq!(changed.evicted.map(|evicted| evicted.reason), Some(Reason::ClosedChannel));
    assert_eq!((host.reuse(), host.cache.stats().left(Reason::ClosedChannel)), (Some(Same(plain)), 4));
    let newcomer = host.cache.insert(host.now, Light, &others[0], TLS, ME).unwrap();
    assert_eq!(host.checkin(newcomer), None);
    assert!(host.cache.checkout(host.now, &others[0], TLS, ME).is_some_and(|found| found.id.same_connection(newcomer)));
}
