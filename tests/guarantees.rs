//! The guarantees, each with what would break it. (That the counts add up after every call, and that each connection
//! leaves once, is looked at after each step of the model test, too.)
#![cfg(unix)]

#[path = "common/light.rs"]
mod light;
#[path = "common/loopback.rs"]
mod loopback;
#[path = "common/nobody.rs"]
mod nobody;
#[path = "common/scripted.rs"]
mod scripted;

use conncache::mio::net::{TcpStream, UnixStream};
use conncache::mio::{Events, Poll};
use conncache::{
    AggressiveCache, ChannelBindingId, ConnId, ConnState, Counts, Evicted, Handled, Limits, Owner, Parking, Peer,
    Reason, RestrictiveCache,
};
use light::Light;
use loopback::{Act, pair};
use scripted::{Far, Scripted, Shared};
use socket2::SockRef;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

const PLAIN: ChannelBindingId = ChannelBindingId(0);
const TLS: ChannelBindingId = ChannelBindingId(1);
const ME: Owner = Owner(1);
const SECOND: Duration = Duration::from_secs(1);

struct Host<C: conncache::Connection> {
    poll: Poll,
    cache: AggressiveCache<C>,
    peer: Peer,
    now: Instant,
}

impl<C: conncache::Connection> Host<C> {
    fn new(limits: Limits) -> Host<C> {
        let poll = Poll::new().unwrap();
        let cache = AggressiveCache::builder().limits(limits).build(poll.registry()).unwrap();
        Host { poll, cache, peer: Peer::direct("127.0.0.1", 80), now: Instant::now() }
    }

