//! Whom to believe that it is who it says: the part of the TLS settings that tells channel bindings apart.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Whose certificates are accepted.
///
/// Two of these are equal if they accept the same, so that an [`Interner`](conncache::Interner) makes them channel
/// bindings: a connection that was opened believing anybody is never found by those who don't. (Connections without
/// TLS need a binding of their own: `Option<Trust>` gives it.) There is no `Debug`, like for all that is behind a
/// channel binding.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Trust {
    /// The authorities that browsers trust, as compiled in.
    WebRoots,
    /// These authorities and no others: the content of a PEM file. A server's own self-signed certificate may be among
    /// them, if it isn't marked as an authority's: `openssl req -x509` does that unless told otherwise by
    /// `-addext basicConstraints=critical,CA:FALSE`.
    Authorities(Vec<u8>),
    /// **Anybody at all.** Whoever sits on the way can read and change everything, and nothing will tell. Only the
    /// time to find out why a certificate is refused is a time for it.
    Anybody,
}

impl Trust {
    /// The TLS configuration for it. Make one for each channel binding, and keep it: it has the store
    /// of the sessions that later connections resume.
    ///
    /// # Errors
    ///
    /// The PEM can't be read, or has no certificate that can be an authority's.
    pub fn config(&self) -> io::Result<Arc<ClientConfig>> {
        let provider = Arc::new(ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let builder = match self {
            Trust::WebRoots => {
                builder.with_root_certificates(RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()))
            }
            Trust::Authorities(pem) => builder.with_root_certificates(authorities(pem)?),
            Trust::Anybody => builder.dangerous().with_custom_certificate_verifier(Arc::new(Gullible(algorithms))),
        };
        Ok(Arc::new(builder.with_no_client_auth()))
    }
}

fn authorities(pem: &[u8]) -> io::Result<RootCertStore> {
    let invalid = |why: String| io::Error::new(ErrorKind::InvalidData, format!("the authorities' certificates: {why}"));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| invalid(error.to_string()))?;
        roots.add(certificate).map_err(|error| invalid(error.to_string()))?;
    }
    if roots.is_empty() { Err(invalid("there is none in the file".to_owned())) } else { Ok(roots) }
}

/// Believes every certificate. What it does check is that the server has the key to the one it shows.
#[derive(Debug)]
struct Gullible(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
