//! Limits, misuse and faults: each has a defined answer, and an error changes nothing.

#[path = "common/light.rs"]
mod light;
#[path = "common/scripted.rs"]
mod scripted;

use conncache::mio::event::Source;
use conncache::mio::{Interest, Poll, Token};
use conncache::{
    AggressiveCache, Cache, Candidate, Cause, ChannelBindingId, ConnId, ConnState, Connection, Counts, Handled, Limits,
    NotFound, Owner, Parking, Peer, Probe, Reason, StateError, Verdict,
};
use light::Light;
use scripted::Scripted;
use std::io;
use std::time::{Duration, Instant};

const PLAIN: ChannelBindingId = ChannelBindingId(0);
const TLS: ChannelBindingId = ChannelBindingId(1);
const ME: Owner = Owner(1);
const SECOND: Duration = Duration::from_secs(1);
const INSTANT: Duration = Duration::from_nanos(1);

struct Host {
    _poll: Poll,
    cache: AggressiveCache<Light>,
    peer: Peer,
    now: Instant,
}

fn host(set: impl FnOnce(&mut Limits)) -> Host {
    let poll = Poll::new().unwrap();
    let cache = AggressiveCache::builder().limits(limits(set)).build(poll.registry()).unwrap();
    Host { _poll: poll, cache, peer: Peer::direct("host", 80), now: Instant::now() }
}

fn limits(set: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    set(&mut limits);
    limits
}

impl Host {
    fn insert(&mut self) -> ConnId {
        self.cache.insert(self.now, Light, &self.peer, PLAIN, ME).unwrap()
    }

    fn keep(&mut self) -> ConnId {
        let id = self.insert();
        assert_eq!(self.checkin(id), None);
        id
    }

    fn keep_many(&mut self, count: usize) -> Vec<ConnId> {
        (0..count).map(|_| self.keep()).collect()
    }

    fn checkin(&mut self, id: ConnId) -> Option<(ConnId, Reason)> {
        self.cache.checkin(self.now, id).unwrap().map(|evicted| (evicted.id, evicted.reason))
    }

    fn checkout(&mut self) -> Option<ConnId> {
        self.cache.checkout(self.now, &self.peer, PLAIN, ME).map(|found| found.id)
    }

    fn expire(&mut self) -> Option<(ConnId, Reason)> {
        self.cache.expire(self.now).map(|evicted| (evicted.id, evicted.reason))
    }

    fn expire_all(&mut self) -> Vec<(ConnId, Reason)> {
        std::iter::from_fn(|| self.expire()).collect()
    }
}

// Limits on numbers

#[test]
fn over_max_inactive_the_one_inactive_for_longest_goes() {
    let mut host = host(|l| l.max_inactive = Some(2));
    let first = host.keep();
    let other = Peer::direct("other", 1);
    let second = host.cache.insert(host.now, Light, &other, TLS, ME).unwrap();
    assert_eq!(host.checkin(second), None, "exactly at the limit");
    let third = host.insert();
    assert_eq!(host.checkin(third), Some((first, Reason::MaxInactive)));
    assert_eq!(host.cache.counts().inactive, 2);
}

#[test]
fn over_max_inactive_per_peer_the_buckets_oldest_goes_never_the_newcomer() {
    let mut host = host(|l| l.max_inactive_per_peer = Some(2));
    let other = host.cache.insert(host.now, Light, &host.peer, TLS, ME).unwrap();
    assert_eq!(host.checkin(other), None);
    let kept = host.keep_many(2);
    let newcomer = host.insert();
    assert_eq!(host.checkin(newcomer), Some((kept[0], Reason::MaxInactivePerPeer)));
    assert_eq!((host.checkout(), host.checkout(), host.checkout()), (Some(newcomer), Some(kept[1]), None));
}

#[test]
fn zero_keeps_nothing_and_says_which_limit_it_was() {
    type Set = fn(&mut Limits);
    let zeros: [(Set, Reason); 5] = [
        (|l| l.max_inactive = Some(0), Reason::MaxInactive),
        (|l| l.max_inactive_per_peer = Some(0), Reason::MaxInactivePerPeer),
        (|l| l.idle_timeout = Some(Duration::ZERO), Reason::IdleTimeout),
        (|l| l.max_lifetime = Some(Duration::ZERO), Reason::MaxLifetime),
        (|l| l.max_uses = Some(0), Reason::MaxUses),
    ];
    for (zero, reason) in zeros {
        let mut host = host(zero);
        let id = host.insert();
        assert_eq!(host.checkin(id), Some((id, reason)));
        let refused = host.cache.park(host.now, Light, &host.peer, PLAIN, Some(Box::new(5))).unwrap_err();
        assert!(matches!(refused.cause, Cause::Refused(why) if why == reason), "{refused}");
        assert!(refused.private.is_some());
        assert_eq!(host.cache.counts(), Counts::default());
    }
}

#[test]
fn one_use_is_one_hand_out() {
    let mut host = host(|l| l.max_uses = Some(2));
    let id = host.keep();
    for _ in 0..2 {
        assert_eq!(host.checkout(), Some(id));
        let left = host.checkin(id);
        assert_eq!(left, (host.cache.counts().inactive == 0).then_some((id, Reason::MaxUses)));
    }
    assert_eq!(host.cache.counts(), Counts::default());
}

// Limits of time

#[test]
fn an_idle_time_out_is_kept_to_the_nanosecond_and_restarts_with_each_use() {
    let mut host = host(|l| l.idle_timeout = Some(SECOND));
    let id = host.keep();
    let start = host.now;
    assert_eq!(host.cache.next_deadline(), Some(start + SECOND));
    host.now = start + SECOND - INSTANT;
    assert_eq!((host.expire(), host.checkout()), (None, Some(id)));
    assert_eq!(host.checkin(id), None);
    host.now = start + SECOND;
    assert_eq!(host.expire(), None);
    host.now = start + 2 * SECOND - INSTANT;
    assert_eq!((host.checkout(), host.expire()), (None, Some((id, Reason::IdleTimeout))));
}

