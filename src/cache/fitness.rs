//! Every rule on whether a connection may be handed out, and whether it may be kept.

use crate::cache::Cache;
use crate::cache::rules::Rules;
use crate::channel::ChannelBindingId;
use crate::connection::Connection;
use crate::error::Fault;
use crate::outcome::Evicted;
use crate::peer::Peer;
use crate::policy::{Candidate, Policy, Verdict};
use crate::reason::Reason;
use crate::table::clock::{Clock, Tick};
use crate::table::record::{Flags, Record, Standing, State};

/// How many dead connections one call closes before it is a miss: closing takes time.
pub(super) const MOST_DEAD: u32 = 8;
/// How many connections that have run out, and are still to come from `expire`, one search passes by.
const MOST_PASSED: u32 = 64;

impl<C: Connection, P: Policy> Cache<C, P> {
    /// An inactive connection that is fit for use, unless somebody waits for one. Closes those found dead.
    pub(crate) fn find(&mut self, now: Tick, peer: &Peer, channel: ChannelBindingId) -> Option<u32> {
        let bucket = self.table.bucket_for_newcomers(peer, channel)?;
        self.find_in(now, bucket, 0)
    }

    /// The first inactive connection of a bucket that is fit for use, in the order of reuse. Closes those found dead;
    /// `dead` were found so before.
    pub(crate) fn find_in(&mut self, now: Tick, bucket: u32, mut dead: u32) -> Option<u32> {
        let mut next = self.table.first_in(bucket, self.oldest_first);
        let mut passed = 0;
        while dead < MOST_DEAD && passed < MOST_PASSED {
            let slot = next?;
            // Those that have run out come from `expire`. The ones behind may have a later deadline.
            if self.unfit(slot, now).is_some() {
                next = self.table.next_in(slot, self.oldest_first);
                passed += 1;
                continue;
            }
            let Err(fault) = self.probe_for_use(slot, now) else { return Some(slot) };
            next = self.table.next_in(slot, self.oldest_first);
            drop(self.evict_faulty(slot, fault));
            dead += 1;
        }
        None
    }

    /// Probes an inactive connection that is about to be handed out.
    #[inline]
    pub(super) fn probe_for_use(&mut self, slot: u32, now: Tick) -> Result<(), Fault> {
        let record = self.table.at_mut(slot);
        if record.inactive_since().is_some_and(|since| now.nanos_since(since) < self.probe_after) {
            return Ok(());
        }
        let found = self.probe(slot);
        self.stats.found_dead += u64::from(found.is_err());
        found
    }

    /// Why an inactive connection must not be handed out, as far as the tables know. Of an active one they know
    /// nothing.
    #[inline]
    pub(crate) fn unfit(&self, slot: u32, now: Tick) -> Option<Reason> {
        let record = self.table.at(slot);
        let is_fit = self.table.buckets.get(record.bucket).closed.is_none() && self.rules.is_fit(now, record);
        if is_fit { None } else { self.why_unfit(slot, now) }
    }

    #[cold]
    fn why_unfit(&self, slot: u32, now: Tick) -> Option<Reason> {
        let (record, closed) = (self.table.at(slot), self.table.bucket_of(slot).closed);
        let State::Inactive { since, until } = record.state() else { return None };
        let Flags { standing, doomed, .. } = record.flags;
        debug_assert_eq!(doomed.is_some(), standing == Standing::Condemned, "what else is doomed isn't kept");
        self.barred(now, record, closed, since, until)
    }

    /// Why a connection must not be handed out again that has been inactive since then, until its own deadline: the
    /// host's orders first, then what ran out first.
    #[cold]
    fn barred(&self, now: Tick, record: &Record, closed: Option<Reason>, since: Tick, until: Tick) -> Option<Reason> {
        let end = record.lifetime_end.min(until).min(self.rules.idle_end(since));
        if closed.is_some() {
            closed
        } else if self.draining {
            Some(Reason::Drained)
        } else if record.flags.doomed.is_some() {
            record.flags.doomed
        } else if record.uses >= self.rules.most_uses {
            Some(Reason::MaxUses)
        } else if end > now {
            None
        } else if end == record.lifetime_end {
            Some(Reason::MaxLifetime)
        } else if end == until {
            Some(Reason::Deadline)
        } else {
            Some(Reason::IdleTimeout)
        }
    }

