//! Connections that end too early, and what becomes of the requests.

use crate::program::fetch;
use crate::server::{Client, Server, response};
use std::io;
use testing::nobody;

/// Answers so many requests.
fn answer(client: &mut Client, times: usize) -> io::Result<()> {
    for _ in 0..times {
        if client.request()?.is_some() {
            client.answer("good")?;
        }
    }
    Ok(())
}

#[test]
fn servers_that_close_after_a_few_requests_cost_connections_and_no_request() {
    let server = Server::start(|client, _| answer(client, 3));
    let run = fetch(&["-q", "-c", "2", "-n", "300", &server.url("/")]);
    run.expect(&[("responses", 300), ("failed", 0)]);
    let report = run.report();
    assert!(report.number("opened") >= 100.0 && report.number("reused") >= 150.0, "{report:?}");
    assert_eq!(report.number("opened") + report.number("reused"), 300.0, "{report:?}");
}

#[test]
fn a_reused_connection_that_dies_before_the_response_is_replaced_by_a_new_one() {
    let server = Server::start(|client, number| {
        answer(client, 1)?;
        if number == 0 {
            client.request()?;
            return Ok(()); // read, and closed without a byte
        }
        answer(client, 100)
    });
    let run = fetch(&["-c", "1", "-n", "3", &server.url("/")]);
    run.expect(&[("responses", 3), ("failed", 0), ("retried", 1), ("opened", 2), ("reused", 1)]);
    assert_eq!(server.requests(), [2, 2]);
    let ways: Vec<&str> = run.out.lines().filter_map(|line| line.split_whitespace().nth(5)).collect();
    assert_eq!(ways, ["new", "retried", "reused"], "{}", run.out);
}

/// A server may say so to an idle connection when it closes it, while the next request is on its way.
#[test]
fn a_request_that_crosses_a_408_on_a_reused_connection_is_repeated_on_a_new_one() {
    let answer = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let server = Server::start(move |client, number| {
        client.echo(usize::from(number < 2))?;
        client.request()?;
        client.say(answer)
    });
    let run = fetch(&["-c", "1", "-n", "3", &server.url("/")]);
    // The last one has a new connection, where it is the answer.
    run.expect(&[("responses", 3), ("failed", 0), ("retried", 2), ("opened", 3), ("reused", 0)]);
    let statuses: Vec<&str> = run.out.lines().filter_map(|line| line.split(' ').next()).take(3).collect();
    assert_eq!(statuses, ["200", "200", "408"]);
}

#[test]
fn a_repeated_request_passes_the_cache_by() {
    // Two connections get inactive. The requests after that are read and not answered on either of them.
    let server = Server::start(|client, number| {
        answer(client, 1)?;
        if number < 2 {
            client.request()?;
            return Ok(());
        }
        answer(client, 100)
    });
    let run = fetch(&["-c", "2", "-n", "40", &server.url("/")]);
    run.expect(&[("responses", 40), ("failed", 0)]);
    assert!(server.requests()[2..].iter().all(|&requests| requests >= 1), "{:?}", server.requests());
}

#[test]
fn a_request_is_repeated_once_and_not_twice() {
    let server = Server::start(|client, number| {
        answer(client, 1 - number.min(1))?;
        client.request()?;
        Ok(())
    });
    let run = fetch(&["-c", "1", "-n", "2", &server.url("/")]);
    run.expect(&[("responses", 1), ("failed", 1), ("retried", 1), ("opened", 2)]);
    assert_eq!(server.requests(), [2, 1]);
    assert!(run.err.contains("closed before the response"), "{}", run.err);
}

#[test]
fn a_request_whose_response_has_begun_is_not_repeated() {
    let server = Server::start(|client, _| {
        answer(client, 1)?;
        client.request()?;
        client.say("H")
    });
    let run = fetch(&["-c", "1", "-n", "2", &server.url("/")]);
    run.expect(&[("responses", 1), ("failed", 1), ("retried", 0), ("opened", 1)]);
    assert_eq!(server.requests(), [2]);
}

#[test]
fn a_reset_connection_is_as_dead_as_a_closed_one() {
    let server = Server::start(|client, number| {
        answer(client, 1)?;
        if number == 0 {
            client.request()?;
            return socket2::SockRef::from(&client.stream).set_linger(Some(std::time::Duration::ZERO));
        }
        answer(client, 100)
    });
    let run = fetch(&["-c", "1", "-n", "3", &server.url("/")]);
    run.expect(&[("responses", 3), ("failed", 0), ("retried", 1), ("opened", 2)]);
}

