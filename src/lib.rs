//! A connection cache for programs that run their own event loop.
//!
//! A client that talks to the same servers again and again wants to keep its connections open and reuse them. It must
//! never use one that the other side has closed, and it must not pile up sockets. This crate is that part of a client,
//! for programs that run a [mio] loop of their own. It is a table of connections that are registered with the host's
//! [`Poll`](mio::Poll). The events of an active connection go to its owner. An inactive connection is watched by the
//! cache, and evicted in the turn in which its peer hangs up. The crate contains no runtime, no thread, no callback, no
//! clock and no unsafe code.
//!
//! # Terms
//!
//! | term | meaning |
//! |---|---|
//! | host | the program that uses the cache; the loop is the host's |
//! | [peer](Peer) | where a connection leads: a server, directly or through a proxy, or a Unix socket |
//! | [channel binding](ChannelBindingId) | a number that distinguishes connections to one peer that differ in TLS settings or credentials |
//! | [owner](Owner) | who uses an active connection: a number that the host chooses |
//! | active, inactive | in use by its owner; free for reuse (idle), and watched by the cache |
//! | [lease](ConnId) | one use of a connection; its id is good until the connection is handed out again |
//! | [probe](Connection::probe) | a check that an inactive connection is still good: one read, for a plain socket |
//! | evict | to take a connection out of the cache and return it to the host, which drops it |
//! | [park](Cache::park), [take](Cache::take) | to move a connection from a table of the host's into the cache, and back |
//! | [place](Place) | the right to open one connection, within all limits |
//! | line | the queue of requests that wait for a connection to one peer under one channel binding |
//! | turn | one pass of the host's loop |
//!
//! # The loop
//!
//! 1. [`checkout`](Cache::checkout) a connection. If there is none, connect, and [`insert`](Cache::insert) the new one.
//!    Either way you own it now, and it is in the table: `cache[id]`. If it was reused, write at once: no event will
//!    say that it is writable.
//! 2. Poll, with [`next_deadline`](Cache::next_deadline) as the time-out. Then read the clock, and give this `now` to
//!    every call of the turn. A `now` earlier than the latest one given counts as the latest.
//! 3. Offer each event to [`handle_event`](Cache::handle_event). [`Handled::Active`]: use the connection. When a new
//!    one is first writable, ask its `take_error` whether connecting has failed; if so,
//!    [`close_connection`](Cache::close_connection). [`Handled::Evicted`]: drop it. [`Handled::Rejected`]: the event is
//!    your own.
//! 4. [`checkin`](Cache::checkin) the connection when the whole request has been sent, its whole response has been
//!    read, no other response is owed, and all buffers are empty. Otherwise
//!    [`close_connection`](Cache::close_connection). Drop what comes back.
//! 5. At the end of each turn, drop what [`expire`](Cache::expire) returns.
//!
//! ```
//! use conncache::mio::{Events, Poll, net::TcpStream};
//! use conncache::{AggressiveCache, ChannelBindingId, Handled, Owner, Peer};
//! use std::io::{self, Read, Write};
//! use std::time::{Duration, Instant};
//!
//! const PLAIN: ChannelBindingId = ChannelBindingId::PLAIN;
//! # let server = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let addr = server.local_addr()?;
//! # let serving = std::thread::spawn(move || {
//! #     let (mut c, _) = server.accept().unwrap();
//! #     let _ = c.read(&mut [0; 64]);
//! #     c.write_all(b".").unwrap();
//! #     let _ = c.read(&mut [0]);
//! # });
//! let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
//! let mut cache: AggressiveCache<TcpStream> = AggressiveCache::builder()
//!     .idle_timeout(Duration::from_secs(60))
//!     .max_inactive(10_000)
//!     .max_inactive_per_peer(64)
//!     .build(poll.registry())?;
//!
//! let (peer, me) = (Peer::direct("127.0.0.1", addr.port()), Owner(1));
//! let (mut now, mut asked) = (Instant::now(), false);
//! if let Some(found) = cache.checkout(now, &peer, PLAIN, me) {
//!     cache[found.id].write_all(b"PING\r\n")?; // reused, and writable: write at once
//!     asked = true;
//! } else {
//!     cache.insert(now, TcpStream::connect(addr)?, &peer, PLAIN, me)?;
//! }
//! while cache.counts().active > 0 {
//!     match poll.poll(&mut events, cache.next_deadline().map(|at| at.saturating_duration_since(now))) {
//!         Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
//!         done => done?,
//!     }
//!     now = Instant::now();
//!     for event in &events {
//!         match cache.handle_event(event) {
//!             Handled::Rejected => println!("an event of my own: {event:?}"),
//!             Handled::Active { id, .. } if !asked && event.is_writable() => {
//!                 cache[id].take_error()?.map_or(Ok(()), Err)?; // is it connected?
//!                 cache[id].write_all(b"PING\r\n")?;
//!                 asked = true;
//!             }
//!             Handled::Active { id, owner } if event.is_readable() => match cache[id].read(&mut [0; 1024]) {
//!                 Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
//!                 Ok(n) if n > 0 => { // this response is so short that it comes whole
//!                     println!("{owner:?} has its response");
//!                     drop(cache.checkin(now, id)?); // what comes back is closed
//!                 }
//!                 _ => drop(cache.close_connection(id)?),
//!             },
//!             Handled::Evicted(evicted) => println!("{} left: {}", evicted.id, evicted.reason),
//!             Handled::Active { .. } | Handled::Nothing => {}
//!         }
//!     }
//!     while let Some(evicted) = cache.expire(now) {
//!         println!("{} left: {}", evicted.id, evicted.reason);
//!     }
//! }
//! # assert_eq!(cache.counts().inactive, 1);
//! # assert!(cache.checkout(now, &peer, PLAIN, me).is_some());
//! # drop(cache); serving.join().unwrap();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Sockets have to be non-blocking: `socket.set_nonblocking(true)`. Those that mio opens are. The probe of a blocking
//! socket would stop the loop, and the cache can't check this without unsafe code.
//!
//! If your sessions own sockets and tokens, keep them, and give the cache only the inactive connections:
//! [`park`](Cache::park) and [`take`](Cache::take). If your loop isn't mio's, use a [`Nest`], or a cache [without a
//! `Poll`](Builder::build_unwatched). If you have several loops, give each a cache; connections move between them by
//! [`remove`](Cache::remove) and [`adopt`](Cache::adopt).
//!
//! # A limited number of connections, and a line for the rest
//!
//! A host that limits [all connections](Limits::max_connections), or [those to one
//! peer](Limits::max_connections_per_peer), replaces step 1 and adds a step before 5:
//!
//! * [`request`](Cache::request) a connection instead of checking one out. [`Requested::Reuse`]: write at once.
//!   [`Requested::Open`]: drop what was evicted, connect, and [`insert_at`](Cache::insert_at) the place that comes with
//!   it. [`Requested::Wait`]: the request is in line.
//! * In each turn, call [`grant`](Cache::grant) until it returns `None`. It serves the waiting requests in order.
//! * To repeat a request whose connection broke, call [`reopen`](Cache::reopen). It closes the connection and, as long
//!   as the limits allow it, gives a place for another one, so that the request doesn't wait again.
//!
//! [`set_deadline`](Cache::set_deadline) and [`overdue`](Cache::overdue) tell you when an owner has had a connection
//! for too long. A host that sets deadlines calls `overdue` in each turn until it returns `None`, before `grant`. If
//! you leave out these calls of `grant` and `overdue`, `next_deadline` stays due, and the loop spins.
//!
//! # Guarantees
//!
//! * **Alive.** A connection is handed out only if a probe finds it quiet at that moment (for plain sockets: open, no
//!   error, nothing to read), it is within every limit even if `expire` runs late, and its peer and channel binding
//!   equal those asked for. They are compared in full, not by hash. You can [switch the probe off](Builder::probe), or
//!   [skip it](Builder::probe_after) for connections that were inactive only briefly.
//! * **Watched.** An inactive connection is evicted in the turn in which the loop is told of its hangup, reset or
//!   bytes. One that keeps waking the loop for nothing is evicted after [64 false alarms](Reason::FalseAlarms). A
//!   connection whose read side was reported closed while it was active is never kept.
//! * **One owner.** Nobody is handed a connection that another owner has. Nobody but the present owner can give it
//!   back, close or move it: once a connection is handed out again, calls with an older [id](ConnId) return
//!   [`NotFound`]. A late event of a connection that has left doesn't reach the one that took its place:
//!   [tokens](Builder::tokens) tell them apart, by default with 24 bits (9 bits if tokens have 32).
//! * **Accounted for.** Every connection leaves once, for one [`Reason`]. The [`Stats`] add up after every call.
//! * **No leak.** No descriptor, token or table entry outlives its connection, even if deregistering fails. If your own
//!   code (probe, source, policy or logger, but not a `Drop`) panics inside a call and you catch that, the connection
//!   has either left, or is as it was.
//! * **Bounded.** You decide how much work a turn does: a call returns at most one eviction, and closes at most eight
//!   dead connections. Only [`close_all`](Cache::close_all) and dropping the cache close all at once. Within a given
//!   [`capacity`](Builder::capacity), no table of connections, peers or owners grows.
//! * **Robust.** Nothing that a peer sends and no order of calls panics (except [indexing](std::ops::Index)), loops or
//!   leaks. A misuse returns an error, and an error changes nothing.
//! * **Discreet.** Private data, and the configurations behind channel bindings, never appear in `Debug`, `Display`,
//!   errors or the log. A peer's name can't forge a field of a log line.
//! * **Fair.** A limit on all connections is never exceeded once it holds. Requests for one peer and channel binding
//!   are served in order, and nobody overtakes them. Each ends once: served, timed out, withdrawn or refused.
//!
//! One thing nobody can guarantee: a peer may close just after the probe. So a hand-out tells you how long the
//! connection was [inactive](Found::inactive_for). If a request may be repeated, repeat it once, on a newly opened
//! connection. And only a time-out reveals a route that silently drops packets.
//!
//! # Costs
//!
//! What a loop calls is O(1) in the number of connections, peers and requests, amortised. Deadlines of single
//! connections and of requests cost O(log n) at worst. Methods that are not O(1) state their cost. A cycle of checkout
//! and checkin allocates nothing once warm, and makes one system call: the probe. A connection is registered once in
//! its life. (Where mio emulates edges, as on Windows, and in [level-triggered loops](Builder::level_triggered), a cycle
//! re-registers it twice.)
//!
//! # Scope
//!
//! In scope: which connection to reuse, which to close and when, and who waits for one. Out of scope: resolving names,
//! connecting, TLS, HTTP, retries. The examples in the repository show each of them done well.
//!
//! # Origin
//!
//! The interface is modelled on `Http_client_conncache` from
//! [Ocamlnet](http://projects.camlcity.org/projects/ocamlnet.html) (*the seed*, in these pages), and the way of driving
//! it on Ocamlnet's Unixqueue. Most of the rest follows what nginx, HAProxy, curl, Go and others have: the check at
//! hand-out, the limits and their oldest-first order, and the line.
#![forbid(unsafe_code)]
#![deny(missing_docs, clippy::disallowed_methods)]

