//! Turns between peers and between channel bindings, and what they cost in reuse.

use super::*;
use crate::common::TLS;
use crate::common::random::{Random, for_seeds};
use conncache::{ChannelBindingId, Reason};
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

#[test]
fn room_made_for_another_is_for_that_one_even_if_the_own_line_is_first() {
    let mut host = host(|l| l.max_connections = Some(1));
    let id = host.open(1);
    host.wait(1);
    let last = host.wait(2);
    assert_eq!(services_until_served(&mut host, vec![id], &[(1, PLAIN)], last), 9);
}

#[test]
fn nobody_is_passed_over_more_often_than_stated() {
    for_seeds(0..40, |seed| {
        let mut random = Random::new(seed);
        let (peers, channels) = (1 + random.below(10), 1 + random.below(3));
        let (most, to_peer) = (1 + random.below(6), random.one_in(2).then(|| 1 + random.below(3)));
        let mut host = host(|l| (l.max_connections, l.max_connections_per_peer) = (Some(most), to_peer));
        let (mut waiting, mut out): (Vec<(WaiterId, usize, usize)>, VecDeque<ConnId>) = Default::default();
        let lines = peers * channels;
        for served in 0..1_500 {
            while waiting.len() < 40 {
                // Most are for the same one.
                let pair = if random.one_in(2) { 0 } else { random.below(lines) };
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
                let (_, since, ahead) = waiting.remove(at);
                let bound = ahead * lines * (8 + lines) + most;
                assert!(served - since <= bound, "{} services, {lines} lines, {ahead} ahead", served - since);
                out.push_back(match grant.granted {
                    Granted::Reuse(found) => found.id,
                    Granted::Open { place, .. } => host.insert_at(place),
                    other => panic!("{other:?}"),
                });
            }
            let id = out.pop_front().expect("somebody is served");
            host.checkin(id);
        }
    });
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
