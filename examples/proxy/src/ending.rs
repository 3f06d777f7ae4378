//! How a client's connection ends: in stages, so that what is on the way to the client arrives.

use crate::buffer::Fill;
use crate::client::Ending;
use crate::drive::Next;
use crate::proxy::Proxy;
use socket2::SockRef;
use std::net::Shutdown;

/// How often one call reads what an answered client still sends before others have their turn.
const MOST_LINGER: usize = 64;

impl Proxy {
    /// Writes what waits for the client, and closes if that was to be all.
    pub fn flush(&mut self, key: usize) -> Next {
        let let_go = self.grace_is_over();
        let Some(client) = self.clients.get_mut(key) else { return Next::Wait };
        if client.flush(&mut self.pool).is_err() {
            self.close(key);
            return Next::Wait;
        }
        if client.outbox.waiting() > 0 {
            if client.ending == Ending::AfterFlush {
                self.drop_input(key);
            }
            return Next::Wait;
        }
        match client.ending {
            Ending::Open if !(let_go && client.is_done()) => {}
            Ending::Open | Ending::AfterFlush => {
                client.ending = Ending::Lingering;
                client.drop_until = None;
                if std::mem::take(&mut client.ends_by_reset) {
                    let _ = SockRef::from(&client.stream).set_linger(None);
                }
                match client.stream.shutdown(Shutdown::Write) {
                    Ok(()) => self.drop_input(key),
                    Err(_) => self.close(key),
                }
            }
            Ending::Lingering => self.drop_input(key),
        }
        Next::Wait
    }

    /// Drops what a client sends that is not to be served any more; closes when that ends, if nothing is left to be
    /// written.
    fn drop_input(&mut self, key: usize) {
        let until = self.now + 6 * self.linger_time();
        let Some(client) = self.clients.get_mut(key) else { return };
        for _ in 0..MOST_LINGER {
            client.inbox.release(&mut self.pool);
            match client.inbox.fill(&mut client.stream, &mut self.pool) {
                Ok(Fill::Bytes) => client.moved |= self.now < *client.drop_until.get_or_insert(until),
                Ok(Fill::Blocked) => return,
                Ok(Fill::Ended) if client.ending == Ending::AfterFlush => return,
                _ => return self.close(key),
            }
        }
        self.again.push(key);
    }

    /// The client has sent its last; what is written for it already still goes out.
    pub fn leave(&mut self, key: usize) -> Next {
        let Some(client) = self.clients.get(key) else { return Next::Wait };
        if client.exchange.is_some() || client.outbox.waiting() == 0 {
            self.close(key);
            return Next::Wait;
        }
        self.end(key);
        Next::Wait
    }

    /// Closes, in stages, once all is written.
    pub fn end(&mut self, key: usize) {
        let Some(client) = self.clients.get_mut(key) else { return };
        client.ending = Ending::AfterFlush;
        self.flush(key);
    }
}
