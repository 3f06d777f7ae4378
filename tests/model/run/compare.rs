//! Comparing what the cache did and holds with the reference.

use super::{BOTH, DROPPED, Run, number_of, open};
use crate::common::scripted::{Far, PROBES, Scripted};
use crate::naive::{Conn, Gone, NEVER, State, Time, nanos};
use conncache::mio::{Interest, Token};
use conncache::{ChannelBindingId, ConnId, ConnStateRef, Evicted, Owner, Reason, Stats};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

impl Run {
    #[track_caller]
    pub(super) fn same_gone(&mut self, evicted: Option<Evicted<Scripted>>, gone: Option<Gone>) {
        let Some(evicted) = evicted else { return assert_eq!(gone, None) };
        let wire = Rc::clone(&evicted.conn.0);
        assert_eq!(wire.borrow().dropped, 0);
        let failed = wire.borrow().far == Far::Failed || wire.borrow().fail_reregister;
        assert!(evicted.error.is_none() || failed && evicted.reason == Reason::Failed);
        let seen = Gone {
            id: evicted.id,
            number: evicted.conn.number(),
            reason: evicted.reason,
            peer: self.peers.iter().position(|peer| *peer == evicted.peer).unwrap(),
            channel: evicted.channel.0,
            private: open(evicted.private),
            uses: evicted.history.uses(),
            opened: self.nanos_of(evicted.history.opened()),
            since: evicted.inactive_since.map(|since| self.nanos_of(since)),
        };
        assert_eq!(Some(&seen), gone.as_ref());
        let registered = wire.borrow().registered;
        self.left(&seen, registered);
    }

    pub(super) fn nanos_of(&self, instant: Instant) -> Time {
        nanos(instant.duration_since(self.start))
    }

    /// A connection has left: its registration, too.
    pub(super) fn left(&mut self, gone: &Gone, registered: Option<(Token, Interest)>) {
        let stuck = self.wires[gone.number].borrow().fail_deregister;
        assert!(registered.is_none() || stuck, "still registered");
        self.wires[gone.number].borrow_mut().fail_deregister = false;
    }

    pub(super) fn compare(&mut self, step: usize) {
        let at = format!("after step {step}");
        // What the cache closed by itself, with the private data of it, and nothing else.
        let mut dropped = DROPPED.take();
        dropped.sort_unstable();
        let closed = std::mem::take(&mut self.naive.closed_inside);
        let mut expected: Vec<u64> = closed.iter().filter_map(|gone| gone.private).collect();
        expected.sort_unstable();
        assert_eq!(dropped, expected, "private data dropped silently {at}");
        for gone in &closed {
            assert_eq!(self.wires[gone.number].borrow().dropped, 1, "{at}");
            let registered = self.wires[gone.number].borrow().registered;
            self.left(gone, registered);
        }
        assert_eq!(self.mind.borrow().asked, self.naive.asked, "what the policy was asked {at}");
        self.compare_records(&at);
        self.compare_numbers(&at);
    }

    pub(super) fn compare_records(&mut self, at: &str) {
        let mut seen = 0;
        for entry in self.cache.iter() {
            seen += 1;
            let conn = &self.naive.conns[self.naive.at(entry.id).unwrap_or_else(|| panic!("{} {at}", entry.id))];
            assert_eq!(entry.conn.number(), conn.number, "{at}");
            assert!(*entry.peer == self.peers[conn.peer] && entry.channel.0 == conn.channel, "{at}");
            assert_eq!((entry.uses, self.nanos_of(entry.opened)), (conn.uses, conn.opened), "{at}");
            let since = entry.inactive_since.map(|since| self.nanos_of(since));
            assert_eq!(since, conn.waiting().map(|waiting| waiting.since), "{at}");
            match (entry.state, &conn.state) {
                (ConnStateRef::Active(owner), State::Active(expected)) => assert_eq!(owner.0, *expected, "{at}"),
                (ConnStateRef::Inactive { channel, private, until, .. }, State::Inactive(waiting)) => {
                    assert_eq!(channel.0, conn.channel, "{at}");
                    assert_eq!(private.map(number_of), waiting.private, "{at}");
                    let expected = (waiting.until != NEVER).then(|| self.start + Duration::from_nanos(waiting.until));
                    assert_eq!(until, expected, "{at}");
                }
                (state, _) => panic!("{state:?} {at}"),
            }
            let wire = conn.wire.borrow();
            assert_eq!(wire.dropped, 0, "{at}");
            let interest = if conn.read_only { Interest::READABLE } else { BOTH };
            assert_eq!(wire.registered, Some((self.cache.token(entry.id).unwrap(), interest)), "{at}");
        }
        assert_eq!(seen, self.naive.conns.len(), "{at}");
        for &id in self.former.iter().rev().take(50) {
            assert!(self.cache.get(id).is_none() && self.cache.get_mut(id).is_none(), "{at}");
            assert!(self.cache.token(id).is_none() && self.cache.get_connection_state(id).is_err(), "{at}");
            assert!(self.cache.peer(id).is_none() && self.cache.channel(id).is_none(), "{at}");
        }
        for owner in 0..self.size.owners + 1 {
            let mut listed: Vec<ConnId> = self.cache.find_my_connections(Owner(owner)).collect();
            let has = |conn: &&Conn| conn.owner() == Some(owner);
            let mut expected: Vec<ConnId> = self.naive.conns.iter().filter(has).map(|conn| conn.id).collect();
            listed.sort_unstable();
            expected.sort_unstable();
            assert_eq!(listed, expected, "{at}");
        }
    }

