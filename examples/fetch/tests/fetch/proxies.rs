//! Through proxies: in absolute form, by CONNECT, by SOCKS5.

use crate::program::{FEW, Run, TempDir, fetch};
use crate::proxy::{http_proxy, socks5, socks5_greeting, socks5_target};
use crate::server::{Client, Server};
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use testing::nobody::refusing;

/// A name that only a proxy can know.
const NAME: &str = "http://name.invalid";

/// The options for each way through this machine's proxies to a server, and the proxy.
fn ways(to: SocketAddr, user: &str, most: usize) -> Vec<(Vec<String>, Server)> {
    let (absolute, connect, socks) = (http_proxy(to, most), http_proxy(to, most), socks5(to));
    let option = |name: &str, value: String| vec![name.to_owned(), value];
    let mut tunnel = option("--proxy", format!("http://{user}{}", connect.address()));
    tunnel.push("--tunnel".into());
    vec![
        (option("--proxy", format!("http://{user}{}", absolute.address())), absolute),
        (tunnel, connect),
        (option("--socks5", format!("{user}{}", socks.address())), socks),
    ]
}

fn fetch_by(way: &[String], args: &[&str]) -> Run {
    let mut all: Vec<&str> = way.iter().map(String::as_str).collect();
    all.extend(args);
    fetch(&all)
}

#[test]
fn two_hundred_bodies_come_by_few_connections_through_every_kind_of_proxy() {
    let server = Server::start(|client, _| client.echo(5));
    let urls: Vec<String> = (0..100).map(|k| format!("{NAME}/{k}")).collect();
    for user in ["", "anna:secret@"] {
        for (way, proxy) in ways(server.address(), user, 5) {
            let bodies = TempDir::new("proxies");
            let mut args = vec!["-q", "-c", "3", "-n", "2", "--output", bodies.path()];
            args.extend(urls.iter().map(String::as_str));
            let run = fetch_by(&way, &args);
            run.expect(&[("responses", 200), ("failed", 0), ("handshakes_full", 0)]);
            let opened = run.report().number("opened");
            assert!(FEW.contains(&opened), "{way:?}: {opened} opened");
            assert_eq!(opened as usize, proxy.requests().len(), "{way:?}");
            // A proxy that gets the whole URL repeats it.
            let whole = if way.len() == 2 && way[0] == "--proxy" { NAME } else { "" };
            for k in 0..200 {
                assert_eq!(bodies.read(k), Some(format!("{whole}/{}", k % 100).into_bytes()), "{way:?}");
            }
        }
    }
}

#[test]
fn a_proxy_for_any_server_gets_absolute_urls_and_one_connection_serves_several_servers() {
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let proxy = http_proxy(nowhere, 100);
    let option = format!("http://an%3Cna:pass%20word%25@{}/", proxy.address());
    let urls = ["http://One.invalid:80?q#f", "http://two.invalid:81/x", "http://[::0]/y"];
    let run = fetch(&["-c", "1", "--proxy", &option, urls[0], urls[1], urls[2]]);
    run.expect(&[("responses", 3), ("opened", 1), ("reused", 2)]);
    let heads = proxy.heads().concat();
    for (head, (url, host)) in heads.iter().zip([
        ("http://one.invalid/?q", "one.invalid"),
        ("http://two.invalid:81/x", "two.invalid:81"),
        ("http://[::0]/y", "[::0]"),
    ]) {
        assert!(head.starts_with(&format!("GET {url} HTTP/1.1\r\nHost: {host}\r\n")), "{head}");
        // an<na:pass word%
        assert!(head.contains("\r\nProxy-Authorization: Basic YW48bmE6cGFzcyB3b3JkJQ==\r\n"), "{head}");
    }
}

#[test]
fn the_tunnels_far_end_gets_no_word_for_the_proxy() {
    let server = Server::start(|client, _| client.echo(100));
    for (way, proxy) in ways(server.address(), "anna:secret@", 100).into_iter().skip(1) {
        fetch_by(&way, &["-c", "1", "-n", "3", &format!("{NAME}/x")]).expect(&[("responses", 3), ("opened", 1)]);
        let heads = server.heads().concat();
        assert!(
            heads.iter().all(|head| head.starts_with("GET /x HTTP/1.1\r\nHost: name.invalid\r\nUser")),
            "{heads:?}"
        );
        let [said] = &proxy.heads().concat()[..] else { panic!() };
        match said.starts_with("CONNECT") {
            true => {
                assert!(said.starts_with("CONNECT name.invalid:80 HTTP/1.1\r\nHost: name.invalid:80\r\n"), "{said}")
            }
            false => assert_eq!(said, "anna:secret@name.invalid:80"),
        }
    }
}

