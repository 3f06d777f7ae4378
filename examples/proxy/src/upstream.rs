//! Which upstream connection serves an exchange: one from the cache or a new one, and another when it fails.

use crate::client::Client;
use crate::doors::is_out_of_descriptors;
use crate::drive::Next;
use crate::exchange::{Attempt, Exchange, Link};
use crate::journal::Concerned;
use crate::proxy::Proxy;
use conncache::mio::net::TcpStream;
use conncache::{Cause, ChannelBindingId, ConnId, ConnState, Owner};
use log::{info, warn};
use slab::Slab;
use std::io::{self, ErrorKind};
use std::time::Duration;

/// How long a connection may have been inactive for a request that can't be repeated: less than any server in common use
/// keeps an idle one (gunicorn 2 s, uvicorn and Node.js 5 s), so that it won't close it at that moment.
const YOUNG: Duration = Duration::from_secs(1);

impl Proxy {
    /// Finds a connection for the exchange: an inactive one, unless one has failed it already, or a new one. Goes on to
    /// other addresses and upstreams as long as connecting fails at once.
    pub fn link(&mut self, key: usize) -> Next {
        let (owner, channel) = (Owner(key as u64), self.channel(key));
        loop {
            let reused = self.reuse(key, channel);
            let exchange = exchange_of(&mut self.clients, key);
            if let Some(id) = reused {
                exchange.link = Some(Link::reused(id, self.now));
                self.counts.reused += 1;
                self.counts.upstreams[exchange.upstream].requests += 1;
                return self.advance(key);
            }
            let (at, upstream) = (exchange.upstream, &self.upstreams[exchange.upstream]);
            let attempt = Attempt { since: self.now, address: self.balance.address(at) };
            let (peer, addr) = (upstream.peer.clone(), upstream.addrs[attempt.address]);
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
                Err(error) if is_out_of_descriptors(&error) => {
                    return self.fail(key, 503, &format!("no room for a connection to {peer}: {error}"), false);
                }
                Err(error) => match self.elsewhere(key, attempt, &error) {
                    None => continue,
                    Some(next) => return next,
                },
            };
            let _ = stream.set_nodelay(true);
            match self.cache.insert(self.now, stream, &peer, channel, owner) {
                Ok(id) => exchange_of(&mut self.clients, key).link = Some(Link::begun(id, attempt)),
                Err(error) => {
                    let full = matches!(error.cause, Cause::TokensExhausted { .. });
                    warn!("peer={peer} full={full} error={error}");
                    return self.fail(key, 503, &format!("no room for a connection to {peer}: {error}"), false);
                }
            }
            return Next::Wait;
        }
    }

    /// An inactive connection for the exchange, unless one has failed it already. A request that can't be repeated goes
    /// on one that is hardly about to be closed.
    fn reuse(&mut self, key: usize, channel: ChannelBindingId) -> Option<ConnId> {
        let exchange = exchange_of(&mut self.clients, key);
        if exchange.retried {
            return None;
        }
        // What a client has for itself is authenticated: a new one would have to be authenticated first.
        let any = exchange.stays_replayable() || self.reuse_always || channel != ChannelBindingId::PLAIN;
        let peer = &self.upstreams[exchange.upstream].peer;
        let found = self.cache.checkout(self.now, peer, channel, Owner(key as u64))?;
        if any || found.inactive_for < YOUNG {
            return Some(found.id);
        }
        // The others have been inactive for even longer.
        self.cache.close_connection(found.id).into_iter().for_each(|evicted| self.note(evicted));
        None
    }

    /// A connection that was begun failed, or took too long: tries elsewhere.
    pub fn refused(&mut self, key: usize, error: io::Error) {
        let link = self.clients.get_mut(key).and_then(|client| client.exchange.as_mut()).and_then(|e| e.link.take());
        let Some(link) = link else { return };
        let attempt = link.connecting;
        self.drop_link(link);
        let Some(attempt) = attempt else { return };
        let next = self.elsewhere(key, attempt, &error).unwrap_or_else(|| self.link(key));
        if let Next::Again | Next::Yield = next {
            self.again.push(key);
        }
    }

    /// After an attempt to connect failed: the upstream's next address, or else the next upstream. If all have been
    /// tried, the client is answered, and what is next for it comes back.
    fn elsewhere(&mut self, key: usize, attempt: Attempt, error: &io::Error) -> Option<Next> {
        let exchange = exchange_of(&mut self.clients, key);
        let (at, upstream) = (exchange.upstream, &self.upstreams[exchange.upstream]);
        let (peer, all) = (upstream.peer.clone(), upstream.addrs.len());
        let concerned = Concerned::of(&self.clients[key], &self.upstreams, self.now);
        warn!("event=refused peer={peer} addr={} error={error} {concerned}", upstream.addrs[attempt.address]);
        self.counts.upstreams[at].connect_failed += 1;
        self.balance.address_failed(at, attempt.address, all);
        let exchange = exchange_of(&mut self.clients, key);
        exchange.refused += 1;
        if exchange.refused < all {
            return None;
        }
        // Without a local port or a route to this kind of address the upstream may well be up.
        let status = match error.kind() {
            ErrorKind::AddrNotAvailable => 503,
            ErrorKind::TimedOut => 504,
            _ => 502,
        };
        if status != 503 {
            self.quarantine(at);
        }
        if self.next_upstream(key) {
            return None;
        }
        Some(self.fail(key, status, &format!("couldn't connect to {peer}: {error}"), false))
    }

    /// Sends the exchange to an upstream that it hasn't tried. Whether there is one.
    fn next_upstream(&mut self, key: usize) -> bool {
        let exchange = exchange_of(&mut self.clients, key);
        exchange.tried.push(exchange.upstream);
        exchange.refused = 0;
        let next = self.balance.choose(self.now, &exchange.tried);
        next.into_iter().for_each(|next| exchange.upstream = next);
        next.is_some()
    }

    /// Asks others than this upstream for a while, since it couldn't be connected to or didn't answer.
    pub fn quarantine(&mut self, upstream: usize) {
        if self.upstreams.len() > 1 {
            warn!("event=quarantine peer={}", self.upstreams[upstream].peer);
        }
        self.balance.failed(upstream, self.now);
    }

    /// An upstream connection failed before the response was complete. A request that may be repeated goes to a new
    /// connection if this one was reused, for it may have died of age, and else to the next upstream.
    pub fn upstream_failed(&mut self, key: usize, why: &str) -> Next {
        let client = &mut self.clients[key];
        let Some(exchange) = &mut client.exchange else { return Next::Wait };
        let Some(link) = exchange.link.take() else { return Next::Wait };
        let (at, reused) = (exchange.upstream, link.reused);
        let (started, replayable) = (exchange.started, exchange.replayable && !exchange.answered);
        let handed_out_dead = reused && !exchange.answered;
        exchange.retried |= handed_out_dead && replayable;
        self.counts.handed_out_dead += u64::from(handed_out_dead);
        self.counts.upstreams[at].errors += 1;
        self.drop_link(link);
        if !handed_out_dead && !started {
            self.quarantine(at);
        }
        let peer = self.upstreams[at].peer.clone();
        if replayable && (reused || self.next_upstream(key)) {
            info!("event=retry peer={peer} reason={why:?}");
            self.counts.retried += 1;
            self.clients[key].start_over();
            return self.link(key);
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
