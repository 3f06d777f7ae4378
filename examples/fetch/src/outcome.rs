//! What became of a connection's requests: answered, failed, or to be sent again.

use crate::client::Client;
use crate::conn::Progress;
use crate::exchange::{Exchange, Way};
use crate::notes::Note;
use crate::opening::{Hindrance, Phase};
use crate::trouble::Trouble;
use conncache::{ConnId, Evicted, Owner};
use std::time::Duration;

/// By how much earlier than the server a connection is given up, since a request takes its time to get there. Where the
/// server keeps it for less than twice as long: half the server's time.
const KEEP_ALIVE_MARGIN: Duration = Duration::from_secs(1);

/// How many deadlines are dealt with in one turn: another one follows at once.
const MOST_AT_ONCE: usize = 1_000;

impl Client {
    /// Lets a connection do what it can; reading only if there may be something, since where mio emulates edges, a read
    /// that would block has the socket's writability told anew, for ever.
    pub(crate) fn drive(&mut self, id: ConnId, owner: Owner, mut readable: bool) {
        let at = owner.0 as usize;
        let Some(conn) = self.cache.get_mut(id) else { return };
        if conn.exchanges().is_empty() {
            return; // a second event, after the one that brought the answer
        }
        if !matches!(conn.phase, Phase::Open) {
            let until = self.now + self.config.handshake_timeout;
            match conn.go_on_opening(self.now, until, self.poll.registry(), &mut self.buffer) {
                Ok(true) => {
                    readable = true; // behind the last of the handshakes
                    self.totals.count_opened(conn.handshake_kind());
                    if let Some(address) = conn.socket().address() {
                        self.sites[at].addresses.worked(address);
                    }
                }
                Ok(false) => return self.arm(id),
                Err(Hindrance::NoAddress(error)) => {
                    let why = format!("can't connect to {}: {error}", self.sites[at].route.peer);
                    return self.broken(id, at, Trouble::Refused(why));
                }
                Err(Hindrance::Handshake(why)) => return self.broken(id, at, Trouble::Refused(why)),
            }
        }
        let (totals, notes) = (&mut self.totals, &mut self.notes);
        let mut answered = |exchange| {
            totals.count(&exchange);
            notes.push(Note::Answered { id, exchange });
        };
        match conn.drive(self.now, readable, &mut self.buffer, &mut answered) {
            Progress::Blocked => return self.arm(id),
            Progress::Unread => {
                self.unread.push(id);
                return self.arm(id);
            }
            Progress::Answered { keep } => return self.answered.push((id, keep)),
            Progress::Ending => self.send_elsewhere(id, at),
            Progress::Broken(trouble) => self.broken(id, at, trouble),
        }
        // Before another connection becomes inactive: a request to be repeated takes the place of the connection that
        // broke, not of a sound one.
        self.dispatch();
    }

    /// Gives back the connections whose requests are all answered, and sends the next requests on them. Reading from
    /// all of them first, then writing to all, takes less time than reading and writing one by one.
    pub(crate) fn go_on_with_answered(&mut self) {
        for place in 0..self.answered.len() {
            let (id, keep) = self.answered[place];
            self.give_back(id, keep);
            // Before another connection becomes inactive. A restrictive cache keeps one only if a request waits.
            self.dispatch();
        }
        self.answered.clear();
    }

    /// Every request on this connection is answered. The server's time for it runs since the last answer.
    pub(crate) fn give_back(&mut self, id: ConnId, keep: bool) {
        if !keep {
            return self.discard(id);
        }
        // A deadline that never comes is none.
        let until = self.cache.get(id).and_then(|conn| {
            let time = conn.keep_alive?;
            conn.silent_since().checked_add(time - KEEP_ALIVE_MARGIN.min(time / 2))
        });
        let given_back = match until {
            Some(until) => self.cache.checkin_until(self.now, id, until),
            None => self.cache.checkin(self.now, id),
        };
        if let Ok(Some(evicted)) = given_back {
            self.note_eviction(&evicted);
        }
    }

    /// Closes a connection without a request under way.
    pub(crate) fn discard(&mut self, id: ConnId) {
        if let Ok(evicted) = self.cache.close_connection(id) {
            self.note_eviction(&evicted);
        }
    }

