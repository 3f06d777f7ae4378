//! Upstreams that refuse, stall, die and misbehave; clients that stall.

use crate::harness::{Client, PATIENCE, Proxy, Upstream, field, nobody, ok, wait_until};
use std::sync::{Mutex, mpsc};
use testing::nobody::silent;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";

/// A server that says this, whatever it is asked, and closes.
fn says_and_closes(response: &'static str) -> Upstream {
    Upstream::start(move |mut conn, _| {
        conn.head();
        conn.send(response);
    })
}

#[test]
fn an_upstream_that_refuses_is_a_502_and_the_log_says_why() {
    let proxy = Proxy::start(&[nobody()], &[]);
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send(GET);
        assert_eq!(client.response().status, 502);
    }
    proxy.wait_for_log("status=502 started=false reason=\"couldn't connect to 127.0.0.1:");
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(field(&client.response().head, "connection"), Some("close"));
    assert!(client.is_at_end());
    assert_eq!((proxy.figure("502"), proxy.figure("connect_failed")), (3, 3));
}

#[test]
fn a_request_goes_to_the_next_upstream_when_one_refuses() {
    let upstream = Upstream::answering(|_, body| ok(std::str::from_utf8(body).unwrap()));
    let proxy = Proxy::start(&[nobody(), upstream.addr, nobody()], &[]);
    let mut client = proxy.client();
    for _ in 0..6 {
        client.send(POST);
        assert_eq!(client.response().body, b"x");
    }
}

#[test]
fn an_upstream_that_says_nothing_is_a_504_and_its_connection_is_not_used_again() {
    let upstream = Upstream::start(|mut conn, number| {
        conn.head();
        if number == 1 {
            assert!(conn.is_at_end());
        } else {
            conn.send(&ok("late"));
        }
    });
    let proxy = Proxy::start(&[upstream.addr], &["--timeout", "0.2"]);
    let mut client = proxy.client();
    client.send(GET);
    assert_eq!(client.response().status, 504);
    proxy.wait_for_log("status=504 started=false reason=\"no response from 127.0.0.1:");
    // Others may be too late as well, but each goes by a connection of its own.
    let is_answered = || {
        client.send(GET);
        client.response().status == 200
    };
    wait_until(is_answered, || "an answer in time".into());
    assert_eq!(proxy.figure("handed_out"), 0);
}

