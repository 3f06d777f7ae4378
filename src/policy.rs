//! Whether a connection is kept at all.

use crate::peer::Peer;
use crate::state::ChannelBindingId;
use std::time::Instant;

/// Decides what becomes of a connection that nobody uses any more. Asked once each time a connection becomes inactive,
/// unless a limit, a hangup or a drain has already decided against it.
///
/// This is how special caches are derived, as the seed invites one to. Any `FnMut(&Candidate) -> Verdict` is a policy.
/// The seed's own example, a cache that closes connections which are idle for some time:
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
pub trait Policy {
    /// The verdict on this candidate.
    fn on_inactive(&mut self, candidate: &Candidate<'_>) -> Verdict;
}

/// A connection about to become inactive.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Candidate<'a> {
    /// The time, as told by the host.
    pub now: Instant,
    /// Where it leads.
    pub peer: &'a Peer,
    /// Its channel binding.
    pub channel: ChannelBindingId,
    /// How often it was handed out.
    pub uses: u32,
    /// How many inactive connections there are, without this one.
    pub inactive: usize,
    /// How many of them lead to the same peer under the same channel binding.
    pub inactive_to_peer: usize,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It comes back to the host, to be closed.
    Close,
    /// It is kept, within the limits.
    Keep,
    /// It is kept until then at the latest.
    KeepUntil(Instant),
}

/// Keeps nothing: the policy of [`RestrictiveCache`](crate::RestrictiveCache).
#[derive(Clone, Copy, Debug, Default)]
pub struct Restrictive;

/// Keeps everything: the policy of [`AggressiveCache`](crate::AggressiveCache).
#[derive(Clone, Copy, Debug, Default)]
pub struct Aggressive;

impl Policy for Restrictive {
    fn on_inactive(&mut self, _: &Candidate<'_>) -> Verdict {
        Verdict::Close
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
