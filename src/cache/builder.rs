//! Building a cache: its settings, and their defaults.

use crate::cache::Cache;
use crate::cache::jitter::Jitter;
use crate::cache::rules::Rules;
use crate::cache::tokens::Tokens;
use crate::cache::watcher::{EDGE_IS_EMULATED, Watcher};
use crate::connection::Connection;
use crate::error::ConfigError;
use crate::limits::Limits;
use crate::outcome::show;
use crate::policy::Policy;
use crate::stats::Stats;
use crate::table::Table;
use crate::table::clock::{Clock, Tick, nanos};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::time::Duration;

/// The settings of a new [`Cache`]. Made by [`Cache::builder`] or [`Cache::with_policy`].
#[must_use = "a builder does nothing until built"]
pub struct Builder<C, P> {
    policy: P,
    limits: Limits,
    tokens: Option<Range<usize>>,
    probe: bool,
    level_triggered: bool,
    seed: Option<u64>,
    probe_after: Duration,
    oldest_first: bool,
    capacity: usize,
    connections: PhantomData<fn() -> C>,
}

/// # Making one
impl<C: Connection, P: Policy + Default> Cache<C, P> {
    /// Starts building a cache.
    pub fn builder() -> Builder<C, P> {
        Cache::with_policy(P::default())
    }
}

impl<C: Connection, P: Policy> Cache<C, P> {
    /// Starts building a cache with a policy of your own.
    pub fn with_policy(policy: P) -> Builder<C, P> {
        Builder {
            policy,
            limits: Limits::default(),
            tokens: None,
            probe: true,
            level_triggered: false,
            seed: None,
            probe_after: Duration::ZERO,
            oldest_first: false,
            capacity: 0,
            connections: PhantomData,
        }
    }
}

impl<C: Connection, P: Policy> Builder<C, P> {
    /// How many connections may be inactive in total: [`Limits::max_inactive`]. Default: any number.
    pub fn max_inactive(mut self, connections: usize) -> Self {
        self.limits.max_inactive = Some(connections);
        self
    }

    /// How many connections to a peer under a channel binding may be inactive: [`Limits::max_inactive_per_peer`].
    /// Default: any number.
    pub fn max_inactive_per_peer(mut self, connections: usize) -> Self {
        self.limits.max_inactive_per_peer = Some(connections);
        self
    }

    /// How long a connection may be inactive: [`Limits::idle_timeout`]. Default: until the peer hangs up.
    pub fn idle_timeout(mut self, time: Duration) -> Self {
        self.limits.idle_timeout = Some(time);
        self
    }

    /// How old a connection may become: [`Limits::max_lifetime`]. Default: any age.
    pub fn max_lifetime(mut self, time: Duration) -> Self {
        self.limits.max_lifetime = Some(time);
        self
    }

    /// The most by which a lifetime is shortened, at random: [`Limits::lifetime_jitter`]. Default: not at all.
    pub fn lifetime_jitter(mut self, time: Duration) -> Self {
        self.limits.lifetime_jitter = time;
        self
    }

    /// How many owners a connection may have: [`Limits::max_uses`]. Default: any number.
    pub fn max_uses(mut self, owners: u32) -> Self {
        self.limits.max_uses = Some(owners);
        self
    }

    /// All limits at once.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The tokens that the cache uses, eight at least, for hosts that assign small numbers. The host must not use them
    /// with the same `Poll`; mio doesn't check that. It is an error if the range overlaps that of another living cache.
    ///
    /// At least a third of the range's bits (rounded down, as is the number of bits) distinguishes the connections that
    /// use a slot one after another, so that a late event doesn't reach the wrong one. The other bits are for slots,
    /// 16,777,216 (2^24) at most. A range of 1,000 tokens has 9 bits: it distinguishes 8 connections that use the same
    /// slot, and has room for 125 at a time.
    ///
    /// After dropping a cache, drop the rest of the batch of events before you build another cache in a small range
    /// that overlaps the old one: it has too few bits to distinguish their connections.
    ///
    /// Default: a block that no other cache of the process has, released when the cache is dropped. With 64-bit tokens
    /// there are 65,534 such blocks, each with 24 bits for slots and 24 bits for telling connections apart. With 32-bit
    /// tokens there are 14, with 19 and 9 bits. Tokens below 2^48 (2^28) and `usize::MAX` are never in a default block.
    pub fn tokens(mut self, range: Range<usize>) -> Self {
        self.tokens = Some(range);
        self
    }

    /// Whether a connection is probed before it is handed out. Default: yes. It costs one system call (for a plain
    /// socket). Without the probe, a connection may be handed out although its peer has hung up, if the loop hasn't
    /// been told yet.
    pub fn probe(mut self, yes: bool) -> Self {
        self.probe = yes;
        self
    }

    /// Skips the probe of a connection that became inactive less than this time ago. That saves the system call where
    /// connections are reused at once. The risk: the peer may have closed the connection within that time, and the loop
    /// hasn't been told yet. Default: zero, so that each one is probed.
    pub fn probe_after(mut self, time: Duration) -> Self {
        self.probe_after = time;
        self
    }

    /// Hands out first the connection that has been inactive longest. So all of them stay in use, which helps with
    /// peers that close idle connections. Default: the newest first, so that connections that aren't needed reach their
    /// time-outs.
    pub fn oldest_first(mut self, yes: bool) -> Self {
        self.oldest_first = yes;
        self
    }

