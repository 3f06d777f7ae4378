//! The reference: connections, places and requests in plain vectors, and what the limits say of them.

use crate::common::scripted::{EDGES_ARE_EMULATED, Far, Shared};
use conncache::{ChannelBindingId, ConnId, Limits, Owner, Place, Reason, WaiterId};
use std::time::{Duration, Instant};

/// The numbers of a peer and a channel binding: those who wait for the same pair stand in one line.
pub type Pair = (usize, u64);

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Standing {
    Active(Owner),
    Kept,
    /// Kept for somebody who waits.
    Promised,
    Condemned(Reason),
}

#[derive(Clone)]
pub struct Conn {
    pub id: ConnId,
    pub wire: Shared,
    pub pair: Pair,
    pub standing: Standing,
    pub connecting: bool,
    /// Its peer or channel binding was closed.
    pub closed: Option<Reason>,
    /// When it became inactive. No two have done so at the same time.
    pub since: Instant,
    pub until: Option<Instant>,
    /// When its owner's time is over.
    pub time: Option<Instant>,
}

impl Conn {
    pub fn is_inactive(&self) -> bool {
        !matches!(self.standing, Standing::Active(_))
    }

    pub fn is_dead(&self) -> bool {
        self.wire.borrow().far != Far::Quiet
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Waiter {
    pub id: WaiterId,
    pub pair: Pair,
    pub owner: Owner,
    pub since: Instant,
    pub until: Option<Instant>,
}

/// A place, and when its time is over. The host may have lost what the cache gave it.
pub struct Held {
    pub waiter: Waiter,
    pub end: Instant,
    pub place: Option<Place>,
}

/// Whether there is room for a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Room {
    No,
    /// By something that is left to `expire`.
    Perhaps,
    Yes,
}

pub struct Naive {
    pub limits: Limits,
    /// The peer to which the policy lets so many connections lead.
    pub special: Option<(usize, usize)>,
    /// How many inactive connections the policy keeps that nobody waits for; `None` if all.
    pub residents: Option<usize>,
    /// For how long the policy keeps an inactive connection.
    pub keeps_for: Option<Duration>,
    pub oldest_first: bool,
    pub draining: bool,
    pub now: Instant,
    pub conns: Vec<Conn>,
    pub places: Vec<Held>,
    /// All lines in one: those of one pair stand in their order.
    pub waiting: Vec<Waiter>,
    pub refused: Vec<Waiter>,
}

impl Naive {
    pub fn most_to(&self, peer: usize) -> usize {
        let own = self.special.filter(|&(of, _)| of == peer).map(|(_, most)| most);
        own.or(self.limits.max_connections_per_peer).unwrap_or(usize::MAX)
    }

    pub fn most(&self) -> usize {
        self.limits.max_connections.unwrap_or(usize::MAX)
    }

    pub fn total(&self) -> usize {
        self.conns.len() + self.places.len()
    }

    pub fn total_where(&self, which: impl Fn(Pair) -> bool) -> usize {
        let places = self.places.iter().filter(|held| which(held.waiter.pair)).count();
        places + self.conns.iter().filter(|conn| which(conn.pair)).count()
    }

    pub fn total_to(&self, peer: usize) -> usize {
        self.total_where(|pair| pair.0 == peer)
    }

    pub fn connecting_to(&self, peer: usize) -> usize {
        let places = self.places.iter().filter(|held| held.waiter.pair.0 == peer).count();
        places + self.conns.iter().filter(|conn| conn.pair.0 == peer && conn.connecting).count()
    }

    pub fn waiting_in(&self, pair: Pair) -> usize {
        self.waiting.iter().filter(|waiter| waiter.pair == pair).count()
    }

    fn promised_in(&self, pair: Pair) -> impl Iterator<Item = &Conn> {
        let is = move |conn: &&Conn| conn.pair == pair && conn.closed.is_none() && conn.standing == Standing::Promised;
        self.conns.iter().filter(is)
    }

    /// How many are not promised a connection other than this one.
    pub fn unmatched_in(&self, pair: Pair, but: Option<ConnId>) -> usize {
        let others = self.promised_in(pair).filter(|conn| Some(conn.id) != but);
        self.waiting_in(pair).saturating_sub(others.count())
    }

    /// Who is first in each line.
    pub fn heads(&self) -> Vec<Waiter> {
        let mut heads: Vec<Waiter> = Vec::new();
        for waiter in &self.waiting {
            if heads.iter().all(|head| head.pair != waiter.pair) {
                heads.push(*waiter);
            }
        }
        heads
    }

    /// The first owner's time that is over.
    pub fn overdue(&self) -> Option<Instant> {
        self.conns.iter().filter_map(|conn| conn.time).min().filter(|&time| time <= self.now)
    }

