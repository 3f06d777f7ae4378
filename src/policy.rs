//! Policies: they decide whether a connection is kept when it becomes inactive.

use crate::channel::ChannelBindingId;
use crate::peer::Peer;
use std::time::Instant;

/// Decides whether to keep a connection that nobody uses any more. It is asked each time a connection becomes inactive,
/// unless a limit, a hangup or a drain has already decided against it. It is asked again about a connection that was
/// kept for a request that no longer waits.
///
/// A policy makes a special cache. This one, the seed's own example, closes connections that are idle for some time:
///
/// ```
/// use conncache::{Cache, Candidate, Policy, Verdict, mio};
/// use std::time::Duration;
///
/// struct CloseAfter(Duration);
///
/// impl Policy for CloseAfter {
///     fn on_inactive(&mut self, candidate: &Candidate<'_>) -> Verdict {
///         candidate.now.checked_add(self.0).map_or(Verdict::Keep, Verdict::KeepUntil)
///     }
/// }
///
/// # let poll = mio::Poll::new()?;
/// let cache: Cache<mio::net::TcpStream, CloseAfter> =
///     Cache::with_policy(CloseAfter(Duration::from_secs(30))).build(poll.registry())?;
/// # drop(cache);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A closure is a policy, too (give the type of its argument):
///
/// ```
/// use conncache::{Cache, Candidate, ChannelBindingId, Verdict, mio};
///
/// # let poll = mio::Poll::new()?;
/// let plain_only = |candidate: &Candidate<'_>| match candidate.channel {
///     ChannelBindingId::PLAIN => Verdict::Keep,
///     _ => Verdict::Close,
/// };
/// let cache: Cache<mio::net::TcpStream, _> = Cache::with_policy(plain_only).build(poll.registry())?;
/// # drop(cache);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A policy that closes connections to keep fewer of them should keep one that a request waits for
/// ([`Candidate::waiting`]). Otherwise the request gets no connection until a new one has been opened.
///
/// To choose the kind of cache at run time, box the policy: `Cache<C, Box<dyn Policy>>`, or
/// `Cache<C, Box<dyn Policy + Send>>` if the cache moves between threads.
pub trait Policy {
    /// The verdict on this candidate.
    fn on_inactive(&mut self, candidate: &Candidate<'_>) -> Verdict;

    /// How many connections there may be to this peer, instead of
    /// [`max_connections_per_peer`](crate::Limits::max_connections_per_peer). `None` for that limit. Asked when the
    /// first connection or request for the peer comes, and at [`set_limits`](crate::Cache::set_limits); the answer is
    /// kept in between.
    fn max_connections(&mut self, peer: &Peer) -> Option<usize> {
        let _ = peer;
        None
    }
}

/// A connection about to become inactive.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Candidate<'a> {
    /// The latest time that the host has passed.
    pub now: Instant,
    /// Where it leads.
    pub peer: &'a Peer,
    /// Its channel binding.
    pub channel: ChannelBindingId,
    /// How many owners it has had: whoever inserted it was the first.
    pub uses: u32,
    /// How many inactive connections there are, without this one.
    pub inactive: usize,
    /// How many of them lead to the same peer under the same channel binding.
    pub inactive_to_peer: usize,
    /// How many requests wait for a connection to the same peer under the same channel binding, without those for which
    /// one is kept already.
    pub waiting: usize,
}

impl<'a> Candidate<'a> {
    /// A candidate that has had one owner, while nothing else is inactive. For tests of a policy.
    pub fn new(now: Instant, peer: &'a Peer, channel: ChannelBindingId) -> Candidate<'a> {
        Candidate { now, peer, channel, uses: 1, inactive: 0, inactive_to_peer: 0, waiting: 0 }
    }
}

/// Whether a connection is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// No. It comes back to the host, to be closed.
    Close,
    /// Yes, within the limits.
    Keep,
    /// Yes, within the limits, but not beyond this time.
    KeepUntil(Instant),
}

/// Keeps only connections that a request waits for: the policy of [`RestrictiveCache`](crate::RestrictiveCache).
#[derive(Clone, Copy, Debug, Default)]
pub struct Restrictive;

/// Keeps everything: the policy of [`AggressiveCache`](crate::AggressiveCache).
#[derive(Clone, Copy, Debug, Default)]
pub struct Aggressive;

/// Keeps this many inactive connections, and closes those that come after them, unless a request waits for one. It is
/// for a host that uses more peers in turn than it can keep connections.
///
/// For such a host, [`Limits::max_inactive`](crate::Limits::max_inactive) evicts each connection before its turn comes
/// again, because it evicts the one inactive longest. So none is reused.
///
/// ```
/// use conncache::{Cache, KeepResidents, mio};
///
/// # let poll = mio::Poll::new()?;
/// let cache: Cache<mio::net::TcpStream, _> = Cache::with_policy(KeepResidents(500)).build(poll.registry())?;
/// # drop(cache);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct KeepResidents(
    /// How many.
    pub usize,
);

impl Policy for KeepResidents {
    fn on_inactive(&mut self, candidate: &Candidate<'_>) -> Verdict {
        let keeps = candidate.waiting > 0 || candidate.inactive < self.0;
        if keeps { Verdict::Keep } else { Verdict::Close }
    }
}

impl Policy for Restrictive {
    fn on_inactive(&mut self, candidate: &Candidate<'_>) -> Verdict {
        if candidate.waiting > 0 { Verdict::Keep } else { Verdict::Close }
    }
}

impl Policy for Aggressive {
    fn on_inactive(&mut self, _: &Candidate<'_>) -> Verdict {
        Verdict::Keep
    }
}

impl<F: FnMut(&Candidate<'_>) -> Verdict> Policy for F {
    fn on_inactive(&mut self, candidate: &Candidate<'_>) -> Verdict {
        self(candidate)
    }
}

/// For a policy that is chosen at run time.
impl Policy for Box<dyn Policy + '_> {
    fn on_inactive(&mut self, candidate: &Candidate<'_>) -> Verdict {
        (**self).on_inactive(candidate)
    }

    fn max_connections(&mut self, peer: &Peer) -> Option<usize> {
        (**self).max_connections(peer)
    }
}

/// For a policy that is chosen at run time, in a cache that moves between threads.
impl Policy for Box<dyn Policy + Send + '_> {
    fn on_inactive(&mut self, candidate: &Candidate<'_>) -> Verdict {
        (**self).on_inactive(candidate)
    }

    fn max_connections(&mut self, peer: &Peer) -> Option<usize> {
        (**self).max_connections(peer)
    }
}
