//! A host with one cache, one peer and a clock that only the test moves.

use super::{ME, PLAIN, SECOND, Same};
use conncache::mio::{Events, Poll};
use conncache::{AggressiveCache, ConnId, Connection, Handled, Limits, Peer, Reason};
use std::time::Instant;

pub struct Host<C: Connection> {
    pub poll: Poll,
    pub cache: AggressiveCache<C>,
    pub peer: Peer,
    pub now: Instant,
}

impl<C: Connection> Host<C> {
    pub fn new(limits: Limits) -> Host<C> {
        let poll = Poll::new().unwrap();
        let cache = AggressiveCache::builder().limits(limits).build(poll.registry()).unwrap();
        Host { poll, cache, peer: Peer::direct("127.0.0.1", 80), now: Instant::now() }
    }

    pub fn insert(&mut self, conn: C) -> ConnId {
        self.cache.insert(self.now, conn, &self.peer, PLAIN, ME).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Inserts it and checks it in.
    pub fn keep(&mut self, conn: C) -> ConnId {
        let id = self.insert(conn);
        assert_eq!(self.checkin(id), None);
        id
    }

    pub fn checkin(&mut self, id: ConnId) -> Option<(ConnId, Reason)> {
        self.cache.checkin(self.now, id).unwrap().map(|evicted| (evicted.id, evicted.reason))
    }

    /// The new lease.
    pub fn checkout(&mut self) -> Option<ConnId> {
        self.cache.checkout(self.now, &self.peer, PLAIN, ME).map(|found| found.id)
    }

    /// Which connection a checkout hands out.
    pub fn reuse(&mut self) -> Option<Same> {
        self.checkout().map(Same)
    }

    pub fn expire(&mut self) -> Option<(ConnId, Reason)> {
        self.cache.expire(self.now).map(|evicted| (evicted.id, evicted.reason))
    }

    pub fn expire_all(&mut self) -> Vec<(ConnId, Reason)> {
        std::iter::from_fn(|| self.expire()).collect()
    }

    /// Passes events to the cache until its answers satisfy `until`.
    pub fn turns(&mut self, until: impl Fn(&[Handled<C>]) -> bool) -> Vec<Handled<C>> {
        let (mut events, mut handled) = (Events::with_capacity(64), Vec::new());
        let start = Instant::now();
        while !until(&handled) {
            assert!(start.elapsed() < 60 * SECOND, "waited in vain: {handled:?}");
            self.poll.poll(&mut events, Some(SECOND)).unwrap();
            handled.extend(events.iter().map(|event| self.cache.handle_event(event)));
        }
        handled
    }
}
