//! Several requests under way on one connection.

use crate::program::{Run, TempDir, fetch};
use crate::server::{Client, Server, response};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

/// Fetches /0 to /(n-1) over one connection at a time; each body has to be its own path.
#[track_caller]
fn fetch_all(server: &Server, n: usize, options: &[&str], numbers: &[(&str, u64)]) {
    let bodies = TempDir::new(&format!("pipeline-{}", thread::current().name().unwrap().replace("::", "-")));
    let urls: Vec<String> = (0..n).map(|k| server.url(&format!("/{k}"))).collect();
    let mut args = vec!["-v", "-c", "1", "--output", bodies.path()];
    args.extend(options);
    args.extend(urls.iter().map(String::as_str));
    let run = fetch(&args);
    run.expect(&[("responses", n as u64), ("failed", 0)]);
    run.expect(numbers);
    for k in 0..n {
        assert_eq!(bodies.read(k), Some(format!("/{k}").into_bytes()));
    }
    // As the log has it, there is never more than one connection, repeats or not.
    let mut open = 0;
    for line in run.err.lines() {
        open += i32::from(line.contains("event=insert")) - i32::from(line.contains("event=leave"));
        assert!(open <= 1, "{}", run.err);
    }
}

fn answer_one(client: &mut Client) -> io::Result<()> {
    match client.request()? {
        Some(path) => client.answer(&path),
        None => Ok(()),
    }
}

#[test]
fn as_many_requests_as_allowed_are_under_way_once_the_server_showed_persistence() {
    let server = Server::start(|client, _| {
        client.request()?;
        assert_eq!(client.waiting(), 0, "the first one goes alone");
        client.answer("/0")?;
        // Answers nothing until four are there: a client that sends fewer would wait for ever.
        while client.waiting() < 4 {
            if client.receive()? == 0 {
                return Ok(());
            }
        }
        assert_eq!(client.waiting(), 4);
        loop {
            answer_one(client)?;
        }
    });
    fetch_all(&server, 5, &["-p", "4"], &[("opened", 1), ("reused", 4), ("pipelined", 3), ("retried", 0)]);
}

/// The server answers nothing until all are there that it takes, and then says that it takes no more.
#[test]
fn no_more_requests_are_under_way_than_the_server_takes() {
    let server = Server::start(|client, _| {
        let Some(path) = client.request()? else { return Ok(()) };
        client.say(response("Keep-Alive: timeout=60, max=3\r\n", &path))?;
        while client.waiting() < 3 {
            if client.receive()? == 0 {
                return Ok(());
            }
        }
        for left in (0..3).rev() {
            let Some(path) = client.request()? else { return Ok(()) };
            client.say(response(&format!("Keep-Alive: max={left}\r\n"), &path))?;
        }
        while client.request()?.is_some() {}
        Ok(())
    });
    fetch_all(&server, 12, &["-p", "9"], &[("opened", 3), ("reused", 9), ("pipelined", 6), ("retried", 0)]);
    assert_eq!(server.requests(), [4; 3]);
}

#[test]
fn responses_that_come_together_or_in_pieces_go_to_their_requests() {
    let server = Server::start(|client, _| {
        answer_one(client)?;
        loop {
            let mut together = String::new();
            for _ in 0..client.waiting().max(1) {
                let Some(path) = client.request()? else { return Ok(()) };
                together += &response("", &path);
            }
            // Pieces that each end one response and begin the next, as a rule.
            for piece in together.as_bytes().chunks(29) {
                client.say(piece)?;
                thread::sleep(Duration::from_micros(300)); // so that the client mostly sees them one by one
            }
        }
    });
    fetch_all(&server, 60, &["-p", "7"], &[("opened", 1), ("retried", 0)]);
}

#[test]
fn http_1_0_gets_one_request_at_a_time() {
    let server = Server::start(|client, _| {
        while let Some(path) = client.request()? {
            assert_eq!(client.waiting(), 0);
            let length = path.len();
            client
                .say(format!("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: {length}\r\n\r\n{path}"))?;
        }
        Ok(())
    });
    fetch_all(&server, 10, &["-p", "4"], &[("opened", 1), ("pipelined", 0)]);
}

#[test]
fn an_announced_end_sends_the_rest_elsewhere_without_blame() {
    // Three responses per connection, the third one with `Connection: close`.
    let server = Server::start(|client, _| {
        for lines in ["", "", "Connection: close\r\n"] {
            let Some(path) = client.request()? else { return Ok(()) };
            client.say(response(lines, &path))?;
        }
        client.stream.shutdown(std::net::Shutdown::Write)?;
        while client.receive()? > 0 {} // so that nothing is lost by a reset
        Ok(())
    });
    fetch_all(&server, 30, &["-p", "8"], &[("opened", 10), ("retried", 0), ("evicted.closed", 10)]);
}

/// A server that closes when it finds more than one request at once, as some do.
#[test]
fn a_server_that_breaks_under_pipelining_is_remembered_and_gets_one_at_a_time() {
    let breaks = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&breaks);
    let server = Server::start(move |client, _| {
        loop {
            while client.waiting() == 0 {
                if client.receive()? == 0 {
                    return Ok(());
                }
            }
            if client.waiting() > 1 {
                count.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
            answer_one(client)?;
        }
    });
    fetch_all(&server, 40, &["-p", "4"], &[("retried", 4)]);
    assert_eq!(breaks.load(Ordering::SeqCst), 1);
}

