//! An HTTP/1.1 reverse proxy.
//!
//! Upstream connections live in a connection cache, which owns them active and inactive; clients in this program's own
//! slab, under tokens of its own. Each thread has a loop, a cache and clients of its own. The loop is in this file, what an
//! event does in `drive`, a request's bytes in `client`, a response's in `answering`, the choice of the connection in
//! `upstream`, waiting for one in `line`, pipelined requests in `ahead`, the writes at the end of a turn in `writing`;
//! `pinning` is for connections that serve one client alone, `tunnel` for those that have left HTTP.

mod address;
mod ahead;
mod answering;
mod balance;
mod buffer;
mod client;
mod counts;
mod crew;
mod demo;
mod doors;
mod drive;
mod ending;
mod exchange;
mod figures;
mod journal;
mod latency;
mod line;
mod messages;
mod metrics;
mod names;
mod options;
mod pinning;
mod proxy;
mod status;
mod tunnel;
mod upstream;
mod writing;

use address::Listen;
use conncache::mio::net::TcpListener;
use conncache::mio::{Events, Poll, Waker};
use conncache::{AggressiveCache, Handled};
use crew::{Colleague, Crew, WAKE};
use http::signals::Signals;
use journal::Journal;
use names::Names;
use options::Options;
use proxy::{LISTENER, Proxy, SIGNAL, STATUS};
use std::io::{self, ErrorKind, Write};
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
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
    let listen = |listen: &Listen, option, threads| {
        doors::bind(listen, threads).map_err(|e| of_option(option, &listen.text, &e))
    };
    let (addrs, mut listeners) = listen(&options.listen, "--listen", options.threads)?;
    let status = options.status.as_ref().map(|status| listen(status, "--status", 1)).transpose()?;
    let (poll, mut proxy) = prepare(&options, 0)?;
    let signals = Signals::new(poll.registry(), SIGNAL)?;
    proxy.listen(listeners.remove(0), LISTENER)?;
    if options.threads > 1 {
        start_others(&options, listeners, &mut proxy.crew)?;
    }
    addrs.iter().for_each(|addr| say(&format!("listening on http://{addr}/")));
    if let Some((addrs, listeners)) = status {
        listeners.into_iter().try_for_each(|listeners| proxy.listen(listeners, STATUS))?;
        addrs.iter().for_each(|addr| say(&format!("status on http://{addr}/")));
    }
    if on_its_own {
        demo::start_client(addrs[0]);
    }
    let end = options.seconds.and_then(|seconds| proxy.now.checked_add(seconds));
    turn(poll, proxy, Some(signals), end)
}

/// What one thread works with.
fn prepare(options: &Options, thread: usize) -> io::Result<(Poll, Proxy)> {
    let poll = Poll::new()?;
    let cache = AggressiveCache::builder().limits(options.limits_of(thread)).probe_after(options.probe_after);
    let cache = cache.build(poll.registry())?;
    let mut proxy = Proxy::new(poll.registry(), cache, options.upstreams.clone(), options.times, Instant::now())?;
    proxy.reuse_always = options.reuse_always;
    proxy.min_rate = options.min_rate;
    proxy.trust_forwarded = options.trust_forwarded;
    if let Some(path) = &options.access_log {
        proxy.journal = Journal::open(path).map_err(|e| of_option("--access-log", path, &e))?;
    }
    let has_names = options.upstreams.iter().any(|upstream| upstream.name().is_some());
    if has_names || options.threads > 1 {
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        proxy.names = has_names.then(|| Names::new(Arc::clone(&waker), options.times.address, proxy.now));
        proxy.crew.waker = Some(waker);
    }
    Ok((poll, proxy))
}

/// Starts the threads besides the first one, and waits until they are ready.
fn start_others(options: &Options, listeners: Vec<Vec<TcpListener>>, crew: &mut Crew) -> io::Result<()> {
    let Some(first) = crew.waker.clone() else { return Ok(()) };
    let (tell_end, ended) = channel();
    crew.ended = Some(ended);
    for (at, listeners) in listeners.into_iter().enumerate() {
        let (orders, hear) = channel();
        let (poll, mut proxy) = prepare(options, at + 1)?;
        let Some(waker) = proxy.crew.waker.clone() else { continue };
        proxy.crew.orders = Some(hear);
        proxy.listen(listeners, LISTENER)?;
        let (first, tell_end) = (Arc::clone(&first), tell_end.clone());
        thread::Builder::new().name(format!("proxy {}", at + 1)).spawn(move || {
            let turned = panic::catch_unwind(AssertUnwindSafe(|| turn(poll, proxy, None, None)));
            let _ = tell_end.send(turned.unwrap_or_else(|_| Err(io::Error::other("a thread panicked"))));
            let _ = first.wake();
        })?;
        crew.others.push(Colleague { orders, waker, figures: None });
        crew.running += 1;
    }
    Ok(())
}

/// Turns a thread's loop until all is done.
fn turn(mut poll: Poll, mut proxy: Proxy, mut signals: Option<Signals>, end: Option<Instant>) -> io::Result<()> {
    let mut events = Events::with_capacity(1024);
    loop {
        let next = proxy.next_turn().into_iter().chain(end.filter(|_| !proxy.draining)).min();
        match poll.poll(&mut events, next.map(|at| at.saturating_duration_since(proxy.now))) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            done => done?,
        }
        proxy.now = Instant::now();
        for event in &events {
            match proxy.cache.handle_event(event) {
                Handled::Active { id, owner } => proxy.on_upstream(owner.0 as usize, id, event),
                Handled::Evicted(evicted) => proxy.note(evicted),
                Handled::Nothing => {}
                Handled::Rejected => match event.token() {
                    token @ (LISTENER | STATUS) => proxy.knock(token),
                    SIGNAL if !signals.as_mut().is_some_and(Signals::came) => {}
                    SIGNAL if proxy.draining => return Ok(()),
                    SIGNAL => proxy.drain(),
                    WAKE => {
                        proxy.take_addresses();
                        proxy.hear()?;
                    }
                    _ => proxy.on_host_event(event),
                },
            }
        }
        if !proxy.draining && end.is_some_and(|end| end <= proxy.now) {
            proxy.drain();
        }
        proxy.finish_turn();
        if proxy.crew.running == 0 && proxy.is_drained() {
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
