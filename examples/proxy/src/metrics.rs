//! The figures of the status page in Prometheus' text format.

use crate::figures::Figures;
use crate::latency::Latency;
use std::fmt::{Display, Write};

impl Figures {
    pub fn metrics(&self) -> String {
        let counts = &self.counts;
        let mut text = Text::default();
        text.one("uptime_seconds", "gauge", "Since the start.", self.now.duration_since(counts.since).as_secs_f64());
        text.one("draining", "gauge", "1 while the process ends.", u8::from(self.draining));
        text.one("clients", "gauge", "Clients' connections.", self.clients);
        text.one("clients_accepted_total", "counter", "Clients' connections accepted.", counts.clients);
        text.one("requests_total", "counter", "Requests received.", counts.requests);
        text.one("responses_total", "counter", "Responses passed on completely.", counts.passed_on);
        text.one("retries_total", "counter", "Requests sent again.", counts.retried);
        text.family("failures_total", "counter", "Requests that the proxy answered itself, or cut off.");
        for (status, count) in &counts.failed {
            text.sample("failures_total", &[("status", status)], count);
        }
        text.one("connections_opened_total", "counter", "Upstream connections opened.", counts.opened);
        text.one("connections_reused_total", "counter", "Requests sent on a reused connection.", counts.reused);
        text.one("connections_dead_total", "counter", "Reused connections that had died.", counts.handed_out_dead);
        text.one("requests_waiting", "gauge", "Requests that wait for a connection.", self.of_cache("waiting"));
        text.one(
            "requests_waited_total",
            "counter",
            "Requests that had to wait for a connection.",
            self.of_cache("waited"),
        );
        text.one("waits_timed_out_total", "counter", "Requests that timed out in line.", self.of_cache("timed_out"));
        let longest = self.longest_wait.as_secs_f64();
        text.one("longest_wait_seconds", "gauge", "How long the oldest waiting request has waited.", longest);
        text.family("connections_left_total", "counter", "Upstream connections that ended, by reason.");
        for (reason, count) in &self.left {
            text.sample("connections_left_total", &[("reason", &reason.as_str())], count);
        }
        self.upstream_metrics(&mut text);
        text.0
    }

    /// A family of samples has to stand together, so that each goes through all upstreams.
    fn upstream_metrics(&self, text: &mut Text) {
        let each = || self.peers.iter().zip(&self.counts.upstreams).map(|(peer, counts)| (peer, &peer.name, counts));
        text.family("upstream_up", "gauge", "0 while the upstream is left alone since it failed.");
        for (peer, name, _) in each() {
            text.sample("upstream_up", &[("upstream", name)], u8::from(!peer.quarantined));
        }
        text.family("upstream_connections", "gauge", "Connections to the upstream.");
        for (peer, name, _) in each() {
            for (state, count) in [("active", peer.active), ("inactive", peer.inactive)] {
                text.sample("upstream_connections", &[("upstream", name), ("state", &state)], count);
            }
        }
        text.family("upstream_requests_waiting", "gauge", "Requests that wait for a connection to the upstream.");
        for (peer, name, _) in each() {
            text.sample("upstream_requests_waiting", &[("upstream", name)], peer.waiting);
        }
        text.family("upstream_requests_total", "counter", "Requests sent to the upstream.");
        for (_, name, counts) in each() {
            text.sample("upstream_requests_total", &[("upstream", name)], counts.requests);
        }
        text.family("upstream_errors_total", "counter", "Requests that the upstream didn't answer, or not to the end.");
        for (_, name, counts) in each() {
            text.sample("upstream_errors_total", &[("upstream", name)], counts.errors);
        }
        text.family("upstream_connect_failures_total", "counter", "Connections that couldn't be opened.");
        for (_, name, counts) in each() {
            text.sample("upstream_connect_failures_total", &[("upstream", name)], counts.connect_failed);
        }
        text.family(
            "upstream_response_seconds",
            "histogram",
            "Time from the choice of a connection to the response's head.",
        );
        for (_, name, counts) in each() {
            text.histogram("upstream_response_seconds", name, &counts.latency);
        }
    }
}

/// The text. Each name begins with the program's.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP conncache_proxy_{name} {help}\n# TYPE conncache_proxy_{name} {kind}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &dyn Display)], value: impl Display) {
        let _ = write!(self.0, "conncache_proxy_{name}");
        for (at, (label, text)) in labels.iter().enumerate() {
            let text = text.to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if at == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn histogram(&mut self, name: &str, upstream: &str, latency: &Latency) {
        let bucket = format!("{name}_bucket");
        for (bound, count) in latency.cumulative() {
            self.sample(&bucket, &[("upstream", &upstream), ("le", &bound.as_secs_f64())], count);
        }
        self.sample(&bucket, &[("upstream", &upstream), ("le", &"+Inf")], latency.count());
        self.sample(&format!("{name}_sum"), &[("upstream", &upstream)], latency.sum().as_secs_f64());
        self.sample(&format!("{name}_count"), &[("upstream", &upstream)], latency.count());
    }
}
