//! The framing of HTTP/1.1 messages.
//!
//! Every message goes in whole, cut in two at every place, and byte by byte; the
//! outcome must be the same and is compared as a line of text:
//! `head ... | body bytes | end keep | left 0`.

mod random;
mod tables;
mod upgrade;

use http::framing::body::{Body, Framing, Piece, write_chunk, write_last_chunk};
use http::framing::error::{Error, Kind};
use http::framing::head::Fields;
use http::framing::{MAX_CHUNK_LINE, MAX_FIELDS, MAX_HEAD, MAX_INTERIM, MAX_TRAILERS};
use http::framing::{request, response};
use tables::{BAD_CHUNKS, BAD_REQUESTS, BAD_RESPONSES, GOOD_REQUESTS, GOOD_RESPONSES};

enum Step {
    More,
    Note(String),
    Data(Vec<u8>),
    End(bool),
}

trait Machine {
    fn step(&mut self, input: &[u8]) -> Result<(usize, Step), Error>;
    fn eof(&mut self) -> Result<(), Error>;
}

fn keep(keep_alive: bool) -> &'static str {
    if keep_alive { "keep" } else { "close" }
}

impl Machine for response::Parser {
    fn step(&mut self, input: &[u8]) -> Result<(usize, Step), Error> {
        use response::Event;
        let (used, event) = self.next(input)?;
        let step = match event {
            Event::More => Step::More,
            Event::Interim(head) => Step::Note(format!("interim {}", head.status)),
            Event::Head(head) => {
                Step::Note(format!("head {} {:?} {}", head.status, head.framing, keep(head.keep_alive)))
            }
            Event::Data(data) => Step::Data(data.to_vec()),
            Event::End => Step::End(self.keep_alive()),
        };
        Ok((used, step))
    }

    fn eof(&mut self) -> Result<(), Error> {
        self.eof()
    }
}

impl Machine for request::Parser {
    fn step(&mut self, input: &[u8]) -> Result<(usize, Step), Error> {
        use request::Event;
        let (used, event) = self.next(input)?;
        let step = match event {
            Event::More => Step::More,
            Event::Head(head) => {
                let waits = if head.expect_continue { " waits" } else { "" };
                Step::Note(format!(
                    "{} {} @{} {:?} {}{waits}",
                    head.method,
                    head.path,
                    head.host.map_or("-".into(), String::from_utf8_lossy),
                    head.framing,
                    keep(head.keep_alive)
                ))
            }
            Event::Data(data) => Step::Data(data.to_vec()),
            Event::End => Step::End(self.keep_alive()),
        };
        Ok((used, step))
    }

    fn eof(&mut self) -> Result<(), Error> {
        self.eof()
    }
}

/// Feeds `message` in pieces that end at `cuts`, then the end of the connection.
fn run(mut machine: impl Machine, message: &[u8], cuts: &[usize]) -> String {
    let mut notes = Vec::new();
    let mut body = Vec::new();
    let mut start = 0;
    let mut cuts = cuts.iter().copied().chain([message.len()]);
    let mut end = cuts.next().unwrap();
    let mut closed = false;
    let last = loop {
        let input = &message[start..end];
        match machine.step(input) {
            Err(error) => break format!("error: {error}"),
            Ok((used, step)) => {
                assert!(used <= input.len(), "{used} of {} bytes used", input.len());
                start += used;
                match step {
                    Step::Note(note) => notes.push(note),
                    Step::Data(data) => {
                        assert!(!data.is_empty() && data.len() <= used);
                        body.extend(data);
                    }
                    Step::End(keep_alive) => {
                        assert!(matches!(machine.step(b"HTTP"), Ok((0, Step::End(_)))));
                        break format!("end {} | left {}", keep(keep_alive), message.len() - start);
                    }
                    Step::More => {
                        assert!(!closed, "wants more after the end");
                        if let Some(next) = cuts.next() {
                            end = next;
                        } else if let Err(error) = machine.eof() {
                            break format!("error: {error}");
                        } else if notes.is_empty() {
                            break "nothing".to_string();
                        } else {
                            closed = true;
                        }
                    }
                }
            }
        }
    };
    if !body.is_empty() {
        notes.push(body.escape_ascii().to_string());
    }
    notes.push(last);
    notes.join(" | ")
}

