//! Webhooks as Standard Webhooks has them (<https://www.standardwebhooks.com>): who gets what, and the signature.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac};
use url::{Host, Url};

use super::warning::{Kind, Warning};

/// What every secret begins with.
const PREFIX: &str = "whsec_";

/// The lengths of a secret, in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// Somebody who is told.
#[derive(Clone)]
pub struct Endpoint {
    url: Url,
    secrets: Vec<Secret>,
    /// What it is told.
    pub events: Vec<Kind>,
    /// Of which connections; `None`: of all.
    pub connections: Option<Vec<String>>,
    id: Arc<str>,
}

/// A key that signs.
#[derive(Clone)]
struct Secret(hmac::Key);

impl Endpoint {
    /// A receiver that is told everything.
    #[must_use]
    pub fn new(url: EndpointUrl, secrets: Secrets) -> Self {
        let hash = digest::digest(&digest::SHA256, url.0.as_str().as_bytes());
        let id: String = hash
            .as_ref()
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            url: url.0,
            secrets: secrets.0,
            events: vec![Kind::Threshold, Kind::Recovered, Kind::Forecast],
            connections: None,
            id: Arc::from(id),
        }
    }

    /// Names it in the store: a hash of its URL, because URLs of webhooks are often secrets.
    #[must_use]
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Where it is, as far as it may stand in a log.
    #[must_use]
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    pub(super) const fn url(&self) -> &Url {
        &self.url
    }

    /// Whether it is told of this.
    #[must_use]
    pub fn wants(&self, warning: &Warning) -> bool {
        let of = |names: &Vec<String>| names.contains(&warning.data.connection);
        self.events.contains(&warning.kind) && self.connections.as_ref().is_none_or(of)
    }

    /// The value of `webhook-signature`: one signature for each secret.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let content = format!("{id}.{timestamp}.{body}");
        let signatures = self.secrets.iter().map(|secret| {
            let tag = hmac::sign(&secret.0, content.as_bytes());
            format!("v1,{}", STANDARD.encode(tag))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Endpoint")
            .field("origin", &self.origin())
            .field("secrets", &self.secrets.len())
            .field("events", &self.events)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

/// A URL that warnings may be sent to.
#[derive(Clone)]
pub struct EndpointUrl(Url);

impl EndpointUrl {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, in words that do not repeat it: it may be a secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("this is not a URL: {error}"))?;
        let is_loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        match url.scheme() {
            "https" => {}
            "http" if is_loopback => {}
            "http" => {
                return Err("over http anybody on the way could read and alter warnings".to_owned());
            }
            other => return Err(format!("`{other}` is neither https nor http")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a webhook's URL cannot carry credentials".to_owned());
        }
        if url.fragment().is_some() {
            return Err("a webhook's URL cannot have a fragment".to_owned());
        }
        Ok(Self(url))
    }

    /// Whether both are the same.
    #[must_use]
    pub fn is(&self, other: &Endpoint) -> bool {
        self.0 == other.url
    }
}

/// What signs: one secret, or while it is being replaced several.
#[derive(Clone)]
pub struct Secrets(Vec<Secret>);

impl Secrets {
    /// Reads secrets that are separated by spaces.
    ///
    /// # Errors
    /// What is wrong, in words that do not repeat it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let secrets = text.split_ascii_whitespace().map(secret);
        let secrets = secrets.collect::<Result<Vec<_>, _>>()?;
        if secrets.is_empty() {
            return Err("the secret is empty");
        }
        Ok(Self(secrets))
    }
}

fn secret(text: &str) -> Result<Secret, &'static str> {
    let Some(base64) = text.strip_prefix(PREFIX) else {
        return Err("a secret begins with `whsec_`");
    };
    let Ok(bytes) = STANDARD.decode(base64) else {
        return Err("what follows `whsec_` is not base64");
    };
    if !LENGTHS.contains(&bytes.len()) {
        return Err("a secret is of 24 to 64 bytes, before base64");
    }
    Ok(Secret(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(secrets: &str) -> Endpoint {
        let url = EndpointUrl::parse("https://hooks.example.com/T0/secret?token=x").unwrap();
        Endpoint::new(url, Secrets::parse(secrets).ok().unwrap())
    }

    /// The published vector of the specification's own libraries.
    #[test]
    fn the_signature_is_that_of_the_specification() {
        let endpoint = endpoint("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signature = endpoint.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            "{\"test\": 2432232314}",
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn while_a_secret_is_replaced_both_sign() {
        let (old, new) = (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        );
        let sign = |secrets: &str| endpoint(secrets).sign("msg_1", 1, "{}");
        assert_eq!(
            sign(&format!("{new}  {old}")),
            format!("{} {}", sign(new), sign(old))
        );
        assert_ne!(sign(new), sign(old));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let shown = format!("{:?}", endpoint("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
        for word in ["MfKQ", "T0", "token"] {
            assert!(!shown.contains(word), "{shown}");
        }
        assert!(shown.contains("https://hooks.example.com"), "{shown}");
    }

    #[test]
    fn only_what_nobody_can_read_on_the_way_is_a_url_for_warnings() {
        for (url, fits) in [
            ("https://hooks.example.com/a?b=c", true),
            ("http://127.0.0.1:9000/", true),
            ("http://[::1]:9000/", true),
            ("http://localhost/", true),
            ("http://hooks.localhost/", true),
            ("http://hooks.example.com/", false),
            ("http://127.0.0.1.example.com/", false),
            ("http://localhost.example.com/", false),
            ("http://10.0.0.1/", false),
            ("https://user:password@example.com/", false),
            ("https://example.com/#a", false),
            ("ftp://example.com/", false),
            ("example.com", false),
            ("", false),
        ] {
            assert_eq!(EndpointUrl::parse(url).is_ok(), fits, "{url}");
        }
    }

    #[test]
    fn secrets_are_long_enough() {
        for (secret, fits) in [
            ("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", true),
            ("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", false),
            ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", false),
            ("whsec_", false),
            ("whsec_!", false),
            ("", false),
            (" ", false),
        ] {
            assert_eq!(Secrets::parse(secret).is_ok(), fits, "{secret}");
        }
    }
}
