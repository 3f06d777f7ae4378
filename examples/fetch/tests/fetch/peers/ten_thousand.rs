//! Each kind of peer with each server.

use super::load::{REQUESTS, end_to_end, handshakes, ten_thousand};
use super::origin::Origin;
use super::proxies::{dante, microsocks, squid, tinyproxy};
use crate::program::fetch;
use std::collections::{BTreeMap, BTreeSet};
use testing::servers::stunnel;

#[test]
#[ignore = "needs nginx"]
fn direct_to_nginx() {
    let origin = Origin::start("peers-direct");
    let report = ten_thousand("Direct, nginx", &origin, &origin.url(), &[]);
    end_to_end(&origin, &report);
    handshakes(&report, false);
}

#[test]
#[ignore = "needs nginx"]
fn unix_to_nginx() {
    let origin = Origin::start("peers-unix");
    let report = ten_thousand("Unix, nginx", &origin, "http://localhost", &["--unix", &origin.socket()]);
    end_to_end(&origin, &report);
}

#[test]
#[ignore = "needs nginx"]
fn tls_1_3_to_nginx() {
    tls("TLSv1.3");
}

#[test]
#[ignore = "needs nginx"]
fn tls_1_2_to_nginx() {
    tls("TLSv1.2");
}

fn tls(version: &str) {
    let origin = Origin::with_tls(&format!("peers-{version}"), version);
    let name = format!("Direct with {version}, nginx");
    let report = ten_thousand(&name, &origin, &origin.https_url(), &["--cacert", &origin.trust()]);
    end_to_end(&origin, &report);
    handshakes(&report, true);
}

#[test]
#[ignore = "needs nginx and stunnel4"]
fn tls_to_stunnel() {
    let origin = Origin::start("peers-stunnel");
    let stunnel = stunnel(origin.certificate.path(), origin.nginx.address);
    let url = format!("https://localhost:{}", stunnel.address.port());
    let report = ten_thousand("Direct with TLS, stunnel", &origin, &url, &["--cacert", &origin.trust()]);
    end_to_end(&origin, &report);
    handshakes(&report, true);
}

#[test]
#[ignore = "needs nginx and squid"]
fn http_proxy_squid() {
    let origin = Origin::start("peers-squid");
    let proxy = squid("squid", true);
    let report = ten_thousand(
        "HttpProxy, squid",
        &origin,
        &origin.url(),
        &["--proxy", &format!("http://user:secret@{}", proxy.at())],
    );
    // Its connections to nginx are its own affair: those to it are in its own log.
    let log = proxy.squid_log(REQUESTS + 1);
    assert!(log.iter().all(|line| (line.user.as_str(), line.status) == ("user", 200)));
    let connections: BTreeSet<u16> = log.iter().map(|line| line.port).collect();
    assert_eq!(log.len(), REQUESTS + 1, "{report:?}");
    // A port may come again when its connection has been closed.
    assert!(connections.len() as f64 <= report.number("opened"), "{} ports; {report:?}", connections.len());
}

#[test]
#[ignore = "needs nginx and tinyproxy"]
fn http_proxy_tinyproxy() {
    let origin = Origin::start("peers-tinyproxy");
    let proxy = tinyproxy("tinyproxy", &[]);
    let report =
        ten_thousand("HttpProxy, tinyproxy", &origin, &origin.url(), &["--proxy", &format!("http://{}", proxy.at())]);
    // It serves one request on each connection, by one of its own.
    end_to_end(&origin, &report);
    assert_eq!(report.number("reused"), 0.0, "{report:?}");
}

#[test]
#[ignore = "needs nginx and squid"]
fn http_proxy_connect_squid() {
    let origin = Origin::start("peers-squid-tunnel");
    let proxy = squid("squid-tunnel", true);
    let at = format!("http://user:secret@{}", proxy.at());
    let report = ten_thousand("HttpProxyConnect, squid", &origin, &origin.url(), &["--proxy", &at, "--tunnel"]);
    end_to_end(&origin, &report);
}