    /// The server has announced that it closes. What it hasn't answered, it hasn't dealt with.
    fn send_elsewhere(&mut self, id: ConnId, at: usize) {
        for exchange in self.close(id, at).into_iter().rev() {
            self.sites[at].put_back(exchange);
        }
    }

    /// The connection can't go on. A request fails if it may have been dealt with; the others are sent again, once.
    pub(crate) fn broken(&mut self, id: ConnId, at: usize, trouble: Trouble) {
        let Some(conn) = self.cache.get(id) else { return };
        let untouched = !conn.has_begun() && trouble.may_be_stale();
        let exchanges = self.close(id, at);
        if exchanges.len() > 1 || exchanges.iter().any(|exchange| exchange.pipelined) {
            self.sites[at].breaks_pipelines = true;
        }
        for (place, exchange) in exchanges.into_iter().enumerate() {
            let may_repeat = exchange.way == Way::Reused && exchange.deadline > self.now;
            if may_repeat && (place > 0 || untouched) {
                self.totals.retried += 1;
                self.sites[at].repeat(exchange);
            } else {
                let why = match &trouble {
                    Trouble::Refused(why) => why.clone(),
                    trouble => format!("{}: {trouble}", self.sites[at].route.peer),
                };
                self.fail(exchange, why);
            }
        }
    }

    /// Closes every connection with a request under way. The requests have neither a response nor failed.
    pub(crate) fn give_up(&mut self) {
        for at in 0..self.sites.len() {
            for id in self.connections_of(at) {
                self.close(id, at);
            }
        }
    }

    /// The connections with a request under way.
    pub(crate) fn connections_of(&self, at: usize) -> Vec<ConnId> {
        self.cache.find_my_connections(Client::owner(at)).collect()
    }

    /// Closes a connection of ours; its unanswered requests.
    pub(crate) fn close(&mut self, id: ConnId, at: usize) -> Vec<Exchange> {
        let Ok(evicted) = self.cache.close_connection(id) else { return Vec::new() };
        self.asking.push_back(at);
        let Evicted { reason, conn, .. } = evicted;
        match conn.phase {
            Phase::Waiting { .. } => self.totals.not_begun += 1,
            Phase::Connecting { .. } | Phase::ShakingHands { .. } => self.totals.not_connected += 1,
            Phase::Open => self.notes.push(Note::Evicted { id, reason }),
        }
        conn.into_parts().0.into()
    }

    /// Ends what has taken too long, and goes on with what had to wait for its time.
    pub(crate) fn enforce_deadlines(&mut self) {
        for _ in 0..MOST_AT_ONCE {
            let Some((id, owner)) = self.cache.overdue(self.now) else { return };
            self.time_out(id, owner);
        }
    }

    fn time_out(&mut self, id: ConnId, owner: Owner) {
        let at = owner.0 as usize;
        let timeout = self.config.timeout;
        let Some(conn) = self.cache.get_mut(id) else { return };
        let Some(front) = conn.exchanges().front() else { return };
        let is_over = front.deadline <= self.now;
        match &mut conn.phase {
            Phase::Waiting { .. } => return self.begin(id, at),
            // Another address is due.
            Phase::Connecting { give_up, .. } if *give_up > self.now => return self.drive(id, owner, false),
            Phase::Connecting { .. } => {
                let attempts = conn.socket().attempts();
                let why = format!("not connected within {:?}: {attempts}", self.config.connect_timeout);
                return self.broken(id, at, Trouble::TimedOut(why));
            }
            Phase::ShakingHands { steps, .. } => {
                let why = steps.timed_out(if is_over { timeout } else { self.config.handshake_timeout });
                return self.broken(id, at, Trouble::Refused(why));
            }
            Phase::Open => {}
        }
        let Some(front) = conn.exchanges().front() else { return };
        let trouble = match front.status {
            _ if !is_over => Trouble::Stalled,
            0 => Trouble::TimedOut(format!("no response within {timeout:?}")),
            _ => Trouble::TimedOut(format!(
                "response not complete within {timeout:?}: status {}, {} bytes of the body so far",
                front.status, front.body_bytes
            )),
        };
        self.broken(id, at, trouble);
    }
}
