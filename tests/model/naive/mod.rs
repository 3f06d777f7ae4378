//! What a cache shall do, written down in the plainest way: one `Vec`, searched from end to end.

mod handing_out;
mod keeping;

use crate::common::scripted::{Far, Shared};
use conncache::{ConnId, Limits, Reason, Verdict};

/// Nanoseconds since the test's first moment.
pub type Time = u64;
pub const NEVER: Time = u64::MAX;

/// How much of everything there is.
#[derive(Clone, Copy)]
pub struct Size {
    pub peers: usize,
    pub channels: u64,
    pub owners: u64,
    /// How many connections a run tends to have.
    pub crowd: usize,
}

pub struct Conn {
    /// Its latest lease.
    pub id: ConnId,
    pub wire: Shared,
    pub number: usize,
    pub peer: usize,
    pub channel: u64,
    pub uses: u32,
    pub opened: Time,
    pub lifetime_end: Time,
    pub state: State,
    /// Its read side was reported closed while it was active.
    pub read_closed: bool,
    /// Its peer or channel binding was closed since it came.
    pub closed: Option<Reason>,
    /// It was found connected once.
    pub looked: bool,
    /// Registered for reading alone.
    pub read_only: bool,
}

pub enum State {
    Active(u64),
    Inactive(Waiting),
}

pub struct Waiting {
    pub since: Time,
    pub until: Time,
    pub private: Option<u64>,
    /// The higher, the later it became inactive.
    pub order: u64,
    /// Over this limit on numbers: to go, and counted by neither any more.
    pub condemned: Option<Reason>,
    /// The second up to which its false alarms are paid for.
    pub alarms: u64,
}

/// A connection that has left.
#[derive(Debug, PartialEq)]
pub struct Gone {
    pub id: ConnId,
    pub number: usize,
    pub reason: Reason,
    pub peer: usize,
    pub channel: u64,
    pub private: Option<u64>,
    pub uses: u32,
    pub opened: Time,
    pub since: Option<Time>,
}

#[derive(Debug, PartialEq)]
pub struct Handed {
    pub number: usize,
    pub inactive_for: Time,
    pub uses: u32,
    pub private: Option<u64>,
}

/// What the policy was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub peer: usize,
    pub channel: u64,
    pub uses: u32,
    pub inactive: usize,
    pub inactive_to_peer: usize,
}

#[derive(Default)]
pub struct Counts {
    pub inserted: u64,
    pub handed_out: u64,
    pub missed: u64,
    pub probes: u64,
    /// Looks at connections about to become inactive.
    pub looks: u64,
    pub found_dead: u64,
    pub stale_events: u64,
    pub deregister_failures: u64,
    /// By reason, in the order of `Reason::ALL`.
    pub left: [u64; Reason::ALL.len()],
}

pub struct Naive {
    size: Size,
    pub conns: Vec<Conn>,
    pub limits: Limits,
    pub probing: bool,
    pub draining: bool,
    pub now: Time,
    pub counts: Counts,
    /// What the policy will say, and what it will have been told.
    pub verdict: Option<Verdict>,
    pub verdict_until: Time,
    pub asked: Vec<Asked>,
    /// Connections that the cache will have closed by itself during the operation.
    pub closed_inside: Vec<Gone>,
    orders: u64,
    /// Which connection the cache let go, and why. Among those to go anyway the reference leaves it the choice.
    pub hint: Option<(ConnId, Reason)>,
    /// The peers and channel bindings closed so far.
    pub closings: Vec<Closed>,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Closed {
    Peer(usize),
    Channel(u64),
}

impl Closed {
    /// Why a connection to this peer under this channel goes, if it is concerned.
    fn concerns(self, peer: usize, channel: u64) -> Option<Reason> {
        match self {
            Closed::Peer(closed) => (closed == peer).then_some(Reason::ClosedPeer),
            Closed::Channel(closed) => (closed == channel).then_some(Reason::ClosedChannel),
        }
    }
}

impl Conn {
    pub fn waiting(&self) -> Option<&Waiting> {
        match &self.state {
            State::Inactive(waiting) => Some(waiting),
            State::Active(_) => None,
        }
    }

    fn waiting_mut(&mut self) -> Option<&mut Waiting> {
        match &mut self.state {
            State::Inactive(waiting) => Some(waiting),
            State::Active(_) => None,
        }
    }

    pub fn owner(&self) -> Option<u64> {
        match self.state {
            State::Active(owner) => Some(owner),
            State::Inactive(_) => None,
        }
    }

    fn probe(&self) -> Option<Reason> {
        match self.wire.borrow().far {
            Far::Quiet => None,
            Far::Closed => Some(Reason::HungUp),
            Far::Unsolicited => Some(Reason::Unsolicited),
            Far::Failed => Some(Reason::Failed),
        }
    }
}

impl Naive {
    pub fn new(size: Size, limits: Limits, probing: bool) -> Naive {
        Naive {
            size,
            conns: Vec::new(),
            limits,
            probing,
            draining: false,
            now: 0,
            counts: Counts::default(),
            verdict: None,
            verdict_until: NEVER,
            asked: Vec::new(),
            closed_inside: Vec::new(),
            orders: 0,
            hint: None,
            closings: Vec::new(),
        }
    }

