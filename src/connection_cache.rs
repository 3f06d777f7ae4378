//! The interface as a trait, for `dyn`.

use crate::channel::ChannelBindingId;
use crate::error::{InsertError, NotFound, ParkError, SetStateError, StateError, TakeError};
use crate::outcome::{Evicted, Found, Handled, ParkOptions, Parked, StateChange, Taken};
use crate::peer::Peer;
use crate::state::{ConnId, ConnState, ConnStateRef, Owner};
use crate::stats::{Counts, Stats};
use crate::waiting::{Grant, Place, RequestError, Requested, WaiterId};
use mio::event::Event;
use mio::{Interest, Token};
use std::any::Any;
use std::time::Instant;

/// A connection cache of any kind: what a host's loop needs, usable as `dyn`.
///
/// The first six methods are those of the seed, Ocamlnet's `connection_cache`. Each method is described at the method of
/// the same name of [`Cache`](crate::Cache).
///
/// # Laws
///
/// Every implementation keeps them. The trait is sealed: it is implemented for [`Cache`](crate::Cache), and for `Box`
/// and `&mut` of an implementation.
///
/// * From its insertion until it leaves, a connection is either active (it has one owner) or inactive. It leaves once.
/// * Nobody is handed a connection that somebody else has. `find_my_connections` lists exactly those an owner has.
/// * A connection that is handed out leads to the peer, and has the channel binding, that was asked for.
/// * A connection that isn't kept comes back as a value, and so does its private data. The exception: a connection that
///   a search finds dead is closed at once.
/// * The id of a connection that has left, or that somebody else has, isn't found. An error changes nothing.
pub trait ConnectionCache<C>: sealed::Sealed {
    /// [`Cache::get_connection_state`](crate::Cache::get_connection_state)
    fn get_connection_state(&self, id: ConnId) -> Result<ConnStateRef<'_>, NotFound>;

    /// [`Cache::set_connection_state`](crate::Cache::set_connection_state)
    fn set_connection_state(
        &mut self,
        now: Instant,
        id: ConnId,
        peer: &Peer,
        state: ConnState,
    ) -> Result<StateChange<C>, SetStateError>;

    /// [`Cache::find_inactive_connection`](crate::Cache::find_inactive_connection)
    #[allow(clippy::type_complexity)]
    fn find_inactive_connection(
        &mut self,
        now: Instant,
        peer: &Peer,
        channel: ChannelBindingId,
    ) -> Result<(ConnId, Option<&(dyn Any + Send)>), NotFound>;

    /// [`Cache::find_my_connections`](crate::Cache::find_my_connections)
    fn find_my_connections(&self, owner: Owner) -> Vec<ConnId>;

    /// [`Cache::close_connection`](crate::Cache::close_connection)
    fn close_connection(&mut self, id: ConnId) -> Result<Evicted<C>, NotFound>;

    /// [`Cache::close_all`](crate::Cache::close_all)
    fn close_all(&mut self);

    /// [`Cache::insert`](crate::Cache::insert)
    fn insert(
        &mut self,
        now: Instant,
        conn: C,
        peer: &Peer,
        channel: ChannelBindingId,
        owner: Owner,
    ) -> Result<ConnId, InsertError<C>>;

    /// [`Cache::get`](crate::Cache::get)
    fn get(&self, id: ConnId) -> Option<&C>;

    /// [`Cache::get_mut`](crate::Cache::get_mut)
    fn get_mut(&mut self, id: ConnId) -> Option<&mut C>;

    /// [`Cache::peer`](crate::Cache::peer)
    fn peer(&self, id: ConnId) -> Option<&Peer>;

    /// [`Cache::channel`](crate::Cache::channel)
    fn channel(&self, id: ConnId) -> Option<ChannelBindingId>;

    /// [`Cache::token`](crate::Cache::token)
    fn token(&self, id: ConnId) -> Option<Token>;

    /// [`Cache::remove`](crate::Cache::remove)
    fn remove(&mut self, id: ConnId) -> Result<Evicted<C>, NotFound>;

    /// [`Cache::checkout`](crate::Cache::checkout)
    #[must_use]
    fn checkout(&mut self, now: Instant, peer: &Peer, channel: ChannelBindingId, owner: Owner) -> Option<Found>;

    /// [`Cache::checkin`](crate::Cache::checkin)
    fn checkin(&mut self, now: Instant, id: ConnId) -> Result<Option<Evicted<C>>, StateError>;

    /// [`Cache::checkin_until`](crate::Cache::checkin_until)
    fn checkin_until(&mut self, now: Instant, id: ConnId, until: Instant) -> Result<Option<Evicted<C>>, StateError>;

    /// [`Cache::park`](crate::Cache::park)
    fn park(
        &mut self,
        now: Instant,
        conn: C,
        peer: &Peer,
        channel: ChannelBindingId,
        options: ParkOptions,
    ) -> Result<Parked<C>, ParkError<C>>;

    /// [`Cache::take`](crate::Cache::take)
    fn take(
        &mut self,
        now: Instant,
        peer: &Peer,
        channel: ChannelBindingId,
        token: Token,
        interest: Interest,
    ) -> Result<Option<Taken<C>>, TakeError<C>>;