#[test]
fn a_lifetime_counts_from_the_insertion_whatever_happens() {
    let mut host = host(|l| l.max_lifetime = Some(SECOND));
    let id = host.insert();
    let start = host.now;
    host.now = start + SECOND - INSTANT;
    assert_eq!(host.checkin(id), None);
    assert_eq!(host.cache.next_deadline(), Some(start + SECOND));
    assert_eq!(host.checkout(), Some(id));
    host.now = start + SECOND;
    assert_eq!(host.checkin(id), Some((id, Reason::MaxLifetime)), "it ends when it would become inactive");
}

#[test]
fn a_lifetime_goes_with_a_connection_that_is_taken_and_parked() {
    let mut host = host(|l| (l.max_lifetime, l.max_uses) = (Some(SECOND), Some(3)));
    host.keep();
    let taken = host.cache.take(host.now, &host.peer, PLAIN, Token(1), Interest::READABLE).unwrap().unwrap();
    assert_eq!(taken.past.uses(), 1);
    let mut parking = Parking::default();
    parking.past = taken.past;
    let start = host.now;
    host.now += SECOND - INSTANT;
    assert!(host.cache.park_with(host.now, taken.conn, &host.peer, PLAIN, parking).unwrap().evicted.is_none());
    assert_eq!(host.cache.next_deadline(), Some(start + SECOND));
    host.now += INSTANT;
    assert_eq!(host.expire().unwrap().1, Reason::MaxLifetime);
}

#[test]
fn the_earliest_of_all_deadlines_counts_and_gives_the_reason() {
    let mut host = host(|l| (l.idle_timeout, l.max_lifetime) = (Some(3 * SECOND), Some(5 * SECOND)));
    let id = host.insert();
    assert!(host.cache.checkin_until(host.now, id, host.now + 2 * SECOND).unwrap().is_none());
    let start = host.now;
    host.now = start + 9 * SECOND;
    assert_eq!(host.expire(), Some((id, Reason::Deadline)), "however late");
    let id = host.insert();
    let late = host.now - INSTANT;
    let refused = host.cache.checkin_until(host.now, id, late).unwrap().unwrap();
    assert_eq!((refused.id, refused.reason), (id, Reason::Deadline), "a deadline that has passed");
}

#[test]
fn never_is_a_time_out_too() {
    let mut host = host(|l| (l.idle_timeout, l.max_lifetime) = (Some(Duration::MAX), Some(Duration::MAX)));
    let id = host.keep();
    assert_eq!(host.cache.next_deadline(), None);
    host.now += Duration::from_secs(1 << 30);
    assert_eq!((host.expire(), host.checkout()), (None, Some(id)));
    let mut limits = limits(|l| l.max_lifetime = Some(Duration::MAX));
    limits.lifetime_jitter = Duration::MAX;
    host.cache.set_limits(limits).unwrap();
    host.insert();
}

#[test]
fn never_has_not_come_when_the_clock_has_no_more_numbers() {
    let mut host = host(|l| l.idle_timeout = Some(Duration::MAX));
    let id = host.keep();
    // More nanoseconds than 64 bits hold; some platforms have no such instants.
    let Some(late) = host.now.checked_add(Duration::from_secs(1 << 36)) else { return };
    host.now = late;
    assert_eq!((host.expire(), host.checkout()), (None, Some(id)));
    assert_eq!((host.checkin(id), host.expire()), (None, None));
}

#[test]
fn a_clock_going_backwards_expires_nothing_early_and_nothing_for_ever() {
    let mut host = host(|l| l.idle_timeout = Some(SECOND));
    let start = host.now;
    host.now = start + 10 * SECOND;
    let id = host.insert();
    host.now = start;
    assert_eq!(host.checkin(id), None);
    assert_eq!(host.cache.next_deadline(), Some(start + 11 * SECOND), "it counts from the latest time known");
    assert_eq!(host.expire(), None);
    let found = host.cache.checkout(start, &host.peer, PLAIN, ME).unwrap();
    assert_eq!(found.inactive_for, Duration::ZERO);
    assert_eq!(host.checkin(id), None);
    host.now = start + 11 * SECOND;
    assert_eq!(host.expire(), Some((id, Reason::IdleTimeout)));
}

// Changing the limits while running

#[test]
fn what_a_lowered_limit_condemns_comes_from_expire_and_is_not_handed_out() {
    for per_peer in [false, true] {
        let mut host = host(|_| ());
        let all = host.keep_many(5);
        let lower = |most| {
            limits(|l| if per_peer { l.max_inactive_per_peer = Some(most) } else { l.max_inactive = Some(most) })
        };
        host.cache.set_limits(lower(2)).unwrap();
        let reason = if per_peer { Reason::MaxInactivePerPeer } else { Reason::MaxInactive };
        assert_eq!(host.cache.next_deadline(), Some(host.now), "they are due");
        assert_eq!([host.checkout(), host.checkout(), host.checkout()], [Some(all[4]), Some(all[3]), None]);
        host.cache.set_limits(Limits::default()).unwrap();
        assert_eq!(host.checkout(), None, "a limit raised again pardons none");
        assert_eq!(host.expire_all(), [(all[0], reason), (all[1], reason), (all[2], reason)]);
        assert_eq!(host.cache.next_deadline(), None);
    }
}

#[test]
fn what_is_condemned_stays_so_when_others_leave() {
    for per_peer in [false, true] {
        let mut host = host(|_| ());
        let all = host.keep_many(5);
        let lower = limits(|l| if per_peer { l.max_inactive_per_peer = Some(2) } else { l.max_inactive = Some(2) });
        host.cache.set_limits(lower).unwrap();
        drop(host.cache.close_connection(all[4]).unwrap());
        drop(host.cache.close_connection(all[1]).unwrap());
        assert_eq!([host.checkout(), host.checkout()], [Some(all[3]), None], "per peer: {per_peer}");
        let changed = host.cache.set_connection_state(host.now, all[2], &host.peer, ConnState::Active(ME)).unwrap();
        assert_eq!(changed.evicted.map(|evicted| evicted.id), Some(all[2]), "per peer: {per_peer}");
        assert_eq!(host.expire_all().len(), 1);
    }
}

