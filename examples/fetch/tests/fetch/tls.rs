//! https: whom it believes, what it resumes, and how its connections end.

use crate::program::{FEW, TempDir, fetch};
use crate::proxy::{http_proxy, socks5};
use crate::server::{Client, Server, Tls};
use rcgen::CertificateParams;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use testing::certificates::Authority;

/// An authority, and where its certificate lies.
struct Bed {
    authority: Authority,
    dir: TempDir,
    pem: String,
}

impl Bed {
    fn new(name: &str) -> Bed {
        let (authority, dir) = (Authority::new(), TempDir::new(name));
        std::fs::create_dir_all(dir.path()).unwrap();
        let pem = format!("{}/authority.pem", dir.path());
        std::fs::write(&pem, authority.pem()).unwrap();
        Bed { authority, dir, pem }
    }

    fn config(&self, version: &'static SupportedProtocolVersion) -> ServerConfig {
        let names = ["localhost", "127.0.0.1", "name.invalid"].map(str::to_owned);
        self.authority.server_with(version, CertificateParams::new(names).unwrap())
    }

    fn server(&self, serve: impl Fn(&mut Client<Tls>, usize) -> io::Result<()> + Send + Sync + 'static) -> Server {
        Server::start_tls(self.config(&TLS13), serve)
    }
}

#[test]
fn bodies_come_by_few_connections_whose_sessions_are_resumed() {
    for version in [&TLS13, &TLS12] {
        let bed = Bed::new("tls");
        let server = Server::start_tls(bed.config(version), |client, _| client.echo(5));
        let bodies = format!("{}/bodies", bed.dir.path());
        let urls: Vec<String> = (0..100).map(|k| server.url(&format!("/{k}"))).collect();
        let mut args = vec!["-q", "-c", "3", "-n", "2", "--cacert", &bed.pem, "--output", &bodies];
        args.extend(urls.iter().map(String::as_str));
        let run = fetch(&args);
        run.expect(&[("responses", 200), ("failed", 0)]);
        let report = run.report();
        let (full, resumed) = (report.number("handshakes_full"), report.number("handshakes_resumed"));
        assert_eq!(full + resumed, report.number("opened"), "{report:?}");
        // The first three begin before there is a ticket.
        assert!(FEW.contains(&(full + resumed)) && (1.0..=3.0).contains(&full), "{report:?}");
        for k in 0..200 {
            assert_eq!(bed.dir.read(format!("bodies/{k}")), Some(format!("/{}", k % 100).into_bytes()));
        }
    }
}

#[test]
fn tls_goes_through_tunnels_and_the_name_is_the_proxys_to_resolve() {
    let bed = Bed::new("tunnels");
    let server = bed.server(|client, _| client.echo(5));
    let (http, socks) = (http_proxy(server.address(), 1), socks5(server.address()));
    let url = "https://name.invalid/";
    let (http, socks) = (format!("http://anna:secret@{}", http.address()), format!("anna:secret@{}", socks.address()));
    for (option, value) in [("--proxy", &http), ("--socks5", &socks)] {
        let run = fetch(&["-q", "-c", "2", "-n", "200", "--cacert", &bed.pem, option, value, url]);
        run.expect(&[("responses", 200), ("failed", 0)]);
        let report = run.report();
        assert!(FEW.contains(&report.number("opened")), "{report:?}");
        assert!(report.number("handshakes_resumed") >= report.number("opened") - 2.0, "{report:?}");
        assert!(report.number("handshakes_full") >= 1.0, "{report:?}");
    }
}

