//! What the user says, and what the program answers.

use crate::program::{PROGRAM, TempDir, fetch, run, start_fetch};
use crate::server::{Client, Server};
use std::io;
use std::process::Command;
use std::thread;
use std::time::Duration;

fn echo(client: &mut Client, _: usize) -> io::Result<()> {
    while let Some(path) = client.request()? {
        client.answer(&path)?;
    }
    Ok(())
}

#[test]
fn wrong_usage_names_the_option_and_the_value() {
    let url = "http://127.0.0.1:1/";
    for (args, option, value) in [
        (&["-n", "x", url][..], "-n", "\"x\""),
        (&["-n", "0", url], "-n", "\"0\""),
        (&["--repeat=-1", url], "--repeat", "\"-1\""),
        (&["-n", "18446744073709551615", url, url], "--repeat", "18446744073709551615"),
        (&["-n", "1537228672809129302"], "--repeat", "1537228672809129302"),
        (&["-n", "512409557603043101"], "--repeat", "512409557603043101"),
        (&["-c", "0", url], "-c", "\"0\""),
        (&["--connections", "1.5", url], "--connections", "\"1.5\""),
        (&["-p", "", url], "-p", "\"\""),
        (&["--cache", "lazy", url], "--cache", "\"lazy\""),
        (&["--report", "xml", url], "--report", "\"xml\""),
        (&["--output", "", url], "--output", "\"\""),
        (&["--unix", "", url], "--unix", "\"\""),
        (&["--timeout", "0", url], "--timeout", "\"0\""),
        (&["--timeout", "-1", url], "--timeout", "\"-1\""),
        (&["--timeout", "inf", url], "--timeout", "\"inf\""),
        (&["--linger", "1e400", url], "--linger", "\"1e400\""),
        (&["--idle-timeout", "soon", url], "--idle-timeout", "\"soon\""),
        (&["--max-lifetime", "99999999999999999999", url], "--max-lifetime", "\"99999999999999999999\""),
        (&["--max-inactive", "many", url], "--max-inactive", "\"many\""),
        (&["--max-inactive-per-peer", "x", url], "--max-inactive-per-peer", "\"x\""),
        (&["--max-uses", "4294967296", url], "--max-uses", "\"4294967296\""),
        (&["--sideways", url], "--sideways", ""),
        (&["-z", url], "-z", ""),
        (&[url, "-n"], "-n", ""),
        (&["--quiet=yes", url], "--quiet", "yes"),
        (&["--connect-timeout", "0", url], "--connect-timeout", "\"0\""),
        (&["--handshake-timeout", "never", url], "--handshake-timeout", "\"never\""),
        (&["--cacert", "/dev/null/none", url], "--cacert", "\"/dev/null/none\""),
        (&["--cacert", "/dev/null", url], "--cacert", "there is none in the file"),
        (&["--proxy", "127.0.0.1:1", url], "--proxy", "http://[USER:PASS@]HOST[:PORT]"),
        (&["--socks5", "a:b", url], "--socks5", "[USER:PASS@]HOST[:PORT]"),
        (&["--proxy", "http://127.0.0.1:1"], "--proxy", "needs a URL"),
        (&["-q", "--socks5", "127.0.0.1:1"], "--socks5", "needs a URL"),
        (&["--unix", "/dev/null"], "--unix", "needs a URL"),
        (&["--insecure"], "--insecure", "needs a URL"),
        (&["ftp://127.0.0.1/"], "URL", "ftp"),
        (&["127.0.0.1"], "URL", "127.0.0.1"),
        (&["http://"], "URL", "\"\""),
        (&["http://a b/"], "URL", "a b"),
        (&["http://a/b c"], "URL", "' '"),
        (&["http://a/b#\n200"], "URL", "'\\n'"),
        (&["http://a/\u{9b}m"], "URL", "'\\u{9b}'"),
        (&["http://256.0.0.1/"], "URL", "256.0.0.1"),
        (&["http://::1/"], "URL", "brackets"),
        (&["http://[::1/"], "URL", "bracket"),
        (&["http://[1.2.3.4]/"], "URL", "1.2.3.4"),
        (&["http://a:0/"], "URL", "\"0\""),
        (&["http://a:65536/"], "URL", "65536"),
        (&["http://a:/"], "URL", "\"\""),
        (&["http://user@a/"], "URL", "user name"),
    ] {
        let mut command = Command::new(PROGRAM);
        let run = run({
            command.args(args);
            command
        });
        assert_eq!(run.status, 2, "{args:?}: {}", run.err);
        assert!(run.err.contains(option) && run.err.contains(value), "{args:?}: {}", run.err);
        assert_eq!(run.out, "", "{args:?}");
    }
}

