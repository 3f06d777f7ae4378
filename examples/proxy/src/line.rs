//! Requests that wait in the cache's line for a connection: since the upstream has as many as it may, or the process
//! has no descriptor.

use crate::drive::Next;
use crate::proxy::Proxy;
use conncache::mio::net::TcpStream;
use conncache::{Grant, Granted, Limits, Place, WaiterId};
use std::time::Instant;

/// How many of those who wait one turn serves.
const MOST_GRANTS: usize = 64;

impl Proxy {
    /// Serves those who wait, as many as there are connections for by now.
    pub fn serve_waiting(&mut self) {
        for _ in 0..MOST_GRANTS {
            let Some(grant) = self.cache.grant(self.now) else { return };
            self.take_grant(grant);
        }
    }

    fn take_grant(&mut self, grant: Grant<TcpStream>) {
        let key = grant.owner.0 as usize;
        let client = &mut self.clients[key];
        client.touched = self.now;
        client.exchange.iter_mut().for_each(|exchange| exchange.waiter = None);
        let next = match grant.granted {
            Granted::Reuse(found) => self.take_over(key, found),
            Granted::Open { place, evicted } => {
                evicted.into_iter().for_each(|evicted| self.note(evicted));
                self.open(key, place)
            }
            Granted::TimedOut => {
                let why = format!("no room for a connection to {} within {:?}", grant.peer, grant.waited);
                Some(self.fail(key, 503, &why, false))
            }
            // It has failed while the request waited for it.
            Granted::Refused => {
                self.wait_elsewhere(key);
                None
            }
        };
        if let Next::Again | Next::Yield = next.unwrap_or_else(|| self.link(key)) {
            self.again.push(key);
        }
    }

    /// Leaves the exchange in the line.
    pub fn wait_in_line(&mut self, key: usize, waiter: WaiterId) -> Next {
        let until = self.wait_end(key);
        let Some(exchange) = self.clients.get_mut(key).and_then(|client| client.exchange.as_mut()) else {
            return Next::Wait;
        };
        exchange.waiter = Some(waiter);
        exchange.wait_end = until;
        self.stay_in_line(key)
    }

    /// While a request waits, a client that ends its sending is taken for one that leaves: others want the connection.
    /// It has an answer all the same, since it may have ended nothing but its sending.
    pub fn stay_in_line(&mut self, key: usize) -> Next {
        match self.clients.get(key).is_some_and(|client| client.inbox.is_ending()) {
            true => self.fail(key, 503, "the client ended its sending while its request waited", true),
            false => self.flush(key),
        }
    }

    pub fn leave_line(&mut self, waiter: WaiterId) {
        // Not found: its time was over in this very turn.
        let _ = self.cache.withdraw(waiter);
    }

    /// There is no descriptor for this connection: the request waits until there is one.
    pub fn wait_for_descriptor(&mut self, key: usize, place: Place) -> Next {
        let Ok(waiter) = self.cache.put_back(place) else {
            return self.fail(key, 503, "no descriptor for a connection in time", false);
        };
        // As many as there are: one more when one of them is closed, or a client has left.
        let most = self.cache.counts().active + self.cache.counts().inactive;
        self.change_limits(|limits| limits.max_connections = Some(most));
        self.wait_in_line(key, waiter)
    }

    /// A descriptor may be free.
    pub fn descriptor_freed(&mut self) {
        self.doors.stuck = false;
        if self.is_short() {
            self.change_limits(|limits| limits.max_connections = None);
        }
    }

    /// Whether descriptors have run out for upstream connections.
    pub fn is_short(&self) -> bool {
        self.cache.limits().max_connections.is_some()
    }

    /// Changes limits on numbers of connections, which contradict nothing.
    pub fn change_limits(&mut self, change: impl FnOnce(&mut Limits)) {
        let mut limits = self.cache.limits().clone();
        change(&mut limits);
        self.cache.set_limits(limits).expect("numbers of connections contradict nothing");
    }

    /// Until when a client's request waits, in however many lines.
    pub fn wait_end(&self, key: usize) -> Option<Instant> {
        let exchange = self.clients.get(key).and_then(|client| client.exchange.as_ref());
        exchange.and_then(|exchange| exchange.wait_end).or_else(|| self.now.checked_add(self.wait))
    }
}
