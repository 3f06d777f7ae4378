//! Any order of calls: the model test's run, its choices made by the fuzzer instead of a generator.
#![no_main]

#[path = "../../model/naive/mod.rs"]
mod naive;
#[path = "../../model/run/mod.rs"]
mod run;
#[path = "../../common/scripted.rs"]
mod scripted;

/// What the model test's modules expect at their root.
mod common {
    pub(crate) use crate::{random, scripted};
}

mod random {
    pub struct Random(std::vec::IntoIter<u8>);

    impl Random {
        pub fn of(choices: &[u8]) -> Random {
            Random(choices.to_vec().into_iter())
        }

        pub fn is_spent(&self) -> bool {
            self.0.len() == 0
        }

        /// As many bytes as `end` needs; zeros when none are left.
        pub fn below(&mut self, end: usize) -> usize {
            let bytes = (usize::BITS - (end - 1).leading_zeros()).div_ceil(8);
            let number = (0..bytes).fold(0, |sum, _| sum << 8 | usize::from(self.0.next().unwrap_or(0)));
            number % end
        }

        pub fn one_in(&mut self, times: usize) -> bool {
            self.below(times) == 0
        }

        pub fn pick<T: Copy>(&mut self, among: &[T]) -> T {
            among[self.below(among.len())]
        }
    }
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
