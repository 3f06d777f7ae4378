//! Runs the program.

use crate::json::Json;
use std::io::Read;
use std::ops::RangeInclusive;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
pub use testing::temp_dir::TempDir;

/// The program as cargo built it for these tests.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_fetch");

/// Only a run that hangs takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many connections it takes to fetch 200 times, at most three at once, from servers that close after five requests:
/// 40 at best. A request that finds its connection closed goes by a new one, for which another inactive one is given up;
/// that may have served a single request. So each two serve six at least, the last three apart.
pub const FEW: RangeInclusive<f64> = 40.0..=68.0;

/// What a run of the program left behind.
pub struct Run {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Run {
    /// The report, which has to be one JSON object on the last line and to hold together.
    #[track_caller]
    pub fn report(&self) -> Json {
        let line = self.out.lines().last().unwrap_or_else(|| panic!("no report; {}", self.err));
        let report = Json::parse(line).unwrap_or_else(|| panic!("not JSON: {line}"));
        let number = |key| report.number(key);
        let all = number("responses") + number("failed") + number("unfinished");
        assert_eq!(all, number("requests"), "{line}\n{}", self.err);
        assert_eq!(report.sum("evicted") + number("kept"), number("opened"), "{line}\n{}", self.err);
        let failed = i32::from(number("failed") > 0.0);
        let status = if number("unfinished") > 0.0 { 130 } else { failed };
        assert_eq!(self.status, status, "{line}\n{}", self.err);
        report
    }

    /// Every number of the report that is named here is as stated.
    #[track_caller]
    pub fn expect(&self, numbers: &[(&str, u64)]) {
        let report = self.report();
        for &(key, number) in numbers {
            assert_eq!(report.number(key), number as f64, "{key} in {report:?}\n{}{}", self.out, self.err);
        }
    }
}

/// Runs `fetch --report json` with these arguments.
#[track_caller]
pub fn fetch(args: &[&str]) -> Run {
    start_fetch(args).end()
}

/// The same without waiting for its end.
#[track_caller]
pub fn start_fetch(args: &[&str]) -> Running {
    let mut command = Command::new(PROGRAM);
    command.args(["--report", "json"]).args(args);
    start(command)
}

/// Runs a command to its end.
#[track_caller]
pub fn run(command: Command) -> Run {
    start(command).end()
}

/// A command that runs. Killed when dropped.
pub struct Running {
    pub child: Child,
    out: mpsc::Receiver<String>,
    err: mpsc::Receiver<String>,
}

fn start(mut command: Command) -> Running {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (out, err) = (read(child.stdout.take().unwrap()), read(child.stderr.take().unwrap()));
    Running { child, out, err }
}

impl Running {
    /// Waits for its end.
    #[track_caller]
    pub fn end(mut self) -> Run {
        let (Ok(out), Ok(err)) = (self.out.recv_timeout(PATIENCE), self.err.recv_timeout(PATIENCE)) else {
            panic!("{:?} doesn't end", self.child);
        };
        Run { status: self.child.wait().unwrap().code().expect("ended by a signal"), out, err }
    }
}

/// What Ctrl-C does.
#[cfg(unix)]
pub fn interrupt(child: &Child) {
    let done = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(done.success());
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        let _ = sender.send(text);
    });
    receiver
}
