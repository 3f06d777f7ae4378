//! What happens to a TLS connection that nobody uses, and to one that leaves the cache.

use crate::support::*;
use crate::wire::*;
use conncache::{Connection, Probe, Reason};
use http::tls::{MOST_WITHOUT_DATA, TlsConnection};
use http::trust::Trust;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Instant;
use testing::certificates::{Authority, HOST};

#[test]
fn tickets_that_arrive_while_inactive_are_kept_and_so_is_the_connection() {
    let mut bed: Bed = Bed::new();
    let server = Arc::new(bed.authority.server(TLS13));
    let (client, mut far) = bed.connect(&bed.config, &server);
    let id = bed.cache.insert(Instant::now(), client, &bed.peer, CHANNEL, ME).unwrap();
    assert!(bed.checkin(id).is_none());
    assert!(!is_resumed(bed.connect(&bed.config, &server).0.handshake_kind()), "no ticket was sent yet");
    far.send();
    wait_for_bytes(&mut bed, id);
    bed.looked_and_kept();
    assert!(is_resumed(bed.connect(&bed.config, &server).0.handshake_kind()), "the ticket was lost");
    let id = bed.reuse(id);
    bed.exchange(id, &mut far);
}

#[test]
fn tickets_still_in_the_socket_at_the_hand_out_do_no_harm() {
    let mut bed = Bed::new();
    let (id, mut server) = bed.open();
    assert!(bed.checkin(id).is_none());
    server.send();
    wait_for_bytes(&mut bed, id);
    let id = bed.reuse(id);
    bed.exchange(id, &mut server);
}

#[test]
fn close_notify_is_a_hangup_with_and_without_fin() {
    for fin in [false, true] {
        let mut bed = Bed::new();
        let (_, mut server) = bed.open_inactive();
        server.tls.send_close_notify();
        server.send();
        if fin {
            server.socket.shutdown(std::net::Shutdown::Write).unwrap();
        }
        assert_eq!(bed.evicted().reason, Reason::HungUp, "fin: {fin}");
    }
}

#[test]
fn fin_without_close_notify_is_a_hangup() {
    let mut bed = Bed::new();
    let (_, server) = bed.open_inactive();
    drop(server);
    assert_eq!(bed.evicted().reason, Reason::HungUp);
}

#[test]
fn an_end_that_the_loop_was_not_told_of_is_found_at_the_hand_out() {
    let mut bed = Bed::new();
    let (id, server) = bed.open_inactive();
    drop(server);
    let patience = Patience::new();
    while !matches!(bed.cache.get_mut(id).unwrap().socket().peek(&mut [0]), Ok(0)) {
        patience.spend();
    }
    assert!(bed.checkout().is_none());
    assert_eq!(bed.cache.stats().left(Reason::HungUp), 1);
}

#[test]
fn close_notify_that_the_owner_took_in_with_the_answer_is_found_at_the_hand_out_at_the_latest() {
    let mut bed = Bed::new();
    let (id, mut server) = bed.open();
    bed.exchange(id, &mut server);
    server.tls.writer().write_all(b"pong").unwrap();
    server.tls.send_close_notify();
    server.send();
    hear(&mut bed.cache[id], b"pong");
    assert!(socket_is_empty(&mut bed, id));
    drop(bed.checkin(id)); // evicted by now where the edge is emulated
    assert!(bed.checkout().is_none());
    assert_eq!(bed.cache.stats().left(Reason::HungUp), 1);
}

#[test]
fn data_that_nobody_asked_for_evicts() {
    let mut bed = Bed::new();
    let (_, mut server) = bed.open_inactive();
    server.say(b"HTTP/1.1 408 Request Timeout\r\n\r\n");
    assert_eq!(bed.evicted().reason, Reason::Unsolicited);
}

#[test]
fn data_decrypted_but_unread_evicts_though_the_socket_is_empty() {
    let mut bed = Bed::new();
    let (id, mut server) = bed.open();
    bed.exchange(id, &mut server);
    server.say(b"pong and more");
    hear(&mut bed.cache[id], b"pong");
    assert!(socket_is_empty(&mut bed, id));
    drop(bed.checkin(id)); // evicted by now where the edge is emulated
    assert!(bed.checkout().is_none());
    assert_eq!(bed.cache.stats().left(Reason::Unsolicited), 1);
}

