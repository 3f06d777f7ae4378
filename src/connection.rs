//! What the cache has to know about a connection.

use mio::event::Source;
use mio::{Interest, Registry, Token};
use std::io::{self, Read};

/// A connection as the cache sees it: something that can be registered, and that can be probed while nobody uses it. It
/// has to be non-blocking.
///
/// It is implemented for mio's [`TcpStream`](mio::net::TcpStream) and `UnixStream`, and for boxes, so that one cache
/// can hold connections of several types. A `Box<dyn Connection>` can only be watched. To read and write as well, box a
/// trait of your own:
///
/// ```
/// use conncache::{AggressiveCache, Connection, mio};
/// use std::io::{Read, Write};
///
/// trait Stream: Connection + Read + Write {}
/// impl<T: Connection + Read + Write> Stream for T {}
///
/// # let (poll, listener) = (mio::Poll::new()?, std::net::TcpListener::bind("127.0.0.1:0")?);
/// # let addr = listener.local_addr()?;
/// let mut cache: AggressiveCache<Box<dyn Stream>> = AggressiveCache::builder().build(poll.registry())?;
/// let conn = Box::new(mio::net::TcpStream::connect(addr)?);
/// # let (now, plain) = (std::time::Instant::now(), conncache::ChannelBindingId::PLAIN);
/// cache.insert(now, conn, &addr.into(), plain, conncache::Owner(1))?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// To implement it for a type of your own, such as a socket with its buffers and its TLS session, forward all methods of
/// both traits to the socket. Then extend [`probe`](Connection::probe):
///
/// * If a buffer of yours isn't empty, answer [`Unsolicited`](Probe::Unsolicited).
/// * With TLS, ask the session, too, even if the socket has nothing to read. Data that it has already decrypted is
///   unsolicited. A close_notify means closed. Consume records that carry no data (TLS 1.3 tickets), but read only a
///   bounded amount. A partial record can't be judged yet, and counts as quiet.
///
/// ```
/// use conncache::{Connection, Probe, mio};
/// use mio::{Interest, Registry, Token, event::Source, net::TcpStream};
///
/// struct Conn {
///     socket: TcpStream,
///     unread: Vec<u8>,
/// }
///
/// impl Source for Conn {
///     fn register(&mut self, registry: &Registry, token: Token, interest: Interest) -> std::io::Result<()> {
///         self.socket.register(registry, token, interest)
///     }
///     fn reregister(&mut self, registry: &Registry, token: Token, interest: Interest) -> std::io::Result<()> {
///         self.socket.reregister(registry, token, interest)
///     }
///     fn deregister(&mut self, registry: &Registry) -> std::io::Result<()> {
///         self.socket.deregister(registry)
///     }
/// }
///
/// impl Connection for Conn {
///     fn probe(&mut self) -> Probe {
///         if self.unread.is_empty() { self.socket.probe() } else { Probe::Unsolicited }
///     }
///     fn is_connected(&self) -> bool {
///         self.socket.is_connected()
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    note = "a socket has to be one of `conncache::mio::net`, which are non-blocking",
    note = "a type of your own, such as a socket with its buffers, has to implement `Source` and `Connection`",
    note = "for one that no `mio::Poll` watches, see `conncache::Unwatched` and `Builder::build_unwatched`"
)]
pub trait Connection: Source {
    /// Whether this connection is still fit for use. The cache calls it on inactive connections: when an event is
    /// reported for one, and before one is handed out. Where mio has to emulate edges (Windows), it is also called
    /// before a connection becomes inactive.
    ///
    /// It may consume what it reads: any answer but [`Probe::Quiet`] ends the connection.
    fn probe(&mut self) -> Probe;

    /// Whether the connection has been established. The cache asks when the connection first becomes inactive, because
    /// reading from a socket that is still connecting looks the same as reading from a quiet one.
    ///
    /// Once the answer was true, the cache doesn't ask again. If you then replace the value (a plain stream by TLS over
    /// it), [`probe`](Connection::probe) has to notice that the handshake isn't finished.
    fn is_connected(&self) -> bool;
}

/// What a probe of an inactive connection found.
#[derive(Debug)]
#[non_exhaustive]
pub enum Probe {
    /// Open, no error, nothing to read.
    Quiet,
    /// The peer has closed the connection, or its half of it.
    Closed,
    /// The peer has sent something that nobody asked for, or something was left unread.
    Unsolicited,
    /// Reading failed, for example after a reset.
    Failed(io::Error),
}

impl<T: Connection + ?Sized> Connection for Box<T> {
    fn probe(&mut self) -> Probe {
        (**self).probe()
    }

    fn is_connected(&self) -> bool {
        (**self).is_connected()
    }
}

impl Connection for mio::net::TcpStream {
    fn probe(&mut self) -> Probe {
        probe(self)
    }

    fn is_connected(&self) -> bool {
        self.peer_addr().is_ok()
    }
}

#[cfg(unix)]
impl Connection for mio::net::UnixStream {
    fn probe(&mut self) -> Probe {
        probe(self)
    }

    fn is_connected(&self) -> bool {
        self.peer_addr().is_ok()
    }
}

/// Whether a non-blocking stream is still fit for use: [`Connection::probe`] for a plain socket of any kind.
///
/// It reads one byte. If there is one, the connection is no longer fit for use. On a blocking socket it waits for that
/// byte, so call `set_nonblocking(true)` first.
///
/// ```
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
/// stream.set_nonblocking(true)?;
/// assert!(matches!(conncache::probe(&stream), conncache::Probe::Quiet));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn probe(mut stream: impl Read) -> Probe {
    // A peek would not re-arm the edge where mio emulates edges. A read that would block does.
    loop {
        return match stream.read(&mut [0]) {
            Ok(0) => Probe::Closed,
            Ok(_) => Probe::Unsolicited,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Probe::Quiet,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Probe::Failed(error),
        };
    }
}

/// A connection that the cache probes but never registers, for hosts that watch their sockets themselves: a
/// `std::net::TcpStream`, or anything else that can be read. It is made for caches [without a
/// `Poll`](crate::Builder::build_unwatched).
///
/// It has to be non-blocking, because it is probed by [`probe`]: call `stream.set_nonblocking(true)?`. It always counts
/// as connected, so don't check it in or park it before it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unwatched<T>(pub T);

impl<T> Source for Unwatched<T> {
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

impl<T: Read> Connection for Unwatched<T> {
    fn probe(&mut self) -> Probe {
        probe(&mut self.0)
    }

    fn is_connected(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_one_read_repeated_only_if_interrupted() {
        struct Script(Vec<io::Result<usize>>);

        impl Read for Script {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                assert_eq!(buffer.len(), 1);
                self.0.pop().expect("enough was known")
            }
        }

        let find = |read: io::Result<usize>| {
            let interrupted = || Err(io::ErrorKind::Interrupted.into());
            probe(Script(vec![Ok(1), read, interrupted(), interrupted()]))
        };
        assert!(matches!(find(Err(io::ErrorKind::WouldBlock.into())), Probe::Quiet));
        assert!(matches!(find(Ok(0)), Probe::Closed));
        assert!(matches!(find(Ok(1)), Probe::Unsolicited));
        assert!(matches!(find(Err(io::ErrorKind::ConnectionReset.into())), Probe::Failed(_)));
    }
}
