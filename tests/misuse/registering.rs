//! Registering that fails, and how often it is done.

use crate::common::scripted::{self, EDGES_ARE_EMULATED, Scripted};
use crate::common::{ME, PLAIN};
use conncache::mio::event::Source;
use conncache::mio::{Interest, Poll, Token};
use conncache::{AggressiveCache, Cause, ConnState, Connection, Counts, ParkOptions, Peer, Probe, Reason};
use std::io;
use std::time::Instant;

/// A real socket that fails to be registered as often as it is told to.
struct Stubborn {
    socket: conncache::mio::net::UdpSocket,
    refusals: u32,
}

impl Source for Stubborn {
    fn register(&mut self, registry: &conncache::mio::Registry, token: Token, interest: Interest) -> io::Result<()> {
        if self.refusals > 0 {
            self.refusals -= 1;
            return Err(io::Error::other("not now"));
        }
        self.socket.register(registry, token, interest)
    }

    fn reregister(&mut self, registry: &conncache::mio::Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.socket.reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &conncache::mio::Registry) -> io::Result<()> {
        self.socket.deregister(registry)
    }
}

impl Connection for Stubborn {
    fn probe(&mut self) -> Probe {
        Probe::Quiet
    }

    fn is_connected(&self) -> bool {
        true
    }
}

#[test]
fn a_connection_that_cannot_be_registered_comes_back_and_can_be_inserted_again() {
    let (poll, peer, now) = (Poll::new().unwrap(), Peer::direct("a", 1), Instant::now());
    let mut cache: AggressiveCache<Stubborn> = AggressiveCache::builder().build(poll.registry()).unwrap();
    let socket = conncache::mio::net::UdpSocket::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let error = cache.insert(now, Stubborn { socket, refusals: 1 }, &peer, PLAIN, ME).unwrap_err();
    assert!(matches!(error.cause, Cause::Registry(_)));
    assert_eq!((cache.counts(), cache.peers().count(), cache.stats().inserted), (Counts::default(), 0, 0));
    assert!(cache.insert(now, error.conn, &peer, PLAIN, ME).is_ok());
}

/// A regular file can't be polled: the operating system itself refuses, which in debug builds mio remembers wrongly.
#[test]
#[cfg(all(target_os = "linux", not(mio_unsupported_force_poll_poll)))]
fn a_source_that_the_system_refuses_can_be_given_to_another_cache() {
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    let std = std::net::TcpStream::from(std::os::fd::OwnedFd::from(file));
    let stream = conncache::mio::net::TcpStream::from_std(std);
    let (one, two) = (Poll::new().unwrap(), Poll::new().unwrap());
    let (peer, now) = (Peer::direct("a", 1), Instant::now());
    let mut caches = [&one, &two].map(|poll| AggressiveCache::builder().build(poll.registry()).unwrap());
    let error = caches[0].insert(now, stream, &peer, PLAIN, ME).unwrap_err();
    let Cause::Registry(first) = error.cause else { panic!() };
    let again = caches[1].insert(now, error.conn, &peer, PLAIN, ME).unwrap_err();
    let Cause::Registry(second) = again.cause else { panic!() };
    assert_eq!((first.raw_os_error(), first.kind()), (second.raw_os_error(), second.kind()), "mio bound it: {second}");
}

#[test]
fn a_connection_that_is_registered_already_comes_back_registered() {
    let (poll, peer, now) = (Poll::new().unwrap(), Peer::direct("a", 1), Instant::now());
    let mut cache: AggressiveCache<Scripted> = AggressiveCache::builder().build(poll.registry()).unwrap();
    let (conn, wire) = Scripted::new(0);
    let mine = Some((Token(3), Interest::READABLE));
    wire.borrow_mut().registered = mine;
    let error = cache.insert(now, conn, &peer, PLAIN, ME).unwrap_err();
    assert!(matches!(&error.cause, Cause::Registry(error) if error.kind() == io::ErrorKind::AlreadyExists));
    assert_eq!((wire.borrow().registered, wire.borrow().dropped), (mine, 0));
}

