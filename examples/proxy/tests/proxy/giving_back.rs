//! When an upstream connection may serve another request: the request sent whole, its response read whole, nothing else
//! owed and nothing in any buffer.

use crate::harness::{PATIENCE, Proxy, Upstream, ok};
use std::io::Read;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A server that answers each head with its connection's number, after so many bytes of the body, and tells what came
/// after that.
fn hasty(bytes: usize, tell: mpsc::Sender<String>) -> Upstream {
    Upstream::start(move |mut conn, number| {
        if number > 1 {
            while !conn.head().is_empty() {
                conn.send(&ok(&number.to_string()));
            }
            return;
        }
        conn.head();
        conn.reader.read_exact(&mut vec![0; bytes]).unwrap();
        conn.send(&ok("1"));
        let mut rest = String::new();
        // The connection may be reset.
        let _ = conn.reader.read_to_string(&mut rest);
        tell.send(rest).unwrap();
    })
}

#[test]
fn a_connection_answered_before_its_request_was_sent_serves_nobody_else() {
    for (framing, sent) in [
        ("Content-Length: 10", ""),
        ("Content-Length: 10", "hello"),
        ("Content-Length: 10\r\nExpect: 100-continue", ""),
        ("Transfer-Encoding: chunked", ""),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n"),
    ] {
        for late in ["", "late"] {
            let (tell, told) = mpsc::channel();
            let upstream = hasty(sent.len(), tell);
            let proxy = Proxy::start(&[upstream.addr], &[]);
            let mut client = proxy.client();
            client.send(&format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{sent}"));
            assert_eq!(client.response().body, b"1", "{framing:?} {sent:?}");
            let mut other = proxy.client();
            other.send(GET);
            assert_eq!(other.response().body, b"2", "{framing:?} {sent:?}");
            client.send(late);
            let rest = told.recv_timeout(PATIENCE).unwrap();
            assert!(!rest.contains("GET"), "{framing:?} {sent:?}: {rest:?}");
            other.send(GET);
            assert_eq!(other.response().body, b"2", "{framing:?} {sent:?} {late:?}");
        }
    }
}

#[test]
fn a_client_that_leaves_after_its_first_answer_leaves_nobody_the_second() {
    for reset in [false, true] {
        let (tell, told) = mpsc::channel();
        let (go, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let upstream = Upstream::start(move |mut conn, _| {
            loop {
                let head = conn.head();
                let Some(path) = head.split(' ').nth(1) else { return };
                tell.send(path.to_string()).unwrap();
                if path == "/second" {
                    wait.lock().unwrap().recv().unwrap();
                }
                conn.send(&ok(path));
            }
        });
        let proxy = Proxy::start(&[upstream.addr], &[]);
        let mut leaving = proxy.client();
        leaving.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(leaving.response().body, b"/first");
        let asked = || told.recv_timeout(PATIENCE).unwrap();
        // Each on a connection of its own, in any order.
        let mut paths = [asked(), asked()];
        paths.sort();
        assert_eq!(paths, ["/first", "/second"]);
        if reset {
            socket2::SockRef::from(&*leaving.stream()).set_linger(Some(Duration::ZERO)).unwrap();
        }
        drop(leaving);
        let mut next = proxy.client();
        next.send("GET /third HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(next.response().body, b"/third", "reset: {reset}");
        go.send(()).unwrap();
        for _ in 0..3 {
            next.send("GET /fourth HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(next.response().body, b"/fourth", "reset: {reset}");
        }
    }
}