/// The outcome for `message`, which no way of cutting it up may change.
fn outcome<M: Machine>(new: impl Fn() -> M, message: &[u8]) -> String {
    let whole = run(new(), message, &[]);
    for cut in 0..=message.len() {
        let parts = run(new(), message, &[cut]);
        assert_eq!(parts, whole, "{} cut at {cut}", message.escape_ascii());
    }
    let every: Vec<usize> = (1..message.len()).collect();
    assert_eq!(run(new(), message, &every), whole, "{} bytewise", message.escape_ascii());
    whole
}

fn check_response(method: &str, message: &str, expected: &str) {
    let found = outcome(|| response::Parser::new(method), message.as_bytes());
    assert_eq!(found, expected, "{method} {message:?}");
}

fn check_request(message: &str, expected: &str) {
    let found = outcome(request::Parser::new, message.as_bytes());
    assert_eq!(found, expected, "{message:?}");
}

#[test]
fn responses() {
    for (method, message, expected) in GOOD_RESPONSES.iter().chain(BAD_RESPONSES) {
        check_response(method, message, expected);
    }
}

#[test]
fn requests() {
    for (message, expected) in GOOD_REQUESTS {
        check_request(message, expected);
    }
    for (message, expected, status) in BAD_REQUESTS {
        check_request(message, expected);
        assert_eq!(failure(message.as_bytes()).map(|error| error.status()), Some(*status), "{message:?}");
    }
}

/// The error that a request leads to.
fn failure(message: &[u8]) -> Option<Error> {
    let mut parser = request::Parser::new();
    let mut start = 0;
    loop {
        match parser.next(&message[start..]) {
            Err(error) => return Some(error),
            Ok((_, request::Event::End)) => return None,
            Ok((_, request::Event::More)) => return parser.eof().err(),
            Ok((used, _)) => start += used,
        }
    }
}

#[test]
fn chunk_framing() {
    for (body, expected) in BAD_CHUNKS {
        let message = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        check_response("GET", &message, &format!("head 200 Chunked keep | {expected}"));
        let message = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        check_request(&message, &format!("POST / @a Chunked keep | {expected}"));
    }
}

