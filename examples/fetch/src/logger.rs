//! The log, to standard error.

use log::{LevelFilter, Log, Metadata, Record};
use std::io::{self, Write};

struct Logger;

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        // Nobody may be listening any more: no reason to stop.
        let _ = writeln!(io::stderr(), "{:5} {}: {}", record.level(), record.target(), record.args());
    }

    fn flush(&self) {}
}

/// Shows everything but single events.
pub fn start() {
    if log::set_logger(&Logger).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
}
