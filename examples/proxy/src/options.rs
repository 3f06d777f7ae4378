//! The command line.

use crate::address::{Listen, Upstream};
use conncache::Limits;
use lexopt::prelude::*;
use std::fmt::Display;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

pub const USAGE: &str = "\
An HTTP/1.1 reverse proxy that keeps its upstream connections in a connection cache.

usage: proxy [--listen HOST:PORT] [--upstream HOST:PORT[,HOST:PORT...]] [options]

  --listen HOST:PORT         accept clients at all addresses of this name; port 0: any port (default 127.0.0.1:0)
  --upstream HOST:PORT,...   send requests to these servers in turn; may be repeated; http://HOST[:PORT] is accepted,
                             too (default: a server in this process)
  --threads N                run N threads, each with its own loop, cache and listeners; limits on numbers are divided
                             among them (default 1)
  --status HOST:PORT         serve a status page, /status.json and /metrics there
  --access-log FILE          append a line for each request to FILE (-: standard output; the proxy waits for its reader)
  --max-inactive N           keep at most N inactive upstream connections (default 1024)
  --max-inactive-per-peer N  keep at most N inactive connections to one upstream (default: no limit)
  --idle-timeout SECS        close upstream connections that have been inactive this long (default 60)
  --probe-after MS           reuse a connection without a probe if it became inactive less than MS milliseconds ago: one
                             system call less, but more requests meet a connection that the upstream has closed
                             (default 0: always probe)
  --max-connections-per-upstream N
                             open at most N connections to one upstream; further requests wait in line (default: no
                             limit)
  --wait SECS                answer 503 if a request has waited this long (default: as --connect-timeout)
  --max-waiting N            answer 503 at once if N requests are waiting already (default: no limit)
  --max-lifetime SECS        close upstream connections that are this old (default: any age)
  --max-uses N               use each upstream connection for at most N requests (default: any number)
  --timeout SECS             give up after this long without progress, a response or a complete head (default 30)
  --min-rate BYTES           give up on a request whose body arrives at less than BYTES a second, on average over
                             --timeout (default 500; 0: any rate)
  --connect-timeout SECS     try the next address, then the next upstream, after this long (default 5)
  --address-time SECS        look upstreams' names up again after this long, or when none of a name's addresses can be
                             connected to (default 60)
  --quarantine SECS          don't use an upstream that failed for this long, if there are others (default 10)
  --unsafe-requests WHERE    where to send requests that can't be repeated: on a new connection or one inactive for less
                             than 1 s (new), or on any connection (reuse) (default new)
  --trust-forwarded          pass on what requests say about earlier clients (Forwarded, X-Forwarded-*, X-Real-IP), and
                             add to it
  --grace SECS               still answer requests for this long after SIGTERM (default 2)
  --seconds N                exit after N seconds (default: at SIGTERM or SIGINT)
  -v, -vv                    also log clients' mistakes and retries (-v), and evictions and what the cache does (-vv)
  -h, --help                 print this text

Times may have fractions. The head of a request or a response may have up to 32 KiB.

SIGTERM, SIGINT or --seconds drain the proxy: it accepts no new connections, answers requests that arrive within --grace
with Connection: close, and finishes requests in flight within --timeout. A second signal ends it at once.

If a client pipelines requests, up to 16 are in flight at once, as long as they change nothing (GET, HEAD, OPTIONS,
TRACE without a body). A client that ends its sending is still answered. If a client's connection is reset, or can't be
written to, its upstream connection is closed at once.

If an upstream connection fails before the first byte of the response, the request is sent again if it may be repeated
(GET, HEAD, OPTIONS, TRACE, PUT, DELETE; up to 32 KiB): on a new connection if the failed one was reused, otherwise to
the next upstream.

Without --upstream, the proxy makes a few requests itself to show the cache at work.";

#[derive(Clone, Debug)]
pub struct Options {
    pub listen: Listen,
    /// Empty: a server in this process.
    pub upstreams: Vec<Upstream>,
    pub status: Option<Listen>,
    pub limits: Limits,
    /// Connections that were inactive for less are not probed before they are used again.
    pub probe_after: Duration,
    pub times: Times,
    /// Requests that can't be repeated go on any inactive connection.
    pub reuse_always: bool,
    /// What requests say of clients before is passed on.
    pub trust_forwarded: bool,
    /// How many bytes of a request's body have to come in a second.
    pub min_rate: u64,
    pub access_log: Option<String>,
    pub seconds: Option<Duration>,
    /// Each with a loop, a cache and listeners of its own.
    pub threads: usize,
    pub verbose: u8,
}

/// How long the proxy waits.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// For progress: a head, a response, room to write.
    pub timeout: Duration,
    pub connect: Duration,
    /// For a connection to become free.
    pub wait: Duration,
    /// Before names are looked up again.
    pub address: Duration,
    /// Before an upstream that failed is tried again.
    pub quarantine: Duration,
    /// For further requests, once the end has begun.
    pub grace: Duration,
}

