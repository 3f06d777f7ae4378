//! How much a client can make the proxy hold, and for how long.

#[cfg(target_os = "linux")]
use crate::harness::{Client, ok};
use crate::harness::{Proxy, Upstream};
use std::time::{Duration, Instant};

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";

/// An upstream that reads all and never answers.
fn reads() -> Upstream {
    Upstream::start(|mut conn, _| {
        let _ = std::io::copy(&mut conn.reader, &mut std::io::sink());
    })
}

#[test]
fn a_body_that_trickles_in_is_a_408_and_frees_its_upstream_connection() {
    let upstream = reads();
    // The client sends a byte every 5 ms.
    let proxy = Proxy::start(&[upstream.addr], &["--timeout", "0.5", "--min-rate", "1000"]);
    let mut client = proxy.client();
    client.send(POST);
    assert!(client.trickle(b'x'));
    assert_eq!(client.response().status, 408);
    proxy.wait_for_figure("active", 0);
}

#[test]
fn a_body_may_trickle_in_for_ever_when_any_rate_will_do() {
    let upstream = reads();
    let proxy = Proxy::start(&[upstream.addr], &["--timeout", "2", "--min-rate", "0"]);
    let mut client = proxy.client();
    client.send(POST);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        client.send("x");
        std::thread::sleep(Duration::from_millis(5)); // the pace of the client
    }
    assert_eq!(proxy.figure("active"), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn a_client_with_half_a_head_or_between_two_requests_takes_little_memory() {
    const CLIENTS: usize = 300;
    let upstream = Upstream::answering(|_, _| ok("x"));
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let peak = || proxy.peak_kib().expect("/proc tells it");
    let whole = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(9000));
    let ask = |client: &mut Client, request: &str| {
        client.send(request);
        assert_eq!(client.response().body, b"x");
    };
    ask(&mut proxy.client(), &whole);
    proxy.json();

    let before = peak();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| proxy.client()).collect();
    clients.iter_mut().for_each(|client| ask(client, &whole));
    let idle = (peak() - before) as f64 / CLIENTS as f64;
    assert!(idle < 4.0, "{idle} KiB between two requests");

    let before = peak();
    clients.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nHost: a\r\nX: "));
    // What came before is read before.
    ask(&mut proxy.client(), &whole);
    let half = (peak() - before) as f64 / CLIENTS as f64;
    assert!(half < 4.0, "{half} KiB for half a head");
    clients.iter_mut().for_each(|client| ask(client, "y\r\n\r\n"));
}
