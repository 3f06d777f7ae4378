//! Responses of every form, good ones and bad ones.

use crate::program::{TempDir, fetch};
use crate::server::{Server, response};
use std::thread;
use std::time::Duration;

/// A server that says the text listed for a path, and closes behind it if told so.
fn scripted(script: &'static [(&'static str, &'static str, bool)]) -> Server {
    Server::start(|client, _| {
        while let Some(path) = client.request()? {
            let (_, text, close) = script.iter().find(|line| line.0 == path).unwrap();
            client.say(text)?;
            if *close {
                return Ok(());
            }
        }
        Ok(())
    })
}

/// Path, response, whether the server closes; then the status, the body, and whether the connection is used again.
type Good = (&'static str, &'static str, bool);

#[test]
fn responses_of_every_form_are_understood_and_keep_their_connections() {
    const SCRIPT: &[Good] = &[
        ("/length", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", false),
        ("/twice", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nbody", false),
        (
            "/chunked",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\nb\r\n3\r\nody\r\n0\r\nX: y\r\n\r\n",
            false,
        ),
        (
            "/interim",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
            false,
        ),
        ("/1.0", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nbody", false),
        ("/204", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", false),
        ("/304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false),
        ("/404", "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nbody", false),
    ];
    let server = scripted(SCRIPT);
    let bodies = TempDir::new("kept");
    let urls: Vec<String> = SCRIPT.iter().map(|line| server.url(line.0)).collect();
    let mut args = vec!["-c", "1", "-n", "2", "--output", bodies.path()];
    args.extend(urls.iter().map(String::as_str));
    let run = fetch(&args);
    run.expect(&[("responses", 16), ("opened", 1), ("reused", 15), ("retried", 0), ("kept", 1), ("body_bytes", 48)]);
    for (place, (path, ..)) in SCRIPT.iter().chain(SCRIPT).enumerate() {
        let expected: &[u8] = if ["/204", "/304"].contains(path) { b"" } else { b"body" };
        assert_eq!(bodies.read(place).as_deref(), Some(expected), "{path}");
        let status = path[1..].parse().unwrap_or(200);
        assert!(run.out.lines().nth(place).unwrap().starts_with(&format!("{status} ")), "{path}: {}", run.out);
    }
}

#[test]
fn responses_that_end_with_the_connection_are_complete_and_not_kept() {
    const SCRIPT: &[Good] = &[
        ("/close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody", false),
        ("/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nbody", false),
        ("/until-close", "HTTP/1.1 200 OK\r\n\r\nbody", true),
        ("/1.0-until-close", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nbody", true),
        ("/last", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", true),
    ];
    let server = scripted(SCRIPT);
    let bodies = TempDir::new("closed");
    let (last, others) = SCRIPT.split_last().unwrap();
    let urls: Vec<String> = others.iter().map(|line| server.url(line.0)).collect();
    let mut args = vec!["-c", "1", "--output", bodies.path()];
    args.extend(urls.iter().map(String::as_str));
    fetch(&args).expect(&[("responses", 4), ("opened", 4), ("evicted.closed", 4), ("kept", 0)]);
    for (place, (path, ..)) in others.iter().enumerate() {
        assert_eq!(bodies.read(place).as_deref(), Some(&b"body"[..]), "{path}");
    }
    let run = fetch(&["-c", "1", "--linger", "60", &server.url(last.0)]);
    run.expect(&[("responses", 1), ("opened", 1), ("evicted.hung_up", 1), ("kept", 0)]);
}

#[test]
fn heads_of_old_forms_are_understood() {
    const SCRIPT: &[Good] = &[
        ("/lf", "HTTP/1.1 200 OK\nContent-Length: 4\n\nbody", false),
        ("/folded", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 4\r\n\r\nbody", false),
        ("/blank", "HTTP/1.1 200 OK\r\nContent-Length : 4\r\n\r\nbody", false),
    ];
    let server = scripted(SCRIPT);
    let urls: Vec<String> = SCRIPT.iter().map(|line| server.url(line.0)).collect();
    let run = fetch(&["-c", "1", "-n", "2", &urls[0], &urls[1], &urls[2]]);
    run.expect(&[("responses", 6), ("opened", 1), ("body_bytes", 24)]);
}

#[test]
fn heads_alone_have_no_bodies() {
    const SCRIPT: &[Good] = &[
        ("/length", "HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n", false),
        ("/chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false),
        ("/none", "HTTP/1.1 200 OK\r\n\r\n", false),
    ];
    let server = scripted(SCRIPT);
    let urls: Vec<String> = SCRIPT.iter().map(|line| server.url(line.0)).collect();
    let run = fetch(&["-I", "-c", "1", "-n", "3", &urls[0], &urls[1], &urls[2]]);
    run.expect(&[("responses", 9), ("opened", 1), ("body_bytes", 0)]);
}

#[test]
fn bad_responses_fail_alone_with_a_message_and_their_connection_is_not_kept() {
    const LONG: &str = "a very long line";
    const CASES: &[(&str, &str, bool, &str)] = &[
        ("/garbage", "220 smtp ready\r\n\r\n", false, "not an HTTP/1 response"),
        ("/status", "HTTP/1.1 abc OK\r\n\r\n", false, "malformed status line"),
        ("/version", "HTTP/3.0 200 OK\r\n\r\n", false, "unsupported HTTP version"),
        ("/number", "HTTP/1.1 200 OK\r\nContent-Length: 4x\r\n\r\nbody", false, "malformed Content-Length"),
        (
            "/lengths",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody",
            false,
            "more than one Content-Length",
        ),
        (
            "/both",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            false,
            "both Content-Length and Transfer-Encoding",
        ),
        ("/coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", false, "Transfer-Encoding"),
        ("/chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false, "malformed chunk size"),
        ("/folded", "HTTP/1.1 200 OK\r\n A: b\r\n\r\n", false, "folding"),
        ("/switched", "HTTP/1.1 101 Switching Protocols\r\n\r\n", false, "another protocol"),
        ("/long", LONG, false, "the head is too long"),
        ("/short", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody", true, "in the middle of a body: 5 bytes short"),
        (
            "/short-chunk",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n",
            true,
            "in the middle of a body",
        ),
        ("/short-head", "HTTP/1.1 200 OK\r\nContent-Le", true, "in the middle of a head"),
        ("/only-interim", "HTTP/1.1 100 Continue\r\n\r\n", true, "in the middle of a head"),
        ("/nothing", "", true, "closed before the response"),
    ];
    let server = Server::start(|client, _| {
        while let Some(path) = client.request()? {
            let Some((_, text, close, _)) = CASES.iter().find(|case| case.0 == path) else {
                client.answer("good")?;
                continue;
            };
            match *text == LONG {
                true => client.say(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(65 * 1024)))?,
                false => client.say(text)?,
            }
            if *close {
                return Ok(());
            }
        }
        Ok(())
    });
    let good = server.url("/good");
    for (path, _, _, message) in CASES {
        let bodies = TempDir::new("bad");
        // Each is the first one on its connection, so that none is repeated.
        let run = fetch(&["-c", "1", "--output", bodies.path(), &server.url(path), &good, &good]);
        run.expect(&[("responses", 2), ("failed", 1), ("retried", 0), ("opened", 2), ("reused", 1), ("kept", 1)]);
        let expected = format!("{}: {}: ", server.url(path), &server.url("")["http://".len()..]);
        let line = run.err.lines().find(|line| line.contains(&expected)).unwrap_or_else(|| panic!("{}", run.err));
        assert!(line.contains(message), "{path}: {line}");
        assert_eq!(bodies.read(0), None, "{path}: half a body is left");
        assert_eq!(bodies.read(1).as_deref(), Some(&b"good"[..]));
    }
}

#[test]
fn what_comes_after_a_response_is_never_taken_for_the_next_one() {
    let poison = response("", "poison");
    let poisonous = poison.clone();
    let at_once = Server::start(move |client, _| {
        while let Some(path) = client.request()? {
            client.say(response("", &path) + &poisonous)?;
        }
        Ok(())
    });
    let bodies = TempDir::new("poison");
    let urls: Vec<String> = (0..20).map(|k| at_once.url(&format!("/{k}"))).collect();
    let mut args = vec!["-c", "1", "--output", bodies.path()];
    args.extend(urls.iter().map(String::as_str));
    fetch(&args).expect(&[("responses", 20), ("failed", 0), ("opened", 20), ("reused", 0), ("kept", 0)]);
    for k in 0..20 {
        assert_eq!(bodies.read(k), Some(format!("/{k}").into_bytes()));
    }
    assert_eq!(at_once.requests(), [1; 20]);

    // Later, when the connection is inactive: the client is there to see it.
    let later = Server::start(move |client, _| {
        client.request()?;
        client.answer("first")?;
        while client.waiting() == 0 && client.say(&poison).is_ok() {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    });
    let run = fetch(&["--linger", "60", &later.url("/")]);
    run.expect(&[("responses", 1), ("opened", 1), ("kept", 0), ("body_bytes", 5)]);
}

#[test]
fn a_body_announced_where_none_can_be_is_never_taken_for_the_next_response() {
    let poison = response("", "poison");
    let server = Server::start(move |client, _| {
        client.request()?;
        client.say(format!("HTTP/1.1 204 No Content\r\nContent-Length: {}\r\n\r\n", poison.len()))?;
        // Comes only when the next request is on its way: no look at the connection can find it before.
        while client.request()?.is_some() {
            client.say(&poison)?;
        }
        Ok(())
    });
    let run = fetch(&["-c", "1", "-n", "2", &server.url("/")]);
    run.expect(&[("responses", 2), ("opened", 2), ("reused", 0), ("kept", 0), ("body_bytes", 0)]);
}

#[test]
fn heads_and_bodies_may_be_split_at_any_byte() {
    const MESSAGES: [&str; 2] = [
        "HTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
         2;x\r\nbo\r\n2\r\ndy\r\n0\r\nT: t\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nKeep-Alive: timeout=60\r\n\r\nbody",
    ];
    for message in MESSAGES {
        // The k-th response is split behind its k-th byte; the last one comes byte by byte.
        let server = Server::start(move |client, _| {
            for at in 1..message.len() {
                client.request()?;
                client.say(&message[..at])?;
                thread::sleep(Duration::from_millis(1)); // so that the client mostly sees two pieces
                client.say(&message[at..])?;
            }
            client.request()?;
            for byte in message.bytes() {
                client.say([byte])?;
                thread::sleep(Duration::from_micros(200));
            }
            client.request()?;
            Ok(())
        });
        let n = message.len();
        let run = fetch(&["-c", "1", "-n", &n.to_string(), &server.url("/")]);
        run.expect(&[("responses", n as u64), ("opened", 1), ("retried", 0), ("body_bytes", 4 * n as u64)]);
    }
}

#[test]
fn large_bodies_pass_through_unchanged() {
    const BLOCK: usize = 1 << 16;
    let server = Server::start(|client, _| {
        while let Some(path) = client.request()? {
            let blocks: usize = path[1..].parse().unwrap();
            client.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", blocks * BLOCK))?;
            for block in 0..blocks {
                client.say([block as u8; BLOCK])?;
            }
        }
        Ok(())
    });
    let bodies = TempDir::new("large");
    let urls = [server.url("/300"), server.url("/1"), server.url("/100")];
    let run = fetch(&["-c", "2", "--output", bodies.path(), &urls[0], &urls[1], &urls[2]]);
    run.expect(&[("responses", 3), ("failed", 0), ("opened", 2), ("body_bytes", 401 * BLOCK as u64)]);
    for (place, blocks) in [300, 1, 100].into_iter().enumerate() {
        let body = bodies.read(place).unwrap();
        assert_eq!(body.len(), blocks * BLOCK);
        assert!(body.chunks(BLOCK).enumerate().all(|(k, block)| block == [k as u8; BLOCK]), "{place}");
    }
}
