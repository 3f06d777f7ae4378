//! Turns between peers and between channel bindings, and what they cost in reuse.

use super::*;
use crate::common::TLS;
use crate::common::random::{Random, for_seeds};
use conncache::mio::{Interest, Token};
use conncache::{Cause, ConnState, Evicted, ParkOptions, Reason};
use std::collections::VecDeque;

#[test]
fn peers_take_turns_where_the_total_binds() {
    let mut host = host(|l| l.max_connections = Some(1));
    let id = host.open(9);
    let waiters: Vec<[WaiterId; 3]> = (0..2).map(|_| [1, 2, 3].map(|to| host.wait(to))).collect();
    drop(host.cache.close_connection(id).unwrap());
    let mut served = Vec::new();
    for _ in 0..6 {
        let (waiter, place) = host.granted_place();
        served.push(waiter);
        host.cache.give_up(place);
    }
    assert_eq!(served, waiters.concat());
}

#[test]
fn a_line_that_is_passed_over_gets_a_connection_after_eight_turns() {
    let mut host = host(|l| l.max_connections = Some(2));
    let mut busy = [host.open(1), host.open(1)];
    let other = host.wait(2);
    let mut turns = 0;
    let place = 'served: loop {
        for id in &mut busy {
            host.wait(1);
            turns += 1;
            if !host.checkin(*id) {
                break 'served host.granted_place();
            }
            *id = host.granted_reuse().1;
        }
    };
    assert_eq!((place.0, turns), (other, 9));
    assert_eq!(host.cache.stats().left(Reason::MadeRoom), 1);
}

/// The bound, and the price: 12 peers under two channel bindings each share 4 connections.
#[test]
fn everybody_is_served_in_bounded_time_and_most_connections_are_reused() {
    let mut host = host(|l| l.max_connections = Some(4));
    let mut random = Random::new(1);
    let (mut waiting, mut out): (VecDeque<(WaiterId, usize, usize)>, Vec<ConnId>) = Default::default();
    let (mut served, mut reused, mut longest, requests) = (0, 0, 0, 10_000);
    // 24 lines, each passed over eight times at most before one of them gets its turn.
    let most_for_each_ahead = 24 * 9;
    let mut asked = 0;
    while served < requests {
        while asked < requests && waiting.len() < 60 {
            let (to, channel) = (random.below(12) as u16, ChannelBindingId(random.below(2) as u64));
            asked += 1;
            match host.cache.request(host.now, &peer(to), channel, ME, None).unwrap() {
                Requested::Wait(waiter) => {
                    let ahead = host.cache.counts_of(&peer(to), channel).waiting;
                    waiting.push_back((waiter, served, ahead));
                }
                Requested::Reuse(found) => out.push(found.id),
                Requested::Open { place, .. } => out.push(host.insert_at(place)),
            }
        }
        while let Some(grant) = host.grant() {
            let at = waiting.iter().position(|(waiter, ..)| *waiter == grant.waiter).unwrap();
            let (_, since, ahead) = waiting.remove(at).unwrap();
            assert!(served - since <= ahead * most_for_each_ahead, "{} with {ahead} ahead", served - since);
            longest = longest.max(served - since);
            out.push(match grant.granted {
                Granted::Reuse(found) => found.id,
                Granted::Open { place, .. } => host.insert_at(place),
                other => panic!("{other:?}"),
            });
            reused += usize::from(host.cache.iter().any(|entry| entry.id == *out.last().unwrap() && entry.uses > 1));
        }
        assert!(host.all() <= 4);
        let id = out.swap_remove(random.below(out.len()));
        host.checkin(id);
        served += 1;
    }
    println!("reused {reused} of {requests}, longest wait {longest} services of others");
    println!("closed to make room: {}", host.cache.stats().left(Reason::MadeRoom));
    assert!(reused > requests / 2, "{reused}");
}

