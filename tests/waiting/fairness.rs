//! Turns between peers and between channel bindings, and what they cost in reuse.

use super::*;
use crate::common::random::Random;
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
