//! Limits that change while the cache is in use.

use crate::common::host::Host;
use crate::common::light::Light;
use crate::common::{ME, PLAIN, SECOND, Same, TLS, limits};
use crate::{host, keep_many};
use conncache::mio::Poll;
use conncache::{Aggressive, AggressiveCache, Cache, ConnId, ConnState, KeepResidents, Limits, Peer, Policy, Reason};
use std::io;
use std::time::Instant;

#[test]
fn what_a_lowered_limit_condemns_comes_from_expire_and_is_not_handed_out() {
    for per_peer in [false, true] {
        let mut host = host(|_| ());
        let all = keep_many(&mut host, 5);
        let lower = |most| {
            limits(|l| if per_peer { l.max_inactive_per_peer = Some(most) } else { l.max_inactive = Some(most) })
        };
        host.cache.set_limits(lower(2)).unwrap();
        let reason = if per_peer { Reason::MaxInactivePerPeer } else { Reason::MaxInactive };
        assert_eq!(host.cache.next_deadline(), Some(host.now), "they are due");
        assert_eq!([(); 3].map(|()| host.reuse()), [Some(Same(all[4])), Some(Same(all[3])), None]);
        host.cache.set_limits(Limits::default()).unwrap();
        assert_eq!(host.checkout(), None, "a limit raised again pardons none");
        assert_eq!(host.expire_all(), [(all[0], reason), (all[1], reason), (all[2], reason)]);
        assert_eq!(host.cache.next_deadline(), None);
    }
}

#[test]
fn what_is_condemned_stays_so_when_others_leave() {
    for per_peer in [false, true] {
        let mut host = host(|_| ());
        let all = keep_many(&mut host, 5);
        let lower = limits(|l| if per_peer { l.max_inactive_per_peer = Some(2) } else { l.max_inactive = Some(2) });
        host.cache.set_limits(lower).unwrap();
        drop(host.cache.close_connection(all[4]).unwrap());
        drop(host.cache.close_connection(all[1]).unwrap());
        assert_eq!([(); 2].map(|()| host.reuse()), [Some(Same(all[3])), None], "per peer: {per_peer}");
        let changed = host.cache.set_connection_state(host.now, all[2], &host.peer, ConnState::Active(ME)).unwrap();
        assert_eq!(changed.evicted.map(|evicted| evicted.id), Some(all[2]), "per peer: {per_peer}");
        assert_eq!(host.expire_all().len(), 1);
    }
}

#[test]
fn a_newcomer_condemns_the_oldest_kept_and_one_condemned_before_goes() {
    let mut host = host(|l| l.max_inactive_per_peer = Some(3));
    let old: [ConnId; 3] = std::array::from_fn(|_| host.keep(Light));
    let other = Peer::direct("other", 1);
    let insert = |host: &mut Host<Light>| host.cache.insert(host.now, Light, &other, PLAIN, ME).unwrap();
    let young: Vec<ConnId> = (0..3).map(|_| insert(&mut host)).collect();
    young.iter().for_each(|&id| assert_eq!(host.checkin(id), None));
    host.cache.set_limits(limits(|l| (l.max_inactive, l.max_inactive_per_peer) = (Some(3), Some(3)))).unwrap();
    let newcomer = host.insert(Light);
    assert_eq!(host.cache.counts().condemned, 3);
    assert_eq!(host.checkin(newcomer), Some((old[0], Reason::MaxInactive)), "condemned first");
    assert_eq!(host.cache.counts().condemned, 3, "the oldest of those kept is condemned for it");
    let kept: Vec<_> = std::iter::from_fn(|| host.cache.checkout(host.now, &other, PLAIN, ME)).collect();
    assert_eq!((kept.len(), host.reuse(), host.reuse()), (2, Some(Same(newcomer)), None));
    assert_eq!(host.expire_all(), [old[1], old[2], young[0]].map(|id| (id, Reason::MaxInactive)));
}

#[test]
fn contradicting_limits_are_refused_and_the_old_ones_stay() {
    let mut host = host(|l| l.max_inactive = Some(5));
    let wrong = limits(|l| (l.max_lifetime, l.lifetime_jitter) = (Some(SECOND), 2 * SECOND));
    let error = host.cache.set_limits(wrong.clone()).unwrap_err();
    assert_eq!(error.to_string(), "lifetime_jitter = 2s is more than max_lifetime, 1s");
    assert_eq!(host.cache.limits().max_inactive, Some(5));
    let poll = Poll::new().unwrap();
    let error = AggressiveCache::<Light>::builder().limits(wrong).build(poll.registry()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("lifetime_jitter"));
}

