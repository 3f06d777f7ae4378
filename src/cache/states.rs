//! `set_connection_state` and `find_inactive_connection`: calls of the seed (see `lib.rs`) that aren't part of a usual
//! cycle.

use crate::cache::Cache;
use crate::channel::ChannelBindingId;
use crate::connection::Connection;
use crate::error::{NotFound, SetStateError, StateError};
use crate::outcome::StateChange;
use crate::peer::Peer;
use crate::policy::Policy;
use crate::state::{ConnId, ConnState, Owner};
use crate::table::buckets::Destination;
use crate::table::record::{Remarks, State};
use crate::table::sites::{Site, UNLIMITED};
use std::any::Any;
use std::time::Instant;

/// # The seed's calls on states
impl<C: Connection, P: Policy> Cache<C, P> {
    /// Sets a connection's state, as the seed does.
    ///
    /// * From active to inactive, this is a [checkin](Cache::checkin), and the same rule holds for it. It can also give
    ///   the connection private data, a deadline, another peer or another channel binding.
    /// * From inactive to inactive, it moves the connection, which then counts as newly inactive: its false alarms are
    ///   forgiven. New private data replaces the old. If the connection has run out already, it is evicted instead.
    /// * From inactive to active, this is a [checkout](Cache::checkout) of this connection, with a new lease. If it is
    ///   no longer fit for use, it is evicted instead.
    /// * From active to active with the same owner, it records another peer, under which the connection will be kept.
    ///
    /// Returns the present lease, private data that is no longer kept, and an eviction: of this connection, or of one
    /// that makes room for it.
    ///
    /// # Errors
    ///
    /// The state comes back with its private data, and nothing has changed:
    ///
    /// * There is no such connection, or the lease is over.
    /// * Another owner has it.
    /// * It can't be made active, because it is kept for another peer, or because requests [wait](Cache::request) for
    ///   its peer and channel binding.
    /// * It can't move to a peer that has as many connections as the [limit](crate::Limits::max_connections_per_peer)
    ///   allows; nor, while it is active, to one for which requests wait at such a limit. While it isn't established,
    ///   the same is true of [`max_connecting_per_peer`](crate::Limits::max_connecting_per_peer).
    pub fn set_connection_state(
        &mut self,
        now: Instant,
        id: ConnId,
        peer: &Peer,
        state: ConnState,
    ) -> Result<StateChange<C>, SetStateError> {
        let Ok(slot) = self.slot_of(id) else {
            return Err(SetStateError::new(StateError::NotFound, state));
        };
        let (channel, mut private, until) = match state {
            ConnState::Active(owner) => {
                let error = |cause| SetStateError::new(cause, ConnState::Active(owner));
                return self.set_active(now, id, peer, owner).map_err(error);
            }
            ConnState::Inactive { channel, private, until } => (channel, private, until),
        };
        let site = self.site_or_new(peer);
        if site.is_full() && self.table.bucket_of(slot).peer != *peer {
            let state = ConnState::Inactive { channel, private, until };
            return Err(SetStateError::new(StateError::PeerAtLimit, state));
        }
        let now = self.clock.advance(now);
        if let Some(reason) = self.unfit(slot, now) {
            let mut evicted = self.evict(slot, reason);
            std::mem::swap(&mut evicted.private, &mut private);
            return Ok(StateChange { id, private, evicted: Some(evicted) });
        }
        let (to, until) = (Destination { peer, channel, most: Some(site.most) }, self.clock.end(until));
        let inactive_since = self.table.at(slot).inactive_since().map(|since| self.instant(since));
        let mut evicted = self.give_back(now, slot, Some(to), &mut private, until);
        // `give_back` made it active for the move, so the time since when it was inactive has to be restored.
        if let Some(evicted) = evicted.as_mut().filter(|evicted| evicted.id == id) {
            evicted.inactive_since = inactive_since;
        }
        Ok(StateChange { id, private, evicted })
    }

    /// Finds the inactive connection that a [`checkout`](Cache::checkout) would hand out now: its last lease, and its
    /// private data, which stays with it. The connection is probed but not taken, so the answer holds for this turn
    /// only. Dead connections met on the way are closed.
    ///
    /// # Errors
    ///
    /// [`NotFound`] if there is none.
    #[allow(clippy::type_complexity)]
    pub fn find_inactive_connection(
        &mut self,
        now: Instant,
        peer: &Peer,
        channel: ChannelBindingId,
    ) -> Result<(ConnId, Option<&(dyn Any + Send)>), NotFound> {
        let mut clock = self.clock;
        let slot = self.find(clock.advance(now), peer, channel).ok_or(NotFound)?;
        self.clock = clock;
        let record = self.table.at(slot);
        Ok((record.id(slot), self.table.slots.rest(slot).private.as_deref()))
    }

    /// [`set_connection_state`](Cache::set_connection_state) for [`ConnState::Active`].
    fn set_active(
        &mut self,
        now: Instant,
        id: ConnId,
        peer: &Peer,
        owner: Owner,
    ) -> Result<StateChange<C>, StateError> {
        let slot = id.slot();
        let bucket = self.table.bucket_of(slot);
        let (same_peer, channel) = (bucket.peer == *peer, bucket.channel);
        match self.table.at(slot).state() {
            State::Active { owner: other, .. } if other != owner => Err(StateError::OwnedBy(other)),
            State::Active { .. } => {
                if !same_peer {
                    let site = self.site_or_new(peer);
                    self.may_move(slot, &site)?;
                    self.table.move_to(slot, Destination { peer, channel, most: Some(site.most) });
                }
                Ok(StateChange { id, private: None, evicted: None })
            }
            State::Inactive { .. } if !same_peer => Err(StateError::OtherPeer),
            State::Inactive { .. } if self.is_anybody_waiting_for(peer, channel) => Err(StateError::OthersWait),
            State::Inactive { .. } => Ok(self.activate(now, id, owner)),
        }
    }

    /// Whether an active connection can move to this peer. It must not take room there that a request waits for.
    fn may_move(&self, slot: u32, site: &Site) -> Result<(), StateError> {
        let is_connecting = self.table.at(slot).flags.remarks.has(Remarks::CONNECTING);
        if site.is_full() || is_connecting && self.is_at_connecting_limit(site) {
            return Err(StateError::PeerAtLimit);
        }
        let is_limited = site.most != UNLIMITED || is_connecting && self.rules.max_connecting_per_peer != UNLIMITED;
        if site.waiting > 0 && is_limited { Err(StateError::OthersWait) } else { Ok(()) }
    }

    /// Makes this inactive connection active, or evicts it.
    fn activate(&mut self, now: Instant, id: ConnId, owner: Owner) -> StateChange<C> {
        let (now, slot) = (self.clock.advance(now), id.slot());
        let fit = match self.unfit(slot, now) {
            Some(reason) => Err((reason, None)),
            None => self.probe_for_use(slot, now),
        };
        match fit.and_then(|()| self.widen(slot)) {
            Ok(()) => {
                let found = self.hand_out_past_others(now, slot, owner);
                StateChange { id: found.id, private: found.private, evicted: None }
            }
            Err(fault) => StateChange { id, private: None, evicted: Some(self.evict_faulty(slot, fault)) },
        }
    }
}
