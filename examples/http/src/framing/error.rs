//! What can be wrong with a message.

use std::fmt;

use super::lines::is_token_byte;

/// How much of an offending value an error quotes.
const QUOTED: usize = 64;

/// Why a message was refused. The connection it came on is of no further use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    quote: Option<String>,
}

/// The rule that was broken. The text of an [`Error`] explains each.
#[allow(missing_docs)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    NotHttp,
    RequestLine,
    StatusLine,
    Version,
    Target,
    LineEnd,
    FieldName,
    SpaceBeforeColon,
    Folded,
    FieldValue,
    HeadTooLong,
    TooManyFields,
    TooManyOptions,
    NoHost,
    SeveralHosts,
    Host,
    ContentLength,
    SeveralLengths,
    LengthAndCoding,
    TransferCoding,
    UnknownCoding,
    CodingInHttp10,
    TooManyInterim,
    Switched,
    ChunkSize,
    ChunkTooLarge,
    ChunkExtension,
    ChunkLineTooLong,
    ChunkLineEnd,
    ChunkEnd,
    Trailer,
    TrailersTooLong,
    ClosedBeforeResponse,
    ClosedInHead,
    ClosedInBody,
}

impl Error {
    pub(super) fn new(kind: Kind) -> Self {
        Error { kind, quote: None }
    }

    /// An error that quotes the beginning of `value`, escaped.
    pub(super) fn quoting(kind: Kind, value: &[u8]) -> Self {
        let shown = &value[..value.len().min(QUOTED)];
        let dots = if shown.len() < value.len() { "..." } else { "" };
        let quote = Some(format!("\"{}\"{dots}", shown.escape_ascii()));
        Error { kind, quote }
    }

    pub(super) fn closed_in_body(missing: Option<u64>) -> Self {
        let quote = missing.map(|bytes| format!("{bytes} bytes short"));
        Error { kind: Kind::ClosedInBody, quote }
    }

    /// The rule that was broken.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The status a server answers a request with that failed like this.
    pub fn status(&self) -> u16 {
        match self.kind {
            Kind::HeadTooLong | Kind::TooManyFields | Kind::TooManyOptions => 431,
            Kind::UnknownCoding => 501,
            Kind::Version => 505,
            _ => 400,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::NotHttp => "the answer is not an HTTP/1 response",
            Kind::RequestLine => "malformed request line",
            Kind::StatusLine => "malformed status line",
            Kind::Version => "unsupported HTTP version",
            Kind::Target => "malformed request target",
            Kind::LineEnd => "a header line ends in a bare LF",
            Kind::FieldName => "malformed header name",
            Kind::SpaceBeforeColon => "whitespace between a header name and its colon",
            Kind::Folded => "a header line starts with whitespace (folding is obsolete)",
            Kind::FieldValue => "control character in a header value",
            Kind::HeadTooLong => "the head is too long",
            Kind::TooManyFields => "too many header lines",
            Kind::TooManyOptions => "too many Connection options",
            Kind::NoHost => "no Host header",
            Kind::SeveralHosts => "more than one Host header",
            Kind::Host => "malformed Host header",
            Kind::ContentLength => "malformed Content-Length",
            Kind::SeveralLengths => "more than one Content-Length",
            Kind::LengthAndCoding => "both Content-Length and Transfer-Encoding",
            Kind::TransferCoding => "Transfer-Encoding is not a single chunked",
            Kind::UnknownCoding => "unsupported Transfer-Encoding",
            Kind::CodingInHttp10 => "Transfer-Encoding in an HTTP/1.0 message",
            Kind::TooManyInterim => "too many interim responses",
            Kind::Switched => "the server switched to another protocol",
            Kind::ChunkSize => "malformed chunk size",
            Kind::ChunkTooLarge => "chunk size over 63 bits",
            Kind::ChunkExtension => "malformed chunk extension",
            Kind::ChunkLineTooLong => "chunk extensions are too long",
            Kind::ChunkLineEnd => "a chunk or trailer line does not end in CRLF",
            Kind::ChunkEnd => "no CRLF after the data of a chunk",
            Kind::Trailer => "malformed trailer",
            Kind::TrailersTooLong => "the trailers are too long",
            Kind::ClosedBeforeResponse => "connection closed before the response",
            Kind::ClosedInHead => "connection closed in the middle of a head",
            Kind::ClosedInBody => "connection closed in the middle of a body",
        })?;
        match &self.quote {
            Some(quote) => write!(f, ": {quote}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// The first line of a head, without its line end.
pub(super) fn first_line(head: &[u8]) -> &[u8] {
    let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Finds the header line at fault in a head.
pub(super) fn faulty_field(head: &[u8]) -> Option<Error> {
    head.split(|&byte| byte == b'\n').skip(1).find_map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let fault = |kind| Some(Error::quoting(kind, line));
        let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        if line.is_empty() {
            None
        } else if blank(line.first()) {
            fault(Kind::Folded)
        } else if name.len() < line.len() && blank(name.last()) {
            fault(Kind::SpaceBeforeColon)
        } else if name.len() == line.len() || name.is_empty() || !name.iter().copied().all(is_token_byte) {
            fault(Kind::FieldName)
        } else if line.iter().any(|&byte| byte != b'\t' && byte.is_ascii_control()) {
            fault(Kind::FieldValue)
        } else {
            None
        }
    })
}
