//! C3: what operations cost with few and with many connections.

use crate::fixtures::{ME, Ours, PLAIN, Random, order};
use crate::measure::{Spread, nanos};
use crate::report::{Effort, Report};
use conncache::{ConnId, ConnState, Reason};
use std::time::Duration;

const PEERS: usize = 100;
/// Operations in one round: fewer than there are connections, so that many can be done to different ones.
const BATCH: usize = 400;

/// An operation: does it [`BATCH`] times, puts things right again, and says how many nanoseconds one took.
type Operation = fn(&mut World) -> f64;

/// A doubly linked list through an array, of nodes as large as a record: what memory costs at this size.
struct Node {
    newer: u32,
    older: u32,
    used: [u64; 12],
}

/// A cache and what the operations need to know of it.
struct World {
    ours: Ours,
    ids: Vec<ConnId>,
    random: Random,
    list: Vec<Node>,
}

const OPERATIONS: [(&str, Operation); 9] = [
    ("(a bare list) unlink + push", bare_list),
    ("checkout + checkin", cycle),
    ("insert + close_connection, active", insert_and_close),
    ("set_connection_state, to active and back", set_state),
    ("close_connection, inactive", close),
    ("shed", shed),
    ("expire, idle time-out", expire_idle),
    ("checkin_until", checkin_until),
    ("next_deadline + expire, own deadline", expire_deadline),
];

pub fn operations(report: &mut Report, effort: Effort) {
    let sizes = [1_000, effort.of(10_000, 100_000), effort.of(100_000, 1_000_000)];
    report.heading(
        "C3  nanoseconds to an operation, by the number of connections; any one of them at random, 100 peers",
        "O(1): grows at most 3 x as much as unlinking from a bare list of records as large, whose memory grows, too",
    );
    report.line(format_args!("{:<42}{:>9}{:>20}{:>20}   growth, over the list's", "", sizes[0], sizes[1], sizes[2]));
    let mut list_growth = Vec::new();
    for (name, operation) in OPERATIONS {
        let mut rounds: [Vec<f64>; 3] = Default::default();
        let mut worlds = sizes.map(World::new);
        for round in 0..effort.of(5, 41) {
            for (world, rounds) in worlds.iter_mut().zip(&mut rounds) {
                let nanos = operation(world);
                // The first round warms up.
                if round > 0 {
                    rounds.push(nanos);
                }
            }
        }
        let growth: Vec<f64> = rounds[2].iter().zip(&rounds[0]).map(|(many, few)| many / few).collect();
        if list_growth.is_empty() {
            list_growth = growth.clone();
        }
        let over = Spread::of_ratios(&growth, &list_growth);
        let [few, more, most] = rounds.map(Spread::of);
        let text = format!("{name:<36}{few:>16.0}{more:>20.0}{most:>20.0}   {:.1}, {over}", Spread::of(growth).median);
        // The list is the measure itself.
        match name.starts_with('(') {
            true => report.line(format_args!("{text}")),
            false => report.verdict(over.median <= 3.0, format_args!("{text}")),
        }
    }
}

impl World {
    fn new(connections: usize) -> World {
        let mut ours = Ours::new(PEERS, connections / PEERS, |builder| builder);
        let ids = ours.cache.iter().map(|entry| entry.id).collect();
        ours.now += Duration::from_secs(1);
        // In random order: neighbours in the list don't lie side by side.
        let mut random = Random(0x5eed);
        let mut order: Vec<u32> = (0..connections as u32).collect();
        (0..connections).for_each(|place| order.swap(place, place + random.below(connections - place)));
        let mut list: Vec<Node> = (0..connections).map(|_| Node { newer: 0, older: 0, used: [0; 12] }).collect();
        for (place, &node) in order.iter().enumerate() {
            let next = order[(place + 1) % connections];
            (list[node as usize].newer, list[next as usize].older) = (next, node);
        }
        World { ours, ids, random, list }
    }

    /// Different connections, drawn at random.
    fn draw(&mut self) -> Vec<usize> {
        for place in 0..BATCH {
            let other = place + self.random.below(self.ids.len() - place);
            self.ids.swap(place, other);
        }
        (0..BATCH).collect()
    }

    /// As many new inactive connections as are missing.
    fn refill(&mut self) {
        while self.ours.cache.counts().inactive < self.ids.len() {
            let peer = self.random.below(PEERS);
            self.ours.add(peer);
        }
    }
}

fn bare_list(world: &mut World) -> f64 {
    let World { list, ids, random, .. } = world;
    let drawn: Vec<usize> = (0..BATCH).map(|_| 1 + random.below(ids.len() - 1)).collect();
    nanos(BATCH, || {
        for &node in &drawn {
            let Node { newer, older, .. } = list[node];
            (list[newer as usize].older, list[older as usize].newer) = (older, newer);
            let newest = std::mem::replace(&mut list[0].older, node as u32);
            list[newest as usize].newer = node as u32;
            (list[node].newer, list[node].older) = (0, newest);
            list[node].used[0] += 1;
        }
    })
}