    /// [`Cache::handle_event`](crate::Cache::handle_event)
    fn handle_event(&mut self, event: &Event) -> Handled<C>;

    /// [`Cache::handle_readiness`](crate::Cache::handle_readiness)
    fn handle_readiness(&mut self, token: Token, read_closed: bool) -> Handled<C>;

    /// [`Cache::next_deadline`](crate::Cache::next_deadline)
    fn next_deadline(&self) -> Option<Instant>;

    /// [`Cache::expire`](crate::Cache::expire)
    #[must_use]
    fn expire(&mut self, now: Instant) -> Option<Evicted<C>>;

    /// [`Cache::sweep`](crate::Cache::sweep)
    #[must_use]
    fn sweep(&mut self, most: usize) -> Option<Evicted<C>>;

    /// [`Cache::request`](crate::Cache::request)
    fn request(
        &mut self,
        now: Instant,
        peer: &Peer,
        channel: ChannelBindingId,
        owner: Owner,
        until: Option<Instant>,
    ) -> Result<Requested<C>, RequestError>;

    /// [`Cache::insert_at`](crate::Cache::insert_at)
    fn insert_at(&mut self, now: Instant, place: Place, conn: C) -> Result<ConnId, InsertError<C>>;

    /// [`Cache::give_up`](crate::Cache::give_up)
    fn give_up(&mut self, place: Place);

    /// [`Cache::put_back`](crate::Cache::put_back)
    fn put_back(&mut self, place: Place) -> Result<WaiterId, NotFound>;

    /// [`Cache::reopen`](crate::Cache::reopen)
    #[allow(clippy::type_complexity)]
    fn reopen(
        &mut self,
        now: Instant,
        id: ConnId,
        until: Option<Instant>,
    ) -> Result<(Option<Place>, Evicted<C>), NotFound>;

    /// [`Cache::grant`](crate::Cache::grant)
    #[must_use]
    fn grant(&mut self, now: Instant) -> Option<Grant<C>>;

    /// [`Cache::withdraw`](crate::Cache::withdraw)
    fn withdraw(&mut self, waiter: WaiterId) -> Result<(), NotFound>;

    /// [`Cache::refuse`](crate::Cache::refuse)
    fn refuse(&mut self, peer: &Peer);

    /// [`Cache::established`](crate::Cache::established)
    fn established(&mut self, id: ConnId) -> Result<(), NotFound>;

    /// [`Cache::set_deadline`](crate::Cache::set_deadline)
    fn set_deadline(&mut self, id: ConnId, until: Option<Instant>) -> Result<(), NotFound>;

    /// [`Cache::overdue`](crate::Cache::overdue)
    #[must_use]
    fn overdue(&mut self, now: Instant) -> Option<(ConnId, Owner)>;

    /// [`Cache::shed`](crate::Cache::shed)
    #[must_use]
    fn shed(&mut self) -> Option<Evicted<C>>;

    /// [`Cache::close_peer`](crate::Cache::close_peer)
    fn close_peer(&mut self, peer: &Peer);

    /// [`Cache::close_channel`](crate::Cache::close_channel)
    fn close_channel(&mut self, channel: ChannelBindingId);

    /// [`Cache::drain`](crate::Cache::drain)
    fn drain(&mut self);

    /// [`Cache::counts`](crate::Cache::counts)
    fn counts(&self) -> Counts;

    /// [`Cache::counts_of_peer`](crate::Cache::counts_of_peer)
    fn counts_of_peer(&self, peer: &Peer) -> Counts;

    /// [`Cache::stats`](crate::Cache::stats)
    fn stats(&self) -> Stats;
}

pub(crate) mod sealed {
    /// Keeps other implementations out, so that methods can be added.
    pub trait Sealed {}
}

