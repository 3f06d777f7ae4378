//! What carries the bytes: a plain socket, for the time being.

use conncache::mio::event::Source;
use conncache::mio::net::TcpStream;
use conncache::mio::{Interest, Registry, Token};
use conncache::{Connection, Probe};
use std::io::{self, Read, Write};

/// A byte stream of one of several kinds.
pub enum Stream {
    Tcp(TcpStream),
}

/// Forwards to whatever the stream is.
macro_rules! forward {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream {
            Stream::Tcp($inner) => $call,
        }
    };
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        forward!(self, inner => inner.read(buffer))
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        forward!(self, inner => inner.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        forward!(self, inner => inner.flush())
    }
}

impl Source for Stream {
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

impl Connection for Stream {
    fn probe(&mut self) -> Probe {
        forward!(self, inner => inner.probe())
    }

    fn is_connected(&self) -> bool {
        forward!(self, inner => inner.is_connected())
    }
}
