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
};

#[test]
#[cfg(target_os = "linux")]
fn a_connection_that_is_not_made_in_time_is_an_error_that_names_the_address() {
    let (_silent, address) = nobody::silent();
    let run = fetch(&["--timeout", "0.3", &format!("http://{address}/")]);
    run.expect(&[("failed", 1), ("opened", 0), ("not_connected", 1)]);
    assert!(run.err.contains(&format!("not connected within 300ms: {address}: no answer")), "{}", run.err);
}

/// Runs the program where `two.test` has the addresses 127.0.0.1 and 127.0.0.2, by a hosts file of the test's own in a
/// mount namespace.
#[cfg(target_os = "linux")]
fn fetch_with_two_addresses(name: &str, args: &[&str]) -> crate::program::Run {
    let dir = TempDir::new(name);
    let hosts = format!("{}/hosts", dir.path());
    std::fs::create_dir_all(dir.path()).unwrap();
    std::fs::write(&hosts, "127.0.0.1 two.test\n127.0.0.2 two.test\n").unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\"", &hosts]);
    command.arg(PROGRAM).args(["--report", "json"]).args(args);
    run(command)
}

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

#[test]
#[cfg(target_os = "linux")]
#[ignore = "needs root"]
fn the_addresses_of_a_name_are_tried_in_turn_each_with_its_time() {
    for silent in [false, true] {
        let (_nobody, server) = with_first(|address| -> io::Result<Box<dyn Any>> {
            Ok(if silent { Box::new(nobody::silent_at(address)?) } else { Box::new(nobody::refusing_at(address)?) })
        });
        let url = format!("http://two.test:{}/", server.address().port());
        let run = fetch_with_two_addresses("hosts-in-turn", &["--timeout", "25", "-c", "1", "-n", "3", &url]);
        run.expect(&[("responses", 3), ("failed", 0), ("opened", 1), ("not_connected", 1)]);
        assert_eq!(server.requests(), [3]);
    }
}

#[test]
#[cfg(target_os = "linux")]
#[ignore = "needs root"]
fn an_address_that_connects_is_the_one_even_if_the_handshake_then_fails() {
    let (first, server) = with_first(|address| Server::on(&address.to_string(), |_, _| Ok(())));
    let url = format!("https://two.test:{}/", first.address().port());
    let run = fetch_with_two_addresses("hosts-handshake", &["--insecure", &url]);
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