/// How many services it takes until the last one who waits is served, while others come again and again for `busy`.
fn services_until_served(host: &mut Host, busy: Vec<ConnId>, of: &[(u16, ChannelBindingId)], last: WaiterId) -> usize {
    let mut busy: Vec<_> = of.iter().copied().zip(busy).collect();
    for services in 1..200 {
        let ((to, channel), id) = busy.remove(0);
        let Requested::Wait(_) = host.cache.request(host.now, &peer(to), channel, ME, None).unwrap() else { panic!() };
        if host.checkin(id) {
            busy.push(((to, channel), host.granted_reuse().1));
        } else if host.granted_place().0 == last {
            return services;
        }
    }
    panic!("starved");
}

#[test]
fn a_channel_without_a_connection_is_served_though_the_limit_that_binds_is_that_on_all() {
    let mut host = host(|l| l.max_connections = Some(1));
    let id = host.open(1);
    let Requested::Wait(last) = host.cache.request(host.now, &peer(1), TLS, ME, None).unwrap() else { panic!() };
    assert_eq!(services_until_served(&mut host, vec![id], &[(1, PLAIN)], last), 9);
}

#[test]
fn a_peer_without_a_connection_is_served_though_others_with_one_are_ahead_of_it() {
    let mut host = host(|l| l.max_connections = Some(3));
    let ids = [1, 2, 3].map(|to| host.open(to)).to_vec();
    for to in [1, 2, 3] {
        host.wait(to);
    }
    let last = host.wait(4);
    assert!(services_until_served(&mut host, ids, &[1, 2, 3].map(|to| (to, PLAIN)), last) <= 4 * (8 + 4));
}

/// The peer's only connection is under another channel binding, and doesn't come back.
#[test]
fn a_channel_without_a_connection_is_served_though_its_peer_has_one() {
    let mut host = host(|l| l.max_connections = Some(2));
    host.open(1);
    let busy = host.open(2);
    let Requested::Wait(last) = host.cache.request(host.now, &peer(1), TLS, ME, None).unwrap() else { panic!() };
    assert_eq!(services_until_served(&mut host, vec![busy], &[(2, PLAIN)], last), 9);
}

#[test]
fn room_made_for_another_is_for_that_one_even_if_the_own_line_is_first() {
    let mut host = host(|l| l.max_connections = Some(1));
    let id = host.open(1);
    host.wait(1);
    let last = host.wait(2);
    assert_eq!(services_until_served(&mut host, vec![id], &[(1, PLAIN)], last), 9);
}

/// One run, at random: most connections are wanted for one pair. Either by those in its line, or by somebody who takes
/// them again and again without a request, perhaps several in one turn.
fn nobody_is_passed_over_too_often(seed: u64, takes_without_requests: bool) {
    let mut random = Random::new(seed);
    let (peers, channels) = (1 + random.below(10), 1 + random.below(3));
    let (most, to_peer) = (1 + random.below(6), random.one_in(2).then(|| 1 + random.below(3)));
    let mut host = host(|l| (l.max_connections, l.max_connections_per_peer) = (Some(most), to_peer));
    let (mut waiting, mut out): (Vec<(WaiterId, usize, usize)>, VecDeque<ConnId>) = Default::default();
    let (lines, mut served) = (peers * channels, 0);
    if takes_without_requests {
        let inserted = |_: usize| host.cache.insert(host.now, Light, &peer(0), PLAIN, ME).ok();
        out.extend((0..most).filter_map(inserted));
    }
    while served < 1_500 {
        while waiting.len() < 40 {
            let pair = match random.one_in(2) {
                true if takes_without_requests => lines - 1,
                true => 0,
                false => random.below(lines),
            };
            let (to, channel) = ((pair / channels) as u16, ChannelBindingId((pair % channels) as u64));
            match host.cache.request(host.now, &peer(to), channel, ME, None).unwrap() {
                Requested::Wait(waiter) => {
                    waiting.push((waiter, served, host.cache.counts_of(&peer(to), channel).waiting));
                }
                Requested::Reuse(found) => out.push_back(found.id),
                Requested::Open { place, .. } => out.push_back(host.insert_at(place)),
            }
        }
        while let Some(grant) = host.grant() {
            let at = waiting.iter().position(|(waiter, ..)| *waiter == grant.waiter).unwrap();
            waiting.remove(at);
            out.push_back(match grant.granted {
                Granted::Reuse(found) => found.id,
                Granted::Open { place, .. } => host.insert_at(place),
                other => panic!("{other:?}"),
            });
        }
        for &(_, since, ahead) in &waiting {
            let bound = ahead * lines * (8 + lines) + most;
            assert!(served - since <= bound, "{} services, {lines} lines, {ahead} ahead", served - since);
        }
        let returns = if takes_without_requests { 1 + random.below(most) } else { 1 };
        for _ in 0..returns.min(out.len()) {
            let id = out.pop_front().expect("so many are out");
            let (to, channel) = (host.cache.peer(id).unwrap().clone(), host.cache.channel(id).unwrap());
            host.checkin(id);
            served += 1;
            if takes_without_requests && (to, channel) == (peer(0), PLAIN) {
                out.extend(host.cache.checkout(host.now, &peer(0), PLAIN, ME).map(|found| found.id));
            }
        }
        assert!(host.cache.counts().active > 0 || host.is_due(), "nobody is served");
    }
}

