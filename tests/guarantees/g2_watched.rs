//! G2: an inactive connection is evicted in the turn that reports its hangup, reset or bytes.

use crate::common::host::Host;
use crate::common::loopback::{Act, pair};
use crate::common::nobody;
use crate::common::{ME, PLAIN};
use conncache::mio::net::{TcpStream, UnixStream};
use conncache::{ConnState, Counts, Handled, Limits, ParkOptions, Reason};
use std::io::Read;

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
        let mut id = host.insert(near);
        if used_before {
            assert!(host.cache.checkin(host.now, id).unwrap().is_none());
            id = host.checkout().unwrap();
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
            let refused = host.cache.park(host.now, near, &host.peer, PLAIN, ParkOptions::default()).unwrap_err();
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
    host.keep(UnixStream::from_std(near));
    let id = host.checkout().unwrap();
    assert!(host.cache.checkin(host.now, id).unwrap().is_none());
    drop(far);
    assert_eq!((host.checkout(), host.cache.stats().left(Reason::HungUp)), (None, 1));
    let nowhere = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    nowhere.set_nonblocking(true).unwrap();
    let id = host.insert(UnixStream::from_std(std::os::fd::OwnedFd::from(nowhere).into()));
    assert_eq!(host.cache.checkin(host.now, id).unwrap().map(|gone| gone.reason), Some(Reason::NotConnected));
}
