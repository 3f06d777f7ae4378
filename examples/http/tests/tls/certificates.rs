//! Whose certificates are accepted.

use crate::support::*;
use http::tls::TlsConnection;
use http::trust::Trust;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, ServerConfig, ServerConnection, SupportedProtocolVersion};
use std::sync::Arc;
use testing::certificates::{Authority, HOST, server_config};

/// How a handshake with `host` fails.
fn failure(host: &str, config: &Arc<ClientConfig>, server: ServerConfig) -> String {
    let bed: Bed = Bed::new();
    let (client, socket) = bed.sockets();
    let mut client = TlsConnection::plain(client);
    client.start_tls(host, config).unwrap();
    let mut server = Server { socket, tls: ServerConnection::new(Arc::new(server)).unwrap() };
    let patience = Patience::new();
    loop {
        match client.handshake() {
            Ok(done) => assert!(!done, "it succeeded"),
            Err(error) => {
                // The server gets to know it, too.
                while server.receive().is_ok() {
                    patience.spend();
                }
                return error.to_string();
            }
        }
        server.shake_hands();
        patience.spend();
    }
}

#[test]
fn a_certificate_of_a_known_authority_is_accepted_in_each_version() {
    for version in [TLS13, TLS12] {
        let mut bed = Bed::new();
        let (id, mut server) = bed.open_to(bed.authority.server(version));
        server.send();
        bed.exchange(id, &mut server);
    }
}

#[test]
fn a_certificate_of_an_unknown_authority_is_refused() {
    let expected = "tls with localhost: its certificate was issued by nobody who is trusted here";
    for trust in [Trust::WebRoots, Authority::new().trust()] {
        assert_eq!(failure(HOST, &trust.config().unwrap(), Authority::new().server(TLS13)), expected);
    }
}

/// A self-signed certificate for [`HOST`], in PEM, and a server that shows it. `openssl req -x509` marks it as an
/// authority's.
fn self_signed(
    version: &'static SupportedProtocolVersion,
    marked: bool,
    change: impl Fn(&mut CertificateParams),
) -> (String, ServerConfig) {
    let mut params = CertificateParams::new([HOST.to_owned()]).unwrap();
    if marked {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    change(&mut params);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = PrivateKeyDer::try_from(issuer.key().serialize_der()).unwrap();
    (issuer.pem(), server_config(version, issuer.der().clone(), key))
}

#[test]
fn a_self_signed_certificate_is_accepted_by_those_who_were_given_it() {
    for (version, marked) in [(TLS13, false), (TLS13, true), (TLS12, true)] {
        let (pem, server) = self_signed(version, marked, |_| {});
        let given = format!("{}{pem}", Authority::new().pem());
        let bed: Bed = Bed::new();
        let config = Trust::Authorities(given.into_bytes()).config().unwrap();
        let (mut conn, mut far) = bed.connect(&config, &Arc::new(server));
        far.say(b"hello");
        hear(&mut conn, b"hello");
    }
}

#[test]
fn an_authority_s_own_certificate_is_refused_unless_it_is_the_given_one_and_good_for_the_name_and_time() {
    let config = |pem: String| Trust::Authorities(pem.into_bytes()).config().unwrap();
    let (_, server) = self_signed(TLS13, true, |_| {});
    let (another, _) = self_signed(TLS13, true, |_| {});
    let why = failure(HOST, &config(another), server);
    assert!(why.contains("it is accepted only if that very certificate is given as trusted"), "{why}");

    let (pem, server) = self_signed(TLS13, true, |_| {});
    let why = failure("other.example", &config(pem), server);
    assert!(why.contains("not valid for name"), "{why}");

    let (pem, server) = self_signed(TLS13, true, |params| params.not_after = rcgen::date_time_ymd(2001, 1, 1));
    let why = failure(HOST, &config(pem), server);
    assert!(why.contains("certificate expired"), "{why}");
}

#[test]
fn those_who_trust_anybody_accept_any_certificate_in_each_version() {
    for version in [TLS13, TLS12] {
        let bed: Bed = Bed::new();
        let mut params = CertificateParams::new(["elsewhere.example".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        let server = Authority::new().server_with(version, params);
        let (mut conn, mut far) = bed.connect(&Trust::Anybody.config().unwrap(), &Arc::new(server));
        far.say(b"hello");
        hear(&mut conn, b"hello");
    }
}

#[test]
fn a_certificate_for_another_name_is_refused_and_both_names_are_told() {
    let authority = Authority::new();
    let why = failure("other.example", &authority.trust().config().unwrap(), authority.server(TLS13));
    for part in ["tls with other.example: ", "not valid for name \"other.example\"", "\"localhost\""] {
        assert!(why.contains(part), "{why}");
    }
}

#[test]
fn a_certificate_out_of_date_is_refused_with_its_date() {
    let authority = Authority::new();
    let mut params = CertificateParams::new([HOST.to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let server = authority.server_with(TLS13, params);
    let why = failure(HOST, &authority.trust().config().unwrap(), server);
    assert!(why.contains("certificate expired") && why.contains("978307200"), "{why}");
}

#[test]
fn a_file_without_authorities_is_refused() {
    let (_, key) = Authority::new().issue();
    let broken = Authority::new().pem().replace("MII", "???");
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
    for pem in [String::new(), "hello".to_owned(), key, broken, no_certificate] {
        let error = Trust::Authorities(pem.clone().into_bytes()).config().err().map(|error| error.to_string());
        assert!(
            error.as_ref().is_some_and(|error| error.starts_with("the authorities' certificates: ")),
            "{error:?}: {pem}"
        );
    }
}
