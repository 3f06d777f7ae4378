//! A TCP connection to the first of several addresses that takes one, tried in turn, without blocking.
//!
//! [`Attempts`] begins connections; the host registers each, and on its events asks [`connected`] how it fares. What
//! fails, or takes the host too long, is told by [`Attempts::failed`], and the next address is tried.

use conncache::mio::net::TcpStream;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// The addresses still to be tried, and what became of the others.
#[derive(Debug)]
pub struct Attempts {
    untried: VecDeque<SocketAddr>,
    failures: Vec<(SocketAddr, io::Error)>,
    current: Option<SocketAddr>,
}

impl Attempts {
    /// Nothing is tried yet.
    pub fn new(addresses: impl IntoIterator<Item = SocketAddr>) -> Attempts {
        Attempts { untried: addresses.into_iter().collect(), failures: Vec::new(), current: None }
    }

    /// Begins a connection to the next address that can be tried at all.
    ///
    /// # Errors
    ///
    /// No address is left: the error names every one and why it failed. Or this program has no descriptor left
    /// ([`out_of_descriptors`]): that isn't the address's fault, and the next call tries it again.
    pub fn connect(&mut self) -> io::Result<TcpStream> {
        while let Some(address) = self.untried.pop_front() {
            match TcpStream::connect(address) {
                Ok(stream) => {
                    self.current = Some(address);
                    return Ok(stream);
                }
                Err(error) if out_of_descriptors(&error) => {
                    self.untried.push_front(address);
                    return Err(error);
                }
                Err(error) => self.failures.push((address, error)),
            }
        }
        Err(io::Error::other(self.to_string()))
    }

    /// Says what became of the connection begun last.
    pub fn failed(&mut self, error: io::Error) {
        self.failures.extend(self.current.take().map(|address| (address, error)));
    }

    /// How many addresses haven't been tried.
    pub fn untried(&self) -> usize {
        self.untried.len()
    }
}

/// Every address that failed, and why.
impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.failures.is_empty() {
            return f.write_str("no address to connect to");
        }
        for (i, (address, error)) in self.failures.iter().enumerate() {
            write!(f, "{}{address}: {error}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// Whether a connection that was begun stands. `Ok(false)`: still under way.
pub fn connected(stream: &TcpStream) -> io::Result<bool> {
    // The order matters, for a failed socket has no peer either.
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether this process, or the machine, has no descriptor left.
pub fn out_of_descriptors(error: &io::Error) -> bool {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    const WSAEMFILE: i32 = 10024;
    let codes: &[i32] = if cfg!(windows) { &[WSAEMFILE] } else { &[EMFILE, ENFILE] };
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}
