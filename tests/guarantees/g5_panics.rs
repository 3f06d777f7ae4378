//! G5: whatever of the host's code panics inside a call (connection, policy, logger), nothing is left half done.
//!
//! Each operation is done again and again: the first of the host's functions that it calls panics, then the second, until
//! none is left. After each panic all invariants are checked that can be seen from outside, and the cache is dropped.

use crate::common::random::Random;
use crate::common::scripted::{Far, Scripted, Shared};
use crate::common::{PLAIN, SECOND, TLS, limits};
use crate::logger::listen;
use conncache::mio::event::Source;
use conncache::mio::{Interest, Poll, Registry, Token};
use conncache::{
    Cache, Candidate, ChannelBindingId, ConnId, ConnState, Connection, Counts, Limits, Owner, ParkOptions, Peer,
    Policy, Probe, Requested, Verdict, WaiterId,
};
use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Once;
use std::time::Instant;

thread_local! {
    /// Which of the host's functions panics, counted from now on. 0: none.
    static FUSE: Cell<u32> = const { Cell::new(0) };
}

/// What each of the host's functions does first.
fn trip() {
    let left = FUSE.get();
    FUSE.set(left.saturating_sub(1));
    assert_ne!(left, 1, "as the test wants");
}

struct Fused(Scripted);

impl Source for Fused {
    fn register(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        trip();
        self.0.register(registry, token, interest)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        trip();
        self.0.reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        trip();
        self.0.deregister(registry)
    }
}

impl Connection for Fused {
    fn probe(&mut self) -> Probe {
        trip();
        self.0.probe()
    }

    fn is_connected(&self) -> bool {
        trip();
        self.0.is_connected()
    }
}

/// Says what it is told to say.
struct Mood(Rc<Cell<Verdict>>);

impl Policy for Mood {
    fn on_inactive(&mut self, _: &Candidate<'_>) -> Verdict {
        trip();
        self.0.get()
    }

    fn max_connections(&mut self, _: &Peer) -> Option<usize> {
        trip();
        None
    }
}

const PEERS: u16 = 3;
const OWNERS: u64 = 4;

/// A cache with a bit of everything in it.
struct World {
    _poll: Poll,
    cache: Cache<Fused, Mood>,
    mood: Rc<Cell<Verdict>>,
    now: Instant,
    wires: Vec<Shared>,
}

fn peer(number: u16) -> Peer {
    Peer::direct("host", number % PEERS)
}

impl World {
    fn empty(limits: Limits) -> World {
        let (poll, mood) = (Poll::new().unwrap(), Rc::new(Cell::new(Verdict::Keep)));
        let cache = Cache::with_policy(Mood(Rc::clone(&mood))).limits(limits).build(poll.registry()).unwrap();
        World { _poll: poll, cache, mood, now: Instant::now(), wires: Vec::new() }
    }

    fn new(random: &mut Random) -> World {
        let mut world = World::empty(limits(|l| {
            if random.one_in(2) {
                (l.max_inactive, l.max_inactive_per_peer) = (Some(8), Some(3));
            }
            if random.one_in(2) {
                (l.max_lifetime, l.idle_timeout) = (Some(100 * SECOND), Some(50 * SECOND));
            }
        }));
        for number in 0..16 {
            let channel = ChannelBindingId(random.below(2) as u64);
            if number % 5 == 4 {
                let (conn, _) = world.registered();
                let options = ParkOptions::default().private_data(Some(Box::new(number)));
                let _ = world.cache.park(world.now, conn, &peer(number), channel, options);
                continue;
            }
            let (conn, owner) = (world.conn().0, Owner(u64::from(number) % OWNERS));
            let id = world.cache.insert(world.now, conn, &peer(number), channel, owner).unwrap();
            if number % 3 != 0 {
                drop(world.cache.checkin(world.now, id).unwrap());
            }
        }
        let doomed = random.below(6);
        for (number, wire) in world.wires.iter().enumerate() {
            wire.borrow_mut().far = if number % 6 == doomed { Far::Closed } else { Far::Quiet };
            wire.borrow_mut().fail_reregister = number % 7 == doomed;
        }
        match random.below(5) {
            0 => world.cache.close_peer(&peer(0)),
            1 => world.cache.close_channel(TLS),
            2 => world.cache.set_limits(crate::common::limits(|l| l.max_inactive = Some(2))).unwrap(),
            3 => world.now += 60 * SECOND,
            _ => {}
        }
        world.mood.set(if random.one_in(3) { Verdict::Close } else { Verdict::Keep });
        world
    }

