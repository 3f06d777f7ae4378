//! A `Poll` inside a loop of another kind.

use mio::event::Event;
use mio::{Events, Poll, Registry};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

/// A [`Poll`] with its events, for an outer loop that watches its descriptor.
///
/// It is for hosts whose loop isn't mio's: epoll or kqueue itself, or anything built on them that can watch a
/// descriptor for reading. Build the cache with the nest's [`registry`](Nest::registry). On each wake-up, take the
/// events from [`next_event`](Nest::next_event), one by one, until it returns `None`. That is one turn. A turn has at
/// most as many events as the nest has room for. What follows depends on how the outer loop watches the descriptor:
///
/// * **Level-triggered:** wait again. If anything is left, the outer loop wakes you at once.
/// * **One-shot** (the default of the `polling` crate, `EPOLLONESHOT`): after the turn, watch the descriptor again, and
///   wait. If anything is left, the outer loop wakes you at once.
/// * **Edge-triggered** (also: a readiness flag that you clear yourself, or a multishot poll): ask
///   [`has_more`](Nest::has_more). If there is more, serve your other sources without waiting, and then take another
///   turn. The outer loop doesn't report again what is left.
///
/// `has_more` takes what it finds out of the `Poll`, so even a level-triggered outer loop won't report it. If you ask,
/// act on the answer.
///
/// ```
/// # #[cfg(all(target_os = "linux", not(mio_unsupported_force_poll_poll)))] {
/// use conncache::mio::{self, Events, Interest, Token, net::TcpStream, unix::SourceFd};
/// use conncache::{AggressiveCache, ChannelBindingId, Handled, Nest, Owner};
/// use std::{os::fd::AsRawFd, time::Instant};
///
/// # let server = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let addr = server.local_addr()?;
/// // The outer loop. Here it is another mio, which is edge-triggered.
/// let (mut outer, mut wake_ups) = (mio::Poll::new()?, Events::with_capacity(16));
///
/// let mut nest = Nest::with_capacity(64)?;
/// outer.registry().register(&mut SourceFd(&nest.as_raw_fd()), Token(0), Interest::READABLE)?;
/// let mut cache: AggressiveCache<TcpStream> = AggressiveCache::builder().build(nest.registry())?;
///
/// let mut now = Instant::now();
/// let conn = TcpStream::connect(addr)?;
/// let id = cache.insert(now, conn, &addr.into(), ChannelBindingId::PLAIN, Owner(1))?;
/// 'running: loop {
///     outer.poll(&mut wake_ups, nest.timeout(now, cache.next_deadline()))?;
///     now = Instant::now();
///     // Here the other events of the outer loop are handled.
///     while let Some(event) = nest.next_event()? {
///         match cache.handle_event(&event) {
///             Handled::Active { id, .. } if event.is_writable() => break 'running, // connected
///             _ => {}
///         }
///     }
///     while cache.expire(now).is_some() {}
///     let _ = nest.has_more()?; // `timeout` takes it into account
/// }
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Nest {
    poll: Poll,
    events: Events,
    /// The events that a poll has found and that `next_event` hasn't returned yet.
    found: VecDeque<Event>,
    /// Whether the last poll found as many events as there is room for, so that there may be more.
    full: bool,
    /// Whether `next_event` has returned an event of this turn, and not yet the `None` that ends it.
    in_turn: bool,
}

impl Nest {
    /// Makes a nest with room for this many events in a turn, at least one. A small number makes turns short, a large
    /// one saves system calls. Start with 64.
    ///
    /// # Errors
    ///
    /// The operating system's, when it has no descriptor left.
    pub fn with_capacity(events: usize) -> io::Result<Nest> {
        let events = Events::with_capacity(events.max(1));
        let found = VecDeque::with_capacity(events.capacity());
        Ok(Nest { poll: Poll::new()?, events, found, full: false, in_turn: false })
    }

