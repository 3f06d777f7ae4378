//! The SOCKS5 handshake, against conversations cut up in every way.

use crate::conversation::{Outcome, Random, Turn, outcome, tunnel, withstand};
use http::tunnel::{Credentials, Handshake, socks5};

const HOP: &str = "socks5 127.0.0.1:1080";
const USER: &str = "a-user-nobody-sees";
const PASSWORD: &str = "a-password-nobody-sees";

fn credentials() -> Credentials {
    Credentials { user: USER.into(), password: PASSWORD.into() }
}

fn without_auth() -> Handshake {
    socks5::handshake(HOP, "example.com", 443, None).unwrap()
}

fn with_auth() -> Handshake {
    socks5::handshake(HOP, "example.com", 443, Some(&credentials())).unwrap()
}

const CONNECT: &[u8] = b"\x05\x01\x00\x03\x0bexample.com\x01\xbb";
const CONNECTED: &[u8] = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x04\x38";

fn turn(question: &[u8], answer: &[u8]) -> Turn {
    (question.to_vec(), answer.to_vec())
}

/// The turns up to CONNECT's answer, which is `answer`.
fn answered(answer: &[u8]) -> Vec<Turn> {
    vec![turn(&[5, 1, 0], &[5, 0]), turn(CONNECT, answer)]
}

fn auth_turn(answer: &[u8]) -> Turn {
    let mut question = vec![1, USER.len() as u8];
    question.extend_from_slice(USER.as_bytes());
    question.push(PASSWORD.len() as u8);
    question.extend_from_slice(PASSWORD.as_bytes());
    (question, answer.to_vec())
}

#[track_caller]
fn fails(make: &dyn Fn() -> Handshake, turns: &[Turn], reason: &str) {
    let expected = Outcome::Failed(format!("{HOP}: {reason}"));
    assert_eq!(outcome(make, turns), expected);
    // What else the proxy says makes no difference.
    let mut chatty = turns.to_vec();
    chatty.last_mut().unwrap().1.extend_from_slice(CONNECTED);
    assert_eq!(outcome(make, &chatty), expected);
}

#[test]
fn every_kind_of_address_in_the_answer_ends_the_handshake() {
    tunnel(&without_auth, &answered(CONNECTED));
    tunnel(&without_auth, &answered(&[&[5, 0, 0, 4][..], &[0xfe; 16], &[0, 80]].concat()));
    for len in [0, 1, 2, 9, 255] {
        let name = vec![b'n'; len];
        let answer = [&[5, 0, 0, 3, len as u8][..], &name, &[0, 80]].concat();
        tunnel(&without_auth, &answered(&answer));
    }
}

#[test]
fn the_reserved_byte_may_have_any_value() {
    tunnel(&without_auth, &answered(&[5, 0, 9, 1, 0, 0, 0, 0, 0, 0]));
}

#[test]
fn user_and_password_are_sent_when_asked_for() {
    let turns = [turn(&[5, 2, 0, 2], &[5, 2]), auth_turn(&[1, 0]), turn(CONNECT, CONNECTED)];
    tunnel(&with_auth, &turns);
}

#[test]
fn user_and_password_stay_home_when_not_asked_for() {
    let turns = [turn(&[5, 2, 0, 2], &[5, 0]), turn(CONNECT, CONNECTED)];
    tunnel(&with_auth, &turns);
}

#[test]
fn literals_are_sent_as_addresses_and_names_as_names() {
    let cases: [(&str, &[u8]); 4] = [
        ("192.0.2.7", b"\x05\x01\x00\x01\xc0\x00\x02\x07\x12\x34"),
        ("2001:db8::1", b"\x05\x01\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x12\x34"),
        ("localhost", b"\x05\x01\x00\x03\x09localhost\x12\x34"),
        ("_x.1.2.3.4.", b"\x05\x01\x00\x03\x0b_x.1.2.3.4.\x12\x34"),
    ];
    for (host, request) in cases {
        let make = || socks5::handshake(HOP, host, 0x1234, None).unwrap();
        tunnel(&make, &[turn(&[5, 1, 0], &[5, 0]), turn(request, CONNECTED)]);
    }
}

