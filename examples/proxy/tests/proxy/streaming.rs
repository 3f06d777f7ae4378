//! Long bodies: bounded memory, back-pressure, and every framing they come in.

use crate::harness::{Client, PATIENCE, Proxy, Upstream, field, ok};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Duration;

const BIG: u64 = 256 << 20;
/// What the process may have had in memory, its own code and tables included.
const MOST_KIB: u64 = 16 * 1024;
/// What sockets on the way, two of them with two buffers each, hold at most.
const MOST_IN_SOCKETS: u64 = 64 << 20;

/// A body: bytes that no multiple of a buffer repeats.
struct Pattern(Vec<u8>);

const PERIOD: u64 = 251;
const PIECE: usize = 64 * 1024;

impl Pattern {
    fn new() -> Pattern {
        Pattern((0..PIECE as u64 + PERIOD).map(|at| (at % PERIOD) as u8).collect())
    }

    fn at(&self, at: u64, len: usize) -> &[u8] {
        &self.0[(at % PERIOD) as usize..][..len]
    }

    /// Writes the body from `at` to `until`; stops early when the socket has taken nothing for a moment.
    fn write(&self, stream: &mut TcpStream, at: &mut u64, until: u64) {
        while *at < until {
            match stream.write(self.at(*at, PIECE.min((until - *at) as usize))) {
                Ok(n) => *at += n as u64,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => panic!("writing at {at}: {e}"),
            }
        }
    }

    fn read(&self, reader: &mut impl Read, len: u64) {
        let (mut at, mut got) = (0, vec![0; PIECE]);
        while at < len {
            let n = match reader.read(&mut got) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                read => read.expect("the body goes on"),
            };
            assert_ne!(n, 0, "the body ends at {at}");
            assert!(got[..n] == *self.at(at, n), "the body differs behind {at}");
            at += n as u64;
        }
        assert_eq!(at, len);
    }
}

