//! Ctrl-C: what is reported, and what is left on the disk.

use crate::program::{PROGRAM, TempDir, interrupt, start_fetch};
use crate::server::Server;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Waits until this is so.
#[track_caller]
fn wait_until(what: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !what() {
        assert!(Instant::now() < end, "waited in vain");
        thread::sleep(Duration::from_millis(5));
    }
}

fn names(dir: &TempDir) -> Vec<String> {
    let names = fs::read_dir(dir.path()).into_iter().flatten();
    let mut names: Vec<String> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn ctrl_c_prints_the_report_and_leaves_no_half_written_file() {
    let server = Server::start(|client, _| {
        client.echo(3)?;
        client.request()?;
        client.say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")?;
        client.request().map(|_| ())
    });
    let dir = TempDir::new("interrupted");
    let run = start_fetch(&["-c", "1", "-n", "9", "--output", dir.path(), &server.url("/")]);
    wait_until(|| fs::read_dir(dir.path()).is_ok() && dir.read("3.part").is_some_and(|body| body == b"half"));
    assert_eq!(names(&dir), ["0", "1", "2", "3.part"]);
    interrupt(&run.child);
    let run = run.end();
    run.expect(&[("responses", 3), ("failed", 0), ("unfinished", 6), ("opened", 1), ("evicted.closed", 1)]);
    assert_eq!((run.status, run.out.lines().count()), (130, 4), "{}", run.out);
    assert_eq!(names(&dir), ["0", "1", "2"]);
}

/// Interrupts the program when it has written its first line; the other lines.
fn interrupt_after_first_line(args: &[&str]) -> String {
    let mut child = Command::new(PROGRAM).args(args).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    interrupt(&child);
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    rest
}

/// Without it, each of these would go on for longer than anybody waits.
#[test]
fn ctrl_c_ends_the_demonstration_and_the_lingering_with_the_report() {
    let rest = interrupt_after_first_line(&["-n", "100000000000"]);
    assert!(rest.contains("\nrequests ") && rest.contains("\nunfinished "), "{rest}");
    let server = Server::start(|client, _| client.echo(9));
    let rest = interrupt_after_first_line(&["--linger", "4000000000", &server.url("/")]);
    assert!(rest.contains("\nrequests     1: 1 responses, 0 failed") && rest.contains("1 kept: "), "{rest}");
}
