//! One client's connection and the exchange on it: its request on the way to the upstream, the response on its way
//! back. Knows nothing of the cache: it is handed the upstream's socket.

use crate::buffer::{BUFFER, Fill, Inbox, Outbox, Pool};
use crate::exchange::{Exchange, keep};
use crate::messages::{self, Additions, Body, Persistence};
use crate::pinning::{Pin, binds_connection};
use conncache::mio::net::TcpStream;
use http::framing::body::{write_chunk, write_last_chunk};
use http::framing::error::Error;
use http::framing::head::Version;
use http::framing::{request, response};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Data pieces from this size on are written from where they were read, without a copy.
const WORTH_A_SLICE: usize = 4096;
/// How often one call reads before others have their turn.
const MOST_FILLS: usize = 16;

pub struct Client {
    pub stream: TcpStream,
    pub addr: SocketAddr,
    /// It came to the status page's address.
    pub status: bool,
    pub inbox: Inbox,
    pub outbox: Outbox,
    pub to_upstream: Outbox,
    pub exchange: Option<Exchange>,
    pub ending: Ending,
    /// Its upstream connections are its own.
    pub pin: Option<Pin>,
    /// Until when dropped bytes count as progress.
    pub drop_until: Option<Instant>,
    /// When bytes moved last, or the head that is coming began.
    pub touched: Instant,
    pub moved: bool,
    request: request::Parser,
    response: response::Parser,
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
            status,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            to_upstream: Outbox::default(),
            exchange: None,
            ending: Ending::Open,
            pin: None,
            drop_until: None,
            touched: now,
            moved: false,
            request: request::Parser::new(),
            response: response::Parser::new(""),
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

    /// Whether the head of the response has been passed on.
    pub fn has_begun(&self) -> bool {
        self.exchange.as_ref().is_some_and(|exchange| exchange.started)
    }

    /// Reads what the client sends, up to the end of a request, as far as there is room for it. Returns whether there
    /// may be more to read, but others should have their turn.
    pub fn take_request(&mut self, pool: &mut Pool, additions: Additions<'_>, now: Instant) -> Result<bool, Refusal> {
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
                    let exchange = Exchange::new(&head, self.status, now)?;
                    self.response.reset(head.method);
                    if !self.status {
                        messages::request_head(self.to_upstream.append(pool), &head, self.addr.ip(), additions);
                    }
                    self.exchange = Some(exchange);
                }
                request::Event::Data(data) => {
                    let Some(exchange) = &mut self.exchange else { break };
                    exchange.received += data.len() as u64;
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
        let (since, before) = exchange.rate_from;
        let upstream_waits = self.to_upstream.waiting() == 0 && !exchange.started;
        if upstream_waits && now.saturating_duration_since(since) < time {
            return false;
        }
        exchange.rate_from = (now, exchange.received);
        upstream_waits && exchange.received - before < least
    }

    fn fill(&mut self, pool: &mut Pool) -> Result<Fill, Refusal> {
        // Of a head only the first bytes count as progress: its time is limited, however it trickles.
        let counts = self.exchange.is_some() || self.inbox.is_empty();
        let filled = self.inbox.fill(&mut self.stream, pool).map_err(|_| Refusal::Gone)?;
        self.moved |= counts && filled == Fill::Bytes;
        Ok(filled)
    }

    /// Writes the request, as far as the upstream takes it; keeps it for a repetition while it is short.
    pub fn send_request(&mut self, upstream: &mut TcpStream) {
        let Some(exchange) = &mut self.exchange else { return };
        if exchange.unsent.is_some() {
            return;
        }
        match self.to_upstream.send(upstream, &[]) {
            Ok(sent) => self.moved |= sent > 0,
            Err(error) => {
                exchange.unsent = Some(error.to_string());
                if let Some(link) = &mut exchange.link {
                    link.reset = error.kind() == ErrorKind::ConnectionReset;
                    // It may have answered before it closed.
                    link.inbox.look_again();
                }
            }
        }
        exchange.replayable &= self.to_upstream.kept() <= BUFFER;
        if !exchange.replayable {
            self.to_upstream.forget_sent();
        }
    }

    /// Writes what waits for the client.
    pub fn flush(&mut self, pool: &mut Pool) -> io::Result<()> {
        if self.outbox.waiting() > 0 {
            self.moved |= self.outbox.send(&mut self.stream, &[])? > 0;
        }
        self.outbox.release_if_sent(pool);
        Ok(())
    }