#[test]
fn a_newcomer_makes_room_for_itself_though_condemned_ones_still_wait() {
    let mut host = host(|l| l.max_inactive_per_peer = Some(3));
    let old: [ConnId; 3] = std::array::from_fn(|_| host.keep());
    let other = Peer::direct("other", 1);
    let insert = |host: &mut Host| host.cache.insert(host.now, Light, &other, PLAIN, ME).unwrap();
    let young: Vec<ConnId> = (0..3).map(|_| insert(&mut host)).collect();
    young.iter().for_each(|&id| assert_eq!(host.checkin(id), None));
    host.cache.set_limits(limits(|l| (l.max_inactive, l.max_inactive_per_peer) = (Some(3), Some(3)))).unwrap();
    let newcomer = host.insert();
    assert_eq!(host.checkin(newcomer), Some((young[0], Reason::MaxInactive)), "the oldest of those kept");
    let kept: Vec<_> = std::iter::from_fn(|| host.cache.checkout(host.now, &other, PLAIN, ME)).collect();
    assert_eq!((kept.len(), host.checkout(), host.checkout()), (2, Some(newcomer), None));
    assert_eq!(host.expire_all(), old.map(|id| (id, Reason::MaxInactive)));
}

#[test]
fn contradicting_limits_are_refused_and_the_old_ones_stay() {
    let mut host = host(|l| l.max_inactive = Some(5));
    let wrong = limits(|l| (l.max_inactive, l.max_inactive_per_peer) = (Some(1), Some(2)));
    let error = host.cache.set_limits(wrong.clone()).unwrap_err();
    assert_eq!(error.to_string(), "max_inactive_per_peer = 2 is more than max_inactive, 1");
    assert_eq!(host.cache.limits().max_inactive, Some(5));
    let poll = Poll::new().unwrap();
    let error = AggressiveCache::<Light>::builder().limits(wrong).build(poll.registry()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("max_inactive_per_peer"));
}

// Ids

#[test]
fn an_unknown_or_stale_id_is_not_found_and_changes_nothing() {
    let (mut one, mut two) = (host(|_| ()), host(|_| ()));
    let stale = one.insert();
    drop(one.cache.remove(stale).unwrap());
    let (here, foreign) = (one.insert(), two.insert());
    let before = one.cache.stats();
    for id in [stale, foreign] {
        assert!(one.cache.get(id).is_none() && one.cache.get_mut(id).is_none() && one.cache.token(id).is_none());
        assert!(one.cache.peer(id).is_none() && one.cache.channel(id).is_none());
        assert_eq!(one.cache.get_connection_state(id).map(drop), Err(NotFound));
        assert_eq!(one.cache.remove(id).map(drop), Err(NotFound));
        assert_eq!(one.cache.close_connection(id).map(drop), Err(NotFound));
        assert_eq!(one.cache.checkin(one.now, id).map(drop), Err(StateError::NotFound));
        assert_eq!(one.cache.checkin_until(one.now, id, one.now).map(drop), Err(StateError::NotFound));
        let state = ConnState::inactive(PLAIN).private(7);
        let error = one.cache.set_connection_state(one.now, id, &one.peer, state).unwrap_err();
        assert_eq!(error.cause, StateError::NotFound);
        assert!(matches!(error.state, ConnState::Inactive { private: Some(_), .. }), "it comes back");
    }
    assert_eq!(one.cache.stats(), before);
    assert!(one.cache.get(here).is_some());
}

#[test]
fn closing_or_checking_in_twice_is_an_error() {
    let mut host = host(|_| ());
    let id = host.keep();
    assert_eq!(host.cache.checkin(host.now, id).map(drop), Err(StateError::AlreadyInactive));
    assert!(host.cache.close_connection(id).is_ok());
    assert_eq!(host.cache.close_connection(id).map(drop), Err(NotFound));
    assert_eq!(host.cache.stats().left_in_all(), 1);
}

#[test]
fn inactive_moved_to_another_peer_and_channel_is_listed_once_and_newest() {
    let mut host = host(|_| ());
    let all = host.keep_many(2);
    let other = Peer::direct("other", 1);
    let changed = host.cache.set_connection_state(host.now, all[0], &other, ConnState::inactive(TLS)).unwrap();
    assert!(changed.evicted.is_none() && changed.private.is_none());
    assert_eq!(host.cache.counts_of(&other, TLS).inactive, 1);
    assert_eq!((host.checkout(), host.checkout()), (Some(all[1]), None));
    let changed = host.cache.set_connection_state(host.now, all[1], &host.peer, ConnState::inactive(PLAIN)).unwrap();
    assert!(changed.evicted.is_none());
    assert_eq!(host.cache.shed().unwrap().id, all[0], "the moved one was first");
    let wrong = host.cache.set_connection_state(host.now, all[1], &other, ConnState::Active(ME)).unwrap_err();
    assert_eq!(wrong.cause, StateError::OtherPeer);
    assert_eq!(host.checkout(), Some(all[1]));
}

// Registering

/// A real socket that fails to be registered as often as it is told to.
struct Stubborn {
    socket: conncache::mio::net::UdpSocket,
    refusals: u32,
}

impl Source for Stubborn {
    fn register(&mut self, registry: &conncache::mio::Registry, token: Token, interest: Interest) -> io::Result<()> {
        if self.refusals > 0 {
            self.refusals -= 1;
            return Err(io::Error::other("not now"));
        }
        self.socket.register(registry, token, interest)
    }

    fn reregister(&mut self, registry: &conncache::mio::Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.socket.reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &conncache::mio::Registry) -> io::Result<()> {
        self.socket.deregister(registry)
    }
}