/// As when a firewall has forgotten the connections: they end neither by FIN nor by RST.
#[test]
fn a_reused_connection_that_stays_silent_takes_the_others_along_unless_one_answers() {
    let (tell, came) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::start(move |mut conn, _| {
        loop {
            let head = conn.head();
            match head.split(' ').nth(1) {
                Some("/held") => {
                    tell.send(()).unwrap();
                    wait.lock().unwrap().recv().unwrap();
                }
                Some("/") => {}
                _ => return drop(conn.head()),
            }
            conn.send(&ok("served"));
        }
    });
    let proxy = Proxy::start(&[upstream.addr], &["--timeout", "1"]);
    let ask = |client: &mut Client, path: &str| client.send(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    let mut clients = [proxy.client(), proxy.client(), proxy.client()];
    for client in &mut clients {
        ask(client, "/held");
        came.recv_timeout(PATIENCE).unwrap();
    }
    (0..3).for_each(|_| go.send(()).unwrap());
    clients.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    assert_eq!(proxy.figure("inactive"), 3);
    let [client, other, _] = &mut clients;
    ask(client, "/lost");
    proxy.wait_for_figure("active", 1);
    ask(other, "/");
    assert_eq!(other.response().status, 200);
    assert_eq!((client.response().status, proxy.figure("inactive")), (504, 2));
    ask(client, "/lost");
    assert_eq!(client.response().status, 504);
    assert_eq!(upstream.accepted(), 3);
    ask(client, "/");
    assert_eq!((client.response().status, upstream.accepted()), (200, 4));
}

#[test]
fn a_client_that_stalls_within_a_request_is_a_408() {
    let upstream = Upstream::answering(|_, _| ok("reached"));
    let proxy = Proxy::start(&[upstream.addr], &["--timeout", "0.2"]);
    for part in ["GET / HT", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf"] {
        let mut client = proxy.client();
        client.send(part);
        assert_eq!(client.response().status, 408, "{part:?}");
        assert!(client.is_at_end());
    }
}

#[test]
fn a_head_that_trickles_in_is_a_408() {
    let upstream = Upstream::answering(|_, _| ok("reached"));
    let proxy = Proxy::start(&[upstream.addr], &["--timeout", "0.2"]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX: ");
    assert!(client.trickle(b'x'));
    assert_eq!(client.response().status, 408);
}

#[test]
#[cfg(target_os = "linux")] // elsewhere a full queue may refuse
fn an_upstream_that_does_not_take_the_connection_is_a_504_that_says_so() {
    let (_silent, addr) = silent();
    let proxy = Proxy::start(&[addr], &["--timeout", "0.3"]);
    let mut client = proxy.client();
    client.send(GET);
    assert_eq!(client.response().status, 504);
    proxy.wait_for_log(&format!("status=504 started=false reason=\"couldn't connect to {addr} within 300ms"));
    assert_eq!((proxy.figure("connect_failed"), proxy.figure("active")), (1, 0));
}

#[test]
fn an_inactive_connection_that_the_upstream_closes_costs_nobody_anything() {
    let upstream = Upstream::start(|mut conn, number| {
        conn.head();
        conn.send(&ok(&number.to_string()));
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    for n in 1..=5 {
        client.send(POST);
        assert_eq!(client.response().body, n.to_string().as_bytes());
        wait_until(|| proxy.figure("hung_up") + proxy.figure("failed") == n, || format!("eviction {n}"));
    }
    assert_eq!(proxy.figure("handed_out_dead"), 0);
}

#[test]
fn a_response_cut_short_is_cut_short_for_the_client_too() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nnonsense",
    ] {
        let upstream = says_and_closes(response);
        let proxy = Proxy::start(&[upstream.addr], &[]);
        let mut client = proxy.client();
        client.send(GET);
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut client.reader, &mut all).unwrap();
        let all = String::from_utf8(all).unwrap();
        assert!(all.ends_with("half") || all.ends_with("half\r\n"), "{all:?}");
        proxy.wait_for_log("status=502 started=true");
    }
}

#[test]
fn what_is_no_clear_http_response_is_a_502_and_no_connection_is_kept() {
    let refused = [
        "SSH-2.0-x\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 200 OK\nX: y\rSet-Cookie: z\n\n",
        "HTTP/1.1 200 OK\rX: y\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\rSet-Cookie: z\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n Content-Length: 3\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\n",
    ];
    let upstream = Upstream::start(move |mut conn, number| {
        conn.head();
        conn.send(refused[number - 1]);
        assert!(conn.is_at_end());
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    for response in refused {
        client.send(GET);
        assert_eq!(client.response().status, 502, "{response:?}");
    }
    assert_eq!((upstream.accepted(), proxy.figure("inactive")), (refused.len(), 0));
}

#[test]
fn bytes_behind_a_response_never_become_the_next_response() {
    let upstream = Upstream::start(|mut conn, _| {
        while !conn.head().is_empty() {
            conn.send(&(ok("right") + &ok("wrong")));
        }
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    for _ in 0..5 {
        client.send(GET);
        assert_eq!(client.response().body, b"right");
    }
    assert_eq!(upstream.accepted(), 5);
}

#[test]
fn a_body_announced_where_none_can_be_never_becomes_the_next_response() {
    let upstream = Upstream::start(|mut conn, _| {
        conn.head();
        let wrong = ok("wrong");
        conn.send(&format!("HTTP/1.1 204 No Content\r\nContent-Length: {}\r\n\r\n", wrong.len()));
        // Comes only when the next request is on its way: no look at the connection can find it before.
        while !conn.head().is_empty() {
            conn.send(&wrong);
        }
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send(GET);
        assert_eq!(client.response().status, 204);
    }
    assert_eq!(upstream.accepted(), 2);
}
