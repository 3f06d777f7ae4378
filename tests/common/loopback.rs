//! Real connections on loopback, and waiting for what happens to them.

use conncache::Connection;
use conncache::mio::net::TcpStream;
use socket2::SockRef;
use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// An established connection: the near end, and the far one, which blocks.
pub fn pair() -> (TcpStream, std::net::TcpStream) {
    pair_through(&TcpListener::bind("127.0.0.1:0").unwrap())
}

/// The same through a listener that nobody else connects to.
pub fn pair_through(listener: &TcpListener) -> (TcpStream, std::net::TcpStream) {
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, from) = listener.accept().unwrap();
    assert_eq!(near.local_addr().unwrap(), from);
    wait_for("a connection", || near.is_connected());
    (near, far)
}

/// What the far end does, until the kernel knows of it on the near side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Fin,
    Reset,
    Byte,
}

impl Act {
    pub const ALL: [Act; 3] = [Act::Fin, Act::Reset, Act::Byte];

    /// The far end, as long as it isn't closed by this.
    pub fn by(self, mut far: std::net::TcpStream, near: &TcpStream) -> Option<std::net::TcpStream> {
        match self {
            Act::Fin => drop(far),
            Act::Reset => {
                SockRef::from(&far).set_linger(Some(Duration::ZERO)).unwrap();
                drop(far);
                // The error is told once: it isn't asked for here.
                wait_for("a reset", || near.peer_addr().is_err());
                return None;
            }
            Act::Byte => {
                far.write_all(b"?").unwrap();
                wait_for("a byte", || has_something(near));
                return Some(far);
            }
        }
        wait_for("a hangup", || has_something(near));
        None
    }
}

pub fn has_something(near: &TcpStream) -> bool {
    !near.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[track_caller]
pub fn wait_for(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        std::thread::yield_now();
    }
}
