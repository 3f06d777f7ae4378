//! What heads of requests and responses have in common.

use super::error::{Error, Kind};
use super::lines::{Span, eq_ignore_case};
use super::{MAX_CONNECTION_OPTIONS, MAX_LENGTH};

/// The version of HTTP that a message names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// The header lines of a head, in the order of their arrival.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    pub(super) head: &'a [u8],
    pub(super) spans: &'a [Span],
}

/// One header line.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    head: &'a [u8],
    span: &'a Span,
}

impl<'a> Field<'a> {
    /// The name as it came. Case does not matter in it.
    #[inline]
    pub fn name(&self) -> &'a [u8] {
        self.span.name(self.head)
    }

    /// Whether this is its name, in any case. `name` has to be in lower case.
    #[inline]
    pub fn is_named<const N: usize>(&self, name: &[u8; N]) -> bool {
        self.span.name_len() == N && eq_ignore_case(self.name(), name)
    }

    /// The value, without the whitespace around it.
    pub fn value(&self) -> &'a [u8] {
        self.span.value(self.head)
    }

    /// The whole line as it came, with its end.
    #[inline]
    pub fn line(&self) -> &'a [u8] {
        self.span.line(self.head)
    }

    /// Whether a proxy copies the line into the message that it sends on.
    ///
    /// False for the hop-by-hop ones, which are those that `Connection` names
    /// and a fixed list. False also for `Host` and `Content-Length`: these may
    /// have come twice or be overruled by the request line, so a proxy writes
    /// them itself, from the checked values in the head.
    pub fn forward(&self) -> bool {
        self.span.forward
    }
}

impl<'a> Fields<'a> {
    /// All lines.
    pub fn iter(self) -> impl Iterator<Item = Field<'a>> {
        let head = self.head;
        self.spans.iter().map(move |span| Field { head, span })
    }

    /// The lines that a proxy copies; see [`Field::forward`].
    pub fn forwarded(self) -> impl Iterator<Item = Field<'a>> {
        self.iter().filter(Field::forward)
    }

    /// The value of the first line with this name, in any case.
    pub fn get(self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|field| field.name().eq_ignore_ascii_case(name.as_bytes())).map(|field| field.value())
    }
}

/// Whose head it is. Requests are held to stricter rules: what this program
/// reads differently from the server behind it could smuggle a second request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Request,
    Response,
}

/// What the header lines say about the message and the connection.
#[derive(Debug, Default)]
pub(super) struct Facts<'a> {
    pub content_length: Option<u64>,
    pub chunked: bool,
    pub close: bool,
    pub keep_alive: bool,
    /// `Connection` names the `Upgrade` line.
    pub upgrade: bool,
    pub host: Option<&'a [u8]>,
    pub expect_continue: bool,
    pub timeout: Option<u64>,
    pub max: Option<u64>,
}

impl Facts<'_> {
    /// Whether the sender keeps the connection open after the message.
    pub(super) fn persistent(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}

/// Reads those lines of a head that matter for framing, and marks those that a proxy doesn't copy.
pub(super) fn facts<'a>(head: &'a [u8], spans: &mut [Span], version: Version, role: Role) -> Result<Facts<'a>, Error> {
    let mut facts = Facts::default();
    let mut options = 0;
    let mut names_fields = false;
    for span in spans.iter_mut().filter(|span| span.notable) {
        let (name, value) = (span.name(head), span.value(head));
        span.forward = false;
        if eq_ignore_case(name, b"content-length") {
            content_length(&mut facts.content_length, value, role)?;
        } else if eq_ignore_case(name, b"connection") {
            // Most lines say only this: no need to search for commas.
            if eq_ignore_case(value, b"keep-alive") {
                options += 1;
                facts.keep_alive = true;
                continue;
            }
            for option in list(value) {
                options += 1;
                if eq_ignore_case(option, b"close") {
                    facts.close = true;
                } else if eq_ignore_case(option, b"keep-alive") {
                    facts.keep_alive = true;
                } else {
                    facts.upgrade |= eq_ignore_case(option, b"upgrade");
                    names_fields = true;
                }
            }
        } else if eq_ignore_case(name, b"host") {
            if facts.host.is_some() && role == Role::Request {
                return Err(Error::quoting(Kind::SeveralHosts, value));
            }
            facts.host = Some(value);
        } else if eq_ignore_case(name, b"transfer-encoding") {
            transfer_encoding(&mut facts.chunked, value)?;
        } else if eq_ignore_case(name, b"keep-alive") {
            keep_alive(&mut facts, value);
        } else {
            span.forward = !is_hop_by_hop(name);
            if eq_ignore_case(name, b"expect") {
                facts.expect_continue |= list(value).any(|item| eq_ignore_case(item, b"100-continue"));
            }
        }
    }
    // Each option is compared with each line.
    if options > MAX_CONNECTION_OPTIONS {
        return Err(Error::new(Kind::TooManyOptions));
    }
    if facts.chunked && facts.content_length.is_some() {
        return Err(Error::new(Kind::LengthAndCoding));
    }
    // HTTP/1.0 has no codings. What a server sends is chunked all the same, but it may not know where a response ends.
    if facts.chunked && version == Version::Http10 {
        if role == Role::Request {
            return Err(Error::new(Kind::CodingInHttp10));
        }
        facts.close = true;
    }
    if names_fields {
        mark_named(head, spans);
    }
    Ok(facts)
}