    fn conn(&mut self) -> (Fused, Shared) {
        let (conn, wire) = Scripted::new(self.wires.len());
        self.wires.push(Rc::clone(&wire));
        (Fused(conn), wire)
    }

    fn registered(&mut self) -> (Fused, Shared) {
        let (conn, wire) = self.conn();
        wire.borrow_mut().registered = Some((Token(1), Interest::READABLE));
        (conn, wire)
    }

    fn some(&self, random: &mut Random, inactive: bool) -> Option<(ConnId, Peer)> {
        let fits = self.cache.iter().filter(|entry| entry.state.is_inactive() == inactive);
        let all: Vec<_> = fits.map(|entry| (entry.id, entry.peer.clone())).collect();
        (!all.is_empty()).then(|| all[random.below(all.len())].clone())
    }

    fn id(&self, random: &mut Random, inactive: bool) -> ConnId {
        self.some(random, inactive).expect("there is a bit of everything").0
    }

    /// Allows no more connections than there are.
    fn fill(&mut self) {
        let full = self.cache.counts();
        let narrow = limits(|l| l.max_connections = Some(full.active + full.inactive));
        self.cache.set_limits(narrow).unwrap();
    }

    /// Has two requests wait for a second, then gives all active connections back. The host's functions don't panic.
    fn wait_for_those_who_come_back(&mut self, random: &mut Random) -> (Peer, Vec<WaiterId>) {
        let fuse = FUSE.take();
        let (now, to) = (self.now, peer(random.below(9) as u16));
        // Nothing inactive is left that could serve them at once.
        while self.cache.shed().is_some() {}
        self.fill();
        let wait = |_| match self.cache.request(now, &to, PLAIN, Owner(1), Some(now + SECOND)) {
            Ok(Requested::Wait(waiter)) => waiter,
            other => panic!("{other:?}"),
        };
        let waiters = (0..2).map(wait).collect();
        let verdict = self.mood.replace(Verdict::Keep);
        while let Some((id, _)) = self.some(random, false) {
            let state = ConnState::inactive(PLAIN);
            let _ = self.cache.set_connection_state(now, id, &to, state);
        }
        self.mood.set(verdict);
        FUSE.set(fuse);
        (to, waiters)
    }
}

type Operation = fn(&mut World, &mut Random);

