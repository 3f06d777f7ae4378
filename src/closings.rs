//! The latest closings of peers and channel bindings in the process, so that they also hold for connections that were
//! out of the caches at that time.

use crate::channel::ChannelBindingId;
use crate::peer::Peer;
use crate::reason::Reason;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// How many closings are remembered.
const REMEMBERED: usize = 1_024;

/// What was closed.
#[derive(Clone)]
pub(crate) enum Closed {
    Peer(Peer),
    Channel(ChannelBindingId),
}

/// How many closings there have been in the process.
static EPOCH: AtomicU64 = AtomicU64::new(0);

/// The latest closings, oldest first, each with the number of its cache.
static LATEST: Mutex<VecDeque<(u32, Closed)>> = Mutex::new(VecDeque::new());

/// The number of closings so far. A connection's [`History`](crate::History) holds it, and is checked later against the
/// closings since then.
pub(crate) fn epoch() -> u64 {
    EPOCH.load(Ordering::Acquire)
}

/// Remembers that this cache has closed a peer or a channel binding.
pub(crate) fn remember(cache: u32, closed: Closed) {
    let mut latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
    if latest.len() == REMEMBERED {
        latest.pop_front();
    }
    latest.push_back((cache, closed));
    EPOCH.fetch_add(1, Ordering::Release);
}

/// Whether one of these caches has closed the peer or the channel binding since this epoch, and which of the two. If
/// there have been more closings since then than are remembered, the answer is yes.
pub(crate) fn since(epoch: u64, caches: [u32; 2], peer: &Peer, channel: ChannelBindingId) -> Option<Reason> {
    if self::epoch() == epoch {
        return None;
    }
    let latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
    let missed = self::epoch() - epoch;
    if missed > latest.len() as u64 {
        return Some(Reason::ClosedPeer);
    }
    latest.iter().rev().take(missed as usize).find_map(|(cache, closed)| match closed {
        _ if !caches.contains(cache) => None,
        Closed::Peer(closed) => (closed == peer).then_some(Reason::ClosedPeer),
        Closed::Channel(closed) => (*closed == channel).then_some(Reason::ClosedChannel),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All in one test, since the process has but one memory.
    #[test]
    fn the_latest_closings_are_remembered_and_what_is_older_counts_as_closed() {
        let (ours, theirs, channel) = (u32::MAX - 1, u32::MAX, ChannelBindingId(3));
        let [closed, open] = ["closed", "open"].map(|host| Peer::direct(host, 1));
        let start = epoch();
        assert_eq!(since(start, [ours, ours], &closed, channel), None);
        remember(ours, Closed::Peer(closed.clone()));
        assert_eq!(since(start, [ours, theirs], &closed, channel), Some(Reason::ClosedPeer));
        assert_eq!(since(start, [theirs, ours], &closed, channel), Some(Reason::ClosedPeer));
        assert_eq!(since(start, [theirs, 0], &closed, channel), None, "another cache's");
        assert_eq!(since(start, [ours, ours], &open, channel), None);
        assert_eq!(since(epoch(), [ours, ours], &closed, channel), None, "it came later");
        remember(ours, Closed::Channel(channel));
        assert_eq!(since(start, [ours, ours], &open, channel), Some(Reason::ClosedChannel));
        assert_eq!(since(start, [ours, ours], &open, ChannelBindingId(4)), None);
        for _ in 2..REMEMBERED {
            remember(theirs, Closed::Channel(channel));
        }
        assert_eq!(since(start, [ours, ours], &closed, ChannelBindingId(4)), Some(Reason::ClosedPeer));
        assert_eq!(since(start, [ours, ours], &open, ChannelBindingId(4)), None, "the oldest is remembered");
        remember(theirs, Closed::Channel(channel));
        assert_eq!(since(start, [ours, ours], &open, ChannelBindingId(4)), Some(Reason::ClosedPeer), "too old to tell");
        assert_eq!(LATEST.lock().unwrap().len(), REMEMBERED);
    }
}
