//! What carries the bytes: a socket of one of two kinds, with or without TLS on it.

use conncache::mio::event::Source;
use conncache::mio::net::TcpStream;
#[cfg(unix)]
use conncache::mio::net::UnixStream;
use conncache::mio::{Interest, Registry, Token};
use conncache::{Connection, Probe};
use http::connecting::Race;
use http::tls::TlsConnection;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

/// What requests are written to and responses are read from.
pub type Stream = TlsConnection<Socket>;

/// The socket below.
pub enum Socket {
    /// None yet.
    Nowhere,
    /// Several TCP sockets, until one of them is connected.
    Racing(Box<Race>),
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Socket {
    /// Goes on with connecting; whether the connection stands.
    pub fn connect(&mut self, now: Instant, registry: &Registry) -> io::Result<bool> {
        if let Socket::Racing(race) = self {
            let Some(stream) = race.advance(now, registry)? else { return Ok(false) };
            let _ = stream.set_nodelay(true); // it works without, only slower
            *self = Socket::Tcp(stream);
        }
        Ok(true)
    }

    /// When to call [`connect`](Socket::connect) though no event has come.
    pub fn next_attempt(&self) -> Option<Instant> {
        match self {
            Socket::Racing(race) => race.deadline(),
            _ => None,
        }
    }

    /// Every address that was tried for a connection, and why it isn't the one.
    pub fn attempts(&self) -> String {
        match self {
            Socket::Racing(race) => race.to_string(),
            _ => String::new(),
        }
    }

    /// The address at the far end of a TCP connection that stands.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Socket::Tcp(stream) => stream.peer_addr().ok(),
            _ => None,
        }
    }
}

/// Forwards to whatever the socket is; `else` counts for sockets that aren't connected yet, `nowhere` if there is none.
macro_rules! forward {
    ($socket:expr, $inner:ident => $call:expr, else $other:expr) => {
        forward!($socket, $inner => $call, race _race => $other, nowhere $other)
    };
    ($socket:expr, $inner:ident => $call:expr, nowhere $nowhere:expr) => {
        forward!($socket, $inner => $call, race $inner => $call, nowhere $nowhere)
    };
    ($socket:expr, $inner:ident => $call:expr, race $race:ident => $other:expr, nowhere $nowhere:expr) => {
        match $socket {
            Socket::Nowhere => $nowhere,
            Socket::Racing($race) => $other,
            Socket::Tcp($inner) => $call,
            #[cfg(unix)]
            Socket::Unix($inner) => $call,
        }
    };
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        forward!(self, inner => inner.read(buffer), else Err(ErrorKind::NotConnected.into()))
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        forward!(self, inner => inner.write(bytes), else Err(ErrorKind::NotConnected.into()))
    }

    /// TLS writes several records at once.
    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        forward!(self, inner => inner.write_vectored(pieces), else Err(ErrorKind::NotConnected.into()))
    }

    fn flush(&mut self) -> io::Result<()> {
        forward!(self, inner => inner.flush(), else Err(ErrorKind::NotConnected.into()))
    }
}

impl Source for Socket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        forward!(self, inner => inner.register(registry, token, interests), nowhere Ok(()))
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        forward!(self, inner => inner.reregister(registry, token, interests), nowhere Ok(()))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        forward!(self, inner => inner.deregister(registry), nowhere Ok(()))
    }
}

impl Connection for Socket {
    fn probe(&mut self) -> Probe {
        forward!(self, inner => inner.probe(), else Probe::Failed(ErrorKind::NotConnected.into()))
    }

    fn is_connected(&self) -> bool {
        forward!(self, inner => inner.is_connected(), else false)
    }
}