    pub fn at(&self, id: ConnId) -> usize {
        self.conns.iter().position(|conn| conn.id.same_connection(id)).unwrap_or_else(|| panic!("{id} has left"))
    }

    /// Why an inactive connection must not be handed out.
    pub fn unfit(&self, conn: &Conn) -> Option<Reason> {
        if !conn.is_inactive() {
            return None;
        }
        let idle_end = self.limits.idle_timeout.map(|time| conn.since + time);
        match conn.standing {
            _ if conn.closed.is_some() => conn.closed,
            _ if self.draining => Some(Reason::Drained),
            Standing::Condemned(reason) => Some(reason),
            _ if conn.until.is_some_and(|until| until <= self.now && idle_end.is_none_or(|end| until <= end)) => {
                Some(Reason::Deadline)
            }
            _ if idle_end.is_some_and(|end| end <= self.now) => Some(Reason::IdleTimeout),
            _ => None,
        }
    }

    fn is_fit(&self, conn: &Conn) -> bool {
        conn.is_inactive() && self.unfit(conn).is_none()
    }

    /// The connection that a request for this pair would get, if nobody waited, and if it is alive.
    pub fn to_reuse(&self, pair: Pair) -> Option<&Conn> {
        let fit = self.conns.iter().filter(|conn| conn.pair == pair && self.is_fit(conn));
        if self.oldest_first { fit.min_by_key(|conn| conn.since) } else { fit.max_by_key(|conn| conn.since) }
    }

    /// Whether somebody who waits, or comes, could open a connection to this pair; or park one, without a channel.
    pub fn room(&self, peer: usize, channel: Option<u64>) -> Room {
        let (all, to_peer) = (self.total(), self.total_to(peer));
        let most_connecting = self.limits.max_connecting_per_peer.unwrap_or(usize::MAX);
        let stampede = channel.is_some() && self.connecting_to(peer) >= most_connecting;
        if all > self.most() || to_peer > self.most_to(peer) || stampede {
            return Room::No;
        }
        let is = |yes: bool| if yes { Room::Yes } else { Room::No };
        if to_peer == self.most_to(peer) {
            return is(self.useless_at(peer, channel).is_some());
        }
        if all < self.most() {
            return Room::Yes;
        }
        let goes = |conn: &Conn| {
            matches!(conn.standing, Standing::Condemned(_) | Standing::Kept)
                || conn.is_inactive() && conn.closed.is_some()
        };
        if self.conns.iter().any(goes) {
            return Room::Yes;
        }
        if self.conns.iter().any(|conn| self.unfit(conn).is_some()) { Room::Perhaps } else { Room::No }
    }

    /// The inactive connection to this peer that goes first to make room for one under `channel`. Of each channel binding
    /// the oldest is looked at. Those that are unfit go first, then the one inactive for longest.
    fn useless_at(&self, peer: usize, channel: Option<u64>) -> Option<ConnId> {
        let kept = |conn: &&Conn| conn.pair.0 == peer && conn.standing == Standing::Kept;
        let is_oldest = |conn: &&Conn| {
            let same = |other: &&Conn| (other.pair, other.closed) == (conn.pair, conn.closed) && kept(other);
            self.conns.iter().filter(same).all(|other| conn.since <= other.since)
        };
        let useless = |conn: &&Conn| Some(conn.pair.1) != channel || self.unfit(conn).is_some();
        let all = self.conns.iter().filter(kept).filter(is_oldest).filter(useless);
        all.min_by_key(|conn| (self.unfit(conn).is_none(), conn.since)).map(|conn| conn.id)
    }

    /// Somebody who can be served for certain: by a connection that is there, or by a new one.
    pub fn servable(&self) -> Option<Waiter> {
        let reusing = self.heads().into_iter().find(|head| self.reusable(head.pair));
        reusing.or_else(|| self.openable())
    }

    /// Somebody who can be served for certain by a new connection.
    pub fn openable(&self) -> Option<Waiter> {
        self.heads().into_iter().find(|head| self.room(head.pair.0, Some(head.pair.1)) == Room::Yes)
    }

    /// Whether the cache may take it for somebody's turn to open a connection. It looks whether there is room for the
    /// first line of a peer, under any channel binding, and not at more than so many peers.
    pub fn may_be_anybodys_turn(&self) -> bool {
        let (heads, most_connecting) = (self.heads(), self.limits.max_connecting_per_peer.unwrap_or(usize::MAX));
        let may_open = |peer| self.room(peer, None) == Room::Yes || self.can_shrink_to(peer);
        let is_turn = |peer| may_open(peer) && self.connecting_to(peer) < most_connecting;
        self.limits.max_connections.is_some() && (heads.len() > 16 || heads.iter().any(|head| is_turn(head.pair.0)))
    }

