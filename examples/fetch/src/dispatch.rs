//! Requests to connections: reused ones if there are any, else newly opened ones.

use crate::client::Client;
use crate::conn::Conn;
use crate::exchange::{Exchange, Way};
use crate::opening::Phase;
use crate::stream::Socket;
use conncache::{ConnId, Hop, Peer};
use http::connecting::{Race, out_of_descriptors};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long to wait for a descriptor to become free.
const STARVING: Duration = Duration::from_millis(50);
/// How many requests are begun in one turn: another one follows at once.
const MOST_STARTS: usize = 1_000;

impl Client {
    /// Starts what can be started.
    pub(crate) fn dispatch(&mut self) {
        if self.starving.as_ref().is_some_and(|(at, _)| *at <= self.now) {
            for site in self.starving.take().into_iter().flat_map(|(_, sites)| sites) {
                self.make_ready(site);
            }
        }
        for _ in 0..MOST_STARTS {
            let Some(&site) = self.ready.front() else { return };
            match self.next_request(site) {
                Some(exchange) => self.start(site, exchange),
                None => {
                    self.ready.pop_front();
                    self.sites[site].is_ready = false;
                }
            }
        }
    }

    fn next_request(&mut self, site: usize) -> Option<Exchange> {
        let is_starving = self.starving.as_ref().is_some_and(|(_, sites)| sites.contains(&site));
        let full = self.sites[site].busy >= self.config.connections;
        if full || is_starving {
            return None;
        }
        let (now, config) = (self.now, &self.config);
        self.sites[site].next(|number, url| new_exchange(number, url, now, config))
    }

    fn start(&mut self, at: usize, exchange: Exchange) {
        // A response that has come can't wait for a descriptor: its file is there before it is asked for.
        let Some(mut exchange) = self.with_file(at, exchange) else { return };
        let site = &mut self.sites[at];
        if exchange.way == Way::Retried {
            // The cache is passed by. For the number of connections not to grow, one of it goes: it is of the same age
            // as the one that was found dead.
            let other =
                self.cache.find_inactive_connection(self.now, &site.route.peer, site.route.channel).map(|(id, _)| id);
            if let Ok(evicted) = other.and_then(|id| self.cache.close_connection(id)) {
                self.note_eviction(evicted);
            }
        } else if let Some(found) =
            self.cache.checkout(self.now, &site.route.peer, site.route.channel, Client::owner(at))
        {
            site.busy += 1;
            self.send(found.id, at, exchange);
            return;
        } else {
            exchange.way = Way::New;
        }
        self.connect(at, exchange);
    }

    fn connect(&mut self, at: usize, mut exchange: Exchange) {
        let site = &mut self.sites[at];
        match (site.route.peer.first_hop(), site.addresses.known(self.now)) {
            (Hop::Unix(_), _) => return self.open(at, exchange, &[]),
            (_, Some(Ok(addresses))) => return self.open(at, exchange, &addresses),
            (_, Some(Err(why))) => {
                let why = why.to_owned();
                return self.fail(exchange, why);
            }
            (Hop::Tcp(host, port), None) => {
                if !std::mem::replace(&mut site.is_looking_up, true) {
                    self.lookups.insert(self.resolver.lookup(host, port), at);
                }
            }
        }
        let deadline = exchange.deadline;
        exchange.remove_file(); // the resolver takes descriptors, too
        site.busy += 1;
        site.waiting.push(exchange);
        self.arm(Some(deadline));
    }

    /// Takes the answers that the resolver has, and goes on with what waited for them.
    pub(crate) fn take_addresses(&mut self) {
        while let Some((id, found)) = self.resolver.poll() {
            let Some(at) = self.lookups.remove(&id) else { continue };
            let site = &mut self.sites[at];
            site.is_looking_up = false;
            let found = found.map_err(|error| format!("can't resolve {error}"));
            site.addresses.found(found, self.now + self.config.address_time);
            let waiting = std::mem::take(&mut site.waiting);
            site.busy -= waiting.len();
            for exchange in waiting {
                self.connect(at, exchange);
            }
            self.make_ready(at);
        }
    }

