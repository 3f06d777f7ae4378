//! Clients that send much before they read, and upstreams that answer before they have read all.

use crate::harness::{Client, PATIENCE, Proxy, Upstream, field, wait_until};
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

/// More than all sockets on the way hold.
const UPLOAD: usize = 64 << 20;
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n";

/// A client for which the system's buffers hold little: 64 KiB to 1.2 MiB on Linux.
fn narrow_client(proxy: &Proxy) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(2304).unwrap();
    #[cfg(unix)]
    socket.set_tcp_mss(536).unwrap();
    socket.connect(&proxy.addr.into()).unwrap();
    Client::of(socket.into())
}

/// Sends until nothing more is taken for a moment, or all is.
fn send_all_that_is_taken(stream: &mut TcpStream) {
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut sent = 0;
    while sent < UPLOAD {
        match stream.write(&[b'x'; 64 * 1024]) {
            Ok(n) => sent += n,
            Err(_) => return,
        }
    }
}

#[test]
fn a_client_that_sends_all_it_has_before_it_reads_gets_its_answer() {
    let upstream = Upstream::start(move |mut conn, _| {
        let head = conn.head();
        let length = field(&head, "x-length").unwrap().parse().unwrap();
        conn.send(&format!("HTTP/1.1 413 Content Too Large\r\nContent-Length: {length}\r\n\r\n{}", "y".repeat(length)));
        let _ = std::io::copy(&mut conn.reader, &mut std::io::sink());
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    // The system holds all of the answer, or the proxy keeps the rest of it (up to 32 KiB), or some is still to come.
    for length in (0..90).map(|n| n * 24 * 1024) {
        let mut client = narrow_client(&proxy);
        client.send(&POST.replace("Host: a", &format!("Host: a\r\nX-Length: {length}")));
        for _ in 0..8 {
            client.stream().write_all(&vec![b'x'; 1 << 20]).unwrap_or_else(|e| panic!("{length}: {e}"));
        }
        assert_eq!(client.response().body.len(), length);
    }
}

#[test]
fn a_client_that_sends_for_long_before_it_reads_gets_its_answer() {
    let upstream = Upstream::start(move |mut conn, _| {
        conn.head();
        conn.send("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno");
    });
    // The proxy waits for so long for a client that says nothing after its last answer.
    let proxy = Proxy::start(&[upstream.addr], &["--timeout", "2"]);
    let mut client = proxy.client();
    client.send(POST);
    proxy.wait_for_figure("passed_on", 1);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        client.send("x");
        std::thread::sleep(Duration::from_millis(10)); // the pace of the client
    }
    let response = client.response();
    assert_eq!((response.status, response.body.as_slice()), (413, &b"no"[..]));
    assert!(client.is_at_end());
}

/// How many bytes sent on this connection the other side's system hasn't taken yet.
#[cfg(target_os = "linux")]
fn unacknowledged(local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let hex = |addr: SocketAddr| match addr {
        SocketAddr::V4(addr) => format!("{:08X}:{:04X}", u32::from_ne_bytes(addr.ip().octets()), addr.port()),
        SocketAddr::V6(_) => panic!("IPv4 is used here"),
    };
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let line = table.lines().find(|line| line.contains(&format!("{} {}", hex(local), hex(remote))))?;
    u64::from_str_radix(line.split_whitespace().nth(4)?.split(':').next()?, 16).ok()
}

#[cfg(target_os = "linux")]
#[test]
fn an_answer_is_whole_though_the_upstream_has_closed_and_the_client_takes_nothing_for_now() {
    const PIECE: usize = 16 * 1024;
    let (go, wait) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    let wait = Mutex::new(wait);
    let upstream = Upstream::start(move |mut conn, _| {
        conn.head();
        let most: usize = wait.lock().unwrap().recv().unwrap();
        let (local, remote) = (conn.stream().local_addr().unwrap(), conn.stream().peer_addr().unwrap());
        let is_taken = || unacknowledged(local, remote) == Some(0);
        conn.send("HTTP/1.1 413 Content Too Large\r\nTransfer-Encoding: chunked\r\n\r\n");
        let (mut pieces, mut stalled) = (0, false);
        while !stalled && pieces < most {
            conn.send(&format!("{PIECE:x}\r\n{}\r\n", "y".repeat(PIECE)));
            pieces += 1;
            let sent = Instant::now();
            while !is_taken() && !stalled {
                stalled = sent.elapsed() > Duration::from_millis(300);
            }
        }
        conn.send("0\r\n\r\n");
        if !stalled {
            wait_until(is_taken, || "the proxy's system to take the answer".into());
        }
        drop(conn); // with bytes of the request unread: a reset
        tell.send(pieces).unwrap();
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let answered = |most: usize| {
        let mut client = narrow_client(&proxy);
        client.send(POST);
        send_all_that_is_taken(client.stream());
        go.send(most).unwrap();
        (client, told.recv().unwrap())
    };
    // As much as fits on the way to a client that reads nothing; and then two pieces less, so that all is on the proxy's
    // side when the upstream closes.
    let (_, most) = answered(usize::MAX);
    let (mut client, pieces) = answered(most - 2);
    // The proxy goes on taking the upload.
    client.stream().set_write_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..UPLOAD / (1 << 20) {
        client.stream().write_all(&vec![b'x'; 1 << 20]).expect("the upload is taken");
    }
    let mut all = Vec::new();
    client.reader.read_to_end(&mut all).expect("the answer ends, and without a reset");
    assert!(all.starts_with(b"HTTP/1.1 413 ") && all.ends_with(b"\r\n0\r\n\r\n"), "{}", all.len());
    assert_eq!(all.iter().filter(|&&byte| byte == b'y').count(), pieces * PIECE);
}

#[test]
fn an_answer_that_only_the_end_delimits_is_not_whole_when_the_upstream_resets() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::start(move |mut conn, _| {
        conn.head();
        wait.lock().unwrap().recv().unwrap();
        conn.send("HTTP/1.1 200 OK\r\n\r\npart");
        SockRef::from(&*conn.stream()).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    client.send(POST);
    // So that the proxy finds out when it sends.
    send_all_that_is_taken(client.stream());
    go.send(()).unwrap();
    let mut all = String::new();
    let _ = client.reader.read_to_string(&mut all);
    assert!(!all.ends_with("0\r\n\r\n"), "{all:?}");
    proxy.wait_for_log("status=502");
}
