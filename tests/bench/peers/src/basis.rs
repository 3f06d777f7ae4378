//! conncache, and the least that any pool does.

use crate::{Cycle, host, keys};
use conncache::mio::event::Source;
use conncache::mio::{Interest, Poll, Registry, Token};
use conncache::{Aggressive, AggressiveCache, Builder, ChannelBindingId, Connection, Owner, Peer, Probe};
use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

struct Scripted(u32);

impl Source for Scripted {
    fn register(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn reregister(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        Ok(())
    }
}

impl Connection for Scripted {
    fn probe(&mut self) -> Probe {
        Probe::Quiet
    }

    fn is_connected(&self) -> bool {
        true
    }
}

pub fn conncache(peers: usize, each: usize) -> Cycle {
    with(AggressiveCache::builder(), peers, each)
}

pub fn conncache_limited(peers: usize, each: usize) -> Cycle {
    let (minute, many) = (Duration::from_secs(60), 20_000_000);
    let builder = AggressiveCache::builder().idle_timeout(minute).max_lifetime(60 * minute).lifetime_jitter(minute);
    let builder = builder.max_uses(u32::MAX).max_inactive(many).max_inactive_per_peer(many);
    let builder = builder.max_connections(many).max_connections_per_peer(many);
    with(builder.max_connecting_per_peer(many).max_waiting(many), peers, each)
}

fn with(builder: Builder<Scripted, Aggressive>, peers: usize, each: usize) -> Cycle {
    const PLAIN: ChannelBindingId = ChannelBindingId::PLAIN;
    let (poll, now, me) = (Poll::new().expect("a poll"), Instant::now(), Owner(7));
    let mut cache = builder.capacity(peers * each).build(poll.registry()).expect("a cache");
    let peers: Vec<Peer> = (0..peers).map(|peer| Peer::direct(&host(peer), 443)).collect();
    for connection in 0..peers.len() * each {
        let peer = connection % peers.len();
        let id = cache.insert(now, Scripted(peer as u32), &peers[peer], PLAIN, me).expect("there is room");
        assert!(matches!(cache.checkin(now, id), Ok(None)));
    }
    Box::new(move |order| {
        for &peer in order {
            let found = cache.checkout(now, &peers[peer as usize], PLAIN, me).expect("one is inactive");
            assert_eq!(cache[found.id].0, peer);
            assert!(matches!(cache.checkin(now, found.id), Ok(None)));
        }
    })
}

/// A map to stacks of connections.
pub fn bare_map(peers: usize, each: usize) -> Cycle {
    let keys = keys(peers);
    let mut map: HashMap<_, Vec<u64>> = HashMap::new();
    for connection in 0..peers * each {
        let peer = connection % peers;
        map.entry(keys[peer].clone()).or_default().push(((connection as u64) << 32) | peer as u64);
    }
    Box::new(move |order| {
        for &peer in order {
            let key = &keys[peer as usize];
            let found = map.get_mut(key).and_then(Vec::pop).expect("one is inactive");
            assert_eq!(found as u32, peer);
            map.get_mut(key).expect("a known peer").push(found);
        }
    })
}
