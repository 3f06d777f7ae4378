//! A connection cache for programs that run their own event loop.
//!
//! A client that talks to the same servers again and again wants to keep connections open and use them again, must
//! never use one that the other side has closed, and must not pile up sockets. This crate is that part of a client, for
//! those who run a [mio] loop of their own: a table of connections registered with the host's
//! [`Poll`](mio::Poll). An active connection's events go to its owner; an inactive one is watched by the cache, and
//! evicted in the very turn in which its peer hangs up. There is no runtime, no thread, no callback, no clock and no
//! unsafe code in it.
//!
//! # The loop
//!
//! 1. [`checkout`](Cache::checkout) a connection, or else connect and [`insert`](Cache::insert) the new one. It is
//!    yours now, and in the table: `cache[id]`.
//! 2. Poll, with [`next_deadline`](Cache::next_deadline) as the time-out.
//! 3. Offer each event to [`handle_event`](Cache::handle_event). [`Handled::Active`]: use the connection.
//!    [`Handled::Evicted`]: drop it. [`Handled::Rejected`]: the event is your own.
//! 4. When the response is complete, [`checkin`](Cache::checkin). What comes back has to go.
//! 5. At the end of each turn, drop what [`expire`](Cache::expire) returns.
//!
//! ```
//! # use std::io::{Read, Write};
//! use conncache::mio::{Events, Poll, net::TcpStream};
//! use conncache::{AggressiveCache, ChannelBindingId, Handled, Owner, Peer};
//! use std::{io, time::{Duration, Instant}};
//!
//! const PLAIN: ChannelBindingId = ChannelBindingId::PLAIN;
//! # let server = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let addr = server.local_addr()?;
//! # let serving = std::thread::spawn(move || { let (mut c, _) = server.accept().unwrap(); c.write_all(b".").unwrap(); let _ = c.read(&mut [0]); });
//! let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
//! let mut cache: AggressiveCache<TcpStream> = AggressiveCache::builder()
//!     .idle_timeout(Duration::from_secs(60))
//!     .max_inactive(10_000)
//!     .max_inactive_per_peer(64)
//!     .build(poll.registry())?;
//!
//! let (peer, me) = (Peer::direct("127.0.0.1", addr.port()), Owner(1));
//! let mut now = Instant::now();
//! let id = match cache.checkout(now, &peer, PLAIN, me) {
//!     Some(found) => found.id, // used before, and writable: write at once
//!     None => cache.insert(now, TcpStream::connect(addr)?, &peer, PLAIN, me)?,
//! };
//! while cache.counts().active > 0 {
//!     match poll.poll(&mut events, cache.next_deadline().map(|at| at.saturating_duration_since(now))) {
//!         Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
//!         done => done?,
//!     }
//!     now = Instant::now();
//!     for event in &events {
//!         match cache.handle_event(event) {
//!             Handled::Rejected => println!("an event of my own: {event:?}"),
//!             Handled::Active { id, owner } if event.is_readable() => match cache[id].read(&mut [0; 1024]) {
//!                 Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
//!                 Ok(n) if n > 0 => {
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
//! # assert!(cache.checkout(now, &peer, PLAIN, me).is_some_and(|found| found.id.same_connection(id)));
//! # drop(cache); serving.join().unwrap();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A host whose sessions own their sockets and tokens keeps it so, and has the cache keep the inactive ones alone:
//! [`park`](Cache::park) and [`take`](Cache::take).
//!
//! In a loop that is not mio's, use a [`Nest`], or a cache [without a `Poll`](Builder::build_unwatched). Between the caches
//! of several loops, connections move by [`remove`](Cache::remove) and [`adopt`](Cache::adopt).
//!
//! # Guarantees
//!
//! * **Alive.** A connection is handed out only if a probe, in this moment, finds it quiet (plain sockets: open,
//!   no error, nothing to read), it is within every limit however late `expire` runs, and its peer and channel binding
//!   equal those asked for, compared whole. The probe can be [switched off](Builder::probe).
//! * **Watched.** An inactive connection is evicted in the turn in which the loop is told of its hangup, reset or
//!   bytes. One whose read side was reported closed while it was active is never kept.
//! * **One owner.** Nobody is handed a connection that another has. A [`ConnId`] never comes to name another
//!   connection. An event left over from a connection that has gone doesn't reach the one in its place: tokens carry
//!   16 bits of a connection's [generation](Builder::tokens) (64-bit platforms; elsewhere 9).
//! * **Accounted for.** Every connection leaves once, for one [`Reason`]; the [`Stats`] add up after every call.
//! * **No leak.** No descriptor, token or table entry outlives its connection, even where deregistering fails.
//! * **Bounded.** A turn's work is bounded by what the host asks for: a call returns at most one eviction, and a search
//!   closes at most eight dead ones. Only [`close_all`](Cache::close_all) and dropping the cache close everything at
//!   once.
//! * **Robust.** Nothing that a peer sends and no order of calls panics (but [indexing](std::ops::Index)), loops or
//!   leaks. Misuse gets an error, which changes nothing.
//! * **Discreet.** Private data, and the configurations behind channel bindings, are in no `Debug`, `Display`, error
//!   or log line.
//!
//! What nobody can guarantee: a peer may close in the moment after the probe. So the hand-out says for how long the
//! connection was [inactive](Found::inactive_for), and a request that may be repeated should be, once, on a newly
//! opened connection. A route that silently drops packets shows itself by time alone.
//!
//! # Costs
//!
//! What a loop calls is O(1) in the number of connections and peers, amortised; a deadline of a connection's own costs
//! O(log n) at worst, on average O(1). What isn't says so. A cycle of checkout and checkin allocates nothing once warm,
//! and makes one system call: the probe. A connection is registered once in its life (where mio emulates edges, as on
//! Windows, twice more in a cycle).
//!
//! # In scope, out of scope
//!
//! In scope: which connection to use again, which to close, and when. Out of scope: resolving names, connecting, TLS,
//! HTTP, retries. The repository's examples show each of them done well.
//!
//! # Origin
//!
//! The interface is modelled on [Ocamlnet](http://projects.camlcity.org/projects/ocamlnet.html)'s
//! `Http_client_conncache` (*the seed*, on these pages), the way of driving it on Ocamlnet's Unixqueue. The check in the
//! moment of hand-out, the oldest-first order over all and the rest of the limits follow what nginx, HAProxy, curl, Go
//! and others have.
#![forbid(unsafe_code)]
#![deny(missing_docs, clippy::disallowed_methods)]

// Three floors; each file uses those of its own floor and of the floors below.
//
// The public vocabulary.
mod channel;
mod closings;
mod connection;
mod connection_cache;
mod error;
mod history;
mod limits;
mod outcome;
mod peer;
mod policy;
mod reason;
mod state;
mod stats;
mod waiting;

// A `Poll` for hosts whose loop is not mio's.
mod nest;

// The pure structures: no sockets, no clock, no log.
mod table;

// The cache.
mod cache;

#[cfg(test)]
mod testing;

pub use cache::{AggressiveCache, Builder, Cache, RestrictiveCache};
pub use channel::{ChannelBindingId, ChannelsExhausted, Interner};
pub use connection::{Connection, Probe, Unwatched, probe};
pub use connection_cache::ConnectionCache;
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
pub use state::{ConnId, ConnState, ConnStateRef, Owner, PrivateData};
pub use stats::{Counts, Stats};
pub use waiting::{Grant, Granted, Place, RequestError, Requested, WaiterId};

/// The README's code, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
