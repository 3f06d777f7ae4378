//! Limits that change while the cache is in use.

use crate::common::host::Host;
use crate::common::light::Light;
use crate::common::{ME, PLAIN, SECOND, Same, TLS, limits};
use crate::{host, keep_many};
use conncache::mio::Poll;
use conncache::{AggressiveCache, ConnId, ConnState, Limits, Peer, Reason};
use std::io;

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
    assert_eq!(host.expire_all(), all.into_iter().map(|id| (id, Reason::PeerClosed)).collect::<Vec<_>>());
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
        assert_eq!(gone.iter().filter(|(_, reason)| *reason == Reason::PeerClosed).count(), 5, "{gone:?}");
        assert_eq!((gone.len(), host.cache.counts().inactive, healthy.len()), (5, 5, 5));
    }
}