    /// Opens a connection to whichever of these addresses answers first.
    fn open(&mut self, at: usize, exchange: Exchange, addresses: &[SocketAddr]) {
        let Some(exchange) = self.with_file(at, exchange) else { return };
        let steps = match self.sites[at].route.steps() {
            Ok(steps) => steps,
            Err(error) => return self.fail(exchange, error.to_string()),
        };
        let socket = loop {
            match begin(&self.sites[at].route.peer, addresses, self.now) {
                Ok(socket) => break socket,
                Err(error) if out_of_descriptors(&error) => {
                    if !self.shed() {
                        return self.starve(at, exchange);
                    }
                }
                // A Unix-domain socket's queue is full.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && exchange.deadline > self.now => {
                    return self.wait_a_moment(at, exchange);
                }
                Err(error) => {
                    let why = format!("can't connect to {}: {error}", self.sites[at].route.peer);
                    return self.fail(exchange, why);
                }
            }
        };
        let give_up = exchange.deadline.min(self.now + self.config.connect_timeout);
        let phase = Phase::Connecting { steps, give_up };
        let url = &self.urls[exchange.url];
        let route = &self.sites[at].route;
        let mut conn = Conn::connecting(socket, exchange, self.config.method, phase, route.http_proxy());
        route.write_request(conn.output(), self.config.method, url);
        let deadline = conn.deadline(self.config.timeout);
        let site = &mut self.sites[at];
        match self.cache.insert(self.now, conn, &site.route.peer, site.route.channel, Client::owner(at)) {
            Ok(_) => {
                site.busy += 1;
                self.arm(deadline);
            }
            Err(refused) => {
                let why = format!("{}: {}", site.route.peer, refused.cause);
                for exchange in refused.conn.into_parts().0 {
                    self.fail(exchange, why.clone());
                }
            }
        }
    }

    /// The request with the file for its body, if it is to have one; `None` if it waits for a descriptor, or failed.
    fn with_file(&mut self, at: usize, mut exchange: Exchange) -> Option<Exchange> {
        while let Err(error) = exchange.create_file() {
            if !out_of_descriptors(&error) {
                let why = exchange.no_file(&error);
                self.fail(exchange, why);
                return None;
            }
            if !self.shed() {
                self.starve(at, exchange);
                return None;
            }
        }
        Some(exchange)
    }

    /// Gives up an inactive connection for its descriptor; whether there was one.
    fn shed(&mut self) -> bool {
        let evicted = self.cache.shed();
        let is_shed = evicted.is_some();
        evicted.into_iter().for_each(|evicted| self.note_eviction(evicted));
        is_shed
    }

    /// No descriptor is left, not even the cache's: waits for one, as long as one may become free.
    fn starve(&mut self, at: usize, exchange: Exchange) {
        if self.cache.stats().active == 0 || exchange.deadline <= self.now {
            return self.fail(exchange, "too many open files: no descriptor is left for a connection".into());
        }
        self.wait_a_moment(at, exchange);
    }

    fn wait_a_moment(&mut self, at: usize, exchange: Exchange) {
        self.sites[at].put_back(exchange);
        self.starving.get_or_insert((self.now + STARVING, Vec::new())).1.push(at);
    }

    /// Sends a request on a connection that was handed out, and as many more as may be under way at once. All are
    /// answered before there are others: a server that loses some of them could pass off a later one's response as
    /// theirs.
    fn send(&mut self, id: ConnId, at: usize, exchange: Exchange) {
        let Some(conn) = self.cache.get_mut(id) else { return };
        let (now, config, site) = (self.now, &self.config, &mut self.sites[at]);
        let most = if site.breaks_pipelines { 1 } else { conn.most_under_way(config.pipeline) };
        let mut next = Some(exchange);
        while let Some(mut exchange) = next {
            exchange.way = Way::Reused;
            site.route.write_request(conn.output(), config.method, &self.urls[exchange.url]);
            conn.push(exchange, now);
            let room = conn.exchanges().len() < most;
            let make = |number, url| new_exchange(number, url, now, config);
            next = room.then(|| site.next_for_any_connection(make)).flatten();
            if next.as_mut().is_some_and(|next| next.create_file().is_err()) {
                next.take().into_iter().for_each(|next| site.put_back(next));
            }
        }
        let deadline = conn.deadline(config.timeout);
        let flushed = conn.flush();
        self.arm(deadline);
        if flushed.is_err() {
            // What the server said before it closed is still to be read.
            self.unread.push(id);
        }
    }
}

/// Begins to connect to one of the addresses, or to the path.
fn begin(peer: &Peer, addresses: &[SocketAddr], now: Instant) -> io::Result<Socket> {
    match peer.first_hop() {
        Hop::Tcp(..) => Ok(Socket::Racing(Box::new(Race::begin(addresses.iter().copied(), now)?))),
        #[cfg(unix)]
        Hop::Unix(path) => conncache::mio::net::UnixStream::connect(path).map(Socket::Unix),
        #[cfg(not(unix))]
        Hop::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn new_exchange(number: u64, url: usize, now: Instant, config: &crate::client::Config) -> Exchange {
    let mut exchange = Exchange::new(url, now, config.timeout);
    if let Some(dir) = &config.output {
        exchange.write_to(dir.join(number.to_string()));
    }
    exchange
}
