//! What the status page shows: the figures of all threads, added up.

use crate::counts::Counts;
use crate::proxy::Proxy;
use conncache::{Limits, Reason};
use std::time::{Duration, Instant};

#[derive(Clone)]
pub struct Figures {
    pub now: Instant,
    pub draining: bool,
    pub limits: Limits,
    pub clients: usize,
    pub counts: Counts,
    /// What the caches count, by name.
    pub cache: Vec<(&'static str, u64)>,
    pub left: Vec<(Reason, u64)>,
    pub longest_wait: Duration,
    /// In the order of the upstreams.
    pub peers: Vec<OfPeer>,
}

/// The connections to an upstream.
#[derive(Clone)]
pub struct OfPeer {
    pub name: String,
    pub active: usize,
    pub inactive: usize,
    pub waiting: usize,
    pub quarantined: bool,
}

impl Proxy {
    /// Those of this thread.
    pub fn figures(&self) -> Figures {
        let stats = self.cache.stats();
        // All upstreams, those without a connection too; the cache knows only of those that have one.
        let peers = self.upstreams.iter().enumerate().map(|(at, upstream)| {
            let counts = self.cache.counts_of_peer(&upstream.peer);
            OfPeer {
                name: upstream.peer.to_string(),
                active: counts.active,
                inactive: counts.inactive,
                waiting: counts.waiting,
                quarantined: self.balance.is_quarantined(at, self.now),
            }
        });
        Figures {
            now: self.now,
            draining: self.draining,
            limits: self.cache.limits().clone(),
            clients: self.clients.len(),
            counts: self.counts.clone(),
            cache: vec![
                ("inserted", stats.inserted),
                ("active", stats.active as u64),
                ("inactive", stats.inactive as u64),
                ("handed_out", stats.handed_out),
                ("missed", stats.missed),
                ("waiting", stats.waiting as u64),
                ("waited", stats.waited),
                ("timed_out", stats.timed_out),
                ("probes", stats.probes),
                ("found_dead", stats.found_dead),
                ("stale_events", stats.stale_events),
                ("deregister_failures", stats.deregister_failures),
            ],
            left: Reason::ALL.iter().map(|&reason| (reason, stats.left(reason))).collect(),
            longest_wait: self.cache.longest_wait(),
            peers: peers.collect(),
        }
    }
}

impl Figures {
    /// What the caches count under this name.
    pub fn of_cache(&self, name: &str) -> u64 {
        self.cache.iter().find(|(of, _)| *of == name).map_or(0, |(_, value)| *value)
    }

    /// Adds those of another thread.
    pub fn add(&mut self, other: &Figures) {
        for (limit, more) in [
            (&mut self.limits.max_inactive, other.limits.max_inactive),
            (&mut self.limits.max_inactive_per_peer, other.limits.max_inactive_per_peer),
            (&mut self.limits.max_connections_per_peer, other.limits.max_connections_per_peer),
            (&mut self.limits.max_waiting, other.limits.max_waiting),
        ] {
            *limit = limit.zip(more).map(|(limit, more)| limit + more);
        }
        self.clients += other.clients;
        self.counts.add(&other.counts);
        self.cache.iter_mut().zip(&other.cache).for_each(|((_, value), (_, more))| *value += more);
        self.left.iter_mut().zip(&other.left).for_each(|((_, value), (_, more))| *value += more);
        self.longest_wait = self.longest_wait.max(other.longest_wait);
        for (peer, more) in self.peers.iter_mut().zip(&other.peers) {
            peer.active += more.active;
            peer.inactive += more.inactive;
            peer.waiting += more.waiting;
            peer.quarantined |= more.quarantined;
        }
    }
}
