//! Reading the cache: connections, states, counts and statistics. Only `get_mut` and `cache[id]` give mutable access,
//! and only to a connection.

use crate::cache::Cache;
use crate::channel::ChannelBindingId;
use crate::connection::Connection;
use crate::error::NotFound;
use crate::outcome::Entry;
use crate::peer::Peer;
use crate::policy::Policy;
use crate::state::{ConnId, ConnStateRef, Owner};
use crate::stats::{Counts, Stats};
use crate::table::record::{Record, Standing, State};
use mio::Token;
use std::fmt;
use std::ops::{Index, IndexMut};

/// # Looking
impl<C: Connection, P: Policy> Cache<C, P> {
    /// The connection. `None` if it isn't here, or the lease is over.
    pub fn get(&self, id: ConnId) -> Option<&C> {
        self.table.leased(id).map(|_| self.table.slots.conn(id.slot()))
    }

    /// The connection. `None` if it isn't here, or the lease is over. You may replace its value (a plain stream by TLS
    /// over it) as long as the registered source stays the same.
    ///
    /// False alarms of an inactive connection are [forgiven](Cache::handle_event).
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut C> {
        let slot = self.slot_of(id).ok()?;
        self.table.forgive(slot);
        Some(self.table.slots.conn_mut(slot))
    }

    /// Where the connection leads.
    pub fn peer(&self, id: ConnId) -> Option<&Peer> {
        self.table.leased(id).map(|record| &self.table.buckets.get(record.bucket).peer)
    }

    /// The connection's channel binding.
    pub fn channel(&self, id: ConnId) -> Option<ChannelBindingId> {
        self.table.leased(id).map(|record| self.table.buckets.get(record.bucket).channel)
    }

    /// The token under which the connection is registered, for hosts whose events have another form.
    pub fn token(&self, id: ConnId) -> Option<Token> {
        let slot = self.slot_of(id).ok()?;
        self.tokens.token(slot, self.table.slots.rest(slot).serial).map(Token)
    }

    /// The connection's state, with its private data borrowed.
    ///
    /// # Errors
    ///
    /// [`NotFound`] if it isn't here, or the lease is over.
    pub fn get_connection_state(&self, id: ConnId) -> Result<ConnStateRef<'_>, NotFound> {
        self.table.leased(id).map(|record| self.state_of(id.slot(), record)).ok_or(NotFound)
    }

    /// The active connections that `owner` has, in no particular order. O(their number) on average.
    pub fn find_my_connections(&self, owner: Owner) -> impl Iterator<Item = ConnId> {
        self.table.owned_by(owner).map(|slot| self.table.at(slot).id(slot))
    }

    /// All connections, in no particular order. O(n).
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_, C>> {
        self.table.iter().map(|(slot, record)| self.entry(slot, record))
    }

    /// The inactive connections, the one inactive longest first, except those above a lowered limit and those kept for
    /// requests that wait.
    ///
    /// A host that pings inactive connections finds them here. It writes through [`get_mut`](Cache::get_mut), and its
    /// [`probe`](Connection::probe) reads the answers. The connections stay inactive, and their idle time keeps
    /// running.
    pub fn iter_inactive(&self) -> impl Iterator<Item = Entry<'_, C>> {
        self.table.ages.iter(&self.table.slots, Standing::Kept).map(|slot| self.entry(slot, self.table.at(slot)))
    }

    /// How many connections, places and waiting requests there are.
    pub fn counts(&self) -> Counts {
        let inactive = self.table.inactive();
        Counts {
            active: self.table.len() - inactive,
            inactive,
            condemned: self.table.ages.len(Standing::Condemned),
            places: self.table.lines.places(),
            waiting: self.table.lines.waiting(),
        }
    }

    /// How many connections lead to `peer`, and how many places and waiting requests there are for it. O(channel
    /// bindings in use with it).
    pub fn counts_of_peer(&self, peer: &Peer) -> Counts {
        self.sum(peer, |_| true)
    }

    /// How many connections lead to `peer` under `channel`, and how many places and waiting requests there are for
    /// both. O(channel bindings in use with the peer).
    pub fn counts_of(&self, peer: &Peer, channel: ChannelBindingId) -> Counts {
        self.sum(peer, |of| of == channel)
    }

    /// All pairs of peer and channel binding, with their numbers of connections, in no particular order. Connections
    /// from before a [`close_peer`](Cache::close_peer) are a pair of their own until they have left. O(pairs).
    pub fn peers(&self) -> impl Iterator<Item = (&Peer, ChannelBindingId, Counts)> {
        self.table.buckets.iter().map(|(at, bucket)| (&bucket.peer, bucket.channel, self.table.counts_in(at)))
    }

    /// What the cache has done so far.
    pub fn stats(&self) -> Stats {
        let Counts { active, inactive, places, waiting, .. } = self.counts();
        Stats { active, inactive, places, waiting, ..self.stats.clone() }
    }

    fn state_of(&self, slot: u32, record: &Record) -> ConnStateRef<'_> {
        match record.state() {
            State::Active { owner, .. } => ConnStateRef::Active(owner),
            State::Inactive { until, .. } => ConnStateRef::Inactive {
                channel: self.table.buckets.get(record.bucket).channel,
                private: self.table.slots.rest(slot).private.as_deref(),
                until: self.clock.instant(until),
            },
        }
    }

    fn entry(&self, slot: u32, record: &Record) -> Entry<'_, C> {
        let rest = self.table.slots.rest(slot);
        let bucket = self.table.buckets.get(record.bucket);
        Entry {
            id: record.id(slot),
            conn: self.table.slots.conn(slot),
            peer: &bucket.peer,
            channel: bucket.channel,
            state: self.state_of(slot, record),
            uses: record.uses,
            opened: self.instant(rest.opened),
            inactive_since: record.inactive_since().map(|since| self.instant(since)),
        }
    }

    /// The sum of the counts of those buckets of a peer whose channel binding is one of `which`.
    fn sum(&self, peer: &Peer, which: impl Fn(ChannelBindingId) -> bool) -> Counts {
        let mut sum = Counts::default();
        for (at, _) in self.table.buckets.of_peer(peer).filter(|(_, bucket)| which(bucket.channel)) {
            let counts = self.table.counts_in(at);
            sum.active += counts.active;
            sum.inactive += counts.inactive;
            sum.condemned += counts.condemned;
            sum.places += counts.places;
            sum.waiting += counts.waiting;
        }
        sum
    }
}

impl<C: Connection, P: Policy> Index<ConnId> for Cache<C, P> {
    type Output = C;

    /// # Panics
    ///
    /// If the connection isn't here.
    #[track_caller]
    fn index(&self, id: ConnId) -> &C {
        match self.get(id) {
            Some(conn) => conn,
            None => panic!("connection {id} is not in the cache, or its lease is over"),
        }
    }
}

impl<C: Connection, P: Policy> IndexMut<ConnId> for Cache<C, P> {
    /// # Panics
    ///
    /// If the connection isn't here.
    #[track_caller]
    fn index_mut(&mut self, id: ConnId) -> &mut C {
        match self.get_mut(id) {
            Some(conn) => conn,
            None => panic!("connection {id} is not in the cache, or its lease is over"),
        }
    }
}

impl<C: Connection, P: Policy> fmt::Debug for Cache<C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("counts", &self.counts()).field("limits", &self.limits).finish_non_exhaustive()
    }
}