#[test]
fn the_exit_status_says_whether_every_request_got_a_response() {
    let server = Server::start(|client, _| {
        while let Some(path) = client.request()? {
            match path.as_str() {
                "/500" => client.say("HTTP/1.1 500 Oh no\r\nContent-Length: 0\r\n\r\n")?,
                _ => return Ok(()),
            }
        }
        Ok(())
    });
    // A response is a response, whatever it says.
    assert_eq!(fetch(&[&server.url("/500")]).status, 0);
    assert_eq!(fetch(&[&server.url("/500"), &server.url("/none")]).status, 1);
    let mut help = Command::new(PROGRAM);
    help.arg("--help");
    let help = run(help);
    assert_eq!(help.status, 0);
    assert!(help.out.contains("--max-inactive-per-peer"), "{}", help.out);
}

#[test]
fn each_response_has_its_line_in_order_of_completion_unless_it_is_to_be_quiet() {
    let server = Server::start(echo);
    let urls = [server.url("/a"), server.url("/b?c=d#e"), server.url("")];
    let run = fetch(&["-c", "1", "-n", "2", &urls[0], &urls[1], &urls[2]]);
    let lines: Vec<&str> = run.out.lines().collect();
    assert_eq!(lines.len(), 7, "{}", run.out);
    for (place, line) in lines[..6].iter().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let bytes = ["2", "6", "1"][place % 3];
        let way = if place == 0 { "new" } else { "reused" };
        assert_eq!((words[0], words[1], words[5], words[6]), ("200", bytes, way, urls[place % 3].as_str()), "{line}");
        words[3].parse::<f64>().unwrap();
    }
    let run = fetch(&["-q", "-n", "2", &urls[0]]);
    assert_eq!(run.out.lines().count(), 1, "{}", run.out);
    run.expect(&[("responses", 2)]);
}

#[test]
fn a_thousand_paths_get_their_own_bodies() {
    let server = Server::start(echo);
    let bodies = TempDir::new("thousand");
    let urls: Vec<String> = (0..1_000).map(|k| server.url(&format!("/path/{k}"))).collect();
    let mut args = vec!["-q", "-c", "8", "-n", "2", "--output", bodies.path()];
    args.extend(urls.iter().map(String::as_str));
    let run = fetch(&args);
    run.expect(&[("responses", 2_000), ("failed", 0), ("opened", 8), ("reused", 1_992), ("kept", 8)]);
    for k in 0..2_000 {
        assert_eq!(bodies.read(k), Some(format!("/path/{}", k % 1_000).into_bytes()));
    }
}

#[test]
fn several_servers_are_asked_at_once_and_have_their_own_connections() {
    let servers: Vec<Server> = (0..5).map(|_| Server::start(echo)).collect();
    let urls: Vec<String> = servers.iter().map(|server| server.url("/")).collect();
    let mut args = vec!["-q", "-c", "3", "-n", "30"];
    args.extend(urls.iter().map(String::as_str));
    fetch(&args).expect(&[("responses", 150), ("opened", 15), ("kept", 15)]);
    for server in servers {
        assert_eq!(server.requests().len(), 3);
        assert_eq!(server.requests().iter().sum::<usize>(), 30);
    }
}

