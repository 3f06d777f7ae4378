//! Which upstream connection serves an exchange: one from the cache or a new one, and another when it fails.

use crate::client::Client;
use crate::doors::is_out_of_descriptors;
use crate::drive::Next;
use crate::exchange::{Attempt, Exchange, Link};
use crate::journal::Concerned;
use crate::proxy::Proxy;
use conncache::mio::net::TcpStream;
use conncache::{ConnId, ConnState, Found, Owner, Place, Requested};
use log::{info, warn};
use slab::Slab;
use std::io::{self, ErrorKind};
use std::time::Duration;

/// How long a connection may have been inactive for a request that can't be repeated: less than any server in common use
/// keeps an idle one (gunicorn 2 s, uvicorn and Node.js 5 s), so that it won't close it at that moment.
const YOUNG: Duration = Duration::from_secs(1);

impl Proxy {
    /// Finds a connection for the exchange: an inactive one or a new one, or a place in the line of those who wait. Goes
    /// on to other addresses and upstreams as long as connecting fails at once.
    pub fn link(&mut self, key: usize) -> Next {
        loop {
            let (at, channel) = (exchange_of(&mut self.clients, key).upstream, self.channel(key));
            let (peer, until) = (&self.upstreams[at].peer, self.wait_end(key));
            let next = match self.cache.request(self.now, peer, channel, Owner(key as u64), until) {
                Ok(Requested::Reuse(found)) => self.take_over(key, found),
                Ok(Requested::Open { place, evicted }) => {
                    evicted.into_iter().for_each(|evicted| self.note(evicted));
                    self.open(key, place)
                }
                Ok(Requested::Wait(waiter)) => return self.wait_in_line(key, waiter),
                Err(error) => {
                    let why = format!("no room for a connection to {peer}: {error}");
                    return self.fail(key, 503, &why, false);
                }
            };
            if let Some(next) = next {
                return next;
            }
        }
    }

    /// Sends the request on a connection that was inactive. One that can't be repeated goes only on a connection that is
    /// hardly about to be closed; `None` if this one is too old: then another has to be asked for.
    pub fn take_over(&mut self, key: usize, found: Found) -> Option<Next> {
        // What a client has for itself is authenticated: a new one would have to be authenticated first.
        let own = self.clients[key].pin.is_some();
        let exchange = exchange_of(&mut self.clients, key);
        if exchange.stays_replayable() || self.reuse_always || own || found.inactive_for < YOUNG {
            exchange.link = Some(Link::reused(found.id, self.now));
            exchange.wait_end = None;
            self.counts.reused += 1;
            self.counts.upstreams[exchange.upstream].requests += 1;
            return Some(self.advance(key));
        }
        // The others have been inactive for even longer.
        exchange.fresh = true;
        self.cache.close_connection(found.id).into_iter().for_each(|evicted| self.note(evicted));
        None
    }

    /// Opens a connection. `None` if that failed and another address or upstream has to be tried.
    pub fn open(&mut self, key: usize, place: Place) -> Option<Next> {
        let at = exchange_of(&mut self.clients, key).upstream;
        let attempt = Attempt { since: self.now, address: self.upstreams[at].addrs[0] };
        let opened = match TcpStream::connect(attempt.address) {
            Err(error) if is_out_of_descriptors(&error) && self.make_room_upstream() => {
                TcpStream::connect(attempt.address)
            }
            opened => opened,
        };
        let error = match opened {
            Ok(stream) => return Some(self.begin(key, place, stream, attempt)),
            Err(error) => error,
        };
        // Others have connections, and will be done with them.
        if is_out_of_descriptors(&error) && self.cache.counts().active > 0 {
            return Some(self.wait_for_descriptor(key, place));
        }
        let why = format!("no room for a connection to {}: {error}", place.peer());
        self.cache.give_up(place);
        match is_out_of_descriptors(&error) {
            true => Some(self.fail(key, 503, &why, false)),
            false => self.elsewhere(key, attempt, &error),
        }
    }

    fn begin(&mut self, key: usize, place: Place, stream: TcpStream, attempt: Attempt) -> Next {
        match self.insert(place, stream, attempt) {
            Ok(link) => {
                let exchange = exchange_of(&mut self.clients, key);
                (exchange.link, exchange.wait_end) = (Some(link), None);
                Next::Wait
            }
            Err(why) => self.fail(key, 503, &why, false),
        }
    }

