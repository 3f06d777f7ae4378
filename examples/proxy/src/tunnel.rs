//! WebSocket connections: after the handshake the proxy passes on bytes that it doesn't understand.
//!
//! The upstream connection stays active in the cache, and counts for its limits, until it is closed: it never speaks HTTP
//! again. Each side may end its sending: the other direction goes on until it ends, too, or falls silent.

use crate::buffer::{Fill, Pool};
use crate::client::{Client, Ending, Fault, Progress, Refusal};
use crate::drive::Next;
use crate::journal::End;
use crate::proxy::Proxy;
use conncache::mio::net::TcpStream;
use http::framing::body::Framing;
use http::framing::request::Request;
use std::net::Shutdown;
use std::time::Duration;

/// The one protocol that is switched to. Others are left out of the request, as HTTP allows: a tunnel of HTTP/2, say,
/// would carry requests that the proxy doesn't see.
pub const WEBSOCKET: &str = "websocket";
/// For how long a tunnel may be silent.
pub const SILENCE: Duration = Duration::from_secs(75);

#[derive(Default)]
pub struct Tunnel {
    /// The client has ended its sending, and the upstream has been told.
    client_ended: bool,
    /// The upstream has ended its sending, and the client has been told.
    pub upstream_ended: bool,
}

pub fn asks_for_websocket(request: &Request<'_>) -> bool {
    request.framing == Framing::Length(0)
        && request.upgrade.is_some_and(|protocol| protocol.eq_ignore_ascii_case(WEBSOCKET.as_bytes()))
}

/// Tells a side that the other one has ended its sending, once.
fn tell_end(told: &mut bool, side: &TcpStream) {
    if !std::mem::replace(told, true) {
        let _ = side.shutdown(Shutdown::Write);
    }
}

impl Client {
    /// Reads what the client sends into a tunnel.
    pub fn take_tunnelled(&mut self, pool: &mut Pool) -> Result<bool, Refusal> {
        while !self.to_upstream.is_full() {
            if self.inbox.is_empty() {
                match self.fill(pool)? {
                    Fill::Bytes => {}
                    Fill::Blocked | Fill::Full => break,
                    Fill::Ended => {
                        self.exchange.iter_mut().for_each(|exchange| exchange.request_done = true);
                        break;
                    }
                }
            }
            self.to_upstream.append(pool).extend_from_slice(self.inbox.bytes());
            self.inbox.release(pool);
        }
        Ok(false)
    }
}

impl Proxy {
    /// The upstream has switched: from now on bytes are passed on.
    pub fn begin_tunnel(&mut self, key: usize) -> Next {
        let exchange = self.clients.get_mut(key).and_then(|client| client.exchange.as_mut());
        let Some(exchange) = exchange else { return Next::Wait };
        exchange.tunnel = Some(Tunnel::default());
        exchange.request_done = false;
        exchange.replayable = false;
        Next::Again
    }

    /// Moves bytes in both directions of a tunnel.
    pub fn advance_tunnel(&mut self, key: usize) -> Next {
        let Some(client) = self.clients.get_mut(key) else { return Next::Wait };
        let link = client.exchange.as_ref().and_then(|exchange| exchange.link.as_ref());
        let Some(upstream) = link.and_then(|link| self.cache.get_mut(link.id)) else { return Next::Wait };
        let was_full = client.to_upstream.is_full();
        client.send_request(upstream);
        let progress = client.take_response(upstream, &mut self.pool, true);
        let more = was_full && !client.to_upstream.is_full() && client.inbox.is_ready();
        let sent = client.to_upstream.waiting() == 0;
        let Some(exchange) = &mut client.exchange else { return Next::Wait };
        let client_ended = exchange.request_done && sent;
        if let (true, Some(tunnel)) = (client_ended, &mut exchange.tunnel) {
            tell_end(&mut tunnel.client_ended, upstream);
        }
        let upstream_ended = matches!(progress, Ok(Progress::Complete { .. }));
        // Whoever has ended its sending isn't read from: only this shows that it takes nothing any more.
        let reset = upstream_ended && !matches!(upstream.take_error(), Ok(None));
        let broken = exchange.unsent.is_some() || reset;
        match progress {
            Ok(Progress::Complete { .. }) if client_ended || broken => self.end_tunnel(key, End::Whole),
            Ok(Progress::Yield) => Next::Yield,
            Ok(Progress::UpstreamSilent) if broken => self.end_tunnel(key, End::Cut),
            Ok(_) => {
                let next = self.flush(key);
                if upstream_ended {
                    self.pass_on_end(key);
                }
                match next {
                    Next::Wait if more => Next::Again,
                    next => next,
                }
            }
            Err(Fault::Upstream(_)) => self.end_tunnel(key, End::Cut),
            Err(Fault::Client) => {
                self.close(key);
                Next::Wait
            }
        }
    }

    /// Tells the client that the upstream has ended its sending, once all of that is written.
    fn pass_on_end(&mut self, key: usize) {
        let Some(client) = self.clients.get_mut(key).filter(|client| client.outbox.waiting() == 0) else { return };
        let tunnel = client.exchange.as_mut().and_then(|exchange| exchange.tunnel.as_mut());
        tunnel.into_iter().for_each(|tunnel| tell_end(&mut tunnel.upstream_ended, &client.stream));
    }

    /// Closes the upstream's end, and the client's once all is written.
    pub fn end_tunnel(&mut self, key: usize, end: End) -> Next {
        self.counts.passed_on += u64::from(end == End::Whole);
        self.record(key, 0, end);
        let Some(client) = self.clients.get_mut(key) else { return Next::Wait };
        client.ending = Ending::AfterFlush;
        let link = client.exchange.as_mut().and_then(|exchange| exchange.link.take());
        link.into_iter().for_each(|link| self.drop_link(link));
        self.end_exchange(key)
    }
}
