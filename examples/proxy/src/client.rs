//! One client's connection and the exchange on it: its request on the way to the upstream, the response on its way
//! back. Knows nothing of the cache: it is handed the upstream's socket.

use crate::ahead::Ahead;
use crate::buffer::{BUFFER, Fill, Inbox, Outbox, Pool};
use crate::exchange::Exchange;
use crate::messages::{self, Additions};
use crate::pinning::Pin;
use crate::tunnel::WEBSOCKET;
use conncache::mio::net::TcpStream;
use http::framing::body::{write_chunk, write_last_chunk};
use http::framing::error::Error;
use http::framing::{request, response};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How often one call reads before others have their turn.
pub const MOST_FILLS: usize = 16;

pub struct Client {
    pub stream: TcpStream,
    pub addr: SocketAddr,
    /// Its address without the port, as upstreams are told.
    pub ip: Box<str>,
    /// It came to the status page's address.
    pub status: bool,
    pub inbox: Inbox,
    pub outbox: Outbox,
    pub to_upstream: Outbox,
    pub exchange: Option<Exchange>,
    /// Requests behind that of `exchange` that are under way, in their order.
    pub ahead: VecDeque<Ahead>,
    /// What the inbox holds was looked at, and can't go ahead as it is.
    pub looked_ahead: bool,
    pub ending: Ending,
    /// Only the end of its connection shows where the response ends. Until all of it is written, the connection is reset
    /// when it is closed, for whatever reason: the client would take what it has for the whole response.
    pub ends_by_reset: bool,
    /// Its upstream connections are its own.
    pub pin: Option<Pin>,
    /// Until when dropped bytes count as progress.
    pub drop_until: Option<Instant>,
    /// When bytes moved last, or the head that is coming began.
    pub touched: Instant,
    pub moved: bool,
    /// It is written to, and its request is sent on, at the end of the turn.
    pub put_off: bool,
    pub request: request::Parser,
    pub response: response::Parser,
}

/// Whether the connection goes on after what is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Open,
    /// Ends the sending when all is written. Meanwhile what comes is dropped: the client may send all it has before it
    /// reads.
    AfterFlush,
    /// The sending has ended. What comes is dropped until the client has closed too: a connection that is closed with
    /// bytes unread, or to which more come, is reset, and the reset destroys what is on the way to the client.
    Lingering,
}

/// Why a client isn't served.
#[derive(Debug)]
pub enum Refusal {
    /// It has closed, or its connection failed.
    Gone,
    /// It is to be answered with this status.
    Answer(u16, String),
}

/// How far a response has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// All that has come from the upstream is passed on.
    UpstreamSilent,
    /// The client takes nothing for now. There may be more from the upstream.
    ClientFull,
    /// There is more to do, but others should have their turn.
    Yield,
    /// The upstream has switched to the protocol that the client asked for.
    Switched,
    Complete {
        /// The upstream connection can carry another request: this one has been sent whole, its response read whole, and
        /// no buffer holds anything. No other response can be owed, since a connection has one request at a time.
        reusable: bool,
    },
}

/// Why an exchange can't be completed: whose connection failed, and how.
#[derive(Debug)]
pub enum Fault {
    Client,
    Upstream(String),
}

/// A response that can't be read is the upstream's fault.
impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Upstream(error.to_string())
    }
}

/// A request that can't be read is answered with the status that says why.
impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Answer(error.status(), error.to_string())
    }
}

impl Client {
    pub fn new(stream: TcpStream, addr: SocketAddr, status: bool, now: Instant) -> Client {
        Client {
            stream,
            addr,
            ip: addr.ip().to_canonical().to_string().into(),
            status,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            to_upstream: Outbox::default(),
            exchange: None,
            ahead: VecDeque::new(),
            looked_ahead: false,
            ending: Ending::Open,
            ends_by_reset: false,
            pin: None,
            drop_until: None,
            touched: now,
            moved: false,
            put_off: false,
            request: request::Parser::new(),
            response: response::Parser::new(""),
        }
    }

    /// What has moved counts as progress.
    pub fn note_progress(&mut self, now: Instant) {
        if std::mem::take(&mut self.moved) {
            self.touched = now;
        }
    }

    /// Whether nothing is going on: a client that may be closed without harm.
    pub fn is_idle(&self) -> bool {
        self.is_done() && self.inbox.is_empty()
    }

    /// Whether no request is being answered, though one may have begun to come.
    pub fn is_done(&self) -> bool {
        self.ending == Ending::Open && self.exchange.is_none() && self.outbox.waiting() == 0
    }

