//! Whom to trust: the system's certificate authorities and those that the operator adds; on a machine without any, the
//! ones that are built in.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WantsClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};
use rustls_platform_verifier::Verifier;

use crate::identity::Identity;

/// Whom headroom trusts when it calls others. Clones are one: all of them trust others from the moment that one is told to.
#[derive(Debug, Clone)]
pub struct Trust {
    current: Arc<RwLock<Current>>,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
struct Current {
    extra_roots: Vec<CertificateDer<'static>>,
    verifier: Arc<dyn ServerCertVerifier>,
}

impl Trust {
    /// The system's certificate authorities, or the built-in ones where it has none, and these.
    ///
    /// # Errors
    ///
    /// One of these cannot be read; for people.
    pub fn new(extra_roots: &[CertificateDer<'static>]) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let current = Current::new(extra_roots, &provider)?;
        Ok(Self {
            current: Arc::new(RwLock::new(current)),
            provider,
        })
    }

    /// Puts others beside the system's authorities, which are read again too. Tells whether they are others than before.
    /// Connections that exist stay.
    ///
    /// # Errors
    ///
    /// As [`Self::new`]; then those from before hold.
    pub fn replace(&self, extra_roots: &[CertificateDer<'static>]) -> Result<bool, String> {
        let read = || self.current.read().unwrap_or_else(PoisonError::into_inner);
        if read().extra_roots == extra_roots {
            return Ok(false);
        }
        let next = Current::new(extra_roots, &self.provider)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(true)
    }

    /// The client side's TLS: certificates are verified, always, and by what is trusted at the time of the handshake. No
    /// handshake is cut short for it, as nothing would be verified again.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, String> {
        let mut config = self.config(Arc::new(self.clone()), None)?;
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    /// The same with what is trusted now, for clients that are made anew when that changes: handshakes may be cut short. Whoever
    /// wants to know is shown this identity.
    pub(super) fn client_config_as(
        &self,
        identity: Option<&Identity>,
    ) -> Result<ClientConfig, String> {
        self.config(self.verifier(), identity)
    }

    fn config(
        &self,
        verifier: Arc<dyn ServerCertVerifier>,
        identity: Option<&Identity>,
    ) -> Result<ClientConfig, String> {
        let builder = verified_by(verifier, Arc::clone(&self.provider))?;
        Ok(match identity {
            Some(identity) => {
                let shown = SingleCertAndKey::from(identity.certified());
                builder.with_client_cert_resolver(Arc::new(shown))
            }
            None => builder.with_no_client_auth(),
        })
    }

    fn verifier(&self) -> Arc<dyn ServerCertVerifier> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current.verifier)
    }
}

impl Current {
    fn new(
        extra_roots: &[CertificateDer<'static>],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        Ok(Self {
            verifier: verifier(extra_roots, provider)?,
            extra_roots: extra_roots.to_vec(),
        })
    }
}

fn verifier(
    extra_roots: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let failure = |error: &dyn std::fmt::Display| format!("TLS cannot be set up: {error}");
    // Asked without the others: with them it would not tell that the system has none.
    match Verifier::new(Arc::clone(provider)) {
        Ok(verifier) if extra_roots.is_empty() => Ok(Arc::new(verifier)),
        Ok(_) => {
            let roots = extra_roots.iter().cloned();
            let verifier = Verifier::new_with_extra_roots(roots, Arc::clone(provider));
            Ok(Arc::new(verifier.map_err(|error| failure(&error))?))
        }
        // A container from scratch has no authorities at all, and that is an error to the platform's verifier.
        Err(error) => {
            tracing::debug!(error = %error, "No certificate authorities on this machine; the built-in ones are used.");
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(
                webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned(),
            );
            for root in extra_roots {
                roots.add(root.clone()).map_err(|error| failure(&error))?;
            }
            let provider = Arc::clone(provider);
            let builder =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
            Ok(builder.map_err(|error| failure(&error))?)
        }
    }
}

/// Verifies by what is trusted at that moment.
impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verifier = self.verifier();
        verifier.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verifier = self.verifier();
        verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verifier = self.verifier();
        verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier().supported_verify_schemes()
    }
}

/// The client side's TLS with one server alone: the one whose certificate is the first of these, whatever name stands in it.
pub(crate) fn pinned_config(chain: Vec<CertificateDer<'static>>) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let pinned = Pinned {
        chain,
        provider: Arc::clone(&provider),
    };
    Ok(verified_by(Arc::new(pinned), provider)?.with_no_client_auth())
}

/// The client side's TLS, whose servers' certificates are verified by this.
fn verified_by(
    verifier: Arc<dyn ServerCertVerifier>,
    provider: Arc<CryptoProvider>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, String> {
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(verifier))
}

/// Trusts one certificate. That the server has its key too is verified as ever.
#[derive(Debug)]
struct Pinned {
    chain: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.chain.first() == Some(end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        let wrong = CertificateError::ApplicationVerificationFailure;
        Err(Error::InvalidCertificate(wrong))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
