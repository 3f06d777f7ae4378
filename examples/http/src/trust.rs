//! Whom to believe that it is who it says: the part of the TLS settings that tells channel bindings apart.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

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
    /// These authorities and no others: the content of a PEM file. A server's own certificate may be among them, also one
    /// that is marked as an authority's, as `openssl req -x509` makes them.
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
            Trust::Authorities(pem) => {
                let given = Given::new(pem, Arc::clone(builder.crypto_provider()))?;
                builder.dangerous().with_custom_certificate_verifier(Arc::new(given))
            }
            Trust::Anybody => builder.dangerous().with_custom_certificate_verifier(Arc::new(Gullible(algorithms))),
        };
        Ok(Arc::new(builder.with_no_client_auth()))
    }
}

/// Believes these authorities. One of their own certificates, shown by a server, counts only if it is among them.
#[derive(Debug)]
struct Given {
    certificates: Vec<CertificateDer<'static>>,
    authorities: Arc<WebPkiServerVerifier>,
}

impl Given {
    fn new(pem: &[u8], provider: Arc<CryptoProvider>) -> io::Result<Given> {
        let invalid =
            |why: String| io::Error::new(ErrorKind::InvalidData, format!("the authorities' certificates: {why}"));
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let certificates = certificates.map_err(|error| invalid(error.to_string()))?;
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(|error| invalid(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(invalid("there is none in the file".to_owned()));
        }
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        Ok(Given { certificates, authorities: authorities.map_err(io::Error::other)? })
    }
}

impl ServerCertVerifier for Given {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.authorities.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            // The time was looked at before this; the name comes after it.
            Err(error) if is_authoritys_own(&error) && self.certificates.contains(certificate) => {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

/// Whether a certificate was refused because it is an authority's. Known by its name alone: its type is not rustls's own.
pub(crate) fn is_authoritys_own(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(CertificateError::Other(why)) = error else { return false };
    why.to_string().contains("CaUsedAsEndEntity")
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
