//! A policy that panics when a request leaves its line: the call may be made again, and nothing is lost.

use super::*;
use crate::common::SECOND;
use conncache::{Cache, Candidate, NotFound, Reason, Verdict};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

/// Keeps for those who wait; panics at anything else if it is told to.
struct Touchy {
    _poll: Poll,
    cache: Cache<Light, Box<dyn conncache::Policy>>,
    panics: Rc<Cell<bool>>,
    now: Instant,
    id: ConnId,
    waiter: WaiterId,
}

impl Touchy {
    /// With one connection, which is kept for the only request that waits, for a second.
    fn new() -> Touchy {
        let (poll, panics) = (Poll::new().unwrap(), Rc::new(Cell::new(false)));
        let told = Rc::clone(&panics);
        let policy = move |candidate: &Candidate<'_>| match candidate.waiting {
            0 if told.get() => panic!("as the test wants"),
            0 => Verdict::Close,
            _ => Verdict::Keep,
        };
        let policy: Box<dyn conncache::Policy> = Box::new(policy);
        let mut cache = Cache::with_policy(policy).max_connections_per_peer(1).build(poll.registry()).unwrap();
        let now = Instant::now();
        let id = cache.insert(now, Light, &peer(1), PLAIN, ME).unwrap();
        let Requested::Wait(waiter) = cache.request(now, &peer(1), PLAIN, ME, Some(now + SECOND)).unwrap() else {
            panic!()
        };
        assert!(cache.checkin(now, id).unwrap().is_none());
        Touchy { _poll: poll, cache, panics, now, id, waiter }
    }

    /// Has the policy panic in this call.
    fn panic_in<T>(&mut self, call: impl FnOnce(&mut Touchy) -> T) {
        self.panics.set(true);
        let panicked = catch_unwind(AssertUnwindSafe(|| call(self))).is_err();
        self.panics.set(false);
        assert!(panicked, "the policy wasn't asked");
    }

    /// The connection goes, and nothing stays.
    fn ends(mut self, reason: Reason) {
        let gone = self.cache.expire(self.now).expect("nobody waits for it");
        assert_eq!((gone.id, gone.reason), (self.id, reason));
        assert!(self.cache.grant(self.now + 9 * SECOND).is_none());
        assert_eq!((self.cache.next_deadline(), self.cache.peers().count()), (None, 0));
    }
}

#[test]
fn a_request_whose_withdrawal_panicked_still_waits() {
    let mut touchy = Touchy::new();
    let waiter = touchy.waiter;
    touchy.panic_in(|touchy| touchy.cache.withdraw(waiter));
    assert_eq!(touchy.cache.counts().waiting, 1);
    touchy.cache.withdraw(waiter).unwrap();
    assert_eq!(touchy.cache.withdraw(waiter), Err(NotFound));
    touchy.ends(Reason::Policy);
}

#[test]
fn a_request_out_of_time_is_told_so_after_a_panic() {
    let mut touchy = Touchy::new();
    touchy.now += SECOND;
    touchy.panic_in(|touchy| touchy.cache.grant(touchy.now));
    assert_eq!((touchy.cache.counts().waiting, touchy.cache.stats().timed_out), (1, 0));
    let grant = touchy.cache.grant(touchy.now).unwrap();
    assert!(grant.waiter == touchy.waiter && matches!(grant.granted, Granted::TimedOut));
    assert_eq!(touchy.cache.stats().timed_out, 1);
    touchy.ends(Reason::Policy);
}

#[test]
fn a_line_whose_refusal_panicked_can_be_refused_again() {
    let mut touchy = Touchy::new();
    touchy.panic_in(|touchy| touchy.cache.refuse(&peer(1)));
    touchy.cache.refuse(&peer(1));
    let grant = touchy.cache.grant(touchy.now).unwrap();
    assert!(grant.waiter == touchy.waiter && matches!(grant.granted, Granted::Refused));
    touchy.ends(Reason::Policy);
}

/// A revoked identity's connections go, whatever the policy does.
#[test]
fn a_closing_asks_the_policy_nothing() {
    let mut touchy = Touchy::new();
    touchy.panics.set(true);
    touchy.cache.close_channel(PLAIN);
    assert!(matches!(touchy.cache.grant(touchy.now).unwrap().granted, Granted::Refused));
    touchy.ends(Reason::ClosedChannel);
}

#[test]
fn a_cache_that_ends_asks_the_policy_nothing() {
    let mut touchy = Touchy::new();
    touchy.panics.set(true);
    touchy.cache.drain();
    assert!(matches!(touchy.cache.grant(touchy.now).unwrap().granted, Granted::Refused));
    touchy.ends(Reason::Drained);

    let mut touchy = Touchy::new();
    touchy.panics.set(true);
    touchy.cache.close_all();
    assert!(matches!(touchy.cache.grant(touchy.now).unwrap().granted, Granted::Refused));

    let touchy = Touchy::new();
    touchy.panics.set(true);
    drop(touchy.cache);
}
