//! WebSocket connections, and other wishes to switch protocols.

use crate::harness::{Client, Proxy, Upstream, field, ok};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
                   Sec-WebSocket-Key: key\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Accept: yes\r\n\r\n";

/// An upstream that switches, and then sends back what comes until the other side ends its sending.
fn echo() -> Upstream {
    Upstream::start(|mut conn, _| {
        let head = conn.head();
        assert_eq!((field(&head, "connection"), field(&head, "upgrade")), (Some("Upgrade"), Some("websocket")));
        assert_eq!(field(&head, "sec-websocket-key"), Some("key"));
        conn.send(&format!("{SWITCHED}hello"));
        let mut writer = conn.stream().try_clone().unwrap();
        std::io::copy(&mut conn.reader, &mut writer).unwrap();
        writer.write_all(b"bye").unwrap();
    })
}

#[test]
fn a_websocket_passes_bytes_both_ways_until_each_side_has_ended() {
    let upstream = echo();
    let proxy = Proxy::start(&[upstream.addr], &["--max-connections-per-upstream", "1", "--max-waiting", "0"]);
    let mut client = proxy.client();
    // What follows the request is the other protocol's, and waits for the switch.
    client.send(&format!("{ASK}GET / HTTP/1.1\r\n\r\n"));
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!((field(&head, "connection"), field(&head, "upgrade")), (Some("Upgrade"), Some("websocket")));
    assert_eq!(field(&head, "sec-websocket-accept"), Some("yes"));
    let mut got = [0; 23];
    client.reader.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"helloGET / HTTP/1.1\r\n\r\n");
    assert_eq!((proxy.figure("active"), proxy.figure("inactive")), (1, 0));
    // The connection counts as one to the upstream.
    let mut other = proxy.client();
    other.send(ASK);
    assert_eq!(other.response().status, 503);
    client.send("\0\r\n0\r\n\r\n");
    client.stream().shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    client.reader.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"\0\r\n0\r\n\r\nbye");
    proxy.wait_for_figure("passed_on", 1);
}

#[test]
fn what_a_client_says_after_the_upstream_has_ended_arrives() {
    const MUCH: usize = 4 << 20;
    let (tell, told) = std::sync::mpsc::channel();
    let upstream = Upstream::start(move |mut conn, _| {
        conn.head();
        conn.send(&format!("{SWITCHED}bye"));
        conn.stream().shutdown(Shutdown::Write).unwrap();
        tell.send(std::io::copy(&mut conn.reader, &mut std::io::sink()).unwrap()).unwrap();
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    // It may also close without a look at what comes.
    for ends in [Shutdown::Write, Shutdown::Both] {
        let mut client = proxy.client();
        client.send(ASK);
        client.head();
        let mut rest = Vec::new();
        client.reader.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"bye");
        client.send(&"x".repeat(MUCH));
        client.stream().shutdown(ends).unwrap();
        assert_eq!(told.recv().unwrap(), MUCH as u64);
        assert!(client.is_at_end());
    }
    proxy.wait_for_figure("passed_on", 2);
    proxy.wait_for_figure("active", 0);
}

#[test]
fn a_tunnel_ends_when_the_upstream_has_closed_and_the_client_goes_on() {
    let upstream = Upstream::start(|mut conn, _| {
        conn.head();
        conn.send(SWITCHED);
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    client.send(ASK);
    client.head();
    assert!(client.is_at_end());
    client.send("x");
    proxy.wait_for_figure("active", 0);
}

#[test]
fn much_passes_both_ways_at_once() {
    const MUCH: usize = 32 << 20;
    let upstream = echo();
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    client.send(ASK);
    client.head();
    let mut writer = client.stream().try_clone().unwrap();
    let writing = thread::spawn(move || {
        for _ in 0..MUCH / (1 << 20) {
            writer.write_all(&vec![b'x'; 1 << 20]).unwrap();
        }
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut all = Vec::new();
    client.reader.read_to_end(&mut all).unwrap();
    writing.join().unwrap();
    assert_eq!(all.len(), 5 + MUCH + 3);
    assert!(proxy.peak_kib().is_none_or(|kib| kib < 16 * 1024), "{:?}", proxy.peak_kib());
}

#[test]
fn when_a_client_goes_its_tunnel_ends() {
    let (tell, told) = std::sync::mpsc::channel();
    let upstream = Upstream::start(move |mut conn, _| {
        conn.head();
        conn.send(SWITCHED);
        tell.send(conn.is_at_end()).unwrap();
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    client.send(ASK);
    client.head();
    drop(client);
    assert!(told.recv().unwrap());
}

#[test]
fn an_upstream_may_decline_and_its_connection_is_used_again() {
    let upstream = Upstream::answering(|_, _| ok("no"));
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send(ASK);
        assert_eq!(client.response().body, b"no");
    }
    assert_eq!(upstream.accepted(), 1);
}

#[test]
fn only_a_plain_wish_for_websocket_is_passed_on() {
    let upstream = Upstream::answering(|head, _| ok(field(head, "upgrade").unwrap_or("none")));
    let proxy = Proxy::start(&[upstream.addr], &[]);
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c, websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\nx",
    ] {
        let mut client = proxy.client();
        client.send(request);
        assert_eq!(client.response().body, b"none", "{request:?}");
    }
}

#[test]
fn a_switch_that_nobody_asked_for_is_a_502() {
    for (request, switched) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", SWITCHED.to_string()),
        (ASK, SWITCHED.replace("websocket", "h2c")),
        (ASK, SWITCHED.replace("Connection: Upgrade\r\n", "")),
        (ASK, SWITCHED.replace("Upgrade: websocket\r\n", "")),
    ] {
        let upstream = Upstream::start(move |mut conn: Client, _| {
            conn.head();
            conn.send(&switched);
            conn.is_at_end();
        });
        let proxy = Proxy::start(&[upstream.addr], &[]);
        let mut client = proxy.client();
        client.send(request);
        assert_eq!(client.response().status, 502);
        proxy.wait_for_figure("active", 0);
    }
}