#[test]
fn every_reply_code() {
    for code in 1..=255 {
        let words = match code {
            1 => "general failure",
            2 => "its rules forbid it",
            3 => "network unreachable",
            4 => "host unreachable",
            5 => "connection refused",
            6 => "time to live expired",
            7 => "it does not know the command CONNECT",
            8 => "it does not know this type of address",
            _ => "unknown reason",
        };
        let reason = format!("no connection to example.com:443: {words} (reply {code})");
        fails(&without_auth, &answered(&[5, code]), &reason);
    }
}

#[test]
fn every_method() {
    for method in 0..=255 {
        let not_offered = format!("chose authentication method {method}, which was not offered");
        let (without, with) = match method {
            0 => continue,
            2 => (not_offered.as_str(), None),
            255 => (
                "wants authentication, and there is none to offer",
                Some("accepts neither user name and password nor their absence"),
            ),
            _ => (not_offered.as_str(), Some(not_offered.as_str())),
        };
        fails(&without_auth, &[turn(&[5, 1, 0], &[5, method])], without);
        if let Some(with) = with {
            fails(&with_auth, &[turn(&[5, 2, 0, 2], &[5, method])], with);
        }
    }
}

#[test]
fn every_auth_status() {
    for status in 1..=255 {
        let turns = [turn(&[5, 2, 0, 2], &[5, 2]), auth_turn(&[1, status])];
        let reason = format!("refused the user name and password (status {status})");
        fails(&with_auth, &turns, &reason);
    }
}

#[test]
fn every_wrong_version() {
    for version in 0..=255 {
        if version != 5 {
            let reason = format!("answered in version {version}, not in 5");
            fails(&without_auth, &[turn(&[5, 1, 0], &[version])], &reason);
            fails(&without_auth, &answered(&[version]), &reason);
        }
        if version != 1 {
            let turns = [turn(&[5, 2, 0, 2], &[5, 2]), auth_turn(&[version])];
            let reason = format!("answered the user name and password in version {version}, not in 1");
            fails(&with_auth, &turns, &reason);
        }
    }
}

#[test]
fn every_unknown_type_of_address() {
    for kind in 0..=255 {
        if ![1, 3, 4].contains(&kind) {
            let reason = format!("answered with an address of unknown type {kind}");
            fails(&without_auth, &answered(&[5, 0, 0, kind]), &reason);
        }
    }
}

#[test]
fn an_answer_ahead_of_its_question_is_refused() {
    let early = format!("{HOP}: answered before it was asked");

    let mut unasked = without_auth();
    assert_eq!(unasked.received(&[5]).unwrap_err().to_string(), early);

    let mut half_asked = without_auth();
    half_asked.sent(2);
    assert_eq!(half_asked.received(&[5]).unwrap_err().to_string(), early);

    let mut hasty = without_auth();
    hasty.sent(3);
    let both = [&[5, 0], CONNECTED].concat();
    assert_eq!(hasty.received(&both).unwrap_err().to_string(), early);
    assert!(hasty.outgoing().is_empty());
}

#[test]
fn an_error_from_outside_says_what_was_waited_for() {
    let mut handshake = with_auth();
    let text = |handshake: &Handshake| handshake.interrupted("timed out").to_string();
    assert_eq!(text(&handshake), format!("{HOP}: timed out, while waiting for the choice of an authentication method"));
    handshake.sent(4);
    handshake.received(&[5, 2]).unwrap();
    assert_eq!(
        text(&handshake),
        format!("{HOP}: timed out, while waiting for the answer to the user name and password")
    );
    handshake.sent(handshake.outgoing().len());
    handshake.received(&[1, 0]).unwrap();
    assert_eq!(text(&handshake), format!("{HOP}: timed out, while waiting for the answer to CONNECT"));
}