const OPERATIONS: [(&str, Operation); 28] = [
    ("insert", |world, random| {
        let (now, to) = (world.now, peer(random.below(9) as u16));
        let (conn, wire) = world.conn();
        wire.borrow_mut().fail_register = random.one_in(3);
        let _ = world.cache.insert(now, conn, &to, PLAIN, Owner(1));
    }),
    ("insert, to a peer that is new", |world, _| {
        let (now, conn) = (world.now, world.conn().0);
        assert!(world.cache.insert(now, conn, &Peer::direct("new", 1), PLAIN, Owner(1)).is_ok());
    }),
    ("checkout", |world, random| {
        let to = peer(random.below(9) as u16);
        let _ = world.cache.checkout(world.now, &to, PLAIN, Owner(2));
    }),
    ("checkin", |world, random| {
        let id = world.id(random, false);
        let _ = world.cache.checkin(world.now, id);
    }),
    ("checkin_until", |world, random| {
        let id = world.id(random, false);
        let _ = world.cache.checkin_until(world.now, id, world.now + SECOND);
    }),
    ("set_connection_state, active to inactive elsewhere", |world, random| {
        let id = world.id(random, false);
        let state = ConnState::inactive(TLS).private("data");
        let _ = world.cache.set_connection_state(world.now, id, &Peer::direct("new", 1), state);
    }),
    ("set_connection_state, inactive to inactive", |world, random| {
        let Some((id, peer)) = world.some(random, true) else { return };
        let _ = world.cache.set_connection_state(world.now, id, &peer, ConnState::inactive(PLAIN).private("data"));
    }),
    ("set_connection_state, inactive to inactive elsewhere", |world, random| {
        let Some((id, _)) = world.some(random, true) else { return };
        let state = ConnState::inactive(TLS).private("data");
        let _ = world.cache.set_connection_state(world.now, id, &Peer::direct("new", 1), state);
    }),
    ("set_connection_state, inactive to active", |world, random| {
        let Some((id, peer)) = world.some(random, true) else { return };
        let _ = world.cache.set_connection_state(world.now, id, &peer, ConnState::Active(Owner(3)));
    }),
    ("set_connection_state, active elsewhere", |world, random| {
        let id = world.id(random, false);
        let owner = world.cache.get_connection_state(id).unwrap().owner().unwrap();
        let _ = world.cache.set_connection_state(world.now, id, &Peer::direct("new", 1), ConnState::Active(owner));
    }),
    ("find_inactive_connection", |world, random| {
        let to = peer(random.below(9) as u16);
        let _ = world.cache.find_inactive_connection(world.now, &to, PLAIN);
    }),
    ("park", |world, random| {
        let (now, to) = (world.now, peer(random.below(9) as u16));
        let (conn, wire) = world.registered();
        wire.borrow_mut().connected = !random.one_in(5);
        let _ = world.cache.park(now, conn, &to, PLAIN, ParkOptions::default());
    }),
    ("park, to a peer that is new", |world, _| {
        let (now, conn) = (world.now, world.registered().0);
        let _ = world.cache.park(now, conn, &Peer::direct("new", 1), PLAIN, ParkOptions::default());
    }),
    ("take", |world, random| {
        let to = peer(random.below(9) as u16);
        let _ = world.cache.take(world.now, &to, PLAIN, Token(2), Interest::READABLE);
    }),
    ("handle_readiness", |world, random| {
        let (inactive, read_closed) = (random.one_in(2), random.one_in(2));
        let Some((id, _)) = world.some(random, inactive) else { return };
        let token = world.cache.token(id).unwrap();
        let _ = world.cache.handle_readiness(token, read_closed);
    }),
    ("expire", |world, _| while world.cache.expire(world.now).is_some() {}),
    ("shed", |world, _| drop(world.cache.shed())),
    ("close_connection", |world, random| {
        let inactive = random.one_in(2);
        let Some((id, _)) = world.some(random, inactive) else { return };
        drop(world.cache.close_connection(id));
    }),
    ("remove", |world, random| drop(world.cache.remove(world.id(random, false)))),
    ("close_peer, close_channel and drain", |world, _| {
        world.cache.close_peer(&peer(1));
        world.cache.close_channel(PLAIN);
        world.cache.drain();
    }),
    ("set_limits", |world, _| {
        world.cache.set_limits(limits(|l| (l.max_inactive, l.max_uses) = (Some(3), Some(1)))).unwrap();
    }),
    ("adopt", |world, random| {
        let id = world.id(random, false);
        let removed = world.cache.remove(id).unwrap();
        let _ = world.cache.adopt(world.now, removed, Owner(3));
    }),
    ("reopen", |world, random| {
        let id = world.id(random, false);
        world.fill();
        if let Ok((Some(place), _)) = world.cache.reopen(world.now, id, None) {
            let (now, conn) = (world.now, world.conn().0);
            assert!(world.cache.insert_at(now, place, conn).is_ok());
        }
    }),
    ("sweep", |world, _| while world.cache.sweep(3).is_some() {}),
    ("request, insert_at and grant", |world, random| {
        world.fill();
        for _ in 0..3 {
            let to = peer(random.below(9) as u16);
            match world.cache.request(world.now, &to, PLAIN, Owner(3), None) {
                Ok(Requested::Open { place, .. }) => {
                    let (now, conn) = (world.now, world.conn().0);
                    let _ = world.cache.insert_at(now, place, conn);
                }
                _ => drop(world.cache.grant(world.now)),
            }
        }
    }),
    ("grant, while more come back than wait", |world, random| {
        world.wait_for_those_who_come_back(random);
        while world.cache.grant(world.now).is_some() {}
    }),
    ("withdraw, refuse, and requests that time out", |world, random| {
        let (to, waiters) = world.wait_for_those_who_come_back(random);
        match random.below(3) {
            0 => waiters.into_iter().for_each(|waiter| world.cache.withdraw(waiter).unwrap()),
            1 => world.cache.refuse(&to),
            _ => while world.cache.grant(world.now + SECOND).is_some() {},
        }
    }),
    ("close_all", |world, _| world.cache.close_all()),
];

