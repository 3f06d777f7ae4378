//! The HTTP CONNECT handshake, against answers cut up in every way.

use crate::conversation::{Outcome, Random, Turn, outcome, tunnel, withstand};
use http::tunnel::http_connect::{self, MAX_HEAD};
use http::tunnel::{Credentials, Handshake, Step};

const HOP: &str = "http proxy 127.0.0.1:3128";
const USER: &str = "a-user-nobody-sees";
const PASSWORD: &str = "a-password-nobody-sees";
/// Of the two, made by another encoder.
const TOKEN: &str = "YS11c2VyLW5vYm9keS1zZWVzOmEtcGFzc3dvcmQtbm9ib2R5LXNlZXM=";
const REQUEST: &str = "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n";

fn plain() -> Handshake {
    http_connect::handshake(HOP, "example.com", 443, None).unwrap()
}

fn with_auth() -> Handshake {
    let credentials = Credentials { user: USER.into(), password: PASSWORD.into() };
    http_connect::handshake(HOP, "example.com", 443, Some(&credentials)).unwrap()
}

fn answered(answer: impl AsRef<[u8]>) -> [Turn; 1] {
    [(REQUEST.into(), answer.as_ref().to_vec())]
}

#[track_caller]
fn fails(answer: impl AsRef<[u8]>, reason: &str) {
    let expected = Outcome::Failed(format!("{HOP}: {reason}"));
    assert_eq!(outcome(&plain, &answered(&answer)), expected);
    // What else the proxy says makes no difference.
    let chatty = [answer.as_ref(), b"HTTP/1.1 200 OK\r\n\r\n"].concat();
    assert_eq!(outcome(&plain, &answered(chatty)), expected);
}

/// What the handshake makes of a whole answer.
fn received(answer: &[u8]) -> Result<Step, String> {
    let mut handshake = plain();
    handshake.sent(REQUEST.len());
    handshake.received(answer).map_err(|error| error.to_string())
}

#[test]
fn a_2xx_opens_the_tunnel() {
    for answer in [
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 \r\n\r\n",
        "HTTP/1.1 200\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nVia: 1.1 proxy\r\nX-Empty:\r\n\r\n",
        "HTTP/1.1 299 Fine\r\n\r\n",
        "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 200 OK\nVia: 1.1 proxy\n\r\n",
    ] {
        tunnel(&plain, &answered(answer));
    }
}

#[test]
fn a_2xx_has_no_body_whatever_its_fields_say() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ten\r\n\r\n",
    ] {
        tunnel(&plain, &answered(answer));
    }
}

#[test]
fn interim_answers_are_skipped() {
    tunnel(
        &plain,
        &answered(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n\
             HTTP/1.1 199 \r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ),
    );
    fails(
        "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 502 Bad Gateway\r\n\r\n",
        "no connection to example.com:443: 502 Bad Gateway",
    );
}

#[test]
fn every_other_status_is_a_failure() {
    for status in 0..1000 {
        let answer = format!("HTTP/1.1 {status:03} It's thus\r\nContent-Length: 3\r\n\r\nwhy");
        let expected = match status {
            200..=299 => Ok(Step::Done { consumed: answer.len() - 3 }),
            // The rest is no head.
            100 | 102..=199 => Err(format!("{HOP}: does not answer in HTTP/1 (but with \"w\")")),
            _ => Err(format!("{HOP}: no connection to example.com:443: {status:03} It's thus")),
        };
        assert_eq!(received(answer.as_bytes()), expected);
    }
    for (answer, reason) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
            "407 Proxy Authentication Required",
        ),
        ("HTTP/1.0 403 Forbidden\r\n\r\n", "403 Forbidden"),
        ("HTTP/1.1 503\r\n\r\n", "503"),
        ("HTTP/1.1 503  \r\n\r\n", "503"),
        ("HTTP/1.1 302 Found\nLocation: /\n\n", "302 Found"),
    ] {
        fails(answer, &format!("no connection to example.com:443: {reason}"));
    }
}

