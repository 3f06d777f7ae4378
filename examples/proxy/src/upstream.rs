//! Which upstream connection serves an exchange: one from the cache or a new one, and another when it fails.

use crate::client::Client;
use crate::doors::is_out_of_descriptors;
use crate::drive::Next;
use crate::exchange::{Exchange, Link};
use crate::proxy::Proxy;
use conncache::mio::net::TcpStream;
use conncache::{Cause, ConnId, ConnState, Owner};
use log::{info, warn};
use slab::Slab;
use std::io;

impl Proxy {
    /// Finds a connection for the exchange: an inactive one, unless it has to be `fresh`, or opens one.
    pub fn link(&mut self, key: usize, fresh: bool) -> Next {
        let channel = self.channel(key);
        let Some(exchange) = self.clients.get_mut(key).and_then(|client| client.exchange.as_mut()) else {
            return Next::Wait;
        };
        let upstream = &self.upstreams[exchange.upstream];
        let owner = Owner(key as u64);
        let found = if fresh { None } else { self.cache.checkout(self.now, &upstream.peer, channel, owner) };
        if let Some(found) = found {
            exchange.link = Some(Link::new(found.id, true));
            return self.advance(key);
        }
        let (peer, addr) = (upstream.peer.clone(), upstream.addr);
        let opened = match TcpStream::connect(addr) {
            Err(error) if is_out_of_descriptors(&error) && self.make_room_upstream() => TcpStream::connect(addr),
            opened => opened,
        };
        let stream = match opened {
            Ok(stream) => stream,
            // Others have connections, and will be done with them.
            Err(error) if is_out_of_descriptors(&error) && self.cache.counts().active > 0 => {
                self.wait_for_room(key);
                return Next::Wait;
            }
            Err(error) if is_out_of_descriptors(&error) || error.kind() == io::ErrorKind::AddrNotAvailable => {
                return self.fail(key, 503, &format!("no room for a connection to {peer}: {error}"), false);
            }
            Err(error) => {
                self.refused(key, error);
                return Next::Wait;
            }
        };
        let _ = stream.set_nodelay(true);
        match self.cache.insert(self.now, stream, &peer, channel, owner) {
            Ok(id) => exchange_of(&mut self.clients, key).link = Some(Link::new(id, false)),
            Err(error) => {
                let full = matches!(error.cause, Cause::TokensExhausted { .. });
                warn!("peer={peer} full={full} error={error}");
                return self.fail(key, 503, &format!("no room for a connection to {peer}: {error}"), false);
            }
        }
        Next::Wait
    }

    /// An upstream can't be connected to: the next one, unless all have been tried.
    pub fn refused(&mut self, key: usize, error: io::Error) {
        let exchange = exchange_of(&mut self.clients, key);
        let peer = self.upstreams[exchange.upstream].peer.clone();
        exchange.refused += 1;
        self.counts.connect_failed += 1;
        if let Some(link) = exchange.link.take() {
            self.drop_link(link);
        }
        let exchange = exchange_of(&mut self.clients, key);
        if exchange.refused < self.upstreams.len() {
            info!("event=refused peer={peer} error={error}");
            exchange.upstream = (exchange.upstream + 1) % self.upstreams.len();
            let fresh = exchange.retried;
            match self.link(key, fresh) {
                Next::Wait => {}
                Next::Again | Next::Yield => self.again.push(key),
            }
        } else {
            self.fail(key, 502, &format!("couldn't connect to {peer}: {error}"), false);
        }
    }

    /// An upstream connection failed before the response was complete.
    pub fn upstream_failed(&mut self, key: usize, why: &str) -> Next {
        let client = &mut self.clients[key];
        let Some(exchange) = &mut client.exchange else { return Next::Wait };
        let Some(link) = exchange.link.take() else { return Next::Wait };
        let handed_out_dead = link.reused && !exchange.answered;
        self.counts.handed_out_dead += u64::from(handed_out_dead);
        let again = handed_out_dead && exchange.replayable && !exchange.retried;
        exchange.retried |= again;
        let peer = self.upstreams[exchange.upstream].peer.clone();
        self.drop_link(link);
        if again {
            info!("event=retry peer={peer} reason={why:?}");
            self.counts.retried += 1;
            self.clients[key].start_over();
            return self.link(key, true);
        }
        self.fail(key, 502, &format!("{peer}: {why}"), false)
    }

    /// The exchange is done with its connection: for the next one, if it can carry another request.
    pub fn give_back(&mut self, key: usize, id: ConnId, reusable: bool) {
        let Some(exchange) = self.clients.get(key).and_then(|client| client.exchange.as_ref()) else { return };
        // The upstream may name any number: one beyond all clocks is no deadline.
        let deadline = exchange.keep.and_then(|time| self.now.checked_add(time));
        let (binding, upstream) = (exchange.binding, exchange.upstream);
        let gone = match deadline {
            _ if !reusable => self.cache.close_connection(id).ok(),
            _ if binding => {
                self.pin(key, upstream);
                let inactive = ConnState::inactive(self.channel(key));
                let inactive = deadline.into_iter().fold(inactive, ConnState::until);
                let peer = &self.upstreams[upstream].peer;
                self.cache.set_connection_state(self.now, id, peer, inactive).ok().and_then(|change| change.evicted)
            }
            Some(deadline) => self.cache.checkin_until(self.now, id, deadline).unwrap_or(None),
            None => self.cache.checkin(self.now, id).unwrap_or(None),
        };
        gone.into_iter().for_each(|evicted| self.note(evicted));
    }

    /// Closes an upstream connection that can't be used any more.
    pub fn drop_link(&mut self, mut link: Link) {
        link.inbox.release(&mut self.pool);
        if let Ok(evicted) = self.cache.close_connection(link.id) {
            self.note(evicted);
        }
    }
}

/// The exchange of a client that is known to have one.
fn exchange_of(clients: &mut Slab<Client>, key: usize) -> &mut Exchange {
    clients[key].exchange.as_mut().expect("a connection was sought for it")
}
