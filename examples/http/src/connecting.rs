//! A TCP connection to whichever of several addresses answers first, as RFC 8305 ("Happy Eyeballs") has it, without
//! blocking.
//!
//! The attempts begin one after another: the next one when the last has failed, or hasn't answered for
//! [`ATTEMPT_DELAY`]. None is given up before another one has won. A [`Race`] is a `mio` source that registers all its
//! sockets under one token, so that a cache sees one connection from its first SYN on.

use conncache::mio::event::Source;
use conncache::mio::net::TcpStream;
use conncache::mio::{Interest, Registry, Token};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long an attempt has for itself before the next one begins.
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Attempts at a connection to one of several addresses.
#[derive(Debug)]
pub struct Race {
    untried: VecDeque<SocketAddr>,
    running: Vec<(SocketAddr, TcpStream)>,
    failures: Vec<(SocketAddr, io::Error)>,
    /// When the next attempt is due.
    next: Instant,
    registered: Option<(Token, Interest)>,
}

impl Race {
    /// A race that has begun with the first address that can be tried at all.
    ///
    /// # Errors
    ///
    /// No address can be tried: the error names each and why. Or this program has no descriptor left
    /// ([`out_of_descriptors`]), which says nothing about the addresses.
    pub fn begin(addresses: impl IntoIterator<Item = SocketAddr>, now: Instant) -> io::Result<Race> {
        let untried = addresses.into_iter().collect();
        let mut race = Race { untried, running: Vec::new(), failures: Vec::new(), next: now, registered: None };
        while race.running.is_empty() {
            let Some(address) = race.untried.pop_front() else { return Err(io::Error::other(race.to_string())) };
            match race.attempt(address, now, None) {
                Err(error) if out_of_descriptors(&error) => return Err(error),
                Err(error) => race.failures.push((address, error)),
                Ok(()) => {}
            }
        }
        Ok(race)
    }

    /// The winner, if there is one. Else begins the attempts that are due by now. Call it on each event, and when
    /// [`deadline`](Race::deadline) has come.
    ///
    /// # Errors
    ///
    /// No address is left: the error names each and why it failed.
    pub fn advance(&mut self, now: Instant, registry: &Registry) -> io::Result<Option<TcpStream>> {
        let mut at = 0;
        while let Some((_, stream)) = self.running.get(at) {
            match connected(stream) {
                Ok(false) => at += 1,
                Ok(true) => {
                    let (_, winner) = self.running.remove(at);
                    let _ = self.deregister(registry);
                    self.running.clear();
                    self.untried.clear();
                    return Ok(Some(winner));
                }
                Err(error) => {
                    let (address, mut stream) = self.running.remove(at);
                    let _ = stream.deregister(registry);
                    self.failures.push((address, error));
                    self.next = now;
                }
            }
        }
        while self.next <= now {
            let Some(address) = self.untried.pop_front() else { break };
            match self.attempt(address, now, Some(registry)) {
                // It isn't the address's fault. As long as another attempt runs, there is time for this one later.
                Err(error) if out_of_descriptors(&error) && !self.running.is_empty() => {
                    self.untried.push_front(address);
                    self.next = now + ATTEMPT_DELAY;
                }
                Err(error) => self.failures.push((address, error)),
                Ok(()) => {}
            }
        }
        if self.running.is_empty() { Err(io::Error::other(self.to_string())) } else { Ok(None) }
    }

    /// When the next attempt is due; `None` if there is none to come.
    pub fn deadline(&self) -> Option<Instant> {
        (!self.untried.is_empty()).then_some(self.next)
    }

    fn attempt(&mut self, address: SocketAddr, now: Instant, registry: Option<&Registry>) -> io::Result<()> {
        log::debug!("event=connect address={address}");
        let mut stream = TcpStream::connect(address)?;
        if let (Some(registry), Some((token, interest))) = (registry, self.registered) {
            stream.register(registry, token, interest)?;
        }
        self.running.push((address, stream));
        self.next = now + ATTEMPT_DELAY;
        Ok(())
    }
}

/// Every address that was tried, and why it failed.
impl fmt::Display for Race {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.failures.is_empty() && self.running.is_empty() {
            return f.write_str("no address to connect to");
        }
        let mut separator = "";
        for (address, error) in &self.failures {
            write!(f, "{separator}{address}: {error}")?;
            separator = "; ";
        }
        for (address, _) in &self.running {
            write!(f, "{separator}{address}: no answer")?;
            separator = "; ";
        }
        Ok(())
    }
}

impl Source for Race {
    fn register(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.registered = Some((token, interest));
        self.running.iter_mut().try_for_each(|(_, stream)| stream.register(registry, token, interest))
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.registered = Some((token, interest));
        self.running.iter_mut().try_for_each(|(_, stream)| stream.reregister(registry, token, interest))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.registered = None;
        self.running.iter_mut().try_for_each(|(_, stream)| stream.deregister(registry))
    }
}

/// Whether a connection that was begun stands. `Ok(false)`: still under way.
///
/// Surprising: where nobody listens, on this machine, the system may give the socket that very port for its own. TCP then
/// connects it to itself, what it sends comes back, and the server can't start. This is an error, as it would be with any
/// other port.
pub fn connected(stream: &TcpStream) -> io::Result<bool> {
    // The order matters, for a failed socket has no peer either.
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(peer) if stream.local_addr()? == peer => {
            Err(io::Error::new(io::ErrorKind::ConnectionRefused, "connected to itself: nobody listens there"))
        }
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
