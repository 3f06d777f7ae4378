//! WebSocket connections: after the handshake the proxy passes on bytes that it doesn't understand.
//!
//! The upstream connection stays active in the cache, and counts for its limits, until it is closed: it never speaks HTTP
//! again.

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
    half_closed: bool,
}

pub fn asks_for_websocket(request: &Request<'_>) -> bool {
    request.framing == Framing::Length(0)
        && request.upgrade.is_some_and(|protocol| protocol.eq_ignore_ascii_case(WEBSOCKET.as_bytes()))
}

impl Tunnel {
    /// Tells the upstream that the client has ended its sending, once.
    fn half_close(&mut self, upstream: &TcpStream) {
        if !std::mem::replace(&mut self.half_closed, true) {
            let _ = upstream.shutdown(Shutdown::Write);
        }
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
        if let (true, true, Some(tunnel)) = (exchange.request_done, sent, &mut exchange.tunnel) {
            tunnel.half_close(upstream);
        }
        let broken = exchange.unsent.is_some();
        match progress {
            Ok(Progress::Complete { .. }) => self.end_tunnel(key, End::Whole),
            Ok(Progress::Yield) => Next::Yield,
            Ok(Progress::UpstreamSilent) if broken => self.end_tunnel(key, End::Cut),
            Ok(Progress::UpstreamSilent | Progress::ClientFull | Progress::Switched) => match self.flush(key) {
                Next::Wait if more => Next::Again,
                next => next,
            },
            Err(Fault::Upstream(_)) => self.end_tunnel(key, End::Cut),
            Err(Fault::Client) => {
                self.close(key);
                Next::Wait
            }
        }
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
