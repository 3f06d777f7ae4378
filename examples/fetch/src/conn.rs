//! The connection as this client keeps it in the cache: a socket, its phase, its buffers and its unanswered requests.

use crate::exchange::Exchange;
use crate::opening::{Hindrance, Phase};
use crate::stream::{Socket, Stream};
use conncache::mio::event::Source;
use conncache::mio::{Interest, Registry, Token};
use conncache::{Connection, Probe};
use http::framing::response::Parser;
use rustls::HandshakeKind;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::time::{Duration, Instant};

mod receiving;

pub use receiving::Progress;

/// A connection, from its first SYN on.
pub struct Conn {
    stream: Stream,
    pub phase: Phase,
    output: Vec<u8>,
    /// What was read and couldn't be used yet: the beginning of a head, or what nobody asked for.
    input: Vec<u8>,
    parser: Parser,
    method: &'static str,
    /// A proxy that answers in the servers' place, by its name in messages.
    proxy: Option<String>,
    /// The unanswered requests, in the order in which they were sent.
    exchanges: VecDeque<Exchange>,
    /// Whether a byte of the first one's response has come.
    begun: bool,
    /// Since when the first one is the first, or since when there is none.
    front_since: Instant,
    /// Whether there may be a further request, as far as the last response tells.
    keep: bool,
    /// Whether the last response showed HTTP/1.1 persistence: only then several requests may be under way.
    persistent: bool,
    /// How long the server keeps the connection, as the last response said.
    pub keep_alive: Option<Duration>,
    /// How many more requests the server takes, as the last response said.
    keep_alive_max: Option<u64>,
}

impl Conn {
    /// A connection to be made for this request; to `proxy`, if that answers in the servers' place.
    pub fn new(mut exchange: Exchange, method: &'static str, proxy: Option<String>) -> Conn {
        exchange.pipelined = false;
        Conn {
            stream: Stream::plain(Socket::Nowhere),
            phase: Phase::Waiting { again: None },
            output: Vec::new(),
            input: Vec::new(),
            parser: Parser::new(method),
            method,
            proxy,
            front_since: exchange.started,
            exchanges: VecDeque::from([exchange]),
            begun: false,
            keep: true,
            persistent: false,
            keep_alive: None,
            keep_alive_max: None,
        }
    }

    /// Begins to connect by this socket. It isn't registered yet.
    pub fn begin(&mut self, socket: Socket, phase: Phase) {
        self.stream = Stream::plain(socket);
        self.phase = phase;
    }

    /// Goes on with the opening; whether it is over. Then the connection is open from now on. `until` is the end of the
    /// time for the handshakes, if they begin now.
    pub fn go_on_opening(
        &mut self,
        now: Instant,
        until: Instant,
        registry: &Registry,
        buffer: &mut [u8],
    ) -> Result<bool, Hindrance> {
        if let Phase::Connecting { .. } = self.phase {
            if !self.stream.socket().connect(now, registry).map_err(Hindrance::NoAddress)? {
                return Ok(false);
            }
            if let Phase::Connecting { steps, .. } = std::mem::replace(&mut self.phase, Phase::Open) {
                self.phase = Phase::ShakingHands { steps, give_up: until };
            }
        }
        if let Phase::ShakingHands { steps, .. } = &mut self.phase {
            if !steps.advance(&mut self.stream, buffer).map_err(Hindrance::Handshake)? {
                return Ok(false);
            }
            self.phase = Phase::Open;
        }
        Ok(true)
    }

    /// The socket below TLS.
    pub fn socket(&mut self) -> &mut Socket {
        self.stream.socket()
    }

    /// How the handshake went, full or resumed; `None` without TLS.
    pub fn handshake_kind(&self) -> Option<HandshakeKind> {
        self.stream.handshake_kind()
    }

    /// Takes a request to be sent. Its head is written by the next [`drive`](Conn::drive) or [`flush`](Conn::flush).
    pub fn push(&mut self, mut exchange: Exchange, now: Instant) {
        exchange.pipelined = !self.exchanges.is_empty();
        if self.exchanges.is_empty() {
            self.front_since = now;
        }
        self.exchanges.push_back(exchange);
    }

    /// How many requests may be under way at once, if the user allows so many.
    pub fn most_under_way(&self, allowed: usize) -> usize {
        let taken = self.keep_alive_max.map_or(usize::MAX, |max| max.try_into().unwrap_or(usize::MAX));
        if self.persistent { allowed.min(taken) } else { 1 }
    }

    /// Where heads of requests are written to.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Writes what there is to write, as far as the socket takes it.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() && !self.stream.wants_write() {
            return Ok(());
        }
        let mut written = 0;
        let result = loop {
            if written == self.output.len() {
                // TLS may have taken what the socket hasn't.
                break self.stream.flush().or_else(|error| match error.kind() {
                    ErrorKind::WouldBlock => Ok(()),
                    _ => Err(error),
                });
            }
            match self.stream.write(&self.output[written..]) {
                Ok(0) => break Err(ErrorKind::WriteZero.into()),
                Ok(n) => written += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.output.drain(..written);
        result
    }

    /// When to look after the connection if nothing happens: to try another address, or to give up.
    pub fn deadline(&mut self, timeout: Duration) -> Option<Instant> {
        let front = self.exchanges.front()?;
        let end = front.deadline;
        match &self.phase {
            Phase::Waiting { again } => again.iter().copied().chain([end]).min(),
            Phase::Connecting { give_up, .. } => {
                self.stream.socket().next_attempt().into_iter().chain([end, *give_up]).min()
            }
            Phase::ShakingHands { give_up, .. } => Some(end.min(*give_up)),
            // A server that has lost a pipelined request: there has to be time for another try.
            Phase::Open if self.is_stalling() => Some(end.min(self.front_since + timeout / 4)),
            Phase::Open => Some(end),
        }
    }

    /// Whether the server has been silent since it answered a request with this one behind it.
    pub fn is_stalling(&self) -> bool {
        !self.begun && self.exchanges.front().is_some_and(|front| front.pipelined)
    }

    /// Whether a byte of the first unanswered request's response has come.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// When the last request was answered, if no other one is under way.
    pub fn silent_since(&self) -> Instant {
        self.front_since
    }

    /// The unanswered requests, in the order in which they were sent.
    pub fn exchanges(&self) -> &VecDeque<Exchange> {
        &self.exchanges
    }

    /// The first unanswered request.
    pub fn front_mut(&mut self) -> Option<&mut Exchange> {
        self.exchanges.front_mut()
    }

    /// Takes the connection apart.
    pub fn into_parts(self) -> (VecDeque<Exchange>, Phase) {
        (self.exchanges, self.phase)
    }
}

impl Source for Conn {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.stream.register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.stream.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.stream.deregister(registry)
    }
}

impl Connection for Conn {
    fn probe(&mut self) -> Probe {
        let clean = self.input.is_empty() && self.output.is_empty();
        if clean { self.stream.probe() } else { Probe::Unsolicited }
    }

    fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }
}
