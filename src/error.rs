//! The errors: what went wrong because of the host or the machine, and what comes back to the host with it.
//!
//! Every error is `Send + Sync` if the connection in it is, so that it fits into a `Box<dyn Error + Send + Sync>`.

use crate::outcome::{Evicted, ParkOptions};
use crate::reason::Reason;
use crate::request::Place;
use crate::state::{ConnState, Owner};
use mio::Token;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

/// A setting that makes no sense: which one, its value, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub(crate) field: &'static str,
    pub(crate) value: String,
    pub(crate) problem: String,
}

impl ConfigError {
    /// The setting's name, as in [`Limits`](crate::Limits) or [`Builder`](crate::Builder).
    pub fn field(&self) -> &'static str {
        self.field
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} {}", self.field, self.value, self.problem)
    }
}

impl Error for ConfigError {}

impl From<ConfigError> for io::Error {
    fn from(error: ConfigError) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidInput, error)
    }
}

/// There is no such connection or request: it has left, its lease is over, or it never was in this cache. (The seed
/// raises `Not_found`.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotFound;

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection or request not found in the cache, or its time or lease is over")
    }
}

impl Error for NotFound {}

/// Why a connection can't take a state. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// There is no such connection, or the lease is over.
    NotFound,
    /// It was checked in twice.
    AlreadyInactive,
    /// It belongs to this other owner.
    OwnedBy(Owner),
    /// It can't be made active for this peer, because it is kept for another one.
    OtherPeer,
    /// It can't move to this peer, which has as many connections as
    /// [`max_connections_per_peer`](crate::Limits::max_connections_per_peer) (or, if it isn't established,
    /// [`max_connecting_per_peer`](crate::Limits::max_connecting_per_peer)) allows.
    PeerAtLimit,
    /// Requests wait for a connection to its peer and channel binding, or to the limited peer that it was to move to.
    /// Nobody overtakes them.
    OthersWait,
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateError::NotFound => f.write_str("connection not found in the cache, or its lease is over"),
            StateError::AlreadyInactive => f.write_str("connection is inactive already"),
            StateError::OwnedBy(owner) => write!(f, "connection is owned by {}", owner.0),
            StateError::OtherPeer => f.write_str("connection is kept for another peer"),
            StateError::PeerAtLimit => {
                f.write_str("max_connections_per_peer or max_connecting_per_peer: the peer has that many already")
            }
            StateError::OthersWait => f.write_str("requests wait for a connection to this peer"),
        }
    }
}

impl Error for StateError {}

impl From<NotFound> for io::Error {
    fn from(error: NotFound) -> io::Error {
        io::Error::new(io::ErrorKind::NotFound, error)
    }
}

impl From<StateError> for io::Error {
    fn from(error: StateError) -> io::Error {
        match error {
            StateError::NotFound => NotFound.into(),
            error => io::Error::new(io::ErrorKind::InvalidInput, error),
        }
    }
}

impl From<NotFound> for StateError {
    fn from(_: NotFound) -> StateError {
        StateError::NotFound
    }
}

/// A state that couldn't be set comes back, with its private data. Nothing has changed.
pub struct SetStateError {
    /// Why it couldn't be set.
    pub cause: StateError,
    state: Exclusive<ConnState>,
}

impl SetStateError {
    pub(crate) fn new(cause: StateError, state: ConnState) -> SetStateError {
        SetStateError { cause, state: Exclusive::new(state) }
    }

    /// The state that was asked for.
    pub fn into_state(self) -> ConnState {
        self.state.into_inner()
    }
}

/// Why a connection couldn't enter or leave the cache.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause {
    /// The cache's token block has no room for another connection.
    TokensExhausted {
        /// How many connections it has room for.
        slots: usize,
    },
    /// The host's token lies in the cache's own block.
    TokenOfCache(Token),
    /// The cache would not keep it.
    Refused(Reason),
    /// There are as many connections as this limit allows.
    AtLimit {
        /// The limit's name, as in [`Limits`](crate::Limits).
        limit: &'static str,
        /// Its value.
        most: usize,
    },
    /// Requests wait for a connection to this peer, or can have the room that this connection would take. Nobody
    /// overtakes them.
    OthersWait,
    /// The place's time was over, or it is another cache's.
    PlaceGone,
    /// The connection itself has failed, for example by a reset.
    Failed(io::Error),
    /// The operating system refused to register it, for example because it is out of memory or can't watch such a
    /// source.
    Registry(io::Error),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::TokensExhausted { slots } => {
                write!(f, "tokens: the cache's block has room for {slots} connections, all taken")
            }
            Cause::TokenOfCache(token) => write!(f, "token: {} lies in the cache's own block", token.0),
            Cause::AtLimit { limit, most } => write!(f, "{limit} = {most}: there are that many connections already"),
            Cause::OthersWait => f.write_str("waiting requests come first"),
            Cause::PlaceGone => f.write_str("the place isn't held here: its time was over, or it is another cache's"),
            Cause::Refused(reason) => write!(f, "the cache would not keep the connection: {reason}"),
            Cause::Failed(error) => write!(f, "connection has failed: {error}"),
            Cause::Registry(error) => write!(f, "connection couldn't be registered: {error}"),
        }
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Cause::Registry(error) | Cause::Failed(error) => Some(error),
            _ => None,
        }
    }
}

