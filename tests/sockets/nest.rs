//! A `Nest` of four events inside an outer loop, with 64 connections. The outer loop is another mio, edge-triggered;
//! registering the nest's descriptor anew before each wait makes it level-triggered.

use crate::common::host::Host;
use crate::common::loopback::{has_something, pair_through};
use crate::common::{ME, PLAIN};
use crate::{alone, common};
use common::loopback::wait_for;
use conncache::mio::net::TcpStream;
use conncache::mio::unix::SourceFd;
use conncache::mio::{Events, Interest, Poll, Token, Waker};
use conncache::{AggressiveCache, ConnId, Handled, Limits, Nest, Peer};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 64;
const ROOM: usize = 4;
const NEST: Token = Token(0);
const OWN: Token = Token(1);

#[derive(Clone, Copy, PartialEq)]
enum Outer {
    Edge,
    Level,
}

/// What one wait of the outer loop told.
struct Told {
    nest: bool,
    own: bool,
}

struct Nested {
    kind: Outer,
    outer: Poll,
    nest: Nest,
    cache: AggressiveCache<TcpStream>,
    now: Instant,
    conns: Vec<(ConnId, std::net::TcpStream)>,
    /// Connections read by their owner.
    answered: Vec<ConnId>,
    evicted: usize,
}

