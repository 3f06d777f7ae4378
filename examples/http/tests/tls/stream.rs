//! Reading and writing, as the host sees it.

use crate::support::*;
use crate::wire::*;
use conncache::{Connection, Probe};
use http::tls::{MOST_WITHOUT_DATA, TlsConnection};
use http::trust::Trust;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use testing::certificates::Authority;

#[test]
fn the_end_is_the_end_only_if_the_peer_said_so() {
    for said in [true, false] {
        let bed: Bed = Bed::new();
        let (mut conn, mut server) = bed.connect(&bed.config, &Arc::new(bed.authority.server(TLS13)));
        server.say(b"all of it");
        if said {
            server.tls.send_close_notify();
            server.send();
        }
        drop(server);
        hear(&mut conn, b"all of it");
        match read_some(&mut conn) {
            Ok(n) => assert!(said && n == 0),
            Err(error) => {
                assert!(!said);
                assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
                assert_eq!(error.to_string(), "tls with localhost: closed without saying so; data may be missing");
            }
        }
    }
}

#[test]
fn reading_without_data_would_block_whatever_else_came() {
    let (mut conn, mut server) = over_wire();
    let tickets = drain(&mut server);
    assert!(!tickets.is_empty());
    conn.socket().incoming.extend(tickets);
    assert_eq!(conn.read(&mut [0; 10]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(conn.socket().incoming.len(), 0);
}

#[test]
fn a_flood_of_tickets_does_not_keep_the_owner_reading() {
    let mut config = Authority::new().server(TLS13);
    config.send_tls13_tickets = 10_000;
    let trust = Trust::Anybody.config().unwrap();
    let (mut conn, mut server) = over_wire_with(Wire::open(), &trust, &Arc::new(config), &|_| {});
    let flood = drain(&mut server);
    conn.socket().incoming.extend(flood);
    let error = conn.read(&mut [0; 10]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("tls with localhost: more than {MOST_WITHOUT_DATA} bytes in a row without data")
    );
    assert!(!conn.socket().incoming.is_empty());
}

#[test]
fn what_the_socket_does_not_take_is_kept_bounded_and_in_order() {
    let (mut conn, mut server) = over_wire();
    let data: Vec<u8> = (0..300_000).map(|n| (n % 251) as u8).collect();
    let (mut heard, mut taken) = (Vec::new(), 0);
    while taken < data.len() {
        conn.socket().room = 0;
        let n = conn.write(&data[taken..]).unwrap();
        assert!(n > 0 && n <= 65536, "{n}");
        taken += n;
        assert_eq!(conn.write(&data[taken..]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(conn.flush().unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(conn.wants_write());
        while conn.flush().is_err() {
            conn.socket().room = 1000;
        }
        assert!(!conn.wants_write());
        let sent = std::mem::take(&mut conn.socket().outgoing);
        for piece in sent.chunks(4096) {
            deliver(&mut server, piece);
            let mut buffer = [0; 65536];
            while let Ok(n @ 1..) = server.reader().read(&mut buffer) {
                heard.extend_from_slice(&buffer[..n]);
            }
        }
    }
    assert!(heard == data);
}

#[test]
fn no_amount_of_data_is_too_much() {
    let (mut conn, mut server) = over_wire();
    for _ in 0..100 {
        server.writer().write_all(&[b'x'; 10_000]).unwrap();
        let answer = drain(&mut server);
        conn.socket().incoming.extend(answer);
        hear(&mut conn, &[b'x'; 10_000]);
    }
    assert!(matches!(conn.probe(), Probe::Quiet));
}

#[test]
fn an_answer_is_read_while_the_request_is_stuck() {
    let (mut conn, mut server) = over_wire();
    conn.socket().room = 0;
    assert!(conn.write(&[b'x'; 100_000]).unwrap() > 0);
    server.writer().write_all(b"413").unwrap();
    let answer = drain(&mut server);
    conn.socket().incoming.extend(answer);
    hear(&mut conn, b"413");
}

#[test]
fn reading_sends_what_was_stuck() {
    let (mut conn, _server) = over_wire();
    conn.socket().room = 0;
    assert_eq!(conn.write(b"ping").unwrap(), 4);
    conn.socket().room = usize::MAX;
    assert_eq!(conn.read(&mut [0; 10]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(!conn.wants_write());
    assert!(matches!(conn.probe(), Probe::Quiet));
}

#[test]
fn without_tls_it_is_the_socket() {
    let mut conn = TlsConnection::plain(Wire::open());
    assert!(conn.handshake().unwrap());
    assert_eq!(conn.handshake_kind(), None);
    say(&mut conn, b"ping");
    assert_eq!(conn.socket().outgoing, b"ping");
    conn.socket().incoming.extend(b"pong");
    hear(&mut conn, b"pong");
    conn.goodbye();
    assert_eq!(conn.socket().outgoing, b"ping");
}
