//! G1: a connection is handed out only if it is alive at that moment, within every limit, and for the same peer and
//! channel.

use crate::common::host::Host;
use crate::common::light::Light;
use crate::common::loopback::{Act, pair};
use crate::common::scripted::{Far, Scripted};
use crate::common::{ME, PLAIN, SECOND, Same, TLS, limits};
use crate::scripted;
use conncache::mio::Poll;
use conncache::{AggressiveCache, ChannelBindingId, ConnState, Granted, Limits, Peer, Reason, Requested};
use std::time::{Duration, Instant};

#[test]
fn what_the_loop_has_not_been_told_of_is_found_at_hand_out() {
    for act in Act::ALL {
        let mut host = Host::new(Limits::default());
        let (near, far) = pair();
        let id = host.keep(near);
        let _far = act.by(far, &host.cache[id]);
        assert_eq!(host.checkout(), None, "{act:?}");
        let reason = match act {
            Act::Fin => Reason::HungUp,
            Act::Reset => Reason::Failed,
            Act::Byte => Reason::Unsolicited,
        };
        let stats = host.cache.stats();
        assert_eq!((stats.left(reason), stats.found_dead, stats.missed), (1, 1, 1), "{act:?}");
    }
}

#[test]
fn every_way_of_making_active_looks_first() {
    for way in 0..6 {
        let mut host = Host::new(Limits::default());
        let (near, far) = pair();
        let mut id = host.keep(near);
        if way == 5 {
            id = host.checkout().unwrap();
            host.cache.set_limits(limits(|l| l.max_connections = Some(1))).unwrap();
            assert!(matches!(host.cache.request(host.now, &host.peer, PLAIN, ME, None), Ok(Requested::Wait(_))));
            assert_eq!(host.checkin(id), None);
        }
        let _far = Act::Fin.by(far, &host.cache[id]);
        let token = conncache::mio::Token(5);
        match way {
            0 => assert!(host.checkout().is_none()),
            1 => {
                let changed = host.cache.set_connection_state(host.now, id, &host.peer, ConnState::Active(ME)).unwrap();
                assert_eq!(changed.evicted.unwrap().reason, Reason::HungUp);
            }
            2 => assert!(host.cache.find_inactive_connection(host.now, &host.peer, PLAIN).is_err()),
            3 => {
                let requested = host.cache.request(host.now, &host.peer, PLAIN, ME, None);
                assert!(matches!(requested, Ok(Requested::Open { .. })));
            }
            5 => assert!(matches!(host.cache.grant(host.now).unwrap().granted, Granted::Open { .. })),
            _ => {
                let interest = conncache::mio::Interest::READABLE;
                assert!(host.cache.take(host.now, &host.peer, PLAIN, token, interest).unwrap().is_none());
            }
        }
        assert!(host.cache.get(id).is_none(), "way {way}");
    }
}

#[test]
fn without_the_probe_nothing_is_looked_at() {
    let poll = Poll::new().unwrap();
    let mut cache: AggressiveCache<Scripted> = AggressiveCache::builder().probe(false).build(poll.registry()).unwrap();
    let (now, peer, (conn, wire)) = (Instant::now(), Peer::direct("a", 1), Scripted::new(0));
    let id = cache.insert(now, conn, &peer, PLAIN, ME).unwrap();
    assert!(cache.checkin(now, id).unwrap().is_none());
    wire.borrow_mut().far = Far::Closed;
    assert!(cache.checkout(now, &peer, PLAIN, ME).unwrap().id.same_connection(id));
    assert_eq!(cache.stats().probes, 0);
}

/// Whoever skips the probe for a second has it from the second on.
#[test]
fn the_probe_is_skipped_for_those_inactive_for_less_than_was_set() {
    for (inactive_for, found) in [(SECOND - Duration::from_nanos(1), true), (SECOND, false)] {
        let poll = Poll::new().unwrap();
        let mut cache: AggressiveCache<Scripted> =
            AggressiveCache::builder().probe_after(SECOND).build(poll.registry()).unwrap();
        let (now, peer, (conn, wire)) = (Instant::now(), Peer::direct("a", 1), Scripted::new(0));
        let id = cache.insert(now, conn, &peer, PLAIN, ME).unwrap();
        assert!(cache.checkin(now, id).unwrap().is_none());
        wire.borrow_mut().far = Far::Closed;
        assert_eq!(cache.checkout(now + inactive_for, &peer, PLAIN, ME).is_some(), found);
        assert_eq!((cache.stats().probes, cache.stats().found_dead), if found { (0, 0) } else { (1, 1) });
    }
}

#[test]
fn a_search_closes_eight_dead_ones_and_no_more() {
    let mut host = Host::new(Limits::default());
    let all = scripted(&mut host, 10);
    all[1..].iter().for_each(|(_, wire)| wire.borrow_mut().far = Far::Closed);
    assert_eq!(host.checkout(), None);
    assert_eq!((host.cache.stats().found_dead, host.cache.counts().inactive), (8, 2));
    assert_eq!(host.reuse(), Some(Same(all[0].0)));
}

#[test]
fn a_connection_handed_out_is_within_its_limits_however_late_expire_runs() {
    let (idle, life) = (Some(2 * SECOND), Some(2 * SECOND));
    for which in [limits(|l| l.idle_timeout = idle), limits(|l| l.max_lifetime = life)] {
        let mut host = Host::new(which);
        let id = host.keep(Light);
        host.now += 2 * SECOND;
        assert_eq!(host.checkout(), None, "to the moment");
        assert!(host.cache.get(id).is_some(), "expire will return it");
        assert!(host.cache.expire(host.now).is_some());
    }
    let mut host = Host::new(Limits::default());
    let id = host.insert(Light);
    assert!(host.cache.checkin_until(host.now, id, host.now + SECOND).unwrap().is_none());
    host.now += SECOND;
    assert_eq!(host.checkout(), None);
    assert_eq!(host.cache.expire(host.now).unwrap().reason, Reason::Deadline);
}

#[test]
fn a_connection_is_not_handed_out_for_another_peer_or_channel() {
    let mut host = Host::new(Limits::default());
    host.keep(Light);
    for peer in [Peer::direct("127.0.0.1", 81), Peer::direct("localhost", 80), Peer::http_proxy("127.0.0.1", 80)] {
        assert!(host.cache.checkout(host.now, &peer, PLAIN, ME).is_none());
    }
    assert!(host.cache.checkout(host.now, &host.peer, TLS, ME).is_none());
    assert!(host.cache.checkout(host.now, &"127.0.0.1:80".parse().unwrap(), PLAIN, ME).is_some());
}

/// Channel bindings have 64 bits, all of which count.
#[test]
fn channels_that_differ_in_any_bit_are_different() {
    let mut host = Host::new(Limits::default());
    let channel = ChannelBindingId(0x0123_4567_89ab_cdef);
    let id = host.cache.insert(host.now, Light, &host.peer, channel, ME).unwrap();
    assert!(host.cache.checkin(host.now, id).unwrap().is_none());
    for bit in 0..64 {
        let other = ChannelBindingId(channel.0 ^ (1 << bit));
        assert!(host.cache.checkout(host.now, &host.peer, other, ME).is_none(), "bit {bit}");
    }
    assert!(host.cache.checkout(host.now, &host.peer, channel, ME).is_some());
}