#[test]
#[ignore = "needs nginx and squid"]
fn http_proxy_connect_squid_tls() {
    let origin = Origin::start("peers-squid-tls");
    let proxy = squid("squid-tls", true);
    let at = format!("http://user:secret@{}", proxy.at());
    let options = ["--proxy", &at, "--cacert", &origin.trust()];
    let report = ten_thousand("HttpProxyConnect with TLS, squid", &origin, &origin.https_url(), &options);
    end_to_end(&origin, &report);
    handshakes(&report, true);
}

#[test]
#[ignore = "needs nginx and tinyproxy"]
fn http_proxy_connect_tinyproxy() {
    let origin = Origin::start("peers-tinyproxy-tunnel");
    let proxy = tinyproxy("tinyproxy-tunnel", &[origin.nginx.address.port()]);
    let at = format!("http://{}", proxy.at());
    let report = ten_thousand("HttpProxyConnect, tinyproxy", &origin, &origin.url(), &["--proxy", &at, "--tunnel"]);
    end_to_end(&origin, &report);
}

#[test]
#[ignore = "needs nginx and tinyproxy"]
fn http_proxy_connect_tinyproxy_tls() {
    let origin = Origin::start("peers-tinyproxy-tls");
    let proxy = tinyproxy("tinyproxy-tls", &[origin.nginx.other.port()]);
    let at = format!("http://{}", proxy.at());
    let options = ["--proxy", &at, "--cacert", &origin.trust()];
    let report = ten_thousand("HttpProxyConnect with TLS, tinyproxy", &origin, &origin.https_url(), &options);
    end_to_end(&origin, &report);
    handshakes(&report, true);
}

#[test]
#[ignore = "needs nginx and microsocks"]
fn socks5_microsocks() {
    let origin = Origin::start("peers-microsocks");
    let proxy = microsocks(false);
    let at = proxy.address.to_string();
    let report = ten_thousand("Socks5, microsocks", &origin, &origin.url(), &["--socks5", &at]);
    end_to_end(&origin, &report);
}

#[test]
#[ignore = "needs nginx and microsocks"]
fn socks5_microsocks_with_a_password_and_tls() {
    let origin = Origin::start("peers-microsocks-tls");
    let proxy = microsocks(true);
    let at = format!("user:secret@{}", proxy.address);
    let options = ["--socks5", &at, "--cacert", &origin.trust()];
    let name = "Socks5 with a password and TLS, microsocks";
    let report = ten_thousand(name, &origin, &origin.https_url(), &options);
    end_to_end(&origin, &report);
    handshakes(&report, true);
}

#[test]
#[ignore = "needs nginx and dante-server"]
fn socks5_dante() {
    let origin = Origin::start("peers-dante");
    let proxy = dante("dante", false);
    let report = ten_thousand("Socks5, dante", &origin, &origin.url(), &["--socks5", &proxy.at()]);
    end_to_end(&origin, &report);
}

#[test]
#[ignore = "needs nginx, dante-server and root"]
fn socks5_dante_with_a_password() {
    let origin = Origin::start("peers-dante-user");
    let proxy = dante("dante-user", true);
    let at = format!("user:secret@{}", proxy.at());
    let report = ten_thousand("Socks5 with a password, dante", &origin, &origin.url(), &["--socks5", &at]);
    end_to_end(&origin, &report);
}

#[test]
#[ignore = "needs nginx and squid"]
fn two_users_of_a_proxy_share_no_connection() {
    let origin = Origin::start("peers-users");
    let proxy = squid("squid-users", true);
    let [one, other] = ["user", "other"].map(|user| format!("http://{user}:secret@{}", proxy.at()));
    let url = format!("{}/uri/x", origin.url());
    for tunnel in [&[][..], &["--tunnel"]] {
        let args = ["-q", "-n", "100", "-c", "4", "--proxy", &one, &url, "--proxy", &other, &url];
        let run = fetch(&[&args, tunnel].concat());
        run.expect(&[("requests", 200), ("responses", 200), ("failed", 0)]);
    }
    let mut users = BTreeMap::new();
    // A tunnel has one line, and the 34 or more of each user are reported when they close.
    for line in proxy.squid_log(200 + 2 * 34) {
        assert_eq!(users.entry(line.port).or_insert(line.user.clone()), &line.user, "both by port {}", line.port);
    }
    assert_eq!(users.into_values().collect::<BTreeSet<_>>().len(), 2);
}