impl Connection for Stubborn {
    fn probe(&mut self) -> Probe {
        Probe::Quiet
    }

    fn is_connected(&self) -> bool {
        true
    }
}

#[test]
fn a_connection_that_cannot_be_registered_comes_back_and_can_be_inserted_again() {
    let (poll, peer, now) = (Poll::new().unwrap(), Peer::direct("a", 1), Instant::now());
    let mut cache: AggressiveCache<Stubborn> = AggressiveCache::builder().build(poll.registry()).unwrap();
    let socket = conncache::mio::net::UdpSocket::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let error = cache.insert(now, Stubborn { socket, refusals: 1 }, &peer, PLAIN, ME).unwrap_err();
    assert!(matches!(error.cause, Cause::Registry(_)));
    assert_eq!((cache.counts(), cache.peers().count(), cache.stats().inserted), (Counts::default(), 0, 0));
    assert!(cache.insert(now, error.conn, &peer, PLAIN, ME).is_ok());
}

/// A regular file can't be polled: the operating system itself refuses, which in debug builds mio remembers wrongly.
#[test]
#[cfg(target_os = "linux")]
fn a_source_that_the_system_refuses_can_be_given_to_another_cache() {
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    let std = std::net::TcpStream::from(std::os::fd::OwnedFd::from(file));
    let stream = conncache::mio::net::TcpStream::from_std(std);
    let (one, two) = (Poll::new().unwrap(), Poll::new().unwrap());
    let (peer, now) = (Peer::direct("a", 1), Instant::now());
    let mut caches = [&one, &two].map(|poll| AggressiveCache::builder().build(poll.registry()).unwrap());
    let error = caches[0].insert(now, stream, &peer, PLAIN, ME).unwrap_err();
    let Cause::Registry(first) = error.cause else { panic!() };
    let again = caches[1].insert(now, error.conn, &peer, PLAIN, ME).unwrap_err();
    let Cause::Registry(second) = again.cause else { panic!() };
    assert_eq!((first.raw_os_error(), first.kind()), (second.raw_os_error(), second.kind()), "mio bound it: {second}");
}

#[test]
fn a_connection_that_is_registered_already_comes_back_registered() {
    let (poll, peer, now) = (Poll::new().unwrap(), Peer::direct("a", 1), Instant::now());
    let mut cache: AggressiveCache<Scripted> = AggressiveCache::builder().build(poll.registry()).unwrap();
    let (conn, wire) = Scripted::new(0);
    let mine = Some((Token(3), Interest::READABLE));
    wire.borrow_mut().registered = mine;
    let error = cache.insert(now, conn, &peer, PLAIN, ME).unwrap_err();
    assert!(matches!(&error.cause, Cause::Registry(error) if error.kind() == io::ErrorKind::AlreadyExists));
    assert_eq!((wire.borrow().registered, wire.borrow().dropped), (mine, 0));
}

#[test]
fn one_registration_and_one_question_serve_a_whole_life() {
    let (poll, peer, now) = (Poll::new().unwrap(), Peer::direct("a", 1), Instant::now());
    let mut cache: AggressiveCache<Scripted> = AggressiveCache::builder().build(poll.registry()).unwrap();
    let (conn, wire) = Scripted::new(0);
    let id = cache.insert(now, conn, &peer, PLAIN, ME).unwrap();
    let before = scripted::PROBES.get();
    for _ in 0..100 {
        assert!(cache.checkin(now, id).unwrap().is_none());
        assert!(cache.checkout(now, &peer, PLAIN, ME).is_some());
    }
    assert_eq!((wire.borrow().calls, scripted::PROBES.get() - before), ([1, 0, 0], 100));
    assert_eq!(wire.borrow().asked, 1, "whether it is connected");
    drop(cache.close_connection(id).unwrap());
    assert_eq!(wire.borrow().calls, [1, 0, 1]);
}

#[test]
fn parking_and_taking_cost_one_registration_each() {
    let (poll, peer, now) = (Poll::new().unwrap(), Peer::direct("a", 1), Instant::now());
    let mut cache: AggressiveCache<Scripted> = AggressiveCache::builder().build(poll.registry()).unwrap();
    let (conn, wire) = Scripted::new(0);
    wire.borrow_mut().registered = Some((Token(3), Interest::READABLE));
    assert!(cache.park(now, conn, &peer, PLAIN, None).unwrap().evicted.is_none());
    let taken = cache.take(now, &peer, PLAIN, Token(4), Interest::WRITABLE).unwrap().unwrap();
    assert_eq!(wire.borrow().calls, [0, 2, 0]);
    assert_eq!(wire.borrow().registered, Some((Token(4), Interest::WRITABLE)));
    drop(taken.conn);
}

#[test]
fn a_parked_connection_is_not_asked_again_whether_it_is_connected() {
    let (poll, peer, now) = (Poll::new().unwrap(), Peer::direct("a", 1), Instant::now());
    let mut cache: AggressiveCache<Scripted> = AggressiveCache::builder().build(poll.registry()).unwrap();
    let (conn, wire) = Scripted::new(0);
    wire.borrow_mut().registered = Some((Token(3), Interest::READABLE));
    let id = cache.park(now, conn, &peer, PLAIN, None).unwrap().id;
    assert!(cache.checkout(now, &peer, PLAIN, ME).is_some());
    assert!(cache.checkin(now, id).unwrap().is_none());
    assert_eq!(wire.borrow().asked, 1);
}

#[test]
fn what_cannot_be_registered_for_writing_again_is_evicted_with_the_error() {
    let (poll, peer, now) = (Poll::new().unwrap(), Peer::direct("a", 1), Instant::now());
    let mut cache: AggressiveCache<Scripted> = AggressiveCache::builder().build(poll.registry()).unwrap();
    let (conn, wire) = Scripted::new(0);
    wire.borrow_mut().registered = Some((Token(3), Interest::READABLE));
    let id = cache.park(now, conn, &peer, PLAIN, None).unwrap().id;
    wire.borrow_mut().fail_reregister = true;
    let changed = cache.set_connection_state(now, id, &peer, ConnState::Active(ME)).unwrap();
    let evicted = changed.evicted.expect("it isn't fit");
    assert_eq!((evicted.reason, evicted.error.map(|error| error.kind())), (Reason::Failed, Some(io::ErrorKind::Other)));
}

