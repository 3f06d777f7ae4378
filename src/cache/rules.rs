//! The limits in the form in which a cycle needs them: plain numbers instead of options and durations.

use crate::limits::Limits;
use crate::table::buckets::Bucket;
use crate::table::clock::{Tick, nanos};
use crate::table::record::{Record, Remarks, State};
use crate::table::sites::UNLIMITED;
use std::time::Duration;

/// How many owners a connection may have at most. With more of them, the number of a lease would be used twice.
const MOST_USES: u32 = u32::MAX - 1;
/// No limit on the time that a connection may be inactive.
const FOR_EVER: u64 = u64::MAX;

/// The limits, and the host's order to drain, in the form in which a cycle needs them.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// For how many nanoseconds a connection may be inactive, or [`FOR_EVER`].
    idle: u64,
    pub(super) most_uses: u32,
    /// The limit on uses in a usual checkin: [`most_uses`](Rules::most_uses), or 0 if no checkin is a usual one,
    /// because more has to be checked or done for each connection.
    most_uses_if_usual: u32,
    pub(super) max_inactive: usize,
    pub(super) max_inactive_per_peer: u32,
    pub(super) max_connections: usize,
    pub(super) max_connecting_per_peer: u32,
}

impl Rules {
    /// `narrows`: whether each connection is re-registered when it becomes inactive.
    pub(crate) fn new(limits: &Limits, draining: bool, narrows: bool) -> Rules {
        let idle = limits.idle_timeout.map_or(FOR_EVER, |time| nanos(time).min(FOR_EVER - 1));
        let most_uses = if draining { 0 } else { limits.max_uses.unwrap_or(MOST_USES).min(MOST_USES) };
        let keeps_none = idle == 0 || limits.max_inactive == Some(0) || limits.max_inactive_per_peer == Some(0);
        Rules {
            idle,
            most_uses,
            most_uses_if_usual: if keeps_none || narrows { 0 } else { most_uses },
            max_inactive: limits.max_inactive.unwrap_or(usize::MAX),
            max_inactive_per_peer: most(limits.max_inactive_per_peer),
            max_connections: limits.max_connections.unwrap_or(usize::MAX),
            max_connecting_per_peer: most(limits.max_connecting_per_peer),
        }
    }

    /// A quick check whether an inactive connection may be handed out. Its bucket isn't checked. The answer `false`
    /// isn't final: `why_unfit` in `fitness.rs` may find no reason, for example at [`Tick::LAST`].
    #[inline]
    pub(crate) fn is_fit(&self, now: Tick, record: &Record) -> bool {
        let State::Inactive { since, until } = record.state() else { return false };
        record.flags.doomed.is_none()
            && record.uses < self.most_uses
            && record.lifetime_end.min(until) > now
            && now.nanos_since(since) < self.idle
            && now < Tick::LAST
    }

    /// A quick check whether an active connection may be kept until then, so that its checkin can take the short way.
    /// The answer `false` isn't final: the long way through `give_back` decides.
    #[inline]
    pub(crate) fn is_kept_as_usual(&self, now: Tick, record: &Record, home: &Bucket, until: Tick) -> bool {
        record.flags.remarks == Remarks::NONE
            && record.flags.doomed.is_none()
            && home.closed.is_none()
            && record.uses < self.most_uses_if_usual
            && record.lifetime_end.min(until) > now
            && now < Tick::LAST
    }

    /// When the idle time-out of a connection ends that has been inactive since then.
    pub(super) fn idle_end(&self, since: Tick) -> Tick {
        if self.idle == FOR_EVER { Tick::NEVER } else { since.after(Duration::from_nanos(self.idle)) }
    }
}

/// The limit as a number. It is [`UNLIMITED`] if there is none, or if there can't be so many connections.
pub(super) fn most(limit: Option<usize>) -> u32 {
    limit.and_then(|most| u32::try_from(most).ok()).unwrap_or(UNLIMITED)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use crate::{AggressiveCache, Cause, ChannelBindingId, History, Owner, ParkOptions, Peer, Reason, Unwatched};
    use std::io::{self, Read};
    use std::time::Instant;

    struct Quiet;

    impl Read for Quiet {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    /// Otherwise the number in its lease would come back, and a former owner's id with it.
    #[test]
    fn a_connection_whose_uses_have_no_more_numbers_is_not_kept() {
        for builder in [AggressiveCache::builder(), AggressiveCache::builder().max_uses(u32::MAX)] {
            let mut cache: AggressiveCache<Unwatched<Quiet>> = builder.build_unwatched().unwrap();
            let (now, peer, plain) = (Instant::now(), Peer::direct("host", 1), ChannelBindingId::PLAIN);
            let mut park = |uses| {
                let history = History { uses, ..History::opened_at(now) };
                cache.park(now, Unwatched(Quiet), &peer, plain, ParkOptions::default().history(history))
            };
            assert!(matches!(park(u32::MAX - 1).unwrap_err().cause, Cause::Refused(Reason::MaxUses)));
            assert!(park(u32::MAX - 2).is_ok());
            let last = cache.checkout(now, &peer, plain, Owner(1)).unwrap();
            assert_eq!(last.uses, u32::MAX - 1);
            assert_eq!(cache.checkin(now, last.id).unwrap().map(|gone| gone.reason), Some(Reason::MaxUses));
        }
    }
}
