//! [`Cache`] as a [`ConnectionCache`].

use crate::cache::Cache;
use crate::channel::ChannelBindingId;
use crate::connection::Connection;
use crate::connection_cache::{ConnectionCache, forward, sealed::Sealed};
use crate::error::{InsertError, NotFound, ParkError, SetStateError, StateError, TakeError};
use crate::outcome::{Evicted, Found, Handled, ParkOptions, Parked, StateChange, Taken};
use crate::peer::Peer;
use crate::policy::Policy;
use crate::state::{ConnId, ConnState, ConnStateRef, Owner};
use crate::stats::{Counts, Stats};
use crate::waiting::{Grant, Place, RequestError, Requested, WaiterId};
use mio::event::Event;
use mio::{Interest, Token};
use std::any::Any;
use std::time::Instant;

impl<C: Connection, P: Policy> Sealed for Cache<C, P> {}

impl<C: Connection, P: Policy> ConnectionCache<C> for Cache<C, P> {
    forward!(self => self);
}