#[test]
fn what_can_not_be_sent_is_refused_by_the_name_of_the_field() {
    let refusal = |host: &str, user: &str, password: &str| {
        let credentials = Credentials { user: user.into(), password: password.into() };
        let error = socks5::handshake(HOP, host, 1, Some(&credentials)).unwrap_err();
        error.to_string()
    };
    let long = "x".repeat(256);
    for (field, host, user, password) in [
        ("user name", "host", long.as_str(), "password"),
        ("password", "host", "user", long.as_str()),
        ("name to connect to", long.as_str(), "user", "password"),
    ] {
        let expected = format!("{HOP}: the {field} is longer than 255 bytes");
        assert_eq!(refusal(host, user, password), expected);
    }
    for (field, host, user, password) in [
        ("user name", "host", "", "password"),
        ("password", "host", "user", ""),
        ("name to connect to", "", "user", "password"),
    ] {
        let expected = format!("{HOP}: the {field} is empty");
        assert_eq!(refusal(host, user, password), expected);
    }
    for host in ["[::1]", "host:80", "a b", "a\0b", "a\r\nb", "user@host", "b\u{fc}cher"] {
        let expected = format!("{HOP}: the name to connect to has a character that is in no name");
        assert_eq!(refusal(host, "user", "password"), expected);
    }
}

#[test]
fn fields_of_255_bytes_are_sent() {
    let long = "x".repeat(255);
    let longest = Credentials { user: long.clone(), password: long.clone() };
    let make = || socks5::handshake(HOP, &long, 443, Some(&longest)).unwrap();
    let field = [&[255], long.as_bytes()].concat();
    let turns = [
        turn(&[5, 2, 0, 2], &[5, 2]),
        turn(&[&[1][..], &field, &field].concat(), &[1, 0]),
        turn(&[&[5, 1, 0, 3][..], &field, &[1, 0xbb]].concat(), CONNECTED),
    ];
    tunnel(&make, &turns);
}

#[test]
fn credentials_are_never_shown() {
    let mut shown = vec![format!("{:?} {:#?}", credentials(), credentials())];
    for answers in [[&[5, 2][..], &[1, 0], CONNECTED], [&[5, 2], &[1, 7], &[0]]] {
        let mut handshake = with_auth();
        for answer in answers {
            shown.push(format!("{handshake:?} {handshake:#?}"));
            shown.push(format!("{0} {0:?}", handshake.closed()));
            handshake.sent(handshake.outgoing().len());
            if let Err(error) = handshake.received(answer) {
                shown.push(format!("{error} {error:?}"));
            }
            shown.push(format!("{handshake:?} {handshake:#?}"));
        }
    }
    // In fields that are refused, too.
    for (user, password) in [(USER.repeat(20), PASSWORD.into()), (USER.into(), PASSWORD.repeat(20))] {
        let credentials = Credentials { user, password };
        let error = socks5::handshake(HOP, "host", 1, Some(&credentials)).unwrap_err();
        shown.push(format!("{error} {error:?}"));
    }
    let bytes = |text: &str| format!("{:?}", text.as_bytes()).replace(['[', ']'], "");
    for text in shown {
        for secret in [USER, PASSWORD] {
            assert!(!text.contains(secret), "{text}");
            assert!(!text.contains(&bytes(secret)), "{text}");
        }
    }
}

#[test]
fn garbage_does_no_harm() {
    let pieces: [&[u8]; 12] = [
        &[5],
        &[0],
        &[1],
        &[3],
        &[4],
        &[5, 0],
        &[5, 2],
        &[1, 0],
        &[5, 0, 0, 1],
        &[5, 0, 0, 3, 3],
        CONNECTED,
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ];
    for seed in 0..5000 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let garbage = random.garbage(&pieces);
        withstand(&without_auth, &garbage, &mut random);
        withstand(&with_auth, &garbage, &mut random);
    }
}
