//! Where a connection's calls go, and URIs below it that are made without changing one byte. No I/O.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::BytesMut;
use http::uri::{self, Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};
use url::{Host, Url};

/// The longest URI that hyper takes.
const LONGEST: usize = 65_534;

/// Where a connection's calls go: scheme, host, port, and a path before every path where the base URL has one.
#[derive(Debug, Clone)]
pub struct Origin {
    /// `https://api.example.com`, without a slash at the end.
    base: Arc<str>,
    scheme: Scheme,
    /// Lower-case host with its port where that is not the scheme's own.
    authority: Authority,
    /// The same, as a header.
    host: HeaderValue,
    address: Option<IpAddr>,
    /// `""` or `/v2`: never with a slash at the end.
    prefix: String,
}

impl Origin {
    /// Reads a base URL.
    ///
    /// # Errors
    ///
    /// A sentence for people when it is no `http` or `https` URL, or carries credentials, a query or a fragment.
    pub fn parse(base_url: &str) -> Result<Self, String> {
        // What may carry a password is not repeated.
        let shown = if base_url.contains('@') {
            "this"
        } else {
            base_url
        };
        let url =
            Url::parse(base_url).map_err(|error| format!("`{shown}` is not a URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("`{shown}` is neither http nor https"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a base URL cannot carry credentials".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("a base URL cannot have a query or a fragment".to_owned());
        }
        let base = url.origin().ascii_serialization();
        let wrong = |error: &dyn std::fmt::Display| format!("`{shown}` is not a URL: {error}");
        let (scheme, authority) = base.split_once("://").unwrap_or_default();
        Ok(Self {
            scheme: scheme.parse().map_err(|error| wrong(&error))?,
            authority: authority.parse().map_err(|error| wrong(&error))?,
            host: authority.parse().map_err(|error| wrong(&error))?,
            address: match url.host() {
                Some(Host::Ipv4(address)) => Some(address.into()),
                Some(Host::Ipv6(address)) => Some(address.into()),
                _ => None,
            },
            prefix: url.path().trim_end_matches('/').to_owned(),
            base: base.into(),
        })
    }

    /// A raw path and query as it is there, byte for byte; `None` where that cannot be had: it is too long, does not begin with
    /// `/`, or is none.
    pub(crate) fn path(&self, target: &str) -> Option<PathAndQuery> {
        let length = self.base.len() + self.prefix.len() + target.len();
        if length > LONGEST || !target.starts_with('/') || target.contains('#') {
            return None;
        }
        let mut whole = BytesMut::with_capacity(self.prefix.len() + target.len());
        whole.extend_from_slice(self.prefix.as_bytes());
        whole.extend_from_slice(target.as_bytes());
        PathAndQuery::from_maybe_shared(whole.freeze()).ok()
    }

    /// The URI of such a path.
    pub(crate) fn uri(&self, path: PathAndQuery) -> Uri {
        let mut parts = uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        // It has all three parts, as a URI must that has one of the first two.
        Uri::from_parts(parts).unwrap_or_default()
    }

    /// What stands in `Host`.
    pub(crate) const fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// `https://api.example.com`: what connections are kept and counted by.
    pub(crate) const fn name(&self) -> &Arc<str> {
        &self.base
    }

    /// The address, where the host is one and no name.
    pub(crate) const fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// What follows the base URL in `reference`, when it is an absolute URL (or one without a scheme) within it.
    pub(crate) fn strip<'a>(&self, reference: &'a str) -> Option<&'a str> {
        let scheme = self.scheme.as_str();
        let rest = match reference.split_once("//")? {
            ("", rest) => rest,
            (before, rest) => {
                before
                    .strip_suffix(':')
                    .filter(|found| found.eq_ignore_ascii_case(scheme))?;
                rest
            }
        };
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let default_port = if scheme == "https" { ":443" } else { ":80" };
        let authority = authority.strip_suffix(default_port).unwrap_or(authority);
        if !authority.eq_ignore_ascii_case(self.authority.as_str()) {
            return None;
        }
        let path = path.strip_prefix(self.prefix.as_str())?;
        (path.is_empty() || path.starts_with(['/', '?', '#'])).then_some(path)
    }

    /// What URLs of this API begin with, for looking in bodies.
    pub(crate) fn base_url(&self) -> String {
        format!("{}{}", self.base, self.prefix)
    }

    /// Host and port.
    pub(crate) fn server(&self) -> (String, u16) {
        let usual = if self.is_plain() { 80 } else { 443 };
        let port = self.authority.port_u16().unwrap_or(usual);
        (self.authority.host().to_owned(), port)
    }

    /// Without TLS the provider speaks HTTP/1.1 for certain.
    pub(crate) fn is_plain(&self) -> bool {
        self.scheme == Scheme::HTTP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_keep_every_byte_and_the_origin() {
        let origin = Origin::parse("https://API.example.com:8443/v1/").unwrap();
        for target in [
            "/",
            "/?",
            "/a?",
            "//a//b",
            "/a;b=1",
            "/a%2Fb",
            "/a%2fb",
            "/q?a='b'",
            "/\"q\"?a=`b`",
            "/{\"a\"}?{}",
            "/a|b^c\\d",
            "/a?b?c",
            "/é?é",
            "/@evil.example/",
            "//evil.example/",
            "/a:80@b",
            "/%00",
            "/a?x[]=1",
        ] {
            let uri = origin.uri(origin.path(target).expect(target));
            assert_eq!(uri.scheme_str(), Some("https"));
            assert_eq!(uri.host(), Some("api.example.com"));
            assert_eq!(uri.port_u16(), Some(8443));
            assert_eq!(
                uri.path_and_query().unwrap().as_str(),
                format!("/v1{target}")
            );
        }
    }

    #[test]
    fn what_is_no_path_is_not_made_one() {
        let origin = Origin::parse("http://a").unwrap();
        let longest = format!("/{}", "a".repeat(LONGEST - "http://a/".len()));
        let uri = origin.uri(origin.path(&longest).unwrap());
        assert!(uri.to_string().parse::<Uri>().is_ok());
        assert_eq!(origin.path(&(longest + "a")), None);
        for target in ["", "a", "@b", ":80", "?a", "/a b", "/a\nb", "/#a"] {
            assert_eq!(origin.path(target), None, "{target:?}");
        }
    }

    #[test]
    fn addresses_are_known_for_what_they_are() {
        let address = |base: &str| Origin::parse(base).unwrap().address();
        for (base, expected) in [
            ("http://127.0.0.1", Some("127.0.0.1")),
            ("http://0x7f.1:80", Some("127.0.0.1")),
            ("http://2130706433", Some("127.0.0.1")),
            ("https://[::1]:8443/a", Some("::1")),
            ("http://[::ffff:10.0.0.1]", Some("::ffff:10.0.0.1")),
            ("http://localhost", None),
            ("https://api.example.com", None),
        ] {
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(address(base), expected, "{base}");
        }
    }
}
