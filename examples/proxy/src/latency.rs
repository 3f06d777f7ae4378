//! How long upstreams take to answer, in a histogram.

use std::time::Duration;

/// The upper bounds of the histogram's classes, in milliseconds. What takes longer is only counted.
pub const BOUNDS_MS: [u64; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000];

#[derive(Clone, Default)]
pub struct Latency {
    classes: [u64; BOUNDS_MS.len()],
    count: u64,
    sum: Duration,
}

impl Latency {
    pub fn add(&mut self, time: Duration) {
        let class = BOUNDS_MS.iter().position(|&bound| time <= Duration::from_millis(bound));
        class.into_iter().for_each(|class| self.classes[class] += 1);
        self.count += 1;
        self.sum += time;
    }

    /// Adds what another one has counted.
    pub fn merge(&mut self, other: &Latency) {
        self.classes.iter_mut().zip(&other.classes).for_each(|(class, more)| *class += more);
        self.count += other.count;
        self.sum += other.sum;
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// Each bound, and how many took no longer than that.
    pub fn cumulative(&self) -> impl Iterator<Item = (Duration, u64)> {
        BOUNDS_MS.iter().zip(&self.classes).scan(0, |all, (&bound, count)| {
            *all += count;
            Some((Duration::from_millis(bound), *all))
        })
    }

    pub fn mean(&self) -> Option<Duration> {
        (self.count > 0).then(|| self.sum.div_f64(self.count as f64))
    }

    /// The bound that 99 in 100 stayed within. `None` if that is more than the last bound, or nothing was counted.
    pub fn p99(&self) -> Option<Duration> {
        let enough = self.count - self.count / 100;
        self.cumulative().find(|&(_, count)| count >= enough && count > 0).map(|(bound, _)| bound)
    }
}
