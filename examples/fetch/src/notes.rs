//! What the client tells of while it works.

use crate::exchange::Exchange;
use crate::report::Totals;
use crate::url::Url;
use conncache::{ConnId, Reason};
use std::io;
use std::time::Instant;

/// Something that happened.
pub enum Note {
    Answered { id: ConnId, exchange: Exchange },
    Failed { exchange: Exchange, why: String },
    Evicted { id: ConnId, reason: Reason },
}

/// Who is told.
pub trait Observer {
    /// Takes a note. Its exchange's URL is one of these.
    fn note(&mut self, note: &Note, urls: &[Url]) -> io::Result<()>;

    /// A turn of the loop is over.
    fn turn(&mut self, now: Instant, totals: &Totals) -> io::Result<()>;
}
