//! The one way out: out of the tables, out of the host's `Poll`, counted.

use crate::cache::Cache;
use crate::closings;
use crate::connection::Connection;
use crate::error::Fault;
use crate::history::History;
use crate::outcome::Evicted;
use crate::policy::Policy;
use crate::reason::Reason;
use crate::state::PrivateData;
use crate::table::Left;
use crate::table::clock::Tick;
use crate::table::slots::{Record, State};
use log::{debug, warn};
use std::time::Instant;

/// A connection that has to go instead of being kept, and the private data that was to be kept with it.
pub(crate) struct Gone {
    pub(crate) slot: u32,
    pub(crate) fault: Fault,
    pub(crate) private: PrivateData,
}

impl<C: Connection, P: Policy> Cache<C, P> {
    /// Takes a connection out of the table and counts it.
    pub(crate) fn leave(&mut self, slot: u32, reason: Reason) -> Left<C> {
        let left = self.table.remove(slot);
        self.stats.left[reason as usize] += 1;
        debug!(
            target: "conncache",
            "event=leave id={} peer={} channel={} reason={reason}", left.record.id(slot), left.peer, left.channel
        );
        left
    }

    /// Takes a connection out of the table and of the host's `Poll`. That goes on if deregistering fails.
    pub(crate) fn evict(&mut self, slot: u32, reason: Reason) -> Evicted<C> {
        let Left { mut record, peer, channel } = self.leave(slot, reason);
        let id = record.id(slot);
        if let Err(error) = self.registry.deregister(&mut record.conn) {
            self.stats.deregister_failures += 1;
            warn!(target: "conncache", "event=deregister_failed id={id} error={:?}", error.kind());
        }
        let (history, inactive_since) = (self.history(&record), record.inactive_since());
        let inactive_since = inactive_since.map(|since| self.instant(since));
        let private = match record.state {
            State::Inactive { private, .. } => private,
            State::Active { .. } => None,
        };
        let conn = record.conn;
        Evicted { id, reason, conn, peer, channel, private, history, inactive_since, error: None }
    }

    #[cold]
    pub(crate) fn evict_gone(&mut self, gone: Gone) -> Evicted<C> {
        let mut evicted = self.evict_faulty(gone.slot, gone.fault);
        evicted.private = evicted.private.or(gone.private);
        evicted
    }

    #[cold]
    pub(crate) fn evict_faulty(&mut self, slot: u32, (reason, error): Fault) -> Evicted<C> {
        Evicted { error, ..self.evict(slot, reason) }
    }

    /// What a connection that has left brings along when it comes back.
    pub(crate) fn history(&self, record: &Record<C>) -> History {
        History {
            opened: self.instant(record.opened),
            uses: record.uses,
            lifetime_end: self.clock.instant(record.lifetime_end),
            connected: record.flags.connected,
            read_closed: record.flags.read_closed,
            cache: self.tokens.serial(),
            epoch: closings::epoch(),
            closed: record.flags.doomed.filter(|reason| matches!(reason, Reason::PeerClosed | Reason::ChannelClosed)),
        }
    }

    /// The instant of something that has happened.
    pub(crate) fn instant(&self, tick: Tick) -> Instant {
        let instant = self.clock.instant(tick).or(self.clock.now());
        instant.expect("what has happened in a cache has a time")
    }
}
