//! Reading responses, as a client or a proxy does.

use super::MAX_INTERIM;
use super::body::{Body, Framing, Piece};
use super::error::{Error, Kind, first_line};
use super::head::{self, Fields, Role, Version};
use super::lines::{Reader, is_text};

/// The head of a response.
#[derive(Debug, Clone, Copy)]
pub struct Response<'a> {
    /// The version that the server names.
    pub version: Version,
    /// Three digits: 100 to 999.
    pub status: u16,
    /// May be empty, and need not be ASCII.
    pub reason: &'a [u8],
    /// All header lines.
    pub fields: Fields<'a>,
    /// The `Content-Length`, when there is one. It says nothing about the body
    /// of this message after a HEAD request or in a 304. For statuses that must
    /// not have it (1xx and 204) it is `None`.
    pub content_length: Option<u64>,
    /// How the end of the body is found.
    pub framing: Framing,
    /// Whether the connection can carry another request after this response.
    pub keep_alive: bool,
    /// How many seconds the server keeps an idle connection, if it said so.
    pub keep_alive_timeout: Option<u64>,
    /// How many more requests the server takes, if it said so.
    pub keep_alive_max: Option<u64>,
}

/// One step through a response.
#[derive(Debug)]
pub enum Event<'a> {
    /// No further step without more input. Unused bytes must come again.
    More,
    /// An interim (1xx) response. Any number may come, or none.
    Interim(Response<'a>),
    /// The head is complete. The body follows, if there is one.
    Head(Response<'a>),
    /// The next bytes of the body.
    Data(&'a [u8]),
    /// The response is complete. Unused bytes belong to the next one, if a
    /// further request was sent; else the connection must not be used again.
    End,
}

/// Reads the responses to requests, one after the other.
#[derive(Debug)]
pub struct Parser {
    reader: Reader,
    /// A head of an old form, in the present one.
    tidied: Vec<u8>,
    head_only: bool,
    connect: bool,
    /// The protocol that the request asked to switch to.
    upgrade: Option<&'static str>,
    interim: u32,
    /// Whether a response before the final one announced the end.
    closing: bool,
    /// There once the head is read.
    body: Option<Body>,
    keep_alive: bool,
    done: bool,
}

impl Parser {
    /// A parser for the response to a request with this method.
    pub fn new(method: &str) -> Self {
        Parser {
            reader: Reader::default(),
            tidied: Vec::new(),
            head_only: method == "HEAD",
            connect: method == "CONNECT",
            upgrade: None,
            interim: 0,
            closing: false,
            body: None,
            keep_alive: false,
            done: false,
        }
    }

    /// Starts over with the response to a further request.
    pub fn reset(&mut self, method: &str) {
        let (mut reader, tidied) = (std::mem::take(&mut self.reader), std::mem::take(&mut self.tidied));
        reader.restart();
        *self = Parser { reader, tidied, ..Parser::new(method) };
    }

    /// Takes a 101 response for the final one if it switches to this protocol, which the request has asked for. What
    /// follows until the connection ends is that protocol's.
    pub fn expect_upgrade(&mut self, protocol: &'static str) {
        self.upgrade = Some(protocol);
    }

    /// Whether the connection can carry another request. False until the
    /// response is complete. Says nothing of bytes that came after it.
    pub fn keep_alive(&self) -> bool {
        self.done && self.keep_alive
    }

    /// Returns how many bytes of `input` are used up, and what they were.
    pub fn next<'a>(&'a mut self, input: &'a [u8]) -> Result<(usize, Event<'a>), Error> {
        let Some(body) = &mut self.body else {
            return self.read_head(input);
        };
        let (used, piece) = body.next(input)?;
        let event = match piece {
            Piece::More => Event::More,
            Piece::Data(data) => Event::Data(data),
            Piece::End => {
                self.done = true;
                Event::End
            }
        };
        Ok((used, event))
    }

    /// Tells that the server has closed the connection, once all bytes went
    /// through `next`. `Ok` means that the response is complete, which for some
    /// is not known before; `next` then gives `End`.
    ///
    /// [`Kind::ClosedBeforeResponse`] is the one error after which a request
    /// that is safe to repeat deserves another try: a server may close an idle
    /// connection just when a request is on the way.
    pub fn eof(&mut self) -> Result<(), Error> {
        match &mut self.body {
            Some(body) => body.eof(),
            None if self.reader.started || self.interim > 0 => Err(Error::new(Kind::ClosedInHead)),
            None => Err(Error::new(Kind::ClosedBeforeResponse)),
        }
    }

    #[inline(never)] // else `next` takes longer for bodies
    fn read_head<'a>(&'a mut self, input: &'a [u8]) -> Result<(usize, Event<'a>), Error> {
        self.reader.started |= !input.is_empty();
        check_start(input)?;
        let Some((length, head, line)) = self.reader.read(input, Some(&mut self.tidied), status_line)? else {
            return Ok((0, Event::More));
        };
        let StatusLine { version, status, reason } = line;
        let facts = head::facts(head, &mut self.reader.spans, version, Role::Response)?;
        let fields = Fields { head, spans: &self.reader.spans };

        let named = if facts.upgrade && status == 101 { fields.get("upgrade") } else { None };
        let switched =
            named.is_some_and(|to| self.upgrade.is_some_and(|asked| to.eq_ignore_ascii_case(asked.as_bytes())));
        if (status == 101 && !switched) || (self.connect && (200..300).contains(&status)) {
            return Err(Error::quoting(Kind::Switched, first_line(head)));
        }
        let interim = status < 200 && !switched;
        let framing = if switched {
            Framing::UntilClose
        } else if interim || self.head_only || status == 204 || status == 304 {
            Framing::Length(0)
        } else if facts.chunked {
            Framing::Chunked
        } else {
            facts.content_length.map_or(Framing::UntilClose, Framing::Length)
        };
        if interim && self.interim == MAX_INTERIM {
            return Err(Error::new(Kind::TooManyInterim));
        }
        if interim {
            self.interim += 1;
        }
        // An end after a body that can't be is no end: what was announced may still come, as if it were the next response.
        let bodiless = interim || status == 204;
        let announced = facts.chunked || facts.content_length.is_some_and(|length| length > 0);
        self.closing |= facts.close || (bodiless && announced);
        let persistent = facts.persistent(version) && framing != Framing::UntilClose;
        let response = Response {
            version,
            status,
            reason,
            fields,
            content_length: facts.content_length.filter(|_| status >= 200 && status != 204),
            framing,
            keep_alive: persistent && !self.closing,
            keep_alive_timeout: facts.timeout,
            keep_alive_max: facts.max,
        };
        if interim {
            return Ok((length, Event::Interim(response)));
        }
        self.keep_alive = response.keep_alive;
        self.body = Some(Body::new(framing));
        Ok((length, Event::Head(response)))
    }
}