#[test]
fn a_box_asks_what_is_in_it() {
    let (poll, peer, now) = (Poll::new().unwrap(), Peer::direct("a", 1), Instant::now());
    let mut cache: AggressiveCache<Box<dyn Connection>> = AggressiveCache::builder().build(poll.registry()).unwrap();
    let (conn, wire) = Scripted::new(0);
    let id = cache.insert(now, Box::new(conn), &peer, PLAIN, ME).unwrap();
    assert!(cache.checkin(now, id).unwrap().is_none());
    wire.borrow_mut().far = scripted::Far::Closed;
    assert!(cache.checkout(now, &peer, PLAIN, ME).is_none());
    let (conn, wire) = Scripted::new(1);
    wire.borrow_mut().connected = false;
    let id = cache.insert(now, Box::new(conn), &peer, PLAIN, ME).unwrap();
    assert_eq!(cache.checkin(now, id).unwrap().map(|evicted| evicted.reason), Some(Reason::NotConnected));
}

// Tokens

#[test]
fn a_full_token_range_is_an_error_that_names_its_size_and_returns_the_connection() {
    let (poll, peer, now) = (Poll::new().unwrap(), Peer::direct("a", 1), Instant::now());
    let mut cache: AggressiveCache<Scripted> =
        AggressiveCache::builder().tokens(10..18).build(poll.registry()).unwrap();
    let mut ids = Vec::new();
    let (error, wire) = loop {
        let (conn, wire) = Scripted::new(ids.len());
        match cache.insert(now, conn, &peer, PLAIN, ME) {
            Ok(id) => ids.push(id),
            Err(error) => break (error, wire),
        }
        let token = cache.token(*ids.last().unwrap()).unwrap();
        assert!((10..18).contains(&token.0), "{token:?}");
    };
    // Eight tokens: one bit for generations.
    assert_eq!(ids.len(), 4);
    assert!(matches!(error.cause, Cause::TokensExhausted { slots: 4 }));
    assert!(error.to_string().contains('4'), "{error}");
    assert_eq!((error.conn.number(), wire.borrow().calls), (4, [0, 0, 0]));
    drop(cache.close_connection(ids[2]).unwrap());
    assert!(cache.insert(now, error.conn, &peer, PLAIN, ME).is_ok(), "there is room again");
    let (conn, wire) = Scripted::new(9);
    wire.borrow_mut().registered = Some((Token(100), Interest::READABLE));
    let error = cache.park(now, conn, &peer, PLAIN, Some(Box::new(1))).unwrap_err();
    assert!(matches!(error.cause, Cause::TokensExhausted { .. }) && error.private.is_some());
}

/// As the builder's documentation says: nine bits, three of which tell generations apart.
#[test]
fn those_who_follow_each_other_in_a_slot_have_eight_tokens_of_a_thousand() {
    let (poll, peer, now) = (Poll::new().unwrap(), Peer::direct("a", 1), Instant::now());
    let mut cache: AggressiveCache<Light> =
        AggressiveCache::builder().tokens(1_000..2_000).build(poll.registry()).unwrap();
    let mut tokens = std::collections::HashSet::new();
    for _ in 0..8 {
        let id = cache.insert(now, Light, &peer, PLAIN, ME).unwrap();
        assert!(tokens.insert(cache.token(id).unwrap()), "too soon");
        drop(cache.close_connection(id).unwrap());
    }
    let full = (0..1_000).take_while(|_| cache.insert(now, Light, &peer, PLAIN, ME).is_ok()).count();
    assert_eq!(full, 125);
}

#[test]
fn an_event_outside_the_range_is_rejected_and_one_inside_is_not() {
    let poll = Poll::new().unwrap();
    let mut cache: AggressiveCache<Light> = AggressiveCache::builder().tokens(10..18).build(poll.registry()).unwrap();
    for token in [0, 9, 18, usize::MAX] {
        assert!(matches!(cache.handle_readiness(Token(token), true), Handled::Rejected), "{token}");
    }
    for token in [10, 17] {
        assert!(matches!(cache.handle_readiness(Token(token), true), Handled::Quiet), "{token}");
    }
    assert_eq!(cache.stats().stale_events, 2);
}

#[test]
#[allow(clippy::reversed_empty_ranges)]
fn a_token_range_without_room_is_refused_by_name() {
    let poll = Poll::new().unwrap();
    for range in [5..5, 7..5, 5..12] {
        let error = AggressiveCache::<Light>::builder().tokens(range).build(poll.registry()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().starts_with("tokens = "), "{error}");
    }
    let end = usize::MAX - 8..usize::MAX;
    assert!(AggressiveCache::<Light>::builder().tokens(end).build(poll.registry()).is_ok());
}

#[test]
fn a_capacity_beyond_the_tokens_is_refused_by_name() {
    let poll = Poll::new().unwrap();
    for builder in [
        AggressiveCache::<Light>::builder().capacity(usize::MAX),
        AggressiveCache::builder().tokens(0..64).capacity(17),
    ] {
        let error = builder.build(poll.registry()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().starts_with("capacity = "), "{error}");
    }
    assert!(AggressiveCache::<Light>::builder().tokens(0..64).capacity(16).build(poll.registry()).is_ok());
}

#[test]
fn a_token_of_the_cache_is_refused_by_take() {
    let mut host = host(|_| ());
    let id = host.keep();
    let token = host.cache.token(id).unwrap();
    let error = host.cache.take(host.now, &host.peer, PLAIN, token, Interest::READABLE).unwrap_err();
    assert!(matches!(error.cause, Cause::TokenOfCache(t) if t == token) && error.evicted.is_none());
    assert_eq!((host.cache.stats().handed_out, host.checkout()), (0, Some(id)));
}