    /// Whether more connections lead to a peer than a lowered limit allows, but enough can go to leave room for one.
    fn can_shrink_to(&self, peer: usize) -> bool {
        let goes = |conn: &&Conn| conn.pair.0 == peer && conn.is_inactive() && conn.standing != Standing::Promised;
        let (all, goes) = (self.total_to(peer), self.conns.iter().filter(goes).count());
        all > self.most_to(peer) && all - goes < self.most_to(peer)
    }

    pub fn reusable(&self, pair: Pair) -> bool {
        self.conns.iter().any(|conn| conn.pair == pair && self.is_fit(conn) && !conn.is_dead())
    }

    /// Checks which connection went to make room, at one that opens for a pair (or is parked).
    pub fn check_victim(&self, peer: usize, channel: Option<u64>, victim: Option<ConnId>) {
        let (all, to_peer) = (self.total(), self.total_to(peer));
        assert!(all <= self.most() && to_peer <= self.most_to(peer), "a limit doesn't hold");
        if let Some(most) = self.limits.max_connecting_per_peer.filter(|_| channel.is_some()) {
            assert!(self.connecting_to(peer) < most, "too many are connecting");
        }
        let Some(victim) = victim else {
            assert!(all < self.most() && to_peer < self.most_to(peer), "nothing went to make room");
            return;
        };
        let conn = &self.conns[self.at(victim)];
        if to_peer == self.most_to(peer) {
            assert_eq!(Some(victim), self.useless_at(peer, channel), "another had to make room");
            return;
        }
        assert_eq!(all, self.most(), "nobody had to make room");
        let is_condemned = |conn: &Conn| matches!(conn.standing, Standing::Condemned(_));
        if self.conns.iter().any(is_condemned) {
            assert!(is_condemned(conn), "{victim} went before one that was condemned");
        } else if self.conns.iter().any(|conn| conn.is_inactive() && conn.closed.is_some()) {
            assert!(conn.closed.is_some(), "{victim} went before one that was closed");
        } else if self.unfit(conn).is_none() {
            let kept = self.conns.iter().filter(|conn| conn.standing == Standing::Kept);
            let oldest = kept.min_by_key(|conn| conn.since).map(|conn| conn.id);
            assert_eq!(Some(victim), oldest, "it isn't the oldest");
        }
    }

    /// Whether the policy keeps this connection, or a new one, though nobody waits for it.
    pub fn is_resident(&self, conn: Option<ConnId>) -> bool {
        let others = self.conns.iter().filter(|other| other.is_inactive() && Some(other.id) != conn).count();
        self.residents.is_none_or(|most| others < most)
    }

    /// What a connection that is made inactive there leaves for, unless it has to yield; and whether it is promised.
    pub fn giving_back(&self, at: usize, pair: Pair, until: Option<Instant>) -> (Option<Reason>, bool, bool) {
        let (conn, waited) = (&self.conns[at], self.unmatched_in(pair, Some(self.conns[at].id)) > 0);
        // Where edges are emulated, it is probed then.
        let far = match conn.wire.borrow().far {
            Far::Quiet => None,
            _ if !EDGES_ARE_EMULATED => None,
            Far::Closed => Some(Reason::HungUp),
            Far::Unsolicited => Some(Reason::Unsolicited),
            Far::Failed => Some(Reason::Failed),
        };
        let drained = self.draining.then_some(Reason::Drained);
        let barred = conn.closed.or(drained).or(until.filter(|&until| until <= self.now).map(|_| Reason::Deadline));
        let barred = barred.or((!waited && self.limits.max_inactive == Some(0)).then_some(Reason::MaxInactive));
        let policy = (!waited && !self.is_resident(Some(conn.id))).then_some(Reason::Policy);
        (barred.or(far).or(policy), barred.or(policy).is_none(), waited)
    }

    /// Whether a connection that would serve the line of this pair is beyond a lowered limit.
    pub fn has_to_yield(&self, pair: Pair) -> bool {
        self.total() > self.most() || self.total_to(pair.0) > self.most_to(pair.0)
    }

    /// Whether a connection that would serve the line of its own pair may have to make room: because it is beyond a lowered
    /// limit, or for a line that has no connection, or two fewer, or whose peer has two fewer. `coming` is 1 if the
    /// connection isn't in the cache yet, else 0.
    pub fn may_yield(&self, pair: Pair, coming: usize) -> bool {
        if self.has_to_yield(pair) {
            return true;
        }
        let all_full = self.total() + coming >= self.most();
        let peer_full = self.total_to(pair.0) + coming >= self.most_to(pair.0);
        let in_need = |here: usize, there: usize| there == 0 || here >= there + 2;
        self.heads().iter().any(|head| {
            // Connections that were closed, and places given before that, are of no use to the other line.
            let theirs = self.conns.iter().filter(|conn| conn.pair == head.pair && conn.closed.is_none()).count();
            if head.pair.0 != pair.0 {
                all_full && (theirs == 0 || in_need(self.total_to(pair.0) + coming, self.total_to(head.pair.0)))
            } else {
                let ours = self.total_where(|it| it == pair) + coming;
                head.pair != pair && (all_full || peer_full) && in_need(ours, theirs)
            }
        })
    }

