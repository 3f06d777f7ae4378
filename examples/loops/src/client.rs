//! The HTTP client that all loops share: everything but the waiting.

use crate::server::Server;
use conncache::mio::event::Event;
use conncache::{AggressiveCache, ChannelBindingId, ConnId, Connection, Handled, Owner, Peer, Reason};
#[cfg(unix)]
use conncache::{Nest, mio::net::TcpStream};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many requests are made in total.
pub const REQUESTS: usize = 1_000;

/// How many of them at once.
pub const AT_ONCE: usize = 64;

/// How long a connection may be inactive.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// A request under way.
#[derive(Default)]
struct Exchange {
    number: usize,
    sent: bool,
    /// Its connection was used before, so the server may have closed it.
    reused: bool,
    answer: Vec<u8>,
}

/// Makes requests to its own server, each for one of its owners.
pub struct Client<C: Connection> {
    pub cache: AggressiveCache<C>,
    /// The connections opened in this turn, for loops that register them themselves.
    pub opened: Vec<ConnId>,
    server: Arc<Server>,
    peer: Peer,
    open: Box<dyn FnMut(SocketAddr) -> io::Result<C>>,
    /// By the owner's number.
    exchanges: Vec<Exchange>,
    idle: Vec<Owner>,
    started: usize,
    repeated: u64,
    is_done: bool,
}

#[cfg(unix)]
impl Client<TcpStream> {
    /// A client whose connections are watched by a nest.
    pub fn in_nest(nest: &Nest) -> io::Result<Client<TcpStream>> {
        let cache = AggressiveCache::builder().idle_timeout(IDLE_TIMEOUT).build(nest.registry())?;
        Client::new(cache, TcpStream::connect)
    }
}

impl<C: Connection + Read + Write> Client<C> {
    pub fn new(
        cache: AggressiveCache<C>,
        open: impl FnMut(SocketAddr) -> io::Result<C> + 'static,
    ) -> io::Result<Client<C>> {
        Ok(Client::of(Arc::new(Server::start(1)?), cache, open))
    }

    /// A client of a server that others may use, too.
    pub fn of(
        server: Arc<Server>,
        cache: AggressiveCache<C>,
        open: impl FnMut(SocketAddr) -> io::Result<C> + 'static,
    ) -> Client<C> {
        Client {
            cache,
            opened: Vec::new(),
            peer: server.addr.into(),
            server,
            open: Box::new(open),
            exchanges: (0..AT_ONCE).map(|_| Exchange::default()).collect(),
            idle: (0..AT_ONCE as u64).map(Owner).collect(),
            started: 0,
            repeated: 0,
            is_done: false,
        }
    }

    /// Begins a turn: sends what can be sent. Returns whether there is something left to wait for.
    pub fn goes_on(&mut self, now: Instant) -> io::Result<bool> {
        while self.cache.expire(now).is_some() {}
        while self.started < REQUESTS {
            let Some(owner) = self.idle.pop() else { break };
            self.started += 1;
            self.exchanges[owner.0 as usize] = Exchange { number: self.started, ..Exchange::default() };
            match self.cache.checkout(now, &self.peer, ChannelBindingId::PLAIN, owner) {
                Some(found) => {
                    self.exchanges[owner.0 as usize].reused = true;
                    self.send(now, found.id, owner)?;
                }
                None => self.connect(now, owner)?,
            }
        }
        let answered = self.started == REQUESTS && self.idle.len() == AT_ONCE;
        if answered && !self.is_done {
            self.is_done = true;
            self.server.client_is_done();
        }
        Ok(!answered || self.cache.counts().inactive > 0)
    }

    /// For loops of mio's events.
    pub fn handle_event(&mut self, now: Instant, event: &Event) -> io::Result<()> {
        let handled = self.cache.handle_event(event);
        self.handle(now, handled)
    }

