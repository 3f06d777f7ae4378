//! C1 and C5: the bookkeeping of a cycle, beside a bare map's.

use crate::fixtures::{ALL_LIMITS, BareMap, Dense, Fast, NO_LIMITS, Ours, Pool, order};
use crate::measure::{Spread, allocations, in_turns, nanos};
use crate::report::{Effort, Report};
use std::hash::RandomState;
use std::time::Instant;

const CONNECTIONS: [(usize, usize); 9] =
    [(1, 1), (1, 16), (1, 1_000), (100, 1), (100, 16), (100, 1_000), (10_000, 1), (10_000, 16), (10_000, 1_000)];

pub fn c1(report: &mut Report, effort: Effort) {
    report.heading(
        "C1  checkout + checkin, bookkeeping alone, against a bare map's pop + push",
        "ratio <= 0.85, without limits and with all of them, no allocation",
    );
    report.line(format_args!(
        "{:>15}  {:>6}  {:>6}  {:<17}  {:<17}  {:<17}  {:>8}  {:>8}  {}",
        "peers x each",
        "map ns",
        "ours",
        "ratio",
        "all limits on",
        "+ Instant::now()",
        "fast map",
        "dense",
        "allocations"
    ));
    for (peers, each) in CONNECTIONS {
        let many = peers * each > 1_000_000;
        if many && effort == Effort::Quick {
            continue;
        }
        let order = order(effort.of(20_000, 100_000), peers);
        let mut rounds: [Vec<f64>; 6] = Default::default();
        let mut allocated = 0;
        // Tables made anew lie elsewhere in memory and have other hash keys.
        for _ in 0..if many { 1 } else { effort.of(1, 5) } {
            let (mut map, mut fast) = (BareMap::<RandomState>::new(peers, each), BareMap::<Fast>::new(peers, each));
            let (mut dense, mut ours) =
                (Dense::new(peers, each), [NO_LIMITS, ALL_LIMITS].map(|settings| Ours::new(peers, each, settings)));
            for _ in 0..2 {
                map.cycle(&order);
                fast.cycle(&order);
                dense.cycle(&order);
                ours.iter_mut().for_each(|ours| ours.cycle(&order));
            }
            let before = allocations();
            let mut times = [[0.0; 6]; 9];
            for times in times.iter_mut().take(effort.of(3, 9)) {
                let [plain, limited] = &mut ours;
                *times = [
                    nanos(order.len(), || map.cycle(&order)),
                    nanos(order.len(), || plain.cycle(&order)),
                    nanos(order.len(), || limited.cycle(&order)),
                    nanos(order.len(), || plain.cycle_at(&order, Instant::now)),
                    nanos(order.len(), || fast.cycle(&order)),
                    nanos(order.len(), || dense.cycle(&order)),
                ];
            }
            allocated += allocations() - before;
            for times in times.iter().take(effort.of(3, 9)) {
                rounds.iter_mut().zip(times).for_each(|(rounds, &time)| rounds.push(time));
            }
        }
        let [map, plain, limited, clocked, fast, dense] = &rounds;
        let (ratio, all) = (Spread::of_ratios(plain, map), Spread::of_ratios(limited, map));
        let median = |times: &[f64]| Spread::of(times.iter().copied()).median;
        report.verdict(
            ratio.median <= 0.85 && all.median <= 0.85 && allocated == 0,
            format_args!(
                "{peers:>7} x {each:>5}  {:>6.1}  {:>6.1}  {ratio:<17}  {all:<17}  {:<17}  {:>8.1}  {:>8.1}  {allocated}",
                median(map),
                median(plain),
                Spread::of_ratios(clocked, map),
                median(fast),
                median(dense),
            ),
        );
    }
}

/// What a busy host sees: others are out meanwhile, and what comes back is cold.
pub fn overlapping(report: &mut Report, effort: Effort) {
    report.heading(
        "C1  the same with as many connections out at a time, an owner to each",
        "ratio <= 0.9 with 256 to 1,000 out, <= 1.2 with 10,000 of 100,000",
    );
    for (peers, each, out, most) in [
        (100, 16, 256, 0.9),
        (100, 1_000, 256, 0.9),
        (100, 1_000, 5_000, 1.2),
        (10_000, 10, 1_000, 0.9),
        (10_000, 10, 10_000, 1.2),
    ] {
        let order = order(effort.of(20_000, 100_000), peers);
        let (mut map, mut ours) = (BareMap::<RandomState>::new(peers, each), Ours::new(peers, each, ALL_LIMITS));
        let (mut theirs, mut times, mut hits) = (Vec::new(), Vec::new(), [0, 0]);
        for round in 0..effort.of(4, 30) {
            let map = nanos(order.len(), || hits[0] += map.overlapping(&order, out));
            let ours = nanos(order.len(), || hits[1] += ours.overlapping(&order, out));
            // The first round warms up.
            if round > 0 {
                theirs.push(map);
                times.push(ours);
            }
        }
        assert_eq!(hits[0], hits[1], "both find the same");
        let ratio = Spread::of_ratios(&times, &theirs);
        report.verdict(
            ratio.median <= most,
            format_args!(
                "{peers:>5} x {each:>5}, {out:>6} out  {:>6.1}  {:>6.1}  {ratio}",
                Spread::of(theirs.iter().copied()).median,
                Spread::of(times.iter().copied()).median,
            ),
        );
    }
}

pub fn c5(report: &mut Report, effort: Effort) {
    const PEERS: usize = 1_000;
    let many = effort.of(100, 1_000);
    report.heading("C5  the ratio of C1 with 1,000,000 inactive connections, against that with 1,000", "at most 2");
    let order = order(effort.of(20_000, 100_000), PEERS);
    let mut sizes = [1, many].map(|each| (BareMap::<RandomState>::new(PEERS, each), Ours::new(PEERS, each, NO_LIMITS)));
    let ratios = in_turns(&mut sizes, effort.of(4, 32), |(map, ours)| {
        let map = nanos(order.len(), || map.cycle(&order));
        nanos(order.len(), || ours.cycle(&order)) / map
    });
    let [few, many_ratios] = &ratios;
    let growth = Spread::of_ratios(many_ratios, few);
    report.verdict(
        growth.median <= 2.0,
        format_args!(
            "{PEERS} peers: {} with 1 each, {} with {many} each; quotient {growth}",
            Spread::of(few.iter().copied()),
            Spread::of(many_ratios.iter().copied()),
        ),
    );
}
