//! An HTTP/1.1 reverse proxy on one loop and one thread.
//!
//! Upstream connections live in a connection cache, which owns them active and inactive; clients in this program's own
//! slab, under tokens of its own. The loop is in this file, what an event does in `drive`, a request's bytes in
//! `client`, a response's in `answering`, the choice of the connection in `upstream`, waiting for one in `line`;
//! `pinning` is for connections that serve one client alone, `tunnel` for those that have left HTTP.

mod address;
mod answering;
mod balance;
mod buffer;
mod client;
mod counts;
mod demo;
mod doors;
mod drive;
mod ending;
mod exchange;
mod journal;
mod latency;
mod line;
mod messages;
mod metrics;
mod options;
mod pinning;
mod proxy;
mod status;
mod tunnel;
mod upstream;

use conncache::mio::{Events, Poll};
use conncache::{AggressiveCache, Handled};
use journal::Journal;
use options::Options;
use proxy::{LISTENER, Proxy, SIGNAL, STATUS};
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let options = match options::parse(std::env::args_os().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            say(options::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(error) => return complain(&format!("{error}\nTry proxy --help."), 2),
    };
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error.to_string(), 1),
    }
}

/// Says something to whoever reads the output. A proxy that nobody listens to goes on.
fn say(what: &str) {
    let _ = writeln!(io::stdout(), "{what}");
}

/// Says what is wrong, if anybody listens.
fn complain(what: &str, status: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "proxy: {what}");
    ExitCode::from(status)
}

/// What went wrong, with the option that asked for it.
fn of_option(option: &str, value: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{option} {value}: {error}"))
}

fn run(mut options: Options) -> io::Result<()> {
    log::set_logger(&Stderr).map_err(|e| io::Error::other(e.to_string()))?;
    log::set_max_level(match options.verbose {
        0 => log::LevelFilter::Warn,
        1 => log::LevelFilter::Info,
        _ => log::LevelFilter::Debug,
    });
    let on_its_own = options.upstreams.is_empty();
    if on_its_own {
        options.upstreams.push(demo::start_upstream()?);
    }
    let mut poll = Poll::new()?;
    let mut signals = http::signals::Signals::new(poll.registry(), SIGNAL)?;
    let cache = AggressiveCache::builder().limits(options.limits).build(poll.registry())?;
    let mut now = Instant::now();
    let mut proxy = Proxy::new(poll.registry(), cache, options.upstreams, options.times, now)?;
    proxy.reuse_always = options.reuse_always;
    proxy.min_rate = options.min_rate;
    proxy.trust_forwarded = options.trust_forwarded;
    if let Some(path) = options.access_log {
        proxy.journal = Journal::open(&path).map_err(|e| of_option("--access-log", &path, &e))?;
    }
    let addrs = proxy.listen(&options.listen, LISTENER).map_err(|e| of_option("--listen", &options.listen.text, &e))?;
    addrs.iter().for_each(|addr| say(&format!("listening on http://{addr}/")));
    if let Some(status) = options.status {
        let addrs = proxy.listen(&status, STATUS).map_err(|e| of_option("--status", &status.text, &e))?;
        addrs.iter().for_each(|addr| say(&format!("status on http://{addr}/")));
    }
    if on_its_own {
        demo::start_client(addrs[0]);
    }

    let end = options.seconds.and_then(|seconds| now.checked_add(seconds));
    let mut events = Events::with_capacity(1024);
    loop {
        let next = proxy.next_turn().into_iter().chain(end.filter(|_| !proxy.draining)).min();
        match poll.poll(&mut events, next.map(|at| at.saturating_duration_since(now))) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            done => done?,
        }
        now = Instant::now();
        proxy.now = now;
        for event in &events {
            match proxy.cache.handle_event(event) {
                Handled::Active { id, owner } => proxy.on_upstream(owner.0 as usize, id, event),
                Handled::Evicted(evicted) => proxy.note(evicted),
                Handled::Nothing => {}
                Handled::Rejected => match event.token() {
                    token @ (LISTENER | STATUS) => proxy.knock(token),
                    SIGNAL if !signals.came() => {}
                    SIGNAL if proxy.draining => return Ok(()),
                    SIGNAL => proxy.drain(),
                    _ => proxy.on_host_event(event),
                },
            }
        }
        if !proxy.draining && end.is_some_and(|end| end <= now) {
            proxy.drain();
        }
        proxy.finish_turn();
        if proxy.is_drained() {
            return Ok(());
        }
    }
}

/// Writes the log to the standard error output.
struct Stderr;

impl log::Log for Stderr {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let _ = writeln!(io::stderr(), "{} {} {}", record.level(), record.target(), record.args());
        }
    }

    fn flush(&self) {}
}
