//! Addresses at which nobody answers, and which nobody else can come to have meanwhile.

use conncache::mio::net::TcpListener;
use conncache::mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Refuses connections as long as the socket lives: bound, not listening.
pub fn refusing_at(address: SocketAddr) -> io::Result<(Socket, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&address.into())?;
    let address = socket.local_addr()?.as_socket().expect("it has an address and a port");
    Ok((socket, address))
}

/// The same at any port of loopback.
pub fn refusing() -> (Socket, SocketAddr) {
    refusing_at(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port is free")
}

/// A connection to itself: TCP allows that, where the system gives a socket the port that it connects to.
pub fn to_itself() -> TcpStream {
    let (socket, address) = refusing();
    socket.connect(&address.into()).expect("TCP allows it");
    socket.into()
}

/// A listener whose queue is full: on Linux at least, whoever connects to it next stays connecting.
pub struct Silent {
    listener: TcpListener,
    _in_queue: TcpStream,
}

impl Silent {
    /// Accepts one connection: there is room for another one, which the system makes when it tries again.
    pub fn make_room(&self) {
        self.listener.accept().expect("one is in the queue");
    }
}

pub fn silent_at(address: SocketAddr) -> io::Result<(Silent, SocketAddr)> {
    let (socket, address) = refusing_at(address)?;
    socket.listen(0)?;
    socket.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(socket.into());
    let in_queue = TcpStream::connect(address)?;
    // The system may still be about to put it there.
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1));
    poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
    poll.poll(&mut events, Some(Duration::from_secs(60)))?;
    assert!(!events.is_empty(), "the queue stays empty");
    Ok((Silent { listener, _in_queue: in_queue }, address))
}

/// The same at any port of loopback.
pub fn silent() -> (Silent, SocketAddr) {
    silent_at(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port is free")
}
