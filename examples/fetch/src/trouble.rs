//! What can go wrong with a connection, and what that means for its requests.

use http::framing::error::Error;
use std::fmt;
use std::io;

/// Why a connection can't go on.
#[derive(Debug)]
pub enum Trouble {
    /// The server closed before the response was complete.
    Closed(Error),
    /// Reading or writing failed, as after a reset.
    Io(io::Error),
    /// A proxy or the server doesn't want it; the text names the hop.
    Refused(String),
    /// What came is not a response.
    Malformed(Error),
    /// The body couldn't be written to its file.
    Output(String),
    /// A request's time is over.
    TimedOut(String),
    /// The server answers no further pipelined request.
    Stalled,
    /// The server closes an inactive connection, and says so by a 408. It crossed the request.
    Expired,
}

impl Trouble {
    /// Whether a server that closes an inactive connection just when a request is on its way looks like this,
    /// provided that nothing of the response has come.
    pub fn may_be_stale(&self) -> bool {
        matches!(self, Trouble::Closed(_) | Trouble::Io(_) | Trouble::Stalled | Trouble::Expired)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Closed(error) => error.fmt(f),
            Trouble::Io(error) => write!(f, "connection failed: {error}"),
            Trouble::Malformed(error) => write!(f, "malformed response: {error}"),
            Trouble::Output(text) | Trouble::TimedOut(text) | Trouble::Refused(text) => f.write_str(text),
            Trouble::Expired => f.write_str("408 on a reused connection"),
            Trouble::Stalled => f.write_str("no answer to a pipelined request"),
        }
    }
}
