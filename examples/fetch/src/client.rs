//! The event loop: one poll, one cache, `now` taken once per turn.

use crate::args::Options;
use crate::conn::Conn;
use crate::exchange::Exchange;
use crate::notes::{Note, Observer};
use crate::report::Totals;
use crate::routes::Routes;
use crate::site::Site;
use crate::url::Url;
use crate::via::Wanted;
use conncache::mio::event::Event;
use conncache::mio::{Events, Poll, Token, Waker};
use conncache::{Cache, ChannelBindingId, ConnId, ConnStateRef, Evicted, Handled, Owner, Peer, Policy, Stats};
use http::resolving::{LookupId, Resolver};
use http::signals::Signals;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The cache's tokens lie elsewhere.
const WAKER: Token = Token(0);
const SIGNALS: Token = Token(1);
/// How many connections may expire in one turn: another one follows at once.
const MOST_EXPIRIES: usize = 1_000;

/// The cache, of a kind that is chosen at run time. Its connections are boxed: most answers of the cache could hold one,
/// and would be moved with room for it.
pub type ConnCache = Cache<Box<Conn>, Box<dyn Policy>>;

/// What a client does with its connections.
pub struct Config {
    pub pipeline: usize,
    pub method: &'static str,
    pub timeout: Duration,
    pub connect_timeout: Duration,
    pub handshake_timeout: Duration,
    pub address_time: Duration,
    pub tunnel: bool,
    pub output: Option<PathBuf>,
}

impl From<&Options> for Config {
    fn from(options: &Options) -> Config {
        Config {
            pipeline: options.pipeline,
            method: if options.head { "HEAD" } else { "GET" },
            timeout: options.timeout,
            // What goes before a request is part of its time.
            connect_timeout: options.connect_timeout.min(options.timeout),
            handshake_timeout: options.handshake_timeout.min(options.timeout),
            address_time: options.address_time,
            tunnel: options.tunnel,
            output: options.output.clone(),
        }
    }
}

/// Fetches lists of URLs, and keeps its connections from one list to the next.
pub struct Client {
    pub(crate) poll: Poll,
    pub(crate) cache: ConnCache,
    pub(crate) resolver: Resolver,
    signals: Signals,
    pub(crate) config: Config,
    routes: Routes,
    pub(crate) urls: Vec<Url>,
    /// The request for each URL, as it is sent.
    pub(crate) requests: Vec<Vec<u8>>,
    pub(crate) sites: Vec<Site>,
    site_of: HashMap<(Peer, ChannelBindingId), usize>,
    pub(crate) lookups: HashMap<LookupId, usize>,
    /// Sites that may have a request to ask a connection for.
    pub(crate) asking: VecDeque<usize>,
    /// Connections with more to read of which no event will tell.
    pub(crate) unread: Vec<ConnId>,
    pub(crate) now: Instant,
    pub(crate) totals: Totals,
    pub(crate) notes: Vec<Note>,
    /// Connections whose requests are all answered, and whether they may carry others. They are given back in this turn.
    pub(crate) answered: Vec<(ConnId, bool)>,
    pub(crate) buffer: Box<[u8]>,
}

