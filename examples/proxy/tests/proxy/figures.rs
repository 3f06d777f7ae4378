//! What the status page's address tells of the upstreams, and to Prometheus.

use crate::harness::{Client, Proxy, Upstream, field, nobody, ok, wait_until};
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

/// What the status page says of this upstream.
fn of_peer(proxy: &Proxy, addr: SocketAddr) -> String {
    let json = proxy.json();
    let start = json.find(&format!("{{\"peer\":\"{addr}\"")).unwrap_or_else(|| panic!("no {addr} in {json}"));
    json[start..].split('}').next().unwrap().to_string()
}

fn metrics(proxy: &Proxy) -> String {
    let mut client = Client::connect(proxy.status);
    client.send("GET /metrics HTTP/1.1\r\nHost: s\r\n\r\n");
    let response = client.response();
    assert_eq!(field(&response.head, "content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    String::from_utf8(response.body).unwrap()
}

/// A proxy with an upstream that answers `/die` by closing, and one that refuses; and what they were asked.
fn asked() -> (Proxy, Upstream, SocketAddr) {
    let upstream = Upstream::start(|mut conn, _| {
        loop {
            let head = conn.head();
            if head.is_empty() || head.starts_with("POST /die") {
                return;
            }
            conn.send(&ok("x"));
        }
    });
    let dead = nobody();
    let proxy = Proxy::start(&[upstream.addr, dead], &["--quarantine", "1000"]);
    let mut client = proxy.client();
    for _ in 0..4 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response().status, 200);
    }
    (proxy, upstream, dead)
}

#[test]
fn each_upstream_has_its_figures_and_failed_connects_do_not_count_as_misses() {
    let (proxy, upstream, dead) = asked();
    let well = of_peer(&proxy, upstream.addr);
    for part in ["\"state\":\"up\"", "\"requests\":4", "\"errors\":0", "\"connect_failed\":0", "\"inactive\":1"] {
        assert!(well.contains(part), "{part} in {well}");
    }
    assert!(!well.contains("null"), "{well}");
    let ill = of_peer(&proxy, dead);
    for part in ["\"state\":\"quarantined\"", "\"requests\":0", "\"connect_failed\":1", "\"mean_ms\":null"] {
        assert!(ill.contains(part), "{part} in {ill}");
    }
    // One connection opened, three requests on it.
    assert!(proxy.json().contains("\"hit_ratio\":0.750000"), "{}", proxy.json());

    let mut client = proxy.client();
    client.send("POST /die HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.response().status, 502);
    wait_until(|| of_peer(&proxy, upstream.addr).contains("\"errors\":1"), || of_peer(&proxy, upstream.addr));
}

#[test]
fn prometheus_is_told_the_same() {
    let (proxy, upstream, dead) = asked();
    let metrics = metrics(&proxy);
    for (name, labels, value) in [
        ("requests_total", String::new(), "4"),
        ("connections_opened_total", String::new(), "1"),
        ("connections_reused_total", String::new(), "3"),
        ("connections_left_total", "{reason=\"hung_up\"}".into(), "0"),
        ("upstream_up", format!("{{upstream=\"{}\"}}", upstream.addr), "1"),
        ("upstream_up", format!("{{upstream=\"{dead}\"}}"), "0"),
        ("upstream_requests_total", format!("{{upstream=\"{}\"}}", upstream.addr), "4"),
        ("upstream_connect_failures_total", format!("{{upstream=\"{dead}\"}}"), "1"),
        ("upstream_connections", format!("{{upstream=\"{}\",state=\"inactive\"}}", upstream.addr), "1"),
        ("upstream_response_seconds_bucket", format!("{{upstream=\"{}\",le=\"+Inf\"}}", upstream.addr), "4"),
        ("upstream_response_seconds_count", format!("{{upstream=\"{}\"}}", upstream.addr), "4"),
    ] {
        let line = format!("conncache_proxy_{name}{labels} {value}");
        assert!(metrics.lines().any(|of| of == line), "{line} in {metrics}");
    }
}

#[test]
#[ignore = "needs promtool, of the package prometheus"]
fn promtool_takes_the_metrics() {
    let (proxy, _upstream, _) = asked();
    let mut client = proxy.client();
    client.send("POST /die HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.response().status, 502);
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool can be started");
    child.stdin.take().unwrap().write_all(metrics(&proxy).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}