    pub(super) fn compare_numbers(&self, at: &str) {
        let count = |which: &dyn Fn(&Conn) -> bool| {
            let of = |among: &dyn Fn(&Conn) -> bool| self.naive.conns.iter().filter(|c| which(c) && among(c)).count();
            let condemned = |c: &Conn| c.waiting().is_some_and(|waiting| waiting.condemned.is_some());
            [of(&|c| c.waiting().is_none()), of(&|c| c.waiting().is_some()), of(&condemned)]
        };
        let numbers = |counts: conncache::Counts| [counts.active, counts.inactive, counts.condemned];
        assert_eq!(numbers(self.cache.counts()), count(&|_| true), "{at}");
        let mut by_key = BTreeMap::new();
        for (peer, channel, counts) in self.cache.peers() {
            assert!(counts.active + counts.inactive > 0, "an empty entry {at}");
            let peer = self.peers.iter().position(|p| p == peer).unwrap();
            let sum: &mut [usize; 3] = by_key.entry((peer, channel.0)).or_default();
            sum.iter_mut().zip(numbers(counts)).for_each(|(sum, number)| *sum += number);
        }
        for (number, peer) in self.peers.iter().enumerate() {
            assert_eq!(numbers(self.cache.counts_of_peer(peer)), count(&|c| c.peer == number), "{at}");
            for channel in 0..self.size.channels {
                let expected = count(&|c| (c.peer, c.channel) == (number, channel));
                assert_eq!(numbers(self.cache.counts_of(peer, ChannelBindingId(channel))), expected, "{at}");
                assert_eq!(by_key.remove(&(number, channel)).unwrap_or_default(), expected, "{at}");
            }
        }
        assert!(by_key.is_empty(), "{at}");
        self.compare_stats(&self.cache.stats(), at);
        self.compare_deadline(at);
        let expected = self.naive.counts.probes + self.naive.counts.looks;
        assert_eq!(PROBES.get() - self.probes_before, expected, "looked at needlessly {at}");
    }

    pub(super) fn compare_stats(&self, stats: &Stats, at: &str) {
        let counts = &self.naive.counts;
        for &reason in Reason::ALL {
            assert_eq!(stats.left(reason), counts.left[reason as usize], "{reason} {at}");
        }
        assert_eq!(stats.inserted, (stats.active + stats.inactive) as u64 + stats.left_in_all(), "{at}");
        let seen = [
            stats.inserted,
            stats.handed_out,
            stats.missed,
            stats.probes,
            stats.found_dead,
            stats.stale_events,
            stats.deregister_failures,
        ];
        let expected = [
            counts.inserted,
            counts.handed_out,
            counts.missed,
            counts.probes,
            counts.found_dead,
            counts.stale_events,
            counts.deregister_failures,
        ];
        assert_eq!(seen, expected, "inserted, handed out, missed, probes, dead, stale, deregister {at}");
    }

    /// Never late, and nothing when nothing is inactive.
    pub(super) fn compare_deadline(&self, at: &str) {
        let deadline = self.cache.next_deadline();
        let first = self.naive.first_due();
        if self.naive.oldest_first().is_empty() {
            assert_eq!(deadline, None, "{at}");
        } else if first != NEVER {
            let due = self.start + Duration::from_nanos(first);
            assert!(deadline.is_some_and(|deadline| deadline <= due), "late {at}: {deadline:?}");
        }
    }
}
