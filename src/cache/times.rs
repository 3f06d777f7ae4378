//! The deadlines of owners: until when each wants to have finished with its connection.

use crate::cache::Cache;
use crate::cache::turn::MOST_REARMS;
use crate::connection::Connection;
use crate::error::StateError;
use crate::policy::Policy;
use crate::state::{ConnId, Owner};
use std::time::Instant;

/// # Deadlines for owners
impl<C: Connection, P: Policy> Cache<C, P> {
    /// Sets a deadline for the owner of an active connection, for example for a response to arrive; `None` removes it.
    /// When the deadline has passed, [`overdue`](Cache::overdue) returns the connection.
    /// [`next_deadline`](Cache::next_deadline) takes it into account. The deadline ends when the connection is given
    /// back or leaves. An insertion sets none, so set one for connecting, too.
    ///
    /// A host that sets deadlines calls [`overdue`](Cache::overdue) in each turn. Otherwise `next_deadline` stays due,
    /// and the loop spins.
    ///
    /// # Errors
    ///
    /// [`StateError::NotFound`], also when the lease is over; or [`StateError::AlreadyInactive`]. Nothing has changed.
    pub fn set_deadline(&mut self, id: ConnId, until: Option<Instant>) -> Result<(), StateError> {
        let slot = self.slot_of(id)?;
        if self.table.at(slot).is_inactive() {
            return Err(StateError::AlreadyInactive);
        }
        if self.last_deadline.0 != until {
            self.last_deadline = (until, self.clock.end(until));
        }
        self.table.set_owner_deadline(slot, self.last_deadline.1);
        Ok(())
    }

    /// Returns an active connection whose [deadline](Cache::set_deadline) has passed, with its owner: each one once.
    /// Call it in each turn until it returns `None`.
    ///
    /// Rarely, it returns `None` with work left, after putting 64 deadlines right that were replaced or have ended.
    /// Then [`next_deadline`](Cache::next_deadline) is still due.
    ///
    /// The connection is unchanged. What to do is up to you: usually [`close_connection`](Cache::close_connection).
    #[must_use = "each is named once: close it, or it stays open"]
    pub fn overdue(&mut self, now: Instant) -> Option<(ConnId, Owner)> {
        let now = self.clock.advance(now);
        for _ in 0..MOST_REARMS {
            let slot = self.table.owner_deadlines.due(now)?;
            if let Some(owner) = self.table.end_owner_deadline(slot, now) {
                return Some((self.table.at(slot).id(slot), owner));
            }
        }
        None
    }
}
