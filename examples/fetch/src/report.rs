//! The numbers at the end.

use crate::args::Options;
use crate::exchange::{Exchange, Way};
use conncache::{Reason, Stats};
use rustls::HandshakeKind;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

/// What the client has done so far.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Asked for.
    pub requests: u64,
    pub responses: u64,
    pub failed: u64,
    /// Sent a second time.
    pub retried: u64,
    /// Connections opened, their handshakes included.
    pub opened: u64,
    /// Connections that couldn't be opened: no address answered, or a handshake failed.
    pub not_connected: u64,
    /// Those for which nobody was even connected to. They aren't reported.
    pub not_begun: u64,
    /// TLS handshakes from scratch.
    pub handshakes_full: u64,
    /// Those that went on with an earlier connection's session.
    pub handshakes_resumed: u64,
    /// Responses that came by a connection which had served a request before.
    pub reused: u64,
    /// Those of them whose request was sent before the one ahead of it was answered.
    pub pipelined: u64,
    pub body_bytes: u64,
}

impl Totals {
    /// Counts a connection that was opened.
    pub fn count_opened(&mut self, handshake: Option<HandshakeKind>) {
        self.opened += 1;
        match handshake {
            None => {}
            Some(HandshakeKind::Resumed) => self.handshakes_resumed += 1,
            Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest) => self.handshakes_full += 1,
        }
    }

    /// Counts a response.
    pub fn count(&mut self, exchange: &Exchange) {
        self.responses += 1;
        self.reused += u64::from(exchange.way == Way::Reused);
        self.pipelined += u64::from(exchange.pipelined);
        self.body_bytes += exchange.body_bytes;
    }

    /// How many requests have neither their response nor failed.
    pub fn unfinished(&self) -> u64 {
        self.requests - self.responses - self.failed
    }
}

/// The closing report.
pub struct Report<'a> {
    pub totals: &'a Totals,
    pub stats: &'a Stats,
    pub time: Duration,
}

impl Report<'_> {
    /// Prints it if the work has ended, or was interrupted.
    pub fn print_after(&self, ended: io::Result<()>, options: &Options) -> io::Result<()> {
        match ended {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            ended => self.print(options).and(ended),
        }
    }

    /// Prints it in the form that is asked for.
    fn print(&self, options: &Options) -> io::Result<()> {
        match (options.json, options.quiet) {
            (true, _) => writeln!(io::stdout(), "{}", self.json()),
            (false, true) => writeln!(io::stdout(), "{}", self.text()),
            // Apart from the lines above.
            (false, false) => writeln!(io::stdout(), "\n{}", self.text()),
        }
    }

    /// How many connections left the cache for this reason. Those that never stood aren't meant.
    fn evicted(&self, reason: Reason) -> u64 {
        let Totals { not_connected, not_begun, .. } = self.totals;
        let never_stood = if reason == Reason::Closed { not_connected + not_begun } else { 0 };
        self.stats.left(reason).saturating_sub(never_stood)
    }

    /// One JSON object on one line. Names and numbers only: there is nothing to be escaped.
    fn json(&self) -> String {
        let Totals { requests, responses, failed, retried, opened, not_connected, .. } = self.totals;
        let Totals { handshakes_full, handshakes_resumed, reused, pipelined, body_bytes, .. } = self.totals;
        let unfinished = self.totals.unfinished();
        let reasons = Reason::ALL.iter().map(|&reason| format!("\"{reason}\":{}", self.evicted(reason)));
        format!(
            "{{\"requests\":{requests},\"responses\":{responses},\"failed\":{failed},\"unfinished\":{unfinished},\"retried\":{retried},\
             \"opened\":{opened},\"not_connected\":{not_connected},\"handshakes_full\":{handshakes_full},\
             \"handshakes_resumed\":{handshakes_resumed},\"reused\":{reused},\"pipelined\":{pipelined},\
             \"evicted\":{{{}}},\"kept\":{},\"probes\":{},\"body_bytes\":{body_bytes},\"seconds\":{:.6}}}",
            reasons.collect::<Vec<_>>().join(","),
            self.stats.inactive,
            self.stats.probes,
            self.time.as_secs_f64(),
        )
    }

    /// A few lines for people.
    fn text(&self) -> String {
        let Totals { requests, responses, failed, retried, opened, not_connected, .. } = self.totals;
        let Totals { handshakes_full, handshakes_resumed, reused, pipelined, body_bytes, .. } = self.totals;
        let mut text = format!(
            "requests     {requests}: {responses} responses, {failed} failed, {retried} sent again; \
             {body_bytes} bytes of bodies in {:.3} s\n\
             connections  {opened} opened, {not_connected} couldn't be opened; \
             {reused} requests by reused ones, {pipelined} of them pipelined",
            self.time.as_secs_f64(),
        );
        if self.totals.unfinished() > 0 {
            let _ = write!(text, "\nunfinished   {} requests", self.totals.unfinished());
        }
        if handshakes_full + handshakes_resumed > 0 {
            let _ = write!(text, "\nhandshakes   {handshakes_full} full, {handshakes_resumed} resumed");
        }
        let evicted = Reason::ALL.iter().map(|&reason| (self.evicted(reason), reason.as_str(), meaning(reason)));
        let kept = (self.stats.inactive as u64, "kept", "still open and inactive at the end");
        let mut title = "evicted";
        for (count, name, meaning) in evicted.chain([kept]).filter(|(count, ..)| *count > 0) {
            title = if name == "kept" { "" } else { title };
            let _ = write!(text, "\n{title:<12} {count} {name}: {meaning}");
            title = "";
        }
        text
    }
}

/// What an eviction's reason means here.
pub fn meaning(reason: Reason) -> &'static str {
    match reason {
        Reason::HungUp => "the server closed an inactive connection",
        Reason::Unsolicited => "the server sent something that nobody had asked for",
        Reason::Failed => "an inactive connection failed, for example by a reset",
        Reason::FalseAlarms => "an inactive connection woke the loop too often although nothing had happened",
        Reason::NotConnected => "not connected when it was given back",
        Reason::IdleTimeout => "inactive for as long as --idle-timeout allows",
        Reason::Deadline => "the server had said that it would close by now (Keep-Alive: timeout)",
        Reason::MaxLifetime => "as old as --max-lifetime allows",
        Reason::MaxUses => "used as often as --max-uses allows",
        Reason::MaxInactive => "more than --max-inactive were inactive",
        Reason::MaxInactivePerPeer => "more than --max-inactive-per-peer were inactive",
        Reason::MadeRoom => "closed to make room for a connection that a request waited for",
        Reason::Policy => "a restrictive cache keeps a connection only if a request waits for it",
        Reason::Shed => "closed to free its descriptor",
        Reason::Closed => "closed after its last response, or because it broke",
        _ => "",
    }
}