#[test]
fn limits() {
    let fill = |length: usize| "x".repeat(length);
    // Cutting these up at every place would take too long.
    let response = |message: &str| {
        let every: Vec<usize> = (1..message.len()).collect();
        let whole = run(response::Parser::new("GET"), message.as_bytes(), &[]);
        assert_eq!(run(response::Parser::new("GET"), message.as_bytes(), &every), whole);
        whole
    };
    let start = "HTTP/1.1 204 -\r\nA: ";
    let room = MAX_HEAD - start.len() - 4;
    assert_eq!(response(&format!("{start}{}\r\n\r\n", fill(room))), "head 204 Length(0) keep | end keep | left 0");
    assert_eq!(response(&format!("{start}{}\r\n\r\n", fill(room + 1))), "error: the head is too long");
    assert_eq!(response(&format!("HTTP/1.1 {}", fill(MAX_HEAD))), "error: the head is too long");

    let fields = |count| format!("HTTP/1.1 204 -\r\n{}\r\n", "A: b\r\n".repeat(count));
    assert_eq!(response(&fields(MAX_FIELDS)), "head 204 Length(0) keep | end keep | left 0");
    assert_eq!(response(&fields(MAX_FIELDS + 1)), "error: too many header lines");

    let options = |count| format!("HTTP/1.1 204 -\r\nConnection: {}\r\n\r\n", vec!["x"; count].join(","));
    assert_eq!(response(&options(64)), "head 204 Length(0) keep | end keep | left 0");
    assert_eq!(response(&options(65)), "error: too many Connection options");
    let lines = |count| format!("HTTP/1.1 204 -\r\n{}\r\n", "Connection: keep-alive\r\n".repeat(count));
    assert_eq!(response(&lines(64)), "head 204 Length(0) keep | end keep | left 0");
    assert_eq!(response(&lines(65)), "error: too many Connection options");

    let interim = |count| "HTTP/1.1 102 -\r\n\r\n".repeat(count) + "HTTP/1.1 204 -\r\n\r\n";
    assert!(response(&interim(MAX_INTERIM as usize)).ends_with("head 204 Length(0) keep | end keep | left 0"));
    assert!(response(&interim(MAX_INTERIM as usize + 1)).ends_with("error: too many interim responses"));

    let chunked = "HTTP/1.1 200 -\r\nTransfer-Encoding: chunked\r\n\r\n";
    let extension = |length: usize| format!("{chunked}0;{}\r\n\r\n", fill(length - 4));
    assert!(response(&extension(MAX_CHUNK_LINE)).ends_with("end keep | left 0"));
    assert!(response(&extension(MAX_CHUNK_LINE + 1)).ends_with("error: chunk extensions are too long"));
    let zeros = format!("{chunked}{}", "0".repeat(MAX_CHUNK_LINE + 1));
    assert!(response(&zeros).ends_with("error: chunk extensions are too long"));
    let second = format!("{chunked}1\r\nx\r\n0;{}\r\n\r\n", fill(MAX_CHUNK_LINE - 4));
    assert!(response(&second).ends_with("end keep | left 0"));
    // The bound is on each line, not on their sum.
    let many = format!("{chunked}{}0\r\n\r\n", format!("1;{}\r\nx\r\n", fill(1000)).repeat(20));
    assert!(response(&many).ends_with("end keep | left 0"));

    let trailers = |length: usize| format!("{chunked}0\r\nA: b\r\nC:{}\r\n\r\n", fill(length - 12));
    assert!(response(&trailers(MAX_TRAILERS)).ends_with("end keep | left 0"));
    assert!(response(&trailers(MAX_TRAILERS + 1)).ends_with("error: the trailers are too long"));
    let lines = format!("{chunked}0\r\n{}\r\n", "A: b\r\n".repeat(MAX_TRAILERS));
    assert!(response(&lines).ends_with("error: the trailers are too long"));

    let status = |message: String| failure(message.as_bytes()).map(|error| error.status());
    let request = "GET / HTTP/1.1\r\nHost: a\r\n";
    assert_eq!(status(format!("{request}A: {}\r\n\r\n", fill(MAX_HEAD))), Some(431));
    assert_eq!(status(format!("GET /{}", fill(MAX_HEAD))), Some(431));
    assert_eq!(status(format!("{request}{}\r\n", "A: b\r\n".repeat(MAX_FIELDS))), Some(431));
}

#[test]
fn long_values_are_quoted_in_part() {
    let message = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", "é".repeat(1000));
    let error = response::Parser::new("GET").next(message.as_bytes()).unwrap_err();
    assert_eq!(error.kind(), Kind::ContentLength);
    let text = error.to_string();
    assert!(text.starts_with("malformed Content-Length: \"\\xc3\\xa9"), "{text}");
    assert!(text.ends_with("\\xa9\"...") && text.len() < 300, "{text}");
}

/// The head of the only event that `message` gives.
macro_rules! head {
    ($parser:expr, $message:expr, $event:path) => {
        match $parser.next($message) {
            Ok((used, $event(head))) => {
                assert_eq!(used, $message.len());
                head
            }
            other => panic!("{other:?}"),
        }
    };
}

