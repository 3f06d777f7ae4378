//! Any order of calls: the model test's run, its choices made by the fuzzer instead of a generator.
#![no_main]

#[path = "../../model/naive/mod.rs"]
mod naive;
#[path = "../../model/run/mod.rs"]
mod run;
mod random;
#[path = "../../common/scripted.rs"]
mod scripted;

/// What the model test's modules expect at their root.
mod common {
    pub(crate) use crate::{random, scripted};
}

use libfuzzer_sys::fuzz_target;
use naive::Size;
use random::Random;
use run::{Policies, Run};

const SIZE: Size = Size { peers: 3, channels: 2, owners: 3, crowd: 14 };

fuzz_target!(|choices: &[u8]| {
    let mut random = Random::of(choices);
    let limits = run::some_limits(&mut random);
    let (probing, tokens) = (random.one_in(2), random.one_in(2));
    let policies = random.pick(&[Policies::Keep, Policies::Moody]);
    let mut run = Run::new(&mut random, SIZE, limits, probing, policies, tokens);
    for step in 0.. {
        if random.is_spent() {
            break;
        }
        run.step(&mut random, step);
    }
    run.end(&mut random);
});
