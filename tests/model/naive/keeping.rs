//! How connections become inactive, and what has to go for them.

use super::{Asked, Conn, Gone, Naive, State, Time, Waiting};
use crate::common::scripted::EDGES_ARE_EMULATED;
use conncache::{ConnId, Limits, Reason, Verdict};

impl Naive {
    /// Until when a connection is kept that is about to become inactive, or why it isn't.
    pub fn verdict(&mut self, candidate: &Conn, until: Time) -> Result<Time, Reason> {
        let limits = &self.limits;
        if let Some(reason) = candidate.closed {
            return Err(reason);
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
        }
        if EDGES_ARE_EMULATED {
            self.counts.looks += 1;
            if let Some(reason) = candidate.probe() {
                return Err(reason);
            }
        }
        if candidate.read_closed {
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
            Ok(_) if !self.narrow(at) => Some(Gone { private, ..self.leave(at, Reason::Failed) }),
            Ok(until) => {
                self.wait(at, private, until);
                self.make_room(at)
            }
        }
    }

    /// Where edges are emulated: registers it for reading alone, if that can be done.
    fn narrow(&mut self, at: usize) -> bool {
        let conn = &mut self.conns[at];
        if EDGES_ARE_EMULATED && !conn.read_only {
            conn.read_only = !conn.wire.borrow().fail_reregister;
            return conn.read_only;
        }
        true
    }

    pub(super) fn wait(&mut self, at: usize, private: Option<u64>, until: Time) {
        self.orders += 1;
        self.conns[at].looked = true;
        let (since, order) = (self.now, self.orders);
        self.conns[at].state = State::Inactive(Waiting { since, until, private, order, condemned: None, alarms: 0 });
    }

    /// What goes for a newcomer: one that has to go anyway, else the oldest of those condemned, now or before.
    fn make_room(&mut self, newcomer: usize) -> Option<Gone> {
        let (peer, channel) = (self.conns[newcomer].peer, self.conns[newcomer].channel);
        if let Some(most) = self.limits.max_inactive_per_peer {
            let kept = self.kept(self.bucket(peer, channel));
            if let Some(at) = self.run_out(&kept).filter(|_| kept.len() == most + 1) {
                return Some(self.leave(at, self.expired(at).unwrap()));
            }
            self.condemn(kept, most, Reason::MaxInactivePerPeer);
        }
        if let Some(most) = self.limits.max_inactive {
            let kept = self.kept(self.oldest_first());
            if kept.len() == most + 1 {
                if let Some(at) = self.hinted(&self.waiting_closed()) {
                    return Some(self.leave(at, self.conns[at].closed.unwrap()));
                } else if let Some(at) = self.run_out(&kept) {
                    return Some(self.leave(at, self.expired(at).unwrap()));
                }
            }
            self.condemn(kept, most, Reason::MaxInactive);
        }
        let at = self.hinted(&self.condemned())?;
        Some(self.leave(at, self.unfit(at).unwrap()))
    }

    /// The one that the cache let go if it is among these, else the first.
    fn hinted(&self, among: &[usize]) -> Option<usize> {
        let hint = self.hint.map(|(id, _)| id);
        among.iter().find(|&&at| Some(self.conns[at].id) == hint).or(among.first()).copied()
    }

    /// The one among these that the cache let go since its time had ended. It doesn't look for one at any price.
    fn run_out(&self, among: &[usize]) -> Option<usize> {
        let hint = self.hint?;
        among.iter().copied().find(|&at| self.conns[at].id == hint.0 && self.expired(at) == Some(hint.1))
    }

    /// Those of them that are not condemned.
    fn kept(&self, mut among: Vec<usize>) -> Vec<usize> {
        among.retain(|&at| self.conns[at].waiting().unwrap().condemned.is_none());
        among
    }

    /// Condemns the oldest until at most so many are kept.
    fn condemn(&mut self, kept: Vec<usize>, most: usize, reason: Reason) {
        for &at in &kept[..kept.len().saturating_sub(most)] {
            self.conns[at].waiting_mut().unwrap().condemned = Some(reason);
        }
    }

    pub fn set_limits(&mut self, limits: Limits) {
        let lowered = limits.max_uses.filter(|&most| self.limits.max_uses.is_none_or(|before| most < before));
        self.limits = limits;
        for at in self.waiting_closed() {
            let closed = self.conns[at].closed;
            self.conns[at].waiting_mut().unwrap().condemned = closed;
        }
        if let Some(most) = self.limits.max_inactive {
            self.condemn(self.kept(self.oldest_first()), most, Reason::MaxInactive);
        }
        if let Some(most) = self.limits.max_inactive_per_peer {
            for peer in 0..self.size.peers {
                for channel in 0..self.size.channels {
                    self.condemn(self.kept(self.bucket(peer, channel)), most, Reason::MaxInactivePerPeer);
                }
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

    /// Active or inactive to inactive: the private data displaced, and what has to go.
    pub fn deactivate(
        &mut self,
        at: usize,
        (peer, channel): (usize, u64),
        private: Option<u64>,
        until: Time,
    ) -> (Option<u64>, Option<Gone>) {
        if let Some(reason) = self.conns[at].waiting().and_then(|_| self.unfit(at)) {
            let gone = self.leave(at, reason);
            return (gone.private, Some(Gone { private, ..gone }));
        }
        let conn = &mut self.conns[at];
        (conn.peer, conn.channel) = (peer, channel);
        let since = conn.waiting().map(|waiting| waiting.since);
        let displaced = conn.waiting_mut().and_then(|waiting| waiting.private.take());
        conn.state = State::Active(0);
        let id = conn.id;
        let gone = self.give_back(id, private, until);
        (displaced, gone.map(|gone| if gone.id == id { Gone { since, ..gone } } else { gone }))
    }
}