#[test]
fn many_tickets_are_no_flood() {
    let mut bed = Bed::new();
    let mut config = bed.authority.server(TLS13);
    config.send_tls13_tickets = 100;
    let (id, mut server) = bed.open_to(config);
    assert!(bed.checkin(id).is_none());
    server.send();
    wait_for_bytes(&mut bed, id);
    bed.looked_and_kept();
    let id = bed.reuse(id);
    bed.exchange(id, &mut server);
}

#[test]
fn a_flood_of_tickets_evicts_before_all_of_it_is_read() {
    let mut bed = Bed::new();
    let mut config = bed.authority.server(TLS13);
    config.send_tls13_tickets = 10_000;
    let (id, mut server) = bed.open_to(config);
    assert!(bed.checkin(id).is_none());
    let flood = server.withheld();
    assert!(flood.len() > 4 * MOST_WITHOUT_DATA, "{} bytes are no flood", flood.len());
    // As much as the system takes is there before the cache looks.
    let mut sent = 0;
    while let Ok(n @ 1..) = server.socket.write(&flood[sent..]) {
        sent += n;
    }
    assert!(sent > 2 * MOST_WITHOUT_DATA, "{sent}");
    let mut gone = bed.evicted();
    assert_eq!(gone.reason, Reason::Unsolicited);
    // The rest of it is there, or comes.
    assert!(read_some(gone.conn.socket()).is_ok_and(|n| n > 0), "all {sent} bytes were read");
}

#[test]
fn a_flood_in_drops_is_one_too() {
    let mut config = Authority::new().server(TLS13);
    config.send_tls13_tickets = 10_000;
    let trust = Trust::Anybody.config().unwrap();
    let (mut conn, mut server) = over_wire_with(Wire::open(), &trust, &Arc::new(config), &|_| {});
    let flood = drain(&mut server);
    let mut sent = 0;
    for drop in flood.chunks(1000) {
        conn.socket().incoming.extend(drop);
        sent += drop.len();
        match conn.probe() {
            Probe::Quiet => assert!(sent <= MOST_WITHOUT_DATA),
            Probe::Unsolicited => return assert!(sent > MOST_WITHOUT_DATA),
            other => panic!("{other:?}"),
        }
    }
    panic!("{sent} bytes were taken");
}

#[test]
fn using_the_connection_makes_room_for_tickets_again() {
    let mut config = Authority::new().server(TLS13);
    config.send_tls13_tickets = 10_000;
    let trust = Trust::Anybody.config().unwrap();
    let (mut conn, mut server) = over_wire_with(Wire::open(), &trust, &Arc::new(config), &|_| {});
    // More than the limit, and less than what the session itself takes of one unbroken train of messages.
    for part in drain(&mut server).chunks(MOST_WITHOUT_DATA / 2).take(3) {
        conn.socket().incoming.extend(part);
        assert!(matches!(conn.probe(), Probe::Quiet));
        say(&mut conn, b"ping");
    }
}

#[test]
fn a_record_cut_in_two_is_judged_when_it_is_complete() {
    // A ticket is nothing to complain of, data is.
    for data in [false, true] {
        let mut bed = Bed::new();
        let (id, mut server) = bed.open();
        if data {
            server.send();
            bed.exchange(id, &mut server);
            server.tls.writer().write_all(b"surprise").unwrap();
        }
        assert!(bed.checkin(id).is_none());
        let record = server.withheld();
        let (head, tail) = record.split_at(record.len() / 2);
        server.socket.write_all(head).unwrap();
        wait_for_bytes(&mut bed, id);
        bed.looked_and_kept();
        server.socket.write_all(tail).unwrap();
        if data {
            assert_eq!(bed.evicted().reason, Reason::Unsolicited);
        } else {
            wait_for_bytes(&mut bed, id);
            bed.looked_and_kept();
            let id = bed.reuse(id);
            bed.exchange(id, &mut server);
        }
    }
}

