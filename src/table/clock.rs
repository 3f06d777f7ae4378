//! Time as the tables keep it: in nanoseconds. The first `now` that the host passes is [`Tick::FIRST`].

use std::time::{Duration, Instant};

/// A moment. One that is out of range counts as the nearest one in range: a deadline that is too far away comes early
/// rather than never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(pub(crate) u64);

impl Tick {
    /// The cache's first `now`. 146 years before it are in range, and 438 years after it.
    pub(crate) const FIRST: Tick = Tick(1 << 62);
    /// Later than any moment.
    pub(crate) const NEVER: Tick = Tick(u64::MAX);
    /// The last moment in range.
    pub(crate) const LAST: Tick = Tick(u64::MAX - 1);

    pub(crate) fn after(self, duration: Duration) -> Tick {
        Tick(self.0.saturating_add(nanos(duration))).min(Tick::LAST)
    }

    /// Whole seconds since the cache's first `now`. Beyond 136 years it is a constant.
    pub(crate) fn seconds(self) -> u32 {
        u32::try_from(self.since(Tick::FIRST).as_secs()).unwrap_or(u32::MAX / 2)
    }

    /// How many nanoseconds ago `past` was. It must not be later than this moment.
    #[inline]
    pub(crate) fn nanos_since(self, past: Tick) -> u64 {
        debug_assert!(past <= self);
        self.0.wrapping_sub(past.0)
    }

    /// How much later this is than `earlier`; zero if it isn't.
    pub(crate) fn since(self, earlier: Tick) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Turns the host's instants into ticks. It never reads a clock, and never runs backwards.
#[derive(Clone, Copy, Default)]
pub(crate) struct Clock {
    base: Option<Instant>,
    /// The latest `now`. The calls of a turn pass the same one, so only the first call has to compute its tick.
    now: Option<Instant>,
    /// The tick of `now`.
    latest: Tick,
}

impl Clock {
    /// The tick of the host's `now`, or the latest one seen if that is later.
    #[inline]
    pub(crate) fn advance(&mut self, now: Instant) -> Tick {
        if self.now != Some(now) {
            *self = self.at(now);
        }
        self.latest
    }

    /// It takes the clock by value, so that the compiler knows that nothing else has changed.
    #[inline(never)]
    fn at(mut self, now: Instant) -> Clock {
        if self.now.is_none_or(|latest| now > latest) {
            self.now = Some(now);
            self.base.get_or_insert(now);
            self.latest = self.tick(now);
        }
        self
    }

    /// The latest `now` seen. Panics before the first [`advance`](Clock::advance).
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.now.expect("the clock has been told")
    }

    /// The tick of any instant, such as a deadline. It is right only after the first [`advance`](Clock::advance).
    pub(crate) fn tick(&self, at: Instant) -> Tick {
        self.base.map_or(Tick::FIRST, |base| match at.checked_duration_since(base) {
            Some(later) => Tick::FIRST.after(later),
            None => Tick(Tick::FIRST.0.saturating_sub(nanos(base.duration_since(at)))),
        })
    }

    /// The tick of a deadline; [`Tick::NEVER`] if there is none.
    pub(crate) fn end(&self, until: Option<Instant>) -> Tick {
        until.map_or(Tick::NEVER, |until| self.tick(until))
    }

    /// The latest tick seen.
    pub(crate) fn latest(&self) -> Tick {
        self.latest
    }

    /// The instant of a tick. `None` if the tick is [`Tick::NEVER`], or out of the platform's range.
    pub(crate) fn instant(&self, tick: Tick) -> Option<Instant> {
        let base = self.base.filter(|_| tick != Tick::NEVER)?;
        if tick >= Tick::FIRST {
            base.checked_add(tick.since(Tick::FIRST))
        } else {
            base.checked_sub(Tick::FIRST.since(tick))
        }
    }

    /// An instant that has passed, for a deadline that is due now. `None` before the first [`advance`](Clock::advance).
    pub(crate) fn due(&self) -> Option<Instant> {
        self.base
    }
}

/// The duration in nanoseconds, or `u64::MAX` if it is longer.
pub(crate) fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos().into())
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn time_never_runs_backwards() {
        let (mut clock, start) = (Clock::default(), Instant::now());
        assert_eq!(clock.advance(start), Tick::FIRST);
        assert_eq!(clock.advance(start + Duration::from_nanos(5)), Tick(Tick::FIRST.0 + 5));
        assert_eq!(clock.advance(start), Tick(Tick::FIRST.0 + 5));
        assert_eq!(clock.latest(), Tick(Tick::FIRST.0 + 5));
        assert_eq!(clock.instant(clock.latest()), Some(start + Duration::from_nanos(5)));
    }

    #[test]
    fn what_was_before_the_first_now_keeps_its_distance() {
        let (mut clock, start) = (Clock::default(), Instant::now());
        let now = clock.advance(start + Duration::from_secs(7));
        assert_eq!(now.since(clock.tick(start)), Duration::from_secs(7));
        assert_eq!(clock.instant(clock.tick(start)), Some(start));
    }

    #[test]
    fn what_is_too_far_away_comes_early_rather_than_never() {
        let mut clock = Clock::default();
        let now = clock.advance(Instant::now());
        assert_eq!(now.after(Duration::MAX), Tick::LAST);
        assert!(Tick::LAST.after(Duration::from_secs(1)) <= Tick::LAST && Tick::LAST < Tick::NEVER);
        assert_eq!(clock.instant(Tick::NEVER), None);
    }
}