// What the host sets

#[test]
fn each_of_the_builders_limits_is_its_namesake() {
    let poll = Poll::new().unwrap();
    let builder = AggressiveCache::builder()
        .max_inactive(9)
        .max_inactive_per_peer(8)
        .idle_timeout(7 * SECOND)
        .max_lifetime(6 * SECOND)
        .lifetime_jitter(5 * SECOND)
        .max_uses(4);
    let shown = format!("{builder:?}");
    assert!(shown.starts_with("Builder { limits: Limits { max_inactive: Some(9)"), "{shown}");
    let cache: AggressiveCache<Light> = builder.build(poll.registry()).unwrap();
    let set = limits(|l| {
        (l.max_inactive, l.max_inactive_per_peer, l.max_uses) = (Some(9), Some(8), Some(4));
        (l.idle_timeout, l.max_lifetime, l.lifetime_jitter) = (Some(7 * SECOND), Some(6 * SECOND), 5 * SECOND);
    });
    assert_eq!(*cache.limits(), set);
    assert_eq!(*host(|_| ()).cache.limits(), Limits::default());
}

#[test]
fn what_a_connection_is_parked_with_is_kept_with_it() {
    let mut host = host(|_| ());
    let due = host.now + SECOND;
    let parking = Parking::default().private_data(Some(Box::new("data"))).until(due);
    let id = host.cache.park_with(host.now, Light, &host.peer, TLS, parking).unwrap().id;
    assert_eq!((host.cache.next_deadline(), host.cache.channel(id)), (Some(due), Some(TLS)));
    host.now = due;
    let evicted = host.cache.expire(host.now).expect("its deadline has come");
    assert_eq!((evicted.id, evicted.reason), (id, Reason::Deadline));
    assert_eq!(evicted.private.unwrap().downcast_ref(), Some(&"data"));
}

#[test]
fn a_candidate_made_for_a_test_is_new_and_alone() {
    let (now, peer) = (Instant::now(), Peer::direct("a", 1));
    let candidate = Candidate::new(now, &peer, TLS);
    assert_eq!((candidate.now, candidate.peer, candidate.channel), (now, &peer, TLS));
    assert_eq!((candidate.uses, candidate.inactive, candidate.inactive_to_peer), (0, 0, 0));
}

// The host's orders

#[test]
fn recording_the_peer_that_is_recorded_already_changes_nothing() {
    let mut host = host(|_| ());
    let old = host.insert();
    host.cache.close_peer(&host.peer);
    host.insert();
    let changed = host.cache.set_connection_state(host.now, old, &host.peer, ConnState::Active(ME)).unwrap();
    assert!(changed.evicted.is_none());
    let each: Vec<Counts> = host.cache.peers().map(|(_, _, counts)| counts).collect();
    assert_eq!(each, [Counts { active: 1, inactive: 0 }; 2], "the one of the closed peer stands apart");
    assert_eq!(host.checkin(old), Some((old, Reason::PeerClosed)));
}

#[test]
fn shed_returns_the_one_inactive_for_longest_and_no_active_one() {
    let mut host = host(|_| ());
    let all = host.keep_many(3);
    assert_eq!(host.checkout(), Some(all[2]));
    let shed: Vec<_> = std::iter::from_fn(|| host.cache.shed()).map(|evicted| (evicted.id, evicted.reason)).collect();
    assert_eq!(shed, [(all[0], Reason::Shed), (all[1], Reason::Shed)]);
    assert_eq!(host.cache.counts(), Counts { active: 1, ..Counts::default() });
}

#[test]
fn a_closed_peer_is_closed_under_all_channels_but_not_for_newcomers() {
    let mut host = host(|_| ());
    let (active, plain) = (host.insert(), host.keep());
    let tls = host.cache.insert(host.now, Light, &host.peer, TLS, ME).unwrap();
    assert_eq!(host.checkin(tls), None);
    let other = Peer::direct("other", 1);
    let else_where = host.cache.insert(host.now, Light, &other, PLAIN, ME).unwrap();
    assert_eq!(host.checkin(else_where), None);
    host.cache.close_peer(&host.peer);
    assert!(host.cache.checkout(host.now, &host.peer, TLS, ME).is_none());
    assert_eq!((host.checkout(), host.cache.counts_of_peer(&host.peer).inactive), (None, 2));
    let newcomer = host.keep();
    let mut expired = host.expire_all();
    expired.sort_unstable_by_key(|&(id, _)| id);
    assert_eq!(expired, [(plain, Reason::PeerClosed), (tls, Reason::PeerClosed)]);
    // Neither under another name nor under another channel does an active one come back.
    let changed = host.cache.set_connection_state(host.now, active, &other, ConnState::inactive(TLS)).unwrap();
    assert_eq!(changed.evicted.unwrap().reason, Reason::PeerClosed);
    assert_eq!(host.checkout(), Some(newcomer));
    assert!(host.cache.checkout(host.now, &other, PLAIN, ME).is_some());
}

#[test]
fn a_limit_lowered_after_a_peer_was_closed_changes_no_reason() {
    let mut host = host(|_| ());
    let all = host.keep_many(3);
    host.cache.close_peer(&host.peer);
    host.cache.set_limits(limits(|l| l.max_inactive_per_peer = Some(1))).unwrap();
    assert_eq!(host.expire_all(), all.into_iter().map(|id| (id, Reason::PeerClosed)).collect::<Vec<_>>());
}