#[test]
fn a_long_reason_is_cut_and_a_strange_one_left_out() {
    let words = "why not ".repeat(100);
    fails(
        format!("HTTP/1.1 500 {words}\r\n\r\n"),
        format!("no connection to example.com:443: 500 {}", &words[..100]).trim_end(),
    );
    fails(b"HTTP/1.1 500 \xff\xfe\r\n\r\n", "no connection to example.com:443: 500");
}

#[test]
fn what_is_not_http_is_seen_at_the_first_wrong_byte() {
    for (answer, seen) in [
        ("SSH-2.0-x\r\n", "S"),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", "\\r"),
        ("HTTP/2 200\r\n\r\n", "HTTP/2"),
        ("HTTPS", "HTTPS"),
        ("\u{1b}[2J", "\\x1b"),
        ("\x05", "\\x05"),
    ] {
        let reason = format!("does not answer in HTTP/1 (but with \"{seen}\")");
        fails(answer, &reason);
    }
}

#[test]
fn a_malformed_head_is_refused() {
    for answer in [
        "HTTP/1.1\r\n\r\n",
        "HTTP/1.7 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: no name\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\r\n\n\n",
        "HTTP/1.1 200 OK\r\nbad\0name: x\r\n\r\n",
    ] {
        let Err(text) = received(answer.as_bytes()) else {
            panic!("{answer:?} was taken");
        };
        let prefix = format!("{HOP}: the head of its answer is malformed");
        assert!(text.starts_with(&prefix), "{text}");
        fails(answer, text.strip_prefix(&format!("{HOP}: ")).unwrap());
    }
    let many = "X: y\r\n".repeat(129);
    fails(format!("HTTP/1.1 200 OK\r\n{many}\r\n"), "the head of its answer is malformed: too many headers");
}

/// An answer of `len` bytes with a success for a head.
fn long_head(len: usize) -> Vec<u8> {
    let mut head = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
    head.resize(len - 4, b'x');
    head.extend_from_slice(b"\r\n\r\n");
    head
}

#[test]
fn the_head_may_have_so_many_bytes_and_no_more() {
    let too_long = Err(format!("{HOP}: the head of its answer is over {MAX_HEAD} bytes"));
    let longest = long_head(MAX_HEAD);
    let done = Ok(Step::Done { consumed: MAX_HEAD });
    assert_eq!(received(&longest), done);
    assert_eq!(received(&[&longest[..], b"tunnel"].concat()), done);
    assert_eq!(received(&long_head(MAX_HEAD + 1)), too_long);
    assert_eq!(received(&longest[..MAX_HEAD - 1]), Ok(Step::More));

    // Interim answers count, so there can't be any number of them.
    let interim = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(MAX_HEAD / 25 + 1);
    assert_eq!(received(&interim), too_long);

    // One byte at a time is no more work.
    let mut slow = plain();
    slow.sent(REQUEST.len());
    let mut results = longest.iter().map(|byte| slow.received(&[*byte]));
    assert!(results.by_ref().take(MAX_HEAD - 1).all(|step| step == Ok(Step::More)));
    assert_eq!(results.next(), Some(Ok(Step::Done { consumed: 1 })));
}

#[test]
fn a_success_ahead_of_the_request_is_refused_and_a_failure_is_told() {
    for sent in [0, REQUEST.len() - 1] {
        for (answer, reason) in [
            ("HTTP/1.1 200 OK\r\n\r\n", "answered before it was asked"),
            ("HTTP/1.1 503 Busy\r\n\r\n", "no connection to example.com:443: 503 Busy"),
        ] {
            let mut handshake = plain();
            handshake.sent(sent);
            let error = handshake.received(answer.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), format!("{HOP}: {reason}"));
            assert!(handshake.outgoing().is_empty());
        }
    }
}

#[test]
fn the_request_names_host_and_port() {
    for (host, authority) in [
        ("192.0.2.7", "192.0.2.7:8443"),
        ("2001:db8::1", "[2001:db8::1]:8443"),
        ("Name.example.", "Name.example.:8443"),
    ] {
        let handshake = http_connect::handshake(HOP, host, 8443, None).unwrap();
        let expected = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        assert_eq!(handshake.outgoing(), expected.as_bytes());
    }
}

