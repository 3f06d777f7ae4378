//! What heads of requests and responses have in common.

use super::error::{Error, Kind};
use super::{MAX_CONNECTION_OPTIONS, MAX_HEAD, MAX_LENGTH};

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
    head: &'a [u8],
    spans: &'a [Span],
}

/// One header line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// As it came: case does not matter in it.
    pub name: &'a [u8],
    /// Without the whitespace around it.
    pub value: &'a [u8],
    /// Whether a proxy copies the line into the message that it sends on.
    ///
    /// False for the hop-by-hop ones, which are those that `Connection` names
    /// and a fixed list. False also for `Host` and `Content-Length`: these may
    /// have come twice or be overruled by the request line, so a proxy writes
    /// them itself, from the checked values in the head.
    pub forward: bool,
}

impl<'a> Fields<'a> {
    /// All lines.
    pub fn iter(self) -> impl Iterator<Item = Field<'a>> {
        self.spans.iter().map(move |span| span.field(self.head))
    }

    /// The lines that a proxy copies; see [`Field::forward`].
    pub fn forwarded(self) -> impl Iterator<Item = Field<'a>> {
        self.iter().filter(|field| field.forward)
    }

    /// The value of the first line with this name, in any case.
    pub fn get(self, name: &str) -> Option<&'a [u8]> {
        let mut fields = self.iter();
        let found = fields.find(|field| field.name.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|field| field.value)
    }
}

/// Where a header line is, counted from the start of its head.
#[derive(Debug, Clone, Copy)]
struct Span {
    name: u32,
    name_len: u32,
    value: u32,
    value_len: u32,
    forward: bool,
}

impl Span {
    fn field<'a>(&self, head: &'a [u8]) -> Field<'a> {
        let part = |at: u32, len: u32| &head[at as usize..][..len as usize];
        Field { name: part(self.name, self.name_len), value: part(self.value, self.value_len), forward: self.forward }
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

/// Finds the end of a head and remembers where its lines are.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// Whether there was a byte of the head.
    pub started: bool,
    /// Bytes that were searched already for line ends.
    scanned: usize,
    /// Where the line under the search begins.
    line: usize,
    /// Kept from message to message, for its memory.
    spans: Vec<Span>,
}

impl Reader {
    /// Gets ready for the next head; keeps the lines of this one.
    pub(super) fn restart(&mut self) {
        self.started = false;
        self.scanned = 0;
        self.line = 0;
    }

    /// The length of the head that `input` starts with, once it is complete.
    ///
    /// Until then, the next call must pass the same bytes and more after them;
    /// it looks at the new ones only.
    pub(super) fn find_end(&mut self, input: &[u8]) -> Result<Option<usize>, Error> {
        let window = &input[..input.len().min(MAX_HEAD)];
        self.scanned = self.scanned.min(window.len());
        while let Some(found) = find_line_feed(&window[self.scanned..]) {
            let line_feed = self.scanned + found;
            let line = window.get(self.line..line_feed).unwrap_or_default();
            let Some(line) = line.strip_suffix(b"\r") else {
                return Err(Error::quoting(Kind::LineEnd, line));
            };
            if line.is_empty() {
                return Ok(Some(line_feed + 1));
            }
            self.scanned = line_feed + 1;
            self.line = self.scanned;
        }
        self.scanned = window.len();
        if window.len() == MAX_HEAD {
            return Err(Error::new(Kind::HeadTooLong));
        }
        Ok(None)
    }

    /// The lines of the head that was recorded last.
    pub(super) fn fields<'a>(&'a self, head: &'a [u8]) -> Fields<'a> {
        Fields { head, spans: &self.spans }
    }