#[test]
fn a_fatal_alert_is_a_failure_that_says_which() {
    let mut bed = Bed::new();
    let (id, mut server) = bed.open();
    bed.exchange(id, &mut server);
    // What the server can't decrypt makes it give up.
    bed.cache[id].socket().write_all(&GARBAGE).unwrap();
    assert!(bed.checkin(id).is_none());
    let patience = Patience::new();
    while server.receive().is_ok() {
        patience.spend();
    }
    server.send();
    let gone = bed.evicted();
    assert_eq!(gone.reason, Reason::Failed);
    assert_eq!(gone.error.unwrap().to_string(), "tls with localhost: it gave up: BadRecordMac");
}

#[test]
fn bytes_that_do_not_decrypt_are_a_failure() {
    let mut bed = Bed::new();
    let (_, mut server) = bed.open_inactive();
    server.socket.write_all(&GARBAGE).unwrap();
    let gone = bed.evicted();
    assert_eq!(gone.reason, Reason::Failed);
    assert_eq!(gone.error.unwrap().to_string(), "tls with localhost: cannot decrypt peer's message");
}

#[test]
fn a_key_update_does_no_harm_and_is_answered_before_the_next_owner_s_bytes() {
    let (mut conn, mut server) = over_wire();
    server.refresh_traffic_keys().unwrap();
    let update = drain(&mut server);
    conn.socket().incoming.extend(update);
    assert!(matches!(conn.probe(), Probe::Quiet));
    say(&mut conn, b"ping");
    let sent = std::mem::take(&mut conn.socket().outgoing);
    let first = 5 + usize::from(u16::from_be_bytes([sent[3], sent[4]]));
    deliver(&mut server, &sent[..first]);
    assert_eq!(server.reader().read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::WouldBlock);
    deliver(&mut server, &sent[first..]);
    hear(&mut server.reader(), b"ping");
    server.writer().write_all(b"pong").unwrap();
    let answer = drain(&mut server);
    conn.socket().incoming.extend(answer);
    hear(&mut conn, b"pong");
}

