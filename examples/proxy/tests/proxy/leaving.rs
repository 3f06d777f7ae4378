//! Clients that end their sending, close, or reset before they have their answer.

use crate::harness::{PATIENCE, Proxy, Upstream, ok};
use std::io::Write;
use std::net::Shutdown;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn the_upstream_connection_of_a_client_that_goes_away_is_closed() {
    let (tell, told) = mpsc::channel();
    let upstream = Upstream::start(move |mut conn, _| {
        conn.head();
        tell.send(false).unwrap();
        let ended = conn.is_at_end();
        tell.send(ended).unwrap();
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    client.send(GET);
    told.recv().unwrap();
    // With a reset, since a mere end of sending is no wish to have no answer.
    socket2::SockRef::from(&*client.stream()).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    assert!(told.recv().unwrap());
    proxy.wait_for_figure("active", 0);
}

#[test]
fn a_client_that_only_ends_its_sending_is_still_answered() {
    let upstream = Upstream::answering(|_, _| ok("answer"));
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    client.send(GET);
    client.stream().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.response().body, b"answer");
    assert!(client.is_at_end());
}

#[test]
fn a_client_that_closed_before_its_answer_costs_nobody_the_upstream_connection() {
    let (tell, told) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::start(move |mut conn, _| {
        while !conn.head().is_empty() {
            tell.send(()).unwrap();
            wait.lock().unwrap().recv().unwrap();
            conn.send(&ok("x"));
        }
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    client.send(GET);
    told.recv().unwrap();
    drop(client);
    go.send(()).unwrap();
    proxy.wait_for_figure("inactive", 1);
    let mut next = proxy.client();
    next.send(GET);
    go.send(()).unwrap();
    assert_eq!(next.response().body, b"x");
    assert_eq!((upstream.accepted(), proxy.figure("closed")), (1, 0));
}

#[test]
fn a_response_without_end_ends_when_its_client_can_not_be_written_to() {
    let (tell, told) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::start(move |mut conn, _| {
        conn.head();
        tell.send(()).unwrap();
        wait.lock().unwrap().recv().unwrap();
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while conn.stream().write_all(b"1\r\nx\r\n").is_ok() {
            thread::sleep(Duration::from_millis(5)); // nothing depends on how long
        }
        tell.send(()).unwrap();
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    client.send(GET);
    told.recv().unwrap();
    drop(client); // closed, with nothing unread: for the proxy, an end of sending
    go.send(()).unwrap();
    told.recv_timeout(PATIENCE).expect("the upstream connection is closed");
    proxy.wait_for_figure("active", 0);
}