/// Whether the line concerns one connection and is never passed on, though not used here.
fn is_hop_by_hop(name: &[u8]) -> bool {
    eq_ignore_case(name, b"te")
        || eq_ignore_case(name, b"trailer")
        || eq_ignore_case(name, b"upgrade")
        || eq_ignore_case(name, b"proxy-connection")
        || eq_ignore_case(name, b"proxy-authenticate")
        || eq_ignore_case(name, b"proxy-authorization")
}

/// Marks the lines that the `Connection` lines name as not forwarded.
fn mark_named(head: &[u8], spans: &mut [Span]) {
    for at in 0..spans.len() {
        let connection = spans[at];
        if eq_ignore_case(connection.name(head), b"connection") {
            for option in list(connection.value(head)) {
                for span in &mut *spans {
                    span.forward &= !option.eq_ignore_ascii_case(span.name(head));
                }
            }
        }
    }
}

/// A response may repeat the same length; a request may not.
fn content_length(known: &mut Option<u64>, value: &[u8], role: Role) -> Result<(), Error> {
    if known.is_some() && role == Role::Request {
        return Err(Error::quoting(Kind::SeveralLengths, value));
    }
    // Nearly always one number.
    if let (None, Some(length @ ..=MAX_LENGTH)) = (&known, number(value)) {
        *known = Some(length);
        return Ok(());
    }
    let separator = |&byte: &u8| byte == b',' && role == Role::Response;
    for item in value.split(separator) {
        let Some(length) = number(item.trim_ascii()).filter(|&length| length <= MAX_LENGTH) else {
            return Err(Error::quoting(Kind::ContentLength, value));
        };
        if known.is_some_and(|known| known != length) {
            return Err(Error::quoting(Kind::SeveralLengths, value));
        }
        *known = Some(length);
    }
    Ok(())
}

/// `chunked`, once and alone, is the only coding understood.
fn transfer_encoding(chunked: &mut bool, value: &[u8]) -> Result<(), Error> {
    let is_chunked = |item: &[u8]| eq_ignore_case(item, b"chunked");
    if !*chunked && is_chunked(value) {
        *chunked = true;
        return Ok(());
    }
    // Behind other codings, `chunked` still shows where the body ends, but what
    // it says cannot be read.
    let ends = list(value).last().is_some_and(is_chunked);
    let once = list(value).filter(|item| is_chunked(item)).count() == 1;
    let framed = !*chunked && ends && once && list(value).count() > 1;
    let kind = if framed { Kind::UnknownCoding } else { Kind::TransferCoding };
    Err(Error::quoting(kind, value))
}

/// Takes the smallest numbers, and ignores what it cannot read: a hint only.
fn keep_alive(facts: &mut Facts<'_>, value: &[u8]) {
    for item in list(value) {
        let mut halves = item.splitn(2, |&byte| byte == b'=');
        let name = halves.next().unwrap_or_default().trim_ascii();
        let Some(number) = halves.next().and_then(|half| number(half.trim_ascii())) else {
            continue;
        };
        let known = if eq_ignore_case(name, b"timeout") {
            &mut facts.timeout
        } else if eq_ignore_case(name, b"max") {
            &mut facts.max
        } else {
            continue;
        };
        *known = Some(known.map_or(number, |known| known.min(number)));
    }
}

/// The items of a comma-separated value, without the empty ones.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let items = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    items.filter(|item| !item.is_empty())
}

/// Reads decimal digits and nothing else.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, &byte| {
        let digit = char::from(byte).to_digit(10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
