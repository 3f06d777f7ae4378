//! How requests are served, refused and ended: what the calls of [`waiting`](super::waiting) share.

use crate::cache::Cache;
use crate::cache::cycle::log_reuse;
use crate::cache::fitness::verdict;
use crate::cache::room::Victim;
use crate::channel::ChannelBindingId;
use crate::connection::Connection;
use crate::outcome::Found;
use crate::peer::Peer;
use crate::policy::Policy;
use crate::reason::Reason;
use crate::request::{Grant, Granted, Place, WaiterId};
use crate::state::Owner;
use crate::table::buckets::{Bucket, Destination};
use crate::table::clock::Tick;
use crate::table::lines::{At, Line, Request};
use crate::table::lists::NONE;
use crate::table::record::Standing;
use std::time::Duration;

/// For how long a place is held for a request without a time of its own.
const PLACE_TIME: Duration = Duration::from_secs(30);
/// How many lines and sites one grant tries without success before it returns `None`.
pub(super) const MOST_LOOKS: u32 = 16;
/// A connection whose promise is broken, and until when the policy keeps it without one, or why it doesn't.
type Broken = (u32, Result<Tick, Reason>);

impl<C: Connection, P: Policy> Cache<C, P> {
    /// Gives a new request a place.
    pub(super) fn give_place(&mut self, since: Tick, to: Destination<'_>, owner: Owner, until: Tick) -> Place {
        let request = self.table.lines.add(owner, since, until).slot;
        let end = place_end(since, until);
        self.table.give_place(to, request, end);
        self.place_of(request, end)
    }

    /// Whether `grant` may have something to do besides time-outs, as far as its queues tell.
    pub(crate) fn is_grant_due(&self) -> bool {
        self.table.lines.is_any_refused()
            || self.table.lines.first_ready().is_some()
            || self.table.buckets.sites.first().is_some() && (self.is_room_in_total() || self.can_shrink())
    }

    /// Whether requests wait for this peer and channel binding. Then no other call gets a connection there.
    pub(crate) fn is_anybody_waiting_for(&self, peer: &Peer, channel: ChannelBindingId) -> bool {
        self.table.buckets.find(peer, channel).is_some_and(|bucket| self.table.waiting_in(bucket) > 0)
    }

    /// [`find_in`](Cache::find_in). Makes sure that the connection found is registered for writing, too.
    fn find_writable_in(&mut self, now: Tick, bucket: u32, dead: u32) -> Option<u32> {
        let slot = self.find_in(now, bucket, dead)?;
        match self.widen(slot) {
            Ok(()) => Some(slot),
            Err(fault) => {
                drop(self.evict_faulty(slot, fault));
                None
            }
        }
    }

    /// Hands out an inactive connection of this bucket to a request that isn't in line, if one is fit for use.
    pub(super) fn reuse(&mut self, now: Tick, bucket: u32, owner: Owner, dead: u32) -> Option<Found> {
        let slot = self.find_writable_in(now, bucket, dead)?;
        Some(self.hand_out_past_others(now, slot, owner))
    }

    /// Makes an inactive connection, found fit, active for a request that isn't in line. That counts as a pass over the
    /// other lines that wait at the same limit.
    pub(super) fn hand_out_past_others(&mut self, now: Tick, slot: u32, owner: Owner) -> Found {
        if self.table.lines.waiting() > 0 {
            self.table.pass_over(self.table.at(slot).bucket, self.rules.max_connections);
        }
        self.hand_out(now, slot, owner)
    }

    /// Whether this cache holds this place. It doesn't hold those of other caches: no two requests of the process have
    /// the same number.
    pub(super) fn is_held(&self, place: &Place) -> bool {
        self.table.lines.get(place.waiter).is_some_and(|request| matches!(request.at, At::Place(_)))
    }

    /// Ends the request that has this place, if it is held.
    pub(super) fn end_place(&mut self, place: &Place) {
        if self.is_held(place) {
            self.table.end(place.waiter.slot);
        }
    }

