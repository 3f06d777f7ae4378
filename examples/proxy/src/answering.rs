//! The response's way to the client: the upstream's, or an answer of the proxy's own.

use crate::ahead::Ahead;
use crate::buffer::{BUFFER, Fill, Pool};
use crate::client::{Client, Ending, Fault, MOST_FILLS, Progress};
use crate::exchange::keep;
use crate::messages::{self, Body, Persistence};
use crate::pinning::binds_connection;
use crate::tunnel::WEBSOCKET;
use conncache::mio::net::TcpStream;
use http::framing::body::{write_chunk, write_last_chunk};
use http::framing::head::Version;
use http::framing::response;
use socket2::SockRef;
use std::io;
use std::time::Duration;

/// Data pieces from this size on are written from where they were read, without a copy.
const WORTH_A_SLICE: usize = 4096;

impl Client {
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
            let (used, event) = match exchange.answered {
                true => self.response.next(link.inbox.bytes())?,
                // Nothing of the response has been read yet: there is nothing to parse.
                false => (0, response::Event::More),
            };
            let mut more = false;
            match event {
                response::Event::More => more = true,
                response::Event::Interim(head) => {
                    exchange.expects &= head.status != 100;
                    // HTTP/1.0 has none.
                    if exchange.version == Version::Http11 {
                        messages::interim(self.outbox.open(pool), &head);
                    }
                }
                // So a server closes an idle connection, and this one crossed the request.
                response::Event::Head(head)
                    if head.status == 408 && link.reused && exchange.replayable && exchange.request_done =>
                {
                    exchange.answered = false;
                    return Err(Fault::Upstream("408 on a reused connection".into()));
                }
                response::Event::Head(head) => {
                    let (body, until_close) = messages::body_for(exchange.version, head.framing);
                    exchange.keep_alive &= !until_close && exchange.request_done && !close;
                    let switched = head.status == 101;
                    let persistence = match switched {
                        true => Persistence::Switched,
                        false => Persistence::of(exchange.version, exchange.keep_alive),
                    };
                    let body = if switched { Body::Plain } else { body };
                    messages::response_head(self.outbox.open(pool), &head, body, persistence);
                    exchange.body = body;
                    if until_close {
                        self.ends_by_reset = true;
                        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
                    }
                    exchange.record.status = head.status;
                    exchange.started = true;
                    exchange.keep = keep(&head);
                    exchange.binding |= binds_connection(head.fields);
                    if switched {
                        exchange.keep_alive = false;
                        link.inbox.consume(used, pool);
                        return Ok(Progress::Switched);
                    }
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
                Fill::Ended => self.response.eof()?,
            }
        }
    }

    fn complete(&mut self, pool: &mut Pool) -> Progress {
        let Some(exchange) = &mut self.exchange else { return Progress::UpstreamSilent };
        if exchange.body == Body::Chunked {
            write_last_chunk(self.outbox.open(pool));
        }
        // The client may still have something to say in a tunnel.
        if !exchange.keep_alive && exchange.tunnel.is_none() {
            self.ending = Ending::AfterFlush;
        }
        let unasked = exchange.link.as_ref().is_some_and(|link| !link.inbox.is_empty());
        let sent = exchange.request_done && self.to_upstream.waiting() == 0;
        Progress::Complete { reusable: self.response.keep_alive() && sent && !unasked }
    }

    /// Gets ready for the next request, once a response is complete.
    pub fn next_request(&mut self, pool: &mut Pool) {
        self.request.reset();
        self.looked_ahead = false;
        self.to_upstream.clear(pool);
        if let Some(over) = &mut self.exchange {
            over.link.iter_mut().for_each(|link| link.inbox.release(pool));
            pool.put_text(std::mem::take(&mut over.record.asked));
        }
        self.exchange = None;
        if let Some(Ahead { exchange, to_upstream }) = self.ahead.pop_front() {
            (self.exchange, self.to_upstream) = (Some(exchange), to_upstream);
            self.expect_response();
        }
    }

    /// Sends what there is of the request once more and starts the response over, on another connection.
    pub fn start_over(&mut self) {
        self.to_upstream.rewind();
        self.exchange.iter_mut().for_each(|exchange| exchange.unsent = None);
        self.expect_response();
    }

    /// Starts the response to a request that may be repeated. The parser has to know HEAD.
    fn expect_response(&mut self) {
        let head_only = self.exchange.as_ref().is_some_and(|exchange| exchange.head_only);
        self.response.reset(if head_only { "HEAD" } else { "GET" });
        if self.exchange.as_ref().is_some_and(|exchange| exchange.upgrade) {
            self.response.expect_upgrade(WEBSOCKET);
        }
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
