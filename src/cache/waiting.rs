//! Requests for connections, within limits on all connections, and the line of those that have to wait.

use crate::cache::Cache;
use crate::cache::fitness::verdict;
use crate::channel::ChannelBindingId;
use crate::connection::Connection;
use crate::error::{Cause, InsertError, NotFound};
use crate::outcome::Found;
use crate::peer::Peer;
use crate::policy::{Candidate, Policy};
use crate::reason::Reason;
use crate::state::{ConnId, Owner};
use crate::table::clock::Tick;
use crate::table::lines::At;
use crate::table::record::Standing;
use crate::table::sites::UNLIMITED;
use crate::table::slots::NONE;
use crate::waiting::{Grant, Granted, Place, RequestError, Requested, WaiterId};
use log::debug;
use std::time::{Duration, Instant};

/// For how long a place is held for a request without a time of its own.
const PLACE_TIME: Duration = Duration::from_secs(30);
/// How many lines and peers for which nothing can be done one grant looks at.
const MOST_LOOKS: u32 = 16;

/// A connection that was promised to a request, and until when the policy keeps it without.
type Broken = (u32, Result<Tick, Reason>);

/// # Waiting
impl<C: Connection, P: Policy> Cache<C, P> {
    /// Asks for a connection within all limits, for hosts that set [`max_connections`](crate::Limits::max_connections),
    /// [`max_connections_per_peer`](crate::Limits::max_connections_per_peer) or
    /// [`max_connecting_per_peer`](crate::Limits::max_connecting_per_peer). The answer is a connection to reuse, a
    /// [`Place`] at which one may be opened, or a wait in the line for this peer and channel binding. First come, first
    /// served.
    ///
    /// At a limit, an inactive connection that can't serve the request makes room for it, and comes with the answer: one
    /// that has to go anyway, else the one inactive for longest. At the limit on all connections that may be any
    /// other; at the limit of this peer, it is one of this peer under another channel binding.
    ///
    /// At `until`, the request stops waiting, and a place that it got is no longer held. With `None` it waits for as
    /// long as it takes, and a place is held for 30 seconds. Once the connection is inserted or reused, `until` no longer
    /// counts: [set a deadline](Cache::set_deadline) for the connection.
    ///
    /// A host that uses this calls [`grant`](Cache::grant) in each turn of its loop, before
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
    /// or `until` has passed. Nothing has changed.
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
        let mut clock = self.clock;
        let since = clock.advance(now);
        let end = until.map_or(Tick::NEVER, |until| clock.tick(until));
        if end <= since {
            return Err(RequestError::TimedOut);
        }
        let most = self.most_to(peer);
        if !self.is_anybody_waiting_for(peer, channel) {
            if let Some(found) = self.reuse(since, peer, channel, owner) {
                self.clock = clock;
                return Ok(Requested::Reuse(found));
            }
            if let Some(victim) = self.room_at_once(since, peer, channel, most) {
                self.clock = clock;
                let evicted = victim.map(|(slot, reason)| self.evict(slot, reason));
                let place_end = if until.is_some() { end } else { since.after(PLACE_TIME) };
                let request = self.table.lines.add(owner, since, end);
                self.table.take_place(peer, channel, most, request, place_end);
                let waiter = self.table.lines.id(request);
                self.stats.missed += 1;
                return Ok(Requested::Open { place: self.place(waiter, peer, channel, owner, place_end), evicted });
            }
        }
        if let Some(max_waiting) = self.limits.max_waiting.filter(|&most| self.table.lines.waiting() >= most) {
            return Err(RequestError::LineFull { max_waiting });
        }
        self.clock = clock;
        let waiter = self.table.wait(peer, channel, most, owner, since, end);
        self.stats.missed += 1;
        self.stats.waited += 1;
        debug!(target: "conncache", "event=wait waiter={waiter} peer={peer} channel={channel} owner={}", owner.0);
        Ok(Requested::Wait(waiter))
    }

    /// [`insert`](Cache::insert) for a connection that has a [`Place`]. The socket has to be non-blocking: see there.
    ///
    /// # Errors
    ///
    /// The connection comes back with the cause, and nothing has changed. If the place's time was over, the cause is
    /// [`Cause::PlaceGone`]. Otherwise the place comes back, too: [give it up](Cache::give_up), or it is held until its
    /// time is over. A place of another cache comes back with [`Cause::PlaceGone`].
    pub fn insert_at(&mut self, now: Instant, place: Place, conn: C) -> Result<ConnId, InsertError<C>> {
        if self.held(&place).is_none() {
            let place = Some(place).filter(|place| place.cache != self.tokens.serial());
            return Err(InsertError { conn, cause: Cause::PlaceGone, place });
        }
        match self.take_in(now, conn, &place.peer, place.channel, place.owner, 0) {
            Ok(id) => {
                self.end_place(&place);
                Ok(id)
            }
            Err((conn, cause)) => Err(InsertError { conn, cause, place: Some(place) }),
        }
    }

    /// Returns a place that nobody needs any more: the client has left, or the connection couldn't be opened and the
    /// request has failed. Another request can have it.
    pub fn give_up(&mut self, place: Place) {
        self.end_place(&place);
    }

    /// Returns a place and puts its request at the head of its line: for a host that can't open the connection at the
    /// moment, because descriptors have run out (`EMFILE`), say. The request's time runs on. Requests that are put back
    /// stay in the order in which they came, even in a line that is [full](crate::Limits::max_waiting). While the cache
    /// drains, the request is refused.
    ///
    /// As long as the limits leave room, the next [`grant`](Cache::grant) can give it another place at once. So ask for
    /// no more grants in this turn, and [lower the limit](Cache::set_limits) for a while, as docs/embedding.md in the
    /// repository shows. Otherwise `next_deadline` stays due, and the loop spins until the connection can be opened.
    ///
    /// O(requests put back that came earlier).
    ///
    /// # Errors
    ///
    /// [`NotFound`] if the place's time was over.
    pub fn put_back(&mut self, place: Place) -> Result<WaiterId, NotFound> {
        let request = self.held(&place).ok_or(NotFound)?;
        let bucket = self.table.put_back(&place.peer, place.channel, request);
        if self.draining {
            self.refuse_line(bucket);
        }
        Ok(place.waiter)
    }

    /// Answers one of the requests that wait: one that can be served, whose time is over, or that is refused. Call it in
    /// each turn of the loop until it returns `None`, or fewer times, to bound the turn's work.
    ///
    /// Requests for one peer and channel binding are served in the order in which they came. Where
    /// [`max_connections`](crate::Limits::max_connections) binds, peers take turns, and so do the channel bindings of a
    /// peer. Where the limit of a peer binds, its channel bindings do.
    ///
    /// A connection that comes back serves its own line first, or whoever [requests](Cache::request) it before the next
    /// grant, so that it is reused. After eight such services that passed other lines over, it makes room for one of
    /// those instead, if that one has no connection, or at least two fewer than its own line. Each service looks at one
    /// of them. So where n lines wait, a line without a connection gets one after at most n × (8 + n) services.
    ///
    /// It may return `None` although more can be done, after looking at 16 lines and peers in vain. Then
    /// [`next_deadline`](Cache::next_deadline) is still due.
    ///
    /// O(1), but where a peer's limit binds O(channel bindings in use with it).
    #[must_use = "a request granted waits no longer; there may be more"]
    pub fn grant(&mut self, now: Instant) -> Option<Grant<C>> {
        let now = self.clock.advance(now);
        if let Some((_, request)) = self.table.lines.first_deadline().filter(|&(at, _)| at <= now) {
            let grant = self.end_request(now, request, Granted::TimedOut);
            self.stats.timed_out += 1;
            return Some(grant);
        }
        if let Some(request) = self.table.lines.first_refused() {
            return Some(self.end_request(now, request, Granted::Refused));
        }
        for _ in 0..MOST_LOOKS {
            if let Some(line) = self.table.lines.first_ready() {
                if let Some(grant) = self.reuse_for(now, line) {
                    return Some(grant);
                }
                continue;
            }
            let site = self.table.buckets.sites.first()?;
            if !self.is_room_in_all() {
                return None;
            }
            self.table.buckets.sites.drop(site);
            if let Some(grant) = self.open_for(now, site) {
                return Some(grant);
            }
        }
        None
    }

    /// Ends a request that waits, because its client has left, say. To end one that has a [`Place`], call
    /// [`give_up`](Cache::give_up).
    ///
    /// # Errors
    ///
    /// [`NotFound`] if it doesn't wait, or no longer.
    pub fn withdraw(&mut self, waiter: WaiterId) -> Result<(), NotFound> {
        match self.table.lines.get(waiter).map(|request| request.at) {
            Some(At::Line(_)) => {
                self.step_out(waiter.slot);
                self.table.forget(waiter.slot);
                Ok(())
            }
            Some(At::Place(_)) | None => Err(NotFound),
        }
    }

    /// Refuses all requests that wait for `peer`, whatever their channel binding: for a server that is known to be down.
    /// They come from [`grant`](Cache::grant). O(channel bindings in use with the peer).
    pub fn refuse(&mut self, peer: &Peer) {
        let lines = self.table.buckets.of_peer(peer).filter(|(_, bucket)| bucket.line != NONE);
        let lines: Vec<u32> = lines.map(|(at, _)| at).collect();
        lines.into_iter().for_each(|bucket| self.refuse_line(bucket));
    }

    /// Tells that an inserted connection is established: it no longer counts for
    /// [`max_connecting_per_peer`](crate::Limits::max_connecting_per_peer). Without this call, it counts until the first
    /// readable event that isn't a hangup, or its [`checkin`](Cache::checkin). (Hosts that call
    /// [`handle_readiness`](Cache::handle_readiness) don't tell whether an event was a readable one.)
    ///
    /// # Errors
    ///
    /// [`NotFound`] if it isn't here, or the lease is over.
    pub fn established(&mut self, id: ConnId) -> Result<(), NotFound> {
        let slot = self.slot_of(id).ok_or(NotFound)?;
        self.table.established(slot);
        Ok(())
    }

    /// The longest time that one of the requests has been waiting by now; zero if none waits. O(lines).
    pub fn longest_wait(&self) -> Duration {
        self.table.lines.longest_since().map_or(Duration::ZERO, |since| self.clock.latest().since(since))
    }

    /// Whether a request waits that `grant` can do something for, as far as is known without looking.
    pub(crate) fn is_grant_due(&self) -> bool {
        self.table.lines.is_any_refused()
            || self.table.lines.is_any_ready()
            || self.table.buckets.sites.first().is_some() && self.is_room_in_all()
    }

    /// Whether somebody waits for this peer and channel binding: then nobody else gets what is there.
    pub(crate) fn is_anybody_waiting_for(&self, peer: &Peer, channel: ChannelBindingId) -> bool {
        self.table.lines.waiting() > 0
            && self.table.buckets.find(peer, channel).is_some_and(|bucket| self.table.waiting_in(bucket) > 0)
    }

    /// How many connections may lead to this peer. Asks the policy if the peer isn't known.
    pub(crate) fn most_to(&mut self, peer: &Peer) -> u32 {
        match self.table.buckets.site_of(peer) {
            Some(site) => self.table.buckets.sites.get(site).most,
            None => self.most_by_policy(peer, self.limits.max_connections_per_peer),
        }
    }

    pub(crate) fn most_by_policy(&mut self, peer: &Peer, limit: Option<usize>) -> u32 {
        let most = self.policy.max_connections(peer).or(limit);
        most.map_or(UNLIMITED, |most| u32::try_from(most).unwrap_or(UNLIMITED))
    }

    /// Why a connection that nobody gave a place may not come in.
    pub(crate) fn overcrowded(&self, peer: &Peer, most: u32, connecting: bool) -> Option<Cause> {
        if let Some(most) = self.limits.max_connections.filter(|&most| self.table.total() >= most) {
            return Some(Cause::AtLimit { limit: "max_connections", most });
        }
        let site = self.table.buckets.site_of(peer).map(|site| self.table.buckets.sites.get(site));
        let (total, being_opened) = site.map_or((0, 0), |site| (site.total, site.connecting));
        if total >= most {
            return Some(Cause::AtLimit { limit: "max_connections_per_peer", most: most as usize });
        }
        match self.limits.max_connecting_per_peer {
            Some(most) if connecting && being_opened as usize >= most => {
                Some(Cause::AtLimit { limit: "max_connecting_per_peer", most })
            }
            _ if site.is_some_and(|site| site.waiting > 0) => Some(Cause::OthersWait),
            _ => None,
        }
    }

    /// Whether there is a connection to reuse; hands it out.
    fn reuse(&mut self, now: Tick, peer: &Peer, channel: ChannelBindingId, owner: Owner) -> Option<Found> {
        let bucket = self.table.buckets.find(peer, channel)?;
        let slot = self.find_in(now, bucket, 0)?;
        match self.widen(slot) {
            Ok(()) => {
                if self.table.lines.waiting() > 0 {
                    let most = self.limits.max_connections.unwrap_or(usize::MAX);
                    self.table.pass_over(bucket, most, &mut self.passes);
                }
                Some(self.hand_out(now, slot, owner))
            }
            Err(fault) => {
                drop(self.evict_faulty(slot, fault));
                None
            }
        }
    }

    /// Room for a request that has just come: not before those who wait, though for other peers or channel bindings.
    fn room_at_once(
        &mut self,
        now: Tick,
        peer: &Peer,
        channel: ChannelBindingId,
        most: u32,
    ) -> Option<Option<(u32, Reason)>> {
        let others_wait = self.table.lines.waiting() > 0 && self.limits.max_connections.is_some();
        let others_wait = others_wait && self.is_anybodys_turn(now);
        let site = self.table.buckets.site_of(peer).map(|site| self.table.buckets.sites.get(site));
        if others_wait || site.is_some_and(|site| site.waiting > 0) {
            return None;
        }
        self.room(now, peer, Some(channel), most)
    }

    /// Whether the next grant may find something for somebody who waits. It may say so in vain if many wait for peers
    /// that have no room.
    fn is_anybodys_turn(&mut self, now: Tick) -> bool {
        if !self.is_room_in_all() {
            return true;
        }
        for _ in 0..MOST_LOOKS {
            let Some(site) = self.table.buckets.sites.first() else { return false };
            if self.has_room(now, site) {
                return true;
            }
            self.table.buckets.sites.drop(site);
        }
        true
    }

    /// Whether a connection may be opened for one of those who wait here, perhaps not under every channel binding.
    fn has_room(&self, now: Tick, site: u32) -> bool {
        let (it, lines) = (self.table.buckets.sites.get(site), &self.table.lines);
        let is_stampede = self.limits.max_connecting_per_peer.is_some_and(|most| it.connecting as usize >= most);
        let first = self.table.buckets.sites.lines(site, &lines.lines).next();
        first.is_some_and(|line| !is_stampede && self.room(now, &lines.line(line).peer, None, it.most).is_some())
    }

    /// Whether a connection may be opened under this channel binding (or one parked, under any), and what has to go for
    /// it: one at most.
    pub(crate) fn room(
        &self,
        now: Tick,
        peer: &Peer,
        channel: Option<ChannelBindingId>,
        most: u32,
    ) -> Option<Option<(u32, Reason)>> {
        let (all, most_in_all) = (self.table.total(), self.limits.max_connections.unwrap_or(usize::MAX));
        let site = self.table.buckets.site_of(peer).map(|site| self.table.buckets.sites.get(site));
        let (total, connecting) = site.map_or((0, 0), |site| (site.total, site.connecting));
        let most_connecting = self.limits.max_connecting_per_peer.unwrap_or(usize::MAX);
        if all > most_in_all || total > most || channel.is_some() && connecting as usize >= most_connecting {
            return None;
        }
        if total == most {
            return self.useless_at(now, peer, channel).map(Some);
        }
        if all == most_in_all { self.first_to_go(now).map(Some) } else { Some(None) }
    }

    /// Whether the limit on all connections leaves room, or something inactive can make it.
    fn is_room_in_all(&self) -> bool {
        let Some(most) = self.limits.max_connections else { return true };
        match self.table.total() {
            total if total < most => true,
            total => total == most && self.first_to_go(self.clock.latest()).is_some(),
        }
    }

    /// The inactive connection to this peer that goes first to make room for one under `channel`. O(channel bindings in
    /// use with the peer).
    fn useless_at(&self, now: Tick, peer: &Peer, channel: Option<ChannelBindingId>) -> Option<(u32, Reason)> {
        let candidates = self.table.buckets.of_peer(peer).filter_map(|(at, bucket)| {
            let slot = self.table.oldest_in(at, Standing::Kept)?;
            let unfit = self.unfit(slot, now);
            let useful = Some(bucket.channel) == channel && unfit.is_none();
            (!useful).then_some((unfit.is_none(), self.table.at(slot).inactive_since(), slot, unfit))
        });
        let (_, _, slot, unfit) = candidates.min_by_key(|&(fit, since, ..)| (fit, since))?;
        Some((slot, unfit.unwrap_or(Reason::MadeRoom)))
    }

    fn place(&self, waiter: WaiterId, peer: &Peer, channel: ChannelBindingId, owner: Owner, end: Tick) -> Place {
        let (cache, until) = (self.tokens.serial(), self.clock.instant(end));
        Place { waiter, cache, peer: peer.clone(), channel, owner, until }
    }

    /// The request whose place this is, as long as it is held.
    fn held(&self, place: &Place) -> Option<u32> {
        let request = self.table.lines.get(place.waiter).filter(|_| place.cache == self.tokens.serial())?;
        matches!(request.at, At::Place(_)).then_some(place.waiter.slot)
    }

    fn end_place(&mut self, place: &Place) {
        if let Some(request) = self.held(place) {
            self.table.leave_place(request);
            self.table.forget(request);
        }
    }

    /// Serves the head of the first line that is ready by a connection that is there. The line is ready no longer.
    fn reuse_for(&mut self, now: Tick, line: u32) -> Option<Grant<C>> {
        let (bucket, before) = (self.table.lines.line(line).bucket, self.table.len());
        // The host's code is called first: should it panic, the line stays ready.
        let found = self.find_in(now, bucket, 0);
        let found = found.and_then(|slot| match self.widen(slot) {
            Ok(()) => Some(slot),
            Err(fault) => {
                drop(self.evict_faulty(slot, fault));
                None
            }
        });
        let broken = found.filter(|&slot| !self.is_promised(slot)).and_then(|_| self.broken_promise(bucket));
        self.table.lines.drop_first_ready();
        if found.is_none() && self.table.len() < before {
            self.table.may_serve(bucket);
        }
        let slot = found?;
        let request = self.table.lines.head(line)?;
        let (peer, channel, owner, since) = self.asked(request);
        let waiter = self.table.lines.id(request);
        self.table.step_out(request);
        self.table.forget(request);
        if self.table.waiting_in(bucket) > 0 {
            self.table.may_serve(bucket);
        }
        let found = self.hand_out(now, slot, owner);
        if let Some(broken) = broken {
            self.end_promise(broken);
        }
        Some(Grant { waiter, owner, peer, channel, waited: now.since(since), granted: Granted::Reuse(found) })
    }

    /// Serves the line of this site whose turn it is by a place.
    fn open_for(&mut self, now: Tick, site: u32) -> Option<Grant<C>> {
        // Not to look at all connections of the peer for each of its lines.
        if !self.has_room(now, site) {
            return None;
        }
        let (sites, lines) = (&self.table.buckets.sites, &self.table.lines);
        let most = sites.get(site).most;
        let (line, victim) = sites.lines(site, &lines.lines).find_map(|line| {
            let it = lines.line(line);
            Some((line, self.room(now, &it.peer, Some(it.channel), most)?))
        })?;
        let request = lines.head(line)?;
        let (waiter, until) = (lines.id(request), lines.at(request).until);
        let (peer, channel, owner, since) = self.asked(request);
        let end = if until == Tick::NEVER { now.after(PLACE_TIME) } else { until };
        let place = self.place(waiter, &peer, channel, owner, end);
        // The host's code may panic: then it is still this site's turn.
        self.table.buckets.sites.look_again(site);
        let bucket = self.table.lines.line(line).bucket;
        let with_its_promise =
            victim.is_some_and(|(slot, _)| self.is_promised(slot) && self.table.at(slot).bucket == bucket);
        let broken = if with_its_promise { None } else { self.broken_promise(bucket) };
        let evicted = victim.map(|(slot, reason)| self.evict(slot, reason));
        self.table.take_turn(request, end);
        if let Some(broken) = broken {
            self.end_promise(broken);
        }
        let granted = Granted::Open { place, evicted };
        Some(Grant { waiter, owner, peer, channel, waited: now.since(since), granted })
    }

    /// Takes a request out, wherever it is.
    fn end_request(&mut self, now: Tick, request: u32, granted: Granted<C>) -> Grant<C> {
        let (peer, channel, owner, since) = self.asked(request);
        let waiter = self.table.lines.id(request);
        match self.table.lines.at(request).at {
            At::Line(_) => self.step_out(request),
            At::Place(_) => self.table.leave_place(request),
        }
        self.table.forget(request);
        Grant { waiter, owner, peer, channel, waited: now.since(since), granted }
    }

    fn asked(&self, request: u32) -> (Peer, ChannelBindingId, Owner, Tick) {
        let it = self.table.lines.at(request);
        let (peer, channel) = match it.at {
            At::Line(line) => (&self.table.lines.line(line).peer, self.table.lines.line(line).channel),
            At::Place(bucket) => (&self.table.buckets.get(bucket).peer, self.table.buckets.get(bucket).channel),
        };
        (peer.clone(), channel, it.owner, it.since)
    }

    /// Takes a request out of its line. What was promised to it is for others.
    fn step_out(&mut self, request: u32) {
        let At::Line(line) = self.table.lines.at(request).at else { unreachable!("it waits") };
        let bucket = self.table.lines.line(line).bucket;
        let broken = if bucket == NONE { None } else { self.broken_promise(bucket) };
        self.table.step_out(request);
        if let Some(broken) = broken {
            self.end_promise(broken);
        }
    }

    /// Has everybody in the line of this bucket refused.
    pub(crate) fn refuse_line(&mut self, bucket: u32) {
        while let Some(broken) = self.promise_beyond(bucket, 0) {
            self.end_promise(broken);
        }
        self.table.refuse_line(bucket);
    }

    fn is_promised(&self, slot: u32) -> bool {
        self.table.at(slot).flags.standing == Standing::Promised
    }

    /// The promise that is broken when one of those leaves who wait in this bucket.
    fn broken_promise(&mut self, bucket: u32) -> Option<Broken> {
        self.promise_beyond(bucket, self.table.waiting_in(bucket) - 1)
    }

    /// A connection that is promised to nobody when only so many wait, and until when the policy keeps it then. The
    /// policy may panic: this is to be called before anything changes. A cache that drains keeps nothing anyway.
    fn promise_beyond(&mut self, bucket: u32, waiting: u32) -> Option<Broken> {
        let slot = self.table.broken_promise(bucket, waiting).filter(|_| !self.draining)?;
        let (record, home) = (self.table.at(slot), self.table.buckets.get(bucket));
        let candidate = Candidate {
            now: self.clock.now().expect("the clock has been told"),
            peer: &home.peer,
            channel: home.channel,
            uses: record.uses,
            inactive: self.table.inactive() - 1,
            inactive_to_peer: self.table.buckets.inactive(bucket) as usize - 1,
            waiting: 0,
        };
        Some((slot, verdict(&mut self.policy, &self.clock, &candidate, Tick::NEVER)))
    }

    /// A connection that was kept for those who wait is for whoever comes, if the policy keeps it.
    fn end_promise(&mut self, (slot, kept): Broken) {
        match kept {
            Ok(until) => {
                self.table.end_promise(slot, until);
                self.condemn_surplus(self.table.at(slot).bucket);
            }
            Err(reason) => self.table.condemn(slot, reason),
        }
    }
}
