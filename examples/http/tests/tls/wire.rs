//! Both ends over memory: what arrives, and what there is room for, is the test's to decide.

use crate::support::*;
use conncache::mio::event::Source;
use conncache::mio::{Interest, Registry, Token};
use conncache::{Connection, Probe};
use http::tls::TlsConnection;
use http::trust::Trust;
use rustls::{ClientConfig, ProtocolVersion, ServerConfig, ServerConnection};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use testing::certificates::{Authority, HOST};

/// A socket of memory, that gives and takes as the test likes.
#[derive(Default)]
pub struct Wire {
    pub incoming: VecDeque<u8>,
    pub outgoing: Vec<u8>,
    /// How many of the incoming bytes are there already.
    pub arrived: usize,
    /// How many more bytes it takes.
    pub room: usize,
}

impl Wire {
    pub fn open() -> Wire {
        Wire { arrived: usize::MAX, room: usize::MAX, ..Wire::default() }
    }
}

impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = buf.len().min(self.arrived).min(self.incoming.len());
        if n == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.arrived -= n;
        self.incoming.read(&mut buf[..n])
    }
}

impl Write for Wire {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = buf.len().min(self.room);
        if n == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.room -= n;
        self.outgoing.extend_from_slice(&buf[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Wire {
    fn register(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn reregister(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        Ok(())
    }
}

impl Connection for Wire {
    fn probe(&mut self) -> Probe {
        Probe::Quiet
    }

    fn is_connected(&self) -> bool {
        true
    }
}

/// A connection over memory and its server, past the handshake but for the tickets.
pub fn over_wire() -> (TlsConnection<Wire>, ServerConnection) {
    let server = Arc::new(Authority::new().server(TLS13));
    over_wire_with(Wire::open(), &Trust::Anybody.config().unwrap(), &server, &|_| {})
}

/// The same, with a wire that the test may manage in `between`.
pub fn over_wire_with(
    wire: Wire,
    config: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    between: &dyn Fn(&mut Wire),
) -> (TlsConnection<Wire>, ServerConnection) {
    let mut client = TlsConnection::plain(wire);
    client.start_tls(HOST, config).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    for _ in 0..100_000 {
        let done = client.handshake().unwrap();
        let sent = std::mem::take(&mut client.socket().outgoing);
        deliver(&mut server, &sent);
        if done && !server.is_handshaking() {
            return (client, server);
        }
        if server.is_handshaking() || server.protocol_version() == Some(ProtocolVersion::TLSv1_2) {
            let bytes = drain(&mut server);
            client.socket().incoming.extend(bytes);
        }
        between(client.socket());
    }
    panic!("the handshake doesn't end");
}

pub fn deliver(server: &mut ServerConnection, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        server.read_tls(&mut bytes).unwrap();
        server.process_new_packets().unwrap();
    }
}

pub fn drain(server: &mut ServerConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut bytes).unwrap();
    }
    bytes
}
