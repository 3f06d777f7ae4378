//! Every rule on whether a connection may be handed out, and whether it may be kept; and the limits on the number of
//! inactive connections. (The limits on all connections are in `room.rs`.)

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

/// How many dead connections one call may close. After that it is a miss, because closing takes time.
pub(super) const MOST_DEAD: u32 = 8;
/// How many unfit connections one search may skip. `expire` is going to return them.
const MOST_SKIPPED: u32 = 64;

impl<C: Connection, P: Policy> Cache<C, P> {
    /// An inactive connection to this peer under this channel binding that is fit for use. `None` also if requests wait
    /// for one. Closes those found dead.
    pub(crate) fn find(&mut self, now: Tick, peer: &Peer, channel: ChannelBindingId) -> Option<u32> {
        let bucket = self.table.bucket_for_newcomers(peer, channel)?;
        self.find_in(now, bucket, 0)
    }

    /// The first inactive connection of a bucket that is fit for use, in the order of reuse. Closes those found dead.
    /// `dead` were closed before by the same call.
    pub(crate) fn find_in(&mut self, now: Tick, bucket: u32, mut dead: u32) -> Option<u32> {
        let mut next = self.table.first_in(bucket, self.oldest_first);
        let mut skipped = 0;
        while dead < MOST_DEAD && skipped < MOST_SKIPPED {
            let slot = next?;
            // Those that have run out come from `expire`. The ones behind may have a later deadline.
            if self.unfit(slot, now).is_some() {
                next = self.table.next_in(slot, self.oldest_first);
                skipped += 1;
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

    /// Why an inactive connection must not be handed out, apart from what a probe would find. `None` if the tables know
    /// no reason, and always for an active connection.
    #[inline]
    pub(crate) fn unfit(&self, slot: u32, now: Tick) -> Option<Reason> {
        let record = self.table.at(slot);
        let is_fit = self.table.buckets.get(record.bucket).closed.is_none() && self.rules.is_fit(now, record);
        if is_fit { None } else { self.why_unfit(slot, now) }
    }

    /// The long way of [`unfit`](Cache::unfit).
    #[cold]
    fn why_unfit(&self, slot: u32, now: Tick) -> Option<Reason> {
        let (record, closed) = (self.table.at(slot), self.table.bucket_of(slot).closed);
        let State::Inactive { since, until } = record.state() else { return None };
        let Flags { standing, doomed, .. } = record.flags;
        debug_assert_eq!(
            doomed.is_some(),
            standing == Standing::Condemned,
            "an inactive one is doomed only if condemned"
        );
        self.barred(now, record, closed, since, until)
    }

    /// Why a connection must not be handed out that has been inactive since `since` and has the deadline `until`. The
    /// host's orders come first, then the limit on uses, then the time that has ended first.
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

    /// Whether the limits and the host's orders let a connection become inactive now, with the deadline `until`. If a
    /// request waits for it (`waited_for`), the limits on inactive connections don't count it.
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

    /// Enforces the limits on the number of inactive connections after this one became inactive. Evicts one at most. If
    /// more have to leave, each call evicts one of them.
    pub(crate) fn evict_if_surplus(&mut self, now: Tick, slot: u32) -> Option<Evicted<C>> {
        if self.is_within(self.table.bucket_of(slot).kept) { None } else { self.evict_surplus(now, slot) }
    }

    /// Whether the limits on the number of inactive connections hold, and none is condemned. `kept_in_bucket` are kept
    /// in the bucket of the one that became inactive last.
    #[inline]
    pub(crate) fn is_within(&self, kept_in_bucket: u32) -> bool {
        let ages = &self.table.ages;
        kept_in_bucket <= self.rules.max_inactive_per_peer
            && ages.len(Standing::Kept) <= self.rules.max_inactive
            && ages.len(Standing::Condemned) == 0
    }

    /// Evicts the inactive connection that has to leave first, because there are too many or because it is condemned.
    #[cold]
    pub(crate) fn evict_surplus(&mut self, now: Tick, slot: u32) -> Option<Evicted<C>> {
        let bucket = self.table.at(slot).bucket;
        let (slot, reason) = self.surplus(now, bucket).or_else(|| {
            self.condemn_beyond_max_inactive(bucket);
            self.first_condemned(now)
        })?;
        Some(self.evict(slot, reason))
    }

    /// If there is exactly one kept connection too many: one that has to leave anyway, because it has run out or its
    /// bucket is closed. It is evicted before a healthy one.
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

    /// Condemns the oldest kept connections beyond the two limits on inactive connections: in this bucket, and in
    /// total.
    pub(crate) fn condemn_beyond_max_inactive(&mut self, bucket: u32) {
        self.table.keep_at_most_in(bucket, self.rules.max_inactive_per_peer);
        self.table.keep_at_most(self.rules.max_inactive, Reason::MaxInactive);
    }

    /// The inactive connection that is evicted first to make room at the limit on all connections.
    pub(crate) fn first_to_go(&self, now: Tick) -> Option<(u32, Reason)> {
        let has_to_go = self.first_condemned(now).or_else(|| self.table.buckets.next_closed());
        has_to_go.or_else(|| self.run_out(now)).or_else(|| {
            let oldest = self.table.ages.oldest(Standing::Kept)?;
            Some((oldest, self.unfit(oldest, now).unwrap_or(Reason::MadeRoom)))
        })
    }

    /// The connection that was condemned first.
    fn first_condemned(&self, now: Tick) -> Option<(u32, Reason)> {
        let slot = self.table.ages.oldest(Standing::Condemned)?;
        Some((slot, self.unfit(slot, now)?))
    }

    /// The inactive connection whose own deadline or lifetime ended first, and why it has to leave.
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