    /// Serves the first request of this line, which is the first ready line, with an inactive connection of its bucket.
    /// Afterwards, the line is ready only if another try is worth it. `dead` connections were closed by this call
    /// before, fewer than it may close.
    pub(super) fn reuse_for(&mut self, now: Tick, line: u32, dead: u32) -> Option<Grant<C>> {
        let (&Line { bucket, waiting, .. }, before) = (self.table.lines.line(line), self.table.len());
        // The host's code is called first: if it panics, the line stays ready.
        let found = self.find_writable_in(now, bucket, dead);
        let broken = found.and_then(|slot| self.broken_promise(bucket, Some(slot)));
        self.table.lines.mark_unready(line);
        if found.is_none() && self.table.len() < before {
            // The search may have ended because it closed as many dead ones as it may.
            self.table.mark_line_ready(bucket);
        }
        let slot = found?;
        let (waiter, request) = self.table.end_first(line);
        let Bucket { peer, channel, .. } = self.table.buckets.get(bucket);
        let grant = grant_of(now, waiter, &request, peer, *channel);
        if waiting > 1 {
            self.table.mark_line_ready(bucket);
        }
        let found = self.lend(now, slot, request.owner);
        self.end_promise(broken);
        self.opens_next = true;
        log_reuse(found.id, request.owner);
        Some(grant(Granted::Reuse(found)))
    }

    /// Gives a place to a line that isn't ready, if there is free room, before a ready line is served: places and
    /// reuses take turns. Otherwise free room would stay unused while connections come back as fast as the host takes
    /// grants.
    #[cold]
    pub(super) fn open_before_reuse(&mut self, now: Tick) -> Option<Grant<C>> {
        if self.table.total() >= self.rules.max_connections {
            return None;
        }
        let (sites, lines) = (&self.table.buckets.sites, &self.table.lines);
        let site = sites.first()?;
        let it = sites.get(site);
        let has_free_room = it.total < it.most && !self.is_at_connecting_limit(it);
        let unready = |line: &u32| !lines.line(*line).ready;
        let line = if has_free_room { sites.lines(site, &lines.lines).find(unready) } else { None };
        let Some(line) = line else {
            self.table.buckets.sites.move_to_back(site);
            return None;
        };
        self.table.buckets.sites.dequeue(site);
        self.open_at(now, site, line, None)
    }

    /// Gives a place to the first line of this site, in the order of their turns, for which there is room.
    pub(super) fn open_for(&mut self, now: Tick, site: u32) -> Option<Grant<C>> {
        // This is checked first, so that the peer's connections aren't searched in vain for each of its lines.
        if !self.has_room(now, site) {
            return None;
        }
        if self.can_shrink_at(self.table.buckets.sites.get(site)) {
            // `expire` returns them. As each leaves, the site enters the queue again.
            self.table.condemn_beyond_peer_limit(site, MOST_LOOKS);
            return None;
        }
        let (sites, lines) = (&self.table.buckets.sites, &self.table.lines);
        let (line, victim) = sites
            .lines(site, &lines.lines)
            .find_map(|line| Some((line, self.room(now, sites.get(site), Some(lines.line(line).channel))?)))?;
        self.open_at(now, site, line, victim)
    }

    /// Gives a place to the first request of this line, which is one of this site's. `victim` is evicted for it.
    fn open_at(&mut self, now: Tick, site: u32, line: u32, victim: Victim) -> Option<Grant<C>> {
        let lines = &self.table.lines;
        let (request, bucket) = (lines.head(line)?, lines.line(line).bucket);
        let end = place_end(now, lines.at(request).until);
        // If the host's code panics, the site is still in the queue.
        self.table.buckets.sites.enqueue(site);
        let broken = self.broken_promise(bucket, victim.map(|(slot, _)| slot));
        let evicted = victim.map(|(slot, reason)| self.evict(slot, reason));
        self.table.give_place_in_turn(request, end);
        self.end_promise(broken);
        let place = self.place_of(request, end);
        Some(self.asked(now, request)(Granted::Open { place, evicted }))
    }

    /// Ends a request, and returns the grant that says so.
    pub(super) fn end_with(&mut self, now: Tick, request: u32, granted: Granted<C>) -> Grant<C> {
        let asked = self.asked(now, request);
        self.end(request);
        asked(granted)
    }

