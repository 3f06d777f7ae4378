//! The cache against a naive reference: seeded random operations over scripted connections and a simulated clock, all
//! of its state compared after each.

#[path = "../common/mod.rs"]
mod common;

mod naive;
mod run;

use common::random::{Random, for_seeds};
use common::scripted::Scripted;
use conncache::Limits;
use naive::Size;
use run::{Policies, Run, Tried, ms};
use std::cell::RefCell;
use std::ops::Range;
use std::time::Duration;

const STEPS: usize = 1_500;

fn few(crowd: usize) -> Size {
    Size { peers: 3, channels: 2, owners: 3, crowd }
}

/// Runs the test with each seed, and says how much was tried.
fn tally(seeds: Range<u64>, run: impl Fn(u64) -> Tried) {
    let sum = RefCell::new(Tried::default());
    for_seeds(seeds, |seed| *sum.borrow_mut() += run(seed));
    println!("{}", sum.into_inner());
}

fn play(seed: u64, mut random: Random, limits: Limits, probing: bool, policies: Policies, tokens: bool) -> Tried {
    // A third of the runs is at home with few connections, a third with many.
    let crowd = [6, 14, 40][seed as usize % 3];
    let mut run = Run::new(&mut random, few(crowd), limits, probing, policies, tokens);
    for step in 0..STEPS {
        run.step(&mut random, step);
    }
    run.end(&mut random)
}

#[test]
fn without_limits_the_cache_does_what_the_reference_does() {
    tally(0..60, |seed| play(seed, Random::new(seed), Limits::default(), true, Policies::Keep, false));
}

#[test]
fn within_small_limits_the_cache_does_what_the_reference_does() {
    tally(1_000..1_100, |seed| {
        let mut random = Random::new(seed);
        let limits = run::some_limits(&mut random);
        play(seed, random, limits, true, Policies::Keep, false)
    });
}

#[test]
fn under_a_moody_policy_the_cache_does_what_the_reference_does() {
    tally(2_000..2_060, |seed| {
        let mut random = Random::new(seed);
        let limits = run::some_limits(&mut random);
        play(seed, random, limits, true, Policies::Moody, false)
    });
}

#[test]
fn with_few_tokens_and_no_probe_the_cache_does_what_the_reference_does() {
    tally(3_000..3_040, |seed| {
        let mut random = Random::new(seed);
        let limits = run::some_limits(&mut random);
        let probing = random.one_in(2);
        play(seed, random, limits, probing, Policies::Moody, true)
    });
}

/// All tables grow and shrink in the middle of the run.
#[test]
fn with_many_peers_and_owners_the_cache_does_what_the_reference_does() {
    let many = Size { peers: 40, channels: 3, owners: 100, crowd: 150 };
    tally(5_000..5_012, |seed| {
        let mut random = Random::new(seed);
        let limits = run::some_limits(&mut random);
        let limits = if seed % 2 == 0 { conncache::Limits::default() } else { limits };
        let mut run = Run::new(&mut random, many, limits, true, Policies::Keep, false);
        for step in 0..STEPS {
            run.step(&mut random, step);
        }
        run.end(&mut random)
    });
}

/// The jitter of a lifetime is the cache's secret; all else must hold all the same.
#[test]
fn lifetimes_are_shortened_within_the_jitter_and_fixed_once() {
    use conncache::{AggressiveCache, ChannelBindingId, Owner, Peer, Reason, mio::Poll};
    use std::time::Instant;
    for_seeds(4_000..4_020, |seed| {
        let poll = Poll::new().unwrap();
        let mut cache: AggressiveCache<Scripted> = AggressiveCache::builder()
            .max_lifetime(ms(1_000))
            .lifetime_jitter(ms(400))
            .jitter_seed(seed)
            .build(poll.registry())
            .unwrap();
        let (start, peer) = (Instant::now(), Peer::direct("a", 1));
        for number in 0..50 {
            let id = cache.insert(start, Scripted::new(number).0, &peer, ChannelBindingId(0), Owner(0)).ok().unwrap();
            assert!(cache.checkin(start, id).unwrap().is_none());
        }
        let mut ends = Vec::new();
        while let Some(due) = cache.next_deadline() {
            assert!(due >= start + ms(600) && due <= start + ms(1_000), "{:?}", due - start);
            assert!(cache.expire(due - Duration::from_nanos(1)).is_none(), "early");
            let gone = cache.expire(due).expect("what was announced");
            assert_eq!(gone.reason, Reason::MaxLifetime);
            ends.push(due);
        }
        assert_eq!(ends.len(), 50);
        ends.dedup();
        assert!(ends.len() > 40, "all ended together");
    });
}