#[test]
fn nobody_is_passed_over_more_often_than_stated() {
    for_seeds(0..40, |seed| nobody_is_passed_over_too_often(seed, false));
}

#[test]
fn nobody_is_passed_over_more_often_than_stated_by_those_who_take_without_a_request() {
    for_seeds(0..40, |seed| nobody_is_passed_over_too_often(seed, true));
}

/// As in a crawler: whoever has done one request makes the next one to the same peer in the same turn.
#[test]
fn whoever_asks_again_at_once_does_not_starve_those_who_wait() {
    let mut host = host(|l| l.max_connections = Some(1));
    let (mut id, other) = (host.open(1), host.wait(2));
    let mut turns = 0;
    let place = loop {
        turns += 1;
        assert!(turns < 100, "it waits for ever");
        host.nothing_to_grant();
        if !host.checkin(id) {
            break host.granted_place();
        }
        id = host.reuse(1).id;
    };
    assert_eq!((place.0, turns), (other, 9));
    assert_eq!(host.cache.stats().left(Reason::MadeRoom), 1);
}

#[test]
fn whoever_asks_again_at_once_does_not_starve_those_who_wait_for_another_channel() {
    let mut host = host(|l| l.max_connections_per_peer = Some(1));
    let mut id = host.open(1);
    let Requested::Wait(other) = host.cache.request(host.now, &peer(1), TLS, ME, None).unwrap() else { panic!() };
    host.nothing_to_grant();
    for _ in 0..8 {
        assert!(host.checkin(id));
        id = host.reuse(1).id;
    }
    assert!(!host.checkin(id));
    assert_eq!(host.granted_place().0, other);
}

/// Gives a connection back and takes it again without a request, in one turn of the loop; `None` if that doesn't go.
type Again = fn(&mut Host, ConnId, u64) -> Option<ConnId>;

const AGAIN: [Again; 4] = [
    |host, id, _| Some(host.checkin(id).then(|| checkout(host, &peer(1), PLAIN))?.id),
    |host, id, _| {
        let found = host.checkin(id).then(|| host.cache.find_inactive_connection(host.now, &peer(1), PLAIN))?;
        let (id, _) = found.expect("nobody waits for it");
        Some(host.cache.set_connection_state(host.now, id, &peer(1), ConnState::Active(ME)).unwrap().id)
    },
    |host, id, _| {
        let change = host.cache.set_connection_state(host.now, id, &peer(1), ConnState::inactive(PLAIN)).unwrap();
        Some(change.evicted.is_none().then(|| checkout(host, &peer(1), PLAIN))?.id)
    },
    // Under another channel binding each time.
    |host, id, turn| {
        let channel = ChannelBindingId(100 + turn);
        let change = host.cache.set_connection_state(host.now, id, &peer(1), ConnState::inactive(channel)).unwrap();
        Some(change.evicted.is_none().then(|| checkout(host, &peer(1), channel))?.id)
    },
];

