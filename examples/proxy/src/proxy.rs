//! The reactor's state and what is not about a single exchange: clients come and go, time passes, the end.

use crate::address::Upstream;
use crate::balance::Balance;
use crate::buffer::Pool;
use crate::client::{Client, Ending};
use crate::counts::Counts;
use crate::crew::Crew;
use crate::doors::Doors;
use crate::journal::{End, Journal};
use crate::names::Names;
use crate::options::Times;
use crate::pinning::FRESH;
use crate::tunnel::SILENCE;
use conncache::mio::event::Event;
use conncache::mio::net::TcpStream;
use conncache::mio::{Registry, Token};
use conncache::{AggressiveCache, ChannelBindingId, Evicted};
use log::{debug, info, warn};
use slab::Slab;
use std::io;
use std::time::{Duration, Instant};

/// The host's tokens: the two listeners, the signals, other threads, and from here on the clients. The cache has its own block.
pub const LISTENER: Token = Token(0);
pub const STATUS: Token = Token(1);
pub const SIGNAL: Token = Token(2);
const FIRST_CLIENT: usize = 16;
/// For how long a client may say nothing between two requests.
const CLIENT_IDLE: Duration = Duration::from_secs(75);
/// For how long a client that has its last answer may say nothing before its connection is closed. One that goes on
/// sending has six times as long.
const LINGER: Duration = Duration::from_secs(5);
/// How much of what comes in masses one turn takes on.
const MOST_EXPIRED: usize = 64;

pub struct Proxy {
    pub cache: AggressiveCache<TcpStream>,
    pub clients: Slab<Client>,
    pub upstreams: Vec<Upstream>,
    /// `None` if no upstream has a name.
    pub names: Option<Names>,
    pub balance: Balance,
    pub pool: Pool,
    pub counts: Counts,
    /// Read once in each turn of the loop.
    pub now: Instant,
    /// Clients with more to do than one turn allows.
    pub again: Vec<usize>,
    /// Clients whose writes were put off to the end of the turn.
    pub to_write: Vec<usize>,
    /// The writes that were put off are being made.
    pub writing: bool,
    pub draining: bool,
    grace: Duration,
    /// While draining: until when clients may send another request.
    grace_end: Option<Instant>,
    /// When draining ends, finished or not.
    drain_end: Option<Instant>,
    pub timeout: Duration,
    pub connect_timeout: Duration,
    /// For how long a request waits in line for a connection.
    pub wait: Duration,
    /// How many bytes of a request's body have to come in a second.
    pub min_rate: u64,
    /// Requests that can't be repeated go on any inactive connection.
    pub reuse_always: bool,
    /// What requests say of clients before is passed on.
    pub trust_forwarded: bool,
    pub journal: Journal,
    pub registry: Registry,
    pub doors: Doors,
    /// The channel binding made last, for a client with connections of its own.
    pub last_channel: ChannelBindingId,
    next_sweep: Instant,
    pub crew: Crew,
}

impl Proxy {
    pub fn new(
        registry: &Registry,
        cache: AggressiveCache<TcpStream>,
        upstreams: Vec<Upstream>,
        times: Times,
        now: Instant,
    ) -> io::Result<Proxy> {
        Ok(Proxy {
            cache,
            clients: Slab::new(),
            balance: Balance::new(upstreams.len(), times.quarantine),
            counts: Counts::new(upstreams.len(), now),
            upstreams,
            names: None,
            pool: Pool::default(),
            now,
            again: Vec::new(),
            to_write: Vec::new(),
            writing: false,
            draining: false,
            grace: times.grace,
            grace_end: None,
            drain_end: None,
            timeout: times.timeout,
            connect_timeout: times.connect,
            wait: times.wait,
            min_rate: 0,
            reuse_always: false,
            trust_forwarded: false,
            journal: Journal::default(),
            registry: registry.try_clone()?,
            doors: Doors::default(),
            last_channel: FRESH,
            next_sweep: now,
            crew: Crew::default(),
        })
    }

    pub fn client_token(key: usize) -> Token {
        Token(FIRST_CLIENT + key)
    }

    /// An event under one of the clients' tokens.
    pub fn on_host_event(&mut self, event: &Event) {
        if let Some(key) = event.token().0.checked_sub(FIRST_CLIENT) {
            self.on_client(key, event);
        }
    }

    /// What is left to do when all events of a turn are handled.
    pub fn finish_turn(&mut self) {
        for key in std::mem::take(&mut self.again) {
            self.drive(key);
        }
        while let Some((id, owner)) = self.cache.overdue(self.now) {
            self.connect_overdue(owner.0 as usize, id);
        }
        self.serve_waiting();
        for _ in 0..MOST_EXPIRED {
            let Some(evicted) = self.cache.expire(self.now) else { break };
            self.note(evicted);
        }
        if self.now >= self.next_sweep {
            self.sweep();
        }
        self.write_all();
        self.journal.flush();
        self.accept();
        // Those who had connected before the end began have been let in.
        if self.draining && (!self.is_door_ready() || self.grace_is_over()) {
            self.doors.shut(&self.registry);
        }
        if self.doors.are_shut() && self.clients.is_empty() {
            self.cache.drain();
        }
    }

    /// When the next turn has to come, whatever happens.
    pub fn next_turn(&self) -> Option<Instant> {
        if !self.again.is_empty() || self.is_door_ready() {
            return Some(self.now);
        }
        let sweep = (self.doors.stuck || !self.clients.is_empty()).then_some(self.next_sweep);
        sweep.into_iter().chain(self.cache.next_deadline()).min()
    }

    /// A connection has left the cache: remembers why, and closes it.
    pub fn note(&mut self, evicted: Evicted<TcpStream>) {
        debug!("event=evicted peer={} reason={} uses={}", evicted.peer, evicted.reason, evicted.history.uses());
        self.counts.note(self.now, &evicted);
        self.doors.stuck = false;
    }

