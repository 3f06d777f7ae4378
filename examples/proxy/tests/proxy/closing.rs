//! How a client's connection is closed: in stages, so that what is on the way to the client arrives.

use crate::harness::{Client, Proxy, Upstream, field, wait_until};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::{Mutex, mpsc};

/// More than the client's socket takes while the client reads nothing.
const LONG: usize = 2_000_000;

/// An upstream that reads the head, tells, and gives this many bytes when it is told to.
fn waits_and_answers(length: usize) -> (Upstream, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (tell, told) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::start(move |mut conn, _| {
        let head = conn.head();
        conn.body(&head);
        tell.send(()).unwrap();
        wait.lock().unwrap().recv().unwrap();
        conn.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{}", "y".repeat(length)));
        conn.is_at_end();
    });
    (upstream, told, go)
}

/// How many bytes come until the end, and whether it is an end and not a reset.
fn read_to_end(client: &mut Client) -> (usize, Result<(), ErrorKind>) {
    let (mut got, mut buffer) = (0, vec![0; 64 * 1024]);
    loop {
        match client.reader.read(&mut buffer) {
            Ok(0) => return (got, Ok(())),
            Ok(n) => got += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return (got, Err(e.kind())),
        }
    }
}

#[test]
fn a_long_answer_is_whole_whatever_was_sent_behind_the_request() {
    for (behind, ends) in
        [("", false), ("\r\n", false), ("\r\n", true), ("GET /next HTTP/1.1\r\nHost: a\r\n\r\n", true)]
    {
        let (upstream, told, go) = waits_and_answers(LONG);
        let proxy = Proxy::start(&[upstream.addr], &[]);
        let mut client = proxy.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx");
        told.recv().unwrap();
        client.send(behind);
        if ends {
            client.stream().shutdown(Shutdown::Write).unwrap();
        }
        go.send(()).unwrap();
        proxy.wait_for_figure("passed_on", 1);
        // The proxy has done all it does before the client reads.
        let head = client.head();
        assert_eq!(field(&head, "connection"), Some("close"));
        assert_eq!(read_to_end(&mut client), (LONG, Ok(())), "{behind:?} {ends}");
    }
}

#[test]
fn an_answer_of_the_proxys_own_is_followed_by_the_end_and_no_reset() {
    let proxy = Proxy::start(&[crate::harness::nobody()], &[]);
    for addr in [proxy.addr, proxy.status] {
        let mut client = Client::connect(addr);
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let response = client.response();
        assert_eq!(field(&response.head, "connection"), Some("close"));
        client.send("\r\n");
        assert_eq!(read_to_end(&mut client), (0, Ok(())));
    }
}

#[test]
fn a_client_that_goes_on_sending_does_not_keep_its_connection_for_ever() {
    let (upstream, told, go) = waits_and_answers(1);
    // A second without a byte, and six in all.
    let proxy = Proxy::start(&[upstream.addr], &["--timeout", "1"]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    told.recv().unwrap();
    go.send(()).unwrap();
    assert_eq!(client.response().body, b"y");
    assert!(client.is_at_end());
    wait_until(|| client.stream().write_all(b"x").is_err(), || "the end of the total".into());
}