#[test]
fn a_limit_lowered_after_a_peer_was_closed_changes_no_reason() {
    let mut host = host(|_| ());
    let all = keep_many(&mut host, 3);
    host.cache.close_peer(&host.peer);
    host.cache.set_limits(limits(|l| l.max_inactive_per_peer = Some(1))).unwrap();
    assert_eq!(host.expire_all(), all.into_iter().map(|id| (id, Reason::ClosedPeer)).collect::<Vec<_>>());
}

#[test]
fn moving_a_connection_does_not_revive_one_over_a_lowered_limit() {
    let mut host = host(|_| ());
    let kept = keep_many(&mut host, 2);
    host.cache.set_limits(limits(|l| l.max_inactive = Some(1))).unwrap();
    let moved = host.cache.set_connection_state(host.now, kept[0], &host.peer, ConnState::inactive(TLS)).unwrap();
    assert_eq!(moved.evicted.map(|evicted| (evicted.id, evicted.reason)), Some((kept[0], Reason::MaxInactive)));
    assert_eq!(host.reuse(), Some(Same(kept[1])));
}

#[test]
fn what_a_lowered_max_uses_ends_comes_from_expire_with_its_private_data() {
    let mut host = host(|_| ());
    host.keep(Light);
    let id = host.checkout().unwrap();
    let state = ConnState::inactive(PLAIN).private("data");
    drop(host.cache.set_connection_state(host.now, id, &host.peer, state).unwrap());
    let fresh = host.keep(Light);
    host.cache.set_limits(limits(|l| l.max_uses = Some(2))).unwrap();
    assert!(host.cache.next_deadline().is_some_and(|due| due <= host.now));
    let evicted = host.cache.expire(host.now).expect("it had two owners");
    assert_eq!((evicted.id, evicted.reason, evicted.private.is_some()), (id, Reason::MaxUses, true));
    assert_eq!((host.expire(), host.reuse()), (None, Some(Same(fresh))));
}

#[test]
fn lowering_max_inactive_spares_the_healthy_while_those_of_a_closed_peer_go() {
    for closed_first in [true, false] {
        let mut host = host(|_| ());
        let closed = Peer::direct("closed", 1);
        let mut healthy = Vec::new();
        for turn in [closed_first, !closed_first] {
            for _ in 0..5 {
                if turn {
                    let id = host.cache.insert(host.now, Light, &closed, PLAIN, ME).unwrap();
                    assert_eq!(host.checkin(id), None);
                } else {
                    healthy.push(host.keep(Light));
                }
            }
        }
        host.cache.close_peer(&closed);
        host.cache.set_limits(limits(|l| l.max_inactive = Some(5))).unwrap();
        let gone = host.expire_all();
        assert_eq!(gone.iter().filter(|(_, reason)| *reason == Reason::ClosedPeer).count(), 5, "{gone:?}");
        assert_eq!((gone.len(), host.cache.counts().inactive, healthy.len()), (5, 5, 5));
    }
}

#[test]
fn lowering_max_inactive_alone_is_no_error_and_the_smaller_number_counts() {
    let mut host = host(|l| (l.max_inactive, l.max_inactive_per_peer) = (Some(100), Some(10)));
    let all = keep_many(&mut host, 5);
    let mut emergency = host.cache.limits().clone();
    emergency.max_inactive = Some(2);
    host.cache.set_limits(emergency).unwrap();
    assert_eq!(host.expire_all(), [0, 1, 2].map(|at| (all[at], Reason::MaxInactive)));
    let newcomer = host.insert(Light);
    assert_eq!(host.checkin(newcomer), Some((all[3], Reason::MaxInactive)));
}