/// Every method of the trait, passed on to the method of the same name of `$target`.
macro_rules! forward {
    ($this:ident => $target:expr) => {
        fn get_connection_state(&$this,  id: ConnId) -> Result<ConnStateRef<'_>, NotFound> {
            $target.get_connection_state(id)
        }
        fn set_connection_state(&mut $this,  now: Instant, id: ConnId, peer: &Peer, state: ConnState) -> Result<StateChange<C>, SetStateError> {
            $target.set_connection_state(now, id, peer, state)
        }
        #[allow(clippy::type_complexity)]
        fn find_inactive_connection(&mut $this,  now: Instant, peer: &Peer, channel: ChannelBindingId) -> Result<(ConnId, Option<&(dyn Any + Send)>), NotFound> {
            $target.find_inactive_connection(now, peer, channel)
        }
        fn find_my_connections(&$this,  owner: Owner) -> Vec<ConnId> {
            Vec::from_iter($target.find_my_connections(owner))
        }
        fn close_connection(&mut $this,  id: ConnId) -> Result<Evicted<C>, NotFound> {
            $target.close_connection(id)
        }
        fn close_all(&mut $this) {
            $target.close_all();
        }
        fn insert(&mut $this,  now: Instant, conn: C, peer: &Peer, channel: ChannelBindingId, owner: Owner) -> Result<ConnId, InsertError<C>> {
            $target.insert(now, conn, peer, channel, owner)
        }
        fn get(&$this,  id: ConnId) -> Option<&C> {
            $target.get(id)
        }
        fn get_mut(&mut $this,  id: ConnId) -> Option<&mut C> {
            $target.get_mut(id)
        }
        fn peer(&$this, id: ConnId) -> Option<&Peer> {
            $target.peer(id)
        }
        fn channel(&$this, id: ConnId) -> Option<ChannelBindingId> {
            $target.channel(id)
        }
        fn token(&$this, id: ConnId) -> Option<Token> {
            $target.token(id)
        }
        fn remove(&mut $this,  id: ConnId) -> Result<Evicted<C>, NotFound> {
            $target.remove(id)
        }
        fn checkout(&mut $this,  now: Instant, peer: &Peer, channel: ChannelBindingId, owner: Owner) -> Option<Found> {
            $target.checkout(now, peer, channel, owner)
        }
        fn checkin(&mut $this,  now: Instant, id: ConnId) -> Result<Option<Evicted<C>>, StateError> {
            $target.checkin(now, id)
        }
        fn checkin_until(&mut $this,  now: Instant, id: ConnId, until: Instant) -> Result<Option<Evicted<C>>, StateError> {
            $target.checkin_until(now, id, until)
        }
        fn park(&mut $this,  now: Instant, conn: C, peer: &Peer, channel: ChannelBindingId, options: ParkOptions) -> Result<Parked<C>, ParkError<C>> {
            $target.park(now, conn, peer, channel, options)
        }
        fn take(&mut $this,  now: Instant, peer: &Peer, channel: ChannelBindingId, token: Token, interest: Interest) -> Result<Option<Taken<C>>, TakeError<C>> {
            $target.take(now, peer, channel, token, interest)
        }
        fn handle_event(&mut $this,  event: &Event) -> Handled<C> {
            $target.handle_event(event)
        }
        fn handle_readiness(&mut $this,  token: Token, read_closed: bool) -> Handled<C> {
            $target.handle_readiness(token, read_closed)
        }
        fn next_deadline(&$this) -> Option<Instant> {
            $target.next_deadline()
        }
        fn expire(&mut $this,  now: Instant) -> Option<Evicted<C>> {
            $target.expire(now)
        }
        fn sweep(&mut $this, most: usize) -> Option<Evicted<C>> {
            $target.sweep(most)
        }
        fn request(&mut $this, now: Instant, peer: &Peer, channel: ChannelBindingId, owner: Owner, until: Option<Instant>) -> Result<Requested<C>, RequestError> {
            $target.request(now, peer, channel, owner, until)
        }
        fn insert_at(&mut $this, now: Instant, place: Place, conn: C) -> Result<ConnId, InsertError<C>> {
            $target.insert_at(now, place, conn)
        }
        fn give_up(&mut $this, place: Place) {
            $target.give_up(place);
        }
        fn put_back(&mut $this, place: Place) -> Result<WaiterId, NotFound> {
            $target.put_back(place)
        }
        fn reopen(&mut $this, now: Instant, id: ConnId, until: Option<Instant>) -> Result<(Option<Place>, Evicted<C>), NotFound> {
            $target.reopen(now, id, until)
        }
        fn grant(&mut $this, now: Instant) -> Option<Grant<C>> {
            $target.grant(now)
        }
        fn withdraw(&mut $this, waiter: WaiterId) -> Result<(), NotFound> {
            $target.withdraw(waiter)
        }
        fn refuse(&mut $this, peer: &Peer) {
            $target.refuse(peer);
        }
        fn established(&mut $this, id: ConnId) -> Result<(), NotFound> {
            $target.established(id)
        }
        fn set_deadline(&mut $this, id: ConnId, until: Option<Instant>) -> Result<(), NotFound> {
            $target.set_deadline(id, until)
        }
        fn overdue(&mut $this, now: Instant) -> Option<(ConnId, Owner)> {
            $target.overdue(now)
        }
        fn shed(&mut $this) -> Option<Evicted<C>> {
            $target.shed()
        }
        fn close_peer(&mut $this,  peer: &Peer) {
            $target.close_peer(peer);
        }
        fn close_channel(&mut $this, channel: ChannelBindingId) {
            $target.close_channel(channel);
        }
        fn drain(&mut $this) {
            $target.drain();
        }
        fn counts(&$this) -> Counts {
            $target.counts()
        }
        fn counts_of_peer(&$this, peer: &Peer) -> Counts {
            $target.counts_of_peer(peer)
        }
        fn stats(&$this) -> Stats {
            $target.stats()
        }
    };
}

pub(crate) use forward;

impl<T: sealed::Sealed + ?Sized> sealed::Sealed for Box<T> {}

impl<C, T: ConnectionCache<C> + ?Sized> ConnectionCache<C> for Box<T> {
    forward!(self => (**self));
}

impl<T: sealed::Sealed + ?Sized> sealed::Sealed for &mut T {}

impl<C, T: ConnectionCache<C> + ?Sized> ConnectionCache<C> for &mut T {
    forward!(self => (**self));
}
