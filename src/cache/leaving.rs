//! How every connection leaves: out of the tables, then out of the host's `Poll`. It is counted by its reason.

use crate::cache::Cache;
use crate::closings;
use crate::connection::Connection;
use crate::error::Fault;
use crate::history::History;
use crate::outcome::Evicted;
use crate::policy::Policy;
use crate::reason::Reason;
use crate::table::Left;
use crate::table::clock::Tick;
use crate::table::record::{Record, Remarks, Rest};
use log::{debug, warn};
use std::time::Instant;

impl<C: Connection, P: Policy> Cache<C, P> {
    /// Takes a connection out of the table and counts it. It stays registered.
    pub(crate) fn leave(&mut self, slot: u32, reason: Reason) -> Left<C> {
        let left = self.table.remove(slot);
        self.stats.left.count(reason);
        debug!(
            target: "conncache",
            "event=leave id={} peer={} channel={} reason={reason}", left.record.id(slot), left.peer, left.channel
        );
        left
    }

    /// Takes a connection out of the table and of the host's `Poll`. If deregistering fails, it leaves all the same.
    pub(crate) fn evict(&mut self, slot: u32, reason: Reason) -> Evicted<C> {
        let Left { record, rest, mut conn, peer, channel } = self.leave(slot, reason);
        let id = record.id(slot);
        if let Err(error) = self.watcher.deregister(&mut conn) {
            self.stats.deregister_failures += 1;
            warn!(target: "conncache", "event=deregister_failed id={id} error={:?}", error.kind());
        }
        let (history, inactive_since) = (self.history(&record, &rest), record.inactive_since());
        let inactive_since = inactive_since.map(|since| self.instant(since));
        let private = rest.private;
        Evicted { id, reason, conn, peer, channel, private, history, inactive_since, words: None, error: None }
    }

    /// [`evict`](Cache::evict) for a connection that was found unfit, perhaps with an error of the operating system.
    #[cold]
    pub(crate) fn evict_faulty(&mut self, slot: u32, (reason, error): Fault) -> Evicted<C> {
        Evicted { error, ..self.evict(slot, reason) }
    }

    /// The history of a connection that has left, for when it comes back.
    pub(crate) fn history(&self, record: &Record, rest: &Rest) -> History {
        History {
            opened: self.instant(rest.opened),
            uses: record.uses,
            lifetime_end: self.clock.instant(record.lifetime_end),
            connected: !record.flags.remarks.has(Remarks::UNCONNECTED),
            read_closed: record.flags.remarks.has(Remarks::READ_CLOSED),
            cache: self.tokens.cache(),
            epoch: closings::epoch(),
            closed: record.flags.doomed.filter(|reason| matches!(reason, Reason::ClosedPeer | Reason::ClosedChannel)),
        }
    }

    /// The instant of a past event.
    pub(crate) fn instant(&self, tick: Tick) -> Instant {
        self.clock.instant(tick).unwrap_or_else(|| self.clock.now())
    }
}