#[test]
fn a_long_response_waits_for_a_slow_client_in_bounded_memory() {
    let (stalled, told) = mpsc::channel();
    let upstream = Upstream::start(move |mut conn, _| {
        conn.head();
        conn.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n"));
        let (stream, mut at) = (conn.stream(), 0);
        stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        Pattern::new().write(stream, &mut at, BIG);
        stalled.send(at).unwrap();
        stream.set_write_timeout(None).unwrap();
        Pattern::new().write(stream, &mut at, BIG);
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let taken = told.recv().unwrap();
    assert!(taken < MOST_IN_SOCKETS, "{taken} bytes were taken for a client that reads nothing");
    client.head();
    Pattern::new().read(&mut client.reader, BIG);
    assert!(proxy.peak_kib().is_none_or(|kib| kib < MOST_KIB), "{:?}", proxy.peak_kib());
}

#[test]
fn a_long_request_waits_for_a_slow_upstream_in_bounded_memory() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::start(move |mut conn, _| {
        conn.head();
        wait.lock().unwrap().recv().unwrap();
        Pattern::new().read(&mut conn.reader, BIG);
        conn.send(&ok("got it"));
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    client.send(&format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {BIG}\r\n\r\n"));
    let (stream, mut at) = (client.stream(), 0);
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    Pattern::new().write(stream, &mut at, BIG);
    assert!(at < MOST_IN_SOCKETS, "{at} bytes were taken for an upstream that reads nothing");
    go.send(()).unwrap();
    stream.set_write_timeout(None).unwrap();
    Pattern::new().write(stream, &mut at, BIG);
    assert_eq!(client.response().body, b"got it");
    assert!(proxy.peak_kib().is_none_or(|kib| kib < MOST_KIB), "{:?}", proxy.peak_kib());
}

#[test]
fn a_long_chunked_body_passes_both_ways_in_bounded_memory() {
    const CHUNKS: usize = 20_000;
    let chunk = |n: usize| vec![b'a' + (n % 26) as u8; 1 + n * 7919 % 9001];
    let whole: usize = (0..CHUNKS).map(|n| chunk(n).len()).sum();
    // An echo that doesn't wait for the end.
    let upstream = Upstream::start(|mut conn, _| {
        let head = conn.head();
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
        assert_eq!(field(&head, "content-length"), None);
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while let Some(data) = conn.chunk() {
            conn.send(&format!("{:X}\r\n{}\r\n", data.len(), String::from_utf8(data).unwrap()));
        }
        conn.send("0\r\nX-Trailer: dropped\r\n\r\n");
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    let mut writer = client.stream().try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        writer.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        for n in 0..CHUNKS {
            let data = chunk(n);
            writer.write_all(format!("{:x};ext=1\r\n", data.len()).as_bytes()).unwrap();
            writer.write_all(&data).unwrap();
            writer.write_all(b"\r\n").unwrap();
        }
        writer.write_all(b"0\r\n\r\n").unwrap();
    });
    let head = client.head();
    assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
    let body = client.body(&head);
    writing.join().unwrap();
    assert_eq!(body.len(), whole);
    assert!(body == (0..CHUNKS).flat_map(chunk).collect::<Vec<u8>>());
    assert!(proxy.peak_kib().is_none_or(|kib| kib < MOST_KIB), "{:?}", proxy.peak_kib());
}

#[test]
fn a_response_that_only_the_end_delimits_is_chunked_for_the_client() {
    let upstream = Upstream::start(|mut conn, _| {
        conn.head();
        conn.send("HTTP/1.1 200 OK\r\n\r\n");
        let mut at = 0;
        Pattern::new().write(conn.stream(), &mut at, 1 << 20);
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let response = client.response();
        assert_eq!(field(&response.head, "transfer-encoding"), Some("chunked"));
        Pattern::new().read(&mut response.body.as_slice(), 1 << 20);
    }
    assert_eq!(upstream.accepted(), 2, "a connection that has ended is not used again");
}

#[test]
fn a_response_is_passed_on_as_it_comes() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::start(move |mut conn, _| {
        conn.head();
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        wait.lock().unwrap().recv().unwrap();
        conn.send("6\r\nsecond\r\n0\r\n\r\n");
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client: Client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head();
    assert_eq!(client.chunk().unwrap(), b"first");
    go.send(()).unwrap();
    assert_eq!(client.chunk().unwrap(), b"second");
    assert_eq!(client.chunk(), None);
}

#[test]
fn a_long_body_does_not_keep_others_waiting() {
    let upstream = Upstream::start(|mut conn, _| {
        loop {
            let head = conn.head();
            if head.starts_with("GET /endless") {
                conn.send("HTTP/1.1 200 OK\r\n\r\n");
                while conn.stream().write_all(&[b'x'; 64 * 1024]).is_ok() {}
                return;
            } else if head.is_empty() {
                return;
            }
            conn.send(&ok("short"));
        }
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut greedy = proxy.client();
    greedy.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut bytes = greedy.stream().try_clone().unwrap();
    let (tell, told) = mpsc::channel();
    let reading = std::thread::spawn(move || {
        let mut buffer = [0; 64 * 1024];
        while let Ok(n @ 1..) = bytes.read(&mut buffer) {
            let _ = tell.send(n);
        }
    });
    assert!(told.recv_timeout(PATIENCE).is_ok(), "the long body doesn't begin");
    let mut client = proxy.client();
    for _ in 0..100 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response().body, b"short");
    }
    greedy.stream().shutdown(std::net::Shutdown::Both).unwrap();
    reading.join().unwrap();
}

#[test]
fn who_asks_without_end_and_reads_nothing_costs_bounded_memory() {
    let upstream = Upstream::answering(|_, _| ok("x"));
    let proxy = Proxy::start(&[upstream.addr], &[]);
    // For an upstream's answers and for the proxy's own.
    for addr in [proxy.addr, proxy.status] {
        let mut client = Client::connect(addr);
        client.stream().set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        let requests = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1_000);
        let stalled = (0..1_000).any(|_| client.stream().write_all(requests.as_bytes()).is_err());
        assert!(stalled, "30 MB of requests were taken from a client that reads nothing");
        assert!(proxy.peak_kib().is_none_or(|kib| kib < MOST_KIB), "{:?}", proxy.peak_kib());
    }
}
