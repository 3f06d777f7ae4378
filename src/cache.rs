//! The type [`Cache`]: its fields, and a list of the files in `cache/`, each of which adds a group of methods.

use crate::cache::jitter::Jitter;
use crate::cache::rules::Rules;
use crate::cache::tokens::Tokens;
use crate::cache::watcher::{EDGE_IS_EMULATED, Watcher};
use crate::connection::Connection;
use crate::error::{Cause, NotFound};
use crate::limits::Limits;
use crate::policy::{Aggressive, Policy, Restrictive};
use crate::state::ConnId;
use crate::stats::Stats;
use crate::table::Table;
use crate::table::clock::{Clock, Tick};
use mio::Token;
use std::time::Instant;

pub use builder::Builder;
pub use connection_cache::ConnectionCache;

// The calls of the host, grouped by their task. rustdoc shows them in this order. (The blank lines keep rustfmt from
// sorting the modules.)
mod builder;

mod cycle;

mod states;

mod turn;

mod waiting;

mod times;

mod parking;

mod adopting;

mod control;

mod view;

// These calls as a trait.
mod connection_cache;

// What the calls above share.

mod fitness;
mod jitter;
mod leaving;
mod registering;
mod room;
mod rules;
mod serving;
mod tokens;
mod watcher;

/// A cache that keeps connections open for as long as possible: until the peer hangs up, or a limit is reached.
///
/// By default nothing is limited. Set [limits](crate::Limits), or call [`shed`](Cache::shed) when descriptors run out.
pub type AggressiveCache<C> = Cache<C, Aggressive>;

/// A cache that keeps a connection only if a request waits for it. One that is made inactive serves the next
/// [request](Cache::request) in line, or comes straight back to be closed.
///
/// It is for programs that can be run with and without reuse. It is still the table of the active connections. If a
/// connection was kept for a request that has left the line, the connection comes from [`expire`](Cache::expire), with
/// the reason [`Policy`](crate::Reason::Policy). So call [`grant`](Cache::grant) before `expire`.
pub type RestrictiveCache<C> = Cache<C, Restrictive>;

/// A connection cache: a table of connections of type `C`. Each is active (an owner uses it) or inactive (the cache
/// watches it, and may hand it out again). The policy `P` decides what is kept.
///
/// The connections are registered with the host's [`Poll`](mio::Poll), and the host's loop drives the cache; see the
/// [crate's page](crate). Inside a loop that isn't mio's, use a [`Nest`](crate::Nest), or a cache [without a
/// `Poll`](Builder::build_unwatched). The usual names are the aliases [`AggressiveCache`] and [`RestrictiveCache`].
///
/// Dropping the cache deregisters and closes every connection, active ones too.
pub struct Cache<C: Connection, P: Policy> {
    pub(crate) table: Table<C>,
    pub(crate) policy: P,
    pub(crate) limits: Limits,
    /// The limits and `draining`, in the form in which a cycle needs them.
    pub(crate) rules: Rules,
    pub(crate) clock: Clock,
    /// The latest deadline that an owner has set, and its tick. In one turn many deadlines are the same.
    pub(crate) last_deadline: (Option<Instant>, Tick),
    pub(crate) jitter: Jitter,
    pub(crate) tokens: Tokens,
    pub(crate) watcher: Watcher,
    /// Whether the host's loop is level-triggered: see [`narrows`](Cache::narrows).
    pub(crate) level_triggered: bool,
    /// The slot at which the next [`sweep`](Cache::sweep) continues.
    pub(crate) next_swept: u32,
    pub(crate) stats: Stats,
    pub(crate) draining: bool,
    /// A connection that was inactive for fewer nanoseconds than this isn't probed at its hand-out. `u64::MAX` if none
    /// is probed.
    pub(crate) probe_after: u64,
    /// Whether the connection that has been inactive longest is handed out first.
    pub(crate) oldest_first: bool,
    /// Whether the next grant prefers to give a place, if there is free room: places and reuses take turns.
    pub(crate) opens_next: bool,
}

impl<C: Connection, P: Policy> Cache<C, P> {
    /// The slot of the connection whose present lease this is.
    #[inline]
    pub(crate) fn slot_of(&self, id: ConnId) -> Result<u32, NotFound> {
        self.table.leased(id).map(|_| id.slot()).ok_or(NotFound)
    }

    /// Whether inactive connections are registered only for reading. A level-triggered loop would otherwise report
    /// again and again that they are writable. So would a loop with emulated edges, where each probe asks again for all
    /// events that a connection is registered for.
    pub(crate) fn narrows(&self) -> bool {
        self.level_triggered || EDGE_IS_EMULATED
    }

    /// The token that the next connection inserted will have.
    pub(crate) fn next_token(&self) -> Result<Token, Cause> {
        let (slot, serial) = self.table.next_slot_and_serial();
        let token = self.tokens.token(slot, serial);
        token.map(Token).ok_or(Cause::TokensExhausted { slots: self.tokens.slots() })
    }
}

impl<C: Connection, P: Policy> Drop for Cache<C, P> {
    fn drop(&mut self) {
        self.close_all();
    }
}
