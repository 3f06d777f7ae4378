//! What the user sees while requests are under way.

use crate::exchange::Exchange;
use crate::notes::{Note, Observer};
use crate::report::Totals;
use crate::url::Url;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::time::{Duration, Instant};

const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// A line per response on standard output, failures and progress on standard error.
pub struct Screen {
    out: BufWriter<Stdout>,
    quiet: bool,
    /// Whether the lines go where the progress is shown: it stays below them.
    shares_terminal: bool,
    /// When to show the progress next, if it is shown.
    next_progress: Option<Instant>,
    progress_shown: bool,
    /// Whether a line took the place of the progress.
    is_displaced: bool,
}

impl Screen {
    pub fn new(quiet: bool) -> Screen {
        let progress = io::stderr().is_terminal();
        Screen {
            out: BufWriter::new(io::stdout()),
            quiet,
            shares_terminal: io::stdout().is_terminal(),
            next_progress: progress.then(|| Instant::now() + PROGRESS_EVERY),
            progress_shown: false,
            is_displaced: false,
        }
    }

    /// Takes the progress line away.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.progress_shown) {
            let _ = io::stderr().write_all(b"\r\x1b[K");
        }
    }

    /// Makes room for a line.
    fn displace(&mut self) {
        self.is_displaced |= self.progress_shown;
        self.clear();
    }
}

impl Observer for Screen {
    fn note(&mut self, note: &Note, urls: &[Url]) -> io::Result<()> {
        match note {
            Note::Answered { exchange, .. } if !self.quiet => {
                if self.shares_terminal {
                    self.displace();
                }
                let Exchange { status, body_bytes, way, url, .. } = exchange;
                let (ms, way, url) = (exchange.took().as_secs_f64() * 1e3, way.as_str(), &urls[*url]);
                writeln!(self.out, "{status} {body_bytes:>9} B {ms:>9.1} ms  {way:<7}  {url}")?;
            }
            Note::Failed { exchange, why } => {
                self.displace();
                let _ = writeln!(io::stderr(), "fetch: {}: {why}", urls[exchange.url]);
            }
            _ => {}
        }
        Ok(())
    }

    fn turn(&mut self, now: Instant, totals: &Totals) -> io::Result<()> {
        self.out.flush()?;
        if self.next_progress.is_some_and(|at| at <= now || self.is_displaced) {
            self.is_displaced = false;
            self.next_progress = Some(now + PROGRESS_EVERY);
            self.progress_shown = true;
            let finished = totals.requests - totals.unfinished();
            let line = format!(
                "\r\x1b[K{finished} of {} requests, {} failed; {} connections opened, {} bytes",
                totals.requests, totals.failed, totals.opened, totals.body_bytes
            );
            let _ = io::stderr().write_all(line.as_bytes());
        }
        Ok(())
    }
}
