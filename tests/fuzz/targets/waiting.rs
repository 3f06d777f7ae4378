//! Any order of calls about limits, places and lines: the run of the line's model test, its choices made by the fuzzer.
#![no_main]

#[path = "../../waiting/model/calls.rs"]
mod calls;
#[path = "../../waiting/model/naive.rs"]
mod naive;
#[path = "../../waiting/model/others.rs"]
mod others;
mod random;
#[path = "../../waiting/model/run.rs"]
mod run;
#[path = "../../common/scripted.rs"]
mod scripted;

/// What the model test's modules expect at their root.
mod common {
    pub(crate) use crate::{random, scripted};
}

use libfuzzer_sys::fuzz_target;
use random::Random;
use run::Run;

fuzz_target!(|choices: &[u8]| {
    let mut random = Random::of(choices);
    let (peers, residents) = (random.pick(&[4, 24]), random.one_in(2).then_some(0));
    let mut run = Run::new(&mut random, peers, residents);
    while !random.is_spent() {
        run.step(&mut random);
    }
    run.end();
});
