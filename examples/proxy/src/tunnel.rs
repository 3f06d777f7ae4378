//! WebSocket connections: after the handshake the proxy passes on bytes that it doesn't understand.
//!
//! The upstream connection speaks HTTP no longer and never will again, so it leaves the cache. It is registered under a
//! token of the client's.

use crate::buffer::{Fill, Pool};
use crate::client::{Client, Ending, Fault, Progress, Refusal};
use crate::drive::Next;
use crate::journal::End;
use crate::proxy::Proxy;
use conncache::ConnId;
use conncache::mio::Interest;
use conncache::mio::event::Event;
use conncache::mio::net::TcpStream;
use http::framing::body::Framing;
use http::framing::request::Request;
use log::warn;
use std::net::Shutdown;
use std::time::Duration;

/// The one protocol that is switched to. Others are left out of the request, as HTTP allows: a tunnel of HTTP/2, say,
/// would carry requests that the proxy doesn't see.
pub const WEBSOCKET: &str = "websocket";
/// For how long a tunnel may be silent.
pub const SILENCE: Duration = Duration::from_secs(75);

/// The upstream's end.
pub struct Tunnel {
    pub stream: TcpStream,
    /// The client has ended its sending, and the upstream has been told.
    half_closed: bool,
}

pub fn asks_for_websocket(request: &Request<'_>) -> bool {
    request.framing == Framing::Length(0)
        && request.upgrade.is_some_and(|protocol| protocol.eq_ignore_ascii_case(WEBSOCKET.as_bytes()))
}

impl Tunnel {
    /// Tells the upstream that the client has ended its sending, once.
    fn half_close(&mut self) {
        if !std::mem::replace(&mut self.half_closed, true) {
            let _ = self.stream.shutdown(Shutdown::Write);
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
    /// Takes the upstream connection of an exchange out of the cache, since it has become the client's.
    pub fn begin_tunnel(&mut self, key: usize, id: ConnId) -> Next {
        let Ok(mut evicted) = self.cache.remove(id) else { return Next::Wait };
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.registry.register(&mut evicted.conn, Proxy::tunnel_token(key), interest) {
            warn!("event=register_failed error={error}");
            self.close(key);
            return Next::Wait;
        }
        if let Some(exchange) = self.clients.get_mut(key).and_then(|client| client.exchange.as_mut()) {
            exchange.tunnel = Some(Tunnel { stream: evicted.conn, half_closed: false });
            exchange.request_done = false;
            exchange.replayable = false;
        }
        Next::Again
    }

    /// Moves bytes in both directions of a tunnel.
    pub fn advance_tunnel(&mut self, key: usize) -> Next {
        let Some(client) = self.clients.get_mut(key) else { return Next::Wait };
        let Some(mut tunnel) = client.exchange.as_mut().and_then(|exchange| exchange.tunnel.take()) else {
            return Next::Wait;
        };
        let was_full = client.to_upstream.is_full();
        client.send_request(&mut tunnel.stream);
        let progress = client.take_response(&mut tunnel.stream, &mut self.pool, true);
        let more = was_full && !client.to_upstream.is_full() && client.inbox.is_ready();
        let sent = client.to_upstream.waiting() == 0;
        let Some(exchange) = &mut client.exchange else { return Next::Wait };
        if exchange.request_done && sent {
            tunnel.half_close();
        }
        let broken = exchange.unsent.is_some();
        exchange.tunnel = Some(tunnel);
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
        let tunnel = client.exchange.as_mut().and_then(|exchange| exchange.tunnel.take());
        tunnel.into_iter().for_each(|tunnel| self.drop_tunnel(tunnel));
        self.end_exchange(key)
    }

    pub fn drop_tunnel(&mut self, mut tunnel: Tunnel) {
        if let Err(error) = self.registry.deregister(&mut tunnel.stream) {
            warn!("event=deregister_failed error={error}");
        }
    }

    /// An event for the upstream's end of a tunnel.
    pub fn on_tunnel(&mut self, key: usize, event: &Event) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let Some(exchange) = client.exchange.as_mut().filter(|exchange| exchange.tunnel.is_some()) else { return };
        exchange.link.iter_mut().for_each(|link| link.inbox.tell(event));
        if event.is_writable() {
            client.to_upstream.unblock();
        }
        self.drive(key);
    }
}
