//! Who one side of a TLS connection is: a chain of certificates, and the private key of the first of them. Read from the text
//! of PEM files; what is wrong is told without a word of the key.

mod validity;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::RangeInclusive;
use std::sync::Arc;

use jiff::Timestamp;
use ring::digest;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};

/// A certificate with its chain, and its key.
#[derive(Clone)]
pub struct Identity {
    certified: Arc<CertifiedKey>,
    /// SHA-256 of both files.
    digest: [u8; 32],
}

/// Why two texts make no identity, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// It is the certificate.
    Certificate(String),
    /// It is the key.
    Key(String),
}

impl Identity {
    /// Certificate and key, each the text of a PEM file.
    ///
    /// # Errors
    ///
    /// There is no certificate or no key in them, or the key is that of another certificate.
    pub fn parse(certificate: &str, key: &str) -> Result<Self, Unfit> {
        let chain = certificates(certificate).map_err(Unfit::Certificate)?;
        let secret = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| {
            Unfit::Key(match error {
                pem::Error::NoItemsFound if key.contains("BEGIN ENCRYPTED PRIVATE KEY") => {
                    "the private key in it is encrypted".to_owned()
                }
                pem::Error::NoItemsFound => "there is no private key in it".to_owned(),
                // Its own words may repeat a line.
                _ => "it is not a PEM file".to_owned(),
            })
        })?;
        let certified = CertifiedKey::from_der(chain, secret, &default_provider());
        let certified = certified.map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                Unfit::Key("it is the key of another certificate".to_owned())
            }
            Error::InvalidCertificate(_) => {
                Unfit::Certificate("the first certificate in it cannot be read".to_owned())
            }
            _ => Unfit::Key("the private key in it cannot be used".to_owned()),
        })?;
        let mut digest = digest::Context::new(&digest::SHA256);
        for text in [certificate, key] {
            digest.update(&text.len().to_be_bytes());
            digest.update(text.as_bytes());
        }
        let digest = digest.finish();
        Ok(Self {
            certified: Arc::new(certified),
            // SHA-256 has as many.
            digest: digest.as_ref().try_into().unwrap_or_default(),
        })
    }

    /// When its certificate is valid; `None`: that cannot be read.
    #[must_use]
    pub fn validity(&self) -> Option<RangeInclusive<Timestamp>> {
        validity::of(self.certified.cert.first()?)
    }

    /// For rustls.
    #[must_use]
    pub fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }
}

/// The certificates in the text of a PEM file, at least one.
///
/// # Errors
///
/// There is none, or the text is no PEM; for people.
pub fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err("there is no certificate in it".to_owned()),
        Ok(chain) => Ok(chain),
        Err(_) => Err("it is not a PEM file".to_owned()),
    }
}

/// The certificates of authorities in the text of a PEM file, at least one.
///
/// # Errors
///
/// There is none, the text is no PEM, or one of them is not a certificate that others can be verified with; for people.
pub fn authorities(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = certificates(text)?;
    for (place, certificate) in (1..).zip(&found) {
        if RootCertStore::empty().add(certificate.clone()).is_err() {
            return Err(format!("certificate {place} in it cannot be read"));
        }
    }
    Ok(found)
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Identity {}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl fmt::Debug for Identity {
    /// The key is not written out.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Identity({} certificates)", self.certified.cert.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = include_str!("../tests/support/tls/server.pem");
    const KEY: &str = include_str!("../tests/support/tls/server.key");
    const OTHER: &str = include_str!("../tests/support/tls/authority.pem");

    #[test]
    fn an_authority_that_cannot_be_read_is_told_by_its_place() {
        assert_eq!(authorities(OTHER).unwrap().len(), 1);
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let problem = authorities(&format!("{OTHER}{broken}")).unwrap_err();
        assert_eq!(problem, "certificate 2 in it cannot be read");
        assert!(authorities("").is_err());
    }

    #[test]
    fn a_pair_is_an_identity_and_what_is_none_says_why_without_its_text() {
        let identity = Identity::parse(CERTIFICATE, KEY).unwrap();
        assert_eq!(identity, Identity::parse(CERTIFICATE, KEY).unwrap());
        assert_eq!(format!("{identity:?}"), "Identity(1 certificates)");
        let both = format!("{CERTIFICATE}{OTHER}");
        assert_ne!(identity, Identity::parse(&both, KEY).unwrap());
        let encrypted = KEY.replace("PRIVATE", "ENCRYPTED PRIVATE");
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let certificate = |problem: &str| Unfit::Certificate(problem.to_owned());
        let key = |problem: &str| Unfit::Key(problem.to_owned());
        for (chain, secret, expected) in [
            ("", KEY, certificate("there is no certificate in it")),
            (KEY, KEY, certificate("there is no certificate in it")),
            (
                "-----BEGIN hunter2",
                KEY,
                certificate("it is not a PEM file"),
            ),
            (
                broken,
                KEY,
                certificate("the first certificate in it cannot be read"),
            ),
            (
                CERTIFICATE,
                CERTIFICATE,
                key("there is no private key in it"),
            ),
            (
                CERTIFICATE,
                &encrypted,
                key("the private key in it is encrypted"),
            ),
            (
                CERTIFICATE,
                "-----BEGIN hunter2",
                key("it is not a PEM file"),
            ),
            (OTHER, KEY, key("it is the key of another certificate")),
        ] {
            assert_eq!(Identity::parse(chain, secret).unwrap_err(), expected);
        }
    }
}