#[test]
fn what_is_condemned_is_counted_apart() {
    let mut host = host(|_| ());
    keep_many(&mut host, 5);
    host.cache.set_limits(limits(|l| l.max_inactive = Some(3))).unwrap();
    let seen = |host: &Host<Light>| {
        let each: Vec<_> = host.cache.peers().map(|(_, _, counts)| counts).collect();
        assert_eq!(each, [host.cache.counts()]);
        assert_eq!(host.cache.counts_of(&host.peer, PLAIN), host.cache.counts());
        (host.cache.counts().inactive, host.cache.counts().condemned)
    };
    assert_eq!(seen(&host), (5, 2));
    assert!(host.expire().is_some());
    assert_eq!(seen(&host), (4, 1));
    assert!(host.cache.shed().is_some());
    assert_eq!(seen(&host), (3, 0));
}

/// A host that changes its limits all the time and doesn't call `expire`.
#[test]
fn condemned_ones_do_not_build_up_without_expire() {
    let most = |most: usize| limits(|l| l.max_inactive = Some(most));
    for peak in [10, 100] {
        let mut host = Host::new(most(peak));
        keep_many(&mut host, peak);
        for turn in 0..1_000 {
            host.cache.set_limits(most(if turn % 3 == 0 { 10 } else { 1_000 })).unwrap();
            let before = host.cache.counts();
            let id = host.insert(Light);
            let gone = host.checkin(id);
            assert!(before.condemned == 0 || gone.is_some_and(|(gone, _)| gone != id), "each checkin evicts one");
        }
        // As many as there were at the peak, and those let in between two times of lowering.
        assert!(host.cache.counts().inactive <= peak + 2, "{:?}", host.cache.counts());
    }
}

#[test]
fn for_room_one_that_has_run_out_goes_before_a_live_one() {
    for per_peer in [false, true] {
        let mut host = host(|l| if per_peer { l.max_inactive_per_peer = Some(3) } else { l.max_inactive = Some(3) });
        let oldest = host.keep(Light);
        let ending = host.insert(Light);
        assert!(host.cache.checkin_until(host.now, ending, host.now + SECOND).unwrap().is_none());
        let third = host.keep(Light);
        let early = host.insert(Light);
        host.now += SECOND;
        assert_eq!(host.checkin(early), Some((ending, Reason::Deadline)), "per peer: {per_peer}");
        let late = host.insert(Light);
        let reason = if per_peer { Reason::MaxInactivePerPeer } else { Reason::MaxInactive };
        assert_eq!(host.checkin(late), Some((oldest, reason)), "none has run out");
        assert!([third, early, late].iter().all(|&id| host.cache.get(id).is_some()));
    }
}

/// One that is condemned and has run out makes no room by going: the limit holds all the same.
#[test]
fn one_condemned_that_has_run_out_makes_no_room() {
    let mut host = host(|_| ());
    let ending = host.insert(Light);
    assert!(host.cache.checkin_until(host.now, ending, host.now + SECOND).unwrap().is_none());
    let kept = keep_many(&mut host, 2);
    host.cache.set_limits(limits(|l| l.max_inactive = Some(2))).unwrap();
    host.now += SECOND;
    let newcomer = host.insert(Light);
    assert_eq!(host.checkin(newcomer), Some((ending, Reason::MaxInactive)));
    assert_eq!([(); 3].map(|()| host.reuse()), [Some(Same(newcomer)), Some(Same(kept[1])), None]);
}

/// A host that goes through more peers in turns than it keeps.
#[test]
fn a_cycle_through_too_many_peers_reuses_none_but_the_residents() {
    const PEERS: u16 = 2_000;
    const KEPT: usize = 500;
    let go_around = |policy: Box<dyn Policy>, limits: Limits| {
        let poll = Poll::new().unwrap();
        let mut cache: Cache<Light, _> = Cache::with_policy(policy).limits(limits).build(poll.registry()).unwrap();
        let now = Instant::now();
        for port in (0..4).flat_map(|_| 0..PEERS) {
            let peer = Peer::direct("host", port);
            let found = cache.checkout(now, &peer, PLAIN, ME).map(|found| found.id);
            let id = found.unwrap_or_else(|| cache.insert(now, Light, &peer, PLAIN, ME).unwrap());
            drop(cache.checkin(now, id).unwrap());
        }
        (cache.stats().handed_out, cache.counts().inactive)
    };
    let limited = limits(|l| l.max_inactive = Some(KEPT));
    assert_eq!(go_around(Box::new(Aggressive), limited), (0, KEPT));
    assert_eq!(go_around(Box::new(KeepResidents(KEPT)), Limits::default()), (3 * KEPT as u64, KEPT));
}
