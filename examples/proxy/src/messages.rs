//! The heads that the proxy writes: requests for upstreams, responses for clients, and answers of its own.

use crate::tunnel::asks_for_websocket;
use http::framing::body::Framing;
use http::framing::head::{Field, Version};
use http::framing::request::Request;
use http::framing::response::Response;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

/// What the proxy adds to requests.
#[derive(Clone, Copy)]
pub struct Additions<'a> {
    /// The host of a request that names none.
    pub host: &'a str,
    /// What the request says of clients before this one is passed on.
    pub trusted: bool,
}

/// Appends the head for the upstream: the checked values for what frames the message and names its host, the
/// client's own lines for the rest, nothing that concerns the client's connection alone.
pub fn request_head(out: &mut Vec<u8>, request: &Request<'_>, client: &str, additions: Additions<'_>) {
    for part in [request.method, " ", request.path, " HTTP/1.1\r\nHost: "] {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(request.host.unwrap_or(additions.host.as_bytes()));
    out.extend_from_slice(b"\r\n");
    let hops = max_forwards(request);
    let counted = |field: &Field<'_>| hops.is_some() && field.is_named(b"max-forwards");
    // In HTTP/1.0 nothing is expected, and nobody waits for an interim response.
    let expects = |field: &Field<'_>| request.version == Version::Http10 && field.is_named(b"expect");
    let untrusted = |field: &Field<'_>| match identity(field.name()) {
        // Whoever is trusted writes the names as they are.
        Some(Identity::Client) => !additions.trusted || field.name().contains(&b'_'),
        Some(Identity::Proxy) => true,
        None => false,
    };
    let passes =
        |field: &Field<'_>| !expects(field) && !untrusted(field) && !counted(field) && !is_forwarded_for(field);
    forward(out, request.fields.forwarded().filter(passes));
    if let Some(hops) = hops {
        out.extend_from_slice(b"Max-Forwards: ");
        number(out, hops.saturating_sub(1));
    }
    // In one line: some servers read the first one only.
    out.extend_from_slice(b"X-Forwarded-For: ");
    if additions.trusted {
        for field in request.fields.forwarded().filter(is_forwarded_for) {
            out.extend_from_slice(field.value());
            out.extend_from_slice(b", ");
        }
    }
    out.extend_from_slice(client.as_bytes());
    // Behind the entries of those whom the request passed before.
    out.extend_from_slice(match request.version {
        Version::Http10 => b"\r\nVia: 1.0 conncache\r\n",
        Version::Http11 => b"\r\nVia: 1.1 conncache\r\n",
    });
    length(out, request.framing == Framing::Chunked, request.content_length);
    if asks_for_websocket(request) {
        out.extend_from_slice(Persistence::Switched.line().as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// How often a request may still be passed on, if it is of a method for which that is counted, and says so (RFC 9110,
/// 7.6.2).
#[inline]
pub fn max_forwards(request: &Request<'_>) -> Option<u64> {
    let read = |hops| std::str::from_utf8(hops).ok()?.parse().ok();
    match request.method {
        "OPTIONS" | "TRACE" => request.fields.get("max-forwards").and_then(read),
        _ => None,
    }
}

/// What upstreams take a field for, though anybody can write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    /// It says who sent the request, and how.
    Client,
    /// CGI programs find it in a variable that sets the proxy for their own requests.
    Proxy,
}

/// What a field of this name is taken for. In CGI, WSGI and the like an underscore in a name is as good as a hyphen.
fn identity(name: &[u8]) -> Option<Identity> {
    const PREFIX: &[u8] = b"x-forwarded-";
    let is = |name: &[u8], known: &[u8]| {
        let alike = |(&byte, &known): (&u8, &u8)| byte.eq_ignore_ascii_case(&known) || (byte, known) == (b'_', b'-');
        name.len() == known.len() && name.iter().zip(known).all(alike)
    };
    match (name.len(), name[0] | 0x20) {
        (5, b'p') if is(name, b"proxy") => Some(Identity::Proxy),
        (9, b'f') if is(name, b"forwarded") => Some(Identity::Client),
        (9, b'x') if is(name, b"x-real-ip") => Some(Identity::Client),
        (13.., b'x') if is(&name[..PREFIX.len()], PREFIX) => Some(Identity::Client),
        _ => None,
    }
}

fn is_forwarded_for(field: &Field<'_>) -> bool {
    field.is_named(b"x-forwarded-for")
}

/// How the body of a response reaches the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// As it comes.
    Plain,
    /// In chunks.
    Chunked,
}

/// What the client's connection needs to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// Nothing: it persists by default.
    Default,
    /// That it persists, though it is HTTP/1.0.
    KeepAlive,
    Close,
    /// That it goes on in another protocol.
    Switched,
}

