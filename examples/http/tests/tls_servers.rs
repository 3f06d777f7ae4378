//! The TLS connection in a cache, against servers that others wrote.

use conncache::mio::net::TcpStream;
use conncache::mio::{Events, Poll};
use conncache::{AggressiveCache, ChannelBindingId, ConnId, Evicted, Handled, Owner, Peer, Reason};
use http::framing::response::{Event, Parser};
use http::tls::TlsConnection;
use rustls::{ClientConfig, HandshakeKind};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};
use testing::certificates::{Authority, HOST};
use testing::servers::{Nginx, Server, stunnel};
use testing::temp_dir::TempDir;

const CHANNEL: ChannelBindingId = ChannelBindingId(1);
const REQUESTS: usize = 500;
/// How many requests are under way at a time.
const OWNERS: usize = 4;
const MOST_WAIT: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs nginx"]
fn nginx_with_tls_1_3_is_reused() {
    let servers = Servers::start("TLSv1.3", "60s");
    is_reused(&servers, "nginx, TLS 1.3", servers.nginx);
}

#[test]
#[ignore = "needs nginx"]
fn nginx_with_tls_1_2_is_reused() {
    let servers = Servers::start("TLSv1.2", "60s");
    is_reused(&servers, "nginx, TLS 1.2", servers.nginx);
}

#[test]
#[ignore = "needs nginx and stunnel4"]
fn stunnel_is_reused() {
    let mut servers = Servers::start("TLSv1.3", "60s");
    let stunnel = servers.start_stunnel();
    is_reused(&servers, "stunnel", stunnel);
}

#[test]
#[ignore = "needs nginx and stunnel4"]
fn tickets_of_real_servers_do_not_evict() {
    let mut servers = Servers::start("TLSv1.3", "60s");
    for address in [servers.nginx, servers.start_stunnel()] {
        let mut client = Client::new(&servers, address);
        let id = client.open(0);
        client.shake_hands(id);
        // Not a byte is read that isn't the handshake's: the tickets come when it is inactive.
        assert!(client.cache.checkin(Instant::now(), id).unwrap().is_none());
        let end = Instant::now() + MOST_WAIT;
        while client.cache.stats().probes == 0 {
            assert!(Instant::now() < end, "no tickets came");
            assert!(client.turn().is_none());
        }
        assert_eq!(client.cache.stats().inactive, 1);
        client.run(1);
        assert_eq!((client.cache.stats().inserted, client.cache.stats().handed_out), (1, 1));
        // And they were kept.
        let id = client.open(0);
        client.shake_hands(id);
        assert_eq!(client.cache[id].handshake_kind(), Some(HandshakeKind::Resumed));
    }
}

#[test]
#[ignore = "needs nginx"]
fn an_idle_connection_that_nginx_closes_is_evicted_as_hung_up() {
    for version in ["TLSv1.3", "TLSv1.2"] {
        let servers = Servers::start(version, "5s");
        let mut client = Client::new(&servers, servers.nginx);
        client.run(1);
        let end = Instant::now() + MOST_WAIT;
        let evicted = loop {
            assert!(Instant::now() < end, "nginx doesn't close");
            if let Some(evicted) = client.turn() {
                break evicted;
            }
        };
        assert_eq!(evicted.reason, Reason::HungUp, "{version}");
    }
}

/// Many requests over few connections; each gets the answer to its own.
fn is_reused(servers: &Servers, name: &str, address: SocketAddr) {
    let mut client = Client::new(servers, address);
    client.run(REQUESTS);
    let stats = client.cache.stats();
    println!(
        "{name}: {REQUESTS} requests, {} connections ({} full handshakes, {} resumed), {} reused; left: {:?}",
        stats.inserted,
        client.full,
        client.resumed,
        stats.handed_out,
        stats.reasons().collect::<Vec<_>>()
    );
    assert_eq!(stats.inserted + stats.handed_out, REQUESTS as u64);
    // The server ends each after 100 requests, and says so.
    assert_eq!(stats.left_in_all(), stats.left(Reason::Closed));
    assert!((5..5 + OWNERS as u64).contains(&stats.inserted), "{stats:?}");
    assert_eq!(client.full + client.resumed, stats.inserted);
    assert!(client.full <= OWNERS as u64 && client.resumed > 0, "{} full", client.full);
}

/// A host with a fixed number of owners, each with one request under way.
struct Client {
    poll: Poll,
    events: Events,
    cache: AggressiveCache<TlsConnection<TcpStream>>,
    config: Arc<ClientConfig>,
    address: SocketAddr,
    peer: Peer,
    tasks: Vec<Option<Task>>,
    next: usize,
    full: u64,
    resumed: u64,
}

struct Task {
    number: usize,
    open: bool,
    input: Vec<u8>,
    parser: Parser,
    body: Vec<u8>,
}

impl Client {
    fn new(servers: &Servers, address: SocketAddr) -> Client {
        let poll = Poll::new().unwrap();
        Client {
            cache: AggressiveCache::builder().build(poll.registry()).unwrap(),
            poll,
            events: Events::with_capacity(64),
            config: servers.authority.trust().config().unwrap(),
            address,
            peer: Peer::direct(HOST, address.port()),
            tasks: (0..OWNERS).map(|_| None).collect(),
            next: 0,
            full: 0,
            resumed: 0,
        }
    }

