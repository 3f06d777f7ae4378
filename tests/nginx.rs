//! The fetch example against nginx, whose own log has to agree with the report.
//!
//! `apt-get install nginx-light`, then `cargo test --release --test nginx -- --ignored`.

#[path = "fetch/json.rs"]
mod json;
#[path = "fetch/program.rs"]
mod program;

use program::{Run, TempDir, fetch};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(30);
const BLOCK: usize = 1 << 16;

/// An nginx of this test's own, stopped when dropped.
struct Nginx {
    process: Child,
    dir: TempDir,
    port: u16,
}

impl Nginx {
    /// Starts it with these lines in its `http` block. `/uri/...` is answered with the URI, other paths with files.
    fn start(name: &str, settings: &str) -> Nginx {
        let dir = TempDir::new(name);
        let d = dir.path();
        fs::create_dir_all(format!("{d}/files")).unwrap();
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|of| format!("{of}_temp_path {d}/{of};"))
                .concat();
            let config = format!(
                "daemon off; master_process off; user root; pid {d}/nginx.pid; error_log {d}/error.log; events {{}}
                http {{
                    log_format counted '$connection $connection_requests $status $uri';
                    access_log {d}/access.log counted;
                    {temp} {settings}
                    server {{
                        listen 127.0.0.1:{port};
                        root {d}/files;
                        location /uri/ {{ return 200 $uri; }}
                    }}
                }}"
            );
            fs::write(format!("{d}/nginx.conf"), config).unwrap();
            let mut command = Command::new("nginx");
            command.args(["-c", &format!("{d}/nginx.conf")]).stderr(Stdio::null());
            let mut process = command.spawn().expect("nginx isn't installed: apt-get install nginx-light");
            let end = Instant::now() + PATIENCE;
            while Instant::now() < end && process.try_wait().unwrap().is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Nginx { process, dir, port };
                }
                thread::sleep(Duration::from_millis(5));
            }
            let _ = process.kill(); // somebody else took the port, perhaps
            let _ = process.wait();
        }
        panic!("nginx doesn't start: {}", fs::read_to_string(format!("{d}/error.log")).unwrap_or_default());
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// How many requests came by each connection, once there are `requests` in the log: a line is written behind its
    /// response.
    fn requests(&self, requests: usize) -> BTreeMap<u64, usize> {
        let end = Instant::now() + PATIENCE;
        loop {
            let log = fs::read_to_string(format!("{}/access.log", self.dir.path())).unwrap();
            if log.lines().count() >= requests || Instant::now() > end {
                let mut connections = BTreeMap::new();
                for line in log.lines() {
                    *connections.entry(line.split(' ').next().unwrap().parse().unwrap()).or_default() += 1;
                }
                return connections;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The report and the log have to tell the same story. How many requests came by each connection.
    #[track_caller]
    fn agree(&self, run: &Run, requests: usize) -> Vec<usize> {
        run.expect(&[("requests", requests as u64), ("responses", requests as u64), ("failed", 0)]);
        let report = run.report();
        let connections = self.requests(requests);
        assert_eq!(connections.values().sum::<usize>(), requests);
        assert_eq!(connections.len() as f64, report.number("opened"), "{report:?}");
        assert_eq!(report.number("opened") + report.number("reused"), requests as f64, "{report:?}");
        connections.into_values().collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Closes after three requests, and after a second without one.
const CRUEL: &str = "keepalive_requests 3; keepalive_timeout 1s;";
const KIND: &str = "keepalive_requests 1000000; keepalive_timeout 60s;";

/// Ten times a thousand URLs through eight connections; each body has to be its own path.
fn ten_thousand(nginx: &Nginx, options: &[&str]) -> Run {
    let bodies = TempDir::new(&format!("bodies-{}", nginx.port));
    let urls: Vec<String> = (0..1_000).map(|k| nginx.url(&format!("/uri/{k}"))).collect();
    let mut args = vec!["-q", "-n", "10", "-c", "8", "--output", bodies.path()];
    args.extend(options);
    args.extend(urls.iter().map(String::as_str));
    let run = fetch(&args);
    for k in 0..10_000 {
        assert_eq!(bodies.read(k), Some(format!("/uri/{}", k % 1_000).into_bytes()), "{k}");
    }
    run
}

#[test]
#[ignore = "needs nginx"]
fn a_server_that_closes_after_three_requests_answers_ten_thousand() {
    let nginx = Nginx::start("nginx-cruel", CRUEL);
    let run = ten_thousand(&nginx, &[]);
    let connections = nginx.agree(&run, 10_000);
    assert!(connections.iter().all(|&requests| requests <= 3));
    assert!(run.report().number("reused") > 6_000.0, "{}", run.out);
}

#[test]
#[ignore = "needs nginx"]
fn a_server_that_closes_after_three_requests_answers_ten_thousand_pipelined() {
    let nginx = Nginx::start("nginx-pipelined", CRUEL);
    let run = ten_thousand(&nginx, &["-p", "8"]);
    let connections = nginx.agree(&run, 10_000);
    assert!(connections.iter().all(|&requests| requests <= 3));
    assert!(run.report().number("pipelined") > 2_000.0, "{}", run.out);
}

#[test]
#[ignore = "needs nginx"]
fn a_server_that_keeps_connections_needs_one_for_each_request_at_a_time() {
    for options in [&[][..], &["-p", "8"]] {
        let nginx = Nginx::start("nginx-kind", KIND);
        let run = ten_thousand(&nginx, options);
        assert!(nginx.agree(&run, 10_000).len() <= 8);
    }
}

#[test]
#[ignore = "needs nginx"]
fn connections_that_the_server_gives_up_are_evicted_for_that() {
    let nginx = Nginx::start("nginx-idle", CRUEL);
    let run = fetch(&["-n", "4", "-c", "4", "--linger", "30", &nginx.url("/uri/x")]);
    nginx.agree(&run, 4);
    assert_eq!(run.report().number("evicted.hung_up"), run.report().number("opened"), "{}", run.out);
}

#[test]
#[ignore = "needs nginx"]
fn a_restrictive_cache_opens_a_connection_for_each_request() {
    let nginx = Nginx::start("nginx-restrictive", KIND);
    let run = fetch(&["-q", "-n", "1000", "-c", "8", "--cache", "restrictive", &nginx.url("/uri/x")]);
    assert_eq!(nginx.agree(&run, 1_000), [1; 1_000]);
}

#[test]
#[ignore = "needs nginx"]
fn large_bodies_arrive_whole() {
    let nginx = Nginx::start("nginx-large", KIND);
    let path = format!("{}/files/large", nginx.dir.path());
    let mut file = fs::File::create(&path).unwrap();
    for block in 0..1_600u32 {
        file.write_all(&block.to_le_bytes().repeat(BLOCK / 4)).unwrap();
    }
    let bodies = TempDir::new("nginx-large-bodies");
    let run = fetch(&["-n", "3", "-c", "2", "--output", bodies.path(), &nginx.url("/large")]);
    nginx.agree(&run, 3);
    run.expect(&[("body_bytes", 3 * 1_600 * BLOCK as u64), ("opened", 2)]);
    for k in 0..3 {
        let mut body = fs::File::open(format!("{}/{k}", bodies.path())).unwrap();
        let mut buffer = vec![0; BLOCK];
        for block in 0..1_600u32 {
            body.read_exact(&mut buffer).unwrap();
            assert!(buffer == block.to_le_bytes().repeat(BLOCK / 4), "block {block} of body {k}");
        }
        assert_eq!(body.read(&mut buffer).unwrap(), 0);
    }
}
