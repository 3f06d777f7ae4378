//! Requests to connections: the cache says which connection to reuse, when to open one, and who waits.

use crate::client::Client;
use crate::conn::Conn;
use crate::exchange::Way;
use crate::opening::Phase;
use crate::stream::Socket;
use crate::trouble::Trouble;
use conncache::mio::Interest;
use conncache::{ConnId, Evicted, Grant, Granted, Hop, Place, Requested};
use http::connecting::{Race, out_of_descriptors};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long to wait for room in the queue of a Unix-domain socket.
const A_MOMENT: Duration = Duration::from_millis(50);
/// How many requests are begun at once: others follow in the next turn.
const MOST_STARTS: usize = 1_000;

impl Client {
    /// Starts what can be started.
    pub(crate) fn dispatch(&mut self) {
        for _ in 0..MOST_STARTS {
            if let Some(at) = self.asking.pop_front() {
                self.ask(at);
                continue;
            }
            let Some(Grant { owner, granted, .. }) = self.cache.grant(self.now) else { return };
            let at = owner.0 as usize;
            self.sites[at].is_asking = false;
            match granted {
                Granted::Reuse(found) => self.reuse(found.id, at),
                Granted::Open { place, evicted } => self.open(place, evicted, at),
                // The requests have no time of their own, and nobody refuses them.
                _ => self.asking.push_back(at),
            }
        }
    }

    /// Asks for a connection for the site's next request, unless it has none or waits for one.
    fn ask(&mut self, at: usize) {
        let site = &mut self.sites[at];
        if site.is_asking || !site.has_work() {
            return;
        }
        match self.cache.request(self.now, &site.route.peer, site.route.channel, Client::owner(at), None) {
            Ok(Requested::Reuse(found)) => self.reuse(found.id, at),
            Ok(Requested::Open { place, evicted }) => self.open(place, evicted, at),
            Ok(Requested::Wait(_)) => site.is_asking = true,
            Err(error) => unreachable!("no line is limited, and no cache drained: {error}"),
        }
    }

    /// Sends the site's next request on a connection that was handed out, and as many more as may be under way at once.
    /// Others follow only when all of these are answered: if the server lost one of them, the response to a later request
    /// could be taken for its own.
    fn reuse(&mut self, id: ConnId, at: usize) {
        self.asking.push_back(at);
        let (now, config, site) = (self.now, &self.config, &mut self.sites[at]);
        // A request that was sent in vain goes by a new connection. This one is closed in exchange: it may be as dead as
        // the one before.
        if site.has_repeats() {
            return self.discard(id);
        }
        let Some(conn) = self.cache.get_mut(id) else { return };
        let most = if site.breaks_pipelines { 1 } else { conn.most_under_way(config.pipeline) };
        while conn.exchanges().len() < most {
            let Some(mut exchange) = site.next(now, config) else { break };
            // The file is created before the request is sent: a response that has come can't wait for a descriptor.
            if let Err(error) = exchange.create_file() {
                // The request waits: for this connection's descriptor, or for the requests ahead of it.
                if out_of_descriptors(&error) || !conn.exchanges().is_empty() {
                    site.put_back(exchange);
                    break;
                }
                let why = exchange.no_file(&error);
                self.fail(exchange, why);
                return self.give_back(id, true); // nothing was sent on it
            }
            exchange.way = Way::Reused;
            conn.output().extend_from_slice(&self.requests[exchange.url]);
            conn.push(exchange, now);
        }
        if conn.exchanges().is_empty() {
            // The request that is left wants its descriptor. If there is none, others had the work, and the connection is as
            // good as it was.
            return if site.has_work() { self.discard(id) } else { self.give_back(id, true) };
        }
        if conn.flush().is_err() {
            // What the server said before it closed is still to be read.
            self.unread.push(id);
        }
        self.arm(id);
    }

    /// Opens a connection for the site's next request.
    fn open(&mut self, place: Place, evicted: Option<Evicted<Box<Conn>>>, at: usize) {
        self.asking.push_back(at);
        evicted.into_iter().for_each(|evicted| self.note_eviction(&evicted));
        let (now, config, site) = (self.now, &self.config, &mut self.sites[at]);
        let Some(exchange) = site.next(now, config) else {
            return self.cache.give_up(place);
        };
        let request = &self.requests[exchange.url];
        let mut conn = Conn::new(exchange, config.method, site.route.http_proxy());
        conn.output().extend_from_slice(request);
        match self.cache.insert_at(now, place, Box::new(conn)) {
            Ok(id) => self.begin(id, at),
            Err(refused) => {
                let why = format!("{}: {}", site.route.peer, refused.cause);
                refused.place.into_iter().for_each(|place| self.cache.give_up(place));
                for exchange in refused.conn.into_parts().0 {
                    self.fail(exchange, why.clone());
                }
            }
        }
    }

