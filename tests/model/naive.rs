//! What a cache shall do, written down in the plainest way: one `Vec`, searched from end to end.

use crate::scripted::{Far, Shared};
use conncache::{ConnId, Limits, Reason, StateError, Verdict};

/// Nanoseconds since the test's first moment.
pub type Time = u64;
pub const NEVER: Time = u64::MAX;

pub struct Conn {
    pub id: ConnId,
    pub wire: Shared,
    pub number: usize,
    pub peer: usize,
    pub channel: u32,
    pub uses: u32,
    pub lifetime_end: Time,
    pub state: State,
    /// Its read side was reported closed while it was active.
    pub read_closed: bool,
    /// Its peer was closed since it came.
    pub closed: bool,
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
}

/// A connection that has left.
#[derive(Debug, PartialEq)]
pub struct Gone {
    pub id: ConnId,
    pub number: usize,
    pub reason: Reason,
    pub peer: usize,
    pub channel: u32,
    pub private: Option<u64>,
    pub uses: u32,
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
    pub channel: u32,
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
    pub found_dead: u64,
    pub stale_events: u64,
    pub deregister_failures: u64,
    /// By reason, in the order of `Reason::ALL`.
    pub left: [u64; Reason::ALL.len()],
}

pub struct Naive {
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
    /// Which connection the cache let go. Among those to go anyway the reference leaves it the choice.
    pub hint: Option<ConnId>,
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
    pub fn new(limits: Limits, probing: bool) -> Naive {
        Naive {
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
        }
    }

