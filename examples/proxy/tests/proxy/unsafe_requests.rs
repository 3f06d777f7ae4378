//! Requests that can't be repeated, and the connections that they go on.

use crate::harness::{Client, Proxy, Upstream, ok, wait_until};
use std::time::{Duration, Instant};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";
/// Connections that have been inactive for longer are too old for such requests.
const YOUNG: Duration = Duration::from_secs(1);

/// Answers with the number of the connection.
fn numbering() -> Upstream {
    Upstream::start(|mut conn, number| {
        loop {
            let head = conn.head();
            if head.is_empty() {
                return;
            }
            conn.body(&head);
            conn.send(&ok(&number.to_string()));
        }
    })
}

fn ask(client: &mut Client, request: &str) -> String {
    client.send(request);
    String::from_utf8(client.response().body).unwrap()
}

fn let_it_grow_old() {
    let since = Instant::now();
    wait_until(|| since.elapsed() > YOUNG, || "a second".into());
}

#[test]
fn requests_that_can_not_be_repeated_go_on_no_connection_that_is_old() {
    let long = format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 40000\r\n\r\n{}", "x".repeat(40_000));
    // How long a chunked one is comes out too late.
    let chunked = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    let patch = "PATCH / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    std::thread::scope(|scope| {
        for request in [POST, patch, &long, chunked] {
            scope.spawn(move || {
                let upstream = numbering();
                let proxy = Proxy::start(&[upstream.addr], &[]);
                let mut client = proxy.client();
                assert_eq!(ask(&mut client, GET), "1");
                let_it_grow_old();
                assert_eq!(ask(&mut client, GET), "1");
                let_it_grow_old();
                assert_eq!(ask(&mut client, request), "2", "{:?}", &request[..10]);
                assert_eq!(ask(&mut client, GET), "2", "the old one is closed");
                assert_eq!(proxy.figure("closed"), 1);
            });
        }
    });
}

#[test]
fn requests_that_can_not_be_repeated_go_on_a_connection_just_used() {
    let upstream = numbering();
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    // A machine that stands still for a second makes them old.
    let is_reused = || ask(&mut client, POST) == ask(&mut client, POST);
    wait_until(is_reused, || "a second request within a second".into());
}

#[test]
fn requests_that_can_not_be_repeated_go_on_any_connection_when_told() {
    let upstream = numbering();
    let proxy = Proxy::start(&[upstream.addr], &["--unsafe-requests", "reuse"]);
    let mut client = proxy.client();
    assert_eq!(ask(&mut client, GET), "1");
    let_it_grow_old();
    assert_eq!(ask(&mut client, POST), "1");
}
