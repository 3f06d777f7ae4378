//! Names to addresses. Loopback only, but for the question about a name that can't exist.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use conncache::mio::{Events, Poll, Token, Waker};
use http::resolving::{Found, LookupId, Resolver, THREADS};

/// Only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(120);

fn event_loop() -> (Poll, Arc<Waker>) {
    let poll = Poll::new().unwrap();
    let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
    (poll, waker)
}

fn wait_for_event(poll: &mut Poll) {
    let mut events = Events::with_capacity(8);
    poll.poll(&mut events, Some(PATIENCE)).unwrap();
    assert!(!events.is_empty(), "nothing happened");
}

/// The next `count` answers, asked for only when the loop was woken.
fn answers(poll: &mut Poll, resolver: &mut Resolver, count: usize) -> HashMap<LookupId, Found> {
    let mut answers = HashMap::new();
    while answers.len() < count {
        wait_for_event(poll);
        while let Some((id, found)) = resolver.poll() {
            assert!(answers.insert(id, found).is_none(), "answered twice");
        }
    }
    assert_eq!(answers.len(), count);
    answers
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[test]
fn localhost_is_found() {
    let (mut poll, waker) = event_loop();
    let mut resolver = Resolver::new(waker);
    let id = resolver.lookup("localhost", 80);
    let found = answers(&mut poll, &mut resolver, 1).remove(&id).unwrap();
    for address in found.unwrap() {
        assert!(address.ip().is_loopback(), "{address}");
        assert_eq!(address.port(), 80);
    }
}

#[test]
fn what_can_not_exist_is_an_error_that_names_it() {
    let (mut poll, waker) = event_loop();
    let mut resolver = Resolver::new(waker);
    for host in ["name.invalid", "", "[::1]"] {
        let id = resolver.lookup(host, 80);
        let found = answers(&mut poll, &mut resolver, 1).remove(&id).unwrap();
        let text = found.unwrap_err().to_string();
        assert!(text.starts_with(&format!("{host}: ")), "{text}");
    }
}

#[test]
fn a_name_without_addresses_is_an_error() {
    let (mut poll, waker) = event_loop();
    let mut resolver = Resolver::with(waker, |_, _| Ok(Vec::new()));
    let id = resolver.lookup("bare", 80);
    let found = answers(&mut poll, &mut resolver, 1).remove(&id).unwrap();
    assert_eq!(found.unwrap_err().to_string(), "bare: the name has no address");
}

#[test]
fn literals_are_answered_at_once_and_wake_the_loop() {
    let (mut poll, waker) = event_loop();
    let mut resolver = Resolver::with(waker, |_, _| panic!("asked for a literal"));
    for (literal, address) in [("192.0.2.7", "192.0.2.7:80"), ("2001:db8::1", "[2001:db8::1]:80")] {
        let id = resolver.lookup(literal, 80);
        let (answered, found) = resolver.poll().unwrap();
        assert_eq!(answered, id);
        assert_eq!(found.unwrap(), [address.parse().unwrap()]);
        assert!(resolver.poll().is_none());
        wait_for_event(&mut poll);
    }
}

/// A lookup of "slow" takes until the sender is dropped; any other finds loopback at once.
fn gate() -> (mpsc::Sender<()>, impl Fn(&str) -> Vec<SocketAddr>) {
    let (open, closed) = mpsc::channel::<()>();
    let closed = Mutex::new(closed);
    let pass = move |host: &str| {
        if host.starts_with("slow") {
            let _ = closed.lock().unwrap().recv();
        }
        vec![loopback(1)]
    };
    (open, pass)
}

#[test]
fn slow_names_do_not_hold_up_others() {
    let (mut poll, waker) = event_loop();
    let (open, pass) = gate();
    let mut resolver = Resolver::with(waker, move |host, _| Ok(pass(host)));
    for i in 1..THREADS {
        resolver.lookup(&format!("slow{i}"), 80);
    }
    for _ in 0..10 {
        let id = resolver.lookup("fast", 80);
        assert!(answers(&mut poll, &mut resolver, 1).contains_key(&id));
    }
    drop(open);
    answers(&mut poll, &mut resolver, THREADS - 1);
}

#[test]
fn the_same_question_is_asked_once_at_a_time() {
    let (mut poll, waker) = event_loop();
    let (open, pass) = gate();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let mut resolver = Resolver::with(waker, move |host, port| {
        count.fetch_add(1, Ordering::SeqCst);
        pass(host);
        match port {
            80 => Ok(vec![loopback(port)]),
            _ => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")),
        }
    });
    let same: Vec<_> = (0..5).map(|_| resolver.lookup("slow", 80)).collect();
    let other: Vec<_> = (0..5).map(|_| resolver.lookup("slow", 81)).collect();
    drop(open);
    let mut found = answers(&mut poll, &mut resolver, 10);
    for id in same {
        assert_eq!(found.remove(&id).unwrap().unwrap(), [loopback(80)]);
    }
    for id in other {
        let error = found.remove(&id).unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "slow: no answer");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);

    resolver.lookup("slow", 80);
    answers(&mut poll, &mut resolver, 1);
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[test]
fn a_resolver_can_go_while_its_threads_are_stuck() {
    let (_poll, waker) = event_loop();
    let (open, pass) = gate();
    let (in_threads, ended) = mpsc::channel::<()>();
    let (stuck, is_stuck) = mpsc::channel();
    let mut resolver = Resolver::with(waker, move |host, _| {
        let _ = &in_threads;
        stuck.send(()).unwrap();
        Ok(pass(host))
    });
    for i in 0..2 {
        resolver.lookup(&format!("slow{i}"), 80);
        is_stuck.recv_timeout(PATIENCE).unwrap();
    }
    let (dropped, is_dropped) = mpsc::channel();
    std::thread::spawn(move || {
        drop(resolver);
        dropped.send(()).unwrap();
    });
    is_dropped.recv_timeout(PATIENCE).expect("the drop waits");
    drop(open);
    // All threads have let go of what they had.
    assert_eq!(ended.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
}

/// A message when its thread ends.
struct AtEnd(mpsc::Sender<()>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[test]
fn a_thread_ends_when_there_is_nothing_left_to_look_up() {
    thread_local!(static END: RefCell<Option<AtEnd>> = const { RefCell::new(None) });
    let (mut poll, waker) = event_loop();
    let (ends, ended) = mpsc::channel();
    let mut resolver = Resolver::with(waker, move |_, _| {
        END.set(Some(AtEnd(ends.clone())));
        Ok(vec![loopback(1)])
    });
    for _ in 0..2 {
        resolver.lookup("name", 80);
        answers(&mut poll, &mut resolver, 1);
        ended.recv_timeout(PATIENCE).expect("the thread stays");
    }
}
