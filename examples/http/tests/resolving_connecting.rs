//! Names to addresses and addresses to connections, Loopback only, but
//! for the question about a name that can't exist.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use conncache::mio::net::TcpStream;
use conncache::mio::{Events, Interest, Poll, Token, Waker};
use http::connecting::{Attempts, connected};
use http::resolving::{Found, LookupId, Resolver, THREADS};
use testing::nobody::{refusing, silent};

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
    let mut resolver = Resolver::new(waker).unwrap();
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
    let mut resolver = Resolver::new(waker).unwrap();
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
    let mut resolver = Resolver::with(waker, |_, _| Ok(Vec::new())).unwrap();
    let id = resolver.lookup("bare", 80);
    let found = answers(&mut poll, &mut resolver, 1).remove(&id).unwrap();
    assert_eq!(found.unwrap_err().to_string(), "bare: the name has no address");
}

#[test]
fn literals_are_answered_at_once_and_wake_the_loop() {
    let (mut poll, waker) = event_loop();
    let mut resolver = Resolver::with(waker, |_, _| panic!("asked for a literal")).unwrap();
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
    let mut resolver = Resolver::with(waker, move |host, _| Ok(pass(host))).unwrap();
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
    })
    .unwrap();
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
    })
    .unwrap();
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

/// What a host does.
fn drive(poll: &mut Poll, attempts: &mut Attempts) -> io::Result<TcpStream> {
    loop {
        let mut stream = attempts.connect()?;
        poll.registry().register(&mut stream, Token(1), Interest::WRITABLE).unwrap();
        loop {
            wait_for_event(poll);
            match connected(&stream) {
                Ok(true) => return Ok(stream),
                Ok(false) => {}
                Err(error) => {
                    attempts.failed(error);
                    break;
                }
            }
        }
    }
}

#[track_caller]
fn assert_connected(stream: &TcpStream, listener: &TcpListener) {
    assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
    let (_, peer) = listener.accept().unwrap();
    assert_eq!(stream.local_addr().unwrap(), peer);
}

#[test]
fn the_first_address_that_answers_is_taken() {
    let mut poll = Poll::new().unwrap();
    let (_refusing, refused) = refusing();
    let listener = TcpListener::bind(loopback(0)).unwrap();
    let unused = TcpListener::bind(loopback(0)).unwrap();
    unused.set_nonblocking(true).unwrap();
    let mut attempts = Attempts::new([refused, listener.local_addr().unwrap(), unused.local_addr().unwrap()]);
    let stream = drive(&mut poll, &mut attempts).unwrap();
    assert_connected(&stream, &listener);
    let error = unused.accept().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert_eq!(attempts.untried(), 1);
}

#[test]
fn when_all_fail_the_error_names_each_and_why() {
    let mut poll = Poll::new().unwrap();
    let (_one, one) = refusing();
    let (_two, two) = refusing();
    let error = drive(&mut poll, &mut Attempts::new([one, two])).unwrap_err();
    let refused = io::Error::from_raw_os_error(111);
    if cfg!(target_os = "linux") {
        assert_eq!(error.to_string(), format!("{one}: {refused}; {two}: {refused}"));
    }

    let mut attempts = Attempts::new([one]);
    let _stream = attempts.connect().unwrap();
    attempts.failed(io::Error::new(io::ErrorKind::TimedOut, "no answer"));
    attempts.failed(io::Error::other("it is told once"));
    assert_eq!(attempts.connect().unwrap_err().to_string(), format!("{one}: no answer"));
}

#[test]
fn no_address_is_an_error() {
    assert_eq!(Attempts::new([]).connect().unwrap_err().to_string(), "no address to connect to");
}

/// No connection can be made to a group, and the system says so in the call already.
#[test]
#[cfg(target_os = "linux")]
fn an_address_that_fails_at_once_is_passed_over() {
    let group: SocketAddr = "224.0.0.1:9".parse().unwrap();
    let error = Attempts::new([group, group]).connect().unwrap_err();
    assert_eq!(error.to_string().matches("224.0.0.1:9: ").count(), 2);

    let mut poll = Poll::new().unwrap();
    let listener = TcpListener::bind(loopback(0)).unwrap();
    let (_refusing, refused) = refusing();
    let mut attempts = Attempts::new([group, refused, group, listener.local_addr().unwrap()]);
    let stream = drive(&mut poll, &mut attempts).unwrap();
    assert_connected(&stream, &listener);
}

#[test]
#[cfg(target_os = "linux")]
fn a_connection_under_way_is_neither_made_nor_failed() {
    let mut poll = Poll::new().unwrap();
    let (_full, silent) = silent();
    let listener = TcpListener::bind(loopback(0)).unwrap();
    let mut attempts = Attempts::new([silent, listener.local_addr().unwrap()]);
    let stream = attempts.connect().unwrap();
    assert!(!connected(&stream).unwrap());
    attempts.failed(io::Error::new(io::ErrorKind::TimedOut, "no answer"));
    let stream = drive(&mut poll, &mut attempts).unwrap();
    assert_connected(&stream, &listener);
}
