//! G8: secrets never reach `Debug`, `Display`, an error or the log.

use crate::common::scripted::{Far, Scripted};
use crate::logger::listen;
use conncache::mio::{Interest, Poll, Token};
use conncache::{
    AggressiveCache, ChannelBindingId, ConnState, Granted, Interner, Limits, Owner, ParkOptions, Peer, PrivateData,
    Requested, RestrictiveCache,
};
use log::{Level, Record};
use std::cell::RefCell;
use std::fmt::Debug;
use std::time::{Duration, Instant};

/// What must never be seen.
const SECRET: &str = "hunter2";

#[derive(Debug)]
#[allow(dead_code)] // Its `Debug` is what matters.
struct Ticket(&'static str);

thread_local! {
    /// What this thread logs.
    static LINES: RefCell<Vec<(Level, String, String)>> = const { RefCell::new(Vec::new()) };
}

fn hear(record: &Record<'_>) {
    let line = (record.level(), record.target().to_owned(), record.args().to_string());
    LINES.with_borrow_mut(|lines| lines.push(line));
}

fn ticket() -> PrivateData {
    Some(Box::new(Ticket(SECRET)))
}

#[test]
fn no_secret_is_ever_shown() {
    listen(hear);
    let mut shown = Vec::new();
    let mut show = |what: &dyn Debug| shown.push(format!("{what:?} {what:#?}"));

    let mut channels = Interner::new();
    let channel = channels.intern(("user", SECRET)).unwrap();
    show(&channels);
    let peer = Peer::direct(&format!("user:{SECRET}@host"), 80);
    let tunnel = Peer::socks5((&format!("{SECRET}@proxy"), 1080), (&format!("a:{SECRET}@target"), 443));
    for peer in [&peer, &tunnel] {
        show(&peer);
        show(&peer.kind());
        show(&peer.first_hop());
        show(&format_args!("{peer}"));
    }
    for text in [format!("user:{SECRET}@host:80"), format!("http-proxy://{SECRET}@host:80"), format!("{SECRET}@://x")] {
        let error = text.parse::<Peer>().unwrap_err();
        show(&error);
        show(&format_args!("{error}"));
    }

    let (poll, now) = (Poll::new().unwrap(), Instant::now());
    let mut cache: AggressiveCache<Scripted> =
        AggressiveCache::builder().tokens(100..164).max_inactive(5).build(poll.registry()).unwrap();
    let mut ids = Vec::new();
    for number in 0..9 {
        let (conn, wire) = Scripted::new(number);
        wire.borrow_mut().fail_deregister = number == 2;
        let id = cache.insert(now, conn, if number % 2 == 0 { &peer } else { &tunnel }, channel, Owner(1)).unwrap();
        ids.push((id, wire));
    }
    for (number, (id, _)) in ids.iter().enumerate() {
        let peer = if number % 2 == 0 { &peer } else { &tunnel };
        let state = ConnState::inactive(channel).private_data(ticket());
        show(&state);
        show(&cache.set_connection_state(now, *id, peer, state).unwrap());
    }
    show(&cache);
    show(&cache.stats());
    show(&cache.iter().collect::<Vec<_>>());
    show(&cache.peers().collect::<Vec<_>>());
    show(&cache.get_connection_state(ids[8].0).unwrap());
    let error = cache
        .set_connection_state(now, ids[0].0, &peer, ConnState::inactive(channel).private_data(ticket()))
        .unwrap_err();
    show(&error);
    show(&format_args!("{error}"));
    let found = cache.checkout(now, &peer, channel, Owner(1)).unwrap();
    show(&found);
    ids[5].1.borrow_mut().far = Far::Failed;
    show(&cache.handle_readiness(cache.token(ids[5].0).unwrap(), false));
    show(&cache.handle_readiness(cache.token(found.id).unwrap(), true));
    show(&cache.handle_readiness(Token(163), true));
    ids[7].1.borrow_mut().fail_reregister = true;
    let error = cache.take(now, &tunnel, channel, Token(1), Interest::READABLE).unwrap_err();
    show(&error);
    show(&format_args!("{error}"));
    show(&cache.take(now, &peer, channel, Token(1), Interest::READABLE));
    let (conn, wire) = Scripted::new(20);
    let parking = ParkOptions::default().private_data(ticket());
    show(&parking);
    let error = cache.park(now, conn, &peer, channel, parking).unwrap_err();
    show(&error);
    show(&format_args!("{error}"));
    wire.borrow_mut().registered = Some((Token(2), Interest::READABLE));
    let (conn, parking) = error.into_parts();
    show(&parking);
    show(&cache.park(now, conn, &peer, channel, parking).unwrap());
    let (conn, wire) = Scripted::new(21);
    wire.borrow_mut().fail_register = true;
    show(&cache.insert(now, conn, &tunnel, channel, Owner(1)).unwrap_err());
    show(&cache.shed());
    cache.close_peer(&peer);
    show(&cache.expire(now));
    cache.drain();
    show(&cache.expire(now + Duration::from_secs(1)));
    let mut wrong = Limits::default();
    wrong.lifetime_jitter = Duration::from_secs(1);
    show(&cache.set_limits(wrong));
    let mut restrictive: RestrictiveCache<Scripted> = RestrictiveCache::builder().build(poll.registry()).unwrap();
    let id = restrictive.insert(now, Scripted::new(30).0, &peer, ChannelBindingId(9), Owner(2)).unwrap();
    let state = ConnState::inactive(channel).private_data(ticket());
    show(&restrictive.set_connection_state(now, id, &peer, state).unwrap());
    cache.close_all();

    nothing_tells(
        &shown,
        &["insert", "park", "reuse", "leave", "readiness", "stale", "deregister_failed"],
        &[
            "Interner { len: 1",
            "Inactive { channel: 1, private: true",
            "StateChange { id: ConnId(",
            "private: false, evicted: Some(Evicted { id: ",
            "reason: Policy, peer: Peer(",
            "private: true, history: History { opened: ",
            "error: Some(",
            "Cache { counts: Counts {",
            "Stats { inserted: 9, active: 0, inactive: 5, handed_out: 0, missed: 0,",
            "left: {MaxInactive: 4} }",
            "Entry { id: ",
            "uses: 2, private: true }",
            "Evicted(Evicted {",
            "Active { id: ",
            "Nothing",
            "Taken { inactive_for: 0ns, private: true, history: History {",
            "Parked { id: ",
            "InsertError { cause: Registry(",
            "ParkError { cause: Registry(",
            "TakeError { cause: Registry(",
            "connection couldn't be registered: as the script says",
        ],
    );
}

/// The line, and the way from one cache to another.
#[test]
fn no_secret_is_shown_of_those_who_wait_or_move() {
    listen(hear);
    let mut shown = Vec::new();
    let mut show = |what: &dyn Debug| shown.push(format!("{what:?} {what:#?}"));

    let (poll, now, channel) = (Poll::new().unwrap(), Instant::now(), ChannelBindingId(1));
    let peer = Peer::http_proxy_connect((&format!("{SECRET}@proxy"), 1), (&format!("a:{SECRET}@target"), 2));
    let full = |most: usize| AggressiveCache::<Scripted>::builder().max_connections(most).max_waiting(1);
    let mut cache = full(1).build(poll.registry()).unwrap();
    let mut request = |cache: &mut AggressiveCache<Scripted>| {
        let requested = cache.request(now, &peer, channel, Owner(1), None);
        show(&requested);
        requested
    };
    let Ok(Requested::Open { place, .. }) = request(&mut cache) else { panic!("there is room") };
    let (conn, wire) = Scripted::new(0);
    wire.borrow_mut().fail_register = true;
    let error = cache.insert_at(now, place, conn).unwrap_err();
    wire.borrow_mut().fail_register = false;
    assert!(matches!(request(&mut cache), Ok(Requested::Wait(_))) && request(&mut cache).is_err());
    show(&error);
    show(&error.place);
    let id = cache.insert_at(now, error.place.expect("it is held"), error.conn).unwrap();
    let state = ConnState::inactive(channel).private_data(ticket());
    show(&cache.set_connection_state(now, id, &peer, state).unwrap());
    let grant = cache.grant(now).unwrap();
    show(&grant);
    let Granted::Reuse(found) = grant.granted else { panic!("one came back") };
    assert!(found.private.is_some());
    let state = ConnState::inactive(channel).private_data(ticket());
    show(&cache.set_connection_state(now, found.id, &peer, state).unwrap());
    let removed = cache.remove(found.id).unwrap();
    let mut none = full(0).build(poll.registry()).unwrap();
    let error = none.adopt(now, removed, Owner(2)).unwrap_err();
    show(&error);
    show(&format_args!("{error}"));
    let id = cache.adopt(now, error.into_evicted(), Owner(2)).unwrap();
    let (place, evicted) = cache.reopen(now, id, None).unwrap();
    show(&place);
    show(&evicted);
    show(&AggressiveCache::<Scripted>::builder());

    nothing_tells(
        &shown,
        &["insert", "wait", "reuse", "leave", "adopt"],
        &[
            "Ok(Open { place: Place { waiter: WaiterId(",
            "Ok(Wait(WaiterId(",
            "Err(LineFull { max_waiting: 1 })",
            "InsertError { cause: Registry(",
            "Grant { waiter: WaiterId(",
            "granted: Reuse(Found { id: ",
            "AdoptError { cause: AtLimit {",
            "reason: Closed, peer: Peer(http-proxy-connect://***@proxy:1/[***@target]:2)",
            "Builder { limits: Limits {",
        ],
    );
}

/// The secret is nowhere in what was shown and logged. The events were logged and the names were shown, else that
/// would prove nothing.
#[track_caller]
fn nothing_tells(shown: &[String], events: &[&str], names: &[&str]) {
    let lines = LINES.take();
    for event in events {
        let seen = lines.iter().any(|(_, _, line)| line.starts_with(&format!("event={event} ")));
        assert!(seen, "{event} isn't logged, so that nothing is proved");
    }
    for (level, target, line) in &lines {
        assert!(!line.contains(SECRET), "{line}");
        assert!(target == "conncache" && *level >= Level::Warn, "{level} {target}: {line}");
        assert_eq!(*level == Level::Warn, line.starts_with("event=deregister_failed"), "{line}");
    }
    for name in names {
        assert!(
            shown.iter().any(|text| text.contains(name)),
            "{name} isn't shown, so that nothing is proved: {shown:#?}"
        );
    }
    let told: Vec<&String> = shown.iter().filter(|text| text.contains(SECRET)).collect();
    assert!(told.is_empty(), "{told:#?}");
}
