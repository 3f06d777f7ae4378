//! What is written of requests: the access log, and the log of failures.

use crate::harness::{PATIENCE, Proxy, Upstream, nobody, ok, wait_until};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::Duration;
use testing::temp_dir::TempDir;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

struct AccessLog(TempDir);

impl AccessLog {
    fn new(name: &str) -> AccessLog {
        let dir = TempDir::new(name);
        std::fs::create_dir(dir.path()).unwrap();
        AccessLog(dir)
    }

    fn path(&self) -> String {
        format!("{}/access", self.0.path())
    }

    /// The lines, once there are so many.
    fn lines(&self, count: usize) -> Vec<String> {
        let read = || String::from_utf8(self.0.read("access").unwrap_or_default()).unwrap();
        wait_until(|| read().matches('\n').count() >= count, || format!("{count} lines in {:?}", read()));
        read().lines().map(str::to_string).collect()
    }
}

/// The value behind `name=`.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let at = line.find(&format!(" {name}=")).unwrap_or_else(|| panic!("no {name} in {line}"));
    line[at + name.len() + 2..].split(' ').next().unwrap()
}

#[test]
fn each_request_is_a_line_of_the_access_log() {
    let upstream = Upstream::start(|mut conn, _| {
        loop {
            let head = conn.head();
            conn.body(&head);
            match head.split(' ').nth(1) {
                None => return,
                Some("/cut") => return conn.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"),
                Some("/chunks") => {
                    conn.send("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
                }
                Some(_) => conn.send(&ok(if head.starts_with("HEAD") { "" } else { "hello" })),
            }
        }
    });
    let log = AccessLog::new("access");
    let proxy = Proxy::start(&[upstream.addr], &["--access-log", &log.path()]);
    let peer = upstream.addr.to_string();
    let mut count = 0;
    for (request, upstream, method, path, status, bytes, end) in [
        ("GET /a?b=\"c\" HTTP/1.1\r\nHost: a\r\n\r\n", peer.as_str(), "GET", r#""/a?b=\"c\"""#, "200", "5", "whole"),
        ("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", &peer, "HEAD", "\"/\"", "200", "0", "whole"),
        (
            "POST /chunks HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
            &peer,
            "POST",
            "\"/chunks\"",
            "201",
            "3",
            "whole",
        ),
        ("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n", &peer, "GET", "\"/cut\"", "200", "2", "cut"),
        ("nonsense\r\n\r\n", "-", "-", "-", "400", "0", "whole"),
    ] {
        let mut client = proxy.client();
        let addr = client.stream().local_addr().unwrap().to_string();
        client.send(request);
        count += 1;
        let line = log.lines(count).pop().unwrap();
        let found = ["upstream", "client", "method", "path", "status", "bytes", "end"].map(|name| field(&line, name));
        assert_eq!(found, [upstream, &addr, method, path, status, bytes, end], "{line}");
        assert!(field(&line, "ms").parse::<u64>().is_ok(), "{line}");
        // Behind the year, which this test doesn't know.
        let time = line.split(' ').next().unwrap();
        let form: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(form, "0000-00-00T00:00:00.000Z");
    }
}

#[test]
fn a_client_that_left_and_requests_to_the_status_page_are_in_the_access_log_too() {
    let (tell, told) = mpsc::channel();
    let upstream = Upstream::start(move |mut conn, _| {
        conn.head();
        tell.send(()).unwrap();
        conn.is_at_end();
    });
    let log = AccessLog::new("access-left");
    let proxy = Proxy::start(&[upstream.addr], &["--access-log", &log.path()]);
    let mut client = proxy.client();
    client.send(GET);
    told.recv().unwrap();
    socket2::SockRef::from(&*client.stream()).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    let line = log.lines(1).pop().unwrap();
    assert_eq!((field(&line, "status"), field(&line, "end")), ("499", "left"));
    proxy.json();
    let line = log.lines(2).pop().unwrap();
    assert_eq!(["upstream", "path", "status"].map(|name| field(&line, name)), ["-", "\"/status.json\"", "200"]);
}

#[test]
fn the_access_log_may_be_the_standard_output() {
    let upstream = Upstream::answering(|_, _| ok("x"));
    let mut command = Command::new(crate::harness::BINARY);
    command.args(["--upstream", &upstream.addr.to_string(), "--access-log", "-", "--seconds", "30"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let listening = lines.next().unwrap();
    let addr = listening.strip_prefix("listening on http://").unwrap().trim_end_matches('/');
    let mut client = std::net::TcpStream::connect(addr).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(GET.as_bytes()).unwrap();
    assert_eq!(field(&lines.next().unwrap(), "status"), "200");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_access_log_that_can_not_be_opened_is_named() {
    let output = Command::new(crate::harness::BINARY).args(["--access-log", "/nowhere/at/all"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("--access-log /nowhere/at/all: "), "{complaint}");
}

#[test]
fn failures_are_warnings_that_name_all_who_are_concerned() {
    let dead = nobody();
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::start(move |mut conn, _| {
        conn.head();
        wait.lock().unwrap().recv().unwrap();
    });
    let proxy = Proxy::start(&[dead, upstream.addr], &[]);
    let mut client = proxy.client();
    let addr = client.stream().local_addr().unwrap();
    client.send("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    proxy.wait_for_log(&format!("WARN proxy::upstream event=refused peer={dead} addr={dead} error="));
    proxy.wait_for_log(&format!("upstream={dead} client={addr} method=POST path=\"/p\" ms="));
    proxy.wait_for_log(&format!("WARN proxy::upstream event=quarantine peer={dead}"));
    go.send(()).unwrap();
    assert_eq!(client.response().status, 502);
    proxy.wait_for_log("WARN proxy::drive event=failed status=502 started=false reason=");
    proxy.wait_for_log(&format!("upstream={} client={addr} method=POST path=\"/p\" ms=", upstream.addr));
    // What clients do wrong is told to those who ask for it.
    for (status, request) in [
        (400, "nonsense\r\n\r\n"),
        (501, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"),
        (501, "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        (505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    ] {
        let mut client = proxy.client();
        client.send(request);
        assert_eq!(client.response().status, status);
        proxy.wait_for_log(&format!("INFO proxy::drive event=failed status={status} "));
        assert!(!proxy.log().contains(&format!("WARN proxy::drive event=failed status={status} ")), "{}", proxy.log());
    }
}
