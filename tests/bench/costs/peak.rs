//! G6: what is left after a peak costs what is left, and what growth costs the call that it happens in.

use crate::fixtures::{ME, PLAIN, Scripted, ScriptedCache};
use crate::measure::{Spread, nanos, timed};
use crate::report::{Effort, Report};
use conncache::mio::Poll;
use conncache::{AggressiveCache, ConnId, Limits, Owner, Peer};
use std::time::{Duration, Instant};

/// A walk or an order over all that is there.
type Walk = fn(&mut ScriptedCache);

const WALKS: [(&str, Walk); 3] = [
    ("peers()", |cache| assert_eq!(std::hint::black_box(cache.peers().count()), LEFT)),
    ("iter()", |cache| assert_eq!(std::hint::black_box(cache.iter().count()), LEFT)),
    ("set_limits()", |cache| {
        let mut limits = Limits::default();
        (limits.max_inactive, limits.max_inactive_per_peer) = (Some(LEFT), Some(LEFT));
        cache.set_limits(limits).expect("they agree");
    }),
];

/// As many as are left after the peak.
const LEFT: usize = 10;

pub fn costs(report: &mut Report, effort: Effort) {
    let peak = effort.of(100_000, 1_000_000);
    let target = "as much as with {LEFT} that are alone: at most 10 x, for the way to them";
    report.heading(
        &format!("G6  nanoseconds to an order over all, after a peak of {peak} peers of which {LEFT} are left"),
        &target.replace("{LEFT}", &LEFT.to_string()),
    );
    let peers: Vec<Peer> = (0..peak).map(|peer| Peer::direct(&format!("host-{peer}.example.org"), 443)).collect();
    let mut alone = build(0);
    fill(&mut alone, &peers[..LEFT]);
    let mut after = build(0);
    let (ids, _) = fill(&mut after, &peers);
    // Those that are left lie in the lowest slots and the highest.
    ids[LEFT / 2..ids.len() - LEFT / 2].iter().for_each(|&id| drop(after.close_connection(id)));
    for (name, walk) in WALKS {
        let [mut times, mut others]: [Vec<f64>; 2] = Default::default();
        for _ in 0..effort.of(20, 200) {
            others.push(nanos(1, || walk(&mut alone)));
            times.push(nanos(1, || walk(&mut after)));
        }
        let [time, other] = [&times, &others].map(|times| Spread::of(times.iter().copied()));
        let ratio = Spread::of_ratios(&times, &others);
        report.verdict(ratio.median <= 10.0, format_args!("{name:<16} {time:.0}, alone {other:.0}, ratio {ratio}"));
    }
    let [time, other] = [&mut after, &mut alone].map(|cache| timed(|| cache.close_all()).as_nanos() as f64);
    report.verdict(time / other <= 10.0, format_args!("close_all(), once {time:.0}, alone {other:.0}"));

    report.heading(
        &format!("G6  the longest single insert or checkin of {peak}, each with a peer and an owner of its own"),
        "none, for comparison: the longest of as many that announced themselves is the machine's",
    );
    drop(after);
    // The machine does other things, too: the best of three.
    let worst = |capacity: usize| {
        let worsts = (0..3).map(|_| fill(&mut build(capacity), &peers).1.as_secs_f64() * 1e3);
        worsts.fold(f64::INFINITY, f64::min)
    };
    report.line(format_args!("{:.2} ms while growing, {:.2} ms with capacity told", worst(0), worst(peak)));
}

fn build(capacity: usize) -> ScriptedCache {
    let poll = Poll::new().expect("a poll");
    AggressiveCache::builder().capacity(capacity).build(poll.registry()).expect("a cache")
}

/// An inactive connection to each peer; the longest that one of the calls took.
fn fill(cache: &mut ScriptedCache, peers: &[Peer]) -> (Vec<ConnId>, Duration) {
    let (now, mut worst, mut ids) = (Instant::now(), Duration::ZERO, Vec::with_capacity(peers.len()));
    for (at, peer) in peers.iter().enumerate() {
        let insert =
            || ids.push(cache.insert(now, Scripted { leads_to: at }, peer, PLAIN, Owner(at as u64)).expect("room"));
        worst = worst.max(timed(insert));
    }
    for id in &ids {
        worst = worst.max(timed(|| assert!(matches!(cache.checkin(now, *id), Ok(None)))));
    }
    assert_eq!(cache.find_my_connections(ME).count(), 0);
    (ids, worst)
}