/// Refuses what does not look like a status line, as soon as there is enough of
/// it to show, for its end may never come.
fn check_start(input: &[u8]) -> Result<(), Error> {
    let start = &input[..input.len().min(16)];
    let enough = start.len() == 16 || start.contains(&b'\n');
    if enough && !start.starts_with(b"HTTP/") {
        return Err(Error::quoting(Kind::NotHttp, first_line(start)));
    }
    Ok(())
}

struct StatusLine<'a> {
    version: Version,
    status: u16,
    reason: &'a [u8],
}

/// Reads a line like `HTTP/1.1 200 OK`. The reason may be missing, and so may the blank before it.
fn status_line(line: &[u8]) -> Result<StatusLine<'_>, Error> {
    let (version, rest) = match line.split_at_checked(9) {
        Some((b"HTTP/1.1 ", rest)) => (Version::Http11, rest),
        Some((b"HTTP/1.0 ", rest)) => (Version::Http10, rest),
        _ => return Err(Error::quoting(Kind::Version, line)),
    };
    let (status, reason) = match rest {
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] => {
            let digit = |byte: &u8| u16::from(byte - b'0');
            (digit(a) * 100 + digit(b) * 10 + digit(c), rest)
        }
        _ => return Err(Error::quoting(Kind::StatusLine, line)),
    };
    let reason = match reason.split_first() {
        None => reason,
        Some((b' ', reason)) if reason.iter().copied().all(is_text) => reason,
        Some(_) => return Err(Error::quoting(Kind::StatusLine, line)),
    };
    Ok(StatusLine { version, status, reason })
}
