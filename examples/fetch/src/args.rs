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
Fetches URLs over as few connections as possible. Without a URL: a demonstration, with a server of its own.

usage: fetch [OPTIONS] [URL...]    (http://HOST[:PORT]/PATH, or https)
  -n, --repeat N                 go through the list N times (1)
  -c, --connections N            at most N connections to a peer (2), whoever its users are
  -p, --pipeline N               at most N requests in flight on a connection (1)
  -I, --head                     ask for the heads alone
      --cache KIND               aggressive (keeps connections open, the default) or restrictive (keeps none but for a
                                 request that waits)
      --idle-timeout SECS        keep no connection that was inactive for so long
      --max-lifetime SECS        keep no connection that is so old
      --max-inactive N           keep at most N inactive connections that no request waits for
      --max-inactive-per-peer N  the same for each peer
      --max-uses N               reuse a connection at most N times
      --timeout SECS             of one request, with all that goes before it (30)
      --connect-timeout SECS     of connecting, over all addresses of a name (10)
      --handshake-timeout SECS   of the handshakes with a proxy and in TLS (10)
      --address-time SECS        look a name up again after so long, also one that had no address (60)
      --linger SECS              stay after the last response and watch the inactive connections, so long at most: until
                                 none is left (0)
      --output DIR               write body k (counted from 0, in request order) to DIR/k
      --report text|json         the closing report, on standard output (text)
  -q, --quiet                    no line per response
  -v                             the log, to standard error
  -h, --help                     this
The way to the servers, and whom to believe there. Each holds for the URLs after it, the first one for all before, too.
      --proxy http://[USER:PASS@]HOST[:PORT]
                                 through an HTTP proxy (port 80): https by a tunnel, http by requests in absolute form.
                                 Percent-encoded, if USER or PASS has a % in it
      --tunnel                   http by a tunnel as well, for all URLs
      --socks5 [USER:PASS@]HOST[:PORT]
                                 through a SOCKS5 proxy (port 1080), which resolves the names
      --unix PATH                by a Unix-domain socket
      --cacert FILE              believe the authorities in this PEM file, and no others. A server's own self-signed
                                 certificate may be among them
      --insecure                 believe anybody: whoever sits on the way can read and change everything
Connections are kept by the server's name, and never shared by two users of a proxy or two ways of believing.
The addresses of a name are tried one after another, a quarter of a second apart or as soon as the last one has failed.
The first that connects is taken, and is the first to be tried for the next connection. What fails on a connection, as in
a handshake, isn't tried again at another address. What a proxy refuses fails: a tunnel, or its user (407). Its other
answers in a server's place are responses.
A response's head may have 64 KiB and 128 lines.
The body k is written to DIR/k.part, and renamed when it is complete. Ctrl-C and SIGTERM end the
program with the report; a second one ends it at once.
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
