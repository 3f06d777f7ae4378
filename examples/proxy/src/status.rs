//! The status page and its figures.

use crate::exchange::Page;
use crate::figures::Figures;
use crate::proxy::Proxy;
use std::fmt::{self, Write};

const HTML: &str = include_str!("status.html");

impl Proxy {
    pub fn answer_page(&mut self, key: usize, page: Page, close: bool) {
        let text;
        let (status, content_type, body) = match page {
            Page::Html => (200, "text/html; charset=utf-8", HTML),
            Page::Json => {
                text = self.all_figures().json();
                (200, "application/json", text.as_str())
            }
            Page::Metrics => {
                text = self.all_figures().metrics();
                (200, "text/plain; version=0.0.4; charset=utf-8", text.as_str())
            }
            Page::Missing => (404, "text/plain", "404: try /, /status.json or /metrics\n"),
            Page::LastHop => (200, "text/plain", ""),
            Page::NotTraced => {
                (501, "text/plain", "501: Max-Forwards has come to its end, and TRACE isn't answered here\n")
            }
            Page::NotAllowed => (405, "text/plain", "405: only GET and HEAD\n"),
        };
        self.clients[key].answer(&mut self.pool, status, content_type, body.as_bytes(), close);
    }
}

impl Figures {
    fn json(&self) -> String {
        let (counts, limits) = (&self.counts, &self.limits);
        let ms = |time: Option<std::time::Duration>| Number(time.map(|time| time.as_millis()));
        let mut json = Json::default();
        json.open('{');
        json.field("uptime_ms", self.now.saturating_duration_since(counts.since).as_millis());
        json.field("draining", self.draining);
        json.field("requests", counts.requests);
        json.field("passed_on", counts.passed_on);
        json.field("retried", counts.retried);
        json.field("handed_out_dead", counts.handed_out_dead);
        json.field("connect_failed", counts.connect_failed());
        json.field("clients", self.clients);
        json.field("clients_accepted", counts.clients);
        json.open_field("failures", '{');
        counts.failed.iter().for_each(|(status, count)| json.field(&status.to_string(), count));
        json.close('}');
        json.open_field("limits", '{');
        json.field("max_inactive", Number(limits.max_inactive));
        json.field("max_inactive_per_peer", Number(limits.max_inactive_per_peer));
        json.field("max_connections_per_peer", Number(limits.max_connections_per_peer));
        json.field("max_waiting", Number(limits.max_waiting));
        json.field("idle_timeout_ms", ms(limits.idle_timeout));
        json.field("max_lifetime_ms", ms(limits.max_lifetime));
        json.field("max_uses", Number(limits.max_uses));
        json.close('}');
        json.open_field("cache", '{');
        self.cache.iter().for_each(|(name, value)| json.field(name, value));
        json.field("longest_wait_ms", self.longest_wait.as_millis());
        json.field("hit_ratio", format_args!("{:.6}", counts.hit_ratio()));
        json.open_field("left", '{');
        self.left.iter().for_each(|(reason, count)| json.field(reason.as_str(), count));
        json.close('}');
        json.close('}');
        json.open_field("peers", '[');
        for (peer, of_upstream) in self.peers.iter().zip(&counts.upstreams) {
            json.open('{');
            json.field("peer", Quoted(&peer.name));
            json.field("active", peer.active);
            json.field("inactive", peer.inactive);
            json.field("state", Quoted(if peer.quarantined { "quarantined" } else { "up" }));
            json.field("waiting", peer.waiting);
            json.field("requests", of_upstream.requests);
            json.field("errors", of_upstream.errors);
            json.field("connect_failed", of_upstream.connect_failed);
            json.field("mean_ms", Number(of_upstream.latency.mean().map(|time| time.as_secs_f64() * 1e3)));
            json.field("p99_ms", ms(of_upstream.latency.p99()));
            json.close('}');
        }
        json.close(']');
        json.open_field("recent", '[');
        for departure in &counts.recent {
            json.open('{');
            json.field("ago_ms", self.now.saturating_duration_since(departure.at).as_millis());
            json.field("peer", Quoted(&departure.peer.to_string()));
            json.field("reason", Quoted(departure.reason.as_str()));
            json.field("uses", departure.uses);
            json.close('}');
        }
        json.close(']');
        json.close('}');
        json.0
    }
}

/// Writes JSON: a comma goes before whatever doesn't come first.
#[derive(Default)]
struct Json(String);

impl Json {
    fn open(&mut self, bracket: char) {
        self.comma();
        self.0.push(bracket);
    }

    fn open_field(&mut self, name: &str, bracket: char) {
        self.field(name, bracket);
    }

    fn close(&mut self, bracket: char) {
        self.0.push(bracket);
    }

    fn field(&mut self, name: &str, value: impl fmt::Display) {
        self.comma();
        let _ = write!(self.0, "{}:{value}", Quoted(name));
    }

    fn comma(&mut self) {
        if !self.0.is_empty() && !self.0.ends_with(['{', '[']) {
            self.0.push(',');
        }
    }
}

/// A number, or null.
struct Number<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for Number<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(number) => number.fmt(f),
            None => f.write_str("null"),
        }
    }
}

struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for char in self.0.chars() {
            match char {
                '"' | '\\' => write!(f, "\\{char}")?,
                char if char < ' ' => write!(f, "\\u{:04x}", char as u32)?,
                char => f.write_char(char)?,
            }
        }
        f.write_char('"')
    }
}