    /// Ends a request, whether it is in line or has a place. A promise that is then one too many is broken.
    pub(super) fn end(&mut self, request: u32) {
        let broken = match self.table.lines.at(request).at {
            At::Line(line) => match self.table.lines.line(line).bucket {
                NONE => None,
                bucket => self.broken_promise(bucket, None),
            },
            At::Place(_) => None,
        };
        self.table.end(request);
        self.end_promise(broken);
    }

    /// The place of a request that has one.
    fn place_of(&self, request: u32, end: Tick) -> Place {
        let it = self.table.lines.at(request);
        let (waiter, cache, owner) = (it.id(request), self.tokens.cache(), it.owner);
        let (peer, channel) = self.table.asked_for(it);
        Place { waiter, cache, peer: peer.clone(), channel, owner, until: self.clock.instant(end) }
    }

    /// Prepares the grant of a request: a function that makes it of what the request gets. The request may end in
    /// between.
    fn asked(&self, now: Tick, request: u32) -> impl FnOnce(Granted<C>) -> Grant<C> + use<C, P> {
        let it = self.table.lines.at(request);
        let (peer, channel) = self.table.asked_for(it);
        grant_of(now, it.id(request), it, peer, channel)
    }

    /// Refuses all requests in the line of this bucket, and breaks all promises to them.
    pub(super) fn refuse_line(&mut self, bucket: u32) {
        while let broken @ Some(_) = self.promise_beyond(bucket, 0, None) {
            self.end_promise(broken);
        }
        self.table.refuse_line(bucket);
    }

    /// The promise that has to be broken when a request leaves the line of this bucket. `with` is an inactive
    /// connection that is handed out or evicted at the same time. If that one is promised in this bucket, no promise
    /// has to be broken.
    #[inline]
    fn broken_promise(&mut self, bucket: u32, with: Option<u32>) -> Option<Broken> {
        let it = with.map(|slot| self.table.at(slot));
        match it.is_some_and(|it| it.flags.standing == Standing::Promised && it.bucket == bucket) {
            true => None,
            false => self.promise_beyond(bucket, self.table.waiting_in(bucket) - 1, with),
        }
    }

    /// The promise that has to be broken if only `waiting` requests wait in this bucket. `with` is the inactive
    /// connection that leaves at the same time. The policy is asked about the connection of the promise, and may panic.
    /// So this has to be called before anything changes.
    #[inline(never)]
    fn promise_beyond(&mut self, bucket: u32, waiting: u32, with: Option<u32>) -> Option<Broken> {
        let slot = self.table.promised_beyond(bucket, waiting)?;
        let (record, home) = (self.table.at(slot), self.table.buckets.get(bucket));
        let to = (&home.peer, home.channel);
        let mut candidate = self.table.candidate(self.clock.now(), to, Some(bucket), record.uses, 0);
        // The connection itself is inactive already, but isn't counted; nor is the one that leaves.
        candidate.inactive -= 1 + usize::from(with.is_some());
        let leaves_here = with.is_some_and(|with| self.table.at(with).bucket == bucket);
        candidate.inactive_to_peer -= 1 + usize::from(leaves_here);
        Some((slot, verdict(&mut self.policy, &self.clock, &candidate, Tick::NEVER)))
    }

    /// Breaks a promise: the connection is kept for anybody if the policy keeps it, else condemned.
    #[inline(always)]
    fn end_promise(&mut self, broken: Option<Broken>) {
        match broken {
            None => {}
            Some((slot, Ok(until))) => {
                self.table.keep_for_anybody(slot, until);
                self.condemn_beyond_max_inactive(self.table.at(slot).bucket);
            }
            Some((slot, Err(reason))) => self.table.condemn(slot, reason),
        }
    }
}

/// Prepares the grant of a request: a function that makes it of what the request gets. The request may end in between.
fn grant_of<C>(
    now: Tick,
    waiter: WaiterId,
    request: &Request,
    peer: &Peer,
    channel: ChannelBindingId,
) -> impl FnOnce(Granted<C>) -> Grant<C> + use<C> {
    let (owner, waited, peer) = (request.owner, now.since(request.since), peer.clone());
    move |granted| Grant { waiter, owner, peer, channel, waited, granted }
}

/// Until when a place given at this time is held, for a request with this deadline.
fn place_end(given: Tick, until: Tick) -> Tick {
    if until == Tick::NEVER { given.after(PLACE_TIME) } else { until }
}
