//! SIGTERM: what is in flight is finished, what comes shortly after is answered.

use crate::harness::{Client, Proxy, Upstream, field, ok, wait_until};
use std::net::TcpStream;
use std::sync::{Mutex, mpsc};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/// Longer than any test: the proxy ends when its last client has gone.
const FOR_EVER: &[&str] = &["--grace", "1000", "--timeout", "1000"];

/// The answer to the last request, and the end.
fn last_answer(client: &mut Client) {
    let response = client.response();
    assert_eq!((response.status, field(&response.head, "connection")), (200, Some("close")));
    assert!(client.is_at_end());
}

#[cfg_attr(not(unix), ignore = "there is no SIGTERM")]
#[test]
fn a_request_that_comes_shortly_after_sigterm_is_answered() {
    let upstream = Upstream::answering(|_, body| ok(std::str::from_utf8(body).unwrap()));
    let mut proxy = Proxy::start(&[upstream.addr], FOR_EVER);
    let (mut idle, mut new, mut half) = (proxy.client(), proxy.client(), proxy.client());
    idle.send(GET);
    assert_eq!(idle.response().status, 200);
    half.send("POST / HTTP/1.1\r\nHo");
    proxy.terminate();
    proxy.wait_for_log("event=drain");
    idle.send(GET);
    last_answer(&mut idle);
    new.send(GET);
    last_answer(&mut new);
    half.send("st: a\r\nContent-Length: 1\r\n\r\nx");
    last_answer(&mut half);
    drop((idle, new, half));
    assert!(proxy.ended_well());
}

#[cfg_attr(not(unix), ignore = "there is no SIGTERM")]
#[test]
fn a_client_that_had_connected_before_sigterm_is_answered() {
    let upstream = Upstream::answering(|_, _| ok("x"));
    let mut proxy = Proxy::start(&[upstream.addr], FOR_EVER);
    // Stopped, it finds the clients and the signal in one turn.
    proxy.signal("STOP");
    let mut clients: Vec<Client> = (0..100).map(|_| proxy.client()).collect();
    proxy.terminate();
    proxy.signal("CONT");
    for client in &mut clients {
        client.send(GET);
        last_answer(client);
    }
    drop(clients);
    assert!(proxy.ended_well());
}

#[cfg_attr(not(unix), ignore = "there is no SIGTERM")]
#[test]
fn sigterm_finishes_what_is_in_flight_and_nothing_more() {
    let (go, wait) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let wait = Mutex::new(wait);
    let upstream = Upstream::start(move |mut conn, number| {
        let head = conn.head();
        if number == 1 {
            tell.send(()).unwrap();
            wait.lock().unwrap().recv().unwrap();
        }
        conn.send(&ok(head.lines().next().unwrap()));
        assert!(conn.is_at_end());
        tell.send(()).unwrap();
    });
    let mut proxy = Proxy::start(&[upstream.addr], &["--grace", "0.1"]);
    let mut busy = proxy.client();
    busy.send(GET);
    told.recv().unwrap();
    let mut idle = proxy.client();
    idle.send(GET);
    assert_eq!(idle.response().status, 200);

    proxy.terminate();
    assert!(idle.is_at_end(), "an idle client is let go");
    told.recv().unwrap(); // its inactive upstream connection is closed
    wait_until(|| TcpStream::connect(proxy.addr).is_err(), || "the listener's end".into());
    go.send(()).unwrap();
    let response = busy.response();
    assert_eq!(response.body, b"GET / HTTP/1.1");
    assert_eq!(field(&response.head, "connection"), Some("close"));
    assert!(busy.is_at_end());
    told.recv().unwrap(); // the other one isn't kept
    assert!(proxy.ended_well());
}

#[cfg_attr(not(unix), ignore = "there is no SIGTERM")]
#[test]
fn a_second_sigterm_does_not_wait() {
    let (tell, told) = mpsc::channel();
    let upstream = Upstream::start(move |mut conn, _| {
        conn.head();
        tell.send(()).unwrap();
        conn.is_at_end();
    });
    let mut proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    client.send(GET);
    told.recv().unwrap();
    proxy.terminate();
    proxy.wait_for_log("event=drain");
    proxy.terminate();
    assert!(proxy.ended_well());
}

#[cfg_attr(not(unix), ignore = "there is no SIGTERM")]
#[test]
fn sigterm_does_not_wait_for_a_head_that_trickles_in() {
    let upstream = Upstream::answering(|_, _| ok("x"));
    let mut proxy = Proxy::start(&[upstream.addr], &["--timeout", "1000", "--grace", "0.1"]);
    let mut client = proxy.client();
    client.send(GET);
    assert_eq!(client.response().status, 200);
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX: ");
    proxy.terminate();
    assert!(client.trickle(b'x'));
    assert!(proxy.ended_well());
}

#[cfg_attr(not(unix), ignore = "there is no SIGTERM")]
#[test]
fn a_response_without_end_does_not_keep_a_drain_from_ending() {
    // So long that the upstream makes progress in that time, on any machine.
    let upstream = Upstream::start(|mut conn, _| {
        conn.head();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        conn.trickle(b'x');
    });
    let mut proxy = Proxy::start(&[upstream.addr], &["--timeout", "5", "--grace", "0"]);
    let mut client = proxy.client();
    client.send(GET);
    client.head();
    proxy.terminate();
    assert!(proxy.ended_well());
    proxy.wait_for_log("event=drain_cut clients=1");
}
