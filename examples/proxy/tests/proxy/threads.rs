//! Several threads, each with a loop, a cache and listeners of its own.

use crate::harness::{Client, Proxy, Upstream, field, ok, wait_until};
use std::sync::{Mutex, mpsc};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[cfg_attr(not(target_os = "linux"), ignore = "only Linux spreads clients over listeners")]
#[test]
fn the_status_page_adds_up_what_all_threads_do() {
    const CLIENTS: usize = 64;
    let upstream = Upstream::answering(|_, _| ok("x"));
    let proxy = Proxy::start(&[upstream.addr], &["--threads", "2", "--max-inactive", "101"]);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send(GET);
        assert_eq!(client.response().body, b"x");
    }
    // One after the other: each thread that had a client has one connection.
    assert_eq!(upstream.accepted(), 2, "no thread was without clients");
    for (name, value) in [("passed_on", 64), ("requests", 64), ("inserted", 2), ("inactive", 2), ("max_inactive", 101)]
    {
        assert_eq!(proxy.figure(name), value, "{name} in {}", proxy.json());
    }
    assert_eq!(proxy.figure("clients"), CLIENTS as u64 + 1);
    assert!(proxy.json().contains("\"hit_ratio\":0.968750"), "{}", proxy.json());
    drop(clients);
    proxy.wait_for_figure("clients", 1);
}

#[cfg_attr(not(target_os = "linux"), ignore = "only Linux spreads clients over listeners")]
#[test]
fn a_limit_holds_for_all_threads_together() {
    const CLIENTS: usize = 64;
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::answering(move |_, _| {
        wait.lock().unwrap().recv().unwrap();
        ok("x")
    });
    let options = ["--threads", "2", "--max-connections-per-upstream", "3", "--wait", "1000"];
    let proxy = Proxy::start(&[upstream.addr], &options);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| proxy.client()).collect();
    clients.iter_mut().for_each(|client| client.send(GET));
    proxy.wait_for_figure("waiting", CLIENTS as u64 - 3);
    assert_eq!(proxy.figure("active"), 3);
    wait_until(|| upstream.accepted() == 3, || "three connections".into());
    clients.iter().for_each(|_| go.send(()).unwrap());
    clients.iter_mut().for_each(|client| assert_eq!(client.response().body, b"x"));
    assert_eq!(upstream.accepted(), 3);
}

#[cfg_attr(not(target_os = "linux"), ignore = "only Linux spreads clients over listeners")]
#[test]
fn sigterm_ends_all_threads_when_their_clients_are_served() {
    let (go, wait) = mpsc::channel::<()>();
    let (came, arrived) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::answering(move |_, _| {
        came.send(()).unwrap();
        wait.lock().unwrap().recv().unwrap();
        ok("x")
    });
    let mut proxy = Proxy::start(&[upstream.addr], &["--threads", "2", "--grace", "0"]);
    let mut clients: Vec<Client> = (0..32).map(|_| proxy.client()).collect();
    clients.iter_mut().for_each(|client| client.send(GET));
    clients.iter().for_each(|_| arrived.recv().unwrap());
    proxy.terminate();
    wait_until(|| proxy.log().matches("event=drain ").count() == 2, || proxy.log());
    clients.iter().for_each(|_| go.send(()).unwrap());
    for client in &mut clients {
        let response = client.response();
        assert_eq!((response.status, field(&response.head, "connection")), (200, Some("close")));
        assert!(client.is_at_end());
    }
    drop(clients);
    assert!(proxy.ended_well());
}
