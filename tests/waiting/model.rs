//! The line, the places and the limits against a naive reference: seeded random calls over scripted connections and a
//! simulated clock. After each step it is checked that no limit is exceeded, nobody overtakes, nobody is forgotten, and
//! all numbers agree.

mod calls;
mod naive;
mod others;
mod run;

use crate::common::random::{Random, for_seeds};
use run::Run;

const STEPS: usize = 2_500;

/// Says at which step a run failed.
struct At(usize);

impl Drop for At {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed at step {}", self.0);
        }
    }
}

fn play(seed: u64, restrictive: bool) {
    let mut random = Random::new(seed);
    let (mut run, mut at) = (Run::new(&mut random, restrictive), At(0));
    while at.0 < STEPS {
        run.step(&mut random);
        at.0 += 1;
    }
    run.end();
}

#[test]
fn an_aggressive_cache_serves_as_the_reference_says() {
    for_seeds(0..150, |seed| play(seed, false));
}

#[test]
fn a_restrictive_cache_serves_as_the_reference_says() {
    for_seeds(1_000..1_150, |seed| play(seed, true));
}