impl Client {
    /// A client with the cache that `build` makes.
    pub fn new(
        config: Config,
        build: impl FnOnce(&conncache::mio::Registry) -> io::Result<ConnCache>,
    ) -> io::Result<Client> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let signals = Signals::new(poll.registry(), SIGNALS)?;
        signals.second_ends_program()?;
        Ok(Client {
            cache: build(poll.registry())?,
            resolver: Resolver::new(waker),
            signals,
            poll,
            routes: Routes::new(config.tunnel),
            config,
            urls: Vec::new(),
            requests: Vec::new(),
            sites: Vec::new(),
            site_of: HashMap::new(),
            lookups: HashMap::new(),
            asking: VecDeque::new(),
            unread: Vec::new(),
            now: Instant::now(),
            totals: Totals::default(),
            notes: Vec::new(),
            answered: Vec::new(),
            buffer: vec![0; 128 * 1024].into(),
        })
    }

    /// Goes through this list of URLs so many times, until each request has its response or has failed.
    ///
    /// # Errors
    ///
    /// The observer's own. A signal came ([`Interrupted`](io::ErrorKind::Interrupted)): what was under way is given up.
    pub fn fetch(&mut self, wanted: Vec<Wanted>, rounds: u64, observer: &mut dyn Observer) -> io::Result<()> {
        let first = self.totals.requests;
        let list = wanted.len() as u64;
        let requests = rounds.checked_mul(list).and_then(|requests| first.checked_add(requests));
        self.totals.requests = requests.ok_or_else(|| io::Error::other("too many requests"))?;
        for site in &mut self.sites {
            site.begin(rounds, first, list);
        }
        self.requests.clear();
        for (place, wanted) in wanted.iter().enumerate() {
            let route = self.routes.route(wanted)?;
            let site = *self.site_of.entry((route.peer.clone(), route.channel)).or_insert_with(|| {
                let mut site = Site::new(route);
                site.begin(rounds, first, list);
                self.sites.push(site);
                self.sites.len() - 1
            });
            self.sites[site].add(place);
            self.requests.push(self.sites[site].route.request(self.config.method, &wanted.url));
            self.asking.push_back(site);
        }
        self.urls = wanted.into_iter().map(|wanted| wanted.url).collect();
        self.now = Instant::now();
        let mut events = Events::with_capacity(1024);
        while self.totals.unfinished() > 0 {
            self.turn(&mut events, None, observer)?;
        }
        Ok(())
    }

    /// Goes on watching the inactive connections for so long, or until there are none.
    pub fn linger(&mut self, time: Duration, observer: &mut dyn Observer) -> io::Result<()> {
        self.now = Instant::now();
        let end = self.now + time;
        let mut events = Events::with_capacity(1024);
        while self.now < end && self.stats().inactive > 0 {
            self.turn(&mut events, Some(end), observer)?;
        }
        Ok(())
    }

    /// What has been done so far.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// What the cache has done so far.
    pub fn stats(&self) -> Stats {
        self.cache.stats()
    }

    fn turn(&mut self, events: &mut Events, until: Option<Instant>, observer: &mut dyn Observer) -> io::Result<()> {
        self.dispatch();
        match self.poll.poll(events, self.wait(until)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => events.clear(),
            done => done?,
        }
        self.now = Instant::now();
        for id in std::mem::take(&mut self.unread) {
            if let Ok(ConnStateRef::Active(owner)) = self.cache.get_connection_state(id) {
                self.drive(id, owner, true);
            }
        }
        let mut interrupted = false;
        for event in events.iter() {
            interrupted |= event.token() == SIGNALS && self.signals.came();
            self.handle(event);
        }
        self.go_on_with_answered();
        self.take_addresses();
        for _ in 0..MOST_EXPIRIES {
            let Some(evicted) = self.cache.expire(self.now) else { break };
            self.note_eviction(&evicted);
        }
        self.enforce_deadlines();
        self.go_on_with_answered();
        if interrupted {
            self.give_up();
        }
        let told = self.notes.iter().try_for_each(|note| observer.note(note, &self.urls));
        self.notes.clear();
        told?;
        observer.turn(self.now, &self.totals)?;
        if interrupted { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    }

    /// For how long there is nothing to do unless an event comes.
    fn wait(&self, until: Option<Instant>) -> Option<Duration> {
        if !self.unread.is_empty() || !self.asking.is_empty() || !self.notes.is_empty() {
            return Some(Duration::ZERO);
        }
        let next = self.cache.next_deadline().into_iter().chain(until).min();
        next.map(|at| at.saturating_duration_since(self.now))
    }

    fn handle(&mut self, event: &Event) {
        match self.cache.handle_event(event) {
            // A signal, or the waker: there are addresses, which are asked for in each turn.
            Handled::Rejected => {}
            Handled::Nothing => {}
            Handled::Evicted(evicted) => self.note_eviction(&evicted),
            Handled::Active { id, owner } => self.drive(id, owner, event.is_readable()),
        }
    }

    pub(crate) fn note_eviction(&mut self, evicted: &Evicted<Box<Conn>>) {
        self.notes.push(Note::Evicted { id: evicted.id, reason: evicted.reason });
    }

    /// Sees to it that a connection is looked after in time though nothing happens.
    pub(crate) fn arm(&mut self, id: ConnId) {
        let deadline = self.cache.get_mut(id).and_then(|conn| conn.deadline(self.config.timeout));
        let _ = self.cache.set_deadline(id, deadline); // a connection that is gone needs none
    }

    /// There won't be a response to this request.
    pub(crate) fn fail(&mut self, mut exchange: Exchange, why: String) {
        exchange.abandon(self.now);
        self.totals.failed += 1;
        self.notes.push(Note::Failed { exchange, why });
    }

    pub(crate) fn owner(site: usize) -> Owner {
        Owner(site as u64)
    }
}
