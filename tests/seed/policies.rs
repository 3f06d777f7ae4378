//! Policies derived from the seed's.

use crate::common::PLAIN;
use crate::common::light::Light;
use crate::{A, insert, peers};
use conncache::mio::Poll;
use conncache::{Aggressive, Cache, Candidate, ConnId, ConnectionCache, Peer, Policy, Reason, Restrictive, Verdict};
use std::time::{Duration, Instant};

/// The policies' own documentation has this example: close what is idle for some time.
pub struct CloseAfter(pub Duration);

impl Policy for CloseAfter {
    fn on_inactive(&mut self, candidate: &Candidate<'_>) -> Verdict {
        candidate.now.checked_add(self.0).map_or(Verdict::Keep, Verdict::KeepUntil)
    }
}

/// Keeps at least some of each peer, and closes the rest after a while.
pub struct KeepSome(pub usize);

impl Policy for KeepSome {
    fn on_inactive(&mut self, candidate: &Candidate<'_>) -> Verdict {
        if candidate.inactive_to_peer < self.0 {
            return Verdict::Keep;
        }
        Verdict::KeepUntil(candidate.now + Duration::from_secs(1))
    }
}

#[test]
fn the_derived_policy_closes_what_is_idle_for_some_time() {
    let poll = Poll::new().unwrap();
    let time = Duration::from_secs(30);
    let mut cache: Cache<Light, CloseAfter> = Cache::with_policy(CloseAfter(time)).build(poll.registry()).unwrap();
    let (now, (peer, _)) = (Instant::now(), peers());
    let id = insert(&mut cache, now, Light, &peer, A);
    assert!(cache.checkin(now, id).unwrap().is_none());
    assert_eq!(cache.next_deadline(), Some(now + time));
    let almost = now + time - Duration::from_nanos(1);
    assert!(cache.expire(almost).is_none());
    let again = cache.checkout(almost, &peer, PLAIN, A).unwrap().id;
    assert!(again.same_connection(id));
    assert!(cache.checkin(almost, again).unwrap().is_none());
    assert!(cache.expire(now + time).is_none(), "each time anew");
    assert!(cache.checkout(almost + time, &peer, PLAIN, A).is_none());
    assert_eq!(cache.expire(almost + time).unwrap().reason, Reason::Deadline);
}

/// The policy's time, and the one that came with the checkin.
#[test]
fn the_earlier_of_two_times_counts_and_one_that_has_come_keeps_nothing() {
    let (poll, now, (peer, _)) = (Poll::new().unwrap(), Instant::now(), peers());
    let second = Duration::from_secs(1);
    for (policy, server) in [(1, 2), (2, 1), (0, 1), (1, 0)] {
        let policy_of = CloseAfter(policy * second);
        let mut cache: Cache<Light, CloseAfter> = Cache::with_policy(policy_of).build(poll.registry()).unwrap();
        let id = insert(&mut cache, now, Light, &peer, A);
        let gone = cache.checkin_until(now, id, now + server * second).unwrap();
        if policy.min(server) == 0 {
            assert_eq!(gone.map(|gone| gone.reason), Some(Reason::Deadline), "{policy} {server}");
            continue;
        }
        assert!(gone.is_none());
        assert_eq!(cache.next_deadline(), Some(now + second));
        assert!(cache.checkout(now + second, &peer, PLAIN, A).is_none());
        assert_eq!(cache.expire(now + second).map(|gone| gone.reason), Some(Reason::Deadline));
    }
}

#[test]
fn a_policy_may_keep_some_and_close_the_rest_later() {
    let poll = Poll::new().unwrap();
    let mut cache: Cache<Light, KeepSome> = Cache::with_policy(KeepSome(2)).build(poll.registry()).unwrap();
    let (now, (peer, _)) = (Instant::now(), peers());
    let all: Vec<ConnId> = (0..5).map(|_| insert(&mut cache, now, Light, &peer, A)).collect();
    all.iter().for_each(|&id| assert!(cache.checkin(now, id).unwrap().is_none()));
    let later = now + Duration::from_secs(1);
    assert_eq!(std::iter::from_fn(|| cache.expire(later)).count(), 3);
    assert_eq!(cache.next_deadline(), None);
}

#[test]
fn a_kind_of_cache_can_be_chosen_at_run_time() {
    let (poll, now, (peer, _)) = (Poll::new().unwrap(), Instant::now(), peers());
    let choose =
        |keep: bool| -> Box<dyn Policy + Send> { if keep { Box::new(Aggressive) } else { Box::new(Restrictive) } };
    for keep in [true, false] {
        let sendable = Cache::with_policy(choose(keep)).build(poll.registry()).unwrap();
        let local = Cache::with_policy(choose(keep) as Box<dyn Policy>).build(poll.registry()).unwrap();
        let mut caches: [Box<dyn ConnectionCache<Light>>; 2] = [Box::new(sendable), Box::new(local)];
        for cache in &mut caches {
            assert_eq!(kept_after_checkin(cache, now, &peer), keep, "a box");
            assert_eq!(kept_after_checkin(&mut &mut **cache, now, &peer), keep, "a mutable reference");
        }
    }
}

fn kept_after_checkin(cache: &mut impl ConnectionCache<Light>, now: Instant, peer: &Peer) -> bool {
    let id = cache.insert(now, Light, peer, PLAIN, A).unwrap();
    drop(cache.checkin(now, id).unwrap());
    cache.get(id).is_some()
}
