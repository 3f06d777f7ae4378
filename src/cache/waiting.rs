//! Requests for connections, within limits on all connections, and the line of those that have to wait.
//!
//! # The life of a request
//!
//! ```text
//! request ─┬─> Reuse             handed out at once: nothing is kept of the request
//!          ├─> a place ─────┬──> insert_at, give_up
//!          │     │     ^    └──> TimedOut
//!          │ put_back  Open
//!          │     v     │
//!          └─> a line ──────┬──> Reuse, TimedOut, Refused
//!                           └──> withdraw
//! ```
//!
//! `Open`, `Reuse`, `TimedOut` and `Refused` are the answers of [`grant`](Cache::grant). A request that is in a line or
//! has a place is a [`Request`](crate::table::lines::Request), and [`At`] says which of the two.
//!
//! `grant` looks at four queues, in this order:
//!
//! 1. the deadlines of all requests;
//! 2. the lines that were refused as a whole (they no longer belong to a bucket);
//! 3. the lines that are *ready*: their bucket may have an inactive connection for them;
//! 4. the *sites* (what is known of one peer) that have waiting requests, and may have room for one more connection.
//!    The line of the site that has the next turn gets the room.
//!
//! An entry in the last two queues only means that it is worth trying. Whatever may make it possible to serve a request
//! adds an entry (`mark_line_ready`, `enqueue`), and a try without success removes it. So no wake-up is lost, and
//! nothing is tried again and again.
//!
//! A connection that becomes inactive while a request without one waits in its bucket is *promised* to the line,
//! instead of *kept* for anybody: the limits on inactive connections don't count it. If a request ends in another way,
//! and more connections are promised than requests wait, a promise is broken: the policy is asked once more, and the
//! connection is kept or *condemned* (it has to leave).
//!
//! A connection that comes back usually serves its own line. Each such service *passes over* the other lines that wait
//! at the same limit. After [`QUANTUM`](crate::table::turns::QUANTUM) passes, a connection that comes back makes room
//! for another line.
//!
//! [`serving`](super::serving) has what the calls below share, and [`room`](super::room) checks the limits. The lines
//! are in `table/lines.rs`, and the sites in `table/sites.rs`. `table/waiting.rs` keeps both in step with the
//! connections. `table/promises.rs` keeps the promises, and `table/turns.rs` decides between lines.

use crate::cache::Cache;
use crate::cache::cycle::log_insert;
use crate::cache::fitness::MOST_DEAD;
use crate::cache::serving::MOST_LOOKS;
use crate::channel::ChannelBindingId;
use crate::connection::Connection;
use crate::error::{Cause, InsertError, NotFound, StateError};
use crate::outcome::Evicted;
use crate::peer::Peer;
use crate::policy::Policy;
use crate::reason::Reason;
use crate::request::{Grant, Granted, Place, RequestError, Requested, WaiterId};
use crate::state::{ConnId, Owner};
use crate::table::buckets::Destination;
use crate::table::lines::At;
use crate::table::record::State;
use crate::table::sites::Site;
use log::debug;
use std::time::{Duration, Instant};

