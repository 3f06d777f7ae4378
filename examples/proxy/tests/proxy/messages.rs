//! What is passed on, what isn't, and how messages are framed.

use crate::harness::{Client, Proxy, Upstream, field, ok};
use std::io::{BufRead, Write};
use std::net::{Ipv6Addr, SocketAddrV6, TcpListener};
use std::sync::mpsc;

/// What the proxy adds to a request.
const VIA: &str = "X-Forwarded-For: 127.0.0.1\r\nVia: 1.1 conncache\r\n";

#[test]
fn requests_of_one_client_share_one_upstream_connection() {
    let upstream = Upstream::answering(|head, _| ok(head.lines().next().unwrap()));
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    for n in 0..10 {
        client.send(&format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.response().body, format!("GET /{n} HTTP/1.1").as_bytes());
    }
    assert_eq!(upstream.accepted(), 1);
    assert_eq!(proxy.figure("handed_out"), 9);
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let upstream = Upstream::answering(|head, body| {
        ok(&format!("{} {}", head.split(' ').nth(1).unwrap(), String::from_utf8_lossy(body)))
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    let request = |n: usize| match n % 3 {
        0 => format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n"),
        1 => format!("POST /{n} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
        _ => {
            format!("POST /{n} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n")
        }
    };
    client.send(&(0..500).map(request).collect::<String>());
    for n in 0..500 {
        let body = ["", "abc", "def"][n % 3];
        assert_eq!(client.response().body, format!("/{n} {body}").as_bytes());
    }
}

#[test]
fn a_request_that_comes_byte_by_byte_is_served() {
    let upstream = Upstream::answering(|_, body| ok(std::str::from_utf8(body).unwrap()));
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    for byte in b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".chunks(1) {
        client.stream().write_all(byte).unwrap();
    }
    assert_eq!(client.response().body, b"abc");
}

#[test]
fn hop_by_hop_lines_go_no_further_in_either_direction() {
    let (tell, told) = mpsc::channel();
    let upstream = Upstream::answering(move |head, _| {
        tell.send(head.to_string()).unwrap();
        "HTTP/1.1 200 OK\r\nConnection: X-Own\r\nX-Own: 1\r\nKeep-Alive: timeout=9\r\nProxy-Authenticate: b\r\n\
         Trailer: t\r\nUpgrade: h2c\r\nDate: d\r\nX-End: 2\r\nContent-Length: 2\r\n\r\nhi"
            .into()
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    client.send(
        "GET /x?y HTTP/1.1\r\nHost: example.org:81\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\n\
         TE: trailers\r\nUpgrade: websocket\r\nProxy-Connection: x\r\nProxy-Authorization: secret\r\nX-End: 3\r\n\r\n",
    );
    let response = client.response();
    assert_eq!(response.body, b"hi");
    assert_eq!(
        response.head,
        "HTTP/1.1 200 OK\r\nDate: d\r\nX-End: 2\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
    );
    let request = told.recv().unwrap();
    assert_eq!(request, format!("GET /x?y HTTP/1.1\r\nHost: example.org:81\r\nX-End: 3\r\n{VIA}\r\n"));
}

/// Whatever the client may write in several ways reaches the upstream in one.
#[test]
fn the_upstream_sees_each_request_framed_in_one_way() {
    let (tell, told) = mpsc::channel();
    let upstream = Upstream::start(move |mut conn, _| {
        loop {
            let mut request = conn.head();
            if request.is_empty() {
                return;
            }
            // As it comes, and not as it is understood.
            while request.contains("chunked") && !request.ends_with("0\r\n\r\n") || request.ends_with("gth: 5\r\n\r\n")
            {
                let bytes = conn.reader.fill_buf().unwrap();
                let used = bytes.len();
                request.push_str(std::str::from_utf8(bytes).unwrap());
                conn.reader.consume(used);
            }
            tell.send(request).unwrap();
            conn.send(&ok("x"));
        }
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let via = VIA;
    let chunked =
        format!("POST / HTTP/1.1\r\nHost: a\r\n{via}Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n");
    let length = format!("POST / HTTP/1.1\r\nHost: a\r\n{via}Content-Length: 5\r\n\r\nabcde");
    let host = |host: &str, line: &str| format!("{line} HTTP/1.1\r\nHost: {host}\r\n{via}\r\n");
    let host_1_0 = |to: &str| host(to, "GET /").replace("Via: 1.1", "Via: 1.0");
    for (request, seen) in [
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 005\r\n\r\nabcde", &length),
        // The client can't have the lines taken away that frame the request and name its host.
        ("POST / HTTP/1.1\r\nHost: a\r\nConnection: content-length, host\r\nContent-Length: 5\r\n\r\nabcde", &length),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: transfer-encoding\r\ntransfer-encoding:\tCHUNKED \r\n\r\n\
             0005 ;a=\"\r\nabcde\r\n00\r\n\r\n",
            &chunked,
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5 \t\r\nabcde\r\n0 \r\n\r\n", &chunked),
        // Nor lengthen the head from behind the body.
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTrailer: Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nabcde\r\n0\r\nContent-Length: 9\r\nHost: b\r\n\r\n",
            &chunked,
        ),
        ("GET / HTTP/1.0\r\nHost: a\r\n\r\n", &host_1_0("a")),
        ("GET / HTTP/1.0\r\n\r\n", &host_1_0(&upstream.addr.to_string())),
        (
            "GET / HTTP/1.0\r\nVia: 1.1 one, 1.1 two\r\nHost: a\r\n\r\n",
            &host_1_0("a").replace("X-", "Via: 1.1 one, 1.1 two\r\nX-"),
        ),
        ("OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n", &host("b", "OPTIONS *")),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &host("a", "OPTIONS *")),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n",
            &host("a", "GET /"),
        ),
    ] {
        let mut client = proxy.client();
        client.send(request);
        assert_eq!(client.response().status, 200, "{request:?}");
        assert_eq!(told.recv().unwrap(), *seen, "{request:?}");
    }
}

#[test]
fn a_target_in_absolute_form_overrules_the_host_line() {
    let upstream = Upstream::answering(|head, _| ok(head));
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    client.send("GET http://one.example/p HTTP/1.1\r\nHost: two.example\r\n\r\n");
    let head = String::from_utf8(client.response().body).unwrap();
    assert!(head.starts_with("GET /p HTTP/1.1\r\nHost: one.example\r\n"), "{head}");
    assert!(!head.contains("two.example"));
}

#[test]
fn the_upstream_decides_whether_an_expecting_client_sends_its_body() {
    let upstream = Upstream::start(|mut conn, _| {
        let head = conn.head();
        assert_eq!(field(&head, "expect"), Some("100-continue"));
        if head.starts_with("PUT /yes") {
            conn.send("HTTP/1.1 100 Continue\r\n\r\n");
            let body = conn.body(&head);
            conn.send(&ok(std::str::from_utf8(&body).unwrap()));
        } else {
            conn.send("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
        }
        // Neither is kept: the proxy keeps nothing here, and half a request would be no reason to.
        assert!(conn.is_at_end());
    });
    let proxy = Proxy::start(&[upstream.addr], &["--max-inactive", "0"]);
    let ask = |path: &str| {
        let mut client = proxy.client();
        client.send(&format!("PUT {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"));
        client
    };
    let mut client = ask("/yes");
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body");
    assert_eq!(client.response().body, b"body");

    let mut client = ask("/no");
    let response = client.response();
    assert_eq!(response.status, 413);
    assert_eq!(field(&response.head, "connection"), Some("close"));
    assert!(client.is_at_end());
}

#[test]
#[cfg(unix)]
fn every_response_has_a_date() {
    let upstream = Upstream::answering(|head, _| match head.starts_with("GET /dated ") {
        true => "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n".into(),
        false => ok("x"),
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let now = || {
        let mut command = std::process::Command::new("date");
        let output = command.env("LC_ALL", "C").args(["-u", "+%a, %d %b %Y %H:%M:%S GMT"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim_end().to_string()
    };
    for (addr, request) in [
        (proxy.addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (proxy.addr, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"),
        (proxy.status, "GET /status.json HTTP/1.1\r\nHost: a\r\n\r\n"),
    ] {
        // The second may change between two looks at the clock.
        let found = (0..10).any(|_| {
            let mut client = Client::connect(addr);
            let before = now();
            client.send(request);
            field(&client.response().head, "date") == Some(&before) && before == now()
        });
        assert!(found, "{request:?}");
    }
    let mut client = proxy.client();
    client.send("GET /dated HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.response().head;
    assert_eq!(head, "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n");
}

#[test]
fn max_forwards_is_counted_down_where_it_counts() {
    let upstream = Upstream::answering(|head, _| ok(field(head, "max-forwards").unwrap_or("none")));
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    let mut ask = |method: &str, hops: &str| {
        client.send(&format!("{method} / HTTP/1.1\r\nHost: a\r\n{hops}\r\n"));
        let response = client.response();
        (response.status, String::from_utf8(response.body).unwrap())
    };
    for (method, hops, status, body) in [
        ("OPTIONS", "", 200, "none"),
        ("OPTIONS", "Max-Forwards: 3\r\n", 200, "2"),
        ("TRACE", "max-forwards: 1\r\nMax-Forwards: 5\r\n", 200, "0"),
        ("OPTIONS", "Max-Forwards: many\r\n", 200, "many"),
        ("GET", "Max-Forwards: 0\r\n", 200, "0"),
        ("OPTIONS", "Max-Forwards: 0\r\n", 200, ""),
    ] {
        assert_eq!(ask(method, hops), (status, body.to_string()), "{method} {hops:?}");
    }
    assert_eq!(ask("TRACE", "Max-Forwards: 0\r\nCookie: secret\r\n").0, 501);
    assert_eq!(ask("OPTIONS", "").0, 200);
}

#[test]
fn who_waits_to_send_a_body_that_the_proxy_does_not_want_is_answered() {
    let upstream = Upstream::answering(|_, _| ok("x"));
    let proxy = Proxy::start(&[upstream.addr], &[]);
    for (addr, request, status) in
        [(proxy.status, "POST / HTTP/1.1", 405), (proxy.addr, "OPTIONS / HTTP/1.1\r\nMax-Forwards: 0", 200)]
    {
        let mut client = Client::connect(addr);
        client.send(&format!("{request}\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"));
        let response = client.response();
        assert_eq!((response.status, field(&response.head, "connection")), (status, Some("close")));
        assert!(client.is_at_end());
    }
}

#[test]
fn interim_responses_reach_http_1_1_clients_alone() {
    let upstream = Upstream::answering(|_, _| {
        format!("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n{}", ok("done"))
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head(), "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
    assert_eq!(client.head(), "HTTP/1.1 102 Processing\r\n\r\n");
    assert_eq!(client.response().body, b"done");
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.response().body, b"done");
}

#[test]
fn a_head_of_an_old_form_reaches_the_client_in_the_present_one() {
    let upstream = Upstream::answering(|_, _| {
        "HTTP/1.1 200 OK\nDate: d\nX : y\n z\r\nConnection: A\nA: b\n  c\nContent-Length: 2\n\nhi".into()
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let response = client.response();
        assert_eq!(response.head, "HTTP/1.1 200 OK\r\nDate: d\r\nX: y z\r\nContent-Length: 2\r\n\r\n");
        assert_eq!(response.body, b"hi");
    }
    assert_eq!(upstream.accepted(), 1);
}

#[test]
fn many_interim_responses_may_come() {
    let upstream = Upstream::answering(|_, _| "HTTP/1.1 102 Processing\r\n\r\n".repeat(500) + &ok("done"));
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    for _ in 0..500 {
        assert_eq!(client.head(), "HTTP/1.1 102 Processing\r\n\r\n");
    }
    assert_eq!(client.response().body, b"done");
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "the zone of ::1 may count elsewhere")]
fn the_zone_of_an_upstreams_address_is_not_named_to_it() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else { return eprintln!("no IPv6 here: nothing tested") };
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut conn = Client::of(listener.accept().unwrap().0);
        let head = conn.head();
        conn.send(&ok(field(&head, "host").unwrap()));
    });
    let proxy = Proxy::start(&[SocketAddrV6::new(Ipv6Addr::LOCALHOST, port, 0, 1).into()], &[]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.response().body, format!("[::1]:{port}").as_bytes());
}

#[test]
fn responses_without_a_body_and_in_chunks_leave_both_connections_usable() {
    let upstream = Upstream::answering(|head, _| {
        match head.split(' ').nth(1).unwrap() {
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
            "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 50\r\nETag: \"e\"\r\n\r\n",
            "/chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "/whole" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: t\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n",
        }
        .to_string()
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    for (method, path, status, length) in [
        ("GET", "/whole", 200, None),
        ("GET", "/204", 204, None),
        ("GET", "/304", 304, Some("50")),
        ("HEAD", "/length", 200, Some("50")),
        ("HEAD", "/chunked", 200, None),
        ("HEAD", "/204", 204, None),
    ] {
        client.send(&format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let response = client.response_to(method);
        assert_eq!(response.status, status);
        assert_eq!(field(&response.head, "content-length"), length, "{method} {path}");
    }
    assert_eq!(upstream.accepted(), 1);
}

#[test]
fn upstreams_take_turns() {
    let named = |name: &'static str| Upstream::answering(move |_, _| ok(name));
    let upstreams = [named("a"), named("b"), named("c")];
    let proxy = Proxy::start(&upstreams.each_ref().map(|upstream| upstream.addr), &[]);
    let mut client = proxy.client();
    let answers: Vec<u8> = (0..6)
        .flat_map(|_| {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            client.response().body
        })
        .collect();
    assert_eq!(answers, b"abcabc");
}

#[test]
fn a_client_that_sends_without_pause_gets_a_long_answer_whole() {
    const LONG: usize = 1_500_000;
    let upstream = Upstream::start(|mut conn, _| {
        conn.head();
        conn.send(&format!("HTTP/1.1 413 Content Too Large\r\nContent-Length: {LONG}\r\n\r\n{}", "y".repeat(LONG)));
        let _ = std::io::copy(&mut conn.reader, &mut std::io::sink()); // so that no reset destroys it on this side
    });
    let proxy = Proxy::start(&[upstream.addr], &[]);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000000\r\n\r\n");
    let mut writer = client.stream().try_clone().unwrap();
    let writing = std::thread::spawn(move || while writer.write_all(&[b'x'; 64 * 1024]).is_ok() {});
    let response = client.response();
    assert_eq!((response.status, response.body.len()), (413, LONG));
    assert!(client.is_at_end());
    client.stream().shutdown(std::net::Shutdown::Both).unwrap();
    writing.join().unwrap();
}