    pub fn tell(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    pub fn at(&self, id: ConnId) -> Option<usize> {
        self.conns.iter().position(|conn| conn.id == id)
    }

    pub fn lifetime_end(&self) -> Time {
        self.limits.max_lifetime.map_or(NEVER, |time| self.now.saturating_add(nanos(time)))
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
        inactive.retain(|&at| self.conns[at].closed && self.conns[at].waiting().unwrap().condemned.is_none());
        inactive
    }

    /// Those over a lowered limit.
    pub fn condemned(&self) -> Vec<usize> {
        let mut inactive = self.oldest_first();
        inactive.retain(|&at| self.conns[at].waiting().unwrap().condemned.is_some());
        inactive
    }

    /// Those inactive in a bucket, oldest first.
    pub fn bucket(&self, peer: usize, channel: u32) -> Vec<usize> {
        let mut all = self.oldest_first();
        all.retain(|&at| (self.conns[at].peer, self.conns[at].channel) == (peer, channel) && !self.conns[at].closed);
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
        if conn.closed {
            Some(Reason::PeerClosed)
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
        reasons.extend(conn.closed.then_some(Reason::PeerClosed));
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
        let private = conn.waiting().and_then(|waiting| waiting.private);
        let Conn { id, number, peer, channel, uses, .. } = conn;
        Gone { id, number, reason, peer, channel, private, uses }
    }

    fn leave_inside(&mut self, at: usize, reason: Reason) {
        let gone = self.leave(at, reason);
        self.closed_inside.push(gone);
    }

    /// The newest one that is fit for use; closes the dead ones before it.
    pub fn find(&mut self, peer: usize, channel: u32) -> Option<usize> {
        let ids: Vec<ConnId> = self.bucket(peer, channel).iter().rev().map(|&at| self.conns[at].id).collect();
        let (mut dead, mut passed) = (0, 0);
        for id in ids.into_iter().filter(|&id| self.waiting(id).condemned.is_none()).collect::<Vec<_>>() {
            let at = self.at(id).unwrap();
            if dead == 8 || passed == 64 {
                return None;
            }
            match self.unfit(at) {
                Some(_) => passed += 1,
                None if !self.probing => return Some(at),
                None => {
                    self.counts.probes += 1;
                    match self.conns[at].probe() {
                        None => return Some(at),
                        Some(reason) => {
                            self.counts.found_dead += 1;
                            self.leave_inside(at, reason);
                            dead += 1;
                        }
                    }
                }
            }
        }
        None
    }

    fn waiting(&self, id: ConnId) -> &Waiting {
        self.conns[self.at(id).unwrap()].waiting().unwrap()
    }

    /// Makes an inactive one, found fit, active.
    fn hand_out(&mut self, at: usize, owner: u64) -> Result<Handed, Gone> {
        if self.conns[at].read_only {
            self.conns[at].read_only = false;
            if self.conns[at].wire.borrow().fail_reregister {
                return Err(self.leave(at, Reason::Failed));
            }
        }
        let now = self.now;
        let conn = &mut self.conns[at];
        conn.uses += 1;
        self.counts.handed_out += 1;
        match std::mem::replace(&mut conn.state, State::Active(owner)) {
            State::Inactive(Waiting { since, private, .. }) => {
                Ok(Handed { number: conn.number, inactive_for: now - since, uses: conn.uses, private })
            }
            State::Active(_) => unreachable!(),
        }
    }

    pub fn checkout(&mut self, peer: usize, channel: u32, owner: u64) -> Option<Handed> {
        let handed = match self.find(peer, channel).map(|at| self.hand_out(at, owner)) {
            Some(Ok(handed)) => Some(handed),
            Some(Err(gone)) => {
                self.closed_inside.push(gone);
                None
            }
            None => None,
        };
        self.counts.missed += u64::from(handed.is_none());
        handed
    }

    pub fn take(&mut self, peer: usize, channel: u32) -> Option<Result<(Handed, Time), Gone>> {
        let Some(at) = self.find(peer, channel) else {
            self.counts.missed += 1;
            return None;
        };
        if self.conns[at].wire.borrow().fail_reregister {
            self.counts.missed += 1;
            return Some(Err(self.leave(at, Reason::Failed)));
        }
        self.counts.handed_out += 1;
        let (inactive_for, end) = (self.now - self.conns[at].waiting().unwrap().since, self.conns[at].lifetime_end);
        let Gone { number, uses, private, .. } = self.leave(at, Reason::Taken);
        Some(Ok((Handed { number, inactive_for, uses: uses + 1, private }, end)))
    }

    /// Until when a connection is kept that is about to become inactive, or why it isn't.
    pub fn verdict(&mut self, candidate: &Conn, until: Time) -> Result<Time, Reason> {
        let limits = &self.limits;
        if candidate.closed {
            return Err(Reason::PeerClosed);
        } else if self.draining {
            return Err(Reason::Drained);
        } else if limits.max_uses.is_some_and(|most| candidate.uses >= most) {
            return Err(Reason::MaxUses);
        } else if candidate.lifetime_end <= self.now && candidate.lifetime_end <= until {
            return Err(Reason::MaxLifetime);
        } else if until <= self.now {
            return Err(Reason::Deadline);
        } else if limits.idle_timeout.is_some_and(|time| time.is_zero()) {
            return Err(Reason::IdleTimeout);
        } else if limits.max_inactive == Some(0) {
            return Err(Reason::MaxInactive);
        } else if limits.max_inactive_per_peer == Some(0) {
            return Err(Reason::MaxInactivePerPeer);
        }
        if !candidate.looked && !candidate.wire.borrow().connected {
            return Err(Reason::NotConnected);
        } else if candidate.read_closed {
            return Err(Reason::HungUp);
        }
        let Conn { peer, channel, uses, .. } = *candidate;
        let inactive_to_peer = self.bucket(peer, channel).len();
        self.asked.push(Asked { peer, channel, uses, inactive: self.oldest_first().len(), inactive_to_peer });
        let until = match self.verdict {
            Some(Verdict::Close) => return Err(Reason::Policy),
            Some(Verdict::KeepUntil(_)) if self.verdict_until <= self.now => return Err(Reason::Deadline),
            Some(Verdict::KeepUntil(_)) => self.verdict_until.min(until),
            _ => until,
        };
        Ok(until)
    }

    /// Makes an active one inactive, if it is kept; what has to go.
    pub fn give_back(&mut self, id: ConnId, private: Option<u64>, until: Time) -> Option<Gone> {
        let at = self.at(id).unwrap();
        let candidate = self.conns.remove(at);
        let verdict = self.verdict(&candidate, until);
        self.conns.insert(at, candidate);
        match verdict {
            Err(reason) => Some(Gone { private, ..self.leave(at, reason) }),
            Ok(until) => {
                self.wait(at, private, until);
                self.make_room(at)
            }
        }
    }

    fn wait(&mut self, at: usize, private: Option<u64>, until: Time) {
        self.orders += 1;
        self.conns[at].looked = true;
        let (since, order) = (self.now, self.orders);
        self.conns[at].state = State::Inactive(Waiting { since, until, private, order, condemned: None });
    }

    fn make_room(&mut self, newcomer: usize) -> Option<Gone> {
        let (peer, channel) = (self.conns[newcomer].peer, self.conns[newcomer].channel);
        if let Some((at, reason)) = self.condemn_in(peer, channel) {
            return Some(self.leave(at, reason));
        }
        let (kept, most) = (self.oldest_first().len() - self.condemned().len(), self.limits.max_inactive?);
        if kept <= most {
            return None;
        }
        // Those of closed peers are to go anyway, in whatever order.
        let closed = self.waiting_closed();
        let (at, reason) = match closed.iter().find(|&&at| Some(self.conns[at].id) == self.hint).or(closed.first()) {
            Some(&at) => (at, Reason::PeerClosed),
            None => self.condemn_in_all()?,
        };
        Some(self.leave(at, reason))
    }

    /// Condemns what is over the limit of a bucket; the last that had to be.
    fn condemn_in(&mut self, peer: usize, channel: u32) -> Option<(usize, Reason)> {
        let (kept, most) = (self.bucket(peer, channel), self.limits.max_inactive_per_peer?);
        self.condemn(kept, most, Reason::MaxInactivePerPeer)
    }

    fn condemn_in_all(&mut self) -> Option<(usize, Reason)> {
        let (kept, most) = (self.oldest_first(), self.limits.max_inactive?);
        self.condemn(kept, most, Reason::MaxInactive)
    }

    fn condemn(&mut self, mut kept: Vec<usize>, most: usize, reason: Reason) -> Option<(usize, Reason)> {
        let condemned = self.condemned();
        kept.retain(|at| !condemned.contains(at));
        let over = kept.len().saturating_sub(most);
        for &at in &kept[..over] {
            self.conns[at].waiting_mut().unwrap().condemned = Some(reason);
        }
        kept[..over].last().map(|&at| (at, reason))
    }

    pub fn set_limits(&mut self, limits: Limits) {
        let lowered = limits.max_uses.filter(|&most| self.limits.max_uses.is_none_or(|before| most < before));
        self.limits = limits;
        for at in self.waiting_closed() {
            self.conns[at].waiting_mut().unwrap().condemned = Some(Reason::PeerClosed);
        }
        self.condemn_in_all();
        for peer in 0..crate::PEERS {
            for channel in 0..crate::CHANNELS {
                self.condemn_in(peer, channel);
            }
        }
        for at in self.oldest_first() {
            let uses = self.conns[at].uses;
            let waiting = self.conns[at].waiting_mut().unwrap();
            if lowered.is_some_and(|most| uses >= most) {
                waiting.condemned = waiting.condemned.or(Some(Reason::MaxUses));
            }
        }
    }

    /// An inactive connection comes in.
    pub fn park(&mut self, mut conn: Conn, private: Option<u64>, until: Time) -> Result<Option<Gone>, Option<Reason>> {
        let until = self.verdict(&conn, until).map_err(Some)?;
        let wire = conn.wire.clone();
        if wire.borrow().fail_reregister || wire.borrow().registered.is_none() {
            return Err(None);
        }
        conn.read_only = true;
        self.counts.inserted += 1;
        self.conns.push(conn);
        let at = self.conns.len() - 1;
        self.wait(at, private, until);
        Ok(self.make_room(at))
    }

    /// Inactive to active, of this very connection.
    pub fn activate(&mut self, at: usize, owner: u64) -> Result<Option<u64>, Gone> {
        let mut fault = self.unfit(at);
        if fault.is_none() && self.probing {
            self.counts.probes += 1;
            fault = self.conns[at].probe();
            self.counts.found_dead += u64::from(fault.is_some());
        }
        match fault {
            Some(reason) => Err(self.leave(at, reason)),
            None => self.hand_out(at, owner).map(|handed| handed.private),
        }
    }

    /// Active or inactive to inactive: the private data displaced, and what has to go.
    pub fn deactivate(
        &mut self,
        at: usize,
        (peer, channel): (usize, u32),
        private: Option<u64>,
        until: Time,
    ) -> (Option<u64>, Option<Gone>) {
        if let Some(reason) = self.conns[at].waiting().and_then(|_| self.unfit(at)) {
            let gone = self.leave(at, reason);
            return (gone.private, Some(Gone { private, ..gone }));
        }
        let conn = &mut self.conns[at];
        (conn.peer, conn.channel) = (peer, channel);
        let displaced = conn.waiting_mut().and_then(|waiting| waiting.private.take());
        conn.state = State::Active(0);
        let id = conn.id;
        (displaced, self.give_back(id, private, until))
    }

    /// Why a connection can't be made active for this peer.
    pub fn refusal(&self, at: usize, peer: usize, owner: u64) -> Option<StateError> {
        match self.conns[at].owner() {
            Some(has) => (has != owner).then_some(StateError::OwnedBy(conncache::Owner(has))),
            None => (self.conns[at].peer != peer).then_some(StateError::OtherPeer),
        }
    }

    /// The loop was told something about a connection: what becomes of it.
    pub fn ready(&mut self, at: usize, read_closed: bool) -> Option<Gone> {
        let conn = &mut self.conns[at];
        if conn.owner().is_some() {
            conn.read_closed |= read_closed;
            return None;
        }
        self.counts.probes += 1;
        let fault = conn.probe().or(read_closed.then_some(Reason::HungUp));
        fault.map(|reason| self.leave(at, reason))
    }
}

pub fn nanos(time: std::time::Duration) -> Time {
    time.as_nanos().try_into().unwrap_or(NEVER)
}
