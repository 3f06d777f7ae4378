//! The command line, the status page, and time.

use crate::harness::{BINARY, Client, Proxy, Upstream, field, ok};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[cfg(unix)]
#[test]
fn it_goes_on_though_nobody_reads_what_it_says() {
    for (args, status) in [(&["-vv", "--seconds", "0.1"][..], 0), (&["--help"], 0), (&["--sideways"], 2)] {
        let unread = || std::os::fd::OwnedFd::from(std::os::unix::net::UnixStream::pair().unwrap().0);
        let mut command = Command::new(BINARY);
        let ended = command.args(args).stdout(unread()).stderr(unread()).status().unwrap();
        assert_eq!(ended.code(), Some(status), "{args:?}");
    }
}

#[test]
fn it_ends_by_itself_when_told_for_how_long_to_run() {
    let upstream = Upstream::answering(|_, _| ok("x"));
    // So long that the client comes before, on any machine.
    let mut proxy = Proxy::start(&[upstream.addr], &["--seconds", "5", "--grace", "0.1"]);
    let mut client = proxy.client();
    client.send(GET);
    assert_eq!(client.response().status, 200);
    assert!(client.is_at_end());
    assert!(proxy.ended_well());
}

#[test]
fn the_status_page_tells_what_the_cache_does() {
    let upstream = Upstream::answering(|_, _| ok("x"));
    let proxy = Proxy::start(&[upstream.addr], &["--max-uses", "3"]);
    let mut client = proxy.client();
    for _ in 0..4 {
        client.send(GET);
        assert_eq!(client.response().status, 200);
    }
    for (name, value) in [("inserted", 2), ("handed_out", 2), ("missed", 2), ("max_uses", 1), ("inactive", 1)] {
        // The first `max_uses` is the limit, the second counts evictions.
        let value = if name == "max_uses" { 3 } else { value };
        assert_eq!(proxy.figure(name), value, "{name} in {}", proxy.json());
    }
    let json = proxy.json();
    assert!(json.contains("\"hit_ratio\":0.500000"), "{json}");
    assert!(
        json.contains(&format!(
            "\"peers\":[{{\"peer\":\"{}\",\"active\":0,\"inactive\":1,\"state\":\"up\"",
            upstream.addr
        )),
        "{json}"
    );
    assert!(json.contains("\"reason\":\"max_uses\",\"uses\":3}"), "{json}");
    assert_eq!(json.matches('{').count(), json.matches('}').count());
}

#[test]
fn the_status_page_is_one_document_that_needs_no_other() {
    let upstream = Upstream::answering(|_, _| ok("x"));
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = Client::connect(proxy.status);
    client.send("GET / HTTP/1.1\r\nHost: s\r\n\r\n");
    let response = client.response();
    assert_eq!(field(&response.head, "content-type"), Some("text/html; charset=utf-8"));
    let page = String::from_utf8(response.body).unwrap();
    assert!(page.contains("status.json"));
    for foreign in ["http://", "https://", "src=", "@import", "<link"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    client.send("GET /other HTTP/1.1\r\nHost: s\r\n\r\n");
    assert_eq!(client.response().status, 404);
    client.send("POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 1\r\n\r\nx");
    let response = client.response();
    assert_eq!((response.status, field(&response.head, "allow")), (405, Some("GET, HEAD")));
    client.send("HEAD /status.json HTTP/1.1\r\nHost: s\r\n\r\n");
    assert_eq!(client.response_to("HEAD").status, 200);
    client.send("GET /status.json HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert!(client.is_at_end());
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn the_figures_that_the_status_page_shows_are_there() {
    let upstream = Upstream::answering(|_, _| ok("x"));
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = Client::connect(proxy.status);
    client.send("GET / HTTP/1.1\r\nHost: s\r\n\r\n");
    let page = String::from_utf8(client.response().body).unwrap();
    let json = proxy.json();
    let mut shown = std::collections::BTreeSet::new();
    for of in ["now.", "cache.", "limits."] {
        for (at, _) in page.match_indices(of) {
            let name = page[at + of.len()..].split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
            assert!(json.contains(&format!("\"{name}\":")), "{of}{name} in {json}");
            shown.insert(name);
        }
    }
    for name in
        ["peers", "active", "inactive", "hit_ratio", "left", "recent", "handed_out_dead", "connect_failed", "failures"]
    {
        assert!(shown.contains(name), "{name} in {page}");
    }
}

#[test]
fn without_an_upstream_it_starts_one_and_prints_the_address_to_try() {
    // It ends by itself should the line that is waited for never come.
    let mut child = Command::new(BINARY).args(["--seconds", "20"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        lines.push(line);
        if lines.last().is_some_and(|line| line.starts_with("try: ")) {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let rest_of =
        |start: &str| lines.iter().find_map(|line| line.strip_prefix(start)).unwrap_or_else(|| panic!("{lines:?}"));
    assert!(rest_of("upstream at 127.0.0.1:").ends_with(", in this process"), "{lines:?}");
    let addr = rest_of("listening on ");
    assert_eq!(rest_of("try: curl -i "), addr);
    // Three clients, one after the other, and one upstream connection.
    for n in 1..=3 {
        assert_eq!(lines[n + 1], format!("GET {addr} -> request {n} on upstream connection 1"), "{lines:?}");
    }
}

#[test]
fn inactive_connections_end_with_their_idle_time() {
    let (tell, told) = mpsc::channel();
    let upstream = Upstream::start(move |mut conn, _| {
        conn.head();
        conn.send(&ok("x"));
        let ended = conn.is_at_end();
        tell.send(ended).unwrap();
    });
    let proxy = Proxy::start(&[upstream.addr], &["--idle-timeout", "0.1"]);
    let mut client = proxy.client();
    client.send(GET);
    assert_eq!(client.response().status, 200);
    assert!(told.recv().unwrap());
    proxy.wait_for_figure("idle_timeout", 1);
}

#[test]
fn connections_that_were_inactive_for_less_than_probe_after_are_reused_unprobed() {
    let upstream = Upstream::answering(|_, _| ok("x"));
    for (options, probes) in [(&[][..], 3), (&["--probe-after", "0"], 3), (&["--probe-after", "1000000"], 0)] {
        let proxy = Proxy::start(&[upstream.addr], options);
        let mut client = proxy.client();
        for _ in 0..4 {
            client.send(GET);
            assert_eq!(client.response().status, 200);
        }
        assert_eq!((proxy.figure("handed_out"), proxy.figure("probes")), (3, probes), "{options:?}");
    }
}

#[test]
fn inactive_connections_end_before_the_time_that_the_upstream_announced() {
    // The request's path is the time.
    let upstream = Upstream::answering(|head, _| {
        let seconds = head.split(' ').nth(1).unwrap().trim_start_matches('/').replace("%20", " ");
        format!("HTTP/1.1 204 No Content\r\nKeep-Alive: timeout={seconds}\r\n\r\n")
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    for seconds in [u64::MAX, u64::MAX / 1000, 1] {
        client.send(&format!("GET /{seconds} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.response().status, 204);
    }
    assert_eq!(upstream.accepted(), 1);
    proxy.wait_for_figure("deadline", 1);
    // No time is left where no request is.
    client.send("GET /60,%20max=0 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status, 204);
    proxy.wait_for_figure("deadline", 2);
}