#[test]
fn names_and_ipv6_addresses_lead_to_their_servers() {
    let server = Server::start(echo);
    let by_name = server.url("/").replace("127.0.0.1", "LocalHost");
    fetch(&["-n", "2", "-c", "1", &by_name]).expect(&[("responses", 2), ("opened", 1)]);
    // A connection belongs to the name, though the address is the same.
    fetch(&["-n", "2", "-c", "1", &by_name, &server.url("/")]).expect(&[
        ("responses", 4),
        ("opened", 2),
        ("reused", 2),
    ]);
    match Server::on("[::1]:0", echo) {
        Ok(server) => fetch(&[&server.url("/x")]).expect(&[("responses", 1), ("body_bytes", 2)]),
        Err(error) => eprintln!("no IPv6 on this machine: {error}"),
    }
}

#[test]
fn the_limits_reach_the_cache() {
    let server = Server::start(echo);
    let url = server.url("/");
    let checked = |options: &[&str], numbers: &[(&str, u64)]| {
        let mut args = vec!["-q", "-c", "4", "-n", "12", &url];
        args.extend(options);
        fetch(&args).expect(&[("responses", 12), ("failed", 0)]);
        fetch(&args).expect(numbers);
    };
    // These keep what a request waits for, and nothing after the last one.
    checked(&["--cache", "restrictive"], &[("opened", 4), ("evicted.policy", 4), ("kept", 0)]);
    checked(&["--max-inactive", "0"], &[("opened", 4), ("evicted.max_inactive", 4), ("kept", 0)]);
    checked(&["--max-inactive-per-peer", "0"], &[("opened", 4), ("evicted.max_inactive_per_peer", 4), ("kept", 0)]);
    checked(&["--max-uses", "0"], &[("opened", 12), ("evicted.max_uses", 12), ("probes", 0)]);
    checked(&["--max-uses", "1", "-c", "1"], &[("opened", 6), ("evicted.max_uses", 6)]);
    checked(&["--max-lifetime", "0"], &[("opened", 12), ("evicted.max_lifetime", 12)]);
    checked(&["--idle-timeout", "3", "--linger", "60"], &[("evicted.idle_timeout", 4), ("kept", 0)]);
}

#[test]
fn a_directory_that_can_not_be_is_an_error() {
    let server = Server::start(echo);
    let run = fetch(&["--output", "/dev/null/bodies", &server.url("/")]);
    assert_eq!(run.status, 1);
    assert!(run.err.contains("--output /dev/null/bodies: "), "{}", run.err);
}

/// Seconds. The demonstration's rounds, between which its connections are inactive, follow each other in less, on any
/// machine.
const LONG_IDLE: &str = "10";

#[test]
fn without_a_url_it_shows_reuse_and_both_kinds_of_eviction_and_ends() {
    let run = fetch(&["--idle-timeout", LONG_IDLE]);
    run.expect(&[("requests", 36), ("responses", 36), ("opened", 8), ("reused", 28), ("kept", 0)]);
    run.expect(&[("evicted.hung_up", 4), ("evicted.idle_timeout", 4)]);
    for shown in ["4 opened   8 reused", "0 opened  12 reused", "4 evicted: hung_up", "4 evicted: idle_timeout", "●○"]
    {
        assert!(run.out.contains(shown), "{shown} in {}", run.out);
    }
}

#[test]
fn without_a_url_heads_can_be_asked_for_and_bodies_kept() {
    let bodies = TempDir::new("demonstration");
    let dir = format!("{}/new", bodies.path());
    let numbers = [("responses", 36), ("opened", 8), ("reused", 28)];
    let heads = start_fetch(&["-q", "--idle-timeout", LONG_IDLE, "--head"]);
    fetch(&["-q", "--idle-timeout", LONG_IDLE, "--output", &dir]).expect(&numbers);
    assert_eq!(std::fs::read_to_string(format!("{dir}/35")).unwrap(), "This is /11.\n");
    heads.end().expect(&numbers);
}

