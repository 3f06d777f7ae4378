//! Several upstreams, of which some fail: who is asked instead, and for how long.

use crate::harness::{Client, Proxy, Upstream, nobody, ok, wait_until};
use std::time::Duration;
use testing::nobody::silent;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";
/// Longer than any test: who is in quarantine stays there.
const FOR_EVER: &[&str] = &["--quarantine", "1000"];
const NO_QUARANTINE: &[&str] = &["--quarantine", "0"];

fn resets(mut conn: Client) {
    socket2::SockRef::from(&*conn.stream()).set_linger(Some(Duration::ZERO)).unwrap();
}

fn well() -> Upstream {
    Upstream::answering(|_, _| ok("well"))
}

/// Takes a request, and closes without an answer.
fn mute() -> Upstream {
    Upstream::start(|mut conn, _| {
        let head = conn.head();
        conn.body(&head);
    })
}

#[test]
#[cfg(target_os = "linux")] // elsewhere a full queue may refuse
fn a_connection_that_takes_too_long_to_make_is_tried_at_the_next_upstream() {
    let (_silent, addr) = silent();
    let upstreams = [well(), well()];
    let times = ["--connect-timeout", "0.2", "--quarantine", "1000"];
    let proxy = Proxy::start(&[addr, upstreams[0].addr, upstreams[1].addr], &times);
    let mut client = proxy.client();
    for request in [POST, GET, GET, GET, POST, POST] {
        client.send(request);
        assert_eq!(client.response().body, b"well");
    }
    assert_eq!(proxy.figure("connect_failed"), 1, "the first one waited, for all");
    proxy.wait_for_log(&format!("event=refused peer={addr} addr={addr} error=no connection within 200ms"));
}

#[test]
#[cfg(target_os = "linux")]
fn when_no_upstream_takes_the_connection_the_answer_is_a_504() {
    let ((_first, one), (_second, other)) = (silent(), silent());
    let proxy = Proxy::start(&[one, other], &["--connect-timeout", "0.2"]);
    let mut client = proxy.client();
    client.send(GET);
    assert_eq!(client.response().status, 504);
    assert_eq!((proxy.figure("connect_failed"), proxy.figure("active")), (2, 0));
}

#[test]
fn a_request_that_may_be_repeated_goes_on_when_a_new_connection_dies() {
    let resetting = Upstream::start(|conn, _| resets(conn));
    let closing = Upstream::start(|_, _| {});
    let after_the_request = Upstream::start(|mut conn, _| {
        conn.head();
        resets(conn);
    });
    let all = [resetting.addr, closing.addr, mute().addr, after_the_request.addr, well().addr];
    let proxy = Proxy::start(&all, NO_QUARANTINE);
    let mut client = proxy.client();
    for _ in 0..all.len() {
        for method in ["GET", "HEAD", "DELETE"] {
            client.send(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert_eq!(client.response_to(method).status, 200, "{method}");
        }
        client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
        assert_eq!(client.response().status, 200);
    }
}

#[test]
fn each_upstream_is_tried_once_for_a_request() {
    let upstreams = [mute(), mute(), mute()];
    let proxy = Proxy::start(&upstreams.each_ref().map(|upstream| upstream.addr), &[]);
    let mut client = proxy.client();
    client.send(GET);
    assert_eq!(client.response().status, 502);
    assert_eq!(upstreams.each_ref().map(Upstream::accepted), [1, 1, 1]);
}

#[test]
fn a_request_that_may_not_be_repeated_is_not_sent_to_a_second_upstream() {
    let (mute, well) = (mute(), well());
    let proxy = Proxy::start(&[mute.addr, well.addr], FOR_EVER);
    let mut client = proxy.client();
    client.send(POST);
    assert_eq!(client.response().status, 502);
    assert_eq!((mute.accepted(), well.accepted()), (1, 0));
}

#[test]
fn a_response_that_has_begun_is_not_begun_again_elsewhere() {
    let cut = Upstream::start(|mut conn, _| {
        conn.head();
        conn.send("HTTP/1.1 200 OK\r\n");
    });
    let well = well();
    let proxy = Proxy::start(&[cut.addr, well.addr], FOR_EVER);
    let mut client = proxy.client();
    client.send(GET);
    assert_eq!(client.response().status, 502);
    assert_eq!((cut.accepted(), well.accepted()), (1, 0));
}

#[test]
fn an_upstream_that_failed_is_left_alone() {
    let (mute, well) = (mute(), well());
    let proxy = Proxy::start(&[nobody(), mute.addr, well.addr], FOR_EVER);
    let mut client = proxy.client();
    // Refused, closed without an answer, answered.
    client.send(GET);
    assert_eq!(client.response().body, b"well");
    for _ in 0..6 {
        client.send(POST);
        assert_eq!(client.response().body, b"well");
    }
    assert_eq!((proxy.figure("connect_failed"), mute.accepted()), (1, 1));
}

#[test]
fn an_upstream_that_does_not_answer_in_time_is_left_alone() {
    let silent = Upstream::start(|mut conn, _| {
        conn.head();
        assert!(conn.is_at_end());
    });
    let well = well();
    let proxy = Proxy::start(&[silent.addr, well.addr], &["--timeout", "0.5", "--quarantine", "1000"]);
    let mut client = proxy.client();
    client.send(GET);
    assert_eq!(client.response().status, 504);
    wait_until(
        || {
            client.send(POST);
            client.response().status == 200
        },
        || "an answer in time".into(),
    );
    assert_eq!(silent.accepted(), 1);
}

/// The client isn't too slow: it may wait for the upstream's word. But it could have sent the body all the same, so that
/// nothing is known of the upstream.
#[test]
fn an_upstream_that_does_not_say_whether_it_wants_the_body_is_a_504() {
    let (mute, well) = (mute(), well());
    let proxy = Proxy::start(&[mute.addr, well.addr], &["--timeout", "0.5", "--quarantine", "60"]);
    let mut client = proxy.client();
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
    assert_eq!(client.response().status, 504);
    assert!(!proxy.log().contains("event=quarantine"), "{}", proxy.log());
}

#[test]
fn an_upstream_is_asked_again_when_its_quarantine_is_over() {
    let recovering = Upstream::start(|mut conn, number| {
        while number > 1 && !conn.head().is_empty() {
            conn.send(&ok("back"));
        }
    });
    let well = well();
    let proxy = Proxy::start(&[recovering.addr, well.addr], &["--quarantine", "0.2"]);
    let mut client = proxy.client();
    let mut ask = || {
        client.send(GET);
        String::from_utf8(client.response().body).unwrap()
    };
    assert_eq!(ask(), "well");
    wait_until(|| ask() == "back", || "its first answer".into());
    // It takes turns again.
    let next = [ask(), ask(), ask(), ask()];
    assert_eq!(next, ["well", "back", "well", "back"]);
}

#[test]
fn when_all_upstreams_have_failed_they_are_asked_all_the_same() {
    let recovering = Upstream::start(|mut conn, number| {
        while number > 1 && !conn.head().is_empty() {
            conn.send(&ok("back"));
        }
    });
    let proxy = Proxy::start(&[recovering.addr, nobody()], FOR_EVER);
    let mut client = proxy.client();
    client.send(GET);
    assert_eq!(client.response().status, 502);
    for _ in 0..3 {
        client.send(GET);
        assert_eq!(client.response().body, b"back");
    }
}