    /// Puts a connection that is being made into the cache.
    pub fn insert(&mut self, place: Place, stream: TcpStream, attempt: Attempt) -> Result<Link, String> {
        let _ = stream.set_nodelay(true);
        match self.cache.insert_at(self.now, place, stream) {
            Ok(id) => {
                let _ = self.cache.set_deadline(id, self.now.checked_add(self.connect_timeout));
                Ok(Link::begun(id, attempt))
            }
            Err(error) => {
                let why = format!("no room for a connection: {error}");
                error.place.into_iter().for_each(|place| self.cache.give_up(place));
                Err(why)
            }
        }
    }

    /// Whether a connection that is being made is established now. False if the event came too early.
    pub fn is_connected(&mut self, id: ConnId, upstream: usize) -> io::Result<bool> {
        let Some(stream) = self.cache.get_mut(id) else { return Ok(false) };
        if !http::connecting::connected(stream)? {
            return Ok(false);
        }
        let _ = self.cache.set_deadline(id, None);
        self.counts.opened += 1;
        self.counts.upstreams[upstream].requests += 1;
        Ok(true)
    }

    /// A connection isn't made in time.
    pub fn connect_overdue(&mut self, key: usize, id: ConnId) {
        let exchange = self.clients.get(key).and_then(|client| client.exchange.as_ref());
        if exchange.and_then(|exchange| exchange.link.as_ref()).is_some_and(|link| link.id == id) {
            let why = format!("no connection within {:?}", self.connect_timeout);
            return self.refused(key, io::Error::new(ErrorKind::TimedOut, why));
        }
        self.give_up_ahead(key, id);
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
        warn!("event=refused peer={peer} addr={} error={error} {concerned}", attempt.address);
        self.counts.upstreams[at].connect_failed += 1;
        self.upstreams[at].address_failed(attempt.address);
        let exchange = exchange_of(&mut self.clients, key);
        exchange.refused += 1;
        if exchange.refused < all {
            return None;
        }
        self.doubt_names();
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

    /// The next upstream in turn that hasn't been tried, at best one where the request doesn't have to wait.
    pub fn choose(&mut self, tried: &[usize]) -> Option<usize> {
        let (cache, upstreams) = (&self.cache, &self.upstreams);
        let has_room = |at: usize| {
            cache.limits().max_connections_per_peer.is_none_or(|most| {
                let counts = cache.counts_of_peer(&upstreams[at].peer);
                counts.active < most && counts.waiting == 0
            })
        };
        self.balance.choose(self.now, tried, has_room)
    }

    /// Sends the exchange to an upstream that it hasn't tried. Whether there is one.
    pub fn next_upstream(&mut self, key: usize) -> bool {
        let exchange = exchange_of(&mut self.clients, key);
        exchange.tried.push(exchange.upstream);
        exchange.refused = 0;
        let tried = exchange.tried.clone();
        let next = self.choose(&tried);
        next.into_iter().for_each(|next| exchange_of(&mut self.clients, key).upstream = next);
        next.is_some()
    }

    /// Has a request whose upstream failed while it waited wait for another one, if there is one that it hasn't tried.
    /// Nothing was sent, so that it may come back to this one.
    pub fn wait_elsewhere(&mut self, key: usize) {
        let exchange = exchange_of(&mut self.clients, key);
        let others: Vec<usize> = exchange.tried.iter().copied().chain([exchange.upstream]).collect();
        if let Some(next) = self.choose(&others) {
            let exchange = exchange_of(&mut self.clients, key);
            (exchange.upstream, exchange.refused) = (next, 0);
        }
    }

    /// Asks others than this upstream for a while, since it couldn't be connected to or didn't answer. Those who wait for
    /// it go there, too, unless all have failed: then it's asked all the same.
    pub fn quarantine(&mut self, upstream: usize) {
        self.balance.failed(upstream, self.now);
        if self.upstreams.len() > 1 {
            let peer = &self.upstreams[upstream].peer;
            warn!("event=quarantine peer={peer}");
            if (0..self.upstreams.len()).any(|at| self.balance.is_well(at, self.now)) {
                self.cache.refuse(peer);
            }
        }
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
        exchange.fresh |= handed_out_dead && replayable;
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
        let (binding, fresh, upstream) = (exchange.binding, exchange.fresh, exchange.upstream);
        let gone = match deadline {
            _ if !reusable => self.cache.close_connection(id).ok(),
            _ if binding || fresh => {
                if binding {
                    self.pin(key, upstream);
                }
                let inactive = ConnState::inactive(self.own_channel(key));
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
