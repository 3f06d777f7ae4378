//! Reading requests, as a server or a proxy does.

use super::body::{Body, Framing, Piece};
use super::error::{Error, Kind};
use super::head::{self, Fields, Role, Version};
use super::lines::{Reader, after_target, after_token, alphanumeric_or, is_token_byte};

/// The head of a request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The version that the client names.
    pub version: Version,
    /// Case matters in it.
    pub method: &'a str,
    /// The target as it came; `path` is what an origin server expects.
    pub target: &'a str,
    /// The path and query, or `*`. Empty for `CONNECT`, which has only a host.
    pub path: &'a str,
    /// The host and port, from the target if it names one (then the `Host`
    /// header does not count) and else from the header. Only an HTTP/1.0
    /// request may do without; it may also be empty.
    pub host: Option<&'a [u8]>,
    /// All header lines.
    pub fields: Fields<'a>,
    /// The `Content-Length`, when there is one.
    pub content_length: Option<u64>,
    /// How the end of the body is found.
    pub framing: Framing,
    /// Whether the client keeps the connection open for another request.
    pub keep_alive: bool,
    /// The protocols that the client asks to switch to after this request. Never in HTTP/1.0.
    pub upgrade: Option<&'a [u8]>,
    /// Whether the client waits for a 100 response before it sends the body.
    pub expect_continue: bool,
}

/// One step through a request.
#[derive(Debug)]
pub enum Event<'a> {
    /// No further step without more input. Unused bytes must come again.
    More,
    /// The head is complete. The body follows, if there is one.
    Head(Request<'a>),
    /// The next bytes of the body.
    Data(&'a [u8]),
    /// The request is complete; unused bytes belong to the next one.
    End,
}

/// Reads requests, one after the other.
///
/// Refuses whatever a server behind this program might read differently.
/// After an error the only thing left to do is to answer with
/// [`Error::status`] and to close.
#[derive(Debug, Default)]
pub struct Parser {
    reader: Reader,
    /// Whether an empty line before the request was skipped. One may be there.
    skipped: bool,
    /// There once the head is read.
    body: Option<Body>,
    keep_alive: bool,
    done: bool,
}

impl Parser {
    /// A parser that waits for the first request of a connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts over with the next request on the connection.
    pub fn reset(&mut self) {
        self.reader.restart();
        self.skipped = false;
        self.body = None;
        self.keep_alive = false;
        self.done = false;
    }

    /// Whether the client expects to send another request on the connection.
    /// False until the request is complete.
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

    /// Tells that the client has sent all that it will, once all bytes went
    /// through `next`. `Ok` means that nothing is missing: it stopped between
    /// two requests or after a complete one.
    pub fn eof(&mut self) -> Result<(), Error> {
        match &mut self.body {
            Some(body) => body.eof(),
            None if self.reader.started => Err(Error::new(Kind::ClosedInHead)),
            None => Ok(()),
        }
    }

    #[inline(never)] // else `next` takes longer for bodies
    fn read_head<'a>(&'a mut self, input: &'a [u8]) -> Result<(usize, Event<'a>), Error> {
        let mut start = 0;
        if !self.skipped && input.starts_with(b"\r\n") {
            self.skipped = true;
            self.reader.restart();
            start = 2;
        }
        let input = &input[start..];
        self.reader.started |= !input.is_empty();
        match input.first() {
            // Not worth waiting for the end of the line.
            Some(&byte) if !is_token_byte(byte) && !b"\r\n".contains(&byte) => {
                return Err(Error::quoting(Kind::RequestLine, &[byte]));
            }
            _ => {}
        }
        let Some((length, head, line)) = self.reader.read(input, None, request_line)? else {
            return Ok((start, Event::More));
        };
        let RequestLine { method, target, version } = line;
        let facts = head::facts(head, &mut self.reader.spans, version, Role::Request)?;

        let Some((authority, path)) = split_target(method, target) else {
            return Err(Error::quoting(Kind::Target, target.as_bytes()));
        };
        if facts.host.is_none() && version == Version::Http11 {
            return Err(Error::new(Kind::NoHost));
        }
        let checked = |value| as_host(value).ok_or_else(|| Error::quoting(Kind::Host, value));
        let host = authority.or(facts.host.map(checked).transpose()?);
        let framing = match facts.content_length {
            _ if facts.chunked => Framing::Chunked,
            length => Framing::Length(length.unwrap_or(0)),
        };
        let waits = version == Version::Http11 && framing != Framing::Length(0);
        self.body = Some(Body::new(framing));
        self.keep_alive = facts.persistent(version);
        let fields = Fields { head, spans: &self.reader.spans };
        let request = Request {
            version,
            method,
            target,
            path,
            host,
            fields,
            content_length: facts.content_length,
            framing,
            keep_alive: self.keep_alive,
            upgrade: if facts.upgrade && version == Version::Http11 { fields.get("upgrade") } else { None },
            expect_continue: facts.expect_continue && waits,
        };
        Ok((start + length, Event::Head(request)))
    }
}

