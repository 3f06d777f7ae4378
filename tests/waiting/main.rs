//! Limits on all connections, and the requests that wait: G9.

#[path = "../common/mod.rs"]
mod common;

mod fairness;
mod limits;
mod line;
mod model;
mod overdue;
mod panics;
mod places;
mod stumbling;

use common::light::Light;
use common::{ME, PLAIN};
use conncache::mio::Poll;
use conncache::{
    AggressiveCache, ChannelBindingId, ConnId, Found, Grant, Granted, Limits, Owner, Peer, Place, Requested, WaiterId,
};
use std::time::{Duration, Instant};

/// A host with peers by number, whose answers are unwrapped.
struct Host {
    _poll: Poll,
    cache: AggressiveCache<Light>,
    now: Instant,
}

fn peer(number: u16) -> Peer {
    Peer::direct("host", number)
}

fn host(set: impl FnOnce(&mut Limits)) -> Host {
    let poll = Poll::new().unwrap();
    let cache = AggressiveCache::builder().limits(common::limits(set)).build(poll.registry()).unwrap();
    Host { _poll: poll, cache, now: Instant::now() }
}

impl Host {
    fn request(&mut self, to: u16, until: Option<Duration>) -> Requested<Light> {
        let until = until.map(|time| self.now + time);
        self.cache.request(self.now, &peer(to), PLAIN, ME, until).unwrap()
    }

    fn place(&mut self, to: u16) -> Place {
        match self.request(to, None) {
            Requested::Open { place, evicted: None } => place,
            other => panic!("{other:?}"),
        }
    }

    fn open(&mut self, to: u16) -> ConnId {
        let place = self.place(to);
        self.insert_at(place)
    }

    fn insert_at(&mut self, place: Place) -> ConnId {
        self.cache.insert_at(self.now, place, Light).unwrap_or_else(|error| panic!("{error}"))
    }

    fn reuse(&mut self, to: u16) -> Found {
        match self.request(to, None) {
            Requested::Reuse(found) => found,
            other => panic!("{other:?}"),
        }
    }

    fn wait(&mut self, to: u16) -> WaiterId {
        self.wait_under(to, PLAIN)
    }

    fn wait_under(&mut self, to: u16, channel: ChannelBindingId) -> WaiterId {
        match self.cache.request(self.now, &peer(to), channel, ME, None).unwrap() {
            Requested::Wait(waiter) => waiter,
            other => panic!("{other:?}"),
        }
    }

    /// Checks a connection in; whether it was kept.
    fn checkin(&mut self, id: ConnId) -> bool {
        self.cache.checkin(self.now, id).unwrap().is_none()
    }

    fn grant(&mut self) -> Option<Grant<Light>> {
        self.cache.grant(self.now)
    }

    fn is_due(&self) -> bool {
        self.cache.next_deadline().is_some_and(|at| at <= self.now)
    }

    /// The next grant, which must be a connection to reuse.
    fn granted_reuse(&mut self) -> (WaiterId, ConnId) {
        assert!(self.is_due());
        match self.grant() {
            Some(Grant { waiter, granted: Granted::Reuse(found), .. }) => (waiter, found.id),
            other => panic!("{other:?}"),
        }
    }

    /// The next grant, which must be a place.
    fn granted_place(&mut self) -> (WaiterId, Place) {
        assert!(self.is_due());
        match self.grant() {
            Some(Grant { waiter, granted: Granted::Open { place, .. }, .. }) => (waiter, place),
            other => panic!("{other:?}"),
        }
    }

    fn nothing_to_grant(&mut self) {
        assert!(self.grant().is_none());
        assert!(!self.is_due(), "a loop would spin");
    }

    fn all(&self) -> usize {
        let counts = self.cache.counts();
        counts.active + counts.inactive + counts.places
    }
}

fn owner(number: u64) -> Owner {
    Owner(number)
}