#[test]
fn two_users_of_one_proxy_never_share_a_connection() {
    let server = Server::start(|client, _| client.echo(100));
    for (way, proxy) in ways(server.address(), "anna:secret@", 100) {
        let bert = way[1].replace("anna", "bert");
        let nobody = way[1].replace("anna:secret@", "");
        let url = format!("{NAME}/");
        // So few that each of them is done before it has to make room for the next one.
        let args = ["-c", "1", "-n", "4", &url, &way[0], &bert, &url, &way[0], &nobody, &url];
        fetch_by(&way, &args).expect(&[("responses", 12), ("opened", 3), ("reused", 9), ("evicted.made_room", 2)]);
        // All that came by a connection shows the same user.
        let mut users = BTreeSet::new();
        for heads in proxy.heads() {
            let user = |head: &String| match head.split_once("Proxy-Authorization: ") {
                Some((_, rest)) => rest.split("\r\n").next().unwrap().to_owned(),
                None => head.split('@').next().unwrap().chars().take_while(|c| *c != ' ').collect(),
            };
            let of_connection: BTreeSet<String> = heads.iter().map(user).collect();
            assert_eq!(of_connection.len(), 1, "{heads:?}");
            users.extend(of_connection);
        }
        assert_eq!(users.len(), 3, "{users:?}");
    }
}

#[test]
fn a_reused_tunnel_that_dies_before_the_response_is_replaced_by_a_new_one() {
    let server = Server::start(|client, number| {
        client.echo(1)?;
        if number % 2 == 0 {
            client.request()?;
            return Ok(()); // read, and closed without a byte
        }
        client.echo(100)
    });
    for (way, _proxy) in ways(server.address(), "", 100).into_iter().skip(1) {
        let run = fetch_by(&way, &["-c", "1", "-n", "3", &format!("{NAME}/")]);
        run.expect(&[("responses", 3), ("failed", 0), ("retried", 1), ("opened", 2), ("reused", 1)]);
    }
}

/// Fetches through a proxy that behaves so; the message has to have all of this in it.
#[track_caller]
fn fails(option: &str, user: &str, serve: fn(&mut Client) -> io::Result<()>, expected: &[&str]) {
    fails_within("50", option, user, serve, expected);
}

/// The same with so many seconds for the handshake.
#[track_caller]
fn fails_within(time: &str, option: &str, user: &str, serve: fn(&mut Client) -> io::Result<()>, expected: &[&str]) {
    let proxy = Server::start(move |client, _| serve(client));
    let hop = match option {
        "--proxy" => format!("http proxy {}: ", proxy.address()),
        _ => format!("socks5 {}: ", proxy.address()),
    };
    let scheme = if option == "--proxy" { "http://" } else { "" };
    let value = format!("{scheme}{user}{}", proxy.address());
    let url = format!("{NAME}/");
    let run = fetch(&["--handshake-timeout", time, option, &value, "--tunnel", "-c", "1", "-n", "2", &url]);
    run.expect(&[("failed", 2), ("retried", 0), ("opened", 0), ("not_connected", 2)]);
    for line in run.err.lines() {
        assert!(line.starts_with(&format!("fetch: {url}: {hop}")), "{line}");
        assert!(expected.iter().all(|part| line.contains(part)), "{expected:?} in {line}");
    }
    assert_eq!(run.err.lines().count(), 2, "{}", run.err);
}

#[test]
fn a_refused_connect_names_the_proxy_and_what_it_answered() {
    let to = "no connection to name.invalid:80: ";
    fails(
        "--proxy",
        "",
        |c| answer(c, "407 Proxy Authentication Required"),
        &[to, "407 Proxy Authentication Required"],
    );
    fails("--proxy", "a:b@", |c| answer(c, "407 Who?"), &[to, "407 Who?"]);
    fails("--proxy", "", |c| answer(c, "403 Filtered"), &[to, "403 Filtered"]);
    fails("--proxy", "", |c| answer(c, "502 Bad Gateway"), &[to, "502 Bad Gateway"]);
    fails("--proxy", "", |c| c.request().map(|_| ()), &["closed", "waiting for the answer to CONNECT"]);
    fails("--proxy", "", |_| Ok(()), &["while waiting for the answer to CONNECT"]);
    fails("--proxy", "", |c| garbage(c, b"SSH-2.0-x\r\n"), &["does not answer in HTTP/1"]);
    fails("--proxy", "", |c| garbage(c, b"HTTP/1.1 abc\r\n\r\n"), &["malformed"]);
    fails("--proxy", "", |c| garbage(c, b"HTTP/1.1 200 OK\r\n\r\nx"), &["sent more than its answer"]);
    fails_within("2", "--proxy", "", silent, &["no answer within 2s, while waiting for the answer to CONNECT"]);
}