/// A server that answers the first of the requests that it finds and forgets the others.
#[test]
fn a_server_that_loses_pipelined_requests_is_remembered_and_gets_one_at_a_time() {
    let server = Server::start(|client, _| {
        loop {
            answer_one(client)?;
            while client.waiting() > 0 {
                client.request()?;
            }
            if client.receive()? == 0 {
                return Ok(());
            }
        }
    });
    fetch_all(&server, 20, &["-p", "4", "--timeout", "20"], &[("retried", 3)]);
}

#[test]
fn a_connection_that_owes_an_answer_gets_no_further_request() {
    let server = Server::start(|client, number| {
        answer_one(client)?;
        while number == 0 && client.waiting() < 2 {
            client.receive()?;
        }
        answer_one(client)?;
        if number == 0 {
            // The second of the two stays unanswered.
            while client.request()?.is_some() {}
            return Ok(());
        }
        client.echo(9)
    });
    fetch_all(&server, 6, &["-p", "2", "--timeout", "12"], &[("retried", 1), ("opened", 2)]);
    let heads = server.heads();
    assert_eq!(heads[0].len(), 3, "{heads:?}");
}

/// The request is the first to be sent on the reused connection, or the second.
#[test]
fn a_request_whose_file_cannot_be_created_fails_alone_and_costs_no_connection() {
    let server = Server::start(|client, _| {
        while let Some(path) = client.request()? {
            client.answer(&path)?;
        }
        Ok(())
    });
    for k in [1, 2] {
        let bodies = TempDir::new(&format!("no-file-{k}"));
        std::fs::create_dir_all(format!("{}/{k}.part", bodies.path())).unwrap();
        let urls: Vec<String> = (0..5).map(|k| server.url(&format!("/{k}"))).collect();
        let mut args = vec!["-c", "1", "-p", "3", "--output", bodies.path()];
        args.extend(urls.iter().map(String::as_str));
        let run = fetch(&args);
        run.expect(&[("responses", 4), ("failed", 1), ("retried", 0), ("not_connected", 0)]);
        run.expect(&[("opened", 1), ("reused", 3), ("kept", 1)]);
        assert!(run.err.contains(&format!("/{k}: can't create {}/{k}: ", bodies.path())), "{}", run.err);
        for other in (0..5).filter(|&other| other != k) {
            assert_eq!(bodies.read(other), Some(format!("/{other}").into_bytes()));
        }
    }
}

#[test]
fn a_bad_response_fails_its_request_and_those_behind_it_are_answered() {
    let server = Server::start(|client, number| {
        answer_one(client)?;
        if number == 0 {
            while client.waiting() < 3 {
                client.receive()?;
            }
            client.request()?;
            client.say("HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n")?;
            return client.request().map(|_| ());
        }
        loop {
            answer_one(client)?;
        }
    });
    let urls: Vec<String> = (0..10).map(|k| server.url(&format!("/{k}"))).collect();
    let mut args = vec!["-c", "1", "-p", "3"];
    args.extend(urls.iter().map(String::as_str));
    let run = fetch(&args);
    run.expect(&[("responses", 9), ("failed", 1), ("retried", 2)]);
    assert!(run.err.contains("/1: ") && run.err.contains("malformed Content-Length"), "{}", run.err);
}

/// Serves with `serve`, fetches a path that is too long for the sockets to take `n` requests for it, all but the first
/// one pipelined, and only then lets the connections be closed.
#[track_caller]
fn fetch_long(n: usize, serve: impl Fn(&mut Client, usize) -> io::Result<()> + Send + Sync + 'static) -> Run {
    let (ended, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let server = Server::start(move |client, number| {
        serve(client, number)?;
        let _ = wait.lock().unwrap().recv_timeout(Duration::from_secs(60));
        Ok(())
    });
    let (url, n) = (server.url(&format!("/{}", "x".repeat(100_000))), n.to_string());
    let run = fetch(&["-q", "-c", "1", "-n", &n, "-p", &n, &url]);
    drop(ended);
    run
}

/// What is left of the requests would be the next one's beginning.
#[test]
fn a_connection_whose_requests_were_answered_unread_is_not_kept() {
    let run = fetch_long(301, |client, _| {
        answer_one(client)?;
        client.receive()?;
        client.say(response("", "early").repeat(300))
    });
    run.expect(&[("responses", 301), ("opened", 1), ("evicted.closed", 1), ("kept", 0)]);
}

/// (Elsewhere what came before a reset may be lost with it.)
#[test]
#[cfg(target_os = "linux")]
fn an_end_announced_while_requests_are_being_written_is_no_break_either() {
    let run = fetch_long(302, |client, number| {
        answer_one(client)?;
        client.receive()?;
        if number == 0 {
            client.say(response("Connection: close\r\n", "last"))?;
            // With so much unread, that resets the connection.
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        client.say(response("", "early").repeat(299))
    });
    run.expect(&[("responses", 302), ("retried", 0), ("opened", 2)]);
}
