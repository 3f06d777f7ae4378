//! Ten thousand requests by one kind of peer, and what has to be true of them afterwards.

use super::origin::Origin;
use crate::json::Json;
use crate::program::{Running, start_fetch};
use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};
use testing::temp_dir::TempDir;

/// Besides the one that is held.
pub const REQUESTS: usize = 10_000;
/// By which the program hears of SIGINT and SIGTERM.
const SIGNALS_SOCKETS: usize = 3;
/// Longer than the slowest server takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(280);

/// Asks for `/held` and for ten thousand paths behind `url`, by eight connections at a time. While `/held` is being
/// waited for, all others are answered, and the server closes the connections; then the process must have one connection
/// and one file open, those of `/held`. Each request has to be in the origin's log exactly once, and each body has to be its own.
#[track_caller]
pub fn ten_thousand(name: &str, origin: &Origin, url: &str, options: &[&str]) -> Json {
    let began = Instant::now();
    let bodies = TempDir::new(&format!("{}-bodies", origin.nginx.address.port()));
    let path = |k| if k == 0 { "/held".to_owned() } else { format!("/uri/{k}") };
    let urls: Vec<String> = (0..=REQUESTS).map(|k| format!("{url}{}", path(k))).collect();
    let mut args = vec!["-q", "-c", "8", "--timeout", "600", "--linger", "60", "--output", bodies.path()];
    args.extend(options);
    args.extend(urls.iter().map(String::as_str));
    let mut fetch = start_fetch(&args);
    wait_for(&mut fetch, "all answers but one", |_| origin.nginx.log_so_far().0.len() >= REQUESTS);
    let body_of_held = format!("{}/0.part", bodies.path());
    wait_for(&mut fetch, "one open connection and one file alone", |open| {
        let sockets = open.iter().filter(|name| name.starts_with("socket:")).count();
        sockets == 1 + SIGNALS_SOCKETS && open.len() == sockets + 1 && open.contains(&body_of_held)
    });
    origin.release();
    let run = fetch.end();
    let requests = REQUESTS as u64 + 1;
    run.expect(&[("requests", requests), ("responses", requests), ("failed", 0), ("kept", 0), ("not_connected", 0)]);
    let report = run.report();
    let mut seen = BTreeMap::new();
    for (_, status, uri) in origin.nginx.log(REQUESTS + 1).0 {
        assert_eq!(status, 200, "{uri}");
        *seen.entry(uri).or_insert(0) += 1;
    }
    for k in 0..=REQUESTS {
        assert_eq!(bodies.read(k), Some(path(k).into_bytes()), "the body of request {k}");
        assert_eq!(seen.remove(&path(k)), Some(1), "how often request {k} is in the server's log");
    }
    assert!(seen.is_empty(), "nobody asked for {seen:?}");
    let number = |key| report.number(key);
    // A retried request is counted with the connection that was opened for it.
    assert_eq!(number("opened") + number("reused"), requests as f64, "{report:?}");
    println!(
        "{name}: {} opened, {} reused, {} retried, {} full and {} resumed handshakes, {} hung up; {:.1} s of {:.1} s",
        number("opened"),
        number("reused"),
        number("retried"),
        number("handshakes_full"),
        number("handshakes_resumed"),
        number("evicted.hung_up"),
        number("seconds"),
        began.elapsed().as_secs_f64(),
    );
    report
}

/// The connections that reached the origin are those of the report, and none served more than three requests.
#[track_caller]
pub fn end_to_end(origin: &Origin, report: &Json) {
    let connections = origin.nginx.log_so_far().connections();
    assert_eq!(connections.len() as f64, report.number("opened"), "{report:?}");
    assert!(connections.values().all(|&requests| requests <= 3));
}

/// Handshakes are counted once per connection, and most of them resume a session.
#[track_caller]
pub fn handshakes(report: &Json, is_tls: bool) {
    let (full, resumed) = (report.number("handshakes_full"), report.number("handshakes_resumed"));
    assert_eq!(full + resumed, if is_tls { report.number("opened") } else { 0.0 }, "{report:?}");
    // The first ones of all eight connections may find no session yet.
    assert!(full <= 8.0, "{report:?}");
}

/// Waits until it is true of what the process has open, the standard streams and the event loop apart.
#[track_caller]
fn wait_for(fetch: &mut Running, what: &str, mut is_true: impl FnMut(&[String]) -> bool) {
    let end = Instant::now() + PATIENCE;
    loop {
        let open = open_files(fetch.child.id());
        if is_true(&open) {
            return;
        }
        assert!(Instant::now() < end, "waited in vain for {what}; open: {open:?}");
        assert!(fetch.child.try_wait().unwrap().is_none(), "fetch ended before there was {what}");
        thread::sleep(Duration::from_millis(20)); // leaves the processor to those who work
    }
}

fn open_files(process: u32) -> Vec<String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{process}/fd")) else { return Vec::new() };
    let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let names = targets.map(|target| target.to_string_lossy().into_owned());
    names.filter(|name| !["pipe:", "anon_inode:", "/dev/null"].iter().any(|kind| name.starts_with(kind))).collect()
}
