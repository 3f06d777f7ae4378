//! The cache itself: its connections' way in and out, and what the loop's events mean to them.
//!
//! All that registers anything is here and in `park`.

use crate::builder::Builder;
use crate::clock::{Clock, Tick};
use crate::connection::{Connection, Probe};
use crate::error::{Cause, InsertError, NotFound};
use crate::limits::{Jitter, Limits};
use crate::outcome::{Evicted, Handled, Reason};
use crate::peer::Peer;
use crate::policy::{Aggressive, Policy, Restrictive};
use crate::slots::State;
use crate::state::{ChannelBindingId, ConnId, Owner};
use crate::stats::Stats;
use crate::table::{Left, Table};
use crate::tokens::Tokens;
use log::{debug, trace, warn};
use mio::event::Event;
use mio::{Interest, Registry, Token};
use std::io;
use std::time::Instant;

/// A cache that keeps connections open for as long as possible: until the peer hangs up, or a limit is reached.
///
/// By default there is no limit. Set [some](crate::Limits), or call [`shed`](Cache::shed) when descriptors run out.
pub type AggressiveCache<C> = Cache<C, Aggressive>;

/// A cache that keeps nothing: a connection made inactive comes straight back, to be closed in order.
///
/// For hosts that want one program for both ways; and still the table of the active connections.
pub type RestrictiveCache<C> = Cache<C, Restrictive>;

/// Whether the platform's readiness is emulated: then only a read that would block arms the next event, hence a
/// connection has to be probed when it becomes inactive, too.
const EDGE_IS_EMULATED: bool = cfg!(not(any(
    target_os = "linux",
    target_os = "android",
    target_os = "macos",
    target_os = "ios",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
    target_os = "illumos",
))) || cfg!(mio_unsupported_force_poll_poll);

/// For a connection's whole life with the cache, where edges are real: going active and inactive costs no system call.
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// A connection cache: a table of connections of type `C`, each active (an owner's) or inactive (watched by the
/// cache, and free to be handed out again), in which `P` decides what is kept.
///
/// It is registered with the host's [`Poll`](mio::Poll) and driven by the host's loop; see the [crate's
/// page](crate). Usually named by its aliases [`AggressiveCache`] and [`RestrictiveCache`].
///
/// Dropping the cache deregisters and closes every connection, active ones too.
pub struct Cache<C: Connection, P: Policy> {
    pub(crate) table: Table<C>,
    pub(crate) policy: P,
    pub(crate) limits: Limits,
    pub(crate) clock: Clock,
    pub(crate) jitter: Jitter,
    pub(crate) tokens: Tokens,
    pub(crate) registry: Registry,
    pub(crate) stats: Stats,
    pub(crate) probing: bool,
    pub(crate) draining: bool,
}

impl<C: Connection, P: Policy + Default> Cache<C, P> {
    /// Starts to make a cache.
    pub fn builder() -> Builder<C, P> {
        Builder::new(P::default())
    }
}

impl<C: Connection, P: Policy> Cache<C, P> {
    /// Starts to make a cache with a policy of your own.
    pub fn with_policy(policy: P) -> Builder<C, P> {
        Builder::new(policy)
    }

    /// Takes in a connection, newly opened or still opening, as `owner`'s: registers it for reading and writing, and
    /// keeps it until it is evicted, closed or removed. No limit concerns active connections.
    ///
    /// Don't register it yourself, neither before nor after. (One that is registered already is refused, but with
    /// another `Poll` in debug builds alone: mio checks no further.)
    ///
    /// # Errors
    ///
    /// The connection comes back with the cause: the operating system's refusal, or a block of
    /// [tokens](Builder::tokens) without room. Nothing has changed then.
    pub fn insert(
        &mut self,
        now: Instant,
        mut conn: C,
        peer: &Peer,
        channel: ChannelBindingId,
        owner: Owner,
    ) -> Result<ConnId, InsertError<C>> {
        let now = self.clock.advance(now);
        let (id, token) = match self.next_name() {
            Ok(name) => name,
            Err(cause) => return Err(InsertError { conn, cause }),
        };
        if let Err(error) = self.registry.register(&mut conn, token, BOTH) {
            // In debug builds mio remembers the attempt, and the host could not try again. A source that is
            // registered already is somebody's, and stays.
            if error.kind() != io::ErrorKind::AlreadyExists {
                let _ = self.registry.deregister(&mut conn);
            }
            return Err(InsertError { conn, cause: Cause::Registry(error) });
        }
        let lifetime_end = self.new_lifetime_end(now);
        self.table.insert(conn, peer, channel, owner, lifetime_end);
        self.stats.inserted += 1;
        debug!(target: "conncache", "event=insert id={id} peer={peer} channel={channel} owner={}", owner.0);
        Ok(id)
    }