impl Nested {
    /// All connected, active, and told to be writable.
    fn new(kind: Outer) -> Nested {
        let (outer, nest) = (Poll::new().unwrap(), Nest::with_capacity(ROOM).unwrap());
        outer.registry().register(&mut SourceFd(&nest.as_raw_fd()), NEST, Interest::READABLE).unwrap();
        let mut cache = AggressiveCache::builder().build(nest.registry()).unwrap();
        let (listener, now) = (TcpListener::bind("127.0.0.1:0").unwrap(), Instant::now());
        let conns = (0..CONNECTIONS).map(|_| {
            let (near, far) = pair_through(&listener);
            (cache.insert(now, near, &Peer::direct("host", 1), PLAIN, ME).unwrap(), far)
        });
        let conns = conns.collect();
        let mut nested = Nested { kind, outer, nest, cache, now, conns, answered: Vec::new(), evicted: 0 };
        while nested.wait(Some(Duration::ZERO)).nest || nested.nest.has_more().unwrap() {
            nested.turn();
        }
        assert!(nested.answered.is_empty());
        nested
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Told {
        if self.kind == Outer::Level {
            let fd = self.nest.as_raw_fd();
            self.outer.registry().reregister(&mut SourceFd(&fd), NEST, Interest::READABLE).unwrap();
        }
        let mut events = Events::with_capacity(8);
        self.outer.poll(&mut events, timeout).unwrap();
        Told { nest: events.iter().any(|e| e.token() == NEST), own: events.iter().any(|e| e.token() == OWN) }
    }

    /// How many events the turn had.
    fn turn(&mut self) -> usize {
        let mut events = 0;
        while let Some(event) = self.nest.next_event().unwrap() {
            events += 1;
            match self.cache.handle_event(&event) {
                Handled::Active { id, .. } => match self.cache[id].read(&mut [0; 8]) {
                    Ok(1) => self.answered.push(id),
                    Ok(n) => panic!("{n} bytes"),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                },
                Handled::Evicted(_) => self.evicted += 1,
                Handled::Rejected | Handled::Nothing => panic!("{event:?}"),
            }
        }
        events
    }

    /// Every far end says something, and it has come.
    fn say(&mut self) {
        self.answered.clear();
        for (id, far) in &mut self.conns {
            far.write_all(b"!").unwrap();
            wait_for("a byte", || has_something(&self.cache[*id]));
        }
    }

    fn hang_up(&mut self) {
        for (id, far) in self.conns.drain(..) {
            assert!(self.cache.checkin(self.now, id).unwrap().is_none());
            drop(far);
            wait_for("a hangup", || has_something(&self.cache[id]));
        }
    }

    fn assert_all_answered(&self) {
        assert_eq!(self.answered.len(), CONNECTIONS);
        assert!(self.conns.iter().all(|(id, _)| self.answered.contains(id)));
    }
}

#[test]
fn an_edge_triggered_loop_is_told_of_all_in_as_few_turns_as_there_is_room_for() {
    let _alone = alone();
    let mut nested = Nested::new(Outer::Edge);
    for _ in 0..3 {
        nested.say();
        assert!(nested.wait(Some(60 * common::SECOND)).nest);
        let mut turns = Vec::from([nested.turn()]);
        while nested.nest.has_more().unwrap() {
            assert_eq!(nested.nest.timeout(nested.now, None), Some(Duration::ZERO));
            turns.push(nested.turn());
        }
        assert_eq!(turns, [ROOM; CONNECTIONS / ROOM]);
        nested.assert_all_answered();
        assert_eq!(nested.nest.timeout(nested.now, None), None);
        assert!(!nested.wait(Some(Duration::ZERO)).nest, "a wake-up for nothing");
    }
    nested.hang_up();
    assert!(nested.wait(Some(60 * common::SECOND)).nest);
    nested.turn();
    while nested.nest.has_more().unwrap() {
        nested.turn();
    }
    assert_eq!(nested.evicted, CONNECTIONS);
}

#[test]
fn a_level_triggered_loop_is_woken_for_each_turn_and_never_for_nothing() {
    let _alone = alone();
    let mut nested = Nested::new(Outer::Level);
    for _ in 0..3 {
        nested.say();
        for _ in 0..CONNECTIONS / ROOM {
            assert!(nested.wait(Some(60 * common::SECOND)).nest);
            assert_eq!(nested.turn(), ROOM);
        }
        nested.assert_all_answered();
        assert!(!nested.wait(Some(Duration::ZERO)).nest, "the loop spins");
    }
    nested.hang_up();
    while nested.evicted < CONNECTIONS {
        assert!(nested.wait(Some(60 * common::SECOND)).nest);
        assert_eq!(nested.turn(), ROOM);
    }
    assert!(!nested.wait(Some(Duration::ZERO)).nest, "the loop spins");
}

#[test]
fn a_source_of_the_host_is_served_after_every_four_events() {
    let _alone = alone();
    for kind in [Outer::Edge, Outer::Level] {
        let mut nested = Nested::new(kind);
        let waker = Waker::new(nested.outer.registry(), OWN).unwrap();
        nested.say();
        let (mut more, mut served) = (false, 0);
        for _ in 0..CONNECTIONS / ROOM {
            waker.wake().unwrap();
            let told =
                nested.wait(if more { nested.nest.timeout(nested.now, None) } else { Some(60 * common::SECOND) });
            served += usize::from(told.own);
            if told.nest || more {
                assert_eq!(nested.turn(), ROOM);
            }
            more = kind == Outer::Edge && nested.nest.has_more().unwrap();
        }
        nested.assert_all_answered();
        assert_eq!(served, CONNECTIONS / ROOM);
    }
}

#[test]
fn a_turn_given_up_early_is_gone_on_with() {
    let _alone = alone();
    let mut nested = Nested::new(Outer::Edge);
    nested.say();
    assert!(nested.wait(Some(60 * common::SECOND)).nest);
    let mut told = 0;
    loop {
        assert!(nested.nest.next_event().unwrap().is_some());
        told += 1;
        if !nested.nest.has_more().unwrap() {
            break;
        }
    }
    assert_eq!(told, CONNECTIONS);
    // The last turn was given up after its last event. The next one looks all the same.
    let (_, far) = &mut nested.conns[0];
    far.write_all(b"!").unwrap();
    assert!(nested.wait(Some(60 * common::SECOND)).nest);
    assert!(nested.nest.next_event().unwrap().is_some());
}

#[test]
fn what_is_found_ahead_for_a_connection_that_has_left_concerns_nobody() {
    let _alone = alone();
    let (mut nest, limits) = (Nest::with_capacity(1).unwrap(), Limits::default());
    let mut host = Host { cache: AggressiveCache::builder().build(nest.registry()).unwrap(), ..Host::new(limits) };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ends = [(); 2].map(|()| pair_through(&listener)).map(|(near, far)| (host.insert(near), far));
    let first = nest.next_event().unwrap().unwrap();
    assert!(matches!(host.cache.handle_event(&first), Handled::Active { .. }));
    assert!(nest.has_more().unwrap());
    ends.iter().for_each(|(id, _)| drop(host.cache.close_connection(*id).unwrap()));
    let late = nest.next_event().unwrap().unwrap();
    assert!(matches!(host.cache.handle_event(&late), Handled::Nothing));
    assert!(nest.next_event().unwrap().is_none() && !nest.has_more().unwrap());
}