/// To another peer each time.
const AGAIN_ELSEWHERE: Again = |host, id, turn| {
    let to = peer(100 + turn as u16);
    let change = host.cache.set_connection_state(host.now, id, &to, ConnState::inactive(PLAIN)).unwrap();
    Some(change.evicted.is_none().then(|| checkout(host, &to, PLAIN))?.id)
};

/// Another connection each time.
const ANEW: [Again; 2] = [
    |host, id, _| {
        drop(host.cache.close_connection(id).unwrap());
        host.cache.insert(host.now, Light, &peer(1), PLAIN, ME).ok()
    },
    |host, id, _| {
        let removed = host.cache.remove(id).unwrap();
        host.cache.adopt(host.now, removed, ME).ok()
    },
];

fn checkout(host: &mut Host, to: &Peer, channel: ChannelBindingId) -> Found {
    host.cache.checkout(host.now, to, channel, ME).expect("nobody waits for it")
}

/// How often that goes well before it is somebody else's turn.
fn turns(host: &mut Host, mut id: ConnId, again: Again) -> u64 {
    for turn in 0..100 {
        host.nothing_to_grant();
        match again(host, id, turn) {
            Some(next) => id = next,
            None => return turn,
        }
    }
    panic!("the others wait for ever");
}

#[test]
fn whoever_takes_without_a_request_does_not_starve_those_who_wait() {
    let again = AGAIN.into_iter().chain([AGAIN_ELSEWHERE]).map(|again| (again, 8));
    for (again, most) in again.chain(ANEW.map(|again| (again, 0))) {
        let mut host = host(|l| l.max_connections = Some(1));
        let (id, other) = (host.open(1), host.wait(2));
        assert_eq!(turns(&mut host, id, again), most);
        assert_eq!(host.granted_place().0, other);
    }
}

#[test]
fn whoever_takes_without_a_request_does_not_starve_those_who_wait_for_another_channel() {
    for (again, most) in AGAIN.map(|again| (again, 8)).into_iter().chain(ANEW.map(|again| (again, 0))) {
        let mut host = host(|l| l.max_connections_per_peer = Some(1));
        let id = host.open(1);
        let Requested::Wait(other) = host.cache.request(host.now, &peer(1), TLS, ME, None).unwrap() else { panic!() };
        assert_eq!(turns(&mut host, id, again), most);
        assert_eq!(host.granted_place().0, other);
    }
}

/// What a host has taken counts for no limit: it makes room.
#[test]
fn whoever_takes_into_a_table_of_its_own_passes_nobody_over() {
    let mut host = host(|l| l.max_connections = Some(1));
    let (id, other) = (host.open(1), host.wait(2));
    assert!(host.checkin(id));
    let taken = host.cache.take(host.now, &peer(1), PLAIN, Token(1), Interest::READABLE).unwrap();
    assert!(taken.is_some());
    assert_eq!(host.granted_place().0, other);
}

/// The host removes a connection and parks it in the same turn of the loop, and it serves its own line each time.
#[test]
fn whoever_parks_what_it_removed_does_not_starve_those_who_wait() {
    let park = |host: &mut Host, id: ConnId| {
        let Evicted { conn, peer, channel, history, .. } = host.cache.remove(id).unwrap();
        host.cache.park(host.now, conn, &peer, channel, ParkOptions::default().history(history))
    };
    for (to, channel, per_peer) in [(2, PLAIN, false), (1, TLS, false), (1, TLS, true)] {
        let limit = |l: &mut Limits| match per_peer {
            true => l.max_connections_per_peer = Some(1),
            false => l.max_connections = Some(1),
        };
        let mut host = host(limit);
        let mut id = host.open(1);
        let Requested::Wait(other) = host.cache.request(host.now, &peer(to), channel, ME, None).unwrap() else {
            panic!()
        };
        for _ in 0..8 {
            host.wait(1);
            assert!(park(&mut host, id).unwrap().evicted.is_none());
            id = host.granted_reuse().1;
        }
        host.wait(1);
        let error = park(&mut host, id).unwrap_err();
        assert!(matches!(error.cause, Cause::OthersWait), "{error}");
        assert_eq!(host.granted_place().0, other);
    }
}

