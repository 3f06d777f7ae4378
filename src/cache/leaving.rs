//! The one way out: out of the tables, out of the host's `Poll`, counted.

use crate::cache::Cache;
use crate::connection::Connection;
use crate::error::Fault;
use crate::outcome::Evicted;
use crate::policy::Policy;
use crate::reason::Reason;
use crate::table::Left;
use crate::table::slots::State;
use log::{debug, warn};

impl<C: Connection, P: Policy> Cache<C, P> {
    /// Takes a connection out of the table and counts it.
    pub(crate) fn leave(&mut self, slot: u32, reason: Reason) -> Left<C> {
        let left = self.table.remove(slot);
        self.stats.left[reason as usize] += 1;
        debug!(
            target: "conncache",
            "event=leave id={} peer={} channel={} reason={reason}", left.record.id(slot, self.tokens.serial()), left.peer, left.channel
        );
        left
    }

    /// Takes a connection out of the table and of the host's `Poll`. That goes on if deregistering fails.
    pub(crate) fn evict(&mut self, slot: u32, reason: Reason) -> Evicted<C> {
        let Left { mut record, peer, channel } = self.leave(slot, reason);
        let id = record.id(slot, self.tokens.serial());
        if let Err(error) = self.registry.deregister(&mut record.conn) {
            self.stats.deregister_failures += 1;
            warn!(target: "conncache", "event=deregister_failed id={id} error={error}");
        }
        let private = match record.state {
            State::Inactive { private, .. } => private,
            State::Active { .. } => None,
        };
        Evicted { id, reason, conn: record.conn, peer, channel, private, uses: record.uses, error: None }
    }

    pub(crate) fn evict_faulty(&mut self, slot: u32, (reason, error): Fault) -> Evicted<C> {
        Evicted { error, ..self.evict(slot, reason) }
    }
}
