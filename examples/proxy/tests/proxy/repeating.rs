//! Requests whose connection dies before the response: which are repeated, and how.

use crate::harness::{Client, PATIENCE, Proxy, Upstream, field, ok, wait_until};
use std::sync::mpsc;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";

/// A server whose first `dying` connections answer one request, take a second one, and close without a word.
fn closes_on_second_request(dying: usize) -> Upstream {
    Upstream::start(move |mut conn, number| {
        for request in 1.. {
            let head = conn.head();
            conn.body(&head);
            if head.is_empty() || (request == 2 && number <= dying) {
                return;
            }
            conn.send(&ok(&format!("{number}.{request}")));
        }
    })
}

#[test]
fn a_request_whose_reused_connection_dies_is_repeated_once_on_a_new_one() {
    let upstream = closes_on_second_request(1);
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    let mut bodies = Vec::new();
    for method in ["GET", "GET", "DELETE"] {
        client.send(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
        bodies.push(String::from_utf8(client.response().body).unwrap());
    }
    assert_eq!(bodies, ["1.1", "2.1", "2.2"]);
    assert_eq!((proxy.figure("retried"), proxy.figure("handed_out_dead")), (1, 1));
    proxy.wait_for_log("event=retry");
}

/// A server may say so to an idle connection when it closes it, while the next request is on its way.
#[test]
fn a_request_that_crosses_a_408_on_a_reused_connection_is_repeated_on_a_new_one() {
    let answer = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let upstream = Upstream::start(move |mut conn, number| {
        for served in 0.. {
            let head = conn.head();
            match (number, served) {
                _ if head.is_empty() => return,
                _ if head.contains(" /408 ") => return conn.send(answer),
                (1, 1..) => return conn.send(answer),
                _ => conn.send(&ok("served")),
            }
        }
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let response = client.response();
        assert_eq!((response.status, response.body.as_slice()), (200, &b"served"[..]));
    }
    assert_eq!((upstream.accepted(), proxy.figure("retried")), (2, 1));
    // On a new connection it is the answer.
    client.send("GET /408 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status, 408);
    assert_eq!((upstream.accepted(), proxy.figure("retried")), (3, 2));
    // And for a request that can't be repeated.
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status, 200);
    client.send("POST /408 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.response().status, 408);
    assert_eq!((upstream.accepted(), proxy.figure("retried")), (4, 2));
}

#[test]
fn a_repeated_request_has_its_whole_body_again() {
    for (framing, sent) in [("Content-Length: 5", "hello"), ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n")] {
        let upstream = Upstream::start(|mut conn, number| {
            let head = conn.head();
            if number > 1 {
                let body = conn.body(&head);
                return conn.send(&ok(std::str::from_utf8(&body).unwrap()));
            }
            conn.send(&ok("first"));
            let head = conn.head();
            conn.body(&head);
        });
        let proxy = Proxy::start(&[upstream.addr], &["--unsafe-requests", "reuse"]);
        let mut client = proxy.client();
        client.send(GET);
        assert_eq!(client.response().body, b"first");
        client.send(&format!("PUT / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{sent}"));
        assert_eq!(client.response().body, b"hello", "{framing}");
        assert_eq!((upstream.accepted(), proxy.figure("retried")), (2, 1));
    }
}

#[test]
fn half_a_request_is_repeated_and_the_rest_follows() {
    let (tell, told) = mpsc::channel();
    let upstream = Upstream::start(move |mut conn, number| {
        let head = conn.head();
        if number == 1 {
            conn.send(&ok("first"));
            conn.head();
            return;
        }
        tell.send(()).unwrap();
        let body = conn.body(&head);
        conn.send(&ok(std::str::from_utf8(&body).unwrap()));
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    client.send(GET);
    assert_eq!(client.response().body, b"first");
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe");
    told.recv_timeout(PATIENCE).unwrap();
    client.send("llo");
    assert_eq!(client.response().body, b"hello");
}

#[test]
fn a_repeated_head_request_still_has_no_body() {
    let upstream = Upstream::start(|mut conn, number| {
        conn.head();
        conn.send(&ok("x"));
        conn.head();
        if number > 1 {
            conn.send(&ok("y"));
        }
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    client.send(GET);
    client.response();
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let upstream_closes = client.response_to("HEAD");
    // The second connection takes the repeated request as its first, and answers it with a body, which is unasked for.
    assert_eq!((upstream_closes.status, field(&upstream_closes.head, "content-length")), (200, Some("1")));
    client.send(GET);
    assert_eq!(client.response().body, b"x");
    assert_eq!(upstream.accepted(), 3);
}

#[test]
fn the_second_connection_bypasses_the_cache() {
    // Three connections become inactive together; each dies on its second request.
    let upstream = closes_on_second_request(3);
    let (gate, proxy) = (std::sync::Barrier::new(3), Proxy::start(&[upstream.addr], &[]));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut client = proxy.client();
                client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx");
                gate.wait(); // all three have connections of their own: none is complete
                wait_until(|| upstream.accepted() == 3, || "three connections".into());
                client.send("y");
                assert_eq!(client.response().status, 200);
            });
        }
    });
    proxy.wait_for_figure("inactive", 3);
    let mut client = proxy.client();
    client.send(GET);
    assert_eq!(client.response().body, b"4.1");
    assert_eq!(proxy.figure("inactive"), 3, "two that would have died, and the new one");
}

#[test]
fn a_request_that_may_not_be_repeated_is_a_502() {
    // More than the proxy keeps of a request is not repeated either.
    let long = format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{}", "x".repeat(100_000));
    for request in [POST, "PATCH / HTTP/1.1\r\nHost: a\r\n\r\n", long.as_str()] {
        let upstream = closes_on_second_request(1);
        let proxy = Proxy::start(&[upstream.addr], &["--unsafe-requests", "reuse"]);
        let mut client = proxy.client();
        client.send(GET);
        assert_eq!(client.response().status, 200);
        client.send(request);
        assert_eq!(client.response().status, 502, "{:?}", &request[..5]);
        assert_eq!((proxy.figure("retried"), proxy.figure("handed_out_dead")), (0, 1));
        assert_eq!(upstream.accepted(), 1);
    }
}

#[test]
fn a_single_upstream_gets_a_request_twice_at_most() {
    let upstream = Upstream::start(|mut conn, number| {
        conn.head();
        if number == 1 {
            conn.send(&ok("first"));
            conn.head();
        }
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    client.send(GET);
    assert_eq!(client.response().body, b"first");
    client.send(GET); // dies reused, is repeated, dies new
    assert_eq!(client.response().status, 502);
    assert_eq!((upstream.accepted(), proxy.figure("retried")), (2, 1));
    client.send(GET); // dies new
    assert_eq!(client.response().status, 502);
    assert_eq!((upstream.accepted(), proxy.figure("retried")), (3, 1));
}

#[test]
fn each_idempotent_method_is_repeated() {
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
        let upstream = closes_on_second_request(1);
        let proxy = Proxy::start(&[upstream.addr], &[]);
        let mut client = proxy.client();
        for method in ["GET", method] {
            client.send(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert_eq!(client.response_to(method).status, 200, "{method}");
        }
        assert_eq!((upstream.accepted(), proxy.figure("retried")), (2, 1), "{method}");
    }
}

#[test]
fn a_repetition_that_goes_to_another_upstream_gets_a_new_connection_there_too() {
    // Answers once, then dies and is gone.
    let mortal = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = mortal.local_addr().unwrap();
    let dying = std::thread::spawn(move || {
        let mut conn = Client::of(mortal.accept().unwrap().0);
        drop(mortal);
        conn.head();
        conn.send(&ok("mortal"));
        conn.head();
    });
    let other = closes_on_second_request(1);
    let proxy = Proxy::start(&[addr, other.addr], &[]);
    let mut client = proxy.client();
    for body in ["mortal", "1.1", "2.1"] {
        client.send(GET);
        assert_eq!(client.response().body, body.as_bytes(), "{}", proxy.json());
    }
    dying.join().unwrap();
    // A process that another test is just starting may hold the listener a moment longer: then the connection is made, and
    // reset.
    assert_eq!(proxy.figure("retried") + proxy.figure("connect_failed"), 2);
}