// Three layers; each file uses those of its own layer and of the layers below.
//
// The public vocabulary.
mod channel;
mod closings;
mod connection;
mod error;
mod history;
mod limits;
mod outcome;
mod peer;
mod policy;
mod reason;
mod request;
mod state;
mod stats;

// A `Poll` for hosts whose loop is not mio's.
mod nest;

// The pure structures: no sockets, no clock, no log.
mod table;

// The cache.
mod cache;

#[cfg(test)]
mod testing;

pub use cache::{AggressiveCache, Builder, Cache, ConnectionCache, RestrictiveCache};
pub use channel::{ChannelBindingId, ChannelsExhausted, Interner};
pub use connection::{Connection, Probe, Unwatched, probe};
pub use error::{
    AdoptError, Cause, ConfigError, InsertError, NotFound, ParkError, SetStateError, StateError, TakeError,
};
pub use history::History;
pub use limits::Limits;
pub use mio;
pub use nest::Nest;
pub use outcome::{Entry, Evicted, Found, Handled, ParkOptions, Parked, StateChange, Taken};
pub use peer::{Hop, ParsePeerError, Peer, PeerKind};
pub use policy::{Aggressive, Candidate, KeepResidents, Policy, Restrictive, Verdict};
pub use reason::Reason;
pub use request::{Grant, Granted, Place, RequestError, Requested, WaiterId};
pub use state::{ConnId, ConnState, ConnStateRef, Owner, PrivateData};
pub use stats::{Counts, Stats};

/// The code in the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The recipes, compiled.
#[cfg(doctest)]
#[doc = include_str!("../docs/embedding.md")]
struct Recipes;