    fn open(&mut self, owner: usize) -> ConnId {
        let mut conn = TlsConnection::plain(TcpStream::connect(self.address).unwrap());
        conn.start_tls(HOST, &self.config).unwrap();
        self.cache.insert(Instant::now(), conn, &self.peer, CHANNEL, Owner(owner as u64)).unwrap()
    }

    fn shake_hands(&mut self, id: ConnId) {
        let end = Instant::now() + MOST_WAIT;
        while !self.cache[id].handshake().unwrap() {
            assert!(Instant::now() < end, "the handshake takes too long");
            assert!(self.turn().is_none());
        }
    }

    /// Waits for events, and drives those who have some. The eviction, if there was one.
    fn turn(&mut self) -> Option<Evicted<TlsConnection<TcpStream>>> {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(1));
        match self.poll.poll(&mut events, Some(Duration::from_millis(100))) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => done.unwrap(),
        }
        let mut gone = None;
        for event in &events {
            match self.cache.handle_event(event) {
                Handled::Active { id, owner } => self.drive(id, owner.0 as usize),
                Handled::Evicted(evicted) => gone = Some(evicted),
                Handled::Nothing | Handled::Rejected => {}
            }
        }
        self.events = events;
        gone
    }

    /// Makes requests until so many are answered.
    fn run(&mut self, requests: usize) {
        let end = Instant::now() + MOST_WAIT;
        let last = self.next + requests;
        loop {
            for owner in 0..OWNERS {
                if self.tasks[owner].is_none() && self.next < last {
                    self.start(owner);
                }
            }
            if self.tasks.iter().all(Option::is_none) {
                return;
            }
            assert!(Instant::now() < end, "{} requests were answered in time", self.next);
            if let Some(evicted) = self.turn() {
                assert_eq!(evicted.reason, Reason::HungUp, "{evicted:?}");
            }
        }
    }

    fn start(&mut self, owner: usize) {
        let task =
            Task { number: self.next, open: false, input: Vec::new(), parser: Parser::new("GET"), body: Vec::new() };
        self.tasks[owner] = Some(task);
        self.next += 1;
        match self.cache.checkout(Instant::now(), &self.peer, CHANNEL, Owner(owner as u64)) {
            Some(found) => self.ask(found.id, owner),
            None => drop(self.open(owner)),
        }
    }

    fn ask(&mut self, id: ConnId, owner: usize) {
        let Some(task) = &mut self.tasks[owner] else { return };
        task.open = true;
        write!(self.cache[id], "GET /{} HTTP/1.1\r\nHost: {HOST}\r\n\r\n", task.number).unwrap();
    }

    fn drive(&mut self, id: ConnId, owner: usize) {
        let Some(task) = &mut self.tasks[owner] else { return };
        if !task.open {
            if !self.cache[id].handshake().unwrap() {
                return;
            }
            match self.cache[id].handshake_kind() {
                Some(HandshakeKind::Resumed) => self.resumed += 1,
                _ => self.full += 1,
            }
            self.ask(id, owner);
        }
        let Some(task) = &mut self.tasks[owner] else { return };
        let mut buffer = [0; 4096];
        loop {
            match self.cache[id].read(&mut buffer) {
                Ok(0) => panic!("closed before request {} was answered", task.number),
                Ok(n) => task.input.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("request {}: {error}", task.number),
            }
            if task.is_answered() {
                break;
            }
        }
        assert_eq!(task.body, format!("/{}", task.number).into_bytes(), "another's answer");
        assert!(task.input.is_empty());
        if task.parser.keep_alive() {
            assert!(self.cache.checkin(Instant::now(), id).unwrap().is_none());
        } else {
            drop(self.cache.close_connection(id).unwrap());
        }
        self.tasks[owner] = None;
    }
}

impl Task {
    fn is_answered(&mut self) -> bool {
        loop {
            let (used, event) = self.parser.next(&self.input).unwrap();
            let (more, ended) = (matches!(event, Event::More), matches!(event, Event::End));
            match event {
                Event::Head(head) => assert_eq!(head.status, 200),
                Event::Data(data) => self.body.extend_from_slice(data),
                _ => {}
            }
            self.input.drain(..used);
            if more || ended {
                return ended;
            }
        }
    }
}

/// Running servers, and whom their certificate is from.
struct Servers {
    authority: Authority,
    certificate: TempDir,
    nginx: SocketAddr,
    running: Nginx,
    stunnel: Option<Server>,
}

impl Servers {
    fn start(protocol: &str, keep_alive: &str) -> Servers {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let name = format!("tls-{}", STARTED.fetch_add(1, Relaxed));
        let authority = Authority::new();
        let certificate = TempDir::new(&format!("{name}-certificate"));
        authority.issue_to(certificate.path());
        let at = certificate.path();
        let running = Nginx::start(
            &name,
            &format!("keepalive_requests 100; keepalive_timeout {keep_alive};"),
            &format!(
                "listen OTHER ssl; ssl_certificate {at}/cert.pem; ssl_certificate_key {at}/key.pem;
                ssl_protocols {protocol}; location / {{ return 200 $request_uri; }}"
            ),
        );
        Servers { authority, certificate, nginx: running.other, running, stunnel: None }
    }

    fn start_stunnel(&mut self) -> SocketAddr {
        let stunnel = stunnel(self.certificate.path(), self.running.address);
        let address = stunnel.address;
        self.stunnel = Some(stunnel);
        address
    }
}
