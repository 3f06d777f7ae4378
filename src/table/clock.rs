//! Time as the tables keep it: nanoseconds since the first `now` the cache was told.

use std::time::{Duration, Instant};

/// A moment, in nanoseconds since the cache's first `now`; saturating, so that [`Tick::NEVER`] stays the latest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(pub(crate) u64);

impl Tick {
    pub(crate) const NEVER: Tick = Tick(u64::MAX);

    pub(crate) fn after(self, duration: Duration) -> Tick {
        Tick(self.0.saturating_add(nanos(duration)))
    }

    /// How much later this is than `earlier`; zero if it isn't.
    pub(crate) fn since(self, earlier: Tick) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Turns the host's instants into ticks. It never reads a clock, and never runs backwards.
#[derive(Default)]
pub(crate) struct Clock {
    base: Option<Instant>,
    /// The latest `now`. The calls of one turn share it, and only the first has to subtract.
    now: Option<Instant>,
    latest: Tick,
}

impl Clock {
    /// The tick of the host's `now`, or the latest one seen if that is later.
    #[inline]
    pub(crate) fn advance(&mut self, now: Instant) -> Tick {
        if self.now.is_none_or(|latest| now > latest) {
            self.now = Some(now);
            let base = *self.base.get_or_insert(now);
            self.latest = Tick(nanos(now.saturating_duration_since(base)));
        }
        self.latest
    }

    /// The latest `now` seen.
    pub(crate) fn now(&self) -> Option<Instant> {
        self.now
    }

    /// The tick of any other instant, such as a deadline. Only after an [`advance`](Clock::advance).
    pub(crate) fn tick(&self, at: Instant) -> Tick {
        self.base.map_or(Tick(0), |base| Tick(nanos(at.saturating_duration_since(base))))
    }

    /// The latest tick seen.
    pub(crate) fn latest(&self) -> Tick {
        self.latest
    }

    /// The instant of a tick; `None` if that is never, or out of the platform's range.
    pub(crate) fn instant(&self, tick: Tick) -> Option<Instant> {
        if tick == Tick::NEVER { None } else { self.base?.checked_add(Duration::from_nanos(tick.0)) }
    }
}

fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos().into())
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn time_never_runs_backwards() {
        let (mut clock, start) = (Clock::default(), Instant::now());
        assert_eq!(clock.advance(start), Tick(0));
        assert_eq!(clock.advance(start + Duration::from_nanos(5)), Tick(5));
        assert_eq!(clock.advance(start), Tick(5));
        assert_eq!(clock.latest(), Tick(5));
        assert_eq!(clock.instant(Tick(5)), Some(start + Duration::from_nanos(5)));
    }

    #[test]
    fn the_far_future_is_never() {
        let mut clock = Clock::default();
        let now = clock.advance(Instant::now());
        assert_eq!(now.after(Duration::MAX), Tick::NEVER);
        assert_eq!(clock.instant(Tick::NEVER), None);
    }
}
