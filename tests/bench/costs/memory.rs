//! C3: bytes to a connection, by the allocator's count.

use crate::fixtures::{ALL_LIMITS, ME, NO_LIMITS, Ours, PLAIN, Scripted, ScriptedCache, Settings, order};
use crate::measure::live_bytes;
use crate::report::{Effort, Report};
use conncache::mio::Poll;
use conncache::{AggressiveCache, Owner, Peer};
use std::time::Instant;

const CONNECTIONS: usize = 1_000_000;

pub fn bytes(report: &mut Report, effort: Effort) {
    let connections = effort.of(CONNECTIONS / 10, CONNECTIONS);
    report.heading(
        &format!("C3  bytes to a slot over the connection's own {}, {connections} connections", size_of::<Scripted>()),
        "at most 128, everything included but entries of peers, at exact capacity; 160 at the worst moment of growth",
    );
    let growing: Settings = |builder| ALL_LIMITS(builder).capacity(0);
    for (what, settings, owners) in [
        ("inactive", NO_LIMITS, false),
        ("inactive, all limits on", ALL_LIMITS, false),
        ("active, an owner to each", NO_LIMITS, true),
        ("active, an owner to each, all limits on", ALL_LIMITS, true),
    ] {
        let Taken { slot, reserved, .. } = take(connections, 100, settings, owners);
        report.verdict(
            slot <= 128.0,
            format_args!("{what:<42} {slot:>6.1}, and {reserved:>5.1} reserved for as many peers"),
        );
    }
    let Taken { worst, .. } = take(connections, 100, growing, false);
    report.verdict(worst <= 160.0, format_args!("{:<42} {worst:>6.1}", "all limits on, capacity not told, at worst"));
    let [few, many] = [100, connections].map(|peers| take(connections, peers, NO_LIMITS, false).slot);
    report.line(format_args!("{:<42} {:>6.1}", "besides, an entry to each peer", many - few));
    let before = live_bytes();
    let peers = named(connections);
    let each = (live_bytes() - before) as f64 / connections as f64 - size_of::<Peer>() as f64;
    report.line(format_args!("{:<42} {each:>6.1}", "besides, a peer's name, shared with the host"));
    drop(peers);
}

/// Bytes for each connection, but for the connection itself and the peers' names.
struct Taken {
    /// In use.
    slot: f64,
    /// Allocated besides, since the capacity was told: entries for peers that don't come.
    reserved: f64,
    /// The most that was allocated for each of the connections there were at a moment, from a tenth of them on.
    worst: f64,
}

fn take(connections: usize, peers: usize, settings: Settings, owners: bool) -> Taken {
    let (peers, poll, now) = (named(peers), Poll::new().expect("a poll"), Instant::now());
    let order = order(connections, peers.len());
    let (before, mut worst) = (live_bytes(), 0.0_f64);
    let own = size_of::<Scripted>() as f64;
    let each = |there: usize| (live_bytes() - before) as f64 / there as f64 - own;
    let builder = settings(AggressiveCache::builder().capacity(connections));
    let mut cache: ScriptedCache = builder.build(poll.registry()).expect("a cache");
    for connection in 0..connections {
        let (peer, owner) = (connection % peers.len(), if owners { Owner(connection as u64) } else { ME });
        let conn = Scripted { leads_to: peer };
        let id = cache.insert(now, conn, &peers[peer], PLAIN, owner).expect("there is room");
        // Deadlines are noted once a connection is inactive.
        assert!(matches!(cache.checkin(now, id), Ok(None)));
        if connection > connections / 10 {
            worst = worst.max(each(connection + 1));
        }
    }
    // What use does to it: nothing that stays.
    let mut ours = Ours { cache, peers, now, owner: ME };
    ours.cycle(&order);
    let Ours { mut cache, peers, now, .. } = ours;
    if owners {
        for connection in 0..connections {
            let owner = Owner(connection as u64);
            assert!(cache.checkout(now, &peers[connection % peers.len()], PLAIN, owner).is_some());
        }
        assert_eq!(cache.counts().active, connections);
    }
    let all = each(connections);
    cache.shrink_to_fit();
    let slot = each(connections);
    Taken { slot, reserved: all - slot, worst }
}

fn named(peers: usize) -> Vec<Peer> {
    (0..peers).map(|peer| Peer::direct(&format!("host-{peer}.example.org"), 443)).collect()
}