fn cycle(world: &mut World) -> f64 {
    let order = order(BATCH, PEERS);
    nanos(BATCH, || world.ours.cycle(&order))
}

fn insert_and_close(world: &mut World) -> f64 {
    nanos(BATCH, || {
        for peer in 0..BATCH {
            let id = world.ours.insert(peer % PEERS);
            assert!(world.ours.cache.close_connection(id).is_ok_and(|evicted| evicted.conn.leads_to == peer % PEERS));
        }
    })
}

fn set_state(world: &mut World) -> f64 {
    let drawn = world.draw();
    let World { ours: Ours { cache, peers, now, .. }, ids, .. } = world;
    let leads_to: Vec<usize> = drawn.iter().map(|&drawn| cache[ids[drawn]].leads_to).collect();
    nanos(BATCH, || {
        for (id, leads_to) in ids.iter_mut().zip(&leads_to) {
            for state in [ConnState::Active(ME), ConnState::inactive(PLAIN)] {
                let changed = cache.set_connection_state(*now, *id, &peers[*leads_to], state).expect("it is here");
                assert!(changed.evicted.is_none());
                *id = changed.id;
            }
        }
    })
}

fn close(world: &mut World) -> f64 {
    let drawn = world.draw();
    let World { ours: Ours { cache, .. }, ids, .. } = world;
    let time = nanos(BATCH, || {
        for &drawn in &drawn {
            assert!(cache.close_connection(ids[drawn]).is_ok());
        }
    });
    for drawn in drawn {
        let peer = world.random.below(PEERS);
        world.ids[drawn] = world.ours.add(peer);
    }
    time
}

fn shed(world: &mut World) -> f64 {
    let time = nanos(BATCH, || {
        for _ in 0..BATCH {
            assert!(world.ours.cache.shed().is_some_and(|evicted| evicted.reason == Reason::Shed));
        }
    });
    world.refill();
    time
}

fn expire_idle(world: &mut World) -> f64 {
    let mut limits = world.ours.cache.limits().clone();
    limits.idle_timeout = Some(Duration::from_secs(1));
    world.ours.cache.set_limits(limits).expect("they agree");
    // All have run out; some are asked for.
    world.ours.now += Duration::from_secs(1);
    let now = world.ours.now;
    let time = nanos(BATCH, || {
        for _ in 0..BATCH {
            assert!(world.ours.cache.expire(now).is_some_and(|evicted| evicted.reason == Reason::IdleTimeout));
        }
    });
    world.refill();
    time
}

/// Gives connections deadlines, at random but later than those there are.
fn checkin_until(world: &mut World) -> f64 {
    let World { ours: Ours { cache, peers, now, .. }, random, .. } = world;
    let ids: Vec<ConnId> = (0..BATCH)
        .map(|peer| cache.checkout(*now, &peers[peer % PEERS], PLAIN, ME).expect("one is inactive").id)
        .collect();
    let deadlines: Vec<_> =
        ids.iter().map(|_| *now + Duration::from_millis(1 + random.below(1 << 30) as u64)).collect();
    nanos(BATCH, || {
        for (id, deadline) in ids.iter().zip(&deadlines) {
            assert!(matches!(cache.checkin_until(*now, *id, *deadline), Ok(None)));
        }
    })
}

fn expire_deadline(world: &mut World) -> f64 {
    // The first time, each connection gets a deadline; later on, those that took a place.
    let with_deadline = |world: &mut World, id: ConnId| {
        let until = world.ours.now + Duration::from_millis(1 + world.random.below(1 << 30) as u64);
        let peer = world.ours.cache.peer(id).expect("a known connection").clone();
        let state = ConnState::inactive(PLAIN).until(until);
        assert!(world.ours.cache.set_connection_state(world.ours.now, id, &peer, state).is_ok());
    };
    if world.ours.cache.next_deadline().is_none() {
        for place in 0..world.ids.len() {
            with_deadline(world, world.ids[place]);
        }
    }
    let World { ours: Ours { cache, now, .. }, .. } = world;
    let time = nanos(BATCH, || {
        for _ in 0..BATCH {
            *now = cache.next_deadline().expect("each has one");
            assert!(cache.expire(*now).is_some_and(|evicted| evicted.reason == Reason::Deadline));
        }
    });
    while world.ours.cache.counts().inactive < world.ids.len() {
        let peer = world.random.below(PEERS);
        let id = world.ours.add(peer);
        with_deadline(world, id);
    }
    time
}
