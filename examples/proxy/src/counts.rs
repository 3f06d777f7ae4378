//! What the proxy counts besides what the cache does.

use conncache::mio::net::TcpStream;
use conncache::{Evicted, Peer, Reason};
use std::collections::VecDeque;
use std::time::Instant;

/// How many evictions are remembered one by one.
const RECENT: usize = 20;

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
    /// Upstream connections that were never made: refused, or without an answer.
    pub connect_failed: u64,
    /// Answers of the proxy's own (or connections cut, if the response had begun), by status.
    pub failed: Vec<(u16, u64)>,
    pub recent: VecDeque<Departure>,
}

/// A connection that has left the cache.
pub struct Departure {
    pub at: Instant,
    pub peer: Peer,
    pub reason: Reason,
    pub uses: u32,
}

impl Counts {
    pub fn new(now: Instant) -> Counts {
        Counts {
            since: now,
            clients: 0,
            requests: 0,
            passed_on: 0,
            retried: 0,
            handed_out_dead: 0,
            connect_failed: 0,
            failed: Vec::new(),
            recent: VecDeque::with_capacity(RECENT),
        }
    }

    pub fn failed(&mut self, status: u16) {
        match self.failed.iter_mut().find(|(of, _)| *of == status) {
            Some((_, count)) => *count += 1,
            None => self.failed.push((status, 1)),
        }
    }

    pub fn note(&mut self, now: Instant, evicted: &Evicted<TcpStream>) {
        self.recent.truncate(RECENT - 1);
        let Evicted { peer, reason, history, .. } = evicted;
        self.recent.push_front(Departure { at: now, peer: peer.clone(), reason: *reason, uses: history.uses() });
    }
}