    /// Reads the response and passes it on, as far as the client takes it.
    pub fn take_response(&mut self, upstream: &mut TcpStream, pool: &mut Pool, close: bool) -> Result<Progress, Fault> {
        let Some(exchange) = &mut self.exchange else { return Ok(Progress::UpstreamSilent) };
        let Some(link) = &mut exchange.link else { return Ok(Progress::UpstreamSilent) };
        let mut fills = 0;
        loop {
            if self.outbox.is_full() {
                self.moved |= self.outbox.send(&mut self.stream, &[]).map_err(|_| Fault::Client)? > 0;
                if self.outbox.is_full() {
                    return Ok(Progress::ClientFull);
                }
            }
            let upstream_fault = |error: Error| Fault::Upstream(error.to_string());
            let (used, event) = self.response.next(link.inbox.bytes()).map_err(upstream_fault)?;
            let mut more = false;
            match event {
                response::Event::More => more = true,
                response::Event::Interim(head) => {
                    // HTTP/1.0 has none.
                    if exchange.version == Version::Http11 {
                        messages::interim(self.outbox.open(pool), &head);
                    }
                }
                response::Event::Head(head) => {
                    let (body, until_close) = messages::body_for(exchange.version, head.framing);
                    exchange.keep_alive &= !until_close && exchange.request_done && !close;
                    let persistence = Persistence::of(exchange.version, exchange.keep_alive);
                    messages::response_head(self.outbox.open(pool), &head, body, persistence);
                    exchange.body = body;
                    exchange.record.status = head.status;
                    exchange.started = true;
                    exchange.keep = keep(&head);
                    exchange.binding |= binds_connection(head.fields);
                }
                response::Event::Data(data) => {
                    exchange.record.bytes += data.len() as u64;
                    let out = self.outbox.open(pool);
                    if exchange.body == Body::Chunked {
                        write_chunk(out, data);
                    } else if data.len() < WORTH_A_SLICE {
                        out.extend_from_slice(data);
                    } else {
                        self.moved |= self.outbox.send(&mut self.stream, data).map_err(|_| Fault::Client)? > 0;
                    }
                }
                response::Event::End => {
                    link.inbox.consume(used, pool);
                    return Ok(self.complete(pool));
                }
            }
            link.inbox.consume(used, pool);
            if !more {
                continue;
            }
            if fills == MOST_FILLS {
                return Ok(Progress::Yield);
            }
            fills += 1;
            match link.inbox.fill(upstream, pool).map_err(|e| Fault::Upstream(e.to_string()))? {
                Fill::Bytes => {
                    exchange.answered = true;
                    self.moved = true;
                }
                Fill::Blocked => return Ok(Progress::UpstreamSilent),
                Fill::Full => return Err(Fault::Upstream(format!("the response's head is over {BUFFER} bytes"))),
                // The reset came up when the request was sent. Such an end doesn't show that the response is whole.
                Fill::Ended if link.reset => return Err(Fault::Upstream("connection reset".into())),
                Fill::Ended => self.response.eof().map_err(upstream_fault)?,
            }
        }
    }

    fn complete(&mut self, pool: &mut Pool) -> Progress {
        let Some(exchange) = &mut self.exchange else { return Progress::UpstreamSilent };
        if exchange.body == Body::Chunked {
            write_last_chunk(self.outbox.open(pool));
        }
        if !exchange.keep_alive {
            self.ending = Ending::AfterFlush;
        }
        let unasked = exchange.link.as_ref().is_some_and(|link| !link.inbox.is_empty());
        let sent = exchange.request_done && self.to_upstream.waiting() == 0;
        Progress::Complete { reusable: self.response.keep_alive() && sent && !unasked }
    }

    /// Gets ready for the next request, once a response is complete. The exchange that is over comes back.
    pub fn next_request(&mut self, pool: &mut Pool) -> Option<Exchange> {
        self.request.reset();
        self.to_upstream.clear(pool);
        self.exchange.take()
    }

    /// Sends what there is of the request once more and starts the response over, on another connection.
    pub fn start_over(&mut self) {
        self.to_upstream.rewind();
        self.exchange.iter_mut().for_each(|exchange| exchange.unsent = None);
        // Only a request that starts with a replayable method gets here: the parser has to know HEAD.
        let head_only = self.exchange.as_ref().is_some_and(|exchange| exchange.head_only);
        self.response.reset(if head_only { "HEAD" } else { "GET" });
    }

    /// Puts an answer of the proxy's own behind what is written already.
    pub fn answer(&mut self, pool: &mut Pool, status: u16, content_type: &str, body: &[u8], close: bool) {
        let head_only = self.exchange.as_ref().is_some_and(|exchange| exchange.head_only);
        let version = self.exchange.as_ref().map_or(Version::Http11, |exchange| exchange.version);
        if let Some(exchange) = &mut self.exchange {
            exchange.record.status = status;
            exchange.record.bytes = if head_only { 0 } else { body.len() as u64 };
        }
        let persistence = Persistence::of(version, !close);
        let answer = messages::Answer { status, content_type, persistence, head_only };
        messages::answer(self.outbox.open(pool), &answer, body);
        if close {
            self.ending = Ending::AfterFlush;
        }
    }
}
