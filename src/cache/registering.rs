//! Registering and probing connections, on platforms with real edges and with emulated ones: see `watcher.rs`.

use crate::cache::Cache;
use crate::cache::watcher::{BOTH, EDGE_IS_EMULATED};
use crate::connection::{Connection, Probe};
use crate::error::{Cause, Fault};
use crate::policy::Policy;
use crate::reason::Reason;
use crate::table::record::Remarks;
use mio::{Interest, Token};
use std::io;

impl<C: Connection, P: Policy> Cache<C, P> {
    /// Registers a connection that is about to come in, under the next token.
    pub(crate) fn register_next(&mut self, conn: &mut C) -> Result<(), Cause> {
        let token = self.next_token()?;
        self.watcher.register(conn, token, BOTH).map_err(|error| {
            // In debug builds mio remembers the attempt, so that the host could not try again. But if the error says
            // that the source is registered already, the host registered it, and it stays registered.
            if error.kind() != io::ErrorKind::AlreadyExists {
                let _ = self.watcher.deregister(conn);
            }
            Cause::Registry(error)
        })
    }

    /// Probes an inactive connection, and counts the probe.
    #[inline]
    pub(crate) fn probe(&mut self, slot: u32) -> Result<(), Fault> {
        self.stats.probes += 1;
        verdict_of(self.table.slots.conn_mut(slot).probe())
    }

    /// Checks whether a connection that is about to become inactive can be watched. If so, remembers that it is
    /// connected.
    pub(crate) fn check_watchable(&mut self, slot: u32) -> Result<(), Fault> {
        let known_connected = !self.table.at(slot).flags.remarks.has(Remarks::UNCONNECTED);
        can_be_watched(self.table.slots.conn_mut(slot), known_connected)?;
        let remarks = &mut self.table.at_mut(slot).flags.remarks;
        remarks.set(Remarks::UNCONNECTED, false);
        if remarks.has(Remarks::READ_CLOSED) { Err((Reason::HungUp, None)) } else { Ok(()) }
    }

    /// Makes sure that a connection that is about to become active is registered for writing, too.
    #[inline]
    pub(crate) fn widen(&mut self, slot: u32) -> Result<(), Fault> {
        if self.table.at(slot).flags.read_only { self.register_for(slot, BOTH) } else { Ok(()) }
    }

    /// Registers a connection that is about to become inactive only for reading, if the cache
    /// [narrows](Cache::narrows).
    pub(crate) fn narrow(&mut self, slot: u32) -> Result<(), Fault> {
        if self.narrows() { self.register_for(slot, Interest::READABLE) } else { Ok(()) }
    }

    /// Re-registers a connection, unless it is registered for that already.
    #[cold]
    fn register_for(&mut self, slot: u32, interest: Interest) -> Result<(), Fault> {
        let read_only = interest == Interest::READABLE;
        if self.table.at(slot).flags.read_only == read_only {
            return Ok(());
        }
        let token = self.tokens.token(slot, self.table.slots.rest(slot).serial).expect("it was registered under it");
        self.watcher
            .reregister(self.table.slots.conn_mut(slot), Token(token), interest)
            .map_err(|error| (Reason::Failed, Some(error)))?;
        self.table.at_mut(slot).flags.read_only = read_only;
        Ok(())
    }
}

/// Whether a connection that is about to become inactive can be watched.
pub(crate) fn can_be_watched<C: Connection>(conn: &mut C, known_connected: bool) -> Result<(), Fault> {
    if !known_connected && !conn.is_connected() {
        return Err((Reason::NotConnected, None));
    }
    if EDGE_IS_EMULATED { verdict_of(conn.probe()) } else { Ok(()) }
}

/// What a probe's answer means for the connection.
#[inline]
pub(crate) fn verdict_of(probe: Probe) -> Result<(), Fault> {
    match probe {
        Probe::Quiet => Ok(()),
        Probe::Closed => Err((Reason::HungUp, None)),
        Probe::Unsolicited => Err((Reason::Unsolicited, None)),
        Probe::Failed(error) => Err((Reason::Failed, Some(error))),
    }
}
