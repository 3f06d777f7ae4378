//! How connections become active, and what events do to them.

use super::{Gone, Handed, Naive, State, Time, Waiting};
use conncache::{ConnId, Reason, StateError};

impl Naive {
    /// The newest one that is fit for use; closes the dead ones before it.
    pub fn find(&mut self, peer: usize, channel: u64) -> Option<usize> {
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

    pub(super) fn waiting(&self, id: ConnId) -> &Waiting {
        self.conns[self.at(id).unwrap()].waiting().unwrap()
    }

    /// Makes an inactive one, found fit, active.
    pub(super) fn hand_out(&mut self, at: usize, owner: u64) -> Result<Handed, Gone> {
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

    pub fn checkout(&mut self, peer: usize, channel: u64, owner: u64) -> Option<Handed> {
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

    pub fn take(&mut self, peer: usize, channel: u64) -> Option<Result<(Handed, Time, Time), Gone>> {
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
        let Gone { number, uses, private, opened, .. } = self.leave(at, Reason::Taken);
        Some(Ok((Handed { number, inactive_for, uses: uses + 1, private }, opened, end)))
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
        let fault = conn.probe().or(read_closed.then_some(Reason::HungUp)).or_else(|| self.false_alarm(at));
        fault.map(|reason| self.leave(at, reason))
    }

    /// A sweep found this one: that is right if it is inactive and dead.
    pub fn swept(&mut self, id: ConnId) -> Option<Gone> {
        let at = self.at(id)?;
        let fault = self.conns[at].waiting().and_then(|_| self.conns[at].probe());
        fault.map(|reason| self.leave(at, reason))
    }

    pub fn any_dead(&self) -> bool {
        self.conns.iter().any(|conn| conn.waiting().is_some() && conn.probe().is_some())
    }

    /// The host has written to an inactive connection.
    pub fn forgive(&mut self, at: usize) {
        self.conns[at].waiting_mut().unwrap().alarms = 0;
    }

    /// 64 at once, and one more a second.
    fn false_alarm(&mut self, at: usize) -> Option<Reason> {
        let now = self.now / 1_000_000_000;
        let waiting = self.conns[at].waiting_mut().unwrap();
        waiting.alarms = waiting.alarms.max(now) + 1;
        (waiting.alarms > now + 64).then_some(Reason::FalseAlarms)
    }
}