/// # Waiting
impl<C: Connection, P: Policy> Cache<C, P> {
    /// Asks for a connection within all limits, for hosts that set [`max_connections`](crate::Limits::max_connections),
    /// [`max_connections_per_peer`](crate::Limits::max_connections_per_peer) or
    /// [`max_connecting_per_peer`](crate::Limits::max_connecting_per_peer). The answer is a connection to reuse, a
    /// [`Place`] to open one, or a wait in the line for this peer and channel binding. First come, first served.
    ///
    /// At a limit, an inactive connection that can't serve the request makes room for it, and comes with the answer:
    /// one that has to go anyway, else the one that has been inactive longest. At the limit on all connections that may
    /// be any other; at the limit of this peer, it is one of this peer under another channel binding.
    ///
    /// At `until`, the request stops waiting, and a place that it got is no longer held. With `None` it waits as long
    /// as it takes, and a place is held for 30 seconds. Once the connection is inserted or reused, `until` no longer
    /// counts: [set a deadline](Cache::set_deadline) for the connection.
    ///
    /// A host that uses requests calls [`grant`](Cache::grant) in each turn of its loop, before
    /// [`expire`](Cache::expire). Otherwise [`next_deadline`](Cache::next_deadline) stays due, and the loop spins.
    ///
    /// ```
    /// use conncache::mio::{Poll, net::TcpStream};
    /// use conncache::{AggressiveCache, ChannelBindingId, Granted, Owner, Peer, Requested};
    /// use std::time::Instant;
    ///
    /// # let server = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let addr = server.local_addr()?;
    /// let poll = Poll::new()?;
    /// let mut cache: AggressiveCache<TcpStream> =
    ///     AggressiveCache::builder().max_connections_per_peer(1).build(poll.registry())?;
    /// let (peer, plain, now) = (Peer::from(addr), ChannelBindingId::PLAIN, Instant::now());
    ///
    /// // The first request may open a connection. The second one has to wait.
    /// let Requested::Open { place, .. } = cache.request(now, &peer, plain, Owner(1), None)? else { panic!() };
    /// let id = cache.insert_at(now, place, TcpStream::connect(addr)?)?;
    /// let Requested::Wait(waiter) = cache.request(now, &peer, plain, Owner(2), None)? else { panic!() };
    /// assert!(cache.grant(now).is_none());
    ///
    /// // Once the first owner has finished, it is the second one's turn.
    /// # while cache[id].peer_addr().is_err() { std::thread::yield_now(); }
    /// assert!(cache.checkin(now, id)?.is_none());
    /// let grant = cache.grant(now).expect("there is a connection");
    /// assert_eq!((grant.waiter, grant.owner), (waiter, Owner(2)));
    /// let Granted::Reuse(found) = grant.granted else { panic!() };
    /// assert!(found.id.same_connection(id)); // write to cache[found.id] at once
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// O(1), but at the limit of the peer O(channel bindings in use with it).
    ///
    /// # Errors
    ///
    /// [`RequestError`]: as many requests wait as [`max_waiting`](crate::Limits::max_waiting) allows, the cache drains,
    /// or `until` has passed. Nothing has changed, except that dead connections met on the way were closed and counted,
    /// as in [`checkout`](Cache::checkout).
    pub fn request(
        &mut self,
        now: Instant,
        peer: &Peer,
        channel: ChannelBindingId,
        owner: Owner,
        until: Option<Instant>,
    ) -> Result<Requested<C>, RequestError> {
        if self.draining {
            return Err(RequestError::Draining);
        }
        // The checks work on a copy of the clock, so that an error changes nothing.
        let mut clock = self.clock;
        let since = clock.advance(now);
        let until = clock.end(until);
        if until <= since {
            return Err(RequestError::TimedOut);
        }
        let mut bucket = self.table.buckets.find(peer, channel);
        if let Some(at) = bucket.filter(|&at| self.table.has_some_for_newcomers(at)) {
            if let Some(found) = self.reuse(since, at, owner, 0) {
                self.clock = clock;
                return Ok(Requested::Reuse(found));
            }
            // The bucket may have gone with connections that were found dead.
            bucket = self.table.buckets.find(peer, channel);
        }
        let site = match bucket {
            Some(at) => *self.table.buckets.sites.get(self.table.buckets.get(at).site),
            None => self.site_or_new(peer),
        };
        let to = Destination { peer, channel, most: Some(site.most) };
        // Whether the next grant would look for room in vain: the peer's limits forbid another connection.
        let mut has_no_room = false;
        if !self.comes_after_others(since, &site) {
            if let Some(victim) = self.room(since, &site, Some(channel)) {
                self.clock = clock;
                let evicted = victim.map(|(slot, reason)| self.evict(slot, reason));
                self.stats.missed += 1;
                let place = self.give_place(since, to, owner, until);
                return Ok(Requested::Open { place, evicted });
            }
            has_no_room = self.is_room_in_total() && site.total <= site.most;
        }
        if let Some(max_waiting) = self.limits.max_waiting.filter(|&most| self.table.lines.waiting() >= most) {
            return Err(RequestError::LineFull { max_waiting });
        }
        self.clock = clock;
        let bucket = bucket.unwrap_or_else(|| self.table.buckets.add(to));
        let waiter = self.table.wait(bucket, owner, since, until, has_no_room);
        self.stats.missed += 1;
        self.stats.waited += 1;
        debug!(target: "conncache", "event=wait waiter={waiter} peer={peer} channel={channel} owner={}", owner.0);
        Ok(Requested::Wait(waiter))
    }

    /// [`insert`](Cache::insert) for a connection that has a [`Place`]. The socket has to be non-blocking: see there.
    ///
    /// # Errors
    ///
    /// The connection comes back with the cause, and nothing has changed. The cause is [`Cause::PlaceGone`] if
    /// [`grant`](Cache::grant) has said that the request timed out, or if the place is another cache's. Unless the
    /// request timed out, the place comes back, too: [give it up](Cache::give_up), or it is held until its time is
    /// over.
    pub fn insert_at(&mut self, now: Instant, place: Place, mut conn: C) -> Result<ConnId, InsertError<C>> {
        if !self.is_held(&place) {
            let place = Some(place).filter(|place| place.cache != self.tokens.cache());
            return Err(InsertError { conn, cause: Cause::PlaceGone, place });
        }
        if let Err(cause) = self.register_next(&mut conn) {
            return Err(InsertError { conn, cause, place: Some(place) });
        }
        // As long as the place is held, the peer has a site.
        let to = Destination { peer: &place.peer, channel: place.channel, most: None };
        let id = self.take_in(now, conn, to, place.owner, None);
        self.end_place(&place);
        log_insert(id, &place.peer, place.channel, place.owner);
        Ok(id)
    }