fn lines(fields: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> String {
    let line = |(name, value): (Vec<u8>, Vec<u8>)| format!("{}={}", name.escape_ascii(), value.escape_ascii());
    fields.map(line).collect::<Vec<_>>().join(" ")
}

fn all(fields: Fields<'_>) -> String {
    lines(fields.iter().map(|field| (field.name().to_vec(), field.value().to_vec())))
}

fn forwarded(fields: Fields<'_>) -> String {
    lines(fields.forwarded().map(|field| (field.name().to_vec(), field.value().to_vec())))
}

#[test]
fn a_response_head_of_an_old_form_is_passed_on_in_the_present_one() {
    let message = b"HTTP/1.1 200 OK\nA : b\r\n\t c: d\n  \nConnection: C\nC:d\n e\nE:\n\n";
    let mut parser = response::Parser::new("GET");
    let Ok((used, response::Event::Head(head))) = parser.next(message) else { panic!() };
    assert_eq!(used, message.len());
    let passed_on: Vec<u8> = head.fields.forwarded().flat_map(|field| field.line().to_vec()).collect();
    assert_eq!(passed_on.escape_ascii().to_string(), "A: b\\t c: d  \\r\\nE:\\r\\n");
}

#[test]
fn response_head_in_detail() {
    let mut parser = response::Parser::new("GET");
    let message = b"HTTP/1.1 503 Not \xe9 now\r\nKeep-Alive: timeout=5, max = 100\r\n\
        Keep-Alive: timeout=nine, TIMEOUT=4, other=1, max\r\nContent-Length: 3\r\n\
        X-A:  one two\t \r\nx-empty:\r\nConnection: X-Hop, keep-alive\r\nx-HOP: 1\r\n\
        Proxy-Authenticate: Basic\r\nTrailer: X\r\nUpgrade: h2c\r\nProxy-Connection: close\r\n\r\n";
    let head = head!(parser, message, response::Event::Head);
    assert_eq!((head.status, head.reason), (503, &b"Not \xe9 now"[..]));
    assert_eq!(head.version, http::framing::head::Version::Http11);
    assert_eq!((head.keep_alive_timeout, head.keep_alive_max), (Some(4), Some(100)));
    assert_eq!(head.content_length, Some(3));
    assert_eq!(forwarded(head.fields), "X-A=one two x-empty=");
    assert_eq!(head.fields.iter().count(), 11);
    assert_eq!(head.fields.get("x-a"), Some(&b"one two"[..]));
    assert_eq!(head.fields.get("X-Empty"), Some(&b""[..]));
    assert_eq!(head.fields.get("x-b"), None);
    let whole: Vec<_> = head.fields.forwarded().map(|field| field.line()).collect();
    assert_eq!(whole, [&b"X-A:  one two\t \r\n"[..], b"x-empty:\r\n"]);

    // The length of what a GET would have brought is worth passing on.
    for (method, message, length) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", Some(3)),
        ("GET", "HTTP/1.1 304 OK\r\nContent-Length: 3\r\n\r\n", Some(3)),
        ("GET", "HTTP/1.1 204 OK\r\nContent-Length: 3\r\n\r\n", None),
    ] {
        parser.reset(method);
        let head = head!(parser, message.as_bytes(), response::Event::Head);
        assert_eq!((head.content_length, head.framing), (length, Framing::Length(0)), "{message}");
    }

    parser.reset("GET");
    let message = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: link2\r\n\r\n";
    let head = head!(parser, message, response::Event::Interim);
    assert_eq!((head.reason, forwarded(head.fields)), (&b"Early Hints"[..], "Link=</a>".into()));
}

#[test]
fn request_head_in_detail() {
    let mut parser = request::Parser::new();
    let message = b"DELETE http://b:1/x?y HTTP/1.1\r\nHost: a\r\nConnection: te, Cookie ,close\r\n\
        Connection: x-hop, host, content-length\r\nCookie: a\r\ncookie: b\r\nCookie2: c\r\n\
        X-Hop: d\r\nTE: trailers\r\nKeep-Alive: 5\r\nUpgrade: x\r\nTrailer: y\r\n\
        Proxy-Authorization: z\r\nProxy-Connection: keep-alive\r\nContent-Length: 3\r\n\
        Expect: 100-continue\r\nAccept: */*\r\n\r\n";
    let head = head!(parser, message, request::Event::Head);
    assert_eq!((head.method, head.target, head.path), ("DELETE", "http://b:1/x?y", "/x?y"));
    assert_eq!((head.host, head.content_length), (Some(&b"b:1"[..]), Some(3)));
    assert!(head.expect_continue && !head.keep_alive);
    assert_eq!(forwarded(head.fields), "Cookie2=c Expect=100-continue Accept=*/*");
    assert!(all(head.fields).starts_with("Host=a Connection=te, Cookie ,close Connection=x-hop,"));

    parser.reset();
    let message = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: a\r\nTE: trailers\r\n\r\n";
    let head = head!(parser, message, request::Event::Head);
    assert_eq!((head.framing, head.content_length), (Framing::Chunked, None));
    assert_eq!(forwarded(head.fields), "");
    assert!(head.keep_alive && !parser.keep_alive());
}

