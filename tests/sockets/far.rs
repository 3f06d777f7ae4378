//! The far ends of the test's connections.

use crate::common::loopback::wait_for;
use conncache::mio::event::Event;
use conncache::mio::net::{TcpStream, UnixStream};
use conncache::mio::{Events, Interest, Poll, Token};
use conncache::{Connection, Reason};
use socket2::SockRef;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::time::Duration;

/// As long as any wait may take before the test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a far end may do to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Fin,
    HalfClose,
    Reset,
    Bytes,
    BytesAndFin,
}

impl Act {
    pub const ALL: [Act; 5] = [Act::Fin, Act::HalfClose, Act::Reset, Act::Bytes, Act::BytesAndFin];

    /// Whether a connection may have left for this reason after that.
    pub fn explains(self, reason: Reason) -> bool {
        match self {
            Act::Fin | Act::HalfClose => reason == Reason::HungUp,
            // The error may have been read by the owner, in which case only the end is left to see.
            Act::Reset => matches!(reason, Reason::Failed | Reason::HungUp | Reason::NotConnected),
            Act::Bytes => reason == Reason::Unsolicited,
            Act::BytesAndFin => matches!(reason, Reason::Unsolicited | Reason::HungUp | Reason::Failed),
        }
    }
}

pub enum Far {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Far {
    /// Does it, and returns what is left of the far end.
    pub fn act(mut self, act: Act) -> Option<Far> {
        match act {
            Act::Fin => return None,
            Act::HalfClose => match &self {
                Far::Tcp(stream) => stream.shutdown(Shutdown::Write).unwrap(),
                Far::Unix(stream) => stream.shutdown(Shutdown::Write).unwrap(),
            },
            Act::Reset => {
                if let Far::Tcp(stream) = &self {
                    SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
                }
                return None;
            }
            Act::Bytes => self.write_all(b"408 Too late").unwrap(),
            Act::BytesAndFin => {
                self.write_all(b"408 Too late").unwrap();
                return None;
            }
        }
        Some(self)
    }

    fn set_patience(&self) -> io::Result<()> {
        match self {
            Far::Tcp(stream) => stream.set_read_timeout(Some(PATIENCE)),
            Far::Unix(stream) => stream.set_read_timeout(Some(PATIENCE)),
        }
    }

    /// Answers one request with itself.
    pub fn answer(&mut self) -> [u8; 8] {
        self.set_patience().unwrap();
        let mut request = [0; 8];
        self.read_exact(&mut request).expect("the request comes");
        self.write_all(&request).expect("the answer goes");
        request
    }
}

impl Read for Far {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Far::Tcp(stream) => stream.read(buf),
            Far::Unix(stream) => stream.read(buf),
        }
    }
}

impl Write for Far {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Far::Tcp(stream) => stream.write(buf),
            Far::Unix(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The near end, as the tests need it besides.
pub trait Near: Connection + Read + Write {
    /// Whether what the far end did has come here; it may look, but not take anything away.
    fn has_felt(&self, act: Act) -> bool;
}

impl Near for TcpStream {
    fn has_felt(&self, act: Act) -> bool {
        match act {
            // A reset is told once, to whoever asks for the error: look at the state instead.
            Act::Reset => return self.peer_addr().is_err(),
            Act::BytesAndFin => return has_ended(self),
            _ => {}
        }
        !self.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

/// Whether the end has come: behind bytes only an event tells of it.
fn has_ended(near: &TcpStream) -> bool {
    let mut twin = TcpStream::from_std(near.as_fd().try_clone_to_owned().unwrap().into());
    let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(1));
    poll.registry().register(&mut twin, Token(0), Interest::READABLE).unwrap();
    poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
    events.iter().any(Event::is_read_closed)
}

impl Near for UnixStream {
    fn has_felt(&self, _: Act) -> bool {
        true
    }
}

impl<T: Near + ?Sized> Near for Box<T> {
    fn has_felt(&self, act: Act) -> bool {
        (**self).has_felt(act)
    }
}

/// Reads exactly so much of a stream that doesn't block.
#[track_caller]
pub fn read_answer(near: &mut impl Read) -> [u8; 8] {
    let (mut answer, mut filled) = ([0; 8], 0);
    wait_for("an answer", || {
        match near.read(&mut answer[filled..]) {
            Ok(0) => panic!("closed instead of an answer"),
            Ok(n) => filled += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error} instead of an answer"),
        }
        filled == answer.len()
    });
    answer
}
