//! HTTP/1.0 on either side.

use crate::harness::{Client, Proxy, Upstream, field, nobody, ok};
use std::io::{ErrorKind, Read};

#[test]
fn a_chunked_http_1_0_response_is_passed_on_and_its_connection_is_not_used_again() {
    let upstream = Upstream::answering(|_, _| {
        let head = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n";
        format!("{head}3\r\nabc\r\n0\r\n\r\n")
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    for accepted in 1..=2 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let response = client.response();
        assert!(response.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", response.head);
        assert_eq!((response.body.as_slice(), upstream.accepted()), (&b"abc"[..], accepted));
    }
}

#[test]
fn an_http_1_0_client_is_answered_in_its_own_way() {
    let upstream = Upstream::answering(|head, _| {
        assert!(field(head, "host").is_some(), "the upstream is asked in HTTP/1.1");
        if head.starts_with("GET /chunked") {
            return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".into();
        }
        ok("abc")
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let response = client.response();
    assert_eq!((field(&response.head, "connection"), response.body.as_slice()), (Some("keep-alive"), &b"abc"[..]));
    client.send("GET /chunked HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let response = client.response();
    assert_eq!(field(&response.head, "transfer-encoding"), None);
    assert_eq!((field(&response.head, "connection"), response.body.as_slice()), (Some("close"), &b"abc"[..]));
    assert!(client.is_at_end());
}

#[test]
fn an_http_1_0_client_that_keeps_its_connection_is_told_so_in_every_answer() {
    let upstream = Upstream::answering(|head, _| match head.split(' ').nth(1).unwrap() {
        "/204" => "HTTP/1.1 204 No Content\r\n\r\n".into(),
        "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\r\n".into(),
        _ => ok(if head.starts_with("HEAD") { "" } else { "abc" }),
    });
    let (proxy, dead) = (Proxy::start(&[upstream.addr], &[]), Proxy::start(&[nobody()], &[]));
    for (addr, method, path, status) in [
        (proxy.addr, "GET", "/", 200),
        (proxy.addr, "HEAD", "/", 200),
        (proxy.addr, "GET", "/204", 204),
        (proxy.addr, "GET", "/304", 304),
        (proxy.status, "GET", "/", 200),
        (proxy.status, "HEAD", "/status.json", 200),
        (proxy.status, "GET", "/missing", 404),
        (proxy.status, "PUT", "/", 405),
        (dead.addr, "GET", "/", 502),
        (dead.addr, "HEAD", "/", 502),
    ] {
        let mut client = Client::connect(addr);
        for _ in 0..2 {
            client.send(&format!("{method} {path} HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
            let response = client.response_to(method);
            assert_eq!(response.status, status, "{method} {path}");
            assert_eq!(field(&response.head, "connection"), Some("keep-alive"), "{method} {path}");
        }
        client.send(&format!("{method} {path} HTTP/1.0\r\n\r\n"));
        assert_eq!(field(&client.response_to(method).head, "connection"), Some("close"), "{method} {path}");
        assert!(client.is_at_end());
    }
}

/// The end of the connection would pass for the end of the response.
#[test]
fn a_response_that_only_the_end_delimits_ends_in_a_reset_when_it_is_cut_short() {
    let upstream = Upstream::start(|mut conn, _| {
        let head = conn.head();
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        match head.split(' ').nth(1) {
            Some("/whole") => conn.send("0\r\n\r\n"),
            Some("/nonsense") => conn.send("nonsense\r\n"),
            Some("/closed") => return,
            _ => {}
        }
        let _ = conn.head(); // waits for the proxy's end
    });
    let ask = |proxy: &Proxy, path: &str| {
        let mut client = proxy.client();
        client.send(&format!("GET {path} HTTP/1.0\r\n\r\n"));
        client
    };
    let end = |mut client: Client| {
        let mut all = Vec::new();
        let end = client.reader.read_to_end(&mut all).map_err(|error| error.kind());
        end.map(|_| all.ends_with(b"\r\n\r\nabc"))
    };
    let mut proxy = Proxy::start(&[upstream.addr], &["--timeout", "1"]);
    assert_eq!(end(ask(&proxy, "/whole")), Ok(true));
    for path in ["/nonsense", "/closed", "/silent"] {
        assert_eq!(end(ask(&proxy, path)), Err(ErrorKind::ConnectionReset), "{path}");
    }
    // Also when the proxy has no chance to say anything.
    let mut client = ask(&proxy, "/silent");
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    proxy.child.kill().unwrap();
    assert_eq!(end(client), Err(ErrorKind::ConnectionReset));
}

#[test]
fn what_an_http10_client_expects_is_not_passed_on() {
    let upstream = Upstream::answering(|head, _| ok(field(head, "expect").unwrap_or("nothing")));
    let proxy = Proxy::start(&[upstream.addr], &[]);
    for (version, expected) in [("1.0", "nothing"), ("1.1", "100-continue")] {
        let mut client = proxy.client();
        client.send(&format!("PUT / HTTP/{version}\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx"));
        assert_eq!(client.response().body, expected.as_bytes());
    }
}
