//! Handshakes: what is resumed, in what pieces they may come, what is said when they fail.

use crate::support::*;
use crate::wire::*;
use conncache::{ConnState, Interner};
use http::tls::TlsConnection;
use http::trust::Trust;
use rustls::{ClientConfig, ServerConnection};
use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Instant;
use testing::certificates::{Authority, HOST};

/// How a handshake with something that isn't a TLS server fails.
fn failure_at(answer: &[u8]) -> String {
    let bed: Bed = Bed::new();
    let (client, mut socket) = bed.sockets();
    let mut client = TlsConnection::plain(client);
    client.start_tls(HOST, &bed.config).unwrap();
    assert!(!client.handshake().unwrap());
    socket.write_all(answer).unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    let patience = Patience::new();
    loop {
        match client.handshake() {
            Ok(done) => assert!(!done, "it succeeded"),
            Err(error) => return error.to_string(),
        }
        patience.spend();
    }
}

#[test]
fn the_first_handshake_is_full_and_the_next_ones_are_resumed() {
    for version in [TLS13, TLS12] {
        let bed: Bed = Bed::new();
        let server = Arc::new(bed.authority.server(version));
        let (mut full, mut resumed) = (0, 0);
        for _ in 0..5 {
            let (mut conn, mut far) = bed.connect(&bed.config, &server);
            far.say(b"hello");
            hear(&mut conn, b"hello");
            if is_resumed(conn.handshake_kind()) { resumed += 1 } else { full += 1 }
        }
        assert_eq!((full, resumed), (1, 4), "{version:?}");
    }
}

#[test]
fn a_session_is_not_resumed_by_those_with_another_trust() {
    let bed: Bed = Bed::new();
    let server = Arc::new(bed.authority.server(TLS13));
    let gullible = Trust::Anybody.config().unwrap();
    for (config, expected) in [(&gullible, false), (&gullible, true), (&bed.config, false), (&bed.config, true)] {
        let (mut conn, mut far) = bed.connect(config, &server);
        far.say(b"hello");
        hear(&mut conn, b"hello");
        assert_eq!(is_resumed(conn.handshake_kind()), expected);
    }
}

#[test]
fn a_connection_is_not_found_by_those_with_another_trust() {
    let mut bed = Bed::new();
    let mut channels = Interner::new();
    let trusts = [
        None,
        Some(Trust::WebRoots),
        Some(bed.authority.trust()),
        Some(Authority::new().trust()),
        Some(Trust::Anybody),
    ];
    let ids: Vec<_> = trusts.iter().map(|trust| channels.intern(trust.clone()).unwrap()).collect();
    let (conn, _server) = bed.connect(&bed.config, &Arc::new(bed.authority.server(TLS13)));
    let now = Instant::now();
    let id = bed.cache.insert(now, conn, &bed.peer, ids[2], ME).unwrap();
    assert!(bed.checkin(id).is_none());
    for other in [0, 1, 3, 4] {
        assert!(bed.cache.checkout(now, &bed.peer, ids[other], ME).is_none());
    }
    let again = channels.intern(Some(bed.authority.trust())).unwrap();
    assert!(bed.cache.checkout(now, &bed.peer, again, ME).unwrap().id.same_connection(id));
}

#[test]
fn sessions_kept_as_private_data_come_back_and_can_be_resumed() {
    let mut bed = Bed::new();
    let server = Arc::new(bed.authority.server(TLS13));
    // A store of sessions of its own, which nobody else has.
    let sessions = bed.authority.trust().config().unwrap();
    let (conn, mut far) = bed.connect(&sessions, &server);
    let now = Instant::now();
    let id = bed.cache.insert(now, conn, &bed.peer, CHANNEL, ME).unwrap();
    bed.exchange(id, &mut far);
    let state = ConnState::inactive(CHANNEL).private(sessions);
    let peer = bed.peer.clone();
    assert!(bed.cache.set_connection_state(now, id, &peer, state).unwrap().evicted.is_none());

    let private = bed.checkout().unwrap().private.unwrap();
    let sessions = private.downcast::<Arc<ClientConfig>>().unwrap();
    assert!(is_resumed(bed.connect(&sessions, &server).0.handshake_kind()));
    assert!(!is_resumed(bed.connect(&bed.config, &server).0.handshake_kind()));
}