#[test]
fn pipelined_messages_stay_apart() {
    let one = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none";
    let two = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n";
    check_response(
        "GET",
        &format!("{one}{two}"),
        &format!("head 200 Length(3) keep | one | end keep | left {}", two.len()),
    );
    check_response(
        "GET",
        &format!("{two}{one}"),
        &format!("head 200 Chunked keep | two | end keep | left {}", one.len()),
    );

    // One parser reads both, and the head-only answer between them.
    let message = format!("{one}HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{two}");
    let mut parser = response::Parser::new("GET");
    let mut rest = message.as_bytes();
    let mut body = Vec::new();
    for next in ["HEAD", "GET", "GET"] {
        loop {
            let (used, event) = parser.next(rest).unwrap();
            rest = &rest[used..];
            match event {
                response::Event::Data(data) => body.extend(data),
                response::Event::End => break,
                response::Event::More => panic!("incomplete"),
                _ => {}
            }
        }
        assert!(parser.keep_alive());
        parser.reset(next);
        assert!(!parser.keep_alive());
    }
    assert_eq!((body.as_slice(), rest), (&b"onetwo"[..], &b""[..]));
    assert_eq!(parser.eof().unwrap_err().kind(), Kind::ClosedBeforeResponse);

    let first = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";
    let second = "GET /b HTTP/1.1\r\nHost: a\r\n\r\n";
    check_request(
        &format!("{first}{second}"),
        &format!("POST /a @a Length(1) keep | x | end keep | left {}", second.len()),
    );
    let mut parser = request::Parser::new();
    let message = format!("\r\n{first}\r\n{second}");
    let mut rest = message.as_bytes();
    let mut paths = Vec::new();
    while paths.len() < 2 || !rest.is_empty() {
        let (used, event) = parser.next(rest).unwrap();
        rest = &rest[used..];
        match event {
            request::Event::Head(head) => paths.push(head.path.to_string()),
            request::Event::End => parser.reset(),
            _ => {}
        }
    }
    assert_eq!(paths, ["/a", "/b"]);
}

/// The last bytes and the end of the connection may come together.
#[test]
fn a_complete_body_may_end_with_the_connection() {
    let message = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
    let mut parser = response::Parser::new("GET");
    let (head, _) = parser.next(message).unwrap();
    let event = parser.next(&message[head..]).unwrap();
    assert!(matches!(event, (1, response::Event::Data(b"x"))));
    assert_eq!(parser.eof(), Ok(()));
    assert!(matches!(parser.next(b""), Ok((0, response::Event::End))));
}

/// A caller that breaks the rules gets nonsense, but no panic.
#[test]
fn bytes_that_vanish_do_no_harm() {
    let mut parser = response::Parser::new("GET");
    let message = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n";
    for length in [message.len(), 3, 0, 20, 18] {
        let _ = parser.next(&message[..length]);
    }
    let _ = parser.next(b"HTTP/1.1 200 OK\n\r\n\r\n");
}