/// As many connections come back in each turn as the host takes grants, and one more once: one is always there to reuse.
#[test]
fn who_takes_one_grant_in_each_turn_leaves_no_room_unused() {
    for per_peer in [false, true] {
        let mut host =
            host(|l| if per_peer { l.max_connections_per_peer = Some(3) } else { l.max_connections = Some(3) });
        let mut busy = VecDeque::from([1, 1, 1].map(|to| host.open(to)));
        host.wait(1);
        host.wait(1);
        let (to, channel) = if per_peer { (1, TLS) } else { (2, PLAIN) };
        let Requested::Wait(other) = host.cache.request(host.now, &peer(to), channel, ME, None).unwrap() else {
            panic!()
        };
        assert!(host.checkin(busy.pop_front().expect("it has three")));
        let mut services = 0;
        loop {
            host.wait(1);
            host.checkin(busy.pop_front().expect("one is given back, one is granted"));
            let grant = host.grant().expect("it always has one");
            match grant.granted {
                Granted::Reuse(found) => busy.push_back(found.id),
                _ => break assert_eq!(grant.waiter, other),
            }
            services += 1;
            assert!(services <= 2 * (8 + 2) + 3, "starved");
        }
    }
}

/// As many are being opened as may: nobody could open where a connection made room.
#[test]
fn no_connection_makes_room_for_another_channel_that_cannot_open_one() {
    let mut host = host(|l| (l.max_connections_per_peer, l.max_connecting_per_peer) = (Some(2), Some(1)));
    let mut id = host.open(1);
    host.cache.established(id).unwrap();
    let place = host.place(1);
    let Requested::Wait(other) = host.cache.request(host.now, &peer(1), TLS, ME, None).unwrap() else { panic!() };
    for _ in 0..20 {
        host.wait(1);
        assert!(host.checkin(id), "it was closed in vain");
        id = host.granted_reuse().1;
    }
    let opened = host.insert_at(place);
    host.cache.established(opened).unwrap();
    host.wait(1);
    let yielded = (0..10).any(|_| {
        host.wait(1);
        let yielded = !host.checkin(id);
        if !yielded {
            id = host.granted_reuse().1;
        }
        yielded
    });
    assert!(yielded);
    assert_eq!(host.granted_place().0, other);
}

/// The same for another peer: as many are being opened there as may, or it has as many connections as it may.
#[test]
fn no_connection_makes_room_for_another_peer_that_cannot_open_one() {
    for is_full in [false, true] {
        let mut host = host(|l| {
            l.max_connections = Some(2);
            if is_full { l.max_connections_per_peer = Some(1) } else { l.max_connecting_per_peer = Some(1) }
        });
        let mut id = host.open(1);
        host.cache.established(id).unwrap();
        let _place = host.place(2);
        host.wait_under(2, TLS);
        for _ in 0..20 {
            host.wait(1);
            assert!(host.checkin(id), "it was closed in vain");
            id = host.granted_reuse().1;
        }
    }
}

/// The other line has one connection, which doesn't come back.
#[test]
fn a_connection_makes_room_for_a_line_with_two_fewer_and_not_for_one_with_one_fewer() {
    for (to, channel) in [(2, PLAIN), (1, TLS)] {
        for ours in [2, 3] {
            let mut host = host(|l| l.max_connections = Some(ours + 1));
            let mut busy: Vec<ConnId> = (0..ours).map(|_| host.open(1)).collect();
            host.cache.insert(host.now, Light, &peer(to), channel, ME).unwrap();
            let last = host.wait_under(to, channel);
            if ours == 3 {
                assert_eq!(services_until_served(&mut host, busy, &[(1, PLAIN); 3], last), 9);
                continue;
            }
            for _ in 0..30 {
                host.wait(1);
                let id = busy.remove(0);
                assert!(host.checkin(id));
                busy.push(host.granted_reuse().1);
            }
        }
    }
}

