//! [`Cache`] as a trait, for `dyn`.

use crate::cache::Cache;
use crate::channel::ChannelBindingId;
use crate::connection::Connection;
use crate::error::{InsertError, NotFound, ParkError, SetStateError, StateError, TakeError};
use crate::outcome::{Evicted, Found, Handled, ParkOptions, Parked, StateChange, Taken};
use crate::peer::Peer;
use crate::policy::Policy;
use crate::request::{Grant, Place, RequestError, Requested, WaiterId};
use crate::state::{ConnId, ConnState, ConnStateRef, Owner};
use crate::stats::{Counts, Stats};
use mio::event::Event;
use mio::{Interest, Token};
use std::any::Any;
use std::time::Instant;

mod sealed {
    /// Keeps other implementations out, so that methods can be added.
    pub trait Sealed {}
}

impl<C: Connection, P: Policy> sealed::Sealed for Cache<C, P> {}
impl<T: sealed::Sealed + ?Sized> sealed::Sealed for Box<T> {}
impl<T: sealed::Sealed + ?Sized> sealed::Sealed for &mut T {}

/// Makes the trait and its implementations from a list of methods. [`Cache`] has methods of the same names; boxes and
/// references call what they hold. `find_my_connections` is written out because only a `Vec` works with `dyn`.
macro_rules! interface {
    (
        $this:ident;
        $(#[$about:meta])*
        pub trait ConnectionCache<C> {
            $(
                $(#[$attribute:meta])*
                fn $method:ident(&$($receiver:ident)+ $(, $argument:ident: $type:ty)* $(,)?) $(-> $answer:ty)?;
            )*
        }
    ) => {
        $(#[$about])*
        pub trait ConnectionCache<C>: sealed::Sealed {
            /// [`Cache::find_my_connections`]
            fn find_my_connections(&self, owner: Owner) -> Vec<ConnId>;
            $(
                #[doc = concat!("[`Cache::", stringify!($method), "`]")]
                $(#[$attribute])*
                fn $method(&$($receiver)+ $(, $argument: $type)*) $(-> $answer)?;
            )*
        }

        impl<C: Connection, P: Policy> ConnectionCache<C> for Cache<C, P> {
            fn find_my_connections(&self, owner: Owner) -> Vec<ConnId> {
                self.find_my_connections(owner).collect()
            }
            $(
                fn $method(&$($receiver)+ $(, $argument: $type)*) $(-> $answer)? {
                    $this.$method($($argument),*)
                }
            )*
        }

        impl<C, T: ConnectionCache<C> + ?Sized> ConnectionCache<C> for Box<T> {
            fn find_my_connections(&self, owner: Owner) -> Vec<ConnId> {
                (**self).find_my_connections(owner)
            }
            $(
                fn $method(&$($receiver)+ $(, $argument: $type)*) $(-> $answer)? {
                    (**$this).$method($($argument),*)
                }
            )*
        }

        impl<C, T: ConnectionCache<C> + ?Sized> ConnectionCache<C> for &mut T {
            fn find_my_connections(&self, owner: Owner) -> Vec<ConnId> {
                (**self).find_my_connections(owner)
            }
            $(
                fn $method(&$($receiver)+ $(, $argument: $type)*) $(-> $answer)? {
                    (**$this).$method($($argument),*)
                }
            )*
        }
    };
}

interface! {
    self;

    /// A connection cache of any kind: what a host's loop needs, usable as `dyn`.
    ///
    /// The first six methods are those of the seed, Ocamlnet's `connection_cache`. Each method is described at the
    /// method of the same name of [`Cache`].
    ///
    /// A `dyn ConnectionCache` can't be indexed: use `get` and `get_mut` instead of `cache[id]`. If it is only the policy
    /// that you choose at run time, a `Cache<C, Box<dyn Policy>>` is simpler: it can be indexed, and has all methods.
    ///
    /// # Laws
    ///
    /// Every implementation keeps them. The trait is sealed: it is implemented for [`Cache`], and for `Box` and `&mut`
    /// of an implementation.
    ///
    /// * From its insertion until it leaves, a connection is either active (it has one owner) or inactive. It leaves
    ///   once.
    /// * Nobody is handed a connection that somebody else has. `find_my_connections` lists exactly those an owner has.
    /// * A connection that is handed out leads to the peer, and has the channel binding, that was asked for.
    /// * A connection that isn't kept comes back as a value, and so does its private data. The exception: a connection
    ///   that a search finds dead is closed at once.
    /// * The id of a connection that has left, or that somebody else has, isn't found. An error changes nothing.
    pub trait ConnectionCache<C> {
        fn get_connection_state(&self, id: ConnId) -> Result<ConnStateRef<'_>, NotFound>;
        fn set_connection_state(
            &mut self,
            now: Instant,
            id: ConnId,
            peer: &Peer,
            state: ConnState,
        ) -> Result<StateChange<C>, SetStateError>;
        #[allow(clippy::type_complexity)]
        fn find_inactive_connection(
            &mut self,
            now: Instant,
            peer: &Peer,
            channel: ChannelBindingId,
        ) -> Result<(ConnId, Option<&(dyn Any + Send)>), NotFound>;
        fn close_connection(&mut self, id: ConnId) -> Result<Evicted<C>, NotFound>;
        fn close_all(&mut self);
        fn insert(
            &mut self,
            now: Instant,
            conn: C,
            peer: &Peer,
            channel: ChannelBindingId,
            owner: Owner,
        ) -> Result<ConnId, InsertError<C>>;
        fn get(&self, id: ConnId) -> Option<&C>;
        fn get_mut(&mut self, id: ConnId) -> Option<&mut C>;
        fn peer(&self, id: ConnId) -> Option<&Peer>;
        fn channel(&self, id: ConnId) -> Option<ChannelBindingId>;
        fn token(&self, id: ConnId) -> Option<Token>;
        fn remove(&mut self, id: ConnId) -> Result<Evicted<C>, NotFound>;
        #[must_use]
        fn checkout(&mut self, now: Instant, peer: &Peer, channel: ChannelBindingId, owner: Owner) -> Option<Found>;
        fn checkin(&mut self, now: Instant, id: ConnId) -> Result<Option<Evicted<C>>, StateError>;
        fn checkin_until(
            &mut self,
            now: Instant,
            id: ConnId,
            until: Instant,
        ) -> Result<Option<Evicted<C>>, StateError>;
        fn park(
            &mut self,
            now: Instant,
            conn: C,
            peer: &Peer,
            channel: ChannelBindingId,
            options: ParkOptions,
        ) -> Result<Parked<C>, ParkError<C>>;
        fn take(
            &mut self,
            now: Instant,
            peer: &Peer,
            channel: ChannelBindingId,
            token: Token,
            interest: Interest,
        ) -> Result<Option<Taken<C>>, TakeError<C>>;
        fn handle_event(&mut self, event: &Event) -> Handled<C>;
        fn handle_readiness(&mut self, token: Token, read_closed: bool) -> Handled<C>;
        fn next_deadline(&self) -> Option<Instant>;
        #[must_use]
        fn expire(&mut self, now: Instant) -> Option<Evicted<C>>;
        #[must_use]
        fn sweep(&mut self, most: usize) -> Option<Evicted<C>>;
        fn request(
            &mut self,
            now: Instant,
            peer: &Peer,
            channel: ChannelBindingId,
            owner: Owner,
            until: Option<Instant>,
        ) -> Result<Requested<C>, RequestError>;
        fn insert_at(&mut self, now: Instant, place: Place, conn: C) -> Result<ConnId, InsertError<C>>;
        fn give_up(&mut self, place: Place);
        fn put_back(&mut self, place: Place) -> Result<WaiterId, NotFound>;
        #[allow(clippy::type_complexity)]
        fn reopen(
            &mut self,
            now: Instant,
            id: ConnId,
            until: Option<Instant>,
        ) -> Result<(Option<Place>, Evicted<C>), StateError>;
        #[must_use]
        fn grant(&mut self, now: Instant) -> Option<Grant<C>>;
        fn withdraw(&mut self, waiter: WaiterId) -> Result<(), NotFound>;
        fn refuse(&mut self, peer: &Peer);
        fn established(&mut self, id: ConnId) -> Result<(), NotFound>;
        fn set_deadline(&mut self, id: ConnId, until: Option<Instant>) -> Result<(), StateError>;
        #[must_use]
        fn overdue(&mut self, now: Instant) -> Option<(ConnId, Owner)>;
        #[must_use]
        fn shed(&mut self) -> Option<Evicted<C>>;
        fn close_peer(&mut self, peer: &Peer);
        fn close_channel(&mut self, channel: ChannelBindingId);
        fn drain(&mut self);
        fn counts(&self) -> Counts;
        fn counts_of_peer(&self, peer: &Peer) -> Counts;
        fn stats(&self) -> Stats;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It compiles only if nothing else can be a cache.
    #[test]
    fn every_connection_cache_is_sealed() {
        fn is_sealed<T: sealed::Sealed + ?Sized>() {}
        fn check<C, T: ConnectionCache<C> + ?Sized>() {
            is_sealed::<T>();
        }
        check::<(), dyn ConnectionCache<()>>();
    }
}
