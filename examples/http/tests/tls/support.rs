//! Servers driven by hand, in the test's own thread: what they say, and when, is the test's to decide.

use crate::wire::drain;
use conncache::mio::net::TcpStream;
use conncache::mio::{Events, Poll};
use conncache::{AggressiveCache, ChannelBindingId, ConnId, Connection, Evicted, Found, Handled, Owner, Peer};
use http::tls::TlsConnection;
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection};
use rustls::{SupportedProtocolVersion, version};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testing::certificates::{Authority, HOST};

pub const CHANNEL: ChannelBindingId = ChannelBindingId(7);
pub const ME: Owner = Owner(1);
pub const TLS13: &SupportedProtocolVersion = &version::TLS13;
pub const TLS12: &SupportedProtocolVersion = &version::TLS12;

/// Bounds every wait.
pub struct Patience(Instant);

impl Patience {
    pub fn new() -> Patience {
        Patience(Instant::now() + Duration::from_secs(60))
    }

    #[track_caller]
    pub fn spend(&self) {
        assert!(Instant::now() < self.0, "waited in vain");
        std::thread::yield_now();
    }
}

/// The far end of one connection.
pub struct Server<S> {
    pub socket: S,
    pub tls: ServerConnection,
}

impl<S: Read + Write> Server<S> {
    /// Takes what has come; how many bytes of TLS.
    pub fn receive(&mut self) -> Result<usize, rustls::Error> {
        let mut received = 0;
        while let Ok(n @ 1..) = self.tls.read_tls(&mut self.socket) {
            received += n;
            self.tls.process_new_packets()?;
        }
        Ok(received)
    }

    /// Sends what there is, as far as it goes.
    pub fn send(&mut self) {
        while self.tls.wants_write() && self.tls.write_tls(&mut self.socket).is_ok() {}
    }

    pub fn say(&mut self, data: &[u8]) {
        self.tls.writer().write_all(data).unwrap();
        self.send();
    }

    /// What is to be sent, held back.
    pub fn withheld(&mut self) -> Vec<u8> {
        drain(&mut self.tls)
    }

    /// Drives its side of a handshake. Tickets are not part of it: they stay behind.
    pub fn shake_hands(&mut self) {
        self.receive().unwrap();
        if self.tls.is_handshaking() || self.tls.protocol_version() == Some(ProtocolVersion::TLSv1_2) {
            self.send();
        }
    }

