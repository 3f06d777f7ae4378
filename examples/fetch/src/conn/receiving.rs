//! Reading responses, and what they say about the connection.

use super::Conn;
use crate::exchange::{Exchange, Way};
use crate::trouble::Trouble;
use http::framing::head::Version;
use http::framing::response::{Event, Response};
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

/// How much is read from a connection before the others get their turn.
const MOST_AT_ONCE: usize = 1 << 20;

/// How much of a reason is repeated.
const MOST_REASON: usize = 100;
const PROXY_AUTHENTICATION_REQUIRED: u16 = 407;
const REQUEST_TIMEOUT: u16 = 408;

/// What takes each exchange that has got its response.
pub type Answered<'a> = &'a mut dyn FnMut(Exchange);

/// Where a connection stands after it was driven.
#[derive(Debug)]
pub enum Progress {
    /// An event will tell when there is more to do.
    Blocked,
    /// There may be more to read, and no event will tell.
    Unread,
    /// Every request is answered; whether there may be another one.
    Answered {
        keep: bool,
    },
    /// The server won't answer the requests that are left, and has said so.
    Ending,
    Broken(Trouble),
}

impl Conn {
    /// Writes as far as possible, and reads if told that there may be something. Exchanges that got their response go to
    /// `answered`.
    pub fn drive(&mut self, now: Instant, readable: bool, buffer: &mut [u8], answered: Answered<'_>) -> Progress {
        // A server may answer and close without having read all: what it said counts for more than that it closed.
        let write_error = self.flush().err();
        if !readable && write_error.is_none() {
            return Progress::Blocked;
        }
        let progress = self.receive(now, buffer, answered);
        match write_error {
            Some(error) if matches!(progress, Progress::Blocked) => Progress::Broken(Trouble::Io(error)),
            _ => progress,
        }
    }

    fn receive(&mut self, now: Instant, buffer: &mut [u8], answered: Answered<'_>) -> Progress {
        let mut read = 0;
        while read < MOST_AT_ONCE {
            match self.stream.read(buffer) {
                Ok(0) => return self.end_of_stream(now, answered),
                Ok(n) => {
                    read += n;
                    if let Err(trouble) = self.take(&buffer[..n], now, answered) {
                        return Progress::Broken(trouble);
                    }
                    match self.exchanges.is_empty() {
                        true => return Progress::Answered { keep: self.keep && self.is_settled() },
                        false if !self.keep => return Progress::Ending,
                        false => {}
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::Blocked,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Progress::Broken(Trouble::Io(error)),
            }
        }
        Progress::Unread
    }

    /// Takes bytes from the server; keeps what can't be used yet.
    fn take(&mut self, bytes: &[u8], now: Instant, answered: Answered<'_>) -> Result<(), Trouble> {
        if self.input.is_empty() {
            let used = self.parse(bytes, now, answered)?;
            self.input.extend_from_slice(&bytes[used..]);
        } else {
            let mut input = std::mem::take(&mut self.input);
            input.extend_from_slice(bytes);
            let used = self.parse(&input, now, answered)?;
            if used < input.len() {
                input.drain(..used);
                self.input = input;
            }
        }
        Ok(())
    }

    /// Reads responses as long as there are unanswered requests and bytes for them; how many were used.
    fn parse(&mut self, bytes: &[u8], now: Instant, answered: Answered<'_>) -> Result<usize, Trouble> {
        let mut at = 0;
        while let Some(exchange) = self.exchanges.front_mut() {
            self.begun |= at < bytes.len();
            // Matched by reference, since moving it costs: an event has room for all that a head says.
            let step = self.parser.next(&bytes[at..]);
            let (used, event) = match step {
                Ok((used, ref event)) => (used, event),
                Err(error) => return Err(Trouble::Malformed(error)),
            };
            at += used;
            match event {
                Event::More => break,
                Event::Interim(_) => {}
                Event::Head(head) => {
                    if let (Some(proxy), PROXY_AUTHENTICATION_REQUIRED) = (&self.proxy, head.status) {
                        return Err(refusal(proxy, head));
                    }
                    if (exchange.way, head.status) == (Way::Reused, REQUEST_TIMEOUT) {
                        self.begun = false;
                        return Err(Trouble::Expired);
                    }
                    self.persistent = head.keep_alive && head.version == Version::Http11;
                    self.keep_alive = head.keep_alive_timeout.map(Duration::from_secs);
                    self.keep_alive_max = head.keep_alive_max;
                    exchange.status = head.status;
                }
                Event::Data(piece) => exchange.body(piece).map_err(Trouble::Output)?,
                Event::End => {
                    exchange.finish(now).map_err(Trouble::Output)?;
                    let ends = self.keep_alive == Some(Duration::ZERO) || self.keep_alive_max == Some(0);
                    self.keep = self.parser.keep_alive() && !ends;
                    self.parser.reset(self.method);
                    self.begun = false;
                    self.front_since = now;
                    self.exchanges.pop_front().into_iter().for_each(&mut *answered);
                    if !self.keep {
                        break;
                    }
                }
            }
        }
        Ok(at)
    }

    /// Whether no buffer holds anything: neither what nobody asked for, nor a part of a request that the server answered
    /// before it had read it whole.
    fn is_settled(&mut self) -> bool {
        self.input.is_empty() && self.output.is_empty() && self.stream.flush().is_ok()
    }

    /// The server has closed. For some responses that is their end.
    fn end_of_stream(&mut self, now: Instant, answered: Answered<'_>) -> Progress {
        match self.parser.eof() {
            Err(error) => Progress::Broken(Trouble::Closed(error)),
            Ok(()) => match self.parse(&[], now, answered) {
                Err(trouble) => Progress::Broken(trouble),
                Ok(_) if self.exchanges.is_empty() => Progress::Answered { keep: false },
                Ok(_) => Progress::Ending,
            },
        }
    }
}

/// The proxy's own answer, which is no response of the server's.
fn refusal(proxy: &str, head: &Response<'_>) -> Trouble {
    let reason = &head.reason[..head.reason.len().min(MOST_REASON)];
    Trouble::Refused(format!("{proxy}: {} {}", head.status, reason.escape_ascii()).trim_end().to_owned())
}
