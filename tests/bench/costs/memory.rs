//! C3: bytes to a connection, by the allocator's count.

use crate::fixtures::{ME, Ours, PLAIN, Scripted, ScriptedCache, Settings, order};
use crate::measure::live_bytes;
use crate::report::Report;
use conncache::mio::Poll;
use conncache::{AggressiveCache, Owner, Peer};
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 100_000;

pub fn bytes(report: &mut Report) {
    report.heading(
        &format!("C3  bytes to a slot over the connection's own {}, {CONNECTIONS} connections", size_of::<Scripted>()),
        "at most 128, everything included, at exact capacity",
    );
    let plain: Settings = |builder| builder;
    let aging: Settings = |builder| builder.max_lifetime(Duration::from_secs(3600));
    let growing: Settings = |builder| builder.capacity(0);
    for (what, peers, settings, owners) in [
        ("inactive, 100 peers", 100, plain, false),
        ("inactive, 100 peers, with deadlines", 100, aging, false),
        ("active, 100 peers, an owner to each", 100, plain, true),
        ("active, 100 peers, an owner to each, deadlines", 100, aging, true),
    ] {
        let taken = over(peers, settings, owners);
        report.verdict(taken <= 128.0, format_args!("{what:<50} {taken:>6.1}"));
    }
    let slot = over(100, plain, false);
    report.line(format_args!("{:<50} {:>6.1}", "inactive, 100 peers, capacity not told", over(100, growing, false)));
    let entry = over(CONNECTIONS, plain, false) - slot;
    report.line(format_args!("{:<50} {entry:>6.1}", "besides, an entry to each peer, where there are many"));
    let before = live_bytes();
    let peers: Vec<Peer> =
        (0..CONNECTIONS).map(|peer| Peer::direct(&format!("host-{peer}.example.org"), 443)).collect();
    let each = (live_bytes() - before) as f64 / CONNECTIONS as f64 - size_of::<Peer>() as f64;
    report.line(format_args!("{:<50} {each:>6.1}", "besides, a peer's name, shared with the host"));
    drop(peers);
}

/// What a cache of so many peers takes for each connection, but for the connection itself and the peers' parts.
fn over(peers: usize, settings: Settings, owners: bool) -> f64 {
    let peers: Vec<Peer> = (0..peers).map(|peer| Peer::direct(&format!("host-{peer}.example.org"), 443)).collect();
    let (poll, now) = (Poll::new().expect("a poll"), Instant::now());
    let order = order(CONNECTIONS, peers.len());
    let before = live_bytes();
    let builder = settings(AggressiveCache::builder().capacity(CONNECTIONS));
    let mut cache: ScriptedCache = builder.build(poll.registry()).expect("a cache");
    for connection in 0..CONNECTIONS {
        let (peer, owner) = (connection % peers.len(), if owners { Owner(connection as u64) } else { ME });
        let conn = Scripted { leads_to: peer };
        let id = cache.insert(now, conn, &peers[peer], PLAIN, owner).expect("there is room");
        // Deadlines are noted once a connection is inactive.
        assert!(matches!(cache.checkin(now, id), Ok(None)));
    }
    // What use does to it: nothing that stays.
    let mut ours = Ours { cache, peers, now, owner: ME };
    for _ in 0..3 {
        ours.cycle(&order);
    }
    let Ours { mut cache, peers, now, .. } = ours;
    if owners {
        for connection in 0..CONNECTIONS {
            let owner = Owner(connection as u64);
            assert!(cache.checkout(now, &peers[connection % peers.len()], PLAIN, owner).is_some());
        }
        assert_eq!(cache.counts().active, CONNECTIONS);
    }
    (live_bytes() - before) as f64 / CONNECTIONS as f64 - size_of::<Scripted>() as f64
}
