//! Names and their addresses, and addresses where nobody answers.

use crate::program::fetch;
use testing::nobody;
#[cfg(target_os = "linux")]
use {
    crate::program::{PROGRAM, TempDir, run},
    crate::server::Server,
    std::any::Any,
    std::io,
    std::net::SocketAddr,
    std::process::Command,
    std::sync::Arc,
};

#[test]
#[cfg(target_os = "linux")]
fn a_connection_that_is_not_made_in_time_is_an_error_that_names_the_address() {
    let (_silent, address) = nobody::silent();
    let run = fetch(&["--timeout", "0.3", &format!("http://{address}/")]);
    run.expect(&[("failed", 1), ("opened", 0), ("not_connected", 1)]);
    assert!(run.err.contains(&format!("not connected within 300ms: {address}: no answer")), "{}", run.err);
}

/// A hosts file of the test's own, which the program finds at its usual place by a mount namespace.
#[cfg(target_os = "linux")]
struct Hosts(TempDir);

#[cfg(target_os = "linux")]
impl Hosts {
    fn new(name: &str, lines: &str) -> Hosts {
        let hosts = Hosts(TempDir::new(name));
        std::fs::create_dir_all(hosts.0.path()).unwrap();
        hosts.change(lines);
        hosts
    }

    fn change(&self, lines: &str) {
        std::fs::write(format!("{}/hosts", self.0.path()), lines).unwrap();
    }

    fn fetch(&self, args: &[&str]) -> crate::program::Run {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", "mount --bind \"$0/hosts\" /etc/hosts && exec \"$@\"", self.0.path()]);
        command.arg(PROGRAM).args(["--report", "json"]).args(args);
        run(command)
    }
}

#[cfg(target_os = "linux")]
const TWO: &str = "127.0.0.1 two.test\n127.0.0.2 two.test\n";

/// A server at 127.0.0.2, and what `make` makes at the same port of 127.0.0.1.
#[cfg(target_os = "linux")]
fn with_first<T>(make: impl Fn(SocketAddr) -> io::Result<T>) -> (T, Server) {
    let pair = || {
        let server = Server::on("127.0.0.2:0", |client, _| client.echo(9)).ok()?;
        let first = SocketAddr::from(([127, 0, 0, 1], server.address().port()));
        Some((make(first).ok()?, server))
    };
    (0..100).find_map(|_| pair()).expect("there is a port that is free at both addresses")
}

/// Each request has a connection of its own; only the first of them tries the dead address.
#[test]
#[cfg(target_os = "linux")]
#[ignore = "needs root"]
fn a_names_dead_first_address_is_tried_once_and_the_one_that_worked_is_remembered() {
    for silent in [false, true] {
        let (_nobody, server) = with_first(|address| -> io::Result<Box<dyn Any>> {
            Ok(if silent { Box::new(nobody::silent_at(address)?) } else { Box::new(nobody::refusing_at(address)?) })
        });
        let port = server.address().port();
        let url = format!("http://two.test:{port}/");
        let run = Hosts::new("hosts-dead", TWO).fetch(&["-v", "-c", "1", "-n", "4", "--max-uses", "0", &url]);
        run.expect(&[("responses", 4), ("failed", 0), ("opened", 4), ("not_connected", 0)]);
        assert_eq!(server.requests(), [1; 4]);
        for (address, attempts) in [("127.0.0.1", 1), ("127.0.0.2", 4)] {
            let line = format!("event=connect address={address}:{port}");
            assert_eq!(run.err.matches(&line).count(), attempts, "{}", run.err);
        }
    }
}

/// The first of three requests has the name moved, and each has a connection of its own.
#[test]
#[cfg(target_os = "linux")]
#[ignore = "needs root"]
fn a_name_that_moves_is_followed_once_its_addresses_have_expired() {
    for (address_time, requests) in [("0", [1, 2]), ("60", [3, 0])] {
        let hosts = Arc::new(Hosts::new("hosts-moving", "127.0.0.1 two.test\n"));
        let moving = Arc::clone(&hosts);
        let (first, second) = with_first(move |address| {
            let moving = Arc::clone(&moving);
            Server::on(&address.to_string(), move |client, _| {
                moving.change("127.0.0.2 two.test\n");
                client.echo(9)
            })
        });
        let url = format!("http://two.test:{}/", first.address().port());
        let args = ["-c", "1", "-n", "3", "--max-uses", "0", "--address-time", address_time, &url];
        hosts.fetch(&args).expect(&[("responses", 3), ("failed", 0), ("opened", 3)]);
        assert_eq!([first.requests().len(), second.requests().len()], requests);
    }
}

#[test]
#[cfg(target_os = "linux")]
#[ignore = "needs root"]
fn an_address_that_connects_is_the_one_even_if_the_handshake_then_fails() {
    let (first, server) = with_first(|address| Server::on(&address.to_string(), |_, _| Ok(())));
    let url = format!("https://two.test:{}/", first.address().port());
    let run = Hosts::new("hosts-handshake", TWO).fetch(&["--insecure", &url]);
    run.expect(&[("failed", 1), ("opened", 0)]);
    assert!(run.err.contains("tls with two.test: "), "{}", run.err);
    assert_eq!((first.requests().len(), server.requests().len()), (1, 0));
}

#[test]
fn a_name_without_an_address_is_an_error_that_names_it() {
    let run = fetch(&["-n", "3", "http://name.invalid/"]);
    run.expect(&[("failed", 3), ("opened", 0)]);
    assert_eq!(run.err.matches("can't resolve name.invalid: ").count(), 3, "{}", run.err);
}
