//! Whom to trust: the system's certificate authorities and those that the operator adds; on a machine without any, the
//! ones that are built in.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

/// The client side's TLS: certificates are verified, always.
pub(crate) fn client_config(
    extra_roots: &[CertificateDer<'static>],
) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    match Verifier::new_with_extra_roots(extra_roots.iter().cloned(), provider) {
        Ok(verifier) => Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth()),
        // A container from scratch has no authorities at all, and that is an error to the platform's verifier.
        Err(error) => {
            tracing::debug!(error = %error, "No certificate authorities on this machine; the built-in ones are used.");
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(
                webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned(),
            );
            roots.add_parsable_certificates(extra_roots.iter().cloned());
            Ok(builder.with_root_certificates(roots).with_no_client_auth())
        }
    }
}