impl Cause {
    pub(crate) fn of((reason, error): Fault) -> Cause {
        error.map_or(Cause::Refused(reason), Cause::Failed)
    }
}

impl From<Cause> for io::Error {
    fn from(cause: Cause) -> io::Error {
        match cause {
            Cause::Registry(error) | Cause::Failed(error) => error,
            cause @ Cause::TokenOfCache(_) => io::Error::new(io::ErrorKind::InvalidInput, cause),
            cause => io::Error::other(cause),
        }
    }
}

/// Why a connection is not fit for use, and the operating system's error if that is why.
pub(crate) type Fault = (Reason, Option<io::Error>);

/// A connection that couldn't be inserted comes back.
pub struct InsertError<C> {
    /// The connection. The cache has not registered it.
    pub conn: C,
    /// Why it couldn't be inserted.
    pub cause: Cause,
    /// The [place](crate::Cache::insert_at) it was given with, if that is still held.
    pub place: Option<Place>,
}

/// A connection that couldn't be parked comes back.
pub struct ParkError<C> {
    /// The connection, registered as before. Deregister it before you drop it.
    pub conn: C,
    /// Why it couldn't be parked.
    pub cause: Cause,
    options: Exclusive<ParkOptions>,
}

impl<C> ParkError<C> {
    pub(crate) fn new(conn: C, options: ParkOptions, cause: Cause) -> ParkError<C> {
        ParkError { conn, cause, options: Exclusive::new(options) }
    }

    /// The connection, registered as before, and the options as they were given, with private data and history.
    pub fn into_parts(self) -> (C, ParkOptions) {
        (self.conn, self.options.into_inner())
    }
}

/// A connection couldn't be taken.
pub struct TakeError<C> {
    /// Why it couldn't be taken.
    pub cause: Cause,
    evicted: Exclusive<Option<Evicted<C>>>,
}

impl<C> TakeError<C> {
    pub(crate) fn new(cause: Cause, evicted: Option<Evicted<C>>) -> TakeError<C> {
        TakeError { cause, evicted: Exclusive::new(evicted) }
    }

    /// The connection, if it has left the cache because its registration is in doubt. `None` if nothing has changed.
    pub fn into_evicted(self) -> Option<Evicted<C>> {
        self.evicted.into_inner()
    }
}

/// A connection that couldn't be adopted comes back.
pub struct AdoptError<C> {
    /// Why it couldn't be adopted.
    pub cause: Cause,
    evicted: Exclusive<Evicted<C>>,
}

impl<C> AdoptError<C> {
    pub(crate) fn new(cause: Cause, evicted: Evicted<C>) -> AdoptError<C> {
        AdoptError { cause, evicted: Exclusive::new(evicted) }
    }

    /// The connection, as it was given. The cache has not registered it.
    pub fn into_evicted(self) -> Evicted<C> {
        self.evicted.into_inner()
    }
}

/// A value that can't be borrowed, only moved out. It makes an error `Sync` that holds private data, which is only
/// `Send`: `Box<dyn Error + Send + Sync>` (and `io::Error`, and `anyhow`) demand both.
///
/// It is boxed because errors are rare and should be small.
struct Exclusive<T>(Box<Mutex<T>>);

impl<T> Exclusive<T> {
    fn new(value: T) -> Exclusive<T> {
        Exclusive(Box::new(Mutex::new(value)))
    }

    fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all errors that give something back have in common: they show and convert as their causes.
macro_rules! error_with_cause {
    ($($name:ident $(<$conn:ident>)?),*) => {$(
        impl$(<$conn>)? fmt::Debug for $name$(<$conn>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("cause", &self.cause).finish_non_exhaustive()
            }
        }

        impl$(<$conn>)? fmt::Display for $name$(<$conn>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.cause.fmt(f)
            }
        }

        impl$(<$conn>)? Error for $name$(<$conn>)? {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                self.cause.source()
            }
        }

        impl$(<$conn>)? From<$name$(<$conn>)?> for io::Error {
            fn from(error: $name$(<$conn>)?) -> io::Error {
                error.cause.into()
            }
        }
    )*};
}

error_with_cause!(SetStateError, InsertError<C>, ParkError<C>, TakeError<C>, AdoptError<C>);

#[cfg(test)]
mod tests {
    use super::*;

    /// Private data is only `Send`.
    #[test]
    fn every_error_can_be_boxed_for_other_threads_and_becomes_an_io_error() {
        fn fits<T: Into<Box<dyn Error + Send + Sync>> + Into<io::Error>>() {}

        fits::<ConfigError>();
        fits::<NotFound>();
        fits::<StateError>();
        fits::<SetStateError>();
        fits::<Cause>();
        fits::<InsertError<()>>();
        fits::<ParkError<()>>();
        fits::<TakeError<()>>();
        fits::<AdoptError<()>>();
        fits::<crate::RequestError>();
        fits::<crate::ParsePeerError>();
        fits::<crate::ChannelsExhausted>();
    }
}