    /// Whether the limits and the host's orders let a connection become inactive now, until its own deadline. One that
    /// somebody waits for is outside the limits on inactive ones.
    pub(crate) fn allowed(
        &self,
        now: Tick,
        record: &Record,
        closed: Option<Reason>,
        until: Tick,
        waited_for: bool,
    ) -> Result<(), Reason> {
        let barred = self.barred(now, record, closed, now, until).or(match self.rules {
            _ if waited_for => None,
            Rules { max_inactive: 0, .. } => Some(Reason::MaxInactive),
            Rules { max_inactive_per_peer: 0, .. } => Some(Reason::MaxInactivePerPeer),
            _ => None,
        });
        barred.map_or(Ok(()), Err)
    }

    /// Enforces the limits on numbers after this connection became inactive. Evicts one at most: if more have to go,
    /// each call evicts one of them.
    pub(crate) fn make_room(&mut self, now: Tick, slot: u32) -> Option<Evicted<C>> {
        if self.is_within(self.table.bucket_of(slot).kept) { None } else { self.evict_surplus(now, slot) }
    }

    /// Whether all limits on numbers of inactive connections are met, with so many kept in the bucket concerned.
    #[inline]
    pub(crate) fn is_within(&self, kept_in_bucket: u32) -> bool {
        let ages = &self.table.ages;
        kept_in_bucket <= self.rules.max_inactive_per_peer
            && ages.len(Standing::Kept) <= self.rules.max_inactive
            && ages.len(Standing::Condemned) == 0
    }

    #[cold]
    pub(crate) fn evict_surplus(&mut self, now: Tick, slot: u32) -> Option<Evicted<C>> {
        let bucket = self.table.at(slot).bucket;
        let (slot, reason) = self.surplus(now, bucket).or_else(|| {
            self.condemn_beyond_max_inactive(bucket);
            self.first_condemned(now)
        })?;
        Some(self.evict(slot, reason))
    }

    /// One that has run out or whose peer was closed goes before a healthy one, if the one too many can go by that.
    fn surplus(&self, now: Tick, bucket: u32) -> Option<(u32, Reason)> {
        let in_bucket = self.table.buckets.get(bucket).kept.saturating_sub(self.rules.max_inactive_per_peer);
        let in_all = self.table.ages.len(Standing::Kept).saturating_sub(self.rules.max_inactive);
        match (in_bucket, in_all) {
            (1, _) => self.run_out(now).filter(|&(slot, _)| self.table.at(slot).bucket == bucket),
            (0, 1) => self.table.buckets.next_closed().or_else(|| self.run_out(now)),
            _ => None,
        }
        .filter(|&(slot, _)| self.table.at(slot).flags.standing == Standing::Kept)
    }

    /// Condemns the oldest of those over a limit.
    pub(crate) fn condemn_beyond_max_inactive(&mut self, bucket: u32) {
        self.table.keep_at_most_in(bucket, self.rules.max_inactive_per_peer);
        self.table.keep_at_most(self.rules.max_inactive, Reason::MaxInactive);
    }

    /// The inactive connection that goes first when there are too many in all.
    pub(crate) fn first_to_go(&self, now: Tick) -> Option<(u32, Reason)> {
        let has_to_go = self.first_condemned(now).or_else(|| self.table.buckets.next_closed());
        has_to_go.or_else(|| self.run_out(now)).or_else(|| {
            let oldest = self.table.ages.oldest(Standing::Kept)?;
            Some((oldest, self.unfit(oldest, now).unwrap_or(Reason::MadeRoom)))
        })
    }

    fn first_condemned(&self, now: Tick) -> Option<(u32, Reason)> {
        let slot = self.table.ages.oldest(Standing::Condemned)?;
        Some((slot, self.unfit(slot, now)?))
    }

    /// The inactive connection whose own deadline or lifetime ended first, and why it must go.
    fn run_out(&self, now: Tick) -> Option<(u32, Reason)> {
        let slot = self.table.deadlines.due(now)?;
        Some((slot, self.unfit(slot, now)?))
    }
}

/// Until when the policy would keep a connection that is about to become inactive.
pub(crate) fn verdict<P: Policy>(
    policy: &mut P,
    clock: &Clock,
    candidate: &Candidate<'_>,
    until: Tick,
) -> Result<Tick, Reason> {
    match policy.on_inactive(candidate) {
        Verdict::Close => Err(Reason::Policy),
        Verdict::Keep => Ok(until),
        Verdict::KeepUntil(end) => {
            let end = clock.tick(end);
            if end <= clock.latest() { Err(Reason::Deadline) } else { Ok(end.min(until)) }
        }
    }
}
