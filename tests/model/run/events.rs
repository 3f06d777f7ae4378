//! Events, time, limits, and what the far ends and the operating system do.

use super::{CLOSINGS, Run, some_limits};
use crate::common::random::Random;
use crate::common::scripted::{Far, Shared};
use crate::naive::Closed;
use conncache::mio::Token;
use conncache::{ChannelBindingId, Handled, Reason};
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Run {
    pub(super) fn leave_by_order(&mut self, random: &mut Random) {
        let Some(id) = self.some_id(random) else { return };
        let remove = random.one_in(2);
        let reason = if remove { Reason::Removed } else { Reason::Closed };
        let expected = self.naive.at(id).map(|at| self.naive.leave(at, reason));
        let done = if remove { self.cache.remove(id) } else { self.cache.close_connection(id) };
        assert_eq!(done.is_err(), expected.is_none());
        self.same_gone(done.ok(), expected);
    }

    pub(super) fn shed(&mut self) {
        let done = self.cache.shed();
        // Those of closed peers go first, then those condemned, in whatever order they were; then the oldest.
        let mut next = [self.naive.waiting_closed(), self.naive.condemned()].into_iter().find(|some| !some.is_empty());
        let among = next.take().unwrap_or_else(|| self.naive.oldest_first().into_iter().take(1).collect());
        let known = done.as_ref().and_then(|evicted| self.naive.at(evicted.id));
        let expected = known.filter(|at| among.contains(at)).or(among.first().copied());
        let expected = expected.map(|at| self.naive.leave(at, Reason::Shed));
        self.same_gone(done, expected);
    }

    /// Which of the inactive ones are probed first is the cache's own matter.
    pub(super) fn sweep(&mut self, random: &mut Random) {
        let most = random.pick(&[0, 1, 2, 5, usize::MAX]);
        let (before, inactive) = (self.cache.stats().probes, self.cache.counts().inactive);
        let swept = self.cache.sweep(most);
        let (probes, found_none) = (self.cache.stats().probes - before, swept.is_none());
        assert!(probes as usize <= most.min(inactive), "{probes} probes instead of {most}");
        self.naive.counts.probes += probes;
        let gone = swept.as_ref().and_then(|evicted| self.naive.swept(evicted.id));
        self.same_gone(swept, gone);
        if found_none && probes as usize == inactive {
            assert!(!self.naive.any_dead(), "a dead one is left");
        }
    }

    pub(super) fn readiness(&mut self, random: &mut Random) {
        let read_closed = random.one_in(4);
        let token = match random.below(8) {
            0 => Token(random.below(1_000)),
            1 => Token(usize::MAX),
            2 | 3 if !self.seen.is_empty() => self.seen[self.seen.len() - 1 - random.below(self.seen.len().min(9))].1,
            _ => match self.some_id(random).and_then(|id| self.cache.token(id)) {
                Some(token) => token,
                None => return,
            },
        };
        let handled = self.cache.handle_readiness(token, read_closed);
        if token.0 < 1_000 || token.0 == usize::MAX {
            assert!(matches!(handled, Handled::Rejected));
            return;
        }
        // Compared by the token: with few generations, a late event may name a newcomer.
        let tokens = |wire: &Shared| wire.borrow().registered.map(|(token, _)| token);
        let named = match &handled {
            Handled::Evicted(evicted) => self.naive.at(evicted.id),
            _ => self.naive.conns.iter().position(|conn| tokens(&conn.wire) == Some(token)),
        };
        let Some(at) = named else {
            assert!(matches!(handled, Handled::Nothing), "{handled:?}");
            self.naive.counts.stale_events += 1;
            return;
        };
        let (id, owner) = (self.naive.conns[at].id, self.naive.conns[at].owner());
        match (handled, self.naive.ready(at, read_closed)) {
            (Handled::Active { id: named, owner: o }, None) => assert_eq!((named, Some(o.0)), (id, owner)),
            (Handled::Nothing, None) => assert_eq!(owner, None),
            (Handled::Evicted(evicted), Some(gone)) => self.same_gone(Some(evicted), Some(gone)),
            (handled, gone) => panic!("{handled:?} instead of {gone:?}"),
        }
    }

    /// Somebody keeps waking the loop for nothing; now and then the host writes a ping meanwhile.
    pub(super) fn false_alarms(&mut self, random: &mut Random) {
        let Some(id) = self.some_inactive(random) else { return };
        for _ in 0..random.below(140) {
            let Some(at) = self.naive.at(id) else { return };
            if random.one_in(50) {
                assert!(self.cache.get_mut(id).is_some());
                self.naive.forgive(at);
            }
            let token = self.cache.token(id).unwrap();
            match (self.cache.handle_readiness(token, false), self.naive.ready(at, false)) {
                (Handled::Nothing, None) => {}
                (Handled::Evicted(evicted), gone) => self.same_gone(Some(evicted), gone),
                (handled, gone) => panic!("{handled:?} instead of {gone:?}"),
            }
        }
    }

    /// The host closes a peer or a channel binding.
    pub(super) fn close(&mut self, random: &mut Random) {
        CLOSINGS[0].fetch_add(1, Ordering::SeqCst);
        if random.one_in(2) {
            let peer = random.below(self.size.peers);
            self.cache.close_peer(&self.peers[peer]);
            self.naive.close(Closed::Peer(peer));
        } else {
            let channel = random.below(self.size.channels as usize) as u64;
            self.cache.close_channel(ChannelBindingId(channel));
            self.naive.close(Closed::Channel(channel));
        }
        CLOSINGS[1].fetch_add(1, Ordering::SeqCst);
    }

    /// Until nothing is due, or fewer times.
    pub(super) fn expire(&mut self, random: &mut Random) {
        let now = self.now(random);
        for _ in 0..1 + random.below(30) {
            let Some(evicted) = self.cache.expire(now) else {
                let due = (0..self.naive.conns.len()).find(|&at| !self.naive.due(at).is_empty());
                assert_eq!(due.map(|at| self.naive.conns[at].number), None, "due, but expire has nothing");
                let deadline = self.cache.next_deadline();
                let latest = self.start + Duration::from_nanos(self.naive.now);
                assert!(deadline.is_none_or(|at| at > latest), "the loop would spin");
                return;
            };
            let at = self.naive.at(evicted.id).expect("the reference has it, too");
            let due = self.naive.due(at);
            assert!(due.contains(&evicted.reason), "{:?}, not one of {due:?}", evicted.reason);
            let gone = self.naive.leave(at, evicted.reason);
            self.same_gone(Some(evicted), Some(gone));
        }
    }

    /// The far end of a connection does something.
    pub(super) fn far_end(&mut self, random: &mut Random) {
        let Some(id) = self.some_inactive(random) else { return };
        let far = random.pick(&[Far::Quiet, Far::Closed, Far::Unsolicited, Far::Failed]);
        let conn = &self.naive.conns[self.naive.at(id).unwrap()];
        conn.wire.borrow_mut().far = far;
        if random.one_in(4) {
            for conn in self.naive.conns.iter().filter(|other| other.peer == conn.peer) {
                conn.wire.borrow_mut().far = far;
            }
        }
    }

    /// The operating system does something.
    pub(super) fn misfortune(&mut self, random: &mut Random) {
        let Some(id) = self.some_id(random).and_then(|id| self.naive.at(id)) else { return };
        let mut wire = self.naive.conns[id].wire.borrow_mut();
        match random.below(2) {
            0 => wire.fail_reregister = !wire.fail_reregister,
            _ => wire.fail_deregister = true,
        }
    }

    pub(super) fn limits(&mut self, random: &mut Random) {
        if random.one_in(5) {
            let mut wrong = some_limits(random);
            wrong.max_lifetime = None;
            wrong.lifetime_jitter = Duration::from_secs(1);
            assert_eq!(self.cache.set_limits(wrong).unwrap_err().field(), "lifetime_jitter");
            return;
        }
        let limits = some_limits(random);
        self.cache.set_limits(limits.clone()).unwrap();
        self.naive.set_limits(limits);
    }
}