impl Persistence {
    /// What a client of this version needs to be told when its connection goes on, or doesn't.
    pub fn of(version: Version, keep_alive: bool) -> Persistence {
        match version {
            _ if !keep_alive => Persistence::Close,
            Version::Http10 => Persistence::KeepAlive,
            Version::Http11 => Persistence::Default,
        }
    }

    fn line(self) -> &'static str {
        match self {
            Persistence::Default => "",
            Persistence::KeepAlive => "Connection: keep-alive\r\n",
            Persistence::Close => "Connection: close\r\n",
            Persistence::Switched => "Connection: Upgrade\r\nUpgrade: websocket\r\n",
        }
    }
}

/// Appends the head for the client.
pub fn response_head(out: &mut Vec<u8>, response: &Response<'_>, body: Body, persistence: Persistence) {
    status_line(out, response.status, response.reason);
    forward(out, response.fields.forwarded());
    if !response.fields.iter().any(|field| field.is_named(b"date")) {
        date(out);
    }
    length(out, body == Body::Chunked, response.content_length);
    out.extend_from_slice(persistence.line().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends an interim (1xx) response.
pub fn interim(out: &mut Vec<u8>, response: &Response<'_>) {
    status_line(out, response.status, response.reason);
    forward(out, response.fields.forwarded());
    out.extend_from_slice(b"\r\n");
}

/// Appends a response of the proxy's own.
pub fn answer(out: &mut Vec<u8>, answer: &Answer<'_>, body: &[u8]) {
    status_line(out, answer.status, reason(answer.status).as_bytes());
    date(out);
    length(out, false, Some(body.len() as u64));
    if answer.status == 405 {
        out.extend_from_slice(b"Allow: GET, HEAD\r\n");
    }
    for part in
        ["Content-Type: ", answer.content_type, "\r\nCache-Control: no-store\r\n", answer.persistence.line(), "\r\n"]
    {
        out.extend_from_slice(part.as_bytes());
    }
    if !answer.head_only {
        out.extend_from_slice(body);
    }
}

/// A response of the proxy's own.
pub struct Answer<'a> {
    pub status: u16,
    pub content_type: &'a str,
    pub persistence: Persistence,
    /// The request was HEAD.
    pub head_only: bool,
}

pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

fn status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    let mut start = *b"HTTP/1.1 000 ";
    for (at, unit) in [(9, 100), (10, 10), (11, 1)] {
        start[at] += (status / unit % 10) as u8;
    }
    out.extend_from_slice(&start);
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

fn date(out: &mut Vec<u8>) {
    // Fails for years that `Date` can't name.
    if let Ok(now) = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now()) {
        for part in ["Date: ", &now, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

fn forward<'a>(out: &mut Vec<u8>, fields: impl Iterator<Item = Field<'a>>) {
    fields.for_each(|field| out.extend_from_slice(field.line()));
}

fn length(out: &mut Vec<u8>, chunked: bool, content_length: Option<u64>) {
    if chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    } else if let Some(length) = content_length {
        out.extend_from_slice(b"Content-Length: ");
        number(out, length);
    }
}

/// Appends a number and the end of its line. Formatting takes several hundred instructions more.
fn number(out: &mut Vec<u8>, mut number: u64) {
    let (mut digits, mut start) = (*b"00000000000000000000\r\n", 20);
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// How the body of a response goes on to a client of this version, and whether only the end of the connection can
/// show where it ends.
pub fn body_for(client: Version, framing: Framing) -> (Body, bool) {
    match (framing, client) {
        (Framing::Length(_), _) => (Body::Plain, false),
        (_, Version::Http11) => (Body::Chunked, false),
        (_, Version::Http10) => (Body::Plain, true),
    }
}
