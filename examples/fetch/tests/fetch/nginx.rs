//! Against nginx, whose own log has to agree with the report.
//!
//! `apt-get install nginx-light`, then `cargo test --release -p fetch nginx:: -- --ignored`.

use crate::program::{Run, fetch};
use std::fs;
use std::io::{Read, Write};
use testing::servers::Nginx;
use testing::temp_dir::TempDir;

const BLOCK: usize = 1 << 16;

/// An nginx with these lines in its `http` block. `/uri/...` is answered with the URI, other paths with files.
fn start(name: &str, settings: &str) -> Nginx {
    let nginx = Nginx::start(name, settings, "root DIR/files; location /uri/ { return 200 $request_uri; }");
    fs::create_dir(format!("{}/files", nginx.dir.path())).unwrap();
    nginx
}

/// The report and the log have to tell the same story. How many requests came by each connection.
#[track_caller]
fn agree(nginx: &Nginx, run: &Run, requests: usize) -> Vec<usize> {
    run.expect(&[("requests", requests as u64), ("responses", requests as u64), ("failed", 0)]);
    let report = run.report();
    let connections = nginx.log(requests).connections();
    assert_eq!(connections.values().sum::<usize>(), requests);
    assert_eq!(connections.len() as f64, report.number("opened"), "{report:?}");
    assert_eq!(report.number("opened") + report.number("reused"), requests as f64, "{report:?}");
    connections.into_values().collect()
}

/// Closes after three requests.
const CRUEL: &str = "keepalive_requests 3; keepalive_timeout 60s;";
/// Closes after a second without a request.
const IMPATIENT: &str = "keepalive_requests 1000000; keepalive_timeout 1s;";
const KIND: &str = "keepalive_requests 1000000; keepalive_timeout 60s;";

/// Ten times a thousand URLs through eight connections; each body has to be its own path.
fn ten_thousand(nginx: &Nginx, options: &[&str]) -> Run {
    let bodies = TempDir::new(&format!("bodies-{}", nginx.address.port()));
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
    let nginx = start("nginx-cruel", CRUEL);
    let run = ten_thousand(&nginx, &[]);
    let connections = agree(&nginx, &run, 10_000);
    assert!(connections.iter().all(|&requests| requests <= 3));
    assert!(run.report().number("reused") > 6_000.0, "{}", run.out);
}

#[test]
#[ignore = "needs nginx"]
fn a_server_that_closes_after_three_requests_answers_ten_thousand_pipelined() {
    let nginx = start("nginx-pipelined", CRUEL);
    let run = ten_thousand(&nginx, &["-p", "8"]);
    let connections = agree(&nginx, &run, 10_000);
    assert!(connections.iter().all(|&requests| requests <= 3));
    assert!(run.report().number("pipelined") > 2_000.0, "{}", run.out);
}

#[test]
#[ignore = "needs nginx"]
fn a_server_that_keeps_connections_needs_one_for_each_request_at_a_time() {
    for options in [&[][..], &["-p", "8"]] {
        let nginx = start("nginx-kind", KIND);
        let run = ten_thousand(&nginx, options);
        assert!(agree(&nginx, &run, 10_000).len() <= 8);
    }
}

#[test]
#[ignore = "needs nginx"]
fn connections_that_the_server_gives_up_are_evicted_for_that() {
    let nginx = start("nginx-idle", IMPATIENT);
    let run = fetch(&["-n", "4", "-c", "4", "--linger", "30", &nginx.url("/uri/x")]);
    agree(&nginx, &run, 4);
    assert_eq!(run.report().number("evicted.hung_up"), run.report().number("opened"), "{}", run.out);
}

#[test]
#[ignore = "needs nginx"]
fn a_restrictive_cache_keeps_connections_while_requests_wait_and_no_longer() {
    let nginx = start("nginx-restrictive", KIND);
    let run = fetch(&["-q", "-n", "1000", "-c", "8", "--cache", "restrictive", &nginx.url("/uri/x")]);
    assert_eq!(agree(&nginx, &run, 1_000).len(), 8);
    run.expect(&[("opened", 8), ("evicted.policy", 8), ("kept", 0)]);
}

#[test]
#[ignore = "needs nginx"]
fn without_reuse_a_connection_is_opened_for_each_request() {
    let nginx = start("nginx-no-reuse", KIND);
    let run = fetch(&["-q", "-n", "1000", "-c", "8", "--max-uses", "0", &nginx.url("/uri/x")]);
    assert_eq!(agree(&nginx, &run, 1_000), [1; 1_000]);
}

#[test]
#[ignore = "needs nginx"]
fn large_bodies_arrive_whole() {
    let nginx = start("nginx-large", KIND);
    let path = format!("{}/files/large", nginx.dir.path());
    let mut file = fs::File::create(&path).unwrap();
    for block in 0..1_600u32 {
        file.write_all(&block.to_le_bytes().repeat(BLOCK / 4)).unwrap();
    }
    let bodies = TempDir::new("nginx-large-bodies");
    let run = fetch(&["--timeout", "50", "-n", "3", "-c", "2", "--output", bodies.path(), &nginx.url("/large")]);
    agree(&nginx, &run, 3);
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