    /// Remembers where the lines are, and reads those that matter for framing.
    pub(super) fn record<'a>(
        &mut self,
        head: &'a [u8],
        headers: &[httparse::Header<'a>],
        version: Version,
        role: Role,
    ) -> Result<Facts<'a>, Error> {
        let mut facts = Facts::default();
        let mut options = 0;
        let mut names_fields = false;
        self.spans.clear();
        for header in headers {
            let name = Name::of(header.name);
            let value = header.value;
            match name {
                Name::ContentLength => content_length(&mut facts.content_length, value, role)?,
                Name::TransferEncoding => transfer_encoding(&mut facts.chunked, value)?,
                Name::Connection => {
                    for option in list(value) {
                        options += 1;
                        if option.eq_ignore_ascii_case(b"close") {
                            facts.close = true;
                        } else if option.eq_ignore_ascii_case(b"keep-alive") {
                            facts.keep_alive = true;
                        } else {
                            facts.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
                            names_fields = true;
                        }
                    }
                }
                Name::KeepAlive => keep_alive(&mut facts, value),
                Name::Host if facts.host.is_some() && role == Role::Request => {
                    return Err(Error::quoting(Kind::SeveralHosts, value));
                }
                Name::Host => facts.host = Some(value),
                Name::Expect => {
                    facts.expect_continue |= list(value).any(|item| item.eq_ignore_ascii_case(b"100-continue"));
                }
                Name::HopByHop | Name::Other => {}
            }
            self.spans.push(Span {
                name: offset(head, header.name.as_bytes()),
                name_len: header.name.len() as u32,
                value: offset(head, value),
                value_len: value.len() as u32,
                forward: matches!(name, Name::Expect | Name::Other),
            });
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
            self.mark_named(headers);
        }
        Ok(facts)
    }

    /// Marks the lines that the `Connection` lines name as not forwarded.
    fn mark_named(&mut self, headers: &[httparse::Header<'_>]) {
        let connection = headers.iter().filter(|header| Name::of(header.name) == Name::Connection);
        for option in connection.flat_map(|header| list(header.value)) {
            for (header, span) in headers.iter().zip(&mut self.spans) {
                span.forward &= !option.eq_ignore_ascii_case(header.name.as_bytes());
            }
        }
    }
}

/// The header names that mean something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    ContentLength,
    TransferEncoding,
    Connection,
    KeepAlive,
    Host,
    Expect,
    /// Concerns one connection and is never passed on, though not used here.
    HopByHop,
    Other,
}

impl Name {
    fn of(name: &str) -> Self {
        // The length rules out most names before any comparison.
        let candidates: &[(&str, Name)] = match name.len() {
            2 => &[("te", Name::HopByHop)],
            4 => &[("host", Name::Host)],
            6 => &[("expect", Name::Expect)],
            7 => &[("upgrade", Name::HopByHop), ("trailer", Name::HopByHop)],
            10 => &[("connection", Name::Connection), ("keep-alive", Name::KeepAlive)],
            14 => &[("content-length", Name::ContentLength)],
            16 => &[("proxy-connection", Name::HopByHop)],
            17 => &[("transfer-encoding", Name::TransferEncoding)],
            18 => &[("proxy-authenticate", Name::HopByHop)],
            19 => &[("proxy-authorization", Name::HopByHop)],
            _ => &[],
        };
        let found = candidates.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        found.map_or(Name::Other, |&(_, known)| known)
    }
}

/// A response may repeat the same length; a request may not.
fn content_length(known: &mut Option<u64>, value: &[u8], role: Role) -> Result<(), Error> {
    if known.is_some() && role == Role::Request {
        return Err(Error::quoting(Kind::SeveralLengths, value));
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
    let is_chunked = |item: &[u8]| item.eq_ignore_ascii_case(b"chunked");
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
        let known = if name.eq_ignore_ascii_case(b"timeout") {
            &mut facts.timeout
        } else if name.eq_ignore_ascii_case(b"max") {
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

/// The first LF in `bytes`. Compilers turn the search by blocks, without a way
/// out in the middle of one, into a few wide comparisons.
fn find_line_feed(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 16;
    let lacks = |block: &&[u8]| !block.iter().fold(false, |found, &byte| found | (byte == b'\n'));
    let skipped = BLOCK * bytes.chunks_exact(BLOCK).take_while(lacks).count();
    let found = bytes[skipped..].iter().position(|&byte| byte == b'\n')?;
    Some(skipped + found)
}

/// Where `part`, a slice of `head`, begins.
fn offset(head: &[u8], part: &[u8]) -> u32 {
    (part.as_ptr() as usize - head.as_ptr() as usize) as u32
}

/// Whether `byte` may stand in a header name or a method.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
