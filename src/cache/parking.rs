//! `park` and `take`: how connections come in and leave if the host has a table of its own, and gives the cache only
//! the inactive ones.

use crate::cache::Cache;
use crate::cache::fitness::verdict;
use crate::cache::registering::can_be_watched;
use crate::channel::ChannelBindingId;
use crate::connection::Connection;
use crate::error::{Cause, ParkError, TakeError};
use crate::history::History;
use crate::outcome::{ParkOptions, Parked, Taken};
use crate::peer::Peer;
use crate::policy::{Candidate, Policy};
use crate::reason::Reason;
use crate::state::Owner;
use crate::table::Left;
use crate::table::buckets::Destination;
use crate::table::clock::{Clock, Tick};
use crate::table::record::{Flags, Record, Rest, Standing};
use log::debug;
use mio::{Interest, Token};
use std::time::{Duration, Instant};

/// # Hosts with a table of their own
impl<C: Connection, P: Policy> Cache<C, P> {
    /// Takes in an inactive connection from a host that has a table of its own. One system call moves its registration
    /// with the same `Poll` to the cache's token. The counterpart of [`take`](Cache::take).
    ///
    /// Call it when the whole request has been sent, its whole response has been read, no other response is owed, and
    /// all buffers are empty. Otherwise close the connection; see [`checkin`](Cache::checkin).
    ///
    /// The socket has to be non-blocking, or its probe stops the loop. Those that mio opens are. For a socket of the
    /// standard library, call `socket.set_nonblocking(true)?` before `from_std`.
    ///
    /// Put the [`History`] that `take` gave into the options. Then age and uses keep counting, a
    /// [`close_peer`](Cache::close_peer) in the meantime takes effect, and the connection isn't asked again whether it
    /// is connected. For a connection that the host opened, make a history:
    /// [`History::opened_at`](crate::History::opened_at). Without a history, it counts as opened now, with one use.
    ///
    /// At a limit on all connections, the oldest inactive one makes room for it.
    ///
    /// O(1), but at the limit of its peer O(channel bindings in use with the peer + connections kept for requests that
    /// wait for it).
    ///
    /// # Errors
    ///
    /// The connection comes back, registered as it was, with its options and the cause, and nothing has changed.
    /// Deregister it and drop it. Causes are: the cache [would not keep it](Cause::Refused), there are [as
    /// many](Cause::AtLimit) as allowed and no inactive one can make room, requests for other peers or channel bindings
    /// [come first](Cause::OthersWait), or it couldn't be re-registered (perhaps because it wasn't registered before).
    /// The first three are routine. A connection that has reached `max_uses`, for example, is an error here, while
    /// [`checkin`](Cache::checkin) returns it as evicted. So don't end the loop with `?`.
    pub fn park(
        &mut self,
        now: Instant,
        mut conn: C,
        peer: &Peer,
        channel: ChannelBindingId,
        options: ParkOptions,
    ) -> Result<Parked<C>, ParkError<C>> {
        // The checks work on copies of the clock and the jitter, so that an error changes nothing.
        let (mut clock, mut jitter) = (self.clock, self.jitter);
        let since = clock.advance(now);
        let now = clock.now();
        let fresh = History::opened_at(now);
        let history = options.history.as_ref().unwrap_or(&fresh);
        let (opened, lifetime_end) = self.times_of(history, &clock, &mut jitter);
        let (uses, until) = (history.uses, clock.end(options.until));
        let hung_up = history.read_closed.then_some(Reason::HungUp);
        let closed = hung_up.or_else(|| self.closed_since(history, peer, channel));
        let flags = Flags { read_only: true, ..Flags::default() };
        let record = Record { uses, lifetime_end, flags, ..Record::new(Owner(0)) };
        let site = self.site_or_new(peer);
        let bucket = self.table.buckets.find(peer, channel);
        let waiting = bucket.map_or(0, |bucket| self.table.unmatched_in(bucket, None));
        let candidate = self.table.candidate(now, (peer, channel), bucket, uses, waiting);
        let Some(victim) = self.room(since, &site, None) else {
            // Only a limit denies room, so there is always one. The default is there because nothing here may panic.
            let cause = self.limit_reached(&site, false).unwrap_or(Cause::OthersWait);
            return Err(ParkError::new(conn, options, cause));
        };
        // If another connection is evicted for it, it takes no room that a waiting request could have.
        let may_yield = bucket.filter(|_| victim.is_none());
        let allowed = self.allowed(since, &record, closed, until, waiting > 0).map(|()| until);
        let until = match self.admit(&mut conn, &clock, history.connected, &candidate, allowed, may_yield) {
            Ok(until) => until,
            Err(cause) => return Err(ParkError::new(conn, options, cause)),
        };
        (self.clock, self.jitter) = (clock, jitter);
        let slot =
            self.table.insert(record, Rest::new(opened), conn, Destination { peer, channel, most: Some(site.most) });
        self.table.keep_private(slot, options.private);
        let standing = if waiting > 0 { Standing::Promised } else { Standing::Kept };
        self.table.deactivate(slot, since, until, standing);
        self.stats.inserted += 1;
        let id = self.table.at(slot).id(slot);
        let evicted = match victim {
            Some((victim, reason)) => {
                self.condemn_beyond_max_inactive(self.table.at(slot).bucket);
                Some(self.evict(victim, self.unfit(victim, since).unwrap_or(reason)))
            }
            None => self.evict_if_surplus(since, slot),
        };
        // The logger may panic. So it is called last, when all limits hold.
        debug!(target: "conncache", "event=park id={id} peer={peer} channel={channel}");
        Ok(Parked { id, evicted })
    }

