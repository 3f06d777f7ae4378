//! The way through a proxy, as bytes in and bytes out: one [`Handshake`] type that a host drives
//! the same way whether the proxy speaks SOCKS5 ([`socks5`]) or HTTP CONNECT ([`http_connect`]).
//!
//! No socket and no clock in here. The host
//!
//! 1. writes [`outgoing`](Handshake::outgoing) and says how much went with
//!    [`sent`](Handshake::sent);
//! 2. hands over what it read with [`received`](Handshake::received), until that says
//!    [`Step::Done`]. After each call there may be something new to write;
//! 3. on end of file, a read error or a timeout of its own, asks [`closed`](Handshake::closed) or
//!    [`interrupted`](Handshake::interrupted) for the error to report.
//!
//! Surprising: a server may speak first, so the read that completes the handshake may hold the
//! first bytes of the tunnel too. [`Step::Done`] says where they begin.
//!
//! User name and password are never put into an error or into `Debug` output.

pub mod http_connect;
pub mod socks5;

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A handshake with one proxy; made by [`socks5::handshake`] or [`http_connect::handshake`].
pub struct Handshake {
    hop: String,
    out: Vec<u8>,
    protocol: Box<dyn Protocol + Send>,
    end: Option<Result<(), HandshakeError>>,
}

/// What became of the bytes given to [`Handshake::received`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// All of them were used, and the handshake goes on.
    More,
    /// The tunnel stands. Only the first `consumed` bytes belonged to the handshake; the rest, if
    /// any, came through the tunnel.
    Done {
        /// How many bytes belonged to the handshake.
        consumed: usize,
    },
}

impl Handshake {
    /// `hop` is what errors begin with, such as `socks5 127.0.0.1:1080`. It is printed as it is,
    /// so it should hold no credentials. `out` is what to say first.
    pub(crate) fn new(hop: &str, out: Vec<u8>, protocol: impl Protocol + Send + 'static) -> Self {
        Handshake { hop: hop.to_owned(), out, protocol: Box::new(protocol), end: None }
    }

    /// What is to be written to the proxy now; empty when it is the proxy's turn.
    pub fn outgoing(&self) -> &[u8] {
        &self.out
    }

    /// Says that the first `n` bytes of [`outgoing`](Self::outgoing) were written.
    ///
    /// # Panics
    ///
    /// When there were not that many.
    pub fn sent(&mut self, n: usize) {
        self.out.drain(..n);
    }

    /// Takes bytes read from the proxy, however they were split on their way.
    ///
    /// An error is final: nothing is left to write, and later calls return it again. An empty
    /// slice means nothing here; end of file is [`closed`](Self::closed).
    pub fn received(&mut self, bytes: &[u8]) -> Result<Step, HandshakeError> {
        let mut consumed = 0;
        loop {
            match &self.end {
                Some(Ok(())) => return Ok(Step::Done { consumed }),
                Some(Err(error)) => return Err(error.clone()),
                None => {}
            }
            let Some(&byte) = bytes.get(consumed) else {
                return Ok(Step::More);
            };
            consumed += 1;
            match self.protocol.byte(byte, &mut self.out) {
                Ok(false) => {}
                Ok(true) => self.end = Some(Ok(())),
                Err(reason) => {
                    self.out.clear();
                    self.end = Some(Err(HandshakeError::new(&self.hop, reason)));
                }
            }
        }
    }

    /// The error to report when the proxy closed the connection before the handshake was done.
    pub fn closed(&self) -> HandshakeError {
        self.interrupted("closed during the handshake")
    }

    /// The error to report when something else cut the handshake short: a read error, a timeout.
    /// It says `why` and what the proxy still owed.
    pub fn interrupted(&self, why: impl fmt::Display) -> HandshakeError {
        let waiting_for = self.protocol.waiting_for();
        let reason = format!("{why}, while waiting for {waiting_for}");
        HandshakeError::new(&self.hop, reason)
    }
}

impl fmt::Debug for Handshake {
    /// Leaves out the bytes to send: a password may be among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("hop", &self.hop)
            .field("waiting_for", &self.protocol.waiting_for())
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

/// What the two protocols differ in. Fed one byte at a time, so that no answer can depend on how
/// it was split; handshakes are short.
pub(crate) trait Protocol {
    /// Takes the proxy's next byte and appends to `out` what is to be said next. `true`: that was
    /// the handshake's last byte.
    ///
    /// Bytes still in `out` were not sent yet, so the proxy can't have answered them.
    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<bool, String>;

    /// What the proxy owes, to end the sentence "while waiting for ...".
    fn waiting_for(&self) -> &'static str;
}

/// Why a handshake failed. Its text names the hop and what that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeError {
    hop: String,
    reason: String,
}

impl HandshakeError {
    /// `hop` and `reason` are printed as they are, so they should hold no credentials.
    pub fn new(hop: &str, reason: impl Into<String>) -> Self {
        HandshakeError { hop: hop.to_owned(), reason: reason.into() }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.hop, self.reason)
    }
}

impl std::error::Error for HandshakeError {}

/// What a proxy may ask for. `Debug` shows neither field.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// The user name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// The far end of the tunnel, as the proxy is told about it. Displayed, IPv6 is in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    V4(Ipv4Addr),
    V6(Ipv6Addr),
    Name(String),
}

impl Target {
    /// Takes an address literal (IPv6 without brackets) or a name. What could not be a name is
    /// refused: a stray `:` or line end would change the meaning of what is sent. Names beyond
    /// ASCII are the caller's to convert.
    pub(crate) fn new(host: &str) -> Result<Self, String> {
        if let Ok(address) = host.parse() {
            return Ok(Target::V4(address));
        }
        if let Ok(address) = host.parse() {
            return Ok(Target::V6(address));
        }
        let in_names = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if host.is_empty() {
            Err("the name to connect to is empty".into())
        } else if host.len() > 255 {
            Err("the name to connect to is longer than 255 bytes".into())
        } else if !host.bytes().all(in_names) {
            Err("the name to connect to has a character that is in no name".into())
        } else {
            Ok(Target::Name(host.to_owned()))
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::V4(address) => write!(f, "{address}"),
            Target::V6(address) => write!(f, "[{address}]"),
            Target::Name(name) => f.write_str(name),
        }
    }
}
