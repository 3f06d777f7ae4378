//! Writes at the end of a turn of the loop, when all of its events have been read. What there is by then for a client
//! or an upstream leaves in one write, and its receiver finds more to do when it wakes up.

use crate::client::{Client, Ending};
use crate::drive::Next;
use crate::exchange::Exchange;
use crate::proxy::Proxy;

impl Proxy {
    /// Has the client written to, and its request sent on, at the end of the turn.
    pub fn put_off(&mut self, key: usize) -> Next {
        if let Some(client) = self.clients.get_mut(key).filter(|client| !client.put_off) {
            client.put_off = true;
            self.to_write.push(key);
        }
        Next::Wait
    }

    /// Writes what waits for the client at the end of the turn; at once if its connection is ending, or while the writes
    /// that were put off are being made.
    pub fn flush_soon(&mut self, key: usize) -> Next {
        let waits = |client: &Client| client.outbox.is_ready() && client.ending == Ending::Open;
        match !self.writing && self.clients.get(key).is_some_and(waits) {
            true => self.put_off(key),
            false => self.flush(key),
        }
    }

    /// Makes the writes that were put off. Those that follow from them are made at once.
    pub fn write_all(&mut self) {
        self.writing = true;
        let mut keys = std::mem::take(&mut self.to_write);
        for key in keys.drain(..) {
            self.write(key);
        }
        self.to_write = keys;
        self.writing = false;
    }

    fn write(&mut self, key: usize) {
        let Some(client) = self.clients.get_mut(key) else { return };
        client.put_off = false;
        let link = client.exchange.as_ref().and_then(|exchange| exchange.link.as_ref());
        let id = link.filter(|link| link.connecting.is_none()).map(|link| link.id);
        if let Some(upstream) = id.filter(|_| client.to_upstream.is_ready()).and_then(|id| self.cache.get_mut(id)) {
            client.send_request(upstream);
        }
        let unread = |exchange: &Exchange| exchange.link.as_ref().is_some_and(|link| link.inbox.is_ready());
        if client.exchange.as_ref().is_some_and(unread) {
            // An answer that came early, or a failure.
            return self.drive(key);
        }
        self.flush(key);
        self.clients.get_mut(key).into_iter().for_each(|client| client.note_progress(self.now));
    }
}
