//! How requests are served, refused and ended: what the calls of [`waiting`](super::waiting) share.

use crate::cache::Cache;
use crate::cache::fitness::verdict;
use crate::channel::ChannelBindingId;
use crate::connection::Connection;
use crate::outcome::Found;
use crate::peer::Peer;
use crate::policy::{Candidate, Policy};
use crate::reason::Reason;
use crate::state::Owner;
use crate::table::buckets::Destination;
use crate::table::clock::Tick;
use crate::table::lines::At;
use crate::table::lists::NONE;
use crate::table::record::Standing;
use crate::waiting::{Grant, Granted, Place, WaiterId};
use std::time::{Duration, Instant};

/// For how long a place is held for a request without a time of its own.
const PLACE_TIME: Duration = Duration::from_secs(30);
/// How many lines and peers for which nothing can be done one grant looks at.
pub(super) const MOST_LOOKS: u32 = 16;
/// A connection that was promised to a request, and until when the policy keeps it without.
type Broken = (u32, Result<Tick, Reason>);

impl<C: Connection, P: Policy> Cache<C, P> {
    /// Gives a new request a place.
    pub(super) fn give_place(
        &mut self,
        since: Tick,
        to: Destination<'_>,
        owner: Owner,
        until: Option<Instant>,
    ) -> Place {
        let until = until.map_or(Tick::NEVER, |until| self.clock.tick(until));
        let request = self.table.lines.add(owner, since, until);
        let end = if until == Tick::NEVER { since.after(PLACE_TIME) } else { until };
        self.table.take_place(to, request, end);
        self.place(self.table.lines.id(request), to.peer, to.channel, owner, end)
    }

    /// Whether a request waits that `grant` can do something for, as far as is known without looking.
    pub(crate) fn is_grant_due(&self) -> bool {
        self.table.lines.is_any_refused()
            || self.table.lines.is_any_ready()
            || self.table.buckets.sites.first().is_some() && self.is_room_in_all()
    }

    /// Whether somebody waits for this peer and channel binding: then nobody else gets what is there.
    pub(crate) fn is_anybody_waiting_for(&self, peer: &Peer, channel: ChannelBindingId) -> bool {
        self.table.buckets.find(peer, channel).is_some_and(|bucket| self.table.waiting_in(bucket) > 0)
    }

    /// Whether there is a connection to reuse in this bucket; hands it out.
    pub(super) fn reuse(&mut self, now: Tick, bucket: u32, owner: Owner) -> Option<Found> {
        let slot = self.find_in(now, bucket, 0)?;
        match self.widen(slot) {
            Ok(()) => Some(self.hand_out_past_others(now, slot, owner)),
            Err(fault) => {
                drop(self.evict_faulty(slot, fault));
                None
            }
        }
    }

    /// Makes an inactive connection, found fit, active for somebody who isn't in line. Those who wait elsewhere may have
    /// been passed over by that.
    pub(super) fn hand_out_past_others(&mut self, now: Tick, slot: u32, owner: Owner) -> Found {
        if self.table.lines.waiting() > 0 {
            let (bucket, most) = (self.table.at(slot).bucket, self.rules.max_connections);
            self.table.pass_over(bucket, most, &mut self.passes);
        }
        self.hand_out(now, slot, owner)
    }

    pub(super) fn place(
        &self,
        waiter: WaiterId,
        peer: &Peer,
        channel: ChannelBindingId,
        owner: Owner,
        end: Tick,
    ) -> Place {
        let (cache, until) = (self.tokens.serial(), self.clock.instant(end));
        Place { waiter, cache, peer: peer.clone(), channel, owner, until }
    }

    /// The request whose place this is, as long as it is held.
    pub(super) fn held(&self, place: &Place) -> Option<u32> {
        let request = self.table.lines.get(place.waiter).filter(|_| place.cache == self.tokens.serial())?;
        matches!(request.at, At::Place(_)).then_some(place.waiter.slot)
    }

    pub(super) fn end_place(&mut self, place: &Place) {
        if let Some(request) = self.held(place) {
            self.table.leave_place(request);
            self.table.forget(request);
        }
    }

    /// Serves the head of the first line that is ready by a connection that is there. The line is ready no longer.
    pub(super) fn reuse_for(&mut self, now: Tick, line: u32) -> Option<Grant<C>> {
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
            self.table.look_at_line(bucket);
        }
        let slot = found?;
        let request = self.table.lines.head(line)?;
        let (peer, channel, owner, since) = self.asked(request);
        let waiter = self.table.lines.id(request);
        self.table.step_out(request);
        self.table.forget(request);
        if self.table.waiting_in(bucket) > 0 {
            self.table.look_at_line(bucket);
        }
        let found = self.hand_out(now, slot, owner);
        if let Some(broken) = broken {
            self.end_promise(broken);
        }
        Some(Grant { waiter, owner, peer, channel, waited: now.since(since), granted: Granted::Reuse(found) })
    }

    /// Serves the line of this site whose turn it is by a place.
    pub(super) fn open_for(&mut self, now: Tick, site: u32) -> Option<Grant<C>> {
        // Not to look at all connections of the peer for each of its lines.
        if !self.has_room(now, site) {
            return None;
        }
        let (sites, lines) = (&self.table.buckets.sites, &self.table.lines);
        let it = sites.get(site);
        let (line, victim) = sites.lines(site, &lines.lines).find_map(|line| {
            let asked = lines.line(line);
            Some((line, self.room(now, it, &asked.peer, Some(asked.channel))?))
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
    pub(super) fn end_request(&mut self, now: Tick, request: u32, granted: Granted<C>) -> Grant<C> {
        let (peer, channel, owner, since) = self.asked(request);
        let waiter = self.table.lines.id(request);
        match self.table.lines.at(request).at {
            At::Line(_) => self.step_out(request),
            At::Place(_) => self.table.leave_place(request),
        }
        self.table.forget(request);
        Grant { waiter, owner, peer, channel, waited: now.since(since), granted }
    }

    pub(super) fn asked(&self, request: u32) -> (Peer, ChannelBindingId, Owner, Tick) {
        let it = self.table.lines.at(request);
        let (peer, channel) = match it.at {
            At::Line(line) => (&self.table.lines.line(line).peer, self.table.lines.line(line).channel),
            At::Place(bucket) => (&self.table.buckets.get(bucket).peer, self.table.buckets.get(bucket).channel),
        };
        (peer.clone(), channel, it.owner, it.since)
    }

    /// Takes a request out of its line. What was promised to it is for others.
    pub(super) fn step_out(&mut self, request: u32) {
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

    pub(super) fn is_promised(&self, slot: u32) -> bool {
        self.table.at(slot).flags.standing == Standing::Promised
    }

    /// The promise that is broken when one of those leaves who wait in this bucket.
    pub(super) fn broken_promise(&mut self, bucket: u32) -> Option<Broken> {
        self.promise_beyond(bucket, self.table.waiting_in(bucket) - 1)
    }

    /// A connection that is promised to nobody when only so many wait, and until when the policy keeps it then. The
    /// policy may panic: this is to be called before anything changes. A cache that drains keeps nothing anyway.
    pub(super) fn promise_beyond(&mut self, bucket: u32, waiting: u32) -> Option<Broken> {
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
    pub(super) fn end_promise(&mut self, (slot, kept): Broken) {
        match kept {
            Ok(until) => {
                self.table.end_promise(slot, until);
                self.condemn_surplus(self.table.at(slot).bucket);
            }
            Err(reason) => self.table.condemn(slot, reason),
        }
    }
}