#[test]
fn errors_stay() {
    let mut body = Body::new(Framing::Chunked);
    let error = body.next(b"1\r\nx").and_then(|_| body.next(b"y")).unwrap_err();
    assert_eq!(error.kind(), Kind::ChunkEnd);
    assert_eq!(body.next(b"\r\n0\r\n\r\n"), Err(error.clone()));
    assert_eq!(body.eof(), Err(error));

    let mut parser = request::Parser::new();
    let message = b"GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n";
    let error = parser.next(message).unwrap_err();
    assert_eq!(parser.next(message).unwrap_err(), error);
    assert_eq!(parser.eof().unwrap_err().kind(), Kind::ClosedInHead);
    assert!(!parser.keep_alive());

    // Whoever asks in spite of the error is not told that nothing came.
    for message in ["HTTP/1.1 200 OK\r\n: b\r\n\r\n", "220 smtp\r\n", "HTTP/1.1 200 OK\n: b\n\n"] {
        let mut parser = response::Parser::new("GET");
        let error = parser.next(message.as_bytes()).unwrap_err();
        assert_eq!(parser.next(message.as_bytes()).unwrap_err(), error);
        assert_eq!(parser.eof().unwrap_err().kind(), Kind::ClosedInHead);
        assert!(!parser.keep_alive());
    }
}

#[test]
fn bodies_may_be_larger_than_memory() {
    const BLOCK: usize = 64 * 1024;
    let block = vec![b'x'; BLOCK];
    let mut sized = Body::new(Framing::Length(1 << 40));
    let mut chunked = Body::new(Framing::Chunked);
    assert_eq!(chunked.next(b"10000000000\r\n"), Ok((13, Piece::More)));
    for _ in 0..(1u64 << 40) / BLOCK as u64 / 1024 {
        for body in [&mut sized, &mut chunked] {
            let (used, piece) = body.next(&block).unwrap();
            assert_eq!(used, BLOCK);
            assert!(matches!(piece, Piece::Data(data) if data.as_ptr() == block.as_ptr()));
        }
    }
    assert_eq!(sized.eof().unwrap_err().kind(), Kind::ClosedInBody);

    let mut largest = Body::new(Framing::Length(u64::MAX));
    assert_eq!(largest.next(b"x"), Ok((1, Piece::Data(b"x"))));
    let mut largest = Body::new(Framing::Chunked);
    assert_eq!(largest.next(b"7fffffffffffffff\r\n"), Ok((18, Piece::More)));
    assert_eq!(largest.next(b"x"), Ok((1, Piece::Data(b"x"))));
}

#[test]
fn written_chunks_can_be_read() {
    let mut out = Vec::new();
    let mut sent = Vec::new();
    for length in [1, 0, 15, 16, 255, 256, 70_000] {
        let data = vec![b'a' + (length % 26) as u8; length];
        write_chunk(&mut out, &data);
        sent.extend(data);
    }
    write_last_chunk(&mut out);
    assert!(out.starts_with(b"1\r\nb\r\nf\r\n"));
    let mut body = Body::new(Framing::Chunked);
    let mut received = Vec::new();
    let mut rest = out.as_slice();
    loop {
        let (used, piece) = body.next(rest).unwrap();
        rest = &rest[used..];
        match piece {
            Piece::Data(data) => received.extend_from_slice(data),
            Piece::More => panic!("incomplete"),
            Piece::End => break,
        }
    }
    assert!(received == sent && rest.is_empty());
}

/// A head that comes byte by byte is not searched from its start each time: all
/// that was seen is replaced with bytes that would make a second look fail.
/// Only the first bytes and the last one may be looked at again.
#[test]
fn old_bytes_are_not_searched_again() {
    const LOOKED_AT: usize = 16;
    let filler = "X-Filler: some value or other\r\n".repeat(100);
    let response = format!("HTTP/1.1 200 OK\r\n{filler}\r\n");
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{filler}\r\n");
    let mut responses = response::Parser::new("GET");
    let mut requests = request::Parser::new();
    let machines: [(&mut dyn Machine, &String); 2] = [(&mut responses, &response), (&mut requests, &request)];
    for (machine, message) in machines {
        let second = message.find("\r\n").unwrap() + 2;
        let message = message.as_bytes();
        let mut seen = Vec::new();
        for (at, &byte) in message[..message.len() - 1].iter().enumerate() {
            seen.push(byte);
            assert!(matches!(machine.step(&seen), Ok((0, Step::More))), "at {at}");
            if at > LOOKED_AT {
                seen[at - 1] = b'\n';
            }
            if at > second + 2 {
                seen[second..second + 2].copy_from_slice(b"\r\n"); // an end of the head
            }
        }
        let (used, step) = machine.step(message).unwrap();
        assert!(matches!(step, Step::Note(_)) && used == message.len());
    }
}