#[test]
fn credentials_are_sent_in_base64() {
    // Of every length, so with every padding.
    for (user, password, token) in [
        ("", "", "Og=="),
        ("a", "", "YTo="),
        ("a", "b", "YTpi"),
        ("a", "b:", "YTpiOg=="),
        ("Aladdin", "open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ("\u{fc}", "\u{1f511}~?>", "w7w68J+UkX4/Pg=="),
        (USER, PASSWORD, TOKEN),
    ] {
        let credentials = Credentials { user: user.into(), password: password.into() };
        let handshake = http_connect::handshake(HOP, "h", 1, Some(&credentials)).unwrap();
        let expected = format!("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\nProxy-Authorization: Basic {token}\r\n\r\n");
        assert_eq!(handshake.outgoing(), expected.as_bytes());
    }
}

#[test]
fn what_can_not_be_sent_is_refused_by_the_name_of_the_field() {
    let long = "x".repeat(256);
    for (host, user, password, reason) in [
        ("", "u", "p", "the name to connect to is empty"),
        (&long, "u", "p", "the name to connect to is longer than 255 bytes"),
        ("h", "u:", "p", "the user name has a colon in it"),
        ("h", "u\n", "p", "the user name has a control character in it"),
        ("h", "u", "\0", "the password has a control character in it"),
    ] {
        let credentials = Credentials { user: user.into(), password: password.into() };
        let error = http_connect::handshake(HOP, host, 1, Some(&credentials)).unwrap_err();
        assert_eq!(error.to_string(), format!("{HOP}: {reason}"));
    }
    for host in ["[::1]", "h:80", "a b", "h\r\nX: y", "u:p@h", "h/", "b\u{fc}cher"] {
        let error = http_connect::handshake(HOP, host, 1, None).unwrap_err();
        let reason = "the name to connect to has a character that is in no name";
        assert_eq!(error.to_string(), format!("{HOP}: {reason}"));
    }
}

#[test]
fn credentials_are_never_shown() {
    let mut shown = Vec::new();
    for answer in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 407 No\r\n\r\n", "x"] {
        let mut handshake = with_auth();
        shown.push(format!("{handshake:?} {handshake:#?}"));
        shown.push(format!("{0} {0:?}", handshake.closed()));
        handshake.sent(handshake.outgoing().len());
        if let Err(error) = handshake.received(answer.as_bytes()) {
            shown.push(format!("{error} {error:?}"));
        }
        shown.push(format!("{handshake:?} {handshake:#?}"));
    }
    for (user, password) in [(format!("{USER}:"), PASSWORD.to_owned()), (USER.to_owned(), format!("{PASSWORD}\n"))] {
        let credentials = Credentials { user, password };
        shown.push(format!("{credentials:?} {credentials:#?}"));
        let error = http_connect::handshake(HOP, "h", 1, Some(&credentials)).unwrap_err();
        shown.push(format!("{error} {error:?}"));
    }
    let bytes = |text: &str| format!("{:?}", text.as_bytes()).replace(['[', ']'], "");
    for text in shown {
        for secret in [USER, PASSWORD, TOKEN] {
            assert!(!text.contains(secret), "{text}");
            assert!(!text.contains(&bytes(secret)), "{text}");
        }
    }
}

#[test]
fn garbage_does_no_harm() {
    let pieces: [&[u8]; 16] = [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 407 No\r\n",
        b"HTTP/1.1 ",
        b"HTTP/1.0",
        b"200",
        b" ",
        b"\r\n",
        b"\r\n\r\n",
        b"\r",
        b"\n",
        b"Content-Length: 5",
        b"a:b",
        b":",
        b"\t",
        b"\xff",
    ];
    for seed in 0..5000 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        withstand(&plain, &random.garbage(&pieces), &mut random);
        // Further than the first line.
        let answer = [b"HTTP/1.1 200 OK", &random.garbage(&pieces)[..], b"\r\n\r\n"].concat();
        withstand(&plain, &answer, &mut random);
    }
}