    /// How many connections there may be in total: [`Limits::max_connections`]. Default: any number.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.limits.max_connections = Some(connections);
        self
    }

    /// How many connections there may be to one peer: [`Limits::max_connections_per_peer`]. Default: any number.
    pub fn max_connections_per_peer(mut self, connections: usize) -> Self {
        self.limits.max_connections_per_peer = Some(connections);
        self
    }

    /// How many connections to one peer may be opened at a time: [`Limits::max_connecting_per_peer`]. Default: any
    /// number.
    pub fn max_connecting_per_peer(mut self, connections: usize) -> Self {
        self.limits.max_connecting_per_peer = Some(connections);
        self
    }

    /// How many requests may wait: [`Limits::max_waiting`]. Default: any number.
    pub fn max_waiting(mut self, requests: usize) -> Self {
        self.limits.max_waiting = Some(requests);
        self
    }

    /// Whether the connections' events come from a level-triggered loop. They can if a [`Connection`]'s `Source`
    /// doesn't register with the `Poll` it is given. Inactive connections are then registered for reading only, by one
    /// call of `reregister` at checkin and another at hand-out: a level-triggered loop would otherwise report again and
    /// again that they are writable. False alarms aren't counted. Default: no, since mio's events are edge-triggered.
    pub fn level_triggered(mut self, yes: bool) -> Self {
        self.level_triggered = yes;
        self
    }

    /// Makes the jitter repeatable, for tests. Default: random.
    pub fn jitter_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Makes room for this many connections, peers and owners at once. Up to that number, no call reallocates or
    /// rehashes a table of them. (Room for requests that wait is made as needed.) It is an error to ask for more than
    /// the [tokens](Builder::tokens) have slots for: 16,777,216 (2^24) at most. Default: none. Then tables grow as
    /// needed, and a call takes longer whenever a table grows (docs/performance.md in the repository has figures).
    /// [`shrink_to_fit`](Cache::shrink_to_fit) gives memory back.
    pub fn capacity(mut self, connections: usize) -> Self {
        self.capacity = connections;
        self
    }

    /// Builds the cache. It will watch its connections through the `Poll` of this registry.
    ///
    /// # Errors
    ///
    /// * A [`ConfigError`] (as an error of kind `InvalidInput`) that names the setting and its value: limits contradict
    ///   each other, the range of tokens is too small or overlaps that of another cache (the error names both), all
    ///   blocks are taken, or the tokens have no room for the capacity.
    /// * The operating system's error, if the registry can't be cloned. Cloning takes a descriptor.
    pub fn build(self, registry: &mio::Registry) -> io::Result<Cache<C, P>> {
        let mut cache = self.build_unwatched()?;
        cache.watcher = Watcher(Some(registry.try_clone()?));
        Ok(cache)
    }

    /// Builds a cache without a `Poll`, for hosts that watch their sockets in a loop of another kind, or not at all.
    /// Such a cache never calls the connections' [`Source`](mio::event::Source) methods.
    /// [`Unwatched`](crate::Unwatched) makes a connection of any stream that can be read.
    ///
    /// Register each connection with your loop yourself, for instance under its [`token`](Cache::token), and report what
    /// happens to it by [`handle_readiness`](Cache::handle_readiness). In a level-triggered loop, don't watch inactive
    /// connections for writability. Without a loop, call [`sweep`](Cache::sweep) from time to time. In any case,
    /// connections are probed at hand-out.
    ///
    /// ```
    /// use conncache::{AggressiveCache, ChannelBindingId, Owner, Peer, Reason, Unwatched};
    /// use std::{net::{TcpListener, TcpStream}, time::Instant};
    ///
    /// let mut cache: AggressiveCache<Unwatched<TcpStream>> = AggressiveCache::builder().build_unwatched()?;
    /// let server = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(server.local_addr()?)?;
    /// stream.set_nonblocking(true)?;
    /// let (now, peer, plain) = (Instant::now(), Peer::from(server.local_addr()?), ChannelBindingId::PLAIN);
    /// let id = cache.insert(now, Unwatched(stream), &peer, plain, Owner(1))?;
    /// assert!(cache.checkin(now, id)?.is_none());
    ///
    /// drop(server.accept()?);
    /// let gone = loop {
    ///     match cache.sweep(16) {
    ///         Some(evicted) => break evicted,
    ///         None => std::thread::yield_now(), // the hangup is under way
    ///     }
    /// };
    /// assert_eq!(gone.reason, Reason::HungUp);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A [`ConfigError`], as of [`build`](Builder::build).
    pub fn build_unwatched(self) -> Result<Cache<C, P>, ConfigError> {
        self.limits.check()?;
        let tokens = self.tokens.map_or_else(Tokens::claim, Tokens::within)?;
        if self.capacity > tokens.slots() {
            let problem = format!("is more than the tokens have room for, {}", tokens.slots());
            let (field, value) = ("capacity", self.capacity.to_string());
            return Err(ConfigError { field, value, problem });
        }
        Ok(Cache {
            table: Table::new(self.capacity, RandomState::new().hash_one(())),
            policy: self.policy,
            rules: Rules::new(&self.limits, false, self.level_triggered || EDGE_IS_EMULATED),
            limits: self.limits,
            clock: Clock::default(),
            last_deadline: (None, Tick::NEVER),
            jitter: Jitter::new(self.seed.unwrap_or_else(|| RandomState::new().hash_one(()))),
            tokens,
            watcher: Watcher(None),
            level_triggered: self.level_triggered,
            next_swept: 0,
            stats: Stats::default(),
            draining: false,
            probe_after: if self.probe { nanos(self.probe_after) } else { u64::MAX },
            oldest_first: self.oldest_first,
            opens_next: false,
        })
    }
}

show! {
    Builder<C, P> { limits, tokens, probe, level_triggered, capacity }.finish_non_exhaustive();
}