#[test]
fn the_servers_keep_alive_time_less_a_margin_is_the_connections_deadline() {
    let server = Server::start(|client, _| {
        while let Some(path) = client.request()? {
            client.say(response(&format!("Keep-Alive: timeout={}\r\n", &path[1..]), ""))?;
        }
        Ok(())
    });
    for last in ["/0", "/9,max=0"] {
        let run = fetch(&["-c", "1", "-n", "3", &server.url(last)]);
        run.expect(&[("responses", 3), ("opened", 3), ("evicted.closed", 3), ("kept", 0)]);
    }
    for long in ["/1000", "/18446744073709551615", "/18446744073709551616"] {
        fetch(&["-c", "1", "-n", "3", &server.url(long)]).expect(&[("responses", 3), ("opened", 1), ("kept", 1)]);
    }
    // Half a second or a whole one is left: the deadline comes while the client looks on.
    for short in ["/1", "/2"] {
        let run = fetch(&["--linger", "60", &server.url(short)]);
        run.expect(&[("responses", 1), ("evicted.deadline", 1), ("kept", 0)]);
    }
    // The last response counts.
    let run = fetch(&["-c", "1", "--linger", "1.5", &server.url("/2"), &server.url("/unknown")]);
    run.expect(&[("responses", 2), ("opened", 1), ("evicted.deadline", 0), ("kept", 1)]);
}

#[test]
fn a_server_that_is_silent_is_given_up_in_time() {
    let server = Server::start(|client, _| {
        match client.request()?.as_deref() {
            Some("/half") => client.say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody")?,
            Some("/good") => client.answer("good")?,
            _ => {}
        }
        client.request().map(|_| ())
    });
    let (silent, half, good) = (server.url("/silent"), server.url("/half"), server.url("/good"));
    // So long that what the server says comes in that time, on any machine.
    let run = fetch(&["--timeout", "10", "-c", "3", &silent, &half, &good]);
    run.expect(&[("responses", 1), ("failed", 2), ("retried", 0), ("opened", 3)]);
    assert!(run.err.contains("no response within 10s"), "{}", run.err);
    assert!(run.err.contains("not complete within 10s: status 200, 4 bytes"), "{}", run.err);
}

#[test]
fn a_connection_that_nobody_takes_is_an_error_that_names_the_address() {
    let (_socket, refusing) = nobody::refusing();
    let run = fetch(&["-n", "3", &format!("http://{refusing}/")]);
    run.expect(&[("failed", 3), ("opened", 0), ("not_connected", 3)]);
    assert_eq!(run.err.matches(&format!("can't connect to {refusing}: {refusing}: ")).count(), 3, "{}", run.err);
}

/// Runs the program with so many descriptors.
#[cfg(unix)]
fn fetch_with_descriptors(most: u32, args: &[&str]) -> crate::program::Run {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &format!("ulimit -n {most}; exec \"$0\" \"$@\"")]).arg(crate::program::PROGRAM);
    crate::program::run({
        command.args(["--report", "json", "-q"]).args(args);
        command
    })
}

/// Eight peers with four connections each are more than the descriptors allow: those that are inactive have to go.
#[test]
#[cfg(unix)]
fn when_descriptors_run_out_the_cache_gives_some_up_and_no_request_fails() {
    let servers: Vec<Server> = (0..8).map(|_| Server::start(|client, _| answer(client, 1_000))).collect();
    let urls: Vec<String> = servers.iter().map(|server| server.url("/")).collect();
    let mut args = vec!["-c", "4", "-n", "50"];
    args.extend(urls.iter().map(String::as_str));
    let run = fetch_with_descriptors(20, &args);
    run.expect(&[("responses", 400), ("failed", 0)]);
    let number = |key| run.report().number(key);
    assert!(number("evicted.shed") + number("evicted.made_room") > 0.0, "{}", run.out);
    // Each connection serves several requests before it makes room for another peer.
    assert!(number("reused") >= 200.0, "{}", run.out);
}

/// If they waited for a descriptor, a few at a time, this would take longer than any program is waited for.
#[test]
#[cfg(unix)]
fn a_peer_without_descriptors_for_more_connections_goes_on_with_those_it_has() {
    let server = Server::start(|client, _| client.echo(usize::MAX));
    let run = fetch_with_descriptors(12, &["-c", "50", "-n", "10000", &server.url("/")]);
    run.expect(&[("responses", 10_000), ("failed", 0), ("evicted.shed", 0)]);
}

#[test]
#[cfg(unix)]
fn bodies_get_their_files_though_descriptors_run_out() {
    let server = Server::start(|client, _| client.echo(usize::MAX));
    let bodies = crate::program::TempDir::new("descriptors");
    let urls: Vec<String> = (0..60).map(|k| server.url(&format!("/{k}"))).collect();
    let mut args = vec!["-c", "50", "-p", "3", "-n", "2", "--output", bodies.path()];
    args.extend(urls.iter().map(String::as_str));
    fetch_with_descriptors(20, &args).expect(&[("responses", 120), ("failed", 0)]);
    for k in 0..120 {
        assert_eq!(bodies.read(k), Some(format!("/{}", k % 60).into_bytes()));
    }
}
