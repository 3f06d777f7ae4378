//! Upstreams whose names have two addresses, or move, by a hosts file of the test's own in a mount namespace.

use crate::harness::{BINARY, Proxy, Upstream, ok, wait_until};
use std::any::Any;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use testing::nobody;
use testing::temp_dir::TempDir;

/// An upstream at 127.0.0.2, and what `make` makes at the same port of 127.0.0.1.
fn with_first<T>(make: impl Fn(SocketAddr) -> io::Result<T>) -> (T, Upstream) {
    let pair = || {
        let upstream = Upstream::on("127.0.0.2:0", |mut conn, _| {
            while !conn.head().is_empty() {
                conn.send(&ok("second"));
            }
        });
        Some((make(SocketAddr::from(([127, 0, 0, 1], upstream.addr.port()))).ok()?, upstream))
    };
    (0..100).find_map(|_| pair()).expect("there is a port that is free at both addresses")
}

/// A hosts file, where `a.test` is.
struct Hosts {
    path: String,
    _dir: TempDir,
}

impl Hosts {
    fn new(test: &str, lines: &str) -> Hosts {
        let dir = TempDir::new(test);
        std::fs::create_dir_all(dir.path()).unwrap();
        let hosts = Hosts { path: format!("{}/hosts", dir.path()), _dir: dir };
        hosts.set(lines);
        hosts
    }

    fn set(&self, lines: &str) {
        std::fs::write(&self.path, lines).unwrap();
    }

    /// A proxy for a.test at this port.
    fn start(&self, port: u16, more: &[&str]) -> Proxy {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\"", &self.path, BINARY]);
        let name = format!("a.test:{port}");
        Proxy::start_as(command, &[], &[&["--upstream", &name], more].concat())
    }
}

#[test]
#[ignore = "needs root"]
fn a_name_that_moves_is_followed() {
    let (_first, upstream) = with_first(|address| {
        drop(TcpListener::bind(address)?); // or another one is looked for
        Ok(Upstream::on(&address.to_string(), |mut conn, _| {
            while !conn.head().is_empty() {
                conn.send(&ok("first"));
            }
        }))
    });
    let ask = |proxy: &Proxy| {
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        client.response().body
    };
    let hosts = Hosts::new("moves", "127.0.0.1 a.test\n");
    // Each request has a new connection.
    let proxy = hosts.start(upstream.addr.port(), &["--address-time", "0.1", "--max-inactive", "0", "--timeout", "1"]);
    assert_eq!(ask(&proxy), b"first");
    hosts.set("127.0.0.2 a.test\n");
    wait_until(|| ask(&proxy) == b"second", || "the name to be looked up again".into());
    // The address that works is kept as long as the name has it; and what can't be found hasn't moved.
    for lines in ["127.0.0.1 a.test\n127.0.0.2 a.test\n", ""] {
        hosts.set(lines);
        let told = if lines.is_empty() { "event=lookup_failed" } else { "addrs=[127.0.0.2:" };
        let told = || {
            assert_eq!(ask(&proxy), b"second");
            proxy.log().matches(told).count() > usize::from(!lines.is_empty())
        };
        wait_until(told, || "the name to be looked up again".into());
    }
}

#[test]
#[ignore = "needs root"]
fn a_name_whose_addresses_are_all_dead_is_looked_up_at_once() {
    let (_nobody, upstream) = with_first(nobody::refusing_at);
    let hosts = Hosts::new("all-dead", "127.0.0.1 a.test\n");
    let proxy = hosts.start(upstream.addr.port(), &["--address-time", "1000", "--timeout", "1"]);
    hosts.set("127.0.0.2 a.test\n");
    let mut client = proxy.client();
    let mut ask = || {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.response().status
    };
    assert_eq!(ask(), 502);
    wait_until(|| ask() == 200, || "the name to be looked up again".into());
}

#[test]
#[ignore = "needs root"]
fn a_name_whose_first_address_is_dead_is_reached_by_its_next_one() {
    for silent in [false, true] {
        let (_nobody, upstream) = with_first(|address| -> io::Result<Box<dyn Any>> {
            Ok(if silent { Box::new(nobody::silent_at(address)?) } else { Box::new(nobody::refusing_at(address)?) })
        });
        let hosts = Hosts::new("first-dead", "127.0.0.1 a.test\n127.0.0.2 a.test\n");
        let proxy = hosts.start(upstream.addr.port(), &["--connect-timeout", "0.3"]);
        for method in ["GET", "POST"] {
            // Two connections at once.
            let mut clients = [proxy.client(), proxy.client()];
            for client in &mut clients {
                client.send(&format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"));
            }
            for client in &mut clients {
                client.send("x");
                assert_eq!(client.response().body, b"second");
            }
        }
        assert!(proxy.figure("connect_failed") <= 2, "the address that works is remembered: {}", proxy.json());
        assert!(proxy.figure("connect_failed") > 0, "the dead one was tried");
    }
}
