//! How much a run has tried.

use super::Run;
use conncache::Reason;
use std::fmt;
use std::ops::AddAssign;

#[derive(Default)]
pub struct Tried {
    runs: u64,
    steps: u64,
    inserted: u64,
    handed_out: u64,
    found_dead: u64,
    stale_events: u64,
    /// Leases that were over, since the connection was handed out again.
    over: u64,
    closings: u64,
    left: [u64; Reason::ALL.len()],
}

impl Tried {
    pub(super) fn of(run: &Run) -> Tried {
        let stats = run.cache.stats();
        let mut left = [0; Reason::ALL.len()];
        Reason::ALL.iter().zip(&mut left).for_each(|(&reason, left)| *left = stats.left(reason));
        Tried {
            runs: 1,
            steps: run.steps,
            inserted: stats.inserted,
            handed_out: stats.handed_out,
            found_dead: stats.found_dead,
            stale_events: stats.stale_events,
            over: run.former.len() as u64,
            closings: run.naive.closings.len() as u64,
            left,
        }
    }
}

impl AddAssign for Tried {
    fn add_assign(&mut self, other: Tried) {
        let Tried { runs, steps, inserted, handed_out, found_dead, stale_events, over, closings, left } = other;
        self.runs += runs;
        self.steps += steps;
        self.inserted += inserted;
        self.handed_out += handed_out;
        self.found_dead += found_dead;
        self.stale_events += stale_events;
        self.over += over;
        self.closings += closings;
        self.left.iter_mut().zip(left).for_each(|(sum, left)| *sum += left);
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tried { runs, steps, inserted, handed_out, found_dead, stale_events, over, closings, left } = self;
        write!(
            f,
            "{runs} runs of {steps} steps in all: {inserted} connections, {handed_out} hand-outs, {over} leases over, \
             {found_dead} found dead, {stale_events} late events, {closings} closings; left:"
        )?;
        let named = Reason::ALL.iter().zip(left).filter(|(_, left)| **left > 0);
        named.into_iter().try_for_each(|(reason, left)| write!(f, " {left} {reason}"))
    }
}
