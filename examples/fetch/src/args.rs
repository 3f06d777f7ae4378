//! The command line.

use crate::demo;
use crate::url::Url;
use crate::via::{Proxy, Settings, Via, Wanted};
use http::trust::Trust;
use lexopt::{Arg, Parser, ValueExt};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

pub const USAGE: &str = "\
Fetches URLs over as few connections as possible. Without a URL, runs a demonstration with a server of its own.

usage: fetch [OPTIONS] [URL...]    (http://HOST[:PORT]/PATH, or https)
  -n, --repeat N                 fetch the list of URLs N times (1)
  -c, --connections N            open at most N connections to a peer (2), for all users together
  -p, --pipeline N               send at most N requests at a time on a connection (1)
  -I, --head                     fetch only the heads
      --cache KIND               aggressive (keeps connections open, the default) or restrictive (keeps one only if a
                                 request waits for it)
      --idle-timeout SECS        close connections that have been inactive this long
      --max-lifetime SECS        close connections that are this old
      --max-inactive N           keep at most N inactive connections, not counting those that a request waits for
      --max-inactive-per-peer N  the same for each peer
      --max-uses N               reuse a connection at most N times
      --timeout SECS             time-out of a request, including all that goes before it (30)
      --connect-timeout SECS     time-out of connecting, over all addresses of a name (10)
      --handshake-timeout SECS   time-out of the handshakes with a proxy and in TLS (10)
      --address-time SECS        look a name up again after this long, even one that had no address (60)
      --linger SECS              after the last response, watch the inactive connections for at most this long, or until
                                 none is left (0)
      --output DIR               write body k (counted from 0, in the order of requests) to DIR/k
      --report text|json         format of the final report, on standard output (text)
  -q, --quiet                    don't print a line for each response
  -v                             print the log to standard error
  -h, --help                     print this text

How to reach the servers, and which certificates to trust. Each option applies to the URLs after it; the first of each
kind also applies to those before it.
      --proxy http://[USER:PASS@]HOST[:PORT]
                                 use an HTTP proxy (port 80): a tunnel for https, requests in absolute form for http.
                                 Percent-encode % and other special characters in USER and PASS
      --tunnel                   use a tunnel for http, too, for all URLs
      --socks5 [USER:PASS@]HOST[:PORT]
                                 use a SOCKS5 proxy (port 1080), which resolves the names
      --unix PATH                connect to a Unix-domain socket
      --cacert FILE              trust the authorities in this PEM file, and no others. A server's own self-signed
                                 certificate may be among them
      --insecure                 accept any certificate: anybody on the way can read and change everything

Connections are kept by the server's name, and never shared between users of a proxy or between settings of trust.

The addresses of a name are tried one after another, a quarter of a second apart or as soon as the last one has failed.
The first that connects is used, and is tried first for the next connection. If a connection fails later, for example in
a handshake, no other address is tried. If a proxy refuses a tunnel or its user (407), the request fails. Other answers
that a proxy gives in place of a server count as responses.

The head of a response may have up to 64 KiB and 128 lines. Body k is written to DIR/k.part, which is renamed when it is
complete. Ctrl-C and SIGTERM end the program with the report; a second one ends it at once.

exit status: 0 if every request got a response, 1 if some failed, 2 for wrong usage, 130 after a signal
";

/// What the user wants.
#[derive(Clone)]
pub struct Options {
    pub wanted: Vec<Wanted>,
    pub repeat: u64,
    /// `None`: two, but for the demonstration.
    pub connections: Option<usize>,
    pub pipeline: usize,
    pub head: bool,
    pub cache: CacheKind,
    pub limits: Limits,
    pub timeout: Duration,
    pub connect_timeout: Duration,
    pub handshake_timeout: Duration,
    pub address_time: Duration,
    /// Whether also http URLs go through a proxy's tunnel.
    pub tunnel: bool,
    pub linger: Duration,
    pub output: Option<PathBuf>,
    pub json: bool,
    pub quiet: bool,
    pub verbose: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheKind {
    Aggressive,
    Restrictive,
}

/// The cache's limits, as given; `None`: the cache's default.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    pub idle_timeout: Option<Duration>,
    pub max_lifetime: Option<Duration>,
    pub max_inactive: Option<usize>,
    pub max_inactive_per_peer: Option<usize>,
    pub max_uses: Option<u32>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            wanted: Vec::new(),
            repeat: 1,
            connections: None,
            pipeline: 1,
            head: false,
            cache: CacheKind::Aggressive,
            limits: Limits::default(),
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            address_time: Duration::from_secs(60),
            tunnel: false,
            linger: Duration::ZERO,
            output: None,
            json: false,
            quiet: false,
            verbose: false,
        }
    }
}

