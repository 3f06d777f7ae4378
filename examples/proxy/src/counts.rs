//! What the proxy counts besides what the cache does.

use crate::latency::Latency;
use conncache::mio::net::TcpStream;
use conncache::{Evicted, Peer, Reason};
use std::collections::VecDeque;
use std::time::Instant;

/// How many evictions are remembered one by one.
const RECENT: usize = 20;

#[derive(Clone)]
pub struct Counts {
    pub since: Instant,
    /// Clients' connections accepted.
    pub clients: u64,
    pub requests: u64,
    /// Responses passed on whole.
    pub passed_on: u64,
    /// Requests sent once more, to the same upstream on a new connection or to the next one.
    pub retried: u64,
    /// Reused connections that died before the first byte of the response.
    pub handed_out_dead: u64,
    /// Upstream connections that were made, and requests that went on one that was there.
    pub opened: u64,
    pub reused: u64,
    /// In the order of the upstreams.
    pub upstreams: Vec<OfUpstream>,
    /// Answers of the proxy's own (or connections cut, if the response had begun), by status.
    pub failed: Vec<(u16, u64)>,
    pub recent: VecDeque<Departure>,
}

#[derive(Clone, Default)]
pub struct OfUpstream {
    /// Those that had a connection to it.
    pub requests: u64,
    /// Of these, those that it didn't answer, or not to the end.
    pub errors: u64,
    /// Connections that were never made: refused, or without an answer.
    pub connect_failed: u64,
    /// From the choice of the connection to the head of the response.
    pub latency: Latency,
}

/// A connection that has left the cache.
#[derive(Clone)]
pub struct Departure {
    pub at: Instant,
    pub peer: Peer,
    pub reason: Reason,
    pub uses: u32,
}

impl Counts {
    pub fn new(upstreams: usize, now: Instant) -> Counts {
        Counts {
            since: now,
            clients: 0,
            requests: 0,
            passed_on: 0,
            retried: 0,
            handed_out_dead: 0,
            opened: 0,
            reused: 0,
            upstreams: vec![OfUpstream::default(); upstreams],
            failed: Vec::new(),
            recent: VecDeque::with_capacity(RECENT),
        }
    }

    pub fn connect_failed(&self) -> u64 {
        self.upstreams.iter().map(|upstream| upstream.connect_failed).sum()
    }

    /// How many of the requests that had a connection had one that was there. Connections that couldn't be made say
    /// nothing of the cache.
    pub fn hit_ratio(&self) -> f64 {
        let all = self.reused + self.opened;
        if all == 0 { 0.0 } else { self.reused as f64 / all as f64 }
    }

    pub fn failed(&mut self, status: u16) {
        self.have_failed(status, 1);
    }

    fn have_failed(&mut self, status: u16, more: u64) {
        match self.failed.iter_mut().find(|(of, _)| *of == status) {
            Some((_, count)) => *count += more,
            None => self.failed.push((status, more)),
        }
    }

    /// Adds those of another thread.
    pub fn add(&mut self, other: &Counts) {
        for (value, more) in [
            (&mut self.clients, other.clients),
            (&mut self.requests, other.requests),
            (&mut self.passed_on, other.passed_on),
            (&mut self.retried, other.retried),
            (&mut self.handed_out_dead, other.handed_out_dead),
            (&mut self.opened, other.opened),
            (&mut self.reused, other.reused),
        ] {
            *value += more;
        }
        for (upstream, more) in self.upstreams.iter_mut().zip(&other.upstreams) {
            upstream.requests += more.requests;
            upstream.errors += more.errors;
            upstream.connect_failed += more.connect_failed;
            upstream.latency.merge(&more.latency);
        }
        other.failed.iter().for_each(|&(status, count)| self.have_failed(status, count));
        self.recent.extend(other.recent.iter().cloned());
        self.recent.make_contiguous().sort_by_key(|departure| std::cmp::Reverse(departure.at));
        self.recent.truncate(RECENT);
    }

    pub fn note(&mut self, now: Instant, evicted: &Evicted<TcpStream>) {
        self.recent.truncate(RECENT - 1);
        let Evicted { peer, reason, history, .. } = evicted;
        self.recent.push_front(Departure { at: now, peer: peer.clone(), reason: *reason, uses: history.uses() });
    }
}
