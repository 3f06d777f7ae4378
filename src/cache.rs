//! The cache itself: what it consists of, and its parts, in the order of use.

use crate::cache::jitter::Jitter;
use crate::cache::registering::Watcher;
use crate::cache::tokens::Tokens;
use crate::connection::Connection;
use crate::error::{Cause, NotFound};
use crate::limits::Limits;
use crate::policy::{Aggressive, Policy, Restrictive};
use crate::state::ConnId;
use crate::stats::Stats;
use crate::table::Table;
use crate::table::clock::{Clock, Tick};
use crate::table::slots::Record;
use mio::Token;

pub use builder::Builder;

// rustdoc shows the methods in this order.
mod builder;

mod cycle;

mod states;

mod events;

mod expiry;

mod sweep;

mod parking;

mod control;

mod view;

// Private: what the above share.
mod fitness;
mod implementation;
mod jitter;
mod leaving;
mod registering;
mod tokens;

/// A cache that keeps connections open for as long as possible: until the peer hangs up, or a limit is reached.
///
/// By default there is no limit. Set [some](crate::Limits), or call [`shed`](Cache::shed) when descriptors run out.
pub type AggressiveCache<C> = Cache<C, Aggressive>;

/// A cache that keeps nothing: a connection made inactive comes straight back, to be closed in order.
///
/// For hosts that want one program for both ways; and still the table of the active connections.
pub type RestrictiveCache<C> = Cache<C, Restrictive>;

/// A connection cache: a table of connections of type `C`, each active (an owner's) or inactive (watched by the
/// cache, and free to be handed out again), in which `P` decides what is kept.
///
/// It is registered with the host's [`Poll`](mio::Poll) and driven by the host's loop; see the [crate's
/// page](crate). Inside a loop that isn't mio's, use a [`Nest`](crate::Nest), or a cache [without a
/// `Poll`](Builder::build_unwatched). Usually named by its aliases [`AggressiveCache`] and [`RestrictiveCache`].
///
/// Dropping the cache deregisters and closes every connection, active ones too.
pub struct Cache<C: Connection, P: Policy> {
    pub(crate) table: Table<C>,
    pub(crate) policy: P,
    pub(crate) limits: Limits,
    pub(crate) clock: Clock,
    pub(crate) jitter: Jitter,
    pub(crate) tokens: Tokens,
    pub(crate) registry: Watcher,
    /// Inactive connections are registered for reading alone.
    pub(crate) narrows: bool,
    /// Where the next [`sweep`](Cache::sweep) goes on.
    pub(crate) swept: u32,
    pub(crate) stats: Stats,
    pub(crate) probing: bool,
    pub(crate) draining: bool,
}

impl<C: Connection, P: Policy> Cache<C, P> {
    /// The slot of a connection that is here.
    #[inline]
    pub(crate) fn slot_of(&self, id: ConnId) -> Option<u32> {
        (id.cache == self.tokens.serial()).then(|| self.table.slot_of(id.slot, id.generation)).flatten()
    }

    fn record(&self, id: ConnId) -> Result<&Record<C>, NotFound> {
        self.slot_of(id).map(|slot| self.table.at(slot)).ok_or(NotFound)
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
}

impl<C: Connection, P: Policy> Drop for Cache<C, P> {
    fn drop(&mut self) {
        self.close_all();
    }
}
