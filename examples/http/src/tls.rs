//! A connection that speaks TLS, or will: what to do in [`Connection`] for a protocol that has a life of its own.
//!
//! [`TlsConnection`] wraps any socket. It begins plain, and [`start_tls`](TlsConnection::start_tls) puts a session on
//! top, at once or behind what a proxy had to be told first. The socket stays where it is, and so does its
//! registration: the connection can be in the cache all the while.
//!
//! The host then calls [`handshake`](TlsConnection::handshake) on the connection's events until that says `true`, and
//! reads and writes as it would on the socket: until `WouldBlock`. Two things are different:
//!
//! * `write` takes bytes that the socket may not take yet. `flush` tells whether all of them went; call it on the
//!   connection's events until it says `Ok`.
//! * The end of the stream is `Ok(0)` only if the peer said so (close_notify). If it just closed, anybody on the way
//!   could have done it, and what came may be cut short: that is [`UnexpectedEof`](ErrorKind::UnexpectedEof).
//!
//! No clock in here: time-outs are the host's.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use conncache::mio::event::Source;
use conncache::mio::{Interest, Registry, Token};
use conncache::{Connection, Probe};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};
use session::Tls;

mod session;

/// The most bytes that a peer may send in a row without any data among them: tickets, key updates, empty records. Far
/// more than servers do (some tickets of a few hundred bytes each), and more than the longest record, since data shows
/// only when its record is complete.
///
/// Whatever arrives has to be read, or the edge is not armed again; and what costs its sender little must not keep
/// the loop busy. So there is a limit, and what goes over it ends the connection.
pub const MOST_WITHOUT_DATA: usize = 32 * 1024;

/// A socket, and the TLS session on it once there is one.
///
/// Dropping it says goodbye first: see [`goodbye`](TlsConnection::goodbye). Thus every way out of the cache is an
/// orderly one, even for a `Box<dyn Connection>` and those that the cache closes itself.
pub struct TlsConnection<S: Connection + Read + Write> {
    socket: S,
    /// Boxed, for a session takes more room than all else that a cache keeps with a connection.
    tls: Option<Box<Tls>>,
}

impl<S: Connection + Read + Write> TlsConnection<S> {
    /// A connection without TLS, for now or for good: the socket as it is.
    pub fn plain(socket: S) -> Self {
        TlsConnection { socket, tls: None }
    }

    /// Puts a session on the socket, which has to be connected, through to the far end. Nothing is sent yet: call
    /// [`handshake`](Self::handshake) next, without waiting for an event.
    ///
    /// The certificate has to be for `host`, a name or an address without brackets. Connections that share a `config`
    /// resume each other's sessions with that host; one for each channel binding is right.
    ///
    /// The bytes that opened a tunnel must all be read, and nothing else: in TLS the client speaks first, so
    /// that whatever came behind them is a fault.
    ///
    /// # Errors
    ///
    /// `host` can't be a name, or there is TLS on this connection already. Nothing has changed.
    pub fn start_tls(&mut self, host: &str, config: &Arc<ClientConfig>) -> io::Result<()> {
        let invalid =
            |why: &dyn fmt::Display| io::Error::new(ErrorKind::InvalidInput, format!("tls with {host}: {why}"));
        if self.tls.is_some() {
            return Err(invalid(&"the connection has TLS already"));
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|error| invalid(&error))?;
        let session = ClientConnection::new(Arc::clone(config), name).map_err(|error| invalid(&error))?;
        self.tls = Some(Box::new(Tls::new(session, host)));
        Ok(())
    }

    /// Goes on with the handshake; whether it is over. Without TLS it always is.
    ///
    /// Until then, call it on every event of the connection.
    ///
    /// # Errors
    ///
    /// Named after the host, with what went wrong in words. The connection is of no more use.
    pub fn handshake(&mut self) -> io::Result<bool> {
        match &mut self.tls {
            Some(tls) => tls.handshake(&mut self.socket),
            None => Ok(true),
        }
    }

    /// How the handshake went, full or resumed; `None` while that isn't known, and without TLS.
    pub fn handshake_kind(&self) -> Option<HandshakeKind> {
        self.tls.as_ref()?.session.handshake_kind()
    }

    /// Whether bytes wait for the socket: there is something to `flush`.
    pub fn wants_write(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.session.wants_write())
    }

    /// Tells the peer that nothing more will come (close_notify), as far as the socket takes it without waiting.
    /// Nothing can be written any more. Done by dropping, too; once is enough.
    ///
    /// Best effort: if bytes are unread when the socket closes, the system sends a reset, which may overtake it.
    pub fn goodbye(&mut self) {
        if let Some(tls) = &mut self.tls {
            // Before the handshake is over there is no session to end.
            if !tls.session.is_handshaking() {
                tls.session.send_close_notify();
                let _ = tls.send(&mut self.socket);
            }
        }
    }

    /// The socket below. Reading or writing it once there is TLS breaks the session.
    pub fn socket(&mut self) -> &mut S {
        &mut self.socket
    }
}

/// The cache registers the socket; TLS has no part in it.
impl<S: Connection + Read + Write> Source for TlsConnection<S> {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.socket.register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.socket.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket.deregister(registry)
    }
}

impl<S: Connection + Read + Write> Connection for TlsConnection<S> {
    fn probe(&mut self) -> Probe {
        match &mut self.tls {
            Some(tls) => tls.probe(&mut self.socket),
            None => self.socket.probe(),
        }
    }

    fn is_connected(&self) -> bool {
        self.socket.is_connected() && self.tls.as_ref().is_none_or(|tls| !tls.session.is_handshaking())
    }
}

/// `WouldBlock` while no data is there, whatever else the peer sends.
impl<S: Connection + Read + Write> Read for TlsConnection<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => tls.read(&mut self.socket, buf),
            None => self.socket.read(buf),
        }
    }
}

/// `WouldBlock` while the bytes of an earlier `write` wait for the socket. Only one write's are kept, and of a long one
/// a part is taken (64 KiB), so that no more piles up.
impl<S: Connection + Read + Write> Write for TlsConnection<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => tls.write(&mut self.socket, buf),
            None => self.socket.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => tls.send(&mut self.socket),
            None => self.socket.flush(),
        }
    }
}

impl<S: Connection + Read + Write> Drop for TlsConnection<S> {
    fn drop(&mut self) {
        self.goodbye();
    }
}
