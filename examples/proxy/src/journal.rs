//! What is told of each request: in the access log, and in the log when something failed.

use crate::address::Upstream;
use crate::client::Client;
use crate::exchange::Exchange;
use jiff::Timestamp;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Instant;

/// How much of a request's method and target is remembered.
const MOST_ASKED: usize = 1024;

/// What is remembered of a request until it is answered.
pub struct Record {
    /// The method, a blank and the target. Nothing that could break out of a log's line.
    pub asked: String,
    began: Instant,
    /// What the client was answered. 0: nothing so far.
    pub status: u16,
    /// How much of the answer's body was passed on.
    pub bytes: u64,
}

impl Record {
    /// `asked` is an empty text.
    pub fn new(mut asked: String, method: &str, target: &str, began: Instant) -> Record {
        asked.reserve_exact(MOST_ASKED.min(method.len() + 1 + target.len()));
        for part in [method, " ", target] {
            // The parser lets only ASCII through, so that any cut will do.
            asked.push_str(&part[..part.len().min(MOST_ASKED - asked.len())]);
        }
        Record { asked, began, status: 0, bytes: 0 }
    }
}

/// Who is concerned by what happens to a request, in the words of the log.
pub struct Concerned<'a> {
    pub client: SocketAddr,
    pub exchange: Option<&'a Exchange>,
    pub upstreams: &'a [Upstream],
    pub now: Instant,
}

impl<'a> Concerned<'a> {
    pub fn of(client: &'a Client, upstreams: &'a [Upstream], now: Instant) -> Concerned<'a> {
        Concerned { client: client.addr, exchange: client.exchange.as_ref(), upstreams, now }
    }
}

impl fmt::Display for Concerned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(exchange) = self.exchange else {
            return write!(f, "upstream=- client={} method=- path=- ms=0", self.client);
        };
        match exchange.page {
            None => write!(f, "upstream={}", self.upstreams[exchange.upstream].peer)?,
            Some(_) => f.write_str("upstream=-")?,
        }
        let record = &exchange.record;
        let (method, path) = record.asked.split_once(' ').unwrap_or((&record.asked, ""));
        let ms = self.now.saturating_duration_since(record.began).as_millis();
        write!(f, " client={} method={method} path={path:?} ms={ms}", self.client)
    }
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Whole,
    /// The upstream or the proxy ended it in the middle of the response.
    Cut,
    /// The client went away.
    Left,
}

impl End {
    fn as_str(self) -> &'static str {
        match self {
            End::Whole => "whole",
            End::Cut => "cut",
            End::Left => "left",
        }
    }
}

/// The access log: a line for each request, written at the end of the loop's turn.
#[derive(Default)]
pub struct Journal {
    out: Option<Box<dyn Write + Send>>,
    lines: Vec<u8>,
    failed: bool,
}

impl Journal {
    /// Appends to this file, or writes to the standard output if it is `-`.
    pub fn open(path: &str) -> io::Result<Journal> {
        let out: Box<dyn Write + Send> = match path {
            "-" => Box::new(io::stdout()),
            path => Box::new(File::options().append(true).create(true).open(path)?),
        };
        Ok(Journal { out: Some(out), ..Journal::default() })
    }

    /// Adds a line. Without an exchange, the request was refused with this status.
    pub fn add(&mut self, concerned: &Concerned<'_>, status: u16, end: End) {
        if self.out.is_none() {
            return;
        }
        // As nginx has it: the client left before it was answered.
        let status = if status == 0 { 499 } else { status };
        let bytes = concerned.exchange.map_or(0, |exchange| exchange.record.bytes);
        let (time, end) = (Timestamp::now(), end.as_str());
        let _ = writeln!(self.lines, "{time:.3} {concerned} status={status} bytes={bytes} end={end}");
    }

    /// Writes what was added. A log that can't be written to is complained of once, and doesn't keep the proxy from its
    /// work.
    pub fn flush(&mut self) {
        let Some(out) = self.out.as_mut().filter(|_| !self.lines.is_empty()) else { return };
        let written = out.write_all(&self.lines).and_then(|()| out.flush());
        self.lines.clear();
        if let Err(error) = &written {
            if !self.failed {
                log::warn!("event=access_log_failed error={error}");
            }
        }
        self.failed = written.is_err();
    }
}
