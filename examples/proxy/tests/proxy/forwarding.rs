//! What upstreams are told of the clients.

use crate::harness::{Client, Proxy, Upstream, ok};
use std::net::TcpStream;

/// The lines of this name, as the upstream sees them.
fn seen(client: &mut Client, lines: &str, name: &str) -> Vec<String> {
    client.send(&format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
    let head = String::from_utf8(client.response().body).unwrap();
    let lines = head.lines().filter(|line| line.to_ascii_lowercase().starts_with(name));
    lines.map(str::to_string).collect()
}

#[test]
fn upstreams_are_told_the_clients_address_and_nothing_that_the_client_says_of_itself() {
    let upstream = Upstream::answering(|head, _| ok(head));
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    for lines in ["", "X-Forwarded-For: 1.1.1.1\r\n", "x-forwarded-for: 1.1.1.1\r\nX-FORWARDED-FOR: 2.2.2.2\r\n"] {
        assert_eq!(seen(&mut client, lines, "x-f"), ["X-Forwarded-For: 127.0.0.1"]);
    }
    let lines = "X-Forwarded-Host: h\r\nX-Forwarded-Proto: https\r\nForwarded: for=1.1.1.1\r\nX-Forward: kept\r\n";
    assert_eq!(seen(&mut client, lines, "x-f"), ["X-Forward: kept", "X-Forwarded-For: 127.0.0.1"]);
    assert_eq!(seen(&mut client, lines, "forwarded"), [""; 0]);
    assert_eq!(seen(&mut client, "X-Real-IP: 1.1.1.1\r\n", "x-r"), [""; 0]);
}

/// In CGI, WSGI and the like an underscore in a name is as good as a hyphen.
#[test]
fn names_with_underscores_pass_for_no_others() {
    const LINES: &str = "X_Forwarded_For: 1.1.1.1\r\nx-forwarded_proto: https\r\nX_Real-IP: 1.1.1.1\r\nX_Own: kept\r\n";
    let upstream = Upstream::answering(|head, _| ok(head));
    for more in [&[][..], &["--trust-forwarded"]] {
        let proxy = Proxy::start(&[upstream.addr], more);
        assert_eq!(seen(&mut proxy.client(), LINES, "x"), ["X_Own: kept", "X-Forwarded-For: 127.0.0.1"], "{more:?}");
    }
}

/// CGI programs would take it for the proxy to be used for their own requests.
#[test]
fn a_line_called_proxy_is_not_passed_on() {
    let upstream = Upstream::answering(|head, _| ok(head));
    for more in [&[][..], &["--trust-forwarded"]] {
        let proxy = Proxy::start(&[upstream.addr], more);
        assert_eq!(seen(&mut proxy.client(), "Proxy: http://a/\r\nProxy-Way: b\r\n", "proxy"), ["Proxy-Way: b"]);
    }
}

#[test]
fn what_a_trusted_client_says_of_others_is_passed_on_and_added_to() {
    let upstream = Upstream::answering(|head, _| ok(head));
    let proxy = Proxy::start(&[upstream.addr], &["--trust-forwarded"]);
    let mut client = proxy.client();
    for (lines, all) in [
        ("", "127.0.0.1"),
        ("X-Forwarded-For: 1.1.1.1\r\n", "1.1.1.1, 127.0.0.1"),
        ("x-forwarded-for: 1.1.1.1, ::1\r\nX-FORWARDED-FOR: 2.2.2.2\r\n", "1.1.1.1, ::1, 2.2.2.2, 127.0.0.1"),
        // A line that concerns one connection goes no further.
        ("Connection: x-forwarded-for\r\nX-Forwarded-For: 1.1.1.1\r\n", "127.0.0.1"),
    ] {
        assert_eq!(seen(&mut client, lines, "x-f"), [format!("X-Forwarded-For: {all}")]);
    }
    let lines = "Forwarded: for=1.1.1.1\r\nX-Forwarded-Proto: https\r\n";
    assert_eq!(seen(&mut client, lines, "forwarded"), ["Forwarded: for=1.1.1.1"]);
    assert_eq!(seen(&mut client, lines, "x-forwarded-p"), ["X-Forwarded-Proto: https"]);
    assert_eq!(seen(&mut client, "X-Real-IP: 1.1.1.1\r\n", "x-r"), ["X-Real-IP: 1.1.1.1"]);
}

#[test]
fn header_lines_are_passed_on_as_they_came() {
    let upstream = Upstream::answering(|head, _| ok(head));
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let lines = "X-a:1\r\nx-B:  two \t\r\nX-Empty:\r\n";
    assert_eq!(
        seen(&mut proxy.client(), lines, "x-"),
        ["X-a:1", "x-B:  two \t", "X-Empty:", "X-Forwarded-For: 127.0.0.1"]
    );
}

#[test]
fn a_client_of_both_address_families_is_named_in_the_plain_form() {
    let upstream = Upstream::answering(|head, _| ok(head));
    let proxy = Proxy::start(&[upstream.addr], &["--listen", "[::]:0"]);
    for (to, name) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1")] {
        match TcpStream::connect((to, proxy.addr.port())) {
            Ok(stream) => {
                let mut client = Client::of(stream);
                assert_eq!(seen(&mut client, "", "x-f"), [format!("X-Forwarded-For: {name}")]);
            }
            Err(error) => eprintln!("no {to} here: {error}"),
        }
    }
}
