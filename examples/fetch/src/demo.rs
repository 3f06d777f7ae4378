//! The demonstration: a server of its own, which hangs up; what is opened, reused and evicted, and why.

use crate::args::Options;
use crate::build_cache;
use crate::client::{Client, Config};
use crate::exchange::Way;
use crate::notes::{Note, Observer};
use crate::report::{Report, Totals, meaning};
use crate::server::Server;
use crate::url::Url;
use crate::via::Wanted;
use conncache::{ConnId, Reason};
use std::collections::BTreeMap;
use std::io::{self, Stdout, Write};
use std::time::{Duration, Instant};

const REQUESTS: usize = 12;
const ROUNDS: usize = 3;
/// How many requests there are in all, if each is made once.
pub const ALL_REQUESTS: u64 = (REQUESTS * ROUNDS) as u64;
const CONNECTIONS: usize = 4;
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);
/// To see what ought to happen at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Shows it; whether every request was answered.
pub fn run(options: &Options) -> io::Result<bool> {
    let began = Instant::now();
    let mut options = options.clone();
    let connections = *options.connections.get_or_insert(CONNECTIONS);
    let idle_timeout = *options.limits.idle_timeout.get_or_insert(IDLE_TIMEOUT);
    let server = Server::start()?;
    let mut demo = Demo {
        client: Client::new(Config::from(&options), |registry| build_cache(&options, registry))?,
        url: format!("http://{}", server.address),
        repeat: options.repeat,
        lives: Lives::default(),
        out: (!options.quiet).then(io::stdout),
        step: 0,
    };
    let ended = demo.show(&server, connections, idle_timeout);
    let Demo { client, .. } = demo;
    let report = Report { totals: client.totals(), stats: &client.stats(), time: began.elapsed() };
    report.print_after(ended, &options)?;
    Ok(client.totals().failed == 0)
}

struct Demo {
    client: Client,
    url: String,
    repeat: u64,
    lives: Lives,
    /// Where to tell what is done, step by step.
    out: Option<Stdout>,
    step: u32,
}

impl Demo {
    fn show(&mut self, server: &Server, connections: usize, idle_timeout: Duration) -> io::Result<()> {
        self.say(&format!("A server on {}. A client with one event loop and one connection cache.\n", server.address))?;
        self.round(&format!("{REQUESTS} requests, at most {connections} connections at once"))?;
        self.round(&format!("{REQUESTS} more"))?;
        server.hang_up();
        self.watch("the server hangs up on every inactive connection", PATIENCE)?;
        self.round(&format!("{REQUESTS} more: none goes to a dead connection"))?;
        self.watch(&format!("nothing to do for {idle_timeout:?}"), idle_timeout.saturating_add(PATIENCE))?;
        self.say("\nEach connection's life: ● a request it was opened for, ○ one it was reused for.\n")?;
        self.say(&self.lives.to_string())
    }

    /// Fetches, and says by how many connections.
    fn round(&mut self, what: &str) -> io::Result<()> {
        self.step(what)?;
        let before = self.client.totals().clone();
        let urls: Result<_, _> =
            (0..REQUESTS).map(|k| Url::parse(&format!("{}/{k}", self.url)).map(Wanted::plain)).collect();
        self.client.fetch(urls.map_err(io::Error::other)?, self.repeat, &mut self.lives)?;
        self.lives.round += 1;
        let after = self.client.totals();
        self.say(&format!(
            "{:>2} opened  {:>2} reused  {:>2} failed",
            after.opened - before.opened,
            after.reused - before.reused,
            after.failed - before.failed
        ))
    }

    /// Waits until nothing is inactive any more, and says what was evicted and why.
    fn watch(&mut self, what: &str, time: Duration) -> io::Result<()> {
        self.step(what)?;
        let before = self.client.stats();
        self.client.linger(time, &mut self.lives)?;
        let after = self.client.stats();
        let all = after.left_in_all() - before.left_in_all();
        let evicted = Reason::ALL.iter().map(|&reason| (after.left(reason) - before.left(reason), reason));
        let named = evicted.filter(|(count, _)| *count > 0).map(|(count, reason)| match count == all {
            true => reason.to_string(),
            false => format!("{count} {reason}"),
        });
        self.say(&format!("{all:>2} evicted: {}", named.collect::<Vec<_>>().join(", ")))
    }

    fn step(&mut self, what: &str) -> io::Result<()> {
        self.step += 1;
        let Some(out) = &mut self.out else { return Ok(()) };
        write!(out, "  {}. {what:<50} ", self.step)?;
        out.flush()
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        self.out.as_mut().map_or(Ok(()), |out| writeln!(out, "{text}"))
    }
}

/// What each connection was used for, and its end.
#[derive(Default)]
struct Lives {
    lives: BTreeMap<ConnId, Life>,
    round: usize,
}

/// Its uses in each round, and why it left.
type Life = (Vec<String>, Option<Reason>);

impl Lives {
    fn life(&mut self, id: ConnId) -> &mut Life {
        let first = self.lives.keys().find(|first| first.same_connection(id)).copied();
        self.lives.entry(first.unwrap_or(id)).or_default()
    }
}

impl Observer for Lives {
    fn note(&mut self, note: &Note, urls: &[Url]) -> io::Result<()> {
        match note {
            Note::Answered { id, exchange } => {
                let sign = if exchange.way == Way::Reused { '○' } else { '●' };
                let round = self.round;
                let uses = &mut self.life(*id).0;
                uses.resize(round + 1, String::new());
                uses[round].push(sign);
            }
            Note::Evicted { id, reason } => self.life(*id).1 = Some(*reason),
            Note::Failed { exchange, why } => {
                let _ = writeln!(io::stderr(), "fetch: {}: {why}", urls[exchange.url]);
            }
        }
        Ok(())
    }

    fn turn(&mut self, _: Instant, _: &Totals) -> io::Result<()> {
        Ok(())
    }
}

impl std::fmt::Display for Lives {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let width = |round: usize| {
            let uses = self.lives.values().filter_map(|(uses, _)| uses.get(round));
            uses.map(|uses| uses.chars().count()).max().unwrap_or(0)
        };
        for (place, (id, (uses, end))) in self.lives.iter().enumerate() {
            let mut line = format!("  {:<5}", id.to_string());
            for round in 0..self.round {
                let (uses, width) = (uses.get(round).map_or("", String::as_str), width(round));
                line.push_str(&format!(" {uses:<width$}"));
            }
            let (end, why) = end.map_or(("", "still open"), |reason| (reason.as_str(), meaning(reason)));
            line.push_str(&format!("  {end:<12}  {why}"));
            write!(f, "{}{}", if place == 0 { "" } else { "\n" }, line.trim_end())?;
        }
        Ok(())
    }
}