    #[track_caller]
    pub fn hear(&mut self, expected: &[u8]) {
        let (patience, mut heard) = (Patience::new(), Vec::new());
        while heard.len() < expected.len() {
            self.receive().unwrap();
            let mut buffer = [0; 4096];
            match self.tls.reader().read(&mut buffer) {
                Ok(n) => heard.extend_from_slice(&buffer[..n]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            patience.spend();
        }
        assert!(heard == expected, "heard something else");
    }

    /// Waits for the client's close_notify.
    #[track_caller]
    pub fn sees_goodbye(&mut self) {
        let patience = Patience::new();
        loop {
            let read = self.tls.read_tls(&mut self.socket);
            if self.tls.process_new_packets().unwrap().peer_has_closed() {
                return;
            }
            assert!(!matches!(read, Ok(0)), "closed without close_notify");
            patience.spend();
        }
    }
}

pub type Tcp = TlsConnection<TcpStream>;
pub type Boxed = Box<dyn Connection + Send>;

/// A cache, its loop, and a place where servers come from.
pub struct Bed<C: Connection = Tcp> {
    pub authority: Authority,
    pub config: Arc<ClientConfig>,
    pub cache: AggressiveCache<C>,
    pub poll: Poll,
    events: Events,
    pub listener: TcpListener,
    pub peer: Peer,
}

impl<C: Connection> Bed<C> {
    pub fn new() -> Bed<C> {
        let poll = Poll::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = Authority::new();
        Bed {
            config: authority.trust().config().unwrap(),
            authority,
            cache: AggressiveCache::builder().build(poll.registry()).unwrap(),
            poll,
            events: Events::with_capacity(16),
            peer: Peer::direct(HOST, listener.local_addr().unwrap().port()),
            listener,
        }
    }

    /// Both ends of a TCP connection.
    pub fn sockets(&self) -> (TcpStream, std::net::TcpStream) {
        let client = std::net::TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        let (server, _) = self.listener.accept().unwrap();
        client.set_nonblocking(true).unwrap();
        client.set_nodelay(true).unwrap();
        server.set_nonblocking(true).unwrap();
        server.set_nodelay(true).unwrap();
        (TcpStream::from_std(client), server)
    }

    /// A connection past the handshake, in no cache.
    pub fn connect(
        &self,
        config: &Arc<ClientConfig>,
        server: &Arc<ServerConfig>,
    ) -> (Tcp, Server<std::net::TcpStream>) {
        let (client, socket) = self.sockets();
        let mut client = TlsConnection::plain(client);
        client.start_tls(HOST, config).unwrap();
        let mut server = Server { socket, tls: ServerConnection::new(Arc::clone(server)).unwrap() };
        let patience = Patience::new();
        while !client.handshake().unwrap() || server.tls.is_handshaking() {
            server.shake_hands();
            patience.spend();
        }
        (client, server)
    }

    pub fn checkout(&mut self) -> Option<Found> {
        self.cache.checkout(Instant::now(), &self.peer, CHANNEL, ME)
    }

    /// The lease of this connection's next owner.
    pub fn reuse(&mut self, id: ConnId) -> ConnId {
        let found = self.checkout().expect("it is inactive and well");
        assert!(found.id.same_connection(id));
        found.id
    }

    pub fn checkin(&mut self, id: ConnId) -> Option<Evicted<C>> {
        self.cache.checkin(Instant::now(), id).unwrap()
    }

    fn turn(&mut self) -> Option<Evicted<C>> {
        // The time-out of a wait for which `Patience` has the final word.
        match self.poll.poll(&mut self.events, Some(Duration::from_millis(20))) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => done.unwrap(),
        }
        let mut gone = None;
        for event in &self.events {
            if let Handled::Evicted(evicted) = self.cache.handle_event(event) {
                gone = Some(evicted);
            }
        }
        gone
    }

    /// Runs the loop until a connection is evicted.
    #[track_caller]
    pub fn evicted(&mut self) -> Evicted<C> {
        let patience = Patience::new();
        loop {
            if let Some(evicted) = self.turn() {
                return evicted;
            }
            patience.spend();
        }
    }

    /// Runs the loop until an inactive connection was looked at, and stayed.
    #[track_caller]
    pub fn looked_and_kept(&mut self) {
        let (patience, probes) = (Patience::new(), self.cache.stats().probes);
        while self.cache.stats().probes == probes {
            if let Some(evicted) = self.turn() {
                panic!("{evicted:?}");
            }
            patience.spend();
        }
    }
}

impl Bed {
    /// An active connection past the handshake. The server's tickets are still with the server.
    pub fn open_to(&mut self, server: ServerConfig) -> (ConnId, Server<std::net::TcpStream>) {
        let (client, server) = self.connect(&self.config, &Arc::new(server));
        let id = self.cache.insert(Instant::now(), client, &self.peer, CHANNEL, ME).unwrap();
        (id, server)
    }

    pub fn open(&mut self) -> (ConnId, Server<std::net::TcpStream>) {
        self.open_to(self.authority.server(TLS13))
    }

    /// Like [`open`](Bed::open), used and given back; the tickets have been read on the way.
    pub fn open_inactive(&mut self) -> (ConnId, Server<std::net::TcpStream>) {
        let (id, mut server) = self.open();
        self.exchange(id, &mut server);
        assert!(self.checkin(id).is_none());
        (id, server)
    }

    pub fn exchange(&mut self, id: ConnId, server: &mut Server<std::net::TcpStream>) {
        say(&mut self.cache[id], b"ping");
        server.hear(b"ping");
        server.say(b"pong");
        hear(&mut self.cache[id], b"pong");
    }
}

#[track_caller]
pub fn say(conn: &mut impl Write, data: &[u8]) {
    assert_eq!(conn.write(data).unwrap(), data.len());
    conn.flush().unwrap();
}

#[track_caller]
pub fn hear(conn: &mut impl Read, expected: &[u8]) {
    let (patience, mut heard) = (Patience::new(), vec![0; expected.len()]);
    let mut filled = 0;
    while filled < heard.len() {
        match conn.read(&mut heard[filled..]) {
            Ok(0) => panic!("ended early"),
            Ok(n) => filled += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => patience.spend(),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(heard == expected, "heard something else");
}

/// Reads once there is something, be it an error or the end.
#[track_caller]
pub fn read_some(conn: &mut impl Read) -> io::Result<usize> {
    let patience = Patience::new();
    loop {
        match conn.read(&mut [0; 4096]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => patience.spend(),
            done => return done,
        }
    }
}

pub fn is_resumed(kind: Option<HandshakeKind>) -> bool {
    kind == Some(HandshakeKind::Resumed)
}
