//! One client in event loops of many kinds: 1,000 requests in each, 64 at once, to a server that hangs up at times.
//!
//! `loops` runs them all, `loops NAME` one of them. Each checks its own result. What differs from loop to loop is in the
//! file of that loop; everything else is in `client`.

#[cfg(target_os = "linux")]
mod epoll;
#[cfg(unix)]
mod nested_calloop;
#[cfg(all(unix, feature = "glib"))]
mod nested_glib;
#[cfg(target_os = "linux")]
mod nested_io_uring;
#[cfg(unix)]
mod nested_polling;
#[cfg(unix)]
mod nested_tokio;

mod blocking;
mod client;
mod server;
mod two_threads;

use std::io;
use std::process::ExitCode;

/// How many events a turn of a nest has at most. With so few, the example shows that none is forgotten; 64 is a better
/// number.
#[cfg(unix)]
const EVENTS: usize = 4;

type Run = fn(&str) -> io::Result<()>;

const LOOPS: &[(&str, Run)] = &[
    #[cfg(target_os = "linux")]
    ("epoll-edge", epoll::run_edge_triggered),
    #[cfg(target_os = "linux")]
    ("epoll-level", epoll::run_level_triggered),
    #[cfg(unix)]
    ("polling", nested_polling::run),
    #[cfg(unix)]
    ("calloop", nested_calloop::run),
    #[cfg(unix)]
    ("tokio", nested_tokio::run),
    #[cfg(target_os = "linux")]
    ("io_uring", nested_io_uring::run),
    #[cfg(all(unix, feature = "glib"))]
    ("glib", nested_glib::run),
    ("two-threads", two_threads::run),
    ("blocking", blocking::run),
];

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1);
    let mut ran = 0;
    for (name, run) in LOOPS.iter().filter(|(name, _)| wanted.as_ref().is_none_or(|wanted| wanted == name)) {
        ran += 1;
        if let Err(error) = run(name) {
            eprintln!("{name}: {error}");
            return ExitCode::FAILURE;
        }
    }
    if ran == 0 {
        let names: Vec<_> = LOOPS.iter().map(|(name, _)| *name).collect();
        eprintln!("usage: loops [{}]", names.join(" | "));
        return ExitCode::from(2);
    }
    ExitCode::SUCCESS
}
