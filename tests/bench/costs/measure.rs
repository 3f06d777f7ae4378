//! Rounds, spreads, and an allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The median of all rounds, between the quartiles: how far these are apart is the machine's noise.
#[derive(Clone, Copy)]
pub struct Spread {
    low: f64,
    pub median: f64,
    high: f64,
}

impl Spread {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |quarters: usize| values[(values.len() - 1) * quarters / 4];
        Spread { low: at(1), median: at(2), high: at(3) }
    }

    /// The spread of the rounds' ratios: what was measured in one round is compared within it.
    pub fn of_ratios(ours: &[f64], theirs: &[f64]) -> Spread {
        Spread::of(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs))
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        let shown = format!("{:.digits$} [{:.digits$} {:.digits$}]", self.median, self.low, self.high);
        f.pad_integral(true, "", &shown)
    }
}

/// Nanoseconds for each of `operations` that `work` does.
pub fn nanos(operations: usize, work: impl FnOnce()) -> f64 {
    per_operation(timed(work), operations)
}

pub fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

pub fn per_operation(time: Duration, operations: usize) -> f64 {
    time.as_nanos() as f64 / operations as f64
}

/// Counts what the whole program allocates.
pub struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// How often memory was asked for.
pub fn allocations() -> usize {
    CALLS.load(Relaxed)
}

/// How many bytes are in use.
pub fn live_bytes() -> usize {
    LIVE.load(Relaxed)
}

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Relaxed);
        LIVE.fetch_add(layout.size(), Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.fetch_add(1, Relaxed);
        LIVE.fetch_add(size, Relaxed);
        LIVE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.realloc(memory, layout, size) }
    }
}

/// Measures a ratio for each of two sizes in turns, so many rounds; the first one warms up and doesn't count.
pub fn in_turns<T>(sizes: &mut [T; 2], rounds: usize, mut ratio: impl FnMut(&mut T) -> f64) -> [Vec<f64>; 2] {
    let mut ratios: [Vec<f64>; 2] = Default::default();
    for round in 0..rounds {
        for (size, ratios) in sizes.iter_mut().zip(&mut ratios) {
            let measured = ratio(size);
            if round > 0 {
                ratios.push(measured);
            }
        }
    }
    ratios
}
