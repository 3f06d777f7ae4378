//! The line, the places and the limits against a naive reference: seeded random calls over scripted connections and a
//! simulated clock. After each step it is checked that no limit is exceeded, nobody overtakes, nobody is forgotten, and
//! all numbers agree.

mod calls;
mod naive;
mod others;
mod run;

use crate::common::random::{Random, for_seeds};
use run::Run;

/// Says at which step a run failed.
struct At(usize);

impl Drop for At {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed at step {}", self.0);
        }
    }
}

fn play(seed: u64, steps: usize, peers: usize, residents: Option<usize>) {
    let mut random = Random::new(seed);
    let (mut run, mut at) = (Run::new(&mut random, peers, residents), At(0));
    while at.0 < steps {
        run.step(&mut random);
        at.0 += 1;
    }
    run.end();
}

#[test]
fn an_aggressive_cache_serves_as_the_reference_says() {
    for_seeds(0..130, |seed| play(seed, 2_500, 4, None));
}

#[test]
fn a_restrictive_cache_serves_as_the_reference_says() {
    for_seeds(1_000..1_130, |seed| play(seed, 2_500, 4, Some(0)));
}

#[test]
fn a_cache_that_keeps_few_serves_as_the_reference_says() {
    for_seeds(3_000..3_060, |seed| play(seed, 2_500, 4, Some(1 + seed as usize % 4)));
}

/// More of them than a grant looks at.
#[test]
fn with_many_peers_the_cache_serves_as_the_reference_says() {
    for_seeds(2_000..2_020, |seed| play(seed, 2_500, 24, (seed % 2 == 0).then_some(0)));
}
