//! Whether a connection may be handed out, and whether it may be kept: every rule stands here.

use crate::cache::Cache;
use crate::channel::ChannelBindingId;
use crate::connection::Connection;
use crate::error::Fault;
use crate::outcome::Evicted;
use crate::peer::Peer;
use crate::policy::{Candidate, Policy, Verdict};
use crate::reason::Reason;
use crate::table::clock::Tick;
use crate::table::slots::{Flags, State};
use std::time::Instant;

/// How many dead connections one search closes before it is a miss: closing takes time.
const MOST_DEAD: u32 = 8;
/// How many connections that have run out, and are still to come from `expire`, one search passes by.
const MOST_PASSED: u32 = 64;

/// What decides whether a connection may be, or become, inactive and be handed out again.
#[derive(Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) bucket: u32,
    pub(crate) flags: Flags,
    pub(crate) uses: u32,
    pub(crate) lifetime_end: Tick,
    pub(crate) since: Tick,
    pub(crate) until: Tick,
}

impl<C: Connection, P: Policy> Cache<C, P> {
    /// The newest inactive connection that is fit for use. Closes those found dead.
    pub(crate) fn find(&mut self, now: Tick, peer: &Peer, channel: ChannelBindingId) -> Option<u32> {
        let bucket = self.table.buckets.find(peer, channel)?;
        let list = self.table.buckets.get(bucket).list;
        let mut next = (!list.is_empty()).then_some(list.newest);
        let (mut dead, mut passed) = (0, 0);
        while dead < MOST_DEAD && passed < MOST_PASSED {
            let slot = next?;
            // Those that have run out come from `expire`. The ones behind may have a later deadline.
            if self.unfit(slot, now).is_some() {
                next = self.table.older(slot);
                passed += 1;
                continue;
            }
            let Err(fault) = self.look(slot) else { return Some(slot) };
            next = self.table.older(slot);
            drop(self.evict_faulty(slot, fault));
            dead += 1;
        }
        None
    }

    /// Probes an inactive connection that is about to be handed out.
    pub(super) fn look(&mut self, slot: u32) -> Result<(), Fault> {
        if !self.probing {
            return Ok(());
        }
        let looked = self.probe(slot);
        self.stats.found_dead += u64::from(looked.is_err());
        looked
    }

    /// Why an inactive connection must not be handed out, as far as the tables know.
    #[inline]
    pub(crate) fn unfit(&self, slot: u32, now: Tick) -> Option<Reason> {
        let record = self.table.at(slot);
        let State::Inactive { since, until, .. } = record.state else { return None };
        let (bucket, flags, uses, lifetime_end) = (record.bucket, record.flags, record.uses, record.lifetime_end);
        self.barred(now, Facts { bucket, flags, uses, lifetime_end, since, until })
    }

    /// Why a connection must not be inactive and handed out again: the host's orders first, then what ran out first.
    #[inline]
    fn barred(&self, now: Tick, facts: Facts) -> Option<Reason> {
        let limits = &self.limits;
        let idle_end = limits.idle_timeout.map_or(Tick::NEVER, |time| facts.since.after(time));
        let end = facts.lifetime_end.min(facts.until).min(idle_end);
        if facts.flags.peer_closed || self.table.buckets.get(facts.bucket).closed {
            Some(Reason::PeerClosed)
        } else if self.draining {
            Some(Reason::Drained)
        } else if facts.flags.condemned.is_some() {
            facts.flags.condemned
        } else if limits.max_uses.is_some_and(|most| facts.uses >= most) {
            Some(Reason::MaxUses)
        } else if end > now || end == Tick::NEVER {
            None
        } else if end == facts.lifetime_end {
            Some(Reason::MaxLifetime)
        } else if end == facts.until {
            Some(Reason::Deadline)
        } else {
            Some(Reason::IdleTimeout)
        }
    }

    /// Why a connection can't become inactive, whatever the policy would say.
    pub(crate) fn refused(&self, facts: Facts) -> Option<Reason> {
        self.barred(self.clock.latest(), facts).or(
            match (self.limits.max_inactive, self.limits.max_inactive_per_peer) {
                (Some(0), _) => Some(Reason::MaxInactive),
                (_, Some(0)) => Some(Reason::MaxInactivePerPeer),
                _ => None,
            },
        )
    }

    /// Until when the policy would keep a connection that is about to become inactive.
    pub(crate) fn ask(&mut self, now: Instant, facts: Facts) -> Result<Tick, Reason> {
        let bucket = self.table.buckets.get(facts.bucket);
        let candidate = Candidate {
            now: self.clock.now().unwrap_or(now),
            peer: &bucket.peer,
            channel: bucket.channel,
            uses: facts.uses,
            inactive: self.table.inactive(),
            inactive_to_peer: bucket.inactive() as usize,
        };
        match self.policy.on_inactive(&candidate) {
            Verdict::Close => Err(Reason::Policy),
            Verdict::Keep => Ok(facts.until),
            Verdict::KeepUntil(until) => {
                let until = self.clock.tick(until);
                if until <= self.clock.latest() { Err(Reason::Deadline) } else { Ok(until.min(facts.until)) }
            }
        }
    }

    /// Enforces the limits on numbers after a connection became inactive; what has to go. That is one at most.
    pub(crate) fn make_room(&mut self, bucket: u32) -> Option<Evicted<C>> {
        let of_peer = self.limits.max_inactive_per_peer.and_then(|most| self.table.keep_newest_in(bucket, most));
        if let Some((slot, reason)) = of_peer {
            return Some(self.evict(slot, reason));
        }
        let most = self.limits.max_inactive?;
        if self.table.ages.kept() <= most {
            return None;
        }
        let (slot, reason) = match self.table.buckets.next_waiting() {
            Some(slot) => (slot, Reason::PeerClosed),
            None => self.table.keep_newest(most)?,
        };
        Some(self.evict(slot, reason))
    }
}