#[test]
fn what_is_no_tls_server_is_called_so() {
    let why = failure_at(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    assert_eq!(why, "tls with localhost: it doesn't speak TLS");
}

#[test]
fn a_server_that_closes_in_the_handshake_is_named() {
    assert_eq!(failure_at(b""), "tls with localhost: closed during the handshake");
    assert_eq!(failure_at(&[22, 3, 3]), "tls with localhost: closed during the handshake");
}

#[test]
fn a_server_that_refuses_is_quoted() {
    let alert = [21, 3, 3, 0, 2, 2, 40];
    assert_eq!(failure_at(&alert), "tls with localhost: it gave up: HandshakeFailure");
}

#[test]
fn a_failed_handshake_fails_again() {
    let bed: Bed = Bed::new();
    let mut client = TlsConnection::plain(Wire::open());
    client.start_tls(HOST, &bed.config).unwrap();
    client.socket().incoming.extend([21, 3, 3, 0, 2, 2, 40]);
    assert!(client.handshake().is_err());
    assert!(client.handshake().is_err());
    assert!(client.write(b"x").is_err());
    assert!(client.read(&mut [0]).is_err());
}

#[test]
fn the_handshake_may_be_cut_at_every_byte() {
    let config = Trust::Anybody.config().unwrap();
    for version in [TLS13, TLS12] {
        let server = Arc::new(Authority::new().server(version));
        for cut in 1.. {
            // The rest arrives once the first part is used up.
            let was_cut = Cell::new(false);
            let wire = Wire { arrived: cut, ..Wire::open() };
            let (conn, mut far) = over_wire_with(wire, &config, &server, &|wire| {
                if wire.arrived == 0 {
                    wire.arrived = usize::MAX;
                    was_cut.set(true);
                }
            });
            answers(conn, &mut far);
            if !was_cut.get() {
                assert!(cut > 100, "nothing was cut");
                break;
            }
        }
    }
}

#[test]
fn the_handshake_may_come_and_go_by_single_bytes() {
    let config = Trust::Anybody.config().unwrap();
    for version in [TLS13, TLS12] {
        let server = Arc::new(Authority::new().server(version));
        let wire = Wire { arrived: 1, room: 1, ..Wire::default() };
        let (mut conn, mut far) = over_wire_with(wire, &config, &server, &|wire| {
            (wire.arrived, wire.room) = (1, 1);
        });
        (conn.socket().arrived, conn.socket().room) = (usize::MAX, usize::MAX);
        answers(conn, &mut far);
    }
}

#[test]
fn the_handshake_is_not_over_before_its_last_byte_is_sent() {
    let mut conn = TlsConnection::plain(Wire::open());
    conn.start_tls(HOST, &Trust::Anybody.config().unwrap()).unwrap();
    assert!(!conn.handshake().unwrap());
    let mut server = ServerConnection::new(Arc::new(Authority::new().server(TLS13))).unwrap();
    deliver(&mut server, &std::mem::take(&mut conn.socket().outgoing));
    conn.socket().incoming.extend(drain(&mut server));
    conn.socket().room = 3;
    assert!(!conn.handshake().unwrap());
    conn.socket().room = usize::MAX;
    assert!(conn.handshake().unwrap());
    deliver(&mut server, &std::mem::take(&mut conn.socket().outgoing));
    assert!(!server.is_handshaking());
}

#[test]
fn reading_and_writing_go_on_with_the_handshake_but_wait_for_its_end() {
    let mut conn = TlsConnection::plain(Wire::open());
    conn.start_tls(HOST, &Trust::Anybody.config().unwrap()).unwrap();
    assert_eq!(conn.write(b"early").unwrap_err().kind(), ErrorKind::WouldBlock);
    let mut server = ServerConnection::new(Arc::new(Authority::new().server(TLS13))).unwrap();
    deliver(&mut server, &std::mem::take(&mut conn.socket().outgoing));
    conn.socket().incoming.extend(drain(&mut server));
    assert_eq!(conn.read(&mut [0; 5]).unwrap_err().kind(), ErrorKind::WouldBlock);
    deliver(&mut server, &std::mem::take(&mut conn.socket().outgoing));
    assert!(!server.is_handshaking());
    say(&mut conn, b"in time");
}

fn answers(mut conn: TlsConnection<Wire>, far: &mut ServerConnection) {
    conn.socket().arrived = usize::MAX;
    far.writer().write_all(b"hello").unwrap();
    let bytes = drain(far);
    conn.socket().incoming.extend(bytes);
    hear(&mut conn, b"hello");
}

#[test]
fn a_host_that_can_be_no_name_is_refused_and_tls_starts_once() {
    let mut conn = TlsConnection::plain(Wire::open());
    let config = Trust::Anybody.config().unwrap();
    let error = conn.start_tls("two words", &config).unwrap_err();
    assert!(error.to_string().starts_with("tls with two words: "), "{error}");
    assert!(conn.handshake().unwrap(), "still plain");
    conn.start_tls("127.0.0.1", &config).unwrap();
    let error = conn.start_tls(HOST, &config).unwrap_err();
    assert_eq!(error.to_string(), "tls with localhost: the connection has TLS already");
}
