//! Upstreams that authenticate a connection, not a request.

use crate::harness::{Client, PATIENCE, Proxy, Upstream, field, ok};
use std::sync::mpsc;

const GET: &str = "GET /mail HTTP/1.1\r\nHost: a\r\n\r\n";

fn with_credentials(scheme: &str, user: &str) -> String {
    format!("GET /mail HTTP/1.1\r\nHost: a\r\nAuthorization: {scheme} {user}\r\n\r\n")
}

/// Asks for credentials once, and takes all further requests on that connection for the same user's.
fn authenticating(challenge: &'static str) -> Upstream {
    Upstream::start(move |conn, number| serve(conn, challenge, number, || {}))
}

fn serve(mut conn: Client, challenge: &str, number: usize, ended: impl FnOnce()) {
    let mut user = None;
    loop {
        let head = conn.head();
        if head.is_empty() {
            return ended();
        }
        if let Some(credentials) = field(&head, "authorization") {
            user = credentials.split_once(' ').map(|(_, user)| user.to_string());
        }
        match &user {
            Some(user) => conn.send(&ok(&format!("{user}'s mail by {number}"))),
            None => conn.send(&format!("HTTP/1.1 401 Unauthorized\r\n{challenge}\r\nContent-Length: 0\r\n\r\n")),
        }
    }
}

#[test]
fn nobody_else_gets_a_connection_that_a_client_has_authenticated() {
    for (challenge, scheme) in [
        ("WWW-Authenticate: NTLM", "NTLM"),
        ("WWW-Authenticate: Negotiate", "Negotiate"),
        ("www-authenticate: negotiate YII=", "negotiate"),
        ("WWW-Authenticate: Basic realm=\"a, b\", NTLM", "NTLM"),
        ("WWW-Authenticate: Basic realm=\"a\"\r\nWWW-Authenticate: Kerberos", "Kerberos"),
        ("WWW-Authenticate: Nego2", "Nego2"),
        // The upstream keeps by connection what it asks for by request.
        ("Persistent-Auth: true", "Basic"),
    ] {
        let upstream = authenticating(challenge);
        let proxy = Proxy::start(&[upstream.addr], &[]);
        let mut client = proxy.client();
        client.send(GET);
        assert_eq!(client.response().status, 401, "{challenge}");
        client.send(&with_credentials(scheme, "alice"));
        assert_eq!(client.response().body, b"alice's mail by 1", "{challenge}");
        let mut other = proxy.client();
        other.send(GET);
        assert_eq!(other.response().status, 401, "{challenge}");
        // Each goes on by its own.
        client.send(GET);
        assert_eq!(client.response().body, b"alice's mail by 1", "{challenge}");
        other.send(&with_credentials(scheme, "bob"));
        assert_eq!(other.response().body, b"bob's mail by 2", "{challenge}");
        assert_eq!(upstream.accepted(), 2, "{challenge}");
    }
}

#[test]
fn credentials_that_come_unasked_bind_the_connection_too() {
    for scheme in ["NTLM", "Negotiate", "negotiate"] {
        let upstream = authenticating("WWW-Authenticate: NTLM");
        let proxy = Proxy::start(&[upstream.addr], &[]);
        let mut client = proxy.client();
        client.send(&with_credentials(scheme, "alice"));
        assert_eq!(client.response().body, b"alice's mail by 1");
        let mut other = proxy.client();
        other.send(GET);
        assert_eq!(other.response().status, 401, "{scheme}");
    }
}

#[test]
fn credentials_of_single_requests_bind_nothing() {
    let upstream = Upstream::answering(|_, _| {
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"a\", Digest nonce=\"b\"\r\nContent-Length: 0\r\n\r\n"
            .to_string()
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    for scheme in ["Basic", "Digest", "Bearer"] {
        let mut client = proxy.client();
        client.send(&with_credentials(scheme, "alice"));
        assert_eq!(client.response().status, 401);
    }
    assert_eq!(upstream.accepted(), 1);
}

#[test]
fn an_authenticated_connection_stays_with_its_upstream_and_ends_with_its_client() {
    let (tell, told) = mpsc::channel();
    let start = || {
        let tell = tell.clone();
        Upstream::start(move |conn, number| {
            serve(conn, "WWW-Authenticate: NTLM", number, || tell.send(number).unwrap());
        })
    };
    let upstreams = [start(), start(), start()];
    let proxy = Proxy::start(&upstreams.each_ref().map(|upstream| upstream.addr), &[]);
    let mut client = proxy.client();
    client.send(GET);
    assert_eq!(client.response().status, 401);
    client.send(&with_credentials("NTLM", "alice"));
    assert_eq!(client.response().body, b"alice's mail by 1");
    for _ in 0..3 {
        client.send(GET);
        assert_eq!(client.response().body, b"alice's mail by 1");
    }
    assert_eq!(upstreams.iter().map(Upstream::accepted).sum::<usize>(), 1);
    drop(client);
    told.recv_timeout(PATIENCE).unwrap();
    proxy.wait_for_figure("inactive", 0);
}

#[test]
fn a_client_whose_upstream_has_gone_is_served_by_another() {
    let mortal = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = mortal.local_addr().unwrap();
    let dying = std::thread::spawn(move || {
        let mut conn = Client::of(mortal.accept().unwrap().0);
        conn.head();
        conn.send(&ok("alice's mail by the mortal"));
    });
    let other = Upstream::answering(|_, _| ok("public"));
    let proxy = Proxy::start(&[addr, other.addr], &["--quarantine", "1000"]);
    let mut client = proxy.client();
    client.send(&with_credentials("NTLM", "alice"));
    assert_eq!(client.response().body, b"alice's mail by the mortal");
    dying.join().unwrap();
    for _ in 0..3 {
        client.send(GET);
        assert_eq!(client.response().body, b"public");
    }
    // None, if a process that another test is just starting holds the listener a moment longer.
    assert!(proxy.figure("connect_failed") <= 1, "the mortal is left alone: {}", proxy.json());
}
