//! Certificates of the tests' own making.

use http::trust::Trust;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, SupportedProtocolVersion};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// What the servers are called.
pub const HOST: &str = "localhost";

/// An authority of the test's own.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    #[allow(clippy::new_without_default)] // No two are equal.
    pub fn new() -> Authority {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let mut params = CertificateParams::default();
        let name = format!("authority {}", MADE.fetch_add(1, Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn trust(&self) -> Trust {
        Trust::Authorities(self.pem().into_bytes())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for [`HOST`] and its key, in PEM.
    pub fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([HOST.to_owned(), "127.0.0.1".to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    /// The same as `cert.pem` and `key.pem` in this directory, which is made.
    pub fn issue_to(&self, dir: &str) {
        let (certificate, key) = self.issue();
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(format!("{dir}/cert.pem"), certificate).unwrap();
        std::fs::write(format!("{dir}/key.pem"), key).unwrap();
    }

    pub fn server(&self, version: &'static SupportedProtocolVersion) -> ServerConfig {
        self.server_with(version, CertificateParams::new([HOST.to_owned()]).unwrap())
    }

    pub fn server_with(&self, version: &'static SupportedProtocolVersion, params: CertificateParams) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        server_config(version, certificate.der().clone(), key)
    }
}

pub fn server_config(
    version: &'static SupportedProtocolVersion,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> ServerConfig {
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap()
}
