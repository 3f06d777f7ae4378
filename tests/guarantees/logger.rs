//! The process's logger. What a thread logs goes to the ear that the thread has lent, if it has.

use log::{LevelFilter, Log, Metadata, Record};
use std::cell::Cell;
use std::sync::Once;

type Ear = fn(&Record<'_>);

thread_local! {
    static EAR: Cell<Option<Ear>> = const { Cell::new(None) };
}

struct Logger;

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if let Some(ear) = EAR.get() {
            ear(record);
        }
    }

    fn flush(&self) {}
}

/// Has `ear` hear what this thread logs from now on.
pub fn listen(ear: Ear) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Logger).unwrap();
        log::set_max_level(LevelFilter::Trace);
    });
    EAR.set(Some(ear));
}