#[test]
fn one_registration_and_one_question_serve_a_whole_life() {
    let (poll, peer, now) = (Poll::new().unwrap(), Peer::direct("a", 1), Instant::now());
    let mut cache: AggressiveCache<Scripted> = AggressiveCache::builder().build(poll.registry()).unwrap();
    let (conn, wire) = Scripted::new(0);
    let mut id = cache.insert(now, conn, &peer, PLAIN, ME).unwrap();
    let before = scripted::PROBES.get();
    for _ in 0..100 {
        assert!(cache.checkin(now, id).unwrap().is_none());
        id = cache.checkout(now, &peer, PLAIN, ME).unwrap().id;
    }
    // Where edges are emulated, two more registrations and a second probe in each cycle.
    let (reregistered, probes) = if EDGES_ARE_EMULATED { (200, 200) } else { (0, 100) };
    assert_eq!((wire.borrow().calls, scripted::PROBES.get() - before), ([1, reregistered, 0], probes));
    assert_eq!(wire.borrow().asked, 1, "whether it is connected");
    drop(cache.close_connection(id).unwrap());
    assert_eq!(wire.borrow().calls, [1, reregistered, 1]);
}

#[test]
fn parking_and_taking_cost_one_registration_each() {
    let (poll, peer, now) = (Poll::new().unwrap(), Peer::direct("a", 1), Instant::now());
    let mut cache: AggressiveCache<Scripted> = AggressiveCache::builder().build(poll.registry()).unwrap();
    let (conn, wire) = Scripted::new(0);
    wire.borrow_mut().registered = Some((Token(3), Interest::READABLE));
    assert!(cache.park(now, conn, &peer, PLAIN, ParkOptions::default()).unwrap().evicted.is_none());
    let taken = cache.take(now, &peer, PLAIN, Token(4), Interest::WRITABLE).unwrap().unwrap();
    assert_eq!(wire.borrow().calls, [0, 2, 0]);
    assert_eq!(wire.borrow().registered, Some((Token(4), Interest::WRITABLE)));
    drop(taken.conn);
}

#[test]
fn a_parked_connection_is_not_asked_again_whether_it_is_connected() {
    let (poll, peer, now) = (Poll::new().unwrap(), Peer::direct("a", 1), Instant::now());
    let mut cache: AggressiveCache<Scripted> = AggressiveCache::builder().build(poll.registry()).unwrap();
    let (conn, wire) = Scripted::new(0);
    wire.borrow_mut().registered = Some((Token(3), Interest::READABLE));
    assert!(cache.park(now, conn, &peer, PLAIN, ParkOptions::default()).unwrap().evicted.is_none());
    let id = cache.checkout(now, &peer, PLAIN, ME).unwrap().id;
    let both = Interest::READABLE.add(Interest::WRITABLE);
    assert_eq!(wire.borrow().registered.map(|(_, interest)| interest), Some(both), "its owner writes");
    assert!(cache.checkin(now, id).unwrap().is_none());
    assert_eq!(wire.borrow().asked, 1);
}

#[test]
fn what_cannot_be_registered_for_writing_again_is_evicted_with_the_error() {
    let (poll, peer, now) = (Poll::new().unwrap(), Peer::direct("a", 1), Instant::now());
    let mut cache: AggressiveCache<Scripted> = AggressiveCache::builder().build(poll.registry()).unwrap();
    let (conn, wire) = Scripted::new(0);
    wire.borrow_mut().registered = Some((Token(3), Interest::READABLE));
    let id = cache.park(now, conn, &peer, PLAIN, ParkOptions::default()).unwrap().id;
    wire.borrow_mut().fail_reregister = true;
    let changed = cache.set_connection_state(now, id, &peer, ConnState::Active(ME)).unwrap();
    let evicted = changed.evicted.expect("it isn't fit");
    assert_eq!((evicted.reason, evicted.error.map(|error| error.kind())), (Reason::Failed, Some(io::ErrorKind::Other)));
}

#[test]
fn a_box_asks_what_is_in_it() {
    let (poll, peer, now) = (Poll::new().unwrap(), Peer::direct("a", 1), Instant::now());
    let mut cache: AggressiveCache<Box<dyn Connection>> = AggressiveCache::builder().build(poll.registry()).unwrap();
    let (conn, wire) = Scripted::new(0);
    let id = cache.insert(now, Box::new(conn), &peer, PLAIN, ME).unwrap();
    assert!(cache.checkin(now, id).unwrap().is_none());
    wire.borrow_mut().far = scripted::Far::Closed;
    assert!(cache.checkout(now, &peer, PLAIN, ME).is_none());
    let (conn, wire) = Scripted::new(1);
    wire.borrow_mut().connected = false;
    let id = cache.insert(now, Box::new(conn), &peer, PLAIN, ME).unwrap();
    assert_eq!(cache.checkin(now, id).unwrap().map(|evicted| evicted.reason), Some(Reason::NotConnected));
}