#[test]
fn who_is_not_believed_gets_no_request_and_the_reason_can_be_read() {
    let (bed, other) = (Bed::new("believed"), Bed::new("not-believed"));
    let server = bed.server(|client, _| client.echo(5));
    let url = server.url("/");
    for (args, why) in [
        (&["--cacert", &other.pem][..], "its certificate was issued by nobody who is trusted here"),
        (&[], "its certificate was issued by nobody who is trusted here"),
    ] {
        let run = fetch(&[args, &["-n", "2", &url]].concat());
        run.expect(&[("failed", 2), ("opened", 0), ("not_connected", 2), ("handshakes_full", 0)]);
        assert!(run.err.contains(&format!("fetch: {url}: tls with 127.0.0.1: {why}")), "{}", run.err);
    }
    let elsewhere = url.replace("127.0.0.1", "127.0.0.2");
    let run = fetch(&["--cacert", &bed.pem, &elsewhere]);
    run.expect(&[("failed", 1)]);
    let all = server.heads().concat();
    assert!(all.is_empty(), "{all:?}");
    fetch(&["--insecure", "--cacert", &bed.pem, &url]).expect(&[("responses", 1), ("handshakes_full", 1)]);
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let bed = Bed::new("other-name");
    let config = bed.authority.server_with(&TLS13, CertificateParams::new(["other.test".to_owned()]).unwrap());
    let server = Server::start_tls(config, |client, _| client.echo(5));
    let run = fetch(&["--cacert", &bed.pem, &server.url("/")]);
    run.expect(&[("failed", 1), ("opened", 0)]);
    assert!(run.err.contains("tls with 127.0.0.1: ") && run.err.contains("not valid for"), "{}", run.err);
    fetch(&["--insecure", &server.url("/")]).expect(&[("responses", 1)]);
}

#[test]
fn different_trust_shares_neither_connections_nor_sessions() {
    let bed = Bed::new("trust");
    let server = bed.server(|client, _| client.echo(100));
    let url = server.url("/");
    // The unbelieved one is asked first, so that there is a connection which believing anybody has opened.
    // So few that the first connection isn't closed to make room before all have gone by it.
    let run = fetch(&["-c", "1", "-n", "5", "--insecure", &url, "--cacert", &bed.pem, &url]);
    run.expect(&[("responses", 10), ("opened", 2), ("handshakes_full", 2), ("handshakes_resumed", 0)]);
    assert_eq!(server.requests(), [5, 5]);
    let other = Bed::new("other-trust");
    let run = fetch(&["-c", "1", "-n", "5", "--insecure", &url, "--cacert", &other.pem, &url]);
    run.expect(&[("responses", 5), ("failed", 5), ("opened", 1), ("handshakes_resumed", 0)]);
}

#[test]
fn a_body_until_the_connections_end_needs_the_servers_word_for_it() {
    let bed = Bed::new("until-close");
    let server = bed.server(|client, _| {
        let Some(path) = client.request()? else { return Ok(()) };
        match path.as_str() {
            "/short" => client.say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody")?,
            _ => client.say("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbody")?,
        }
        client.stream.flush()?;
        match path.as_str() {
            "/said" => Ok(()),
            // Without close_notify.
            _ => client.stream.sock.shutdown(Shutdown::Both),
        }
    });
    fetch(&["--cacert", &bed.pem, &server.url("/said")]).expect(&[("responses", 1), ("body_bytes", 4)]);
    for path in ["/rude", "/short"] {
        let run = fetch(&["--cacert", &bed.pem, &server.url(path)]);
        run.expect(&[("failed", 1), ("opened", 1), ("retried", 0)]);
        assert!(run.err.contains("closed without saying so; data may be missing"), "{}", run.err);
    }
}

#[test]
fn a_reused_connection_that_dies_before_the_response_is_replaced_by_a_new_one() {
    let bed = Bed::new("dying");
    for rude in [false, true] {
        let server = bed.server(move |client, number| {
            client.echo(1)?;
            if number > 0 {
                return client.echo(100);
            }
            client.request()?;
            if rude { client.stream.sock.shutdown(Shutdown::Both) } else { Ok(()) }
        });
        let run = fetch(&["-c", "1", "-n", "3", "--cacert", &bed.pem, &server.url("/")]);
        run.expect(&[("responses", 3), ("failed", 0), ("retried", 1), ("opened", 2), ("handshakes_resumed", 1)]);
    }
}