    /// Gives a connection back to the host, whatever its state, no longer registered: for a protocol upgrade, say.
    ///
    /// # Errors
    ///
    /// [`NotFound`] if it isn't here.
    pub fn remove(&mut self, id: ConnId) -> Result<Evicted<C>, NotFound> {
        let slot = self.slot_of(id).ok_or(NotFound)?;
        Ok(self.evict(slot, Reason::Removed))
    }

    /// Closes a connection, whatever its state: it comes back no longer registered, and closes when dropped.
    ///
    /// # Errors
    ///
    /// [`NotFound`] if it isn't here, as when it was closed before.
    pub fn close_connection(&mut self, id: ConnId) -> Result<Evicted<C>, NotFound> {
        let slot = self.slot_of(id).ok_or(NotFound)?;
        Ok(self.evict(slot, Reason::Closed))
    }

    /// Closes all connections, active ones too. O(as many as there ever were at once).
    pub fn close_all(&mut self) {
        for slot in 0..self.table.slots_end() {
            if self.table.try_at(slot).is_some() {
                drop(self.evict(slot, Reason::Closed));
            }
        }
    }

    /// What an event means: whose it is. Call it for each event of the loop, in their order.
    ///
    /// An inactive connection of which anything is told is probed at once, and evicted unless it is quiet. That an
    /// active one's read side was closed is remembered: it won't be kept.
    pub fn handle_event(&mut self, event: &Event) -> Handled<C> {
        self.handle_readiness(event.token(), event.is_read_closed())
    }

    /// [`handle_event`](Cache::handle_event) for hosts that keep events in a form of their own: the event's token, and
    /// whether it said that the read side is closed.
    pub fn handle_readiness(&mut self, token: Token, read_closed: bool) -> Handled<C> {
        let Some(slot) = self.tokens.slot(token.0) else { return Handled::Rejected };
        let slot = slot as u32;
        let record = match self.table.try_at_mut(slot) {
            Some(record) if self.tokens.is_of_generation(token.0, record.generation) => record,
            _ => {
                self.stats.stale_events += 1;
                trace!(target: "conncache", "event=stale token={}", token.0);
                return Handled::Quiet;
            }
        };
        trace!(target: "conncache", "event=readiness id={} read_closed={read_closed}", record.id(slot, self.tokens.serial()));
        if let State::Active { owner } = record.state {
            record.flags.read_closed |= read_closed;
            return Handled::Active { id: record.id(slot, self.tokens.serial()), owner };
        }
        match self.probe(slot) {
            // mio promises that this is never a false alarm.
            Ok(()) if read_closed => Handled::Evicted(self.evict(slot, Reason::HungUp)),
            Ok(()) => Handled::Quiet,
            Err(fault) => Handled::Evicted(self.evict_faulty(slot, fault)),
        }
    }

    /// The slot of a connection that is here.
    #[inline]
    pub(crate) fn slot_of(&self, id: ConnId) -> Option<u32> {
        (id.cache == self.tokens.serial()).then(|| self.table.slot_of(id.slot, id.generation)).flatten()
    }

    pub(crate) fn next_name(&self) -> Result<(ConnId, Token), Cause> {
        let name = self.table.next_name().and_then(|(slot, generation)| {
            let token = Token(self.tokens.token(slot, generation)?);
            Some((ConnId { generation, slot, cache: self.tokens.serial() }, token))
        });
        name.ok_or(Cause::TokensExhausted { slots: self.tokens.slots() })
    }

    pub(crate) fn new_lifetime_end(&mut self, now: Tick) -> Tick {
        let Some(lifetime) = self.limits.max_lifetime else { return Tick::NEVER };
        now.after(lifetime.saturating_sub(self.jitter.up_to(self.limits.lifetime_jitter)))
    }

