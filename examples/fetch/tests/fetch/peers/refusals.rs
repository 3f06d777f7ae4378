//! What servers refuse: the error names the hop and what it answered.

use super::origin::Origin;
use super::proxies::{dante, microsocks, squid, tinyproxy};
use crate::program::fetch;
use testing::servers::{stunnel, unused_address};

/// The only request fails; what is said of it has these words, and not the password.
#[track_caller]
fn fails(args: &[&str], words: &[&str]) {
    let run = fetch(args);
    run.expect(&[("requests", 1), ("responses", 0), ("failed", 1), ("kept", 0)]);
    assert_eq!(run.status, 1);
    println!("{}", run.err.trim_end());
    for word in words {
        assert!(run.err.contains(word), "{word} isn't in: {}", run.err);
    }
    assert!(!run.err.contains("secret") && !run.err.contains("wrong"), "{}", run.err);
}

#[test]
#[ignore = "needs nginx and squid"]
fn squid_refuses_wrong_credentials() {
    let origin = Origin::start("refusal-squid");
    let squid = squid("refusing-squid", true);
    let at = squid.at();
    for proxy in [format!("http://user:wrong@{at}"), format!("http://{at}")] {
        let words = [&*format!("proxy {at}"), "407 Proxy Authentication Required"];
        fails(&["--proxy", &proxy, "--tunnel", &origin.url()], &words);
        fails(&["--proxy", &proxy, &origin.https_url()], &words);
        fails(&["--proxy", &proxy, &origin.url()], &words);
    }
}

#[test]
#[ignore = "needs squid"]
fn squid_finds_a_port_closed() {
    let squid = squid("squid-closed", false);
    let (at, proxy, closed) = (squid.at(), format!("http://{}", squid.at()), unused_address());
    let words = [&*format!("proxy {at}"), &closed.to_string(), "503 Service Unavailable"];
    fails(&["--proxy", &proxy, "--tunnel", &format!("http://{closed}/")], &words);
}

#[test]
#[ignore = "needs nginx and tinyproxy"]
fn tinyproxy_forbids_tunnels_to_other_ports() {
    let origin = Origin::start("refusal-tinyproxy");
    let tinyproxy = tinyproxy("refusing-tinyproxy", &[origin.nginx.address.port()]);
    let (at, proxy) = (tinyproxy.at(), format!("http://{}", tinyproxy.at()));
    let port = origin.nginx.other.port();
    let words = [&*format!("proxy {at}"), &format!("localhost:{port}"), "403 Access violation"];
    fails(&["--proxy", &proxy, &origin.https_url()], &words);
}

#[test]
#[ignore = "needs tinyproxy"]
fn tinyproxy_finds_a_port_closed() {
    let closed = unused_address();
    let tinyproxy = tinyproxy("tinyproxy-closed", &[closed.port()]);
    let (at, proxy) = (tinyproxy.at(), format!("http://{}", tinyproxy.at()));
    let words = [&*format!("proxy {at}"), &closed.to_string(), "500 Unable to connect"];
    fails(&["--proxy", &proxy, "--tunnel", &format!("http://{closed}/")], &words);
}

#[test]
#[ignore = "needs nginx and microsocks"]
fn microsocks_refuses_wrong_credentials() {
    let origin = Origin::start("refusal-microsocks");
    let microsocks = microsocks(true);
    let hop = format!("socks5 {}", microsocks.address);
    for user in ["user:wrong@", "nobody:secret@"] {
        let proxy = format!("{user}{}", microsocks.address);
        fails(&["--socks5", &proxy, &origin.url()], &[&hop, "refused the user name and password"]);
    }
    let proxy = microsocks.address.to_string();
    fails(&["--socks5", &proxy, &origin.url()], &[&hop, "wants authentication"]);
}

#[test]
#[ignore = "needs microsocks and dante-server"]
fn socks5_proxies_find_a_port_closed() {
    let (microsocks, dante) = (microsocks(false), dante("dante-closed", false));
    for proxy in [microsocks.address.to_string(), dante.at()] {
        let closed = unused_address();
        let words = [&*format!("socks5 {proxy}"), &closed.to_string(), "connection refused (reply 5)"];
        fails(&["--socks5", &proxy, &format!("http://{closed}/")], &words);
    }
}

#[test]
#[ignore = "needs dante-server"]
fn dante_refuses_what_its_rules_forbid() {
    let dante = dante("dante-rules", false);
    let hop = format!("socks5 {}", dante.at());
    fails(&["--socks5", &dante.at(), "http://127.0.0.1:9/"], &[&hop, "its rules forbid it (reply 2)"]);
}

#[test]
#[ignore = "needs dante-server and root"]
fn dante_refuses_wrong_credentials_and_none() {
    let dante = dante("dante-users", true);
    let hop = format!("socks5 {}", dante.at());
    for user in ["user:wrong@", "nobody:secret@"] {
        let proxy = format!("{user}{}", dante.at());
        fails(&["--socks5", &proxy, "http://127.0.0.1:1/"], &[&hop, "refused the user name and password"]);
    }
    fails(&["--socks5", &dante.at(), "http://127.0.0.1:1/"], &[&hop, "wants authentication"]);
}

#[test]
#[ignore = "needs nginx and stunnel4"]
fn unknown_authorities_are_refused() {
    for version in ["TLSv1.3", "TLSv1.2"] {
        let origin = Origin::with_tls(&format!("refusal-{version}"), version);
        let other = Origin::start(&format!("refusal-other-{version}"));
        let stunnel = stunnel(origin.certificate.path(), origin.nginx.address);
        let words = ["tls with localhost", "issued by nobody who is trusted here"];
        for url in [origin.https_url(), format!("https://localhost:{}", stunnel.address.port())] {
            fails(&[&url], &words);
            fails(&["--cacert", &other.trust(), &url], &words);
            for trust in [&["--cacert", &origin.trust()][..], &["--insecure"]] {
                let run = fetch(&[&["-q", &format!("{url}/uri/x")], trust].concat());
                run.expect(&[("responses", 1), ("failed", 0), ("handshakes_full", 1), ("handshakes_resumed", 0)]);
            }
        }
    }
}

#[test]
#[ignore = "needs nginx"]
fn a_server_without_tls_is_named() {
    let origin = Origin::start("refusal-plain");
    let url = format!("https://localhost:{}", origin.nginx.address.port());
    fails(&["--insecure", &url], &["tls with localhost", "doesn't speak TLS"]);
}

#[test]
#[ignore = "needs nginx"]
fn nobody_at_the_first_hop_is_an_error_that_names_it() {
    let origin = Origin::start("refusal-nobody");
    let closed = unused_address().to_string();
    fails(&["--proxy", &format!("http://user:secret@{closed}"), &origin.url()], &[&closed, "refused"]);
    fails(&["--socks5", &format!("user:secret@{closed}"), &origin.url()], &[&closed, "refused"]);
    let nowhere = format!("{}/nowhere", origin.nginx.dir.path());
    fails(&["--unix", &nowhere, "http://localhost/"], &[&nowhere]);
}