#[test]
fn an_inactive_connection_goes_when_its_server_does_and_stays_when_tickets_come() {
    let bed = Bed::new("inactive");
    let server = bed.server(|client, _| {
        client.echo(1)?;
        client.stream.conn.refresh_traffic_keys().unwrap();
        client.stream.flush()
    });
    let run = fetch(&["--linger", "60", "--cacert", &bed.pem, &server.url("/")]);
    run.expect(&[("responses", 1), ("evicted.hung_up", 1), ("kept", 0)]);
    let server = bed.server(|client, _| {
        client.echo(1)?;
        client.say("more")?;
        client.request().map(|_| ())
    });
    let run = fetch(&["--linger", "60", "--cacert", &bed.pem, &server.url("/")]);
    run.expect(&[("responses", 1), ("opened", 1), ("kept", 0)]);
}

#[test]
fn a_handshake_that_fails_names_the_server_and_why() {
    let bed = Bed::new("handshakes");
    let closing = Server::start(|client, _| client.receive().map(|_| ()));
    let plain = Server::start(|client, _| {
        client.receive()?;
        client.say("HTTP/1.1 400 This is not TLS\r\n\r\n")
    });
    let silent = Server::start(|client, _| {
        while client.receive()? > 0 {}
        Ok(())
    });
    for (server, time, why) in [
        (&closing, "50", "closed during the handshake"),
        (&plain, "50", "it doesn't speak TLS"),
        (&silent, "2", "the handshake isn't over within 2s"),
    ] {
        let url = server.url("/").replace("http:", "https:");
        let run = fetch(&["--handshake-timeout", time, "--cacert", &bed.pem, "-n", "2", &url]);
        run.expect(&[("failed", 2), ("retried", 0), ("opened", 0), ("not_connected", 2)]);
        assert_eq!(run.err.matches(&format!("fetch: {url}: tls with 127.0.0.1: {why}")).count(), 2, "{}", run.err);
    }
    // The request's own time is over first.
    let url = silent.url("/").replace("http:", "https:");
    let run = fetch(&["--timeout", "0.5", "--cacert", &bed.pem, &url]);
    assert!(run.err.contains("the handshake isn't over within 500ms"), "{}", run.err);
}

/// More than the socket takes at once: TLS holds what it was given until there is room.
#[test]
fn pipelined_requests_of_six_megabytes_all_arrive() {
    const REQUESTS: usize = 100;
    let bed = Bed::new("megabytes");
    let server = bed.server(|client, _| {
        client.echo(1)?;
        let (mut buffer, mut unseen, mut left) = ([0; 4096], Vec::new(), REQUESTS - 1);
        while left > 0 {
            let n = client.stream.read(&mut buffer)?;
            unseen.extend_from_slice(&buffer[..n]);
            left -= unseen.windows(4).filter(|end| end == b"\r\n\r\n").count();
            // The end of a head may have begun.
            unseen.drain(..unseen.len().saturating_sub(3));
        }
        (1..REQUESTS).try_for_each(|k| client.answer(&k.to_string()))
    });
    let (bodies, requests) = (format!("{}/bodies", bed.dir.path()), REQUESTS.to_string());
    let url = server.url(&format!("/{}", "x".repeat(60_000)));
    let args = ["-q", "-c", "1", "-p", "99", "-n", &requests, "--output", &bodies, "--cacert", &bed.pem, &url];
    fetch(&args).expect(&[("responses", 100), ("failed", 0), ("opened", 1), ("pipelined", 98)]);
    for k in 1..REQUESTS {
        assert_eq!(bed.dir.read(format!("bodies/{k}")), Some(k.to_string().into_bytes()));
    }
}