struct RequestLine<'a> {
    method: &'a str,
    target: &'a str,
    version: Version,
}

/// Reads a line like `GET / HTTP/1.1`, with one blank between its parts.
fn request_line<'a>(line: &'a [u8]) -> Result<RequestLine<'a>, Error> {
    let malformed = || Error::quoting(Kind::RequestLine, line);
    let [b' ', rest @ ..] = after_token(line) else { return Err(malformed()) };
    let method = &line[..line.len() - rest.len() - 1];
    let after = after_target(rest);
    // None, unless the target is wrong.
    let wrong = after.iter().take_while(|&&byte| byte != b' ').count();
    let [b' ', version @ ..] = &after[wrong..] else { return Err(malformed()) };
    let target = &rest[..rest.len() - version.len() - 1];
    if method.is_empty() || target.is_empty() {
        return Err(malformed());
    }
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        version @ [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            return Err(Error::quoting(Kind::Version, version));
        }
        _ => return Err(malformed()),
    };
    if wrong > 0 {
        return Err(Error::quoting(Kind::Target, target));
    }
    // Both parts were found to be ASCII.
    let text = std::str::from_utf8(&line[..method.len() + 1 + target.len()]).map_err(|_| malformed())?;
    Ok(RequestLine { method: &text[..method.len()], target: &text[method.len() + 1..], version })
}

/// Splits a request target into host and path, or returns `None` for a target
/// that this method cannot have.
fn split_target<'a>(method: &str, target: &'a str) -> Option<(Option<&'a [u8]>, &'a str)> {
    if method == "CONNECT" {
        let host = as_host(target.as_bytes()).filter(|host| host.contains(&b':'))?;
        return Some((Some(host), ""));
    }
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Some((None, target));
    }
    let (scheme, rest) = target.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    let host = as_host(host.as_bytes()).filter(|host| !host.is_empty())?;
    match path {
        "" if method == "OPTIONS" => Some((Some(host), "*")),
        "" => Some((Some(host), "/")),
        // A query right after the host: there is no path to pass on.
        _ if path.starts_with('?') => None,
        _ => Some((Some(host), path)),
    }
}

/// A host, a name or an address in brackets, with an optional port, if `value` can be one.
fn as_host(value: &[u8]) -> Option<&[u8]> {
    let port = match value.strip_prefix(b"[") {
        Some(literal) => literal[literal.iter().take_while(|&&byte| in_literals(byte)).count()..].strip_prefix(b"]")?,
        None => &value[value.iter().take_while(|&&byte| in_names(byte)).count()..],
    };
    let is_port = |port: &[u8]| port.iter().all(u8::is_ascii_digit);
    let fits = port.is_empty() || port.strip_prefix(b":").is_some_and(is_port);
    fits.then_some(value)
}

/// Whether `byte` may stand in the name of a host.
fn in_names(byte: u8) -> bool {
    const TABLE: [bool; 256] = alphanumeric_or(b"-._~!$&'()*+,;=%");
    TABLE[usize::from(byte)]
}

/// Whether `byte` may stand in an address in brackets.
fn in_literals(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || byte == b':' || byte == b'.'
}
