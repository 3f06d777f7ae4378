//! Which upstream is asked next: they take turns, and one that failed is left alone for a while.

use std::time::{Duration, Instant};

pub struct Balance {
    states: Vec<State>,
    /// Whose turn it is.
    turn: usize,
    quarantine: Duration,
}

#[derive(Clone, Default)]
struct State {
    /// It failed, and is not asked before then unless no other upstream is left.
    retry_at: Option<Instant>,
    /// When it last began to answer.
    answered_at: Option<Instant>,
}

impl Balance {
    pub fn new(upstreams: usize, quarantine: Duration) -> Balance {
        Balance { states: vec![State::default(); upstreams], turn: 0, quarantine }
    }

    pub fn turn(&self) -> usize {
        self.turn
    }

    /// The next upstream in turn that hasn't been tried for this request, at best one that has room for it. `None` once
    /// all have been.
    pub fn choose(&mut self, now: Instant, tried: &[usize], has_room: impl Fn(usize) -> bool) -> Option<usize> {
        let all = self.states.len();
        let mut untried = (0..all).map(|step| (self.turn + step) % all).filter(|at| !tried.contains(at));
        let mut well = untried.clone().filter(|at| self.is_well(*at, now));
        let chosen = well.clone().find(|at| has_room(*at)).or_else(|| well.next()).or_else(|| untried.next())?;
        self.turn = (chosen + 1) % all;
        // This request finds out whether the upstream is back. The others wait for what it finds.
        let state = &mut self.states[chosen];
        state.retry_at = state.retry_at.and_then(|_| now.checked_add(self.quarantine));
        Some(chosen)
    }

    /// Whether the upstream hasn't failed, or may be asked again.
    pub fn is_well(&self, upstream: usize, now: Instant) -> bool {
        self.states[upstream].retry_at.is_none_or(|time| time <= now)
    }

    /// Whether the upstream failed a short time ago.
    pub fn is_quarantined(&self, upstream: usize, now: Instant) -> bool {
        self.states[upstream].retry_at.is_some_and(|at| at > now)
    }

    /// The upstream couldn't be connected to, or didn't answer.
    pub fn failed(&mut self, upstream: usize, now: Instant) {
        self.states[upstream].retry_at = now.checked_add(self.quarantine);
    }

    /// A response has begun.
    pub fn answered(&mut self, upstream: usize, now: Instant) {
        self.states[upstream].retry_at = None;
        self.states[upstream].answered_at = Some(now);
    }

    /// Whether the upstream has begun to answer anybody since then.
    pub fn has_answered_since(&self, upstream: usize, since: Instant) -> bool {
        self.states[upstream].answered_at.is_some_and(|at| at >= since)
    }
}