/// Its connection doesn't come back.
#[test]
fn a_channel_without_a_connection_is_served_though_one_with_a_connection_is_ahead_of_it() {
    let mut host = host(|l| l.max_connections_per_peer = Some(2));
    let busy = host.open(1);
    host.cache.insert(host.now, Light, &peer(1), TLS, ME).unwrap();
    host.wait_under(1, TLS);
    let last = host.wait_under(1, ChannelBindingId(2));
    assert_eq!(services_until_served(&mut host, vec![busy], &[(1, PLAIN)], last), 10);
}

#[test]
fn room_made_for_another_channel_is_for_that_one_even_if_other_peers_are_ahead() {
    let mut host = host(|l| l.max_connections = Some(3));
    let busy = [1, 2, 3].map(|to| host.open(to))[0];
    host.wait(2);
    host.wait(3);
    let last = host.wait_under(1, TLS);
    assert_eq!(services_until_served(&mut host, vec![busy], &[(1, PLAIN)], last), 9);
}

/// While nobody waits for the peer, nobody is passed over there.
#[test]
fn only_those_are_passed_over_who_wait() {
    let mut host = host(|l| l.max_connections_per_peer = Some(1));
    let mut id = host.open(1);
    host.open(2);
    host.wait(2);
    for _ in 0..20 {
        assert!(host.checkin(id));
        id = host.reuse(1).id;
    }
    let last = host.wait_under(1, TLS);
    assert_eq!(services_until_served(&mut host, vec![id], &[(1, PLAIN)], last), 9);
}

/// While the peer has room, and it is another limit that keeps somebody waiting, nobody is passed over there.
#[test]
fn nobody_is_passed_over_while_there_is_room() {
    let mut host = host(|l| (l.max_connections_per_peer, l.max_connecting_per_peer) = (Some(3), Some(1)));
    let mut id = host.open(1);
    host.cache.established(id).unwrap();
    let place = host.place(1);
    let last = host.wait_under(1, TLS);
    for _ in 0..20 {
        assert!(host.checkin(id));
        id = host.reuse(1).id;
    }
    host.insert_at(place);
    host.cache.set_limits(common::limits(|l| l.max_connections_per_peer = Some(2))).unwrap();
    assert_eq!(services_until_served(&mut host, vec![id], &[(1, PLAIN)], last), 9);
}

/// It takes no room that a waiting request could have, because another one leaves for it.
#[test]
fn what_is_parked_in_exchange_for_another_makes_no_room_for_those_who_were_passed_over() {
    for (to, channel, per_peer) in [(2, PLAIN, false), (1, TLS, false), (1, TLS, true)] {
        let limit = |l: &mut Limits| match per_peer {
            true => l.max_connections_per_peer = Some(2),
            false => l.max_connections = Some(2),
        };
        let mut host = host(limit);
        let [old, mut id] = [host.open(1), host.open(1)];
        let Requested::Wait(other) = host.cache.request(host.now, &peer(to), channel, ME, None).unwrap() else {
            panic!()
        };
        assert!(host.checkin(old));
        for _ in 0..8 {
            assert!(host.checkin(id));
            id = checkout(&mut host, &peer(1), PLAIN).id;
        }
        let parked = host.cache.park(host.now, Light, &peer(1), PLAIN, ParkOptions::default()).unwrap();
        assert_eq!(parked.evicted.map(|evicted| evicted.reason), Some(Reason::MadeRoom));
        assert!(!host.checkin(id), "the others were passed over often enough");
        assert_eq!(host.granted_place().0, other);
    }
}

/// There is room for another line, too, but the last grant was a place already.
#[test]
fn after_a_place_a_connection_that_came_back_is_next() {
    let mut host = host(|l| l.max_connections = Some(3));
    let [own, second, third] = [1, 1, 1].map(|to| host.open(to));
    let [first, last, reuses] = [2, 3, 1].map(|to| host.wait(to));
    drop(host.cache.close_connection(second).unwrap());
    let (served, _place) = host.granted_place();
    assert_eq!(served, first);
    drop(host.cache.close_connection(third).unwrap());
    assert!(host.checkin(own));
    assert_eq!(host.granted_reuse().0, reuses);
    assert_eq!(host.granted_place().0, last);
}