/// The options, or `None` if help is wanted. Takes the arguments without the program's name. An error names the option and the value.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Option<Options>, String> {
    let mut options = Options::default();
    let mut settings = Settings::default();
    // Without one there is nothing that these could hold for.
    let mut needs_url = None;
    let mut parser = Parser::from_args(args);
    while let Some(arg) = parser.next().map_err(|error| error.to_string())? {
        let option = match arg {
            Arg::Short(letter) => format!("-{letter}"),
            Arg::Long(name) => format!("--{name}"),
            Arg::Value(text) => {
                let text = text.string().map_err(|error| format!("URL: {error}"))?;
                settings.url(Url::parse(&text).map_err(|problem| match text.contains('@') {
                    true => format!("URL: {problem}"), // there may be a password in it
                    false => format!("URL {text:?}: {problem}"),
                })?);
                continue;
            }
        };
        if ["--proxy", "--socks5", "--tunnel", "--unix", "--cacert", "--insecure"].contains(&option.as_str()) {
            needs_url.get_or_insert_with(|| option.clone());
        }
        let mut value = || {
            let value = parser.value().map_err(|_| format!("option {option} lacks its value"))?;
            value.string().map_err(|error| format!("option {option}: {error}"))
        };
        let wrong = |value: &str, problem: &str| Err(format!("option {option}: {value:?} {problem}"));
        match option.as_str() {
            "-n" | "--repeat" => options.repeat = number(&option, &value()?, 1)?,
            "-c" | "--connections" => options.connections = Some(number(&option, &value()?, 1)?),
            "-p" | "--pipeline" => options.pipeline = number(&option, &value()?, 1)?,
            "-I" | "--head" => options.head = true,
            "--cache" => {
                options.cache = match value()?.as_str() {
                    "aggressive" => CacheKind::Aggressive,
                    "restrictive" => CacheKind::Restrictive,
                    other => return wrong(other, "is neither aggressive nor restrictive"),
                }
            }
            "--idle-timeout" => options.limits.idle_timeout = Some(seconds(&option, &value()?)?),
            "--max-lifetime" => options.limits.max_lifetime = Some(seconds(&option, &value()?)?),
            "--max-inactive" => options.limits.max_inactive = Some(number(&option, &value()?, 0)?),
            "--max-inactive-per-peer" => {
                options.limits.max_inactive_per_peer = Some(number(&option, &value()?, 0)?);
            }
            "--max-uses" => options.limits.max_uses = Some(number(&option, &value()?, 0)?),
            "--timeout" | "--connect-timeout" | "--handshake-timeout" => {
                let given = value()?;
                let time = seconds(&option, &given)?;
                if time.is_zero() {
                    return wrong(&given, "leaves no time");
                }
                match option.as_str() {
                    "--timeout" => options.timeout = time,
                    "--connect-timeout" => options.connect_timeout = time,
                    _ => options.handshake_timeout = time,
                }
            }
            "--proxy" => match Proxy::http(&value()?) {
                Some(proxy) => settings.via(Via::HttpProxy(proxy)),
                None => {
                    return Err("option --proxy: its value is not of the form http://[USER:PASS@]HOST[:PORT]".into());
                }
            },
            "--socks5" => match Proxy::socks5(&value()?) {
                Some(proxy) => settings.via(Via::Socks5(proxy)),
                None => return Err("option --socks5: its value is not of the form [USER:PASS@]HOST[:PORT]".into()),
            },
            "--tunnel" => options.tunnel = true,
            "--unix" | "--output" => match (value()?, option.as_str()) {
                (path, _) if path.is_empty() => return wrong("", "is not a path"),
                (path, "--unix") => settings.via(Via::Unix(path.into())),
                (path, _) => options.output = Some(path.into()),
            },
            "--cacert" => {
                let file = value()?;
                let problem = |error| format!("option {option}: {file:?}: {error}");
                let trust = Trust::Authorities(std::fs::read(&file).map_err(problem)?);
                trust.config().map_err(problem)?;
                settings.trust(trust);
            }
            "--insecure" => settings.trust(Trust::Anybody),
            "--address-time" => options.address_time = seconds(&option, &value()?)?,
            "--linger" => options.linger = seconds(&option, &value()?)?,
            "--report" => {
                options.json = match value()?.as_str() {
                    "text" => false,
                    "json" => true,
                    other => return wrong(other, "is neither text nor json"),
                }
            }
            "-q" | "--quiet" => options.quiet = true,
            "-v" => options.verbose = true,
            "-h" | "--help" => return Ok(None),
            _ => return Err(format!("there is no option {option}")),
        }
    }
    options.wanted = settings.wanted();
    if let (true, Some(option)) = (options.wanted.is_empty(), needs_url) {
        return Err(format!("option {option} needs a URL"));
    }
    let list = if options.wanted.is_empty() { demo::ALL_REQUESTS } else { options.wanted.len() as u64 };
    if options.repeat.checked_mul(list).is_none() {
        return Err(format!("option --repeat: \"{}\" is too many", options.repeat));
    }
    Ok(Some(options))
}

fn number<T: TryFrom<u64>>(option: &str, value: &str, least: u64) -> Result<T, String> {
    let number = value.parse().ok().filter(|&number: &u64| number >= least).and_then(|number| number.try_into().ok());
    number.ok_or_else(|| format!("option {option}: {value:?} is not a number from {least} on"))
}

fn seconds(option: &str, value: &str) -> Result<Duration, String> {
    let plain = value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let time = value.parse().ok().filter(|_| plain).and_then(|time| Duration::try_from_secs_f64(time).ok());
    // So that it can be added to any time of this program's.
    let time = time.filter(|time| time.as_secs() < 1 << 32);
    time.ok_or_else(|| format!("option {option}: {value:?} is not a number of seconds"))
}
