//! The fuzzer's bytes as the choices of a run.

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
