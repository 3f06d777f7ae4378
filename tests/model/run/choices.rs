//! What the run chooses at random.

use super::{MS, Run, Secret};
use crate::common::random::Random;
use crate::common::scripted::{Scripted, Shared};
use crate::naive::{Conn, NEVER, State, Time};
use conncache::{ConnId, PrivateData};
use std::rc::Rc;
use std::time::{Duration, Instant};

impl Run {
    /// What the host's clock says: now and then, too early.
    pub(super) fn time(&self, random: &mut Random) -> (Instant, Time) {
        let mut time = self.wall;
        if random.one_in(15) {
            time = time.saturating_sub(random.below(100) as Time * MS);
        }
        let now = self.start + Duration::from_nanos(time);
        (if time == 0 && random.one_in(2) { now - Duration::from_secs(5) } else { now }, time)
    }

    /// The same, for calls that take note of it in any case.
    pub(super) fn now(&mut self, random: &mut Random) -> Instant {
        let (now, time) = self.time(random);
        self.naive.tell(time);
        now
    }

    pub(super) fn key(&self, random: &mut Random) -> (usize, u64) {
        if let Some(id) = self.some_inactive(random).filter(|_| random.one_in(2)) {
            let conn = &self.naive.conns[self.naive.at(id).unwrap()];
            return (conn.peer, conn.channel);
        }
        (random.below(self.size.peers), random.below(self.size.channels as usize) as u64)
    }

    /// An id: mostly of a connection here, else one that is over, or of one that has gone.
    pub(super) fn some_id(&self, random: &mut Random) -> Option<ConnId> {
        if random.one_in(10) && !self.former.is_empty() {
            return Some(self.former[self.former.len() - 1 - random.below(self.former.len().min(20))]);
        }
        if random.one_in(12) || self.naive.conns.is_empty() {
            let foreign = self.seen.is_empty() || random.one_in(10);
            return Some(if foreign { self.foreign } else { self.seen[random.below(self.seen.len())].0 });
        }
        Some(self.naive.conns[random.below(self.naive.conns.len())].id)
    }

    pub(super) fn some_active(&self, random: &mut Random) -> Option<ConnId> {
        if random.one_in(10) {
            return self.some_id(random);
        }
        let active: Vec<ConnId> = self.naive.conns.iter().filter(|c| c.owner().is_some()).map(|c| c.id).collect();
        (!active.is_empty()).then(|| active[random.below(active.len())])
    }

    pub(super) fn some_inactive(&self, random: &mut Random) -> Option<ConnId> {
        let inactive = self.naive.oldest_first();
        (!inactive.is_empty()).then(|| self.naive.conns[inactive[random.below(inactive.len())]].id)
    }

    pub(super) fn some_until(&mut self, random: &mut Random) -> (Option<Instant>, Time) {
        if !random.one_in(3) {
            return (None, NEVER);
        }
        let time = (self.wall + random.below(60) as Time * MS).saturating_sub(3 * MS);
        (Some(self.start + Duration::from_nanos(time)), time)
    }

    pub(super) fn some_private(&mut self, random: &mut Random) -> (PrivateData, Option<u64>) {
        if random.one_in(2) {
            return (None, None);
        }
        self.secrets += 1;
        (Some(Box::new(Secret(self.secrets))), Some(self.secrets))
    }

    pub(super) fn new_wire(&mut self, random: &mut Random) -> (Scripted, Shared) {
        let (conn, wire) = Scripted::new(self.wires.len());
        self.wires.push(Rc::clone(&wire));
        wire.borrow_mut().connected = !random.one_in(8);
        (conn, wire)
    }

    pub(super) fn fresh(&self, id: ConnId, wire: Shared, (peer, channel): (usize, u64), lifetime_end: Time) -> Conn {
        let number = wire.borrow().number;
        Conn {
            id,
            wire,
            number,
            peer,
            channel,
            uses: 1,
            opened: self.naive.now,
            lifetime_end,
            state: State::Active(0),
            read_closed: false,
            closed: None,
            looked: false,
            read_only: false,
        }
    }

    pub(super) fn came(&mut self, id: ConnId, wire: &Shared) {
        assert!(self.seen.iter().all(|&(seen, _)| seen != id), "an id came again");
        self.seen.push((id, wire.borrow().registered.unwrap().0));
    }

    /// A connection was handed out: its lease before is over.
    pub(super) fn leased(&mut self, number: usize, id: ConnId) {
        let conn = self.naive.conns.iter_mut().find(|conn| conn.number == number).expect("it is here");
        let former = std::mem::replace(&mut conn.id, id);
        assert!(id.same_connection(former) && id != former && !self.former.contains(&id));
        self.former.push(former);
    }
}
