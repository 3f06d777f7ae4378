//! The command line.

use crate::harness::{BINARY, Proxy, Upstream, ok};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

#[test]
fn wrong_usage_names_the_option_and_the_value_before_anything_starts() {
    for (args, named) in [
        (&["--listen", "8080"][..], "--listen 8080: neither ADDRESS:PORT nor NAME:PORT"),
        (&["--listen", "localhost:x"], "--listen localhost:x: "),
        (&["--listen", "[::1:80"], "--listen [::1:80: "),
        (&["--status", "x"], "--status x: "),
        (&["--upstream", "a"], "--upstream a: "),
        (&["--upstream", "a..b:80"], "--upstream a..b:80: failed to lookup address information: "),
        (&["--upstream", "127.0.0.1:1,"], "--upstream : no HOST:PORT"),
        (&["--upstream", "127.0.0.1:0"], "--upstream 127.0.0.1:0: there is no port 0"),
        (&["--upstream", "http://127.0.0.1:0/"], "--upstream http://127.0.0.1:0/: there is no port 0"),
        (&["--upstream", "http://127.0.0.1/x"], "--upstream http://127.0.0.1/x: requests keep their own paths"),
        (&["--upstream", "https://127.0.0.1"], "--upstream https://127.0.0.1: upstreams are spoken to without TLS"),
        (&["--upstream", "socks5://a:1/b:2"], "--upstream socks5://a:1/b:2: not HOST:PORT"),
        (&["--min-rate", "-1"], "--min-rate -1: "),
        (&["localhost:80"], "unexpected argument \"localhost:80\""),
        (&["--max-inactive", "-1"], "--max-inactive -1: "),
        (&["--timeout", "x"], "--timeout x: "),
        (&["--connect-timeout", "0"], "--connect-timeout 0: "),
        (&["--probe-after", "-1"], "--probe-after -1: "),
        (&["--quarantine", "-1"], "--quarantine -1: "),
        (&["--unsafe-requests", "never"], "--unsafe-requests never: "),
        (&["--max-connections-per-upstream", "0"], "--max-connections-per-upstream 0: "),
        (&["--max-waiting", "-1"], "--max-waiting -1: "),
        (&["--wait", "0"], "--wait 0: "),
        (&["--threads", "0"], "--threads 0: "),
        (&["--threads", "2", "--max-connections-per-upstream", "1"], "--max-connections-per-upstream 1: less than"),
        (&["--grace", "x"], "--grace x: "),
        (&["--seconds", "-1"], "--seconds -1: "),
        (&["--max-inactive", "1", "--max-inactive-per-peer", "2"], "--max-inactive-per-peer 2: "),
    ] {
        let output = Command::new(BINARY).args(args).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.starts_with(&format!("proxy: {named}")), "{error}");
        assert!(error.ends_with("\nTry proxy --help.\n"), "{error}");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{args:?}");
    }
}

#[test]
fn a_port_in_use_names_its_option() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for option in ["--listen", "--status"] {
        let output = Command::new(BINARY).args([option, &addr, "--upstream", "127.0.0.1:1"]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.starts_with(&format!("proxy: {option} {addr}: ")), "{error}");
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn a_name_to_listen_at_stands_for_all_its_addresses() {
    let mut command = Command::new(BINARY);
    command.args([
        "--listen",
        "localhost:0",
        "--upstream",
        "127.0.0.1:1",
        "--status",
        "127.0.0.1:0",
        "--seconds",
        "30",
    ]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let addrs: Vec<String> = lines
        .map_while(|line| line.strip_prefix("listening on http://").map(|addr| addr.trim_end_matches('/').to_string()))
        .collect();
    assert!(!addrs.is_empty());
    for addr in &addrs {
        assert!(TcpStream::connect(addr).is_ok(), "{addr}");
    }
    let ports: BTreeSet<_> = addrs.iter().map(|addr| addr.rsplit(':').next()).collect();
    assert_eq!(ports.len(), 1, "{addrs:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn upstreams_add_up_and_may_be_urls() {
    let named = |name: &'static str| Upstream::answering(move |_, _| ok(name));
    let [a, b, c] = [named("a"), named("b"), named("c")];
    let urls = format!("http://{}/,HTTP://{}", b.addr, c.addr);
    let proxy = Proxy::start(&[a.addr], &["--upstream", &urls]);
    let mut client = proxy.client();
    let answers: Vec<u8> = (0..6)
        .flat_map(|_| {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            client.response().body
        })
        .collect();
    assert_eq!(answers, b"abcabc");
}