    /// Returns a place that nobody needs any more: the client has left, or the connection couldn't be opened and the
    /// request has failed. Another request can have it. This one has ended: [`grant`](Cache::grant) doesn't name it.
    ///
    /// Nothing changes if the place is gone already, or if it is another cache's: that one holds it until its time is
    /// over.
    pub fn give_up(&mut self, place: Place) {
        self.end_place(&place);
    }

    /// Returns a place and puts its request at the head of its line: for a host that can't open the connection at the
    /// moment, for example because descriptors have run out (`EMFILE`). The request's time keeps running. Requests that
    /// are put back stay in the order in which they came, even in a line that is [full](crate::Limits::max_waiting).
    /// While the cache drains, the request is refused.
    ///
    /// As long as the limits leave room, the next [`grant`](Cache::grant) can give it another place at once. So don't
    /// call `grant` again in this turn, and [lower the limit](Cache::set_limits) for a while, as docs/embedding.md in
    /// the repository shows. Otherwise `next_deadline` stays due, and the loop spins until the connection can be
    /// opened.
    ///
    /// O(requests put back that came earlier).
    ///
    /// # Errors
    ///
    /// [`NotFound`] if the place is gone already, or if it is another cache's: that one holds it until its time is
    /// over. Nothing has changed.
    pub fn put_back(&mut self, place: Place) -> Result<WaiterId, NotFound> {
        if !self.is_held(&place) {
            return Err(NotFound);
        }
        let bucket = self.table.put_back(place.waiter.slot);
        if self.draining {
            self.table.refuse_line(bucket);
        }
        Ok(place.waiter)
    }

    /// Closes an active connection and gives its owner a place for another one to the same peer under the same channel
    /// binding: for a request that has to be repeated on a new connection, because the old one broke. Nobody who waits
    /// is overtaken, since the connection makes its own room. Returns the place and the connection, deregistered.
    /// Drop the connection before you open another one.
    ///
    /// A request that must not be sent twice can have a new connection at once in the same way, whenever it gets a
    /// reused one, which its peer may be about to close.
    ///
    /// There is no place (`None`) if a limit was lowered in the meantime, or if as many connections are being opened as
    /// [`max_connecting_per_peer`](crate::Limits::max_connecting_per_peer) allows. Then [`request`](Cache::request)
    /// one. A cache that drains gives one all the same, because the request is under way already.
    ///
    /// `until` is as in `request`.
    ///
    /// # Errors
    ///
    /// [`StateError::NotFound`], also when the lease is over; or [`StateError::AlreadyInactive`]. Nothing has changed.
    pub fn reopen(
        &mut self,
        now: Instant,
        id: ConnId,
        until: Option<Instant>,
    ) -> Result<(Option<Place>, Evicted<C>), StateError> {
        let slot = self.slot_of(id)?;
        let State::Active { owner, .. } = self.table.at(slot).state() else { return Err(StateError::AlreadyInactive) };
        let now = self.clock.advance(now);
        let most = self.table.buckets.sites.get(self.table.bucket_of(slot).site).most;
        let evicted = self.evict(slot, Reason::Closed);
        let (peer, channel) = (&evicted.peer, evicted.channel);
        // The policy isn't asked again if the peer's last connection has just left.
        let site = self.table.buckets.site_of(peer);
        let site = site.map_or(Site::new(most), |site| *self.table.buckets.sites.get(site));
        let place = match self.room(now, &site, Some(channel)) {
            Some(None) => Some(self.give_place(
                now,
                Destination { peer, channel, most: Some(most) },
                owner,
                self.clock.end(until),
            )),
            _ => None,
        };
        Ok((place, evicted))
    }