/// `None`: help was asked for.
pub fn parse(args: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Option<Options>, String> {
    let mut options = Options {
        listen: Listen { text: "127.0.0.1:0".into(), addrs: vec![SocketAddr::from(([127, 0, 0, 1], 0))] },
        upstreams: Vec::new(),
        status: None,
        limits: Limits::default(),
        probe_after: Duration::ZERO,
        times: Times {
            timeout: Duration::from_secs(30),
            connect: Duration::from_secs(5),
            wait: Duration::ZERO,
            address: Duration::from_secs(60),
            quarantine: Duration::from_secs(10),
            grace: Duration::from_secs(2),
        },
        reuse_always: false,
        trust_forwarded: false,
        min_rate: 500,
        access_log: None,
        seconds: None,
        threads: 1,
        verbose: 0,
    };
    options.limits.max_inactive = Some(1024);
    options.limits.idle_timeout = Some(Duration::from_secs(60));
    let mut wait = None;
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next().map_err(text)? {
        match arg {
            Long("listen") => options.listen = value(&mut parser, "--listen")?,
            Long("status") => options.status = Some(value(&mut parser, "--status")?),
            Long("upstream") => {
                let list = parser.value().and_then(ValueExt::string).map_err(text)?;
                for item in list.split(',') {
                    options.upstreams.push(item.parse().map_err(|e| format!("--upstream {item}: {e}"))?);
                }
            }
            Long("max-inactive") => options.limits.max_inactive = Some(value(&mut parser, "--max-inactive")?),
            Long("max-inactive-per-peer") => {
                options.limits.max_inactive_per_peer = Some(value(&mut parser, "--max-inactive-per-peer")?);
            }
            Long("max-connections-per-upstream") => {
                let most = value(&mut parser, "--max-connections-per-upstream")?;
                if most == 0 {
                    return Err("--max-connections-per-upstream 0: nothing could be answered".into());
                }
                options.limits.max_connections_per_peer = Some(most);
            }
            Long("max-waiting") => options.limits.max_waiting = Some(value(&mut parser, "--max-waiting")?),
            Long("wait") => wait = Some(seconds(&mut parser, "--wait")?),
            Long("max-uses") => options.limits.max_uses = Some(value(&mut parser, "--max-uses")?),
            Long("idle-timeout") => options.limits.idle_timeout = Some(seconds(&mut parser, "--idle-timeout")?),
            Long("probe-after") => options.probe_after = time(&mut parser, "--probe-after", 1e3)?,
            Long("max-lifetime") => {
                let lifetime = seconds(&mut parser, "--max-lifetime")?;
                options.limits.max_lifetime = Some(lifetime);
                // So that connections made together don't end together.
                options.limits.lifetime_jitter = lifetime / 10;
            }
            Long("timeout") => {
                options.times.timeout = seconds(&mut parser, "--timeout")?;
                if options.times.timeout.is_zero() {
                    return Err("--timeout 0: nothing could be answered".into());
                }
            }
            Long("connect-timeout") => {
                options.times.connect = seconds(&mut parser, "--connect-timeout")?;
                if options.times.connect.is_zero() {
                    return Err("--connect-timeout 0: nothing could be connected to".into());
                }
            }
            Long("grace") => options.times.grace = seconds(&mut parser, "--grace")?,
            Long("address-time") => options.times.address = seconds(&mut parser, "--address-time")?,
            Long("quarantine") => options.times.quarantine = seconds(&mut parser, "--quarantine")?,
            Long("unsafe-requests") => {
                let text: String = value(&mut parser, "--unsafe-requests")?;
                options.reuse_always = match text.as_str() {
                    "new" => false,
                    "reuse" => true,
                    _ => return Err(format!("--unsafe-requests {text}: neither new nor reuse")),
                };
            }
            Long("access-log") => options.access_log = Some(value(&mut parser, "--access-log")?),
            Long("min-rate") => options.min_rate = value(&mut parser, "--min-rate")?,
            Long("trust-forwarded") => options.trust_forwarded = true,
            Long("threads") => {
                options.threads = value(&mut parser, "--threads")?;
                if options.threads == 0 {
                    return Err("--threads 0: nobody would do the work".into());
                }
            }
            Long("seconds") => options.seconds = Some(seconds(&mut parser, "--seconds")?),
            Short('v') => options.verbose += 1,
            Short('h') | Long("help") => return Ok(None),
            other => return Err(other.unexpected().to_string()),
        }
    }
    if let Some(most) = options.limits.max_connections_per_peer.filter(|&most| most < options.threads) {
        return Err(format!("--max-connections-per-upstream {most}: less than one for each of --threads"));
    }
    if wait.is_some_and(|wait| wait.is_zero()) {
        return Err("--wait 0: nobody could wait; --max-waiting 0 says so".into());
    }
    options.times.wait = wait.unwrap_or(options.times.connect);
    if let Limits { max_inactive: Some(all), max_inactive_per_peer: Some(per_peer), .. } = options.limits {
        if per_peer > all {
            return Err(format!("--max-inactive-per-peer {per_peer}: more than --max-inactive, {all}"));
        }
    }
    Ok(Some(options))
}

impl Options {
    /// What is this thread's of all limits on numbers.
    pub fn limits_of(&self, thread: usize) -> Limits {
        let mut limits = self.limits.clone();
        for limit in [
            &mut limits.max_inactive,
            &mut limits.max_inactive_per_peer,
            &mut limits.max_connections_per_peer,
            &mut limits.max_waiting,
        ] {
            *limit = limit.map(|most| most / self.threads + usize::from(thread < most % self.threads));
        }
        limits
    }
}

fn text(error: lexopt::Error) -> String {
    error.to_string()
}

fn value<T: FromStr<Err: Display>>(parser: &mut lexopt::Parser, option: &str) -> Result<T, String> {
    let text = parser.value().and_then(ValueExt::string).map_err(text)?;
    text.parse().map_err(|e| format!("{option} {text}: {e}"))
}

fn seconds(parser: &mut lexopt::Parser, option: &str) -> Result<Duration, String> {
    time(parser, option, 1.0)
}

/// A time in units of which a second has so many.
fn time(parser: &mut lexopt::Parser, option: &str, units: f64) -> Result<Duration, String> {
    let number: f64 = value(parser, option)?;
    Duration::try_from_secs_f64(number / units).map_err(|e| format!("{option} {number}: {e}"))
}