    /// Closes a client's connection, and the upstream one that was at work for it.
    pub fn close(&mut self, key: usize) {
        if self.clients.get(key).is_some_and(|client| client.exchange.is_some()) {
            self.record(key, 0, End::Left);
        }
        let Some(mut client) = self.clients.try_remove(key) else { return };
        if let Some(exchange) = client.exchange.take() {
            exchange.link.into_iter().for_each(|link| self.drop_link(link));
            exchange.waiter.into_iter().for_each(|waiter| self.leave_line(waiter));
        }
        self.drop_ahead(client.ahead.drain(..));
        client.inbox.release(&mut self.pool);
        client.pin.into_iter().for_each(|pin| self.unpin(pin));
        if let Err(error) = self.registry.deregister(&mut client.stream) {
            warn!("event=deregister_failed error={error}");
        }
        drop(client);
        self.descriptor_freed();
    }

    /// Looks for what has made no progress for too long. All clients are looked at, a few times in the time-out; no
    /// exchange has to keep a timer.
    fn sweep(&mut self) {
        let next = self.now + Duration::from_secs(1).min(self.timeout / 4);
        let grace_end = self.grace_end.filter(|end| *end > self.now);
        self.next_sweep = grace_end.map_or(next, |end| end.min(next));
        self.descriptor_freed();
        self.look_up_names();
        let keys: Vec<usize> = self.clients.iter().map(|(key, _)| key).collect();
        for key in keys {
            if self.grace_is_over() && self.clients[key].is_done() {
                self.close(key);
            } else {
                self.give_up_if_due(key);
            }
        }
    }

    pub fn linger_time(&self) -> Duration {
        LINGER.min(self.timeout)
    }

    fn give_up_if_due(&mut self, key: usize) {
        let least = (self.min_rate as f64 * self.timeout.as_secs_f64()) as u64;
        if self.clients[key].sends_too_slowly(self.now, self.timeout, least) {
            let why = format!("less than {} bytes a second of the request's body come", self.min_rate);
            return self.fail_exchange(key, 408, &why);
        }
        let client = &self.clients[key];
        let quiet = self.now.saturating_duration_since(client.touched);
        let patience = match client.ending {
            Ending::Lingering if client.drop_until.is_some_and(|until| until <= self.now) => Duration::ZERO,
            Ending::Lingering => self.linger_time(),
            _ if client.is_idle() => CLIENT_IDLE,
            _ if client.exchange.as_ref().is_some_and(|exchange| exchange.tunnel.is_some()) => SILENCE,
            _ => self.timeout,
        };
        if quiet < patience {
            return;
        }
        let stuck_client = client.outbox.waiting() > 0;
        match &client.exchange {
            _ if stuck_client || client.ending != Ending::Open => self.close(key),
            _ if client.is_idle() => self.end(key),
            Some(exchange) if exchange.tunnel.is_some() => {
                self.end_tunnel(key, End::Cut);
            }
            Some(exchange) if exchange.request_done || exchange.expects || client.to_upstream.waiting() > 0 => {
                let (at, started) = (exchange.upstream, exchange.started);
                let peer = self.upstreams[at].peer.clone();
                let connecting = exchange.link.as_ref().is_some_and(|link| link.connecting.is_some());
                let (status, what) = match &exchange.link {
                    None => (503, "no room for a connection to"),
                    Some(_) if connecting => (504, "couldn't connect to"),
                    Some(_) => (504, "no response from"),
                };
                // What has silenced this connection, as a firewall that forgot it, may have silenced all of that age.
                let mute_since =
                    exchange.link.as_ref().filter(|link| link.reused && !exchange.answered).map(|link| link.since);
                if mute_since.is_some_and(|since| !self.balance.has_answered_since(at, since)) {
                    self.cache.close_peer(&peer);
                }
                let counts = &mut self.counts.upstreams[at];
                counts.connect_failed += u64::from(connecting);
                counts.errors += u64::from(status == 504 && !connecting);
                // Some servers wait for the body, and it's the client that doesn't send it.
                let waits = exchange.expects && client.to_upstream.waiting() == 0;
                if status == 504 && !started && !waits {
                    self.quarantine(at);
                }
                self.fail_exchange(key, status, &format!("{what} {peer} within {patience:?}"));
            }
            _ => self.fail_exchange(key, 408, &format!("the request isn't complete after {patience:?}")),
        }
    }

    /// Begins the end: nobody new is let in, who is here may send another request for a short time, and what is in
    /// flight is finished.
    pub fn drain(&mut self) {
        info!("event=drain clients={}", self.clients.len());
        self.draining = true;
        self.crew.drain();
        self.grace_end = self.now.checked_add(self.grace);
        self.drain_end = self.grace_end.and_then(|end| end.checked_add(self.timeout));
        // No connection is kept but for those who wait. They are served: a cache that drains would have them refused.
        self.change_limits(|limits| limits.max_inactive = Some(0));
        self.knock_at_all();
        self.sweep();
    }

    /// Whether idle clients are closed, and those of which a request has only begun to come.
    pub fn grace_is_over(&self) -> bool {
        self.grace_end.is_some_and(|end| end <= self.now)
    }

    /// Whether nothing is left to be finished, or the time for it is up.
    pub fn is_drained(&self) -> bool {
        let finished = self.clients.is_empty() && self.cache.counts().active + self.cache.counts().inactive == 0;
        let late = self.drain_end.is_some_and(|end| end <= self.now);
        if self.draining && late && !finished {
            warn!("event=drain_cut clients={}", self.clients.len());
        }
        self.draining && (finished || late)
    }
}