    /// Continues an exchange.
    pub fn handle(&mut self, now: Instant, handled: Handled<C>) -> io::Result<()> {
        match handled {
            Handled::Active { id, owner } if self.exchanges[owner.0 as usize].sent => self.receive(now, id, owner),
            Handled::Active { id, owner } => self.send(now, id, owner),
            Handled::Evicted(_) | Handled::Nothing => Ok(()),
            Handled::Rejected => Err(io::Error::other("a token that nobody uses")),
        }
    }

    /// Asserts that all went well, and prints the result.
    pub fn report(self, name: &str) {
        let stats = self.cache.stats();
        assert_eq!((self.started, self.idle.len()), (REQUESTS, AT_ONCE), "{name}: not all were answered");
        assert_eq!(stats.left(Reason::Closed), self.repeated, "{name}: closed by the client");
        assert_eq!(stats.inserted, stats.left_in_all(), "{name}: every connection was hung up on");
        println!(
            "{name}: {REQUESTS} requests answered, {} on reused connections, {} repeated; evicted: {:?}",
            stats.handed_out,
            self.repeated,
            stats.reasons().collect::<Vec<_>>(),
        );
    }

    fn connect(&mut self, now: Instant, owner: Owner) -> io::Result<()> {
        let conn = (self.open)(self.server.addr)?;
        let id = self.cache.insert(now, conn, &self.peer, ChannelBindingId::PLAIN, owner)?;
        self.opened.push(id);
        Ok(())
    }

    fn send(&mut self, now: Instant, id: ConnId, owner: Owner) -> io::Result<()> {
        let exchange = &mut self.exchanges[owner.0 as usize];
        match self.cache[id].write_all(&request(exchange.number)) {
            Ok(()) => exchange.sent = true, // so few bytes are written completely or not at all
            Err(error) if error.kind() == ErrorKind::WouldBlock => {} // still connecting
            Err(error) => self.repeat(now, id, owner, error)?,
        }
        Ok(())
    }

    fn receive(&mut self, now: Instant, id: ConnId, owner: Owner) -> io::Result<()> {
        let exchange = &mut self.exchanges[owner.0 as usize];
        let mut buffer = [0; 1024];
        loop {
            match self.cache[id].read(&mut buffer) {
                Ok(0) => return self.repeat(now, id, owner, ErrorKind::UnexpectedEof.into()),
                Ok(n) => exchange.answer.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return self.repeat(now, id, owner, error),
            }
            if is_complete(&exchange.answer, exchange.number)? {
                self.idle.push(owner);
                drop(self.cache.checkin(now, id)?);
                return Ok(());
            }
        }
    }

    /// The connection has ended. That may happen to one that was reused; then another is opened.
    fn repeat(&mut self, now: Instant, id: ConnId, owner: Owner, error: io::Error) -> io::Result<()> {
        drop(self.cache.close_connection(id)?);
        let exchange = &mut self.exchanges[owner.0 as usize];
        if !exchange.reused || !exchange.answer.is_empty() {
            return Err(error);
        }
        *exchange = Exchange { number: exchange.number, ..Exchange::default() };
        self.repeated += 1;
        self.connect(now, owner)
    }
}

/// The request of this number.
fn request(number: usize) -> Vec<u8> {
    format!("GET /{number} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

/// The request of this number and its answer, on a stream that blocks from now on.
pub fn exchange(mut stream: &std::net::TcpStream, number: usize) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.write_all(&request(number))?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 1024]);
    while !is_complete(&answer, number)? {
        match stream.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => answer.extend_from_slice(&buffer[..n]),
        }
    }
    Ok(())
}

/// Whether this is all of the server's answer to the request of this number. It understands no other server's.
fn is_complete(answer: &[u8], number: usize) -> io::Result<bool> {
    let body = number.to_string();
    let whole = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    if whole.as_bytes().starts_with(answer) {
        Ok(whole.len() == answer.len())
    } else {
        Err(io::Error::new(ErrorKind::InvalidData, "the answer to another request"))
    }
}
