//! The way in and out for hosts with a table of their own, which have the cache keep the inactive connections alone.

use crate::cache::Cache;
use crate::cache::fitness::Facts;
use crate::cache::registering::look;
use crate::channel::ChannelBindingId;
use crate::connection::Connection;
use crate::error::{Cause, ParkError, TakeError};
use crate::outcome::{History, ParkOptions, Parked, Taken};
use crate::peer::Peer;
use crate::policy::Policy;
use crate::reason::Reason;
use crate::state::{Owner, PrivateData};
use crate::table::Left;
use crate::table::clock::Tick;
use crate::table::slots::{Flags, State};
use log::debug;
use mio::{Interest, Token};
use std::time::Instant;

/// # Hosts with a table of their own
impl<C: Connection, P: Policy> Cache<C, P> {
    /// [`park_with`](Cache::park_with) for a new connection without a deadline. Of a connection that was taken, age and
    /// uses start anew: to have them limited, use `park_with` and give back its [`History`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn park(
        &mut self,
        now: Instant,
        conn: C,
        peer: &Peer,
        channel: ChannelBindingId,
        private: PrivateData,
    ) -> Result<Parked<C>, ParkError<C>> {
        self.park_with(now, conn, peer, channel, ParkOptions { private, ..ParkOptions::default() })
    }

    /// Takes in a connection from a host that keeps a table of its own, as an inactive one: moves its registration
    /// with the same `Poll` to the cache's token, by one system call. The counterpart of [`take`](Cache::take).
    ///
    /// # Errors
    ///
    /// The connection comes back, registered as it was, with its private data and the cause: it
    /// [would not be kept](Cause::Refused), or it couldn't be re-registered (as when it wasn't registered before).
    pub fn park_with(
        &mut self,
        now: Instant,
        mut conn: C,
        peer: &Peer,
        channel: ChannelBindingId,
        parking: ParkOptions,
    ) -> Result<Parked<C>, ParkError<C>> {
        let tick = self.clock.advance(now);
        let ParkOptions { private, until, past } = parking;
        let (id, token) = match self.next_name() {
            Ok(name) => name,
            Err(cause) => return Err(ParkError { conn, private, cause }),
        };
        let lifetime_end = match past.lifetime_end {
            Some(end) => end.map_or(Tick::NEVER, |end| self.clock.tick(end)),
            None => self.new_lifetime_end(tick),
        };
        let until = until.map_or(Tick::NEVER, |until| self.clock.tick(until));
        let bucket = self.table.buckets.find_or_add(peer, channel);
        let facts = Facts { bucket, flags: Flags::default(), uses: past.uses, lifetime_end, since: tick, until };
        let entered = match self.refused(facts) {
            Some(reason) => Err(Cause::Refused(reason)),
            None => look(&mut conn).map_err(Cause::of).and_then(|()| self.ask(now, facts).map_err(Cause::Refused)),
        };
        let entered = entered.and_then(|until| {
            // Writability is of no interest to the cache, and would be told at once.
            self.registry.reregister(&mut conn, token, Interest::READABLE).map_err(Cause::Registry)?;
            Ok(until)
        });
        let until = match entered {
            Ok(until) => until,
            Err(cause) => {
                self.table.buckets.release_if_empty(bucket);
                return Err(ParkError { conn, private, cause });
            }
        };
        let slot = self.table.insert(conn, peer, channel, Owner(0), lifetime_end);
        let record = self.table.at_mut(slot);
        record.uses = past.uses;
        record.flags = Flags { connected: true, read_only: true, ..Flags::default() };
        self.stats.inserted += 1;
        debug!(target: "conncache", "event=park id={id} peer={peer} channel={channel}");
        self.table.deactivate(slot, tick, until, private);
        Ok(Parked { id, evicted: self.make_room(bucket) })
    }

    /// Hands a connection out for good, if there is one fit for use: moves its registration to the host's `token` with
    /// this `interest`, by one system call besides the probe. The counterpart of [`park`](Cache::park); connections
    /// that were inserted can be taken, too.
    ///
    /// # Errors
    ///
    /// The host's token lies in the cache's own block: nothing has changed. Or the connection couldn't be
    /// re-registered: it has left the cache and comes with the error.
    pub fn take(
        &mut self,
        now: Instant,
        peer: &Peer,
        channel: ChannelBindingId,
        token: Token,
        interest: Interest,
    ) -> Result<Option<Taken<C>>, TakeError<C>> {
        if self.tokens.slot(token.0).is_some() {
            return Err(TakeError { cause: Cause::TokenOfCache(token), evicted: None });
        }
        let now = self.clock.advance(now);
        let Some(slot) = self.find(now, peer, channel) else {
            self.stats.missed += 1;
            return Ok(None);
        };
        if let Err(error) = self.registry.reregister(&mut self.table.at_mut(slot).conn, token, interest) {
            self.stats.missed += 1;
            let evicted = Some(self.evict(slot, Reason::Failed));
            return Err(TakeError { cause: Cause::Registry(error), evicted });
        }
        self.stats.handed_out += 1;
        let Left { record, .. } = self.leave(slot, Reason::Taken);
        let State::Inactive { since, private, .. } = record.state else { unreachable!("only inactive ones are found") };
        let lifetime_end = Some(self.clock.instant(record.lifetime_end));
        let past = History { uses: record.uses.saturating_add(1), lifetime_end };
        Ok(Some(Taken { conn: record.conn, inactive_for: now.since(since), private, past }))
    }
}