    /// Whether nothing more is sent to it, and it has been told.
    pub fn has_been_told_the_end(&self) -> bool {
        let tunnel = self.exchange.as_ref().and_then(|exchange| exchange.tunnel.as_ref());
        self.ending == Ending::Lingering || tunnel.is_some_and(|tunnel| tunnel.upstream_ended)
    }

    /// Whether the head of the response has been passed on.
    pub fn has_begun(&self) -> bool {
        self.exchange.as_ref().is_some_and(|exchange| exchange.started)
    }

    /// Reads what the client sends, up to the end of a request, as far as there is room for it. Returns whether there
    /// may be more to read, but others should have their turn.
    pub fn take_request(&mut self, pool: &mut Pool, additions: Additions<'_>, now: Instant) -> Result<bool, Refusal> {
        if self.exchange.as_ref().is_some_and(|exchange| exchange.tunnel.is_some()) {
            return self.take_tunnelled(pool);
        }
        let mut fills = 0;
        while self.ending == Ending::Open {
            let drops = self.exchange.as_ref().is_some_and(Exchange::drops_body);
            let done = self.exchange.as_ref().is_some_and(|exchange| exchange.request_done);
            if done || (self.to_upstream.is_full() && !drops) {
                break;
            }
            if self.inbox.is_empty() && self.exchange.is_none() {
                match self.fill(pool)? {
                    Fill::Bytes => {}
                    Fill::Ended => return Err(Refusal::Gone),
                    Fill::Blocked | Fill::Full => break,
                }
            }
            let (used, event) = self.request.next(self.inbox.bytes())?;
            let mut more = false;
            match event {
                request::Event::More => more = true,
                request::Event::Head(head) => {
                    if head.method == "CONNECT" {
                        return Err(Refusal::Answer(501, "CONNECT is not for reverse proxies".into()));
                    }
                    let exchange = self.exchange.insert(Exchange::new(&head, self.status, now, pool));
                    self.response.reset(head.method);
                    if exchange.upgrade {
                        self.response.expect_upgrade(WEBSOCKET);
                    }
                    if exchange.page.is_none() {
                        messages::request_head(self.to_upstream.append(pool), &head, &self.ip, additions);
                    }
                }
                request::Event::Data(data) => {
                    let Some(exchange) = &mut self.exchange else { break };
                    exchange.received += data.len() as u64;
                    exchange.expects = false;
                    match exchange {
                        exchange if exchange.drops_body() => {}
                        Exchange { chunked: true, .. } => write_chunk(self.to_upstream.append(pool), data),
                        _ => self.to_upstream.append(pool).extend_from_slice(data),
                    }
                }
                request::Event::End => {
                    let Some(exchange) = &mut self.exchange else { break };
                    exchange.request_done = true;
                    if exchange.chunked {
                        write_last_chunk(self.to_upstream.append(pool));
                    }
                }
            }
            self.inbox.consume(used, pool);
            if more {
                if fills == MOST_FILLS {
                    return Ok(true);
                }
                fills += 1;
                match self.fill(pool)? {
                    Fill::Bytes => {}
                    Fill::Blocked => break,
                    Fill::Full => return Err(Refusal::Answer(431, format!("the head is over {BUFFER} bytes"))),
                    Fill::Ended => {
                        self.request.eof()?;
                        return Err(Refusal::Gone);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Whether less of a request's body than `least` has come in `time`. The upstream may be the cause while something
    /// waits for it, or once it has answered.
    pub fn sends_too_slowly(&mut self, now: Instant, time: Duration, least: u64) -> bool {
        let Some(exchange) = self.exchange.as_mut().filter(|exchange| !exchange.request_done) else { return false };
        if exchange.expects {
            exchange.rate_from.0 = now;
        }
        let (since, before) = exchange.rate_from;
        let upstream_waits = self.to_upstream.waiting() == 0 && !exchange.started;
        if upstream_waits && now.saturating_duration_since(since) < time {
            return false;
        }
        exchange.rate_from = (now, exchange.received);
        upstream_waits && exchange.received - before < least
    }

    pub fn fill(&mut self, pool: &mut Pool) -> Result<Fill, Refusal> {
        // Of a head only the first bytes count as progress: its time is limited, however it trickles.
        let counts = self.exchange.is_some() || self.inbox.is_empty();
        let filled = self.inbox.fill(&mut self.stream, pool).map_err(|_| Refusal::Gone)?;
        self.moved |= counts && filled == Fill::Bytes;
        Ok(filled)
    }

    /// Writes the request, as far as the upstream takes it.
    pub fn send_request(&mut self, upstream: &mut TcpStream) {
        let Some(exchange) = &mut self.exchange else { return };
        self.moved |= exchange.send_request(&mut self.to_upstream, upstream) > 0;
    }
}