#[test]
fn a_drain_keeps_nothing_and_takes_nothing_back() {
    let mut host = host(|_| ());
    let (active, inactive) = (host.insert(), host.keep());
    assert!(!host.cache.is_draining());
    host.cache.drain();
    assert!(host.cache.is_draining());
    assert_eq!(host.cache.next_deadline(), Some(host.now));
    assert_eq!(host.checkout(), None);
    assert_eq!(host.expire(), Some((inactive, Reason::Drained)));
    assert_eq!(host.checkin(active), Some((active, Reason::Drained)));
    let refused = host.cache.park(host.now, Light, &host.peer, PLAIN, None).unwrap_err();
    assert!(matches!(refused.cause, Cause::Refused(Reason::Drained)));
    let late = host.insert();
    assert_eq!(host.checkin(late), Some((late, Reason::Drained)));
    assert_eq!((host.expire(), host.cache.next_deadline()), (None, None));
}

#[test]
fn the_policy_is_asked_only_if_nothing_else_decides() {
    let asked = std::cell::Cell::new(0);
    let policy = |_: &Candidate<'_>| {
        asked.set(asked.get() + 1);
        Verdict::Keep
    };
    let (poll, peer, now) = (Poll::new().unwrap(), Peer::direct("a", 1), Instant::now());
    let mut cache = Cache::with_policy(policy).build(poll.registry()).unwrap();
    let (one, two) =
        (cache.insert(now, Light, &peer, PLAIN, ME).unwrap(), cache.insert(now, Light, &peer, PLAIN, ME).unwrap());
    assert!(cache.checkin(now, one).unwrap().is_none());
    assert_eq!(asked.get(), 1);
    assert!(matches!(cache.handle_readiness(cache.token(two).unwrap(), true), Handled::Active { .. }));
    assert_eq!(cache.checkin(now, two).unwrap().unwrap().reason, Reason::HungUp);
    assert_eq!(asked.get(), 1);
}

// Threads

#[test]
fn a_cache_is_send_if_its_connections_are() {
    fn is_send<T: Send>() {}
    is_send::<AggressiveCache<conncache::mio::net::TcpStream>>();
    is_send::<conncache::RestrictiveCache<Box<dyn Connection + Send>>>();
    is_send::<conncache::Evicted<Light>>();
    is_send::<conncache::Builder<Scripted, conncache::Aggressive>>();
    let mut host = host(|_| ());
    let id = host.keep();
    let (mut cache, now, peer) = (host.cache, host.now, host.peer);
    let found = std::thread::spawn(move || cache.checkout(now, &peer, PLAIN, ME).map(|found| found.id));
    assert_eq!(found.join().unwrap(), Some(id));
}

// What runs out, runs out for good

#[test]
fn moving_a_connection_does_not_revive_one_that_has_run_out() {
    let mut host = host(|l| l.idle_timeout = Some(10 * SECOND));
    let id = host.insert();
    let keep = |data: &'static str| ConnState::inactive(PLAIN).private(data);
    let kept = host.cache.set_connection_state(host.now, id, &host.peer, keep("old")).unwrap();
    assert!(kept.evicted.is_none());
    host.now += 10 * SECOND;
    let moved = host.cache.set_connection_state(host.now, id, &host.peer, keep("new")).unwrap();
    let evicted = moved.evicted.expect("it has run out");
    assert_eq!((evicted.id, evicted.reason), (id, Reason::IdleTimeout));
    let text = |data: Option<Box<dyn std::any::Any + Send>>| data.and_then(|data| data.downcast_ref().copied());
    assert_eq!((text(moved.private), text(evicted.private)), (Some("old"), Some("new")));
    assert_eq!(host.checkout(), None);
}

#[test]
fn moving_a_connection_does_not_revive_one_over_a_lowered_limit() {
    let mut host = host(|_| ());
    let kept = host.keep_many(2);
    host.cache.set_limits(limits(|l| l.max_inactive = Some(1))).unwrap();
    let moved = host.cache.set_connection_state(host.now, kept[0], &host.peer, ConnState::inactive(TLS)).unwrap();
    assert_eq!(moved.evicted.map(|evicted| (evicted.id, evicted.reason)), Some((kept[0], Reason::MaxInactive)));
    assert_eq!(host.checkout(), Some(kept[1]));
}

#[test]
fn what_a_lowered_max_uses_ends_comes_from_expire_with_its_private_data() {
    let mut host = host(|_| ());
    let id = host.keep();
    assert_eq!(host.checkout(), Some(id));
    let state = ConnState::inactive(PLAIN).private("data");
    drop(host.cache.set_connection_state(host.now, id, &host.peer, state).unwrap());
    let fresh = host.keep();
    host.cache.set_limits(limits(|l| l.max_uses = Some(1))).unwrap();
    assert!(host.cache.next_deadline().is_some_and(|due| due <= host.now));
    let evicted = host.cache.expire(host.now).expect("it was used once");
    assert_eq!((evicted.id, evicted.reason, evicted.private.is_some()), (id, Reason::MaxUses, true));
    assert_eq!((host.expire(), host.checkout()), (None, Some(fresh)));
}

#[test]
fn a_connection_with_a_later_deadline_is_found_behind_many_that_have_run_out() {
    let mut host = host(|_| ());
    let lasting = host.keep();
    for _ in 0..20 {
        let id = host.insert();
        assert!(host.cache.checkin_until(host.now, id, host.now + SECOND).unwrap().is_none());
    }
    host.now += SECOND;
    assert_eq!(host.checkout(), Some(lasting));
}

#[test]
fn what_is_due_now_is_due_by_any_clock() {
    let mut host = host(|_| ());
    let behind = host.now;
    assert_eq!(host.expire(), None);
    host.now += 100 * SECOND;
    host.keep();
    host.cache.drain();
    assert!(host.cache.next_deadline().is_some_and(|due| due <= behind));
    assert_eq!(host.cache.expire(behind).map(|evicted| evicted.reason), Some(Reason::Drained));
}

