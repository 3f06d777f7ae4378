//! An HTTP/1.1 client on one mio event loop and one connection cache. `fetch --help` tells how to use it.

mod args;
mod client;
mod conn;
mod demo;
mod dispatch;
mod exchange;
mod logger;
mod notes;
mod opening;
mod outcome;
mod part_file;
mod report;
mod routes;
mod screen;
mod server;
mod site;
mod stream;
mod trouble;
mod url;
mod via;

use crate::args::{CacheKind, Options};
use crate::client::{Client, Config, ConnCache};
use crate::report::Report;
use crate::screen::Screen;
use conncache::mio::Registry;
use conncache::{Aggressive, Cache, ConfigError, Policy, Restrictive};
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let options = match args::parse(std::env::args_os().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            let _ = io::stdout().write_all(args::USAGE.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            return complain(&format!("{problem}\nTry fetch --help."), 2);
        }
    };
    if options.verbose {
        logger::start();
    }
    let done = create_output(&options).and_then(|()| match options.wanted.is_empty() {
        true => demo::run(&options),
        false => run(options),
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Who reads the demonstration has seen enough. What happens to connections isn't told this way.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => ExitCode::from(130),
        Err(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<ConfigError>()) {
            Some(wrong) => {
                complain(&format!("option --{}: {wrong}\nTry fetch --help.", wrong.field().replace('_', "-")), 2)
            }
            None => complain(&error.to_string(), 1),
        },
    }
}

/// Says what is wrong, if anybody listens.
fn complain(what: &str, status: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "fetch: {what}");
    ExitCode::from(status)
}

/// Creates the directory for the bodies.
fn create_output(options: &Options) -> io::Result<()> {
    let Some(dir) = &options.output else { return Ok(()) };
    std::fs::create_dir_all(dir)
        .map_err(|error| io::Error::new(error.kind(), format!("--output {}: {error}", dir.display())))
}

/// Fetches what was asked for; whether all of it was answered.
fn run(mut options: Options) -> io::Result<bool> {
    let began = Instant::now();
    let wanted = std::mem::take(&mut options.wanted);
    let mut client = Client::new(Config::from(&options), |registry| build_cache(&options, registry))?;
    let mut screen = Screen::new(options.quiet);
    let fetched = client.fetch(wanted, options.repeat, &mut screen);
    let time = began.elapsed();
    let ended = fetched.and_then(|()| client.linger(options.linger, &mut screen));
    screen.clear();
    let totals = client.totals();
    let reported = Report { totals, stats: &client.stats(), time }.print_after(ended, &options);
    match reported {
        // Who reads the output has seen enough: what is left isn't fetched any more, and the exit status tells.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(totals.responses == totals.requests),
    }
}

/// The cache that the options ask for. Its kind is known only now, so the policy is boxed.
fn build_cache(options: &Options, registry: &Registry) -> io::Result<ConnCache> {
    let policy: Box<dyn Policy> = match options.cache {
        CacheKind::Aggressive => Box::new(Aggressive),
        CacheKind::Restrictive => Box::new(Restrictive),
    };
    let builder = Cache::with_policy(policy).max_connections_per_peer(options.connections.unwrap_or(2));
    let (mut builder, limits) = (builder, &options.limits);
    if let Some(time) = limits.idle_timeout {
        builder = builder.idle_timeout(time);
    }
    if let Some(time) = limits.max_lifetime {
        builder = builder.max_lifetime(time);
    }
    if let Some(connections) = limits.max_inactive {
        builder = builder.max_inactive(connections);
    }
    if let Some(connections) = limits.max_inactive_per_peer {
        builder = builder.max_inactive_per_peer(connections);
    }
    if let Some(times) = limits.max_uses {
        // To connect and use it for the first time is no reuse.
        builder = builder.max_uses(times.saturating_add(1));
    }
    builder.build(registry)
}
