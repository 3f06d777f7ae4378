//! What carries the bytes: a socket of one of two kinds, with or without TLS on it.

use conncache::mio::event::Source;
use conncache::mio::net::TcpStream;
#[cfg(unix)]
use conncache::mio::net::UnixStream;
use conncache::mio::{Interest, Registry, Token};
use conncache::{Connection, Probe};
use http::connecting::connected;
use http::tls::TlsConnection;
use std::io::{self, IoSlice, Read, Write};

/// What requests are written to and responses are read from.
pub type Stream = TlsConnection<Socket>;

/// The socket below.
pub enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Socket {
    /// Whether a connection that was begun stands. `Ok(false)`: still under way.
    pub fn connected(&self) -> io::Result<bool> {
        match self {
            Socket::Tcp(stream) => {
                let connected = connected(stream)?;
                if connected {
                    let _ = stream.set_nodelay(true); // it works without, only slower
                }
                Ok(connected)
            }
            // It was connected at once, or there would be no socket.
            #[cfg(unix)]
            Socket::Unix(_) => Ok(true),
        }
    }
}

/// Forwards to whatever the socket is.
macro_rules! forward {
    ($socket:expr, $inner:ident => $call:expr) => {
        match $socket {
            Socket::Tcp($inner) => $call,
            #[cfg(unix)]
            Socket::Unix($inner) => $call,
        }
    };
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        forward!(self, inner => inner.read(buffer))
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        forward!(self, inner => inner.write(bytes))
    }

    /// TLS writes several records at once.
    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        forward!(self, inner => inner.write_vectored(pieces))
    }

    fn flush(&mut self) -> io::Result<()> {
        forward!(self, inner => inner.flush())
    }
}

impl Source for Socket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        forward!(self, inner => inner.register(registry, token, interests))
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        forward!(self, inner => inner.reregister(registry, token, interests))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        forward!(self, inner => inner.deregister(registry))
    }
}

impl Connection for Socket {
    fn probe(&mut self) -> Probe {
        forward!(self, inner => inner.probe())
    }

    fn is_connected(&self) -> bool {
        forward!(self, inner => inner.is_connected())
    }
}