    /// Looks at an inactive connection.
    pub(crate) fn probe(&mut self, slot: u32) -> Result<(), Fault> {
        self.stats.probes += 1;
        verdict_of(self.table.at_mut(slot).conn.probe())
    }

    /// Looks at a connection that is about to become inactive for the first time, or at any time where the platform
    /// wants that.
    pub(crate) fn look_once(&mut self, slot: u32) -> Result<(), Fault> {
        let record = self.table.at_mut(slot);
        if !record.flags.connected {
            look(&mut record.conn)?;
            record.flags.connected = true;
        } else if EDGE_IS_EMULATED {
            verdict_of(record.conn.probe())?;
        }
        if record.flags.read_closed { Err((Reason::HungUp, None)) } else { Ok(()) }
    }

    /// Registers a connection that is about to become active for writing, too, if it isn't.
    pub(crate) fn widen(&mut self, slot: u32) -> Result<(), Fault> {
        self.register_for(slot, BOTH)
    }

    /// Registers a connection that is about to become inactive for reading alone, where a probe arms again whatever it
    /// is registered for: it would be told to be writable, and probed, for ever.
    pub(crate) fn narrow(&mut self, slot: u32) -> Result<(), Fault> {
        if EDGE_IS_EMULATED { self.register_for(slot, Interest::READABLE) } else { Ok(()) }
    }

    fn register_for(&mut self, slot: u32, interest: Interest) -> Result<(), Fault> {
        let (record, read_only) = (self.table.at_mut(slot), interest == Interest::READABLE);
        if record.flags.read_only == read_only {
            return Ok(());
        }
        record.flags.read_only = read_only;
        let token = self.tokens.token(slot, record.generation).expect("it was registered under it");
        self.registry
            .reregister(&mut record.conn, Token(token), interest)
            .map_err(|error| (Reason::Failed, Some(error)))
    }

    /// Takes a connection out of the table and counts it.
    pub(crate) fn leave(&mut self, slot: u32, reason: Reason) -> Left<C> {
        let left = self.table.remove(slot);
        self.stats.left[reason as usize] += 1;
        debug!(
            target: "conncache",
            "event=leave id={} peer={} channel={} reason={reason}", left.record.id(slot, self.tokens.serial()), left.peer, left.channel
        );
        left
    }

    /// Takes a connection out of the table and of the host's `Poll`. That goes on if deregistering fails.
    pub(crate) fn evict(&mut self, slot: u32, reason: Reason) -> Evicted<C> {
        let Left { mut record, peer, channel } = self.leave(slot, reason);
        let id = record.id(slot, self.tokens.serial());
        if let Err(error) = self.registry.deregister(&mut record.conn) {
            self.stats.deregister_failures += 1;
            warn!(target: "conncache", "event=deregister_failed id={id} error={error}");
        }
        let private = match record.state {
            State::Inactive { private, .. } => private,
            State::Active { .. } => None,
        };
        Evicted { id, reason, conn: record.conn, peer, channel, private, uses: record.uses, error: None }
    }

    pub(crate) fn evict_faulty(&mut self, slot: u32, (reason, error): Fault) -> Evicted<C> {
        Evicted { error, ..self.evict(slot, reason) }
    }
}

/// Why a connection is not fit for use, and the operating system's error if that is why.
pub(crate) type Fault = (Reason, Option<io::Error>);

/// Whether a connection that is about to become inactive can be watched.
pub(crate) fn look<C: Connection>(conn: &mut C) -> Result<(), Fault> {
    if !conn.is_connected() {
        return Err((Reason::NotConnected, None));
    }
    if EDGE_IS_EMULATED { verdict_of(conn.probe()) } else { Ok(()) }
}

pub(crate) fn verdict_of(probe: Probe) -> Result<(), Fault> {
    match probe {
        Probe::Quiet => Ok(()),
        Probe::Closed => Err((Reason::HungUp, None)),
        Probe::Unsolicited => Err((Reason::Unsolicited, None)),
        Probe::Failed(error) => Err((Reason::Failed, Some(error))),
    }
}

impl<C: Connection, P: Policy> Drop for Cache<C, P> {
    fn drop(&mut self) {
        self.close_all();
    }
}
