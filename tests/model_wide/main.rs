//! The model test's run with many peers, channels and owners, so that all tables grow, and shrink, in the middle of it.

#[path = "../common/random.rs"]
mod random;
#[path = "../common/scripted.rs"]
mod scripted;

#[path = "../model/naive.rs"]
mod naive;
#[path = "../model/run.rs"]
mod run;

use random::{Random, for_seeds};
use run::{Policies, Run};
use std::time::Duration;

pub const PEERS: usize = 40;
pub const CHANNELS: u32 = 3;
pub const OWNERS: u64 = 100;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn with_many_peers_and_owners_the_cache_does_what_the_reference_does() {
    for_seeds(5_000..5_012, |seed| {
        let mut random = Random::new(seed);
        let limits = run::some_limits(&mut random);
        let limits = if seed % 2 == 0 { conncache::Limits::default() } else { limits };
        let mut run = Run::new(&mut random, limits, true, Policies::Keep, false, 150);
        for step in 0..1_500 {
            run.step(&mut random, step);
        }
        run.end(&mut random);
    });
}
