//! The demonstration: a server of its own, which hangs up; what is opened, reused and evicted, and why.

use crate::args::Options;
use crate::build_cache;
use crate::client::{Client, Config};
use crate::exchange::Way;
use crate::notes::{Note, Observer};
use crate::report::{Report, Totals, meaning};
use crate::server::Server;
use crate::url::Url;
use conncache::{ConnId, Reason};
use std::collections::BTreeMap;
use std::io::{self, Stdout, Write};
use std::time::{Duration, Instant};

const REQUESTS: usize = 12;
const CONNECTIONS: usize = 4;
const IDLE_TIMEOUT: Duration = Duration::from_millis(500);
/// To see what ought to happen at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// Shows it; whether every request was answered.
pub fn run(options: &Options) -> io::Result<bool> {
    let began = Instant::now();
    let mut options = options.clone();
    let connections = *options.connections.get_or_insert(CONNECTIONS);
    let idle_timeout = *options.limits.idle_timeout.get_or_insert(IDLE_TIMEOUT);
    let server = Server::start()?;
    let mut client = Client::new(Config::from(&options), |registry| build_cache(&options, registry))?;
    let mut lives = Lives::default();
    let mut out = Narrator { out: (!options.quiet).then(io::stdout), step: 0 };

    out.say(&format!("A server on {}. A client with one event loop and one connection cache.\n", server.address))?;
    for what in ["requests, at most {} connections at once", "more", "more, after all"] {
        if what.ends_with("all") {
            out.step("the server hangs up on every inactive connection")?;
            server.hang_up();
            let evicted = watch(&mut client, PATIENCE, &mut lives)?;
            out.result(&evicted)?;
        }
        out.step(&format!("{REQUESTS} {}", what.replace("{}", &connections.to_string())))?;
        let before = client.totals().clone();
        let urls = (0..REQUESTS).map(|k| Url::parse(&format!("http://{}/{k}", server.address)));
        client.fetch(urls.collect::<Result<_, _>>().map_err(io::Error::other)?, options.repeat, &mut lives)?;
        let after = client.totals();
        out.result(&format!(
            "{:>2} opened  {:>2} reused  {:>2} failed",
            after.opened - before.opened,
            after.reused - before.reused,
            after.failed - before.failed
        ))?;
        lives.next_round();
    }
    out.step(&format!("nothing to do for {idle_timeout:?}"))?;
    let evicted = watch(&mut client, idle_timeout.saturating_add(PATIENCE), &mut lives)?;
    out.result(&evicted)?;

    out.say("\nEach connection's life, with ● a request it was opened for and ○ one it was reused for:\n")?;
    out.say(&lives.to_string())?;
    let report = Report { totals: client.totals(), stats: &client.stats(), time: began.elapsed() };
    writeln!(io::stdout(), "{}", if options.json { report.json() } else { report.text() }.trim_end())?;
    Ok(client.totals().failed == 0)
}

/// Waits until nothing is inactive any more; what was evicted, and why.
fn watch(client: &mut Client, time: Duration, lives: &mut Lives) -> io::Result<String> {
    let before = client.stats();
    client.linger(time, lives)?;
    let after = client.stats();
    let evicted = Reason::ALL.map(|reason| (after.left(reason) - before.left(reason), reason));
    let all = after.left_in_all() - before.left_in_all();
    let named = evicted.iter().filter(|(count, _)| *count > 0).map(|(count, reason)| match *count == all {
        true => reason.to_string(),
        false => format!("{count} {reason}"),
    });
    Ok(format!("{all:>2} evicted: {}", named.collect::<Vec<_>>().join(", ")))
}

/// Tells step by step what is done.
struct Narrator {
    out: Option<Stdout>,
    step: u32,
}

impl Narrator {
    fn say(&mut self, text: &str) -> io::Result<()> {
        self.out.as_mut().map_or(Ok(()), |out| writeln!(out, "{text}"))
    }

    fn step(&mut self, text: &str) -> io::Result<()> {
        self.step += 1;
        let Some(out) = &mut self.out else { return Ok(()) };
        write!(out, "  {}. {text:<50} ", self.step)?;
        out.flush()
    }

    fn result(&mut self, text: &str) -> io::Result<()> {
        self.say(text)
    }
}

/// What each connection was used for, and its end.
#[derive(Default)]
struct Lives {
    lives: BTreeMap<ConnId, (Vec<String>, Option<Reason>)>,
    round: usize,
}

impl Lives {
    fn next_round(&mut self) {
        self.round += 1;
    }
}

impl Observer for Lives {
    fn note(&mut self, note: &Note, _: &[Url]) -> io::Result<()> {
        match note {
            Note::Answered { id, exchange } => {
                let sign = if exchange.way == Way::Reused { '○' } else { '●' };
                let uses = &mut self.lives.entry(*id).or_default().0;
                uses.resize(self.round + 1, String::new());
                uses[self.round].push(sign);
            }
            Note::Evicted { id, reason } => self.lives.entry(*id).or_default().1 = Some(*reason),
            Note::Failed { .. } => {}
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
