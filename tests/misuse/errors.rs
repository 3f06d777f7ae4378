//! What errors say.

use crate::common::light::Light;
use crate::common::scripted::Scripted;
use crate::common::{ME, PLAIN};
use crate::host;
use conncache::mio::Poll;
use conncache::{AggressiveCache, ConnId, ConnState, NotFound, Owner, Peer, StateError};
use std::io;
use std::time::Instant;

#[test]
fn errors_say_what_went_wrong_and_lead_to_the_systems() {
    use std::error::Error;
    let told = |error: StateError| error.to_string();
    assert_eq!(told(StateError::NotFound), "connection not found in the cache, or its lease is over");
    let not_found = "connection or request not found in the cache, or its time or lease is over";
    assert_eq!(NotFound.to_string(), not_found);
    assert_eq!(told(StateError::AlreadyInactive), "connection is inactive already");
    assert_eq!(told(StateError::OwnedBy(Owner(7))), "connection is owned by 7");
    assert_eq!(told(StateError::OtherPeer), "connection is kept for another peer");
    let (poll, peer, now) = (Poll::new().unwrap(), Peer::direct("a", 1), Instant::now());
    let mut cache: AggressiveCache<Scripted> = AggressiveCache::builder().build(poll.registry()).unwrap();
    let (conn, wire) = Scripted::new(0);
    wire.borrow_mut().fail_register = true;
    let error = cache.insert(now, conn, &peer, PLAIN, ME).unwrap_err();
    assert_eq!(error.to_string(), "connection couldn't be registered: as the script says");
    assert_eq!(error.source().expect("the system's").to_string(), "as the script says");
    let error = cache.set_connection_state(now, other_id(), &peer, ConnState::Active(ME)).unwrap_err();
    assert_eq!((error.to_string(), error.source().is_none()), (told(StateError::NotFound), true));
}

#[test]
fn a_wrong_peer_is_an_error_of_invalid_input_in_a_function_that_returns_those_of_the_system() {
    fn peer(text: &str) -> io::Result<Peer> {
        Ok(text.parse()?)
    }
    assert_eq!(peer("a:1").unwrap(), Peer::direct("a", 1));
    let error = peer("a:b").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), "peer: port (not shown) is not a number from 0 to 65535");
}

/// An id of another cache.
fn other_id() -> ConnId {
    host(|_| ()).insert(Light)
}
