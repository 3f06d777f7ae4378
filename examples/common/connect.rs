//! A TCP connection to the first of several addresses that takes one: tries them in turn, without
//! blocking. The host owns the poll and the clock.
//!
//! The host registers [`Connecting::stream`] for writing and calls [`Connecting::poll`] on its
//! events and at [`Connecting::deadline`]. [`Step::Next`] means there is another stream to
//! register; the one before is closed, which took it out of the poll.
//!
//! Surprising: a call too many does no harm, for `poll` asks the socket and not the event. And a
//! connection that was made in time counts, even if the host looks only after the deadline.

#![allow(dead_code)] // no single program needs all of it

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

/// An attempt to connect.
#[derive(Debug)]
pub struct Connecting {
    untried: VecDeque<SocketAddr>,
    current: Option<Attempt>,
    failures: Vec<(SocketAddr, io::Error)>,
    per_address: Duration,
}

#[derive(Debug)]
struct Attempt {
    address: SocketAddr,
    stream: TcpStream,
    deadline: Instant,
}

/// Where a [`Connecting`] stands.
#[derive(Debug)]
pub enum Step {
    /// Nothing is decided; wait on.
    Pending,
    /// An address failed and another is being tried: its stream is to be registered, and the
    /// deadline is a new one.
    Next,
    /// Connected, and still registered as the host did it. There is nothing left to poll.
    Connected(TcpStream),
}

impl Connecting {
    /// Starts with the first address that can be tried at all. Each gets `per_address` to answer.
    ///
    /// # Panics
    ///
    /// Here or later, when no [`Instant`] is that far off.
    pub fn start(
        addresses: impl IntoIterator<Item = SocketAddr>,
        per_address: Duration,
        now: Instant,
    ) -> Result<Self, ConnectError> {
        let mut connecting =
            Connecting { untried: addresses.into_iter().collect(), current: None, failures: Vec::new(), per_address };
        connecting.try_next(now)?;
        Ok(connecting)
    }

    /// The stream to register for writing; `None` when all is decided.
    pub fn stream(&mut self) -> Option<&mut TcpStream> {
        self.current.as_mut().map(|attempt| &mut attempt.stream)
    }

    /// When to call [`poll`](Self::poll) if no event comes before; `None` when all is decided.
    pub fn deadline(&self) -> Option<Instant> {
        self.current.as_ref().map(|attempt| attempt.deadline)
    }

    /// Looks how the current attempt fares, and goes on to the next address if it failed.
    ///
    /// The error, when no address is left, has every address in it and why it failed. When all is
    /// decided already, there is an error without any.
    pub fn poll(&mut self, now: Instant) -> Result<Step, ConnectError> {
        if let Some(attempt) = self.current.take() {
            let failure = match connected(&attempt.stream) {
                Ok(true) => {
                    self.untried.clear();
                    self.failures.clear();
                    return Ok(Step::Connected(attempt.stream));
                }
                Ok(false) if now < attempt.deadline => {
                    self.current = Some(attempt);
                    return Ok(Step::Pending);
                }
                Ok(false) => {
                    let reason = format!("no answer within {:?}", self.per_address);
                    io::Error::new(io::ErrorKind::TimedOut, reason)
                }
                Err(error) => error,
            };
            self.failures.push((attempt.address, failure));
        }
        self.try_next(now)?;
        Ok(Step::Next)
    }

    fn try_next(&mut self, now: Instant) -> Result<(), ConnectError> {
        while let Some(address) = self.untried.pop_front() {
            match TcpStream::connect(address) {
                Ok(stream) => {
                    let deadline = now + self.per_address;
                    self.current = Some(Attempt { address, stream, deadline });
                    return Ok(());
                }
                Err(error) => self.failures.push((address, error)),
            }
        }
        Err(ConnectError { failures: std::mem::take(&mut self.failures) })
    }
}

/// `Ok(false)`: still under way. The order matters, for a failed socket has no peer either.
fn connected(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

/// No address took the connection.
#[derive(Debug)]
pub struct ConnectError {
    /// Every address that was tried, in order. Empty when there was none (left).
    pub failures: Vec<(SocketAddr, io::Error)>,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.failures.is_empty() {
            return f.write_str("no address to connect to");
        }
        for (i, (address, error)) in self.failures.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{address}: {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConnectError {}