    /// Checks a connection that is about to be parked, and registers it under the next token. Returns until when it is
    /// kept. `may_yield` is its bucket, if it may have to leave its room to requests in other lines.
    fn admit(
        &mut self,
        conn: &mut C,
        clock: &Clock,
        connected: bool,
        candidate: &Candidate<'_>,
        allowed: Result<Tick, Reason>,
        may_yield: Option<u32>,
    ) -> Result<Tick, Cause> {
        let token = self.next_token()?;
        let until = allowed.map_err(Cause::Refused)?;
        can_be_watched(conn, connected).map_err(Cause::of)?;
        let until = verdict(&mut self.policy, clock, candidate, until).map_err(Cause::Refused)?;
        if may_yield.is_some_and(|bucket| self.has_to_yield(bucket, candidate.waiting as u32, 1)) {
            return Err(Cause::OthersWait);
        }
        // The cache doesn't need to know that it is writable, and that event would come at once.
        self.watcher.reregister(conn, token, Interest::READABLE).map_err(Cause::Registry)?;
        Ok(until)
    }

    /// Hands out a connection for good, if one is fit for use. One system call besides the probe moves its registration
    /// to the host's `token`, with this `interest`. The counterpart of [`park`](Cache::park). Connections that were
    /// inserted can be taken, too. Connections that were taken don't count for any limit. As with
    /// [`checkout`](Cache::checkout), nothing is found while requests wait for the same peer and channel binding.
    ///
    /// Unless you have set the cache's [`tokens`](crate::Builder::tokens), all small numbers are free for your tokens:
    /// those below 2^48 (2^28 if tokens have 32 bits).
    ///
    /// Write at once: don't wait for an event to say that it is writable. If your table is a `slab`,
    /// `slab.vacant_key()` gives the token before the connection is there.
    ///
    /// # Errors
    ///
    /// If the host's token lies in the cache's own block, nothing has changed. If the connection couldn't be
    /// re-registered, it has left the cache and comes with the error.
    pub fn take(
        &mut self,
        now: Instant,
        peer: &Peer,
        channel: ChannelBindingId,
        token: Token,
        interest: Interest,
    ) -> Result<Option<Taken<C>>, TakeError<C>> {
        if self.tokens.slot(token.0).is_some() {
            return Err(TakeError::new(Cause::TokenOfCache(token), None));
        }
        let now = self.clock.advance(now);
        let Some(slot) = self.find(now, peer, channel) else {
            self.stats.missed += 1;
            return Ok(None);
        };
        if let Err(error) = self.watcher.reregister(self.table.slots.conn_mut(slot), token, interest) {
            self.stats.missed += 1;
            let evicted = Some(self.evict(slot, Reason::Failed));
            return Err(TakeError::new(Cause::Registry(error), evicted));
        }
        self.stats.handed_out += 1;
        let Left { mut record, rest, conn, .. } = self.leave(slot, Reason::Taken);
        record.uses += 1;
        let history = self.history(&record, &rest);
        let inactive_for = record.inactive_since().map_or(Duration::ZERO, |since| now.since(since));
        Ok(Some(Taken { conn, inactive_for, private: rest.private, history }))
    }
}