    /// Begins to connect, or goes on waiting for what it takes.
    pub(crate) fn begin(&mut self, id: ConnId, at: usize) {
        let (now, site, token) = (self.now, &mut self.sites[at], self.cache.token(id));
        let Some((conn, token)) = self.cache.get_mut(id).zip(token) else { return };
        let Some(exchange) = conn.front_mut() else { return };
        let give_up = exchange.deadline.min(now + self.config.connect_timeout);
        let is_over = exchange.deadline <= now;
        let addresses = match (site.route.peer.first_hop(), site.addresses.known(now)) {
            (Hop::Tcp(..), Some(Ok(addresses))) => addresses,
            (Hop::Tcp(..), Some(Err(why))) => {
                let why = why.to_owned();
                return self.broken(id, at, Trouble::Refused(why));
            }
            (Hop::Tcp(..), None) if is_over => {
                let why = format!("no address within {:?}", self.config.timeout);
                return self.broken(id, at, Trouble::TimedOut(why));
            }
            (Hop::Tcp(host, port), None) => {
                if !std::mem::replace(&mut site.is_looking_up, true) {
                    self.lookups.insert(self.resolver.lookup(host, port), at);
                }
                exchange.remove_file(); // the resolver takes descriptors, too
                return self.arm(id);
            }
            _ => Vec::new(),
        };
        let steps = match (exchange.create_file(), site.route.steps()) {
            (Ok(()), Ok(steps)) => steps,
            (Err(error), _) if out_of_descriptors(&error) => return self.starve(id, at),
            (Err(error), _) => {
                let why = exchange.no_file(&error);
                return self.broken(id, at, Trouble::Refused(why));
            }
            (_, Err(error)) => return self.broken(id, at, Trouble::Refused(error.to_string())),
        };
        match connect(site.route.peer.first_hop(), addresses, now) {
            Ok(socket) => {
                conn.begin(socket, Phase::Connecting { steps, give_up });
                match self.poll.registry().register(conn, token, Interest::READABLE | Interest::WRITABLE) {
                    Ok(()) => self.arm(id),
                    Err(error) => self.broken(id, at, Trouble::Io(error)),
                }
            }
            Err(error) if out_of_descriptors(&error) => self.starve(id, at),
            // A Unix-domain socket's queue is full.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !is_over => {
                conn.phase = Phase::Waiting { again: Some(now + A_MOMENT) };
                self.arm(id);
            }
            Err(error) => {
                let why = format!("can't connect to {}: {error}", site.route.peer);
                self.broken(id, at, Trouble::Refused(why));
            }
        }
    }

    /// Takes the answers that the resolver has, and goes on with what waited for them.
    pub(crate) fn take_addresses(&mut self) {
        while let Some((id, found)) = self.resolver.poll() {
            let Some(at) = self.lookups.remove(&id) else { continue };
            let site = &mut self.sites[at];
            site.is_looking_up = false;
            let found = found.map_err(|error| format!("can't resolve {error}"));
            site.addresses.found(found, self.now + self.config.address_time);
            for id in self.connections_of(at) {
                if self.cache.get(id).is_some_and(|conn| matches!(conn.phase, Phase::Waiting { .. })) {
                    self.begin(id, at);
                }
            }
        }
    }

    /// No descriptor is left for this connection. An inactive one goes for its descriptor; if there is none, there
    /// won't be more connections than there are now. The request waits for one of them.
    fn starve(&mut self, id: ConnId, at: usize) {
        let exchanges = self.close(id, at);
        if let Some(evicted) = self.cache.shed() {
            self.note_eviction(&evicted);
        } else if let open @ 1.. = self.cache.counts().active {
            let mut limits = self.cache.limits().clone();
            limits.max_connections = Some(open);
            self.cache.set_limits(limits).expect("numbers of connections don't contradict each other");
        } else {
            for exchange in exchanges {
                self.fail(exchange, "too many open files: no descriptor is left for a connection".into());
            }
            return;
        }
        exchanges.into_iter().for_each(|exchange| self.sites[at].put_back(exchange));
    }
}

/// Begins to connect to one of the addresses, or to the path.
fn connect(hop: Hop<'_>, addresses: Vec<SocketAddr>, now: Instant) -> io::Result<Socket> {
    match hop {
        Hop::Tcp(..) => Ok(Socket::Racing(Box::new(Race::begin(addresses, now)?))),
        #[cfg(unix)]
        Hop::Unix(path) => conncache::mio::net::UnixStream::connect(path).map(Socket::Unix),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}
