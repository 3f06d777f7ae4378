//! Requests that a client has sent behind the one that is being answered (pipelined). They go upstream at once, ahead
//! of their turn, each on a connection of its own. So their answers are there when their turn comes, and leave
//! together.
//!
//! Only requests that change nothing go ahead, and only behind others of this kind, so that the order in which the
//! upstream sees them doesn't matter. Nothing is read of a response before its turn. A request whose connection
//! couldn't be made is sent in its turn, as if it had never been tried.

use crate::buffer::{Outbox, Pool};
use crate::client::{Client, Ending};
use crate::exchange::{Attempt, Exchange, Link};
use crate::messages::{self, Additions};
use crate::proxy::Proxy;
use conncache::mio::event::Event;
use conncache::mio::net::TcpStream;
use conncache::{ChannelBindingId, ConnId, Owner, Place, Requested};
use http::framing::request;
use std::time::Instant;

/// How many requests of one client are under way at most, besides the one that is being answered.
const MOST_AHEAD: usize = 15;

/// A request before its turn.
pub struct Ahead {
    /// Without a link it has to be sent in its turn.
    pub exchange: Exchange,
    pub to_upstream: Outbox,
}

impl Ahead {
    fn is_on(&self, id: ConnId) -> bool {
        self.exchange.link.as_ref().is_some_and(|link| link.id == id)
    }
}

impl Client {
    /// Whether the inbox may hold a request that can go ahead.
    fn may_look_ahead(&self) -> bool {
        let passable = |exchange: &Exchange| exchange.goes_ahead && exchange.keep_alive && exchange.link.is_some();
        !self.inbox.is_empty()
            && !self.looked_ahead
            && self.ending == Ending::Open
            && self.pin.is_none()
            && self.ahead.len() < MOST_AHEAD
            && self.exchange.as_ref().is_some_and(passable)
            && self.ahead.back().is_none_or(|last| passable(&last.exchange))
    }

    /// Takes the next request out of the inbox, if it is there whole and may go ahead. Whether it was taken.
    fn take_ahead(&mut self, pool: &mut Pool, additions: Additions<'_>, now: Instant) -> bool {
        self.looked_ahead = true;
        // What is wrong with a request is answered in its turn, when it is read once more.
        self.request.reset();
        let Ok((used, request::Event::Head(head))) = self.request.next(self.inbox.bytes()) else { return false };
        let mut exchange = Exchange::new(&head, self.status, now, pool);
        if !exchange.goes_ahead {
            return false;
        }
        exchange.request_done = true;
        let mut to_upstream = Outbox::default();
        messages::request_head(to_upstream.append(pool), &head, &self.ip, additions);
        self.inbox.consume(used, pool);
        self.looked_ahead = false;
        self.ahead.push_back(Ahead { exchange, to_upstream });
        true
    }
}

impl Proxy {
    /// Sends the further requests of a client ahead of their turn, as far as there are connections for them.
    pub fn look_ahead(&mut self, key: usize) {
        while self.clients.get(key).is_some_and(Client::may_look_ahead) && !self.wants_rid() {
            let host = &self.upstreams[self.balance.turn()].host;
            let additions = Additions { host, trusted: self.trust_forwarded };
            if !self.clients[key].take_ahead(&mut self.pool, additions, self.now) {
                return;
            }
            let Some(upstream) = self.choose(&[]) else { return };
            let link = self.link_ahead(key, upstream);
            let ahead = &mut self.clients[key].ahead;
            let at = ahead.len() - 1;
            (ahead[at].exchange.upstream, ahead[at].exchange.link) = (upstream, link);
            self.send_ahead(key, at);
        }
    }

    /// A connection for a request ahead of its turn, unless it would have to wait for one.
    fn link_ahead(&mut self, key: usize, upstream: usize) -> Option<Link> {
        let (peer, owner) = (&self.upstreams[upstream].peer, Owner(key as u64));
        match self.cache.request(self.now, peer, ChannelBindingId::PLAIN, owner, self.wait_end(key)).ok()? {
            Requested::Reuse(found) => {
                self.counts.reused += 1;
                self.counts.upstreams[upstream].requests += 1;
                Some(Link::reused(found.id, self.now))
            }
            Requested::Open { place, evicted } => {
                evicted.into_iter().for_each(|evicted| self.note(evicted));
                self.open_ahead(upstream, place)
            }
            Requested::Wait(waiter) => {
                self.leave_line(waiter);
                None
            }
        }
    }

    fn open_ahead(&mut self, upstream: usize, place: Place) -> Option<Link> {
        let attempt = Attempt { since: self.now, address: self.upstreams[upstream].addrs[0] };
        match TcpStream::connect(attempt.address) {
            Ok(stream) => self.insert(place, stream, attempt).ok(),
            Err(_) => {
                self.cache.give_up(place);
                None
            }
        }
    }

    /// Sends a request ahead of its turn, once its connection is made. A failure shows in its turn.
    fn send_ahead(&mut self, key: usize, at: usize) {
        let Some(Ahead { exchange, to_upstream }) = self.clients[key].ahead.get_mut(at) else { return };
        let Some(link) = exchange.link.as_ref().filter(|link| link.connecting.is_none()) else { return };
        let Some(upstream) = self.cache.get_mut(link.id) else { return };
        exchange.send_request(to_upstream, upstream);
    }

    /// An event for the connection of a request ahead of its turn.
    pub fn on_ahead(&mut self, key: usize, id: ConnId, event: &Event) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let Some(at) = client.ahead.iter().position(|ahead| ahead.is_on(id)) else { return };
        let Ahead { exchange, to_upstream } = &mut client.ahead[at];
        let Some(link) = &mut exchange.link else { return };
        link.inbox.tell(event);
        if event.is_writable() {
            to_upstream.unblock();
        }
        if event.is_readable() {
            link.heard.get_or_insert(self.now);
        }
        if link.connecting.is_some() {
            let upstream = exchange.upstream;
            match self.is_connected(id, upstream) {
                Ok(false) => return,
                Ok(true) => {
                    self.clients[key].ahead[at].exchange.link.iter_mut().for_each(|link| link.connecting = None)
                }
                Err(_) => return self.give_up_ahead(key, id),
            }
        }
        self.send_ahead(key, at);
    }

    /// The connection of a request ahead of its turn couldn't be made.
    pub fn give_up_ahead(&mut self, key: usize, id: ConnId) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let Some(ahead) = client.ahead.iter_mut().find(|ahead| ahead.is_on(id)) else { return };
        let link = ahead.exchange.link.take();
        link.into_iter().for_each(|link| self.drop_link(link));
    }

    /// Forgets the requests ahead of their turn: no further one will be answered.
    pub fn drop_ahead(&mut self, ahead: impl IntoIterator<Item = Ahead>) {
        for Ahead { exchange, mut to_upstream } in ahead {
            to_upstream.clear(&mut self.pool);
            exchange.link.into_iter().for_each(|link| self.drop_link(link));
        }
    }
}
