//! Descriptors that run out: clients and upstream connections share what there is.

use crate::harness::{Client, PATIENCE, Proxy, Upstream, field, ok, wait_until};
use std::io::Write;
use std::time::{Duration, Instant};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[cfg_attr(not(unix), ignore = "limits descriptors by the shell's ulimit")]
#[test]
fn inactive_connections_make_room_when_descriptors_run_out() {
    let upstream = Upstream::answering(|_, _| ok("x"));
    let proxy = Proxy::start_with_descriptors(40, &[upstream.addr], &[]);
    // Twelve connections at once, all inactive afterwards.
    let mut clients: Vec<Client> = (0..12).map(|_| proxy.client()).collect();
    clients.iter_mut().for_each(|client| client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"));
    wait_until(|| upstream.accepted() == 12, || "twelve upstream connections".into());
    clients.iter_mut().for_each(|client| client.send("x"));
    clients.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    // As many clients again: with the inactive ones there is no room for all.
    let mut more: Vec<Client> = (0..12).map(|_| proxy.client()).collect();
    for client in &mut more {
        client.send(GET);
        assert_eq!(client.response().body, b"x");
    }
    drop((clients, more));
    wait_until(|| proxy.figure("clients") == 1, || proxy.json());
    assert!(proxy.figure("shed") > 0, "{}", proxy.json());
}

#[cfg_attr(not(unix), ignore = "limits descriptors by the shell's ulimit")]
#[test]
fn a_client_for_whom_there_is_no_descriptor_waits_until_there_is_one() {
    let upstream = Upstream::answering(|_, _| ok("x"));
    let proxy = Proxy::start_with_descriptors(24, &[upstream.addr], &[]);
    let (begin, rest) = GET.split_at(10);
    let knock = |_| {
        let mut client = proxy.client();
        client.send(begin); // so that none counts as idle, and is closed in favour of others
        client
    };
    let mut clients: Vec<Client> = (0..40).map(knock).collect();
    proxy.wait_for_log("event=accept_failed");
    clients.iter_mut().for_each(|client| client.send(rest));
    // In the order in which they came; they are asked to close, so that the next ones have their turn.
    let mut asked = 0;
    for client in &mut clients {
        let response = client.response();
        assert_eq!(response.status, 200);
        asked += usize::from(field(&response.head, "connection") == Some("close"));
    }
    assert!(asked > 0, "nobody was asked to close");
    assert_eq!(proxy.figure("passed_on"), 40);
}

#[cfg_attr(not(unix), ignore = "limits descriptors by the shell's ulimit")]
#[test]
fn clients_leave_descriptors_for_upstream_connections() {
    let upstream = Upstream::answering(|_, _| ok("x"));
    let proxy = Proxy::start_with_descriptors(30, &[upstream.addr], &[]);
    std::thread::scope(|scope| {
        for _ in 0..60 {
            scope.spawn(|| {
                let (mut client, end) = (proxy.client(), Instant::now() + PATIENCE);
                for _ in 0..10 {
                    // Whoever says nothing for a second may be closed in favour of others.
                    while client.stream().write_all(GET.as_bytes()).is_err() || client.is_at_end() {
                        assert!(Instant::now() < end, "closed again and again");
                        client = proxy.client();
                    }
                    let response = client.response();
                    assert_eq!(response.status, 200);
                    if field(&response.head, "connection") == Some("close") {
                        client = proxy.client();
                    }
                }
            });
        }
    });
    assert_eq!(proxy.figure("passed_on"), 600);
}

#[cfg_attr(not(unix), ignore = "limits descriptors by the shell's ulimit")]
#[test]
fn an_exchange_for_which_no_descriptor_becomes_free_in_time_is_a_503() {
    // Responses that go on and on, until the other side has had enough.
    let upstream = Upstream::start(|mut conn, _| {
        conn.head();
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while std::io::Write::write_all(conn.stream(), b"1\r\nx\r\n").is_ok() {
            std::thread::sleep(Duration::from_millis(20)); // nothing depends on how long
        }
    });
    let proxy = Proxy::start_with_descriptors(24, &[upstream.addr], &["--timeout", "0.5"]);
    // All descriptors are clients' but for the spare one, which the first request gets.
    let mut clients: Vec<Client> = (0..20).map(|_| proxy.client()).collect();
    proxy.wait_for_log("event=accept_failed");
    clients.iter_mut().for_each(|client| client.send(GET));
    proxy.wait_for_log("status=503 started=false reason=\"no room for a connection to");
    let mut has_begun = |status: &str| {
        let begins = |client: &mut Client| {
            let mut start = [0; 12];
            client.stream().set_nonblocking(true).unwrap();
            let came = client.stream().peek(&mut start).is_ok();
            client.stream().set_nonblocking(false).unwrap();
            came && start.ends_with(status.as_bytes())
        };
        let mut at = None;
        wait_until(|| (at = clients.iter_mut().position(begins), at.is_some()).1, || format!("a {status}"));
        clients.swap_remove(at.unwrap())
    };
    let (mut refused, served) = (has_begun("503"), has_begun("200"));
    let response = refused.response();
    assert_eq!(
        (response.body.as_slice(), field(&response.head, "connection")),
        (&b"503 Service Unavailable\n"[..], None)
    );
    // Whoever asks is served once these have gone.
    drop((refused, served, clients));
    let is_served = || {
        let mut next = proxy.client();
        next.send(GET);
        next.head().starts_with("HTTP/1.1 200 ") // or the upstream was too slow
    };
    wait_until(is_served, || proxy.log());
}