    pub fn tell(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    pub fn close(&mut self, what: Closed) {
        self.closings.push(what);
        for conn in &mut self.conns {
            conn.closed = conn.closed.or(what.concerns(conn.peer, conn.channel));
        }
    }

    /// Why a connection that left when there had been so many closings isn't taken back.
    pub fn closed_since(&self, closings: usize, peer: usize, channel: u64) -> Option<Reason> {
        self.closings[closings..].iter().rev().find_map(|closed| closed.concerns(peer, channel))
    }

    pub fn at(&self, id: ConnId) -> Option<usize> {
        self.conns.iter().position(|conn| conn.id == id)
    }

    pub fn lifetime_end(&self, opened: Time) -> Time {
        self.limits.max_lifetime.map_or(NEVER, |time| opened.saturating_add(nanos(time)))
    }

    /// All inactive ones, oldest first.
    pub fn oldest_first(&self) -> Vec<usize> {
        let mut inactive: Vec<usize> = (0..self.conns.len()).filter(|&at| self.conns[at].waiting().is_some()).collect();
        inactive.sort_by_key(|&at| self.conns[at].waiting().unwrap().order);
        inactive
    }

    /// Those of closed peers, but for those over a lowered limit.
    pub fn waiting_closed(&self) -> Vec<usize> {
        let mut inactive = self.oldest_first();
        inactive.retain(|&at| self.conns[at].closed.is_some() && self.conns[at].waiting().unwrap().condemned.is_none());
        inactive
    }

    /// Those over a lowered limit.
    pub fn condemned(&self) -> Vec<usize> {
        let mut inactive = self.oldest_first();
        inactive.retain(|&at| self.conns[at].waiting().unwrap().condemned.is_some());
        inactive
    }

    /// Those inactive in a bucket, oldest first.
    pub fn bucket(&self, peer: usize, channel: u64) -> Vec<usize> {
        let mut all = self.oldest_first();
        all.retain(|&at| {
            (self.conns[at].peer, self.conns[at].channel) == (peer, channel) && self.conns[at].closed.is_none()
        });
        all
    }

    /// When and why each time limit of an inactive connection ends it: the first.
    fn end(&self, at: usize) -> (Time, Reason) {
        let waiting = self.conns[at].waiting().unwrap();
        let idle = self.limits.idle_timeout.map_or(NEVER, |time| waiting.since.saturating_add(nanos(time)));
        let mut first = (self.conns[at].lifetime_end, Reason::MaxLifetime);
        for end in [(waiting.until, Reason::Deadline), (idle, Reason::IdleTimeout)] {
            if end.0 < first.0 {
                first = end;
            }
        }
        first
    }

    fn expired(&self, at: usize) -> Option<Reason> {
        let (end, reason) = self.end(at);
        (end != NEVER && end <= self.now).then_some(reason)
    }

    fn unfit(&self, at: usize) -> Option<Reason> {
        let (conn, waiting) = (&self.conns[at], self.conns[at].waiting().unwrap());
        if conn.closed.is_some() {
            conn.closed
        } else if self.draining {
            Some(Reason::Drained)
        } else if waiting.condemned.is_some() {
            waiting.condemned
        } else if self.limits.max_uses.is_some_and(|most| conn.uses >= most) {
            Some(Reason::MaxUses)
        } else {
            self.expired(at)
        }
    }

    /// Every reason for which `expire` may return a connection now.
    pub fn due(&self, at: usize) -> Vec<Reason> {
        let conn = &self.conns[at];
        let Some(waiting) = conn.waiting() else { return Vec::new() };
        if self.draining {
            return vec![self.unfit(at).expect("all are to go")];
        }
        let mut reasons = Vec::new();
        reasons.extend(conn.closed);
        reasons.extend(waiting.condemned);
        reasons.extend(self.expired(at));
        reasons
    }

    /// When `expire` has something to do; [`NEVER`] if it never has.
    pub fn first_due(&self) -> Time {
        let mut first = NEVER;
        for at in self.oldest_first() {
            let end = if self.due(at).is_empty() { self.end(at).0 } else { self.now };
            first = first.min(end);
        }
        first
    }

    fn deregister(&mut self, at: usize) {
        if self.conns[at].wire.borrow().fail_deregister {
            self.counts.deregister_failures += 1;
        }
    }

    /// A connection leaves.
    pub fn leave(&mut self, at: usize, reason: Reason) -> Gone {
        self.counts.left[reason as usize] += 1;
        if reason != Reason::Taken {
            self.deregister(at);
        }
        let conn = self.conns.remove(at);
        let (private, since) = conn.waiting().map_or((None, None), |waiting| (waiting.private, Some(waiting.since)));
        let Conn { id, number, peer, channel, uses, opened, .. } = conn;
        Gone { id, number, reason, peer, channel, private, uses, opened, since }
    }

    fn leave_inside(&mut self, at: usize, reason: Reason) {
        let gone = self.leave(at, reason);
        self.closed_inside.push(gone);
    }
}

pub fn nanos(time: std::time::Duration) -> Time {
    time.as_nanos().try_into().unwrap_or(NEVER)
}
