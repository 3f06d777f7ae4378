//! Requests that are refused.

use crate::harness::{Client, Proxy, Upstream, field, ok};
use std::io::BufRead;

/// Each is answered 400 (or the status given), the connection is closed, and no upstream hears of it.
#[test]
fn a_request_that_smuggles_is_refused_and_the_upstream_sees_nothing() {
    let upstream = Upstream::answering(|_, _| ok("reached"));
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let refused = [
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\nabc"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n8000000000000000\r\nabc"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n"),
        (501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        (400, "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\rb\r\nabc\r\n0\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n0\r\n\r\n"),
        (400, "GET / HTTP/1.1\nHost: a\n\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nX: b\rY: c\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\n X: folded\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\n\r\n"),
        (400, "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a]b[\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n"),
        (505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
        (501, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"),
    ];
    for (status, request) in refused {
        let mut client = proxy.client();
        client.send(request);
        let response = client.response();
        assert_eq!(response.status, status, "{request:?}");
        assert_eq!(field(&response.head, "connection"), Some("close"), "{request:?}");
        assert!(client.is_at_end(), "{request:?}");
    }
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn a_refused_client_that_goes_on_sending_still_gets_its_answer() {
    let upstream = Upstream::answering(|_, _| ok("reached"));
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(&"x".repeat(1_000_000));
    assert_eq!(client.response().status, 400);
    // The end, and not a reset, which might overtake the answer.
    assert_eq!(client.reader.fill_buf().map(<[u8]>::len).map_err(|e| e.kind()), Ok(0));
}

#[test]
fn what_follows_a_refused_request_is_not_served() {
    let upstream = Upstream::answering(|_, _| ok("reached"));
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert_eq!(client.response().status, 400);
    assert!(client.is_at_end());
}

#[test]
fn the_length_of_a_head_is_bounded() {
    let upstream = Upstream::answering(|_, _| ok("reached"));
    let proxy = Proxy::start(&[upstream.addr], &[]);
    for (length, status) in [(30_000, 200), (40_000, 431)] {
        let mut client = Client::connect(proxy.addr);
        client.send(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(length)));
        assert_eq!(client.response().status, status);
    }
}