#[test]
fn a_flood_of_key_updates_is_a_failure() {
    let (mut conn, mut server) = over_wire();
    for asked in 0..1000 {
        server.refresh_traffic_keys().unwrap();
        let update = drain(&mut server);
        conn.socket().incoming.extend(update);
        match conn.probe() {
            Probe::Quiet => {}
            Probe::Failed(error) => {
                assert!(error.to_string().contains("TooManyKeyUpdateRequests"), "{error}");
                return assert!(asked > 8);
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("all were answered");
}

#[test]
fn bytes_that_the_owner_left_unsent_evict() {
    let (mut conn, _server) = over_wire();
    conn.socket().room = 0;
    assert_eq!(conn.write(b"half a request").unwrap(), 14);
    assert!(matches!(conn.probe(), Probe::Unsolicited));
}

#[test]
fn a_connection_in_its_handshake_is_not_kept() {
    let mut bed = Bed::new();
    let (client, _server) = bed.sockets();
    let mut conn = TlsConnection::plain(client);
    conn.start_tls(HOST, &bed.config).unwrap();
    let id = bed.cache.insert(Instant::now(), conn, &bed.peer, CHANNEL, ME).unwrap();
    assert_eq!(bed.checkin(id).unwrap().reason, Reason::NotConnected);
}

#[test]
fn a_connection_known_as_connected_before_its_handshake_is_not_handed_out_during_it() {
    let mut bed = Bed::new();
    let (client, _server) = bed.sockets();
    let id = bed.cache.insert(Instant::now(), TlsConnection::plain(client), &bed.peer, CHANNEL, ME).unwrap();
    assert!(bed.checkin(id).is_none(), "plain, and connected");
    let id = bed.reuse(id);
    let config = Arc::clone(&bed.config);
    bed.cache[id].start_tls(HOST, &config).unwrap();
    assert!(!bed.cache[id].handshake().unwrap());
    if bed.checkin(id).is_none() {
        assert!(bed.checkout().is_none());
    }
    assert_eq!(bed.cache.stats().left_in_all(), 1);
}

#[test]
fn tls_can_start_on_a_connection_in_the_cache() {
    let mut bed = Bed::new();
    let (client, mut socket) = bed.sockets();
    let id = bed.cache.insert(Instant::now(), TlsConnection::plain(client), &bed.peer, CHANNEL, ME).unwrap();
    // What a proxy would have to be told.
    say(&mut bed.cache[id], b"CONNECT");
    let mut heard = [0; 7];
    socket.set_nonblocking(false).unwrap();
    socket.read_exact(&mut heard).unwrap();
    socket.write_all(b"200").unwrap();
    socket.set_nonblocking(true).unwrap();
    hear(&mut bed.cache[id], b"200");

    let config = Arc::clone(&bed.config);
    bed.cache[id].start_tls(HOST, &config).unwrap();
    let tls = rustls::ServerConnection::new(Arc::new(bed.authority.server(TLS13))).unwrap();
    let (mut server, patience) = (Server { socket, tls }, Patience::new());
    while !bed.cache[id].handshake().unwrap() || server.tls.is_handshaking() {
        server.shake_hands();
        patience.spend();
    }
    bed.exchange(id, &mut server);
    assert!(bed.checkin(id).is_none());
    // The registration is still the one of the plain socket.
    server.tls.send_close_notify();
    server.send();
    assert_eq!(bed.evicted().reason, Reason::HungUp);
}

#[test]
fn one_evicted_by_the_host_says_goodbye() {
    let mut bed = Bed::new();
    let (_, mut server) = bed.open_inactive();
    drop(bed.cache.shed().unwrap());
    server.sees_goodbye();
    let (_, mut server) = bed.open_inactive();
    bed.cache.drain();
    drop(bed.cache.expire(Instant::now()).unwrap());
    server.sees_goodbye();
}

#[test]
fn there_is_no_goodbye_before_there_is_a_session() {
    let mut conn = TlsConnection::plain(Wire::open());
    conn.start_tls(HOST, &Trust::Anybody.config().unwrap()).unwrap();
    conn.goodbye();
    assert_eq!(conn.socket().outgoing, b"");
}

#[test]
fn all_say_goodbye_when_the_cache_goes_active_ones_too() {
    let mut bed = Bed::new();
    let (id, mut one) = bed.open_inactive();
    bed.reuse(id);
    let (_, mut other) = bed.open_inactive();
    drop(bed.cache);
    one.sees_goodbye();
    other.sees_goodbye();
}

#[test]
fn one_in_a_box_is_watched_and_says_goodbye_like_any_other() {
    let mut bed: Bed<Boxed> = Bed::new();
    let (peer, server) = (bed.peer.clone(), Arc::new(bed.authority.server(TLS13)));
    for gone in 0..2 {
        let (client, mut far) = bed.connect(&bed.config, &server);
        let id = bed.cache.insert(Instant::now(), Box::new(client), &peer, CHANNEL, ME).unwrap();
        assert!(bed.checkin(id).is_none());
        far.send();
        bed.looked_and_kept();
        if gone == 0 {
            far.tls.send_close_notify();
            far.send();
            assert_eq!(bed.evicted().reason, Reason::HungUp);
        } else {
            drop(bed.cache.close_connection(id).unwrap());
            far.sees_goodbye();
        }
    }
}

/// The head of a record with application data, and nothing that decrypts.
const GARBAGE: [u8; 37] = {
    let mut record = [7; 37];
    (record[0], record[1], record[2], record[3], record[4]) = (23, 3, 3, 0, 32);
    record
};

fn socket_is_empty(bed: &mut Bed, id: conncache::ConnId) -> bool {
    bed.cache[id].socket().peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

fn wait_for_bytes(bed: &mut Bed, id: conncache::ConnId) {
    let patience = Patience::new();
    while socket_is_empty(bed, id) {
        patience.spend();
    }
}
