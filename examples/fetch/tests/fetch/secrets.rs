//! What nobody may read, and nobody does.

use crate::program::{PROGRAM, Run, fetch, run};
use crate::proxy::{http_proxy, socks5};
use crate::server::Server;
use std::process::Command;

const USER: &str = "annabelle";
const PASSWORD: &str = "hunter2hunter2";
/// Of `annabelle:hunter2hunter2`.
const ENCODED: &str = "YW5uYWJlbGxl";

#[track_caller]
fn is_discreet(run: &Run) {
    for secret in [USER, PASSWORD, ENCODED] {
        assert!(!run.out.contains(secret) && !run.err.contains(secret), "{secret} in {}{}", run.out, run.err);
    }
}

#[test]
fn user_names_and_passwords_are_neither_in_the_output_nor_in_the_log() {
    let server = Server::start(|client, _| client.echo(2));
    let refusing = Server::start(|client, _| {
        client.receive()?;
        client.say("HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
    });
    let (http, socks) = (http_proxy(server.address(), 2), socks5(server.address()));
    for (proxy, works) in [(&http, true), (&refusing, false)] {
        let value = format!("http://{USER}:{PASSWORD}@{}", proxy.address());
        let run = fetch(&["-v", "-n", "5", "--proxy", &value, "http://name.invalid/"]);
        is_discreet(&run);
        let run = fetch(&["-v", "-n", "5", "--tunnel", "--proxy", &value, "http://name.invalid/"]);
        is_discreet(&run);
        run.expect(&[if works { ("responses", 5) } else { ("failed", 5) }]);
    }
    assert!(http.heads().concat().iter().any(|head| head.contains(ENCODED)));
    for (proxy, works) in [(&socks, true), (&refusing, false)] {
        let value = format!("{USER}:{PASSWORD}@{}", proxy.address());
        let run = fetch(&["-v", "-n", "5", "--socks5", &value, "http://name.invalid/"]);
        is_discreet(&run);
        run.expect(&[if works { ("responses", 5) } else { ("failed", 5) }]);
    }
}

#[test]
fn wrong_usage_does_not_repeat_them() {
    for args in [
        [format!("--proxy=ftp://{USER}:{PASSWORD}@127.0.0.1:1"), "http://a/".to_owned()],
        [format!("--proxy=http://{USER}:{PASSWORD}"), "http://a/".to_owned()],
        [format!("--proxy=http://{USER}:{PASSWORD}@127.0.0.1:99999"), "http://a/".to_owned()],
        [format!("--proxy=http://{USER}:{PASSWORD}%zz@127.0.0.1:1"), "http://a/".to_owned()],
        [format!("--socks5={USER}:{PASSWORD}@"), "http://a/".to_owned()],
        [format!("--socks5={USER}:{PASSWORD}"), "http://a/".to_owned()],
        [format!("http://{USER}:{PASSWORD}@127.0.0.1/"), "http://a/".to_owned()],
        [format!("https://{USER}:{PASSWORD}@127.0.0.1/"), "http://a/".to_owned()],
        [format!("ftp://{USER}:{PASSWORD}@127.0.0.1/"), "http://a/".to_owned()],
    ] {
        let mut command = Command::new(PROGRAM);
        command.args(&args);
        let run = run(command);
        assert_eq!(run.status, 2, "{args:?}: {}", run.err);
        is_discreet(&run);
    }
}