#[test]
#[cfg(unix)]
fn who_has_seen_enough_gets_no_complaint() {
    let server = Server::start(echo);
    // Requests that aren't made any more have no response.
    for (args, status) in
        [(&["-n", "100", &server.url("/")][..], 1), (&["-q", &server.url("/")], 0), (&["-q"], 0), (&["--help"], 0)]
    {
        let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        drop(reader);
        let mut command = Command::new(PROGRAM);
        command.args(args).stdout(std::os::fd::OwnedFd::from(writer)).stderr(std::process::Stdio::piped());
        let done = command.spawn().unwrap().wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&done.stderr);
        assert_eq!((done.status.code(), err.as_ref()), (Some(status), ""), "{args:?}");
    }
}

#[test]
#[cfg(unix)]
fn responses_come_though_nobody_reads_the_messages() {
    let server = Server::start(echo);
    for (args, status, lines) in [
        (&["-v", "-n", "9", "--report", "json", &server.url("/")][..], 0, 10),
        (&["-q", "--report", "json", "http://127.0.0.1:1/"], 1, 1),
        (&["--output", "/dev/null/bodies", &server.url("/")], 1, 0),
        (&["--max-inactive", "many", &server.url("/")], 2, 0),
        (&["--sideways"], 2, 0),
    ] {
        let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        drop(reader);
        let mut command = Command::new(PROGRAM);
        command.args(args).stdout(std::process::Stdio::piped()).stderr(std::os::fd::OwnedFd::from(writer));
        let done = command.spawn().unwrap().wait_with_output().unwrap();
        let out = String::from_utf8(done.stdout).unwrap();
        assert_eq!((done.status.code(), out.lines().count()), (Some(status), lines), "{args:?}: {out}");
    }
}

#[test]
fn the_log_goes_to_standard_error() {
    let server = Server::start(echo);
    let run = fetch(&["-v", "-n", "2", "-c", "1", &server.url("/")]);
    run.expect(&[("responses", 2)]);
    for event in ["event=insert", "event=reuse", "event=leave"] {
        assert!(run.err.contains(event), "{event} in {}", run.err);
    }
}

/// On a terminal both kinds of output come together; what is shown for a while is taken away again.
#[test]
#[cfg(target_os = "linux")]
#[ignore = "needs script"]
fn a_terminal_shows_the_progress_of_a_long_run_below_the_lines() {
    let server = Server::start(|client, _| {
        client.request()?;
        client.answer("/1")?;
        client.request()?;
        client.say("HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n")?;
        for _ in 0..300 {
            client.say("x")?;
            thread::sleep(Duration::from_millis(10));
        }
        client.echo(1)
    });
    let on_terminal = |rest: &str| {
        let mut command = Command::new("script");
        let line = format!("{} -c 1 -n 3 {} {rest}", PROGRAM, server.url("/"));
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        let run = run(command);
        assert_eq!(run.status, 0, "{}", run.out);
        run.out
    };
    let progress = "\r\x1b[K1 of 3 requests, 0 failed; 1 connections opened, 2 bytes";
    let out = on_terminal("");
    let line = |bytes: u32| format!("200 {bytes:>9} B");
    let place = |text: &str| out.find(text).unwrap_or_else(|| panic!("{text:?} in {out:?}"));
    assert!(place(&line(2)) < place(progress), "{out:?}");
    assert!(place(progress) < place(&format!("{progress}\r\x1b[K{}", line(300))), "{out:?}");
    assert!(place("\r\x1b[K2 of 3 requests") < place(&format!("\r\x1b[K{}", line(1))), "{out:?}");
    let out = on_terminal("-q");
    assert!(out.contains(progress) && out.contains("\r\x1b[Krequests     3: "), "{out:?}");
    assert!(!on_terminal("2>&1 >/dev/null | cat").contains(" of 3 requests"));
}