    fn kept_until(&self, until: Option<Instant>) -> Option<Instant> {
        until.into_iter().chain(self.keeps_for.map(|time| self.now + time)).min()
    }

    pub fn deactivate(&mut self, at: usize, pair: Pair, until: Option<Instant>, promised: bool) {
        let (now, until) = (self.now, self.kept_until(until));
        let conn = &mut self.conns[at];
        (conn.pair, conn.since, conn.until, conn.connecting, conn.time) = (pair, now, until, false, None);
        conn.standing = if promised { Standing::Promised } else { Standing::Kept };
    }

    /// Condemns those over the limit on inactive ones.
    pub fn condemn_surplus(&mut self) {
        let Some(most) = self.limits.max_inactive else { return };
        let mut kept: Vec<usize> =
            (0..self.conns.len()).filter(|&at| self.conns[at].standing == Standing::Kept).collect();
        kept.sort_by_key(|&at| self.conns[at].since);
        for &at in &kept[..kept.len().saturating_sub(most)] {
            self.conns[at].standing = Standing::Condemned(Reason::MaxInactive);
        }
    }

    /// What went after a connection became inactive, beside it: at most one, if there are too many.
    pub fn made_room(&mut self, evicted: Option<(ConnId, Reason)>) {
        let kept = self.conns.iter().filter(|conn| conn.standing == Standing::Kept).count();
        let over = kept.saturating_sub(self.limits.max_inactive.unwrap_or(usize::MAX));
        if let Some((id, reason)) = evicted.filter(|_| over == 1) {
            let conn = &self.conns[self.at(id)];
            if conn.standing == Standing::Kept && self.unfit(conn) == Some(reason) {
                self.conns.remove(self.at(id));
                return;
            }
        }
        self.condemn_surplus();
        let condemned = self.conns.iter().any(|conn| matches!(conn.standing, Standing::Condemned(_)));
        assert_eq!(evicted.is_some(), condemned, "whether a condemned one went");
        if let Some((id, reason)) = evicted {
            let conn = self.conns.remove(self.at(id));
            assert!(matches!(conn.standing, Standing::Condemned(_)), "{id} was {:?}", conn.standing);
            assert_eq!(self.unfit(&conn), Some(reason));
        }
    }

    /// Connections promised to more than those who wait are for others, or condemned by the policy.
    pub fn end_promises(&mut self, pair: Pair) {
        while !self.draining && self.promised_in(pair).count() > self.waiting_in(pair) {
            let oldest = self.promised_in(pair).min_by_key(|conn| conn.since).expect("there are some").id;
            let at = self.at(oldest);
            if !self.is_resident(Some(oldest)) {
                self.conns[at].standing = Standing::Condemned(Reason::Policy);
            } else {
                let until = self.kept_until(self.conns[at].until);
                (self.conns[at].standing, self.conns[at].until) = (Standing::Kept, until);
                self.condemn_surplus();
            }
        }
    }

    /// Refuses those in line whom `which` names.
    pub fn refuse(&mut self, which: impl Fn(Pair) -> bool) {
        let refused: Vec<Waiter> = self.waiting.extract(|waiter| which(waiter.pair));
        for waiter in &refused {
            self.end_promises(waiter.pair);
        }
        self.refused.extend(refused);
    }

    pub fn close(&mut self, which: impl Fn(Pair) -> bool, reason: Reason) {
        for conn in self.conns.iter_mut().filter(|conn| which(conn.pair)) {
            conn.closed = conn.closed.or(Some(reason));
        }
    }

    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        for conn in &mut self.conns {
            if let Some(reason) = conn.closed.filter(|_| matches!(conn.standing, Standing::Kept | Standing::Promised)) {
                conn.standing = Standing::Condemned(reason);
            }
        }
        self.condemn_surplus();
    }
}

/// `Vec::extract_if` for the oldest compiler supported.
trait Extract<T> {
    fn extract(&mut self, which: impl Fn(&T) -> bool) -> Vec<T>;
}

impl<T> Extract<T> for Vec<T> {
    fn extract(&mut self, which: impl Fn(&T) -> bool) -> Vec<T> {
        let (out, left) = std::mem::take(self).into_iter().partition(which);
        *self = left;
        out
    }
}

pub fn channel(pair: Pair) -> ChannelBindingId {
    ChannelBindingId(pair.1)
}
