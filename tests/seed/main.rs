//! What the seed, Ocamlnet's connection cache, is known for: its six methods through the trait, its defects, the
//! policies derived from it, the laws for every implementation, and a whole host that knows the trait only.
#![cfg(unix)]

#[path = "../common/mod.rs"]
mod common;

mod defects;
mod host;
mod laws;
mod methods;
mod policies;

use common::PLAIN;
use conncache::mio::Poll;
use conncache::{AggressiveCache, ConnId, Connection, ConnectionCache, Owner, Peer};
use std::time::Instant;

const A: Owner = Owner(1);
const B: Owner = Owner(2);

fn aggressive<C: Connection>() -> (Poll, AggressiveCache<C>) {
    let poll = Poll::new().unwrap();
    let cache = AggressiveCache::builder().build(poll.registry()).unwrap();
    (poll, cache)
}

fn peers() -> (Peer, Peer) {
    (Peer::direct("one", 1), Peer::direct("two", 2))
}

fn insert<C>(cache: &mut dyn ConnectionCache<C>, now: Instant, conn: C, peer: &Peer, owner: Owner) -> ConnId {
    cache.insert(now, conn, peer, PLAIN, owner).unwrap_or_else(|error| panic!("{error}"))
}
