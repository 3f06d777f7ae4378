//! Registering and probing connections, on platforms with real edges and with emulated ones.

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
        self.registry.register(conn, token, BOTH).map_err(|error| {
            // In debug builds mio remembers the attempt, and the host could not try again. A source that is
            // registered already is somebody's, and stays.
            if error.kind() != io::ErrorKind::AlreadyExists {
                let _ = self.registry.deregister(conn);
            }
            Cause::Registry(error)
        })
    }

    /// Probes an inactive connection, and counts that.
    #[inline]
    pub(crate) fn probe(&mut self, slot: u32) -> Result<(), Fault> {
        self.stats.probes += 1;
        verdict_of(self.table.slots.conn_mut(slot).probe())
    }

    /// Checks whether a connection that is about to become inactive can be watched, and remembers that it is connected.
    pub(crate) fn check_watchable(&mut self, slot: u32) -> Result<(), Fault> {
        let known_connected = !self.table.at(slot).flags.remarks.has(Remarks::UNCONNECTED);
        can_be_watched(self.table.slots.conn_mut(slot), known_connected)?;
        let remarks = &mut self.table.at_mut(slot).flags.remarks;
        remarks.set(Remarks::UNCONNECTED, false);
        if remarks.has(Remarks::READ_CLOSED) { Err((Reason::HungUp, None)) } else { Ok(()) }
    }

    /// Registers a connection that is about to become active for writing, too, if it isn't.
    #[inline]
    pub(crate) fn widen(&mut self, slot: u32) -> Result<(), Fault> {
        if self.table.at(slot).flags.read_only { self.register_for(slot, BOTH) } else { Ok(()) }
    }

    /// Registers a connection that is about to become inactive for reading alone, where that [matters](Cache::narrows).
    pub(crate) fn narrow(&mut self, slot: u32) -> Result<(), Fault> {
        if self.narrows() { self.register_for(slot, Interest::READABLE) } else { Ok(()) }
    }

    #[cold]
    fn register_for(&mut self, slot: u32, interest: Interest) -> Result<(), Fault> {
        let read_only = interest == Interest::READABLE;
        if self.table.at(slot).flags.read_only == read_only {
            return Ok(());
        }
        let token = self.tokens.token(slot, self.table.slots.rest(slot).serial).expect("it was registered under it");
        self.registry
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

#[inline]
pub(crate) fn verdict_of(probe: Probe) -> Result<(), Fault> {
    match probe {
        Probe::Quiet => Ok(()),
        Probe::Closed => Err((Reason::HungUp, None)),
        Probe::Unsolicited => Err((Reason::Unsolicited, None)),
        Probe::Failed(error) => Err((Reason::Failed, Some(error))),
    }
}
