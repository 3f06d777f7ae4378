//! A connection cache for programs that run their own mio event loop.
#![forbid(unsafe_code)]
#![deny(missing_docs, clippy::disallowed_methods)]

mod buckets;
mod builder;
mod cache;
mod clock;
mod connection;
mod cycle;
mod deadlines;
mod error;
mod expiry;
mod heads;
mod limits;
mod lru;
mod outcome;
mod owners;
mod peer;
mod policy;
mod slots;
mod state;
mod stats;
mod table;
#[cfg(test)]
mod testing;
mod tokens;
mod view;
mod watch;

pub use builder::Builder;
pub use cache::ConnectionCache;
pub use connection::{Connection, Probe};
pub use error::{Cause, InsertError, NotFound, ParkError, SetStateError, StateError, TakeError};
pub use limits::{ConfigError, Limits};
pub use mio;
pub use outcome::{Changed, Evicted, Found, Handled, Past, Reason, Taken};
pub use peer::{Hop, ParsePeerError, Peer, PeerKind};
pub use policy::{Aggressive, Candidate, Policy, Restrictive, Verdict};
pub use state::{ChannelBindingId, ChannelsExhausted, ConnId, ConnState, ConnStateRef, Interner, Owner, PrivateData};
pub use stats::Stats;
pub use view::{Counts, Entry};
pub use watch::{AggressiveCache, Cache, Parked, Parking, RestrictiveCache};
