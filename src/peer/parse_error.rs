//! Why a text is not a peer. What may be a password is never held.

use std::fmt;
use std::io;

/// Why a text isn't a [`Peer`](crate::Peer): names the part that is wrong. The value found there is held only if it is
/// a plain name or an IPv6 address and doesn't follow a colon. Anything else may contain a password, and is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParsePeerError {
    /// The text contains an `@` or a character that is read as one. What stands before it may be a password.
    UserInfo,
    /// The text before `://` names no kind of peer.
    Kind(Option<String>),
    /// The host is empty or contains a character that no host has.
    Host(Option<String>),
    /// The port is missing from this host and port.
    NoPort(Option<String>),
    /// The port is not a number from 0 to 65535. It is not repeated: in `user:password` it is the password.
    Port,
    /// A tunnel lacks the `/HOST:PORT` it leads to.
    NoTarget,
    /// `unix://` without a path.
    NoPath,
    /// The path has control characters, a malformed escape, or U+FFFD. It is never repeated.
    Path,
}

impl fmt::Display for ParsePeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParsePeerError::UserInfo => {
                f.write_str("peer: user-info is not allowed here; credentials belong to the channel binding")
            }
            ParsePeerError::Kind(found) => write!(
                f,
                "peer: kind {} is none of http-proxy, http-proxy-connect, socks5, unix (a direct peer has none)",
                Found(found)
            ),
            ParsePeerError::Host(found) => write!(f, "peer: host {} is not a host name or address", Found(found)),
            ParsePeerError::NoPort(found) => write!(f, "peer: the port after {} is missing", Found(found)),
            ParsePeerError::Port => f.write_str("peer: port (not shown) is not a number from 0 to 65535"),
            ParsePeerError::NoTarget => f.write_str("peer: the tunnel's target is missing, as in KIND://PROXY/TARGET"),
            ParsePeerError::Path => f.write_str("peer: path (not shown) is not plain text"),
            ParsePeerError::NoPath => f.write_str("peer: the path after unix:// is missing"),
        }
    }
}

impl std::error::Error for ParsePeerError {}

impl From<ParsePeerError> for io::Error {
    fn from(error: ParsePeerError) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidInput, error)
    }
}

impl ParsePeerError {
    pub(super) fn without_value(self) -> ParsePeerError {
        match self {
            ParsePeerError::Host(_) => ParsePeerError::Host(None),
            ParsePeerError::NoPort(_) => ParsePeerError::NoPort(None),
            other => other,
        }
    }
}

struct Found<'a>(&'a Option<String>);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => write!(f, "{value:?}"),
            None => f.write_str("(not shown)"),
        }
    }
}