/// All that must hold at any time, as far as it can be seen from outside.
fn check(world: &World, at: &str) {
    let cache = &world.cache;
    let (mut seen, mut owned, mut sums) = (HashSet::new(), HashSet::new(), BTreeMap::<String, Counts>::new());
    for entry in cache.iter() {
        assert!(seen.insert(entry.id), "{at}: listed twice");
        let wire = &world.wires[entry.conn.0.number()];
        assert_eq!(wire.borrow().dropped, 0, "{at}: {entry:?} is dropped");
        assert!(wire.borrow().registered.is_some(), "{at}: {entry:?} isn't watched");
        assert!(cache.get(entry.id).is_some() && cache.peer(entry.id) == Some(entry.peer), "{at}");
        let sum = sums.entry(format!("{} {}", entry.peer, entry.channel)).or_default();
        match entry.state.owner() {
            Some(owner) => {
                sum.active += 1;
                assert!(owner.0 < OWNERS, "{at}: {owner:?} is nobody");
                owned.insert((owner, entry.id));
            }
            None => sum.inactive += 1,
        }
    }
    let listed =
        (0..2 * OWNERS).map(Owner).flat_map(|owner| cache.find_my_connections(owner).map(move |id| (owner, id)));
    assert_eq!(HashSet::from_iter(listed), owned, "{at}: owners");
    let (mut all, mut by_key) = (Counts::default(), BTreeMap::<String, Counts>::new());
    for (peer, channel, counts) in cache.peers() {
        assert_ne!(counts, Counts::default(), "{at}: an empty entry");
        let sum = by_key.entry(format!("{peer} {channel}")).or_default();
        for sum in [&mut all, sum] {
            sum.active += counts.active;
            sum.inactive += counts.inactive;
            sum.condemned += counts.condemned;
            sum.places += counts.places;
            sum.waiting += counts.waiting;
        }
    }
    assert_eq!(all, cache.counts(), "{at}: counts");
    for (key, counts) in by_key {
        let sum = sums.remove(&key).unwrap_or_default();
        assert_eq!((counts.active, counts.inactive), (sum.active, sum.inactive), "{at}: {key}");
    }
    assert!(sums.is_empty(), "{at}: {sums:?}");
    let stats = cache.stats();
    assert_eq!((stats.active, stats.inactive), (all.active, all.inactive), "{at}");
    assert_eq!(stats.inserted, (stats.active + stats.inactive) as u64 + stats.left_in_all(), "{at}: {stats:?}");
    let (limits, within) = (cache.limits(), |number, limit: Option<usize>| limit.is_none_or(|most| number <= most));
    assert!(within(all.active + all.inactive + all.places, limits.max_connections), "{at}: too many: {all:?}");
    if all.waiting == 0 {
        let kept = all.inactive - all.condemned;
        assert_eq!(cache.iter_inactive().count(), kept, "{at}: kept for nobody");
        assert!(within(kept, limits.max_inactive), "{at}: too many inactive: {all:?}");
        let most = cache.peers().map(|(.., counts)| counts.inactive - counts.condemned).max();
        assert!(within(most.unwrap_or(0), limits.max_inactive_per_peer), "{at}: too many of a peer");
    }
    let here = world.wires.iter().filter(|wire| wire.borrow().dropped == 0).count();
    assert_eq!(here, all.active + all.inactive, "{at}: somebody is lost");
}