#[test]
fn a_policy_is_told_a_time_that_never_runs_backwards() {
    let poll = Poll::new().unwrap();
    let half_a_minute = |candidate: &Candidate<'_>| Verdict::KeepUntil(candidate.now + 30 * SECOND);
    let mut cache: Cache<Light, _> = Cache::with_policy(half_a_minute).build(poll.registry()).unwrap();
    let (start, peer) = (Instant::now(), Peer::direct("host", 80));
    let later = start + 100 * SECOND;
    let id = cache.insert(later, Light, &peer, PLAIN, ME).unwrap();
    assert!(cache.checkin(start, id).unwrap().is_none());
    assert_eq!(cache.next_deadline(), Some(later + 30 * SECOND));
}

#[test]
fn a_past_means_the_same_in_another_cache() {
    let lifetime = |l: &mut Limits| l.max_lifetime = Some(60 * SECOND);
    let (mut old, mut new) = (host(lifetime), host(lifetime));
    let id = old.cache.insert(old.now, Light, &old.peer, PLAIN, ME).unwrap();
    assert_eq!(old.checkin(id), None);
    let at_59 = old.now + 59 * SECOND;
    let both = Interest::READABLE.add(Interest::WRITABLE);
    let taken = old.cache.take(at_59, &old.peer, PLAIN, Token(1), both).unwrap().expect("it lives");
    let parking = Parking::default().past(taken.past);
    let parked = new.cache.park_with(at_59, taken.conn, &new.peer, PLAIN, parking).unwrap();
    assert_eq!(new.cache.next_deadline(), Some(old.now + 60 * SECOND));
    let ended = new.cache.expire(old.now + 60 * SECOND).expect("its lifetime has ended");
    assert_eq!((ended.id, ended.reason), (parked.id, Reason::MaxLifetime));
}

#[test]
fn those_of_closed_peers_go_before_healthy_ones() {
    let mut host = host(|l| l.max_inactive = Some(3));
    let healthy = host.keep();
    let closed = Peer::direct("closed", 1);
    let doomed = [0, 1].map(|_| {
        let id = host.cache.insert(host.now, Light, &closed, PLAIN, ME).unwrap();
        assert_eq!(host.checkin(id), None);
        id
    });
    host.cache.close_peer(&closed);
    let newcomer = host.insert();
    assert_eq!(host.checkin(newcomer), Some((doomed[0], Reason::PeerClosed)));
    assert_eq!(host.cache.shed().map(|evicted| evicted.id), Some(doomed[1]));
    assert_eq!(host.cache.shed().map(|evicted| evicted.id), Some(healthy));
    assert_eq!(host.cache.next_deadline(), None);
}

#[test]
fn lowering_max_inactive_spares_the_healthy_while_those_of_a_closed_peer_go() {
    for closed_first in [true, false] {
        let mut host = host(|_| ());
        let closed = Peer::direct("closed", 1);
        let mut healthy = Vec::new();
        for turn in [closed_first, !closed_first] {
            for _ in 0..5 {
                if turn {
                    let id = host.cache.insert(host.now, Light, &closed, PLAIN, ME).unwrap();
                    assert_eq!(host.checkin(id), None);
                } else {
                    healthy.push(host.keep());
                }
            }
        }
        host.cache.close_peer(&closed);
        host.cache.set_limits(limits(|l| l.max_inactive = Some(5))).unwrap();
        let gone = host.expire_all();
        assert_eq!(gone.iter().filter(|(_, reason)| *reason == Reason::PeerClosed).count(), 5, "{gone:?}");
        assert_eq!((gone.len(), host.cache.counts().inactive, healthy.len()), (5, 5, 5));
    }
}

#[test]
fn a_search_passes_by_sixty_four_that_have_run_out_and_no_more() {
    for (passed, found) in [(63, true), (64, false)] {
        let mut host = host(|_| ());
        let lasting = host.keep();
        for _ in 0..passed {
            let id = host.insert();
            assert!(host.cache.checkin_until(host.now, id, host.now + SECOND).unwrap().is_none());
        }
        host.now += SECOND;
        assert_eq!(host.checkout(), found.then_some(lasting));
    }
}

#[test]
fn jitter_differs_from_cache_to_cache() {
    let ends: Vec<Duration> = (0..4)
        .map(|_| {
            let mut host = host(|l| (l.max_lifetime, l.lifetime_jitter) = (Some(1_000 * SECOND), 1_000 * SECOND));
            host.keep();
            host.cache.next_deadline().expect("a lifetime") - host.now
        })
        .collect();
    assert!(ends.iter().any(|end| *end != ends[0]), "{ends:?}");
}

#[test]
fn jitter_of_one_seed_is_the_same_in_every_cache() {
    let poll = Poll::new().unwrap();
    let ends = |seed: u64| {
        let (now, peer) = (Instant::now(), Peer::direct("a", 1));
        let lifetimes = limits(|l| (l.max_lifetime, l.lifetime_jitter) = (Some(1_000 * SECOND), 1_000 * SECOND));
        let builder = AggressiveCache::builder().limits(lifetimes).jitter_seed(seed);
        let mut cache: AggressiveCache<Light> = builder.build(poll.registry()).unwrap();
        for _ in 0..4 {
            let id = cache.insert(now, Light, &peer, PLAIN, ME).unwrap();
            assert!(cache.checkin(now, id).unwrap().is_none());
        }
        let due = |cache: &mut AggressiveCache<Light>| cache.next_deadline().inspect(|&at| drop(cache.expire(at)));
        std::iter::from_fn(|| due(&mut cache)).take(9).map(|at| at - now).collect::<Vec<_>>()
    };
    for seed in [0, 1, 2] {
        assert_eq!(ends(seed).len(), 4);
        assert_eq!(ends(seed), ends(seed), "seed {seed}");
    }
    assert_ne!(ends(1), ends(2));
}

// Errors

#[test]
fn errors_say_what_went_wrong_and_lead_to_the_systems() {
    use std::error::Error;
    let told = |error: StateError| error.to_string();
    assert_eq!(told(StateError::NotFound), "connection not found in the cache");
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

/// An id of another cache.
fn other_id() -> ConnId {
    host(|_| ()).insert()
}
