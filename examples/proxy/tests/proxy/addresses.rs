//! An upstream whose name has two addresses, by a hosts file of the test's own in a mount namespace.

use crate::harness::{BINARY, Proxy, Upstream, ok};
use std::any::Any;
use std::io;
use std::net::SocketAddr;
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

#[test]
#[ignore = "needs root"]
fn a_name_whose_first_address_is_dead_is_reached_by_its_next_one() {
    for silent in [false, true] {
        let (_nobody, upstream) = with_first(|address| -> io::Result<Box<dyn Any>> {
            Ok(if silent { Box::new(nobody::silent_at(address)?) } else { Box::new(nobody::refusing_at(address)?) })
        });
        let dir = TempDir::new("proxy-hosts");
        let hosts = format!("{}/hosts", dir.path());
        std::fs::create_dir_all(dir.path()).unwrap();
        std::fs::write(&hosts, "127.0.0.1 two.test\n127.0.0.2 two.test\n").unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\"", &hosts, BINARY]);
        let name = format!("two.test:{}", upstream.addr.port());
        let proxy = Proxy::start_as(command, &[], &["--upstream", &name, "--connect-timeout", "0.3"]);
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