/// Has this thread's logger be one of the host's functions, and spares the backtraces of panics that are wanted.
fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let wanted = info.payload().downcast_ref::<String>().is_some_and(|text| text.contains("as the test wants"));
            if !wanted {
                hook(info);
            }
        }));
    });
    listen(|_| trip());
}

#[test]
fn a_panic_of_the_hosts_code_leaves_nothing_half_done() {
    prepare();
    let mut panics = 0;
    for (name, operation) in OPERATIONS {
        for seed in 0..20 {
            for fuse in 1.. {
                let at = format!("{name}, seed {seed}, call {fuse}");
                let mut random = Random::new(seed);
                let mut world = World::new(&mut random);
                FUSE.set(fuse);
                let done = catch_unwind(AssertUnwindSafe(|| operation(&mut world, &mut random)));
                FUSE.set(0);
                check(&world, &at);
                if done.is_ok() {
                    break;
                }
                panics += 1;
                // It goes on as if nothing had been.
                let (now, peers): (_, Vec<Peer>) = (world.now, (0..PEERS).map(peer).collect());
                for peer in &peers {
                    let _ = world.cache.checkout(now, peer, PLAIN, Owner(0));
                }
                while let Some((id, _)) = world.some(&mut random, false) {
                    let _ = world.cache.checkin(now, id);
                    check(&world, &at);
                }
                while world.cache.shed().is_some() {}
                check(&world, &at);
                assert_eq!(world.cache.stats().inactive, 0, "{at}");
                let wires = std::mem::take(&mut world.wires);
                drop(world);
                assert!(wires.iter().all(|wire| wire.borrow().dropped == 1), "{at}: each is closed once");
            }
        }
    }
    assert!(panics > 1_000, "{panics}");
    println!("{panics} panics");
}

/// Whoever waits is served in spite of a panic while he was about to be.
#[test]
fn a_panic_in_a_grant_loses_no_wake_up() {
    prepare();
    for elsewhere in [false, true] {
        for fuse in 1.. {
            let mut world = World::empty(limits(|l| l.max_connections = Some(1)));
            let (now, conn, other) = (world.now, world.conn().0, Peer::direct("other", 1));
            let id = world.cache.insert(now, conn, &peer(0), PLAIN, Owner(0)).unwrap();
            let wanted = if elsewhere { &other } else { &peer(0) };
            let waits = world.cache.request(now, wanted, PLAIN, Owner(1), None).unwrap();
            assert!(matches!(waits, Requested::Wait(_)));
            assert!(world.cache.checkin(now, id).unwrap().is_none());
            FUSE.set(fuse);
            let granted = catch_unwind(AssertUnwindSafe(|| world.cache.grant(now).is_some()));
            FUSE.set(0);
            let at = format!("call {fuse}, elsewhere: {elsewhere}");
            check(&world, &at);
            if let Ok(granted) = granted {
                assert!(granted && fuse > 2, "{at}: hardly anything could panic");
                break;
            }
            // What it was about to get may have been handed out, and the news of it lost with the panic.
            if world.cache.counts().waiting > 0 {
                assert!(world.cache.next_deadline().is_some_and(|due| due <= now), "{at}: nothing is due");
                assert!(world.cache.grant(now).is_some(), "{at}: it waits for ever");
            }
        }
    }
}