    fn insert(&mut self, conn: C) -> ConnId {
        self.cache.insert(self.now, conn, &self.peer, PLAIN, ME).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Inserted and checked in at once.
    fn keep(&mut self, conn: C) -> ConnId {
        let id = self.insert(conn);
        assert!(self.cache.checkin(self.now, id).unwrap().is_none());
        id
    }

    fn checkout(&mut self) -> Option<ConnId> {
        self.cache.checkout(self.now, &self.peer, PLAIN, ME).map(|found| found.id)
    }

    /// Polls until something was told of each of these, and passes it on.
    fn turns(&mut self, until: impl Fn(&[Handled<C>]) -> bool) -> Vec<Handled<C>> {
        let (mut events, mut handled) = (Events::with_capacity(64), Vec::new());
        let start = Instant::now();
        while !until(&handled) {
            assert!(start.elapsed() < 60 * SECOND, "waited in vain: {handled:?}");
            self.poll.poll(&mut events, Some(SECOND)).unwrap();
            handled.extend(events.iter().map(|event| self.cache.handle_event(event)));
        }
        handled
    }
}

fn limits(set: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    set(&mut limits);
    limits
}

fn scripted(host: &mut Host<Scripted>, count: usize) -> Vec<(ConnId, Shared)> {
    (0..count)
        .map(|number| {
            let (conn, wire) = Scripted::new(number);
            (host.keep(conn), wire)
        })
        .collect()
}

// G1

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
    for way in 0..4 {
        let mut host = Host::new(Limits::default());
        let (near, far) = pair();
        let id = host.keep(near);
        let _far = Act::Fin.by(far, &host.cache[id]);
        let token = conncache::mio::Token(5);
        match way {
            0 => assert!(host.checkout().is_none()),
            1 => {
                let changed = host.cache.set_connection_state(host.now, id, &host.peer, ConnState::Active(ME)).unwrap();
                assert_eq!(changed.evicted.unwrap().reason, Reason::HungUp);
            }
            2 => assert!(host.cache.find_inactive_connection(host.now, &host.peer, PLAIN).is_err()),
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
    assert_eq!(cache.checkout(now, &peer, PLAIN, ME).unwrap().id, id);
    assert_eq!(cache.stats().probes, 0);
}

#[test]
fn a_search_closes_eight_dead_ones_and_no_more() {
    let mut host = Host::new(Limits::default());
    let all = scripted(&mut host, 10);
    all[1..].iter().for_each(|(_, wire)| wire.borrow_mut().far = Far::Closed);
    assert_eq!(host.checkout(), None);
    assert_eq!((host.cache.stats().found_dead, host.cache.counts().inactive), (8, 2));
    assert_eq!(host.checkout(), Some(all[0].0));
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

// G2

#[test]
fn an_inactive_connection_is_evicted_in_the_turn_that_tells_of_it() {
    for act in Act::ALL {
        let mut host = Host::new(Limits::default());
        let (near, far) = pair();
        let id = host.keep(near);
        let _far = act.by(far, &host.cache[id]);
        // Its writability may be told before.
        let handled = host.turns(|handled| !handled.is_empty());
        let Some(Handled::Evicted(evicted)) = handled.into_iter().next() else { panic!("{act:?}: not evicted") };
        assert_eq!((evicted.id, evicted.error.is_some()), (id, act == Act::Reset));
        assert_eq!(host.cache.counts(), Counts::default());
    }
}

#[test]
fn what_was_reported_closed_while_active_is_never_kept() {
    for (act, reason) in [(Act::Fin, Reason::HungUp), (Act::Reset, Reason::NotConnected)] {
        let mut host = Host::new(Limits::default());
        let (near, far) = pair();
        let id = host.insert(near);
        act.by(far, &host.cache[id]);
        let handled = host.turns(|handled| !handled.is_empty());
        assert!(matches!(handled[0], Handled::Active { id: told, owner: ME } if told == id));
        let evicted = host.cache.checkin(host.now, id).unwrap().expect("it isn't kept");
        assert_eq!((evicted.id, evicted.reason), (id, reason));
    }
}

#[test]
fn a_half_closed_connection_is_not_kept_either() {
    let mut host = Host::new(Limits::default());
    let (near, far) = pair();
    let id = host.keep(near);
    far.shutdown(std::net::Shutdown::Write).unwrap();
    let handled = host.turns(|handled| handled.iter().any(|one| matches!(one, Handled::Evicted(_))));
    assert!(handled.iter().all(|one| !matches!(one, Handled::Evicted(e) if (e.id, e.reason) != (id, Reason::HungUp))));
}

#[test]
fn bytes_that_an_owner_left_unread_are_found_at_hand_out() {
    for used_before in [false, true] {
        let mut host = Host::new(Limits::default());
        let (near, far) = pair();
        let id = host.insert(near);
        if used_before {
            assert!(host.cache.checkin(host.now, id).unwrap().is_none());
            assert_eq!(host.checkout(), Some(id));
        }
        let _far = Act::Byte.by(far, &host.cache[id]);
        host.turns(|handled| !handled.is_empty());
        // The edge has been told: no further event will come.
        let gone = host.cache.checkin(host.now, id).unwrap().map(|evicted| evicted.reason);
        if cfg!(mio_unsupported_force_poll_poll) {
            assert_eq!(gone, Some(Reason::Unsolicited), "where edges are emulated, at checkin");
        }
        assert_eq!(host.checkout(), None);
        assert_eq!(host.cache.stats().left(Reason::Unsolicited), 1);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_connection_that_is_still_connecting_is_never_kept() {
    let (_silent, address) = nobody::silent();
    for way in 0..3 {
        let mut host = Host::new(Limits::default());
        let mut near = TcpStream::connect(address).unwrap();
        let kind = near.read(&mut [0]).unwrap_err().kind();
        assert!(near.peer_addr().is_err(), "it got through");
        let reason = if way == 2 {
            let token = conncache::mio::Token(1);
            host.poll.registry().register(&mut near, token, conncache::mio::Interest::READABLE).unwrap();
            let refused = host.cache.park(host.now, near, &host.peer, PLAIN, None).unwrap_err();
            assert!(matches!(refused.cause, conncache::Cause::Refused(Reason::NotConnected)), "{refused}");
            continue;
        } else {
            let id = host.insert(near);
            match way {
                0 => host.cache.checkin(host.now, id).unwrap().unwrap().reason,
                _ => {
                    let state = ConnState::inactive(PLAIN);
                    let changed = host.cache.set_connection_state(host.now, id, &host.peer, state).unwrap();
                    changed.evicted.unwrap().reason
                }
            }
        };
        assert_eq!(reason, Reason::NotConnected, "though reading says {kind}");
        assert_eq!(host.cache.counts(), Counts::default());
    }
}

#[test]
fn a_connection_that_was_refused_is_never_kept() {
    let (_refusing, address) = nobody::refusing();
    let mut host = Host::new(Limits::default());
    let id = host.insert(TcpStream::connect(address).unwrap());
    host.turns(|handled| !handled.is_empty());
    let reason = host.cache.checkin(host.now, id).unwrap().unwrap().reason;
    assert!(matches!(reason, Reason::NotConnected | Reason::HungUp), "{reason}");
}

#[test]
fn a_unix_socket_is_probed_and_asked_as_well() {
    use socket2::{Domain, Socket, Type};
    let mut host = Host::new(Limits::default());
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let id = host.keep(UnixStream::from_std(near));
    assert_eq!(host.checkout(), Some(id));
    assert!(host.cache.checkin(host.now, id).unwrap().is_none());
    drop(far);
    assert_eq!((host.checkout(), host.cache.stats().left(Reason::HungUp)), (None, 1));
    let nowhere = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    nowhere.set_nonblocking(true).unwrap();
    let id = host.insert(UnixStream::from_std(std::os::fd::OwnedFd::from(nowhere).into()));
    assert_eq!(host.cache.checkin(host.now, id).unwrap().map(|gone| gone.reason), Some(Reason::NotConnected));
}

// G3

#[test]
fn a_connection_is_never_handed_out_twice() {
    let mut host = Host::new(Limits::default());
    let id = host.keep(Light);
    let (found, _) = host.cache.find_inactive_connection(host.now, &host.peer, PLAIN).unwrap();
    assert_eq!((found, host.checkout()), (id, Some(id)));
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
    assert!(matches!(host.cache.handle_event(second), Handled::Quiet));
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
    assert!(matches!(host.cache.handle_readiness(token, true), Handled::Quiet));
    assert!(host.cache.checkin(host.now, id).unwrap().is_none(), "it is kept");
}

// G4

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

// G5

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
    assert!(host.cache.park(host.now, Light, &host.peer, PLAIN, None).is_ok());
    drop(host.cache.shed());
    let mut parking = Parking::default();
    parking.until = Some(host.now);
    assert!(host.cache.park_with(host.now, Light, &host.peer, PLAIN, parking).is_err());
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

// G6

#[test]
fn a_hundred_thousand_expiring_at_once_come_one_by_one() {
    for which in [limits(|l| l.idle_timeout = Some(SECOND)), limits(|l| l.max_lifetime = Some(SECOND))] {
        let mut host = Host::new(which);
        (0..100_000).for_each(|_| {
            host.keep(Light);
        });
        host.now += SECOND;
        for left in 1..=10 {
            assert!(host.cache.expire(host.now).is_some());
            assert_eq!(host.cache.stats().left_in_all(), left);
            assert_eq!(host.cache.next_deadline(), Some(host.cache.next_deadline().unwrap().min(host.now)));
        }
        assert_eq!(host.checkout(), None, "what has run out isn't handed out, expired or not");
        let mut left = 10;
        while host.cache.expire(host.now).is_some() {
            left += 1;
        }
        assert_eq!((left, host.cache.next_deadline()), (100_000, None));
    }
}

#[test]
fn a_call_puts_a_bounded_number_of_deadlines_right() {
    let mut host = Host::new(Limits::default());
    let count = 10_000;
    for _ in 0..count {
        let id = host.insert(Light);
        assert!(host.cache.checkin_until(host.now, id, host.now + SECOND).unwrap().is_none());
    }
    // All are used again, and get later deadlines.
    let later = host.now + 3_600 * SECOND;
    let all: Vec<ConnId> = (0..count).map(|_| host.checkout().unwrap()).collect();
    all.iter().for_each(|&id| assert!(host.cache.checkin_until(host.now, id, later).unwrap().is_none()));
    host.now += SECOND;
    let mut calls = 0;
    while host.cache.next_deadline().unwrap() <= host.now {
        assert!(host.cache.expire(host.now).is_none());
        calls += 1;
        assert!(calls <= count, "no call gets anywhere");
    }
    assert!(calls > 50, "one call put {} right", count / calls);
    assert_eq!(host.cache.next_deadline(), Some(later));
}

#[test]
fn closing_a_peer_or_draining_returns_one_a_call() {
    for order in 0..3 {
        let mut host = Host::new(Limits::default());
        (0..1_000).for_each(|_| {
            host.keep(Light);
        });
        match order {
            0 => host.cache.close_peer(&host.peer),
            1 => host.cache.drain(),
            _ => host.cache.set_limits(limits(|l| l.max_inactive = Some(0))).unwrap(),
        }
        assert_eq!(host.cache.counts().inactive, 1_000);
        assert_eq!(host.checkout(), None);
        for left in (0..1_000).rev() {
            assert!(host.cache.next_deadline().unwrap() <= host.now);
            assert!(host.cache.expire(host.now).is_some());
            assert_eq!(host.cache.counts().inactive, left);
        }
        assert!(host.cache.expire(host.now).is_none());
    }
}

// G7

#[test]
fn nothing_a_peer_sends_panics_or_is_kept() {
    let megabyte = vec![b'x'; 1 << 20];
    let messages: [&[u8]; 5] =
        [b"\0", b"HTTP/1.1 408 Request Timeout\r\n\r\n", b"\x15\x03\x03\0\x02", &[0xff; 70_000], &megabyte];
    for message in messages {
        let mut host = Host::new(Limits::default());
        let (near, far) = pair();
        let id = host.keep(near);
        let mut far_end = far.try_clone().unwrap();
        far_end.set_nonblocking(true).unwrap();
        assert!(far_end.write(message).unwrap() > 0);
        let handled = host.turns(|handled| handled.iter().any(|one| matches!(one, Handled::Evicted(_))));
        assert!(handled.iter().any(|one| matches!(one, Handled::Evicted(e) if e.reason == Reason::Unsolicited)));
        assert!(host.cache.get(id).is_none());
    }
    let mut host = Host::new(Limits::default());
    let (near, far) = pair();
    host.keep(near);
    SockRef::from(&far).send_out_of_band(b"!").unwrap();
    Act::Fin.by(far, host.cache.iter().next().unwrap().conn);
    host.turns(|handled| handled.iter().any(|one| matches!(one, Handled::Evicted(_))));
}

#[test]
fn buckets_closed_and_emptied_in_a_circle_leave_nothing_behind() {
    let mut host = Host::new(Limits::default());
    for _ in 0..1_000 {
        let id = host.keep(Light);
        host.cache.close_peer(&host.peer);
        drop(host.cache.close_connection(id).unwrap());
        assert!(host.cache.expire(host.now).is_none());
    }
    host.keep(Light);
    assert_eq!(host.cache.next_deadline(), None, "nothing is due");
}

#[test]
#[should_panic(expected = "is not in the cache")]
fn indexing_by_a_stale_id_panics_as_a_slice_does() {
    let mut host = Host::new(Limits::default());
    let id = host.insert(Light);
    drop(host.cache.close_connection(id).unwrap());
    let _ = &host.cache[id];
}

#[test]
fn a_connection_evicted_can_still_say_goodbye() {
    let poll = Poll::new().unwrap();
    let mut cache: RestrictiveCache<TcpStream> = RestrictiveCache::builder().build(poll.registry()).unwrap();
    let (now, (near, mut far)) = (Instant::now(), pair());
    let id = cache.insert(now, near, &Peer::direct("a", 1), PLAIN, ME).unwrap();
    let mut evicted = cache.checkin(now, id).unwrap().unwrap();
    assert_eq!(evicted.reason, Reason::Policy);
    evicted.conn.write_all(b"bye").unwrap();
    drop(evicted);
    let mut said = Vec::new();
    far.read_to_end(&mut said).unwrap();
    assert_eq!(said, b"bye");
}

#[test]
fn a_connection_goes_to_another_loop_through_its_standard_socket() {
    let (mut one, mut other) = (Host::<TcpStream>::new(Limits::default()), Host::new(Limits::default()));
    let (near, far) = pair();
    let id = one.keep(near);
    let removed = one.cache.remove(id).unwrap();
    // mio wants a source to stay with its first `Poll`. A new one of the same socket is another.
    other.keep(TcpStream::from_std(removed.conn.into()));
    drop(far);
    let handled = other.turns(|handled| handled.iter().any(|one| matches!(one, Handled::Evicted(_))));
    assert!(handled.iter().any(|one| matches!(one, Handled::Evicted(Evicted { reason: Reason::HungUp, .. }))));
}