fn answer(client: &mut Client, status: &str) -> io::Result<()> {
    client.request()?;
    client.say(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"))
}

fn garbage(client: &mut Client, bytes: &[u8]) -> io::Result<()> {
    client.request()?;
    client.say(bytes)
}

fn silent(client: &mut Client) -> io::Result<()> {
    while client.receive()? > 0 {}
    Ok(())
}

#[test]
fn a_refused_socks5_connection_names_the_proxy_and_its_reply() {
    fn reply<const CODE: u8>(client: &mut Client) -> io::Result<()> {
        socks5_greeting(client)?;
        socks5_target(client)?;
        client.say([5, CODE, 0, 1, 0, 0, 0, 0, 0, 0])
    }
    let to = "no connection to name.invalid:80: ";
    let check = |serve, meaning| fails("--socks5", "", serve, &[to, meaning]);
    check(reply::<1>, "general failure (reply 1)");
    check(reply::<2>, "its rules forbid it (reply 2)");
    check(reply::<3>, "network unreachable (reply 3)");
    check(reply::<4>, "host unreachable (reply 4)");
    check(reply::<5>, "connection refused (reply 5)");
    check(reply::<6>, "time to live expired (reply 6)");
    check(reply::<7>, "does not know the command CONNECT (reply 7)");
    check(reply::<8>, "does not know this type of address (reply 8)");
    check(reply::<99>, "unknown reason (reply 99)");
}

#[test]
fn a_socks5_proxy_that_does_not_want_to_names_itself_too() {
    fn choose<const METHOD: u8>(client: &mut Client) -> io::Result<()> {
        client.receive()?;
        client.say([5, METHOD])?;
        silent(client)
    }
    fn refuse(client: &mut Client) -> io::Result<()> {
        client.receive()?;
        client.say([5, 2])?;
        client.receive()?;
        client.say([1, 1])
    }
    fn more(client: &mut Client) -> io::Result<()> {
        socks5_greeting(client)?;
        socks5_target(client)?;
        client.say([5, 0, 0, 1, 0, 0, 0, 0, 0, 0, b'!'])
    }
    fails("--socks5", "", choose::<255>, &["wants authentication, and there is none to offer"]);
    fails("--socks5", "a:b@", choose::<255>, &["accepts neither user name and password nor their absence"]);
    fails("--socks5", "", choose::<2>, &["chose authentication method 2, which was not offered"]);
    fails("--socks5", "a:b@", refuse, &["refused the user name and password (status 1)"]);
    fails("--socks5", "", |c| c.receive().and_then(|_| c.say("HTTP/1.1 400\r\n\r\n")), &["answered in version 72"]);
    fails("--socks5", "", |c| c.receive().map(|_| ()), &["closed during the handshake"]);
    fails("--socks5", "", more, &["sent more than its answer"]);
    let choice = "no answer within 2s, while waiting for the choice of an authentication method";
    fails_within("2", "--socks5", "", silent, &[choice]);
}

#[test]
fn credentials_that_can_not_be_sent_are_named_and_nobody_is_connected_to() {
    let proxy = Server::start(|client, _| silent(client));
    let address = proxy.address();
    let long = "x".repeat(256);
    for (option, value, why) in [
        ("--proxy", format!("http://a%0Ab:c@{address}"), "the user name has a control character in it"),
        ("--proxy", format!("http://a%3Ab:c@{address}"), "the user name has a colon in it"),
        ("--socks5", format!(":b@{address}"), "the user name is empty"),
        ("--socks5", format!("a:{long}@{address}"), "the password is longer than 255 bytes"),
    ] {
        for tunnel in [&["--tunnel"][..], &[]] {
            let run = fetch(&[tunnel, &[option, &value, &format!("{NAME}/")]].concat());
            run.expect(&[("failed", 1), ("opened", 0), ("not_connected", 0)]);
            assert!(
                run.err.ends_with(&format!(
                    " {address}: {why}
"
                )),
                "{}",
                run.err
            );
        }
    }
    assert_eq!(proxy.requests(), [0; 0]);
}

#[test]
fn a_proxy_that_is_not_there_is_named() {
    let (_socket, nobody) = refusing();
    for (way, _) in ways(nobody, "", 1) {
        let option = way[1].rsplit_once(':').unwrap().0.replace("127.0.0.1", "");
        let value = format!("{option}{nobody}");
        let mut way = way.clone();
        way[1] = value;
        let run = fetch_by(&way, &[&format!("{NAME}/")]);
        run.expect(&[("failed", 1), ("opened", 0)]);
        assert!(run.err.contains("can't connect to ") && run.err.contains(&format!("{nobody}: ")), "{}", run.err);
    }
    let run = fetch(&["--socks5", "proxy.invalid", &format!("{NAME}/")]);
    assert!(run.err.contains("can't resolve proxy.invalid: "), "{}", run.err);
}

#[test]
fn a_proxy_that_refuses_its_user_fails_the_request_and_names_itself() {
    let proxy = Server::start(|client, _| answer(client, "407 Who\u{e9}"));
    let run = fetch(&["--proxy", &format!("http://{}", proxy.address()), "-c", "1", "-n", "2", &format!("{NAME}/")]);
    run.expect(&[("failed", 2), ("retried", 0), ("opened", 2), ("evicted.closed", 2)]);
    assert!(run.err.contains(&format!(": http proxy {}: 407 Who\\xc3\\xa9\n", proxy.address())), "{}", run.err);
    // No other answer can be told from a server's, and a server's own is nobody's refusal.
    let proxy = Server::start(|client, _| answer(client, "403 Filtered"));
    let run = fetch(&["--proxy", &format!("http://{}", proxy.address()), &format!("{NAME}/")]);
    run.expect(&[("responses", 1)]);
    let server = Server::start(|client, _| answer(client, "407 Who?"));
    fetch(&[&server.url("/")]).expect(&[("responses", 1)]);
}