    /// Answers one of the waiting requests: one that can be served, whose time is over, or that is refused. Call it in
    /// each turn of the loop until it returns `None`, or fewer times to bound the turn's work.
    ///
    /// Requests for one peer and channel binding are served in the order in which they came. If
    /// [`max_connections`](crate::Limits::max_connections) keeps requests waiting, peers take turns, and so do the
    /// channel bindings of a peer. If the limit of a peer does, its channel bindings take turns.
    ///
    /// A connection that comes back serves its own line first, or whoever [requests](Cache::request) it, [checks it
    /// out](Cache::checkout) or [sets it active](Cache::set_connection_state) before the next grant, so that it is
    /// reused. Each such service passes over the other lines that wait. After eight of them, the connection that comes
    /// back makes room for another line instead, if that line has no connection, or at least two fewer than its own
    /// line. (If the other line is another peer's, what counts is that this peer has at least two fewer than its own
    /// peer.)
    ///
    /// Each service looks at one of the other lines. So where n lines wait, a line without a connection gets one after
    /// at most n × (8 + n) services, and one more for each connection that was active already. For this bound, each
    /// peer counts as having as many lines as the peer with the most.
    ///
    /// Free room is given away earlier: as long as there is some, places and reuses take turns, however few grants the
    /// host takes in a turn of its loop.
    ///
    /// It may return `None` although more can be done, after looking at 16 lines and peers without success, or after
    /// closing eight dead connections. Then [`next_deadline`](Cache::next_deadline) is still due.
    ///
    /// O(1), but at the limit of a peer O(channel bindings in use with it).
    #[must_use = "a request granted waits no longer; there may be more"]
    pub fn grant(&mut self, now: Instant) -> Option<Grant<C>> {
        let now = self.clock.advance(now);
        if let Some(request) = self.table.lines.deadlines.due(now) {
            let grant = self.end_with(now, request, Granted::TimedOut);
            self.stats.timed_out += 1;
            return Some(grant);
        }
        if let Some(request) = self.table.lines.first_refused() {
            return Some(self.end_with(now, request, Granted::Refused));
        }
        let dead_before = self.stats.found_dead;
        for _ in 0..MOST_LOOKS {
            if let Some(line) = self.table.lines.first_ready() {
                let dead = (self.stats.found_dead - dead_before) as u32;
                if dead >= MOST_DEAD {
                    return None;
                }
                if std::mem::take(&mut self.opens_next) {
                    if let Some(grant) = self.open_before_reuse(now) {
                        return Some(grant);
                    }
                }
                if let Some(grant) = self.reuse_for(now, line, dead) {
                    return Some(grant);
                }
                continue;
            }
            self.opens_next = false;
            let site = self.table.buckets.sites.first()?;
            if !self.is_room_in_total() {
                self.condemn_beyond_max_connections();
                return None;
            }
            self.table.buckets.sites.dequeue(site);
            if let Some(grant) = self.open_for(now, site) {
                return Some(grant);
            }
        }
        None
    }

    /// Ends a request that waits, for example because its client has left. [`grant`](Cache::grant) won't name it. To
    /// end one that has a [`Place`], call [`give_up`](Cache::give_up).
    ///
    /// # Errors
    ///
    /// [`NotFound`] if it isn't this cache's, or no longer waits.
    pub fn withdraw(&mut self, waiter: WaiterId) -> Result<(), NotFound> {
        match self.table.lines.get(waiter).map(|request| request.at) {
            Some(At::Line(_)) => {
                self.end(waiter.slot);
                Ok(())
            }
            Some(At::Place(_)) | None => Err(NotFound),
        }
    }

    /// Refuses all requests that wait for `peer`, whatever their channel binding: for a server that is known to be
    /// down. `grant` returns them. O(channel bindings in use with the peer + connections kept for these requests).
    pub fn refuse(&mut self, peer: &Peer) {
        for bucket in self.table.buckets.all_of_peer(peer) {
            if self.table.waiting_in(bucket) > 0 {
                self.refuse_line(bucket);
            }
        }
    }

    /// Tells the cache that an inserted connection is established: it no longer counts for
    /// [`max_connecting_per_peer`](crate::Limits::max_connecting_per_peer). Without this call, it counts until the
    /// first readable event that isn't a hangup, or its [`checkin`](Cache::checkin). (Hosts that call
    /// [`handle_readiness`](Cache::handle_readiness) don't tell whether an event was a readable one.)
    ///
    /// # Errors
    ///
    /// [`NotFound`] if it isn't here, or the lease is over.
    pub fn established(&mut self, id: ConnId) -> Result<(), NotFound> {
        let slot = self.slot_of(id)?;
        self.table.established(slot);
        Ok(())
    }

    /// How long the request that has waited longest has been waiting; zero if none waits. O(pairs of peer and channel
    /// binding in use); O(1) if none waits.
    pub fn longest_wait(&self) -> Duration {
        self.table.longest_since().map_or(Duration::ZERO, |since| self.clock.latest().since(since))
    }
}