    /// The registry to [build](crate::Builder::build) the cache with. You may register sources of your own, too.
    pub fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// The next event of this turn. `None` ends the turn. The first call of a turn polls, without waiting, unless
    /// [`has_more`](Nest::has_more) has polled already: one system call a turn.
    ///
    /// To end a turn early, call `has_more`. The next turn continues with what is left.
    ///
    /// # Errors
    ///
    /// The operating system's, when it can't be asked.
    pub fn next_event(&mut self) -> io::Result<Option<Event>> {
        if !self.in_turn && self.found.is_empty() {
            self.poll_now()?;
        }
        let event = self.found.pop_front();
        self.in_turn = event.is_some();
        Ok(event)
    }

    /// Whether another turn would find something now. It makes a system call only if the last poll found as many events
    /// as there is room for.
    ///
    /// # Errors
    ///
    /// The operating system's, when it can't be asked.
    #[must_use = "the outer loop may not report what is left"]
    pub fn has_more(&mut self) -> io::Result<bool> {
        self.in_turn = false;
        if self.found.is_empty() && self.full {
            self.poll_now()?;
        }
        Ok(!self.found.is_empty())
    }

    /// How long the outer loop may wait: until `deadline`, which is the cache's
    /// [`next_deadline`](crate::Cache::next_deadline), or not at all if [`has_more`](Nest::has_more) has found
    /// something. `None` if only an event ends the wait.
    ///
    /// It is rounded up to whole milliseconds, because many loops round down and would spin. Nearly every call of the
    /// cache can change the deadline, so ask just before you wait.
    pub fn timeout(&self, now: Instant, deadline: Option<Instant>) -> Option<Duration> {
        if !self.found.is_empty() {
            return Some(Duration::ZERO);
        }
        let nanos = deadline?.saturating_duration_since(now).as_nanos();
        Some(Duration::from_millis(nanos.div_ceil(1_000_000).try_into().unwrap_or(u64::MAX)))
    }

    /// Polls without waiting.
    fn poll_now(&mut self) -> io::Result<()> {
        while let Err(error) = self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
            // With a signal pending, `poll` is interrupted though it doesn't wait. `epoll_wait` isn't: no test sees it.
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        self.found.extend(self.events.iter().cloned());
        self.full = self.found.len() >= self.events.capacity();
        Ok(())
    }
}

/// Only for platforms on which mio's `Poll` has a descriptor.
#[cfg(all(
    not(mio_unsupported_force_poll_poll),
    any(
        target_os = "linux",
        target_os = "android",
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "dragonfly",
        target_os = "illumos",
    )
))]
mod descriptor {
    use crate::nest::Nest;
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

    impl AsFd for Nest {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.poll.registry().as_fd()
        }
    }

    impl AsRawFd for Nest {
        fn as_raw_fd(&self) -> RawFd {
            self.poll.as_raw_fd()
        }
    }
}

impl fmt::Debug for Nest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nest")
            .field("capacity", &self.events.capacity())
            .field("found", &self.found.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_out_is_whole_milliseconds_and_never_too_short() {
        #[allow(clippy::disallowed_methods)]
        let (nest, now) = (Nest::with_capacity(0).unwrap(), Instant::now());
        let timeout = |left: Duration| nest.timeout(now, Some(now + left)).unwrap();
        assert_eq!(nest.timeout(now, None), None);
        assert_eq!(nest.timeout(now + Duration::from_secs(1), Some(now)), Some(Duration::ZERO));
        assert_eq!(timeout(Duration::from_nanos(1)), Duration::from_millis(1));
        assert_eq!(timeout(Duration::from_millis(7)), Duration::from_millis(7));
        assert_eq!(timeout(Duration::from_micros(7_001)), Duration::from_millis(8));
    }

    #[test]
    fn a_nest_moves_between_threads_and_finds_nothing_at_first() {
        fn is_send<T: Send>(value: T) -> T {
            value
        }
        let mut nest = is_send(Nest::with_capacity(4).unwrap());
        assert!(nest.next_event().unwrap().is_none() && !nest.has_more().unwrap());
    }
}