/// Which bytes may stand where, out of all 256.
#[test]
fn every_byte_in_every_place() {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let text = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte) || byte >= 0x80;
    let target = |byte: u8| (b'!'..=b'~').contains(&byte) && byte != b'#';
    let host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(&byte);
    let put = |before: &str, byte: u8, after: &str| [before.as_bytes(), &[byte], after.as_bytes()].concat();
    for byte in 0..=255u8 {
        let accepted = |message: &[u8]| failure(message).is_none();
        let places = [
            ("GE", "T / HTTP/1.1\r\nHost: a\r\n\r\n", token(byte)),
            ("GET /a", "b HTTP/1.1\r\nHost: a\r\n\r\n", target(byte)),
            ("GET /more/than/sixteen", "/bytes/in/front/and/behind HTTP/1.1\r\nHost: a\r\n\r\n", target(byte)),
            ("GET / HTTP/1.1\r\nHost: a", "b\r\n\r\n", host(byte)),
            ("GET / HTTP/1.1\r\nHost: more.than.sixteen", ".bytes\r\n\r\n", host(byte)),
            ("GET / HTTP/1.1\r\nHost: [:", ":]\r\n\r\n", byte.is_ascii_hexdigit() || byte == b':' || byte == b'.'),
            ("GET / HTTP/1.1\r\nHost: a:1", "2\r\n\r\n", byte.is_ascii_digit()),
            ("GET / HTTP/1.1\r\nHost: a\r\nx", "y: b\r\n\r\n", token(byte) || byte == b':'),
            ("GET / HTTP/1.1\r\nHost: a\r\nMore-than-eight-", "in-front: b\r\n\r\n", token(byte) || byte == b':'),
            ("GET / HTTP/1.1\r\nHost: a\r\nSevenAnd", ": b\r\n\r\n", token(byte) || byte == b':'),
            ("GET / HTTP/1.1\r\nHost: a\r\nx: b", "c\r\n\r\n", text(byte)),
            ("GET / HTTP/1.1\r\nHost: a\r\nx: ", "\r\n\r\n", text(byte)),
            ("GET / HTTP/1.1\r\nHost: a\r\nx: more than sixteen ", " and again as much\r\n\r\n", text(byte)),
            ("GET / HTTP/1.1", "\r\nHost: a\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r", "\r\n\r\n", byte == b'\n'),
        ];
        for (before, after, allowed) in places {
            let message = put(before, byte, after);
            assert_eq!(accepted(&message), allowed, "{}", message.escape_ascii());
        }
        let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let digit = byte.is_ascii_hexdigit();
        let places = [
            ("", "\r\n", "\r\n", digit && byte == b'0'),
            ("0", "\r\n", "\r\n", b"0; \t".contains(&byte)),
            ("0;a", "b\r\n", "\r\n", text(byte)),
            ("0\r\na", "b: c\r\n", "\r\n", token(byte) || byte == b':'),
            ("0\r\na: b", "c\r\n", "\r\n", text(byte)),
            ("1\r\n", "\r\n0\r\n", "\r\n", true),
            ("1\r\nx", "0\r\n", "\r\n", false),
            ("1\r\nx\r", "0\r\n", "\r\n", byte == b'\n'),
        ];
        for (before, after, end, allowed) in places {
            let message = put(&format!("{chunked}{before}"), byte, &format!("{after}{end}"));
            assert_eq!(accepted(&message), allowed, "{}", message.escape_ascii());
        }
        let message = put("HTTP/1.1 204 a", byte, "b\r\n\r\n");
        let accepted = response::Parser::new("GET").next(&message).is_ok();
        assert_eq!(accepted, text(byte), "{}", message.escape_ascii());
    }
}
