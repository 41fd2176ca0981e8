//! Who may look at headroom's own pages, and which requests of browsers are not what they seem. Pure.
//!
//! A browser on the same machine is the danger on loopback: any site can make it send requests there. What it sends in the
//! name of another site it marks (`Sec-Fetch-Site`, `Origin`); and a name of the site's own that leads to this machine (DNS
//! rebinding) stands in `Host`.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use http::header::{AUTHORIZATION, HeaderName, ORIGIN};

use crate::address::{is_loopback_host, literal, without_port};
use crate::consumer::{KEY_PREFIX, hash_key};
use crate::fields::{Fields, Value};

/// Where a key may always stand.
const HEADROOM_KEY: HeaderName = HeaderName::from_static("headroom-key");

/// What says that somebody else has taken a request here for its caller.
const OF_PROXIES: [&str; 6] = [
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
];

/// Who may look at headroom's own pages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Admin {
    /// SHA-256 of the key that opens all of them.
    pub key_hash: Option<[u8; 32]>,
    /// Names by which this machine is known beside those of loopback: in lower case, without a port.
    pub hosts: Vec<String>,
    /// Whether the metrics are for everybody.
    pub has_open_metrics: bool,
}

impl Admin {
    /// Whether this is the key. Hashes are compared, and all of their bytes, so the time that it takes says nothing of it.
    #[must_use]
    pub fn is_key(&self, key: &str) -> bool {
        let Some(wanted) = &self.key_hash else {
            return false;
        };
        let found = hash_key(key);
        let differing = wanted.iter().zip(&found).map(|(one, other)| one ^ other);
        differing.fold(0, |all, one| all | one) == 0
    }

    /// Whether a request for this host (with or without a port) is meant for headroom: no name server of somebody else's can
    /// have led a browser here. `own` is the address that it came to. Who names no host at all is no browser.
    #[must_use]
    pub fn knows(&self, host: Option<&str>, own: Option<IpAddr>) -> bool {
        let Some(host) = host.map(without_port) else {
            return true;
        };
        let name = host.strip_suffix('.').unwrap_or(host);
        let is_listed = |listed: &String| listed.eq_ignore_ascii_case(name);
        let address = literal(host).map(|address| address.to_canonical());
        is_loopback_host(host)
            || (address.is_some() && address == own.map(|own| own.to_canonical()))
            || self.hosts.iter().any(is_listed)
    }
}

/// Whether a request says that a proxy has brought it: then the caller is not who connected.
#[must_use]
pub fn came_through_proxy(headers: &Fields) -> bool {
    headers
        .keys()
        .any(|name| OF_PROXIES.contains(&name) || name.starts_with("x-forwarded-"))
}

/// Whether a browser sends this in the name of a page that is not headroom's own.
#[must_use]
pub fn is_cross_site(headers: &Fields, host: Option<&str>) -> bool {
    let is_foreign_site = |site: Value<'_>| !matches!(site.as_bytes(), b"same-origin" | b"none");
    let is_foreign_origin = |origin: Value<'_>| {
        let origin = origin.text().unwrap_or_default();
        let authority = ["http://", "https://"]
            .into_iter()
            .find_map(|scheme| origin.strip_prefix(scheme));
        !authority
            .zip(host)
            .is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
    };
    headers.get_all("sec-fetch-site").any(is_foreign_site)
        || headers.get_all(ORIGIN).any(is_foreign_origin)
}

/// Whether a browser opens this as a page of its own. Whoever led it here sees nothing of it.
#[must_use]
pub fn is_navigation(method: &Method, headers: &Fields) -> bool {
    let is = |name: &str, wanted: &str| {
        let mut lines = headers.get_all(name);
        lines
            .next()
            .is_some_and(|line| line.as_bytes() == wanted.as_bytes())
            && lines.next().is_none()
    };
    matches!(*method, Method::GET | Method::HEAD)
        && is("sec-fetch-mode", "navigate")
        && is("sec-fetch-dest", "document")
}

/// A key that somebody shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Shown {
    /// The key; it may be nobody's.
    pub key: String,
    /// A browser that knows it sends it with every request, whoever made it do so.
    pub is_ambient: bool,
}

/// The key that a request for a page shows: in `headroom-key`, as a bearer token, or as the password of Basic (or its user's
/// name). Of several that differ none counts, and the empty one stands for them.
#[must_use]
pub fn shown_key(headers: &Fields) -> Option<Shown> {
    let own = headers.get_all(HEADROOM_KEY);
    let own = own.map(|line| Shown {
        key: line.text().unwrap_or_default().to_owned(),
        is_ambient: false,
    });
    let other = headers.get_all(AUTHORIZATION).filter_map(authorized);
    let mut all = own.chain(other);
    let first = all.next()?;
    if all.any(|other| other.key != first.key) {
        return Some(Shown {
            key: String::new(),
            is_ambient: true,
        });
    }
    Some(first)
}

fn authorized(line: Value<'_>) -> Option<Shown> {
    let (scheme, rest) = line.text()?.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return rest.starts_with(KEY_PREFIX).then(|| Shown {
            key: rest.to_owned(),
            is_ambient: false,
        });
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    let key = [password, user]
        .into_iter()
        .find(|word| word.starts_with(KEY_PREFIX))?;
    Some(Shown {
        key: key.to_owned(),
        is_ambient: true,
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> Fields {
        let mut headers = Fields::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        headers
    }

    #[test]
    fn a_name_that_somebody_else_has_made_is_not_known() {
        let admin = Admin {
            hosts: vec!["headroom.example".to_owned()],
            ..Admin::default()
        };
        let own: IpAddr = "192.168.0.7".parse().unwrap();
        for (host, own, is_known) in [
            (None, None, true),
            (Some("localhost:8080"), None, true),
            (Some("127.0.0.1:8080"), None, true),
            (Some("[::1]:8080"), None, true),
            (Some("crm.localhost"), None, true),
            (Some("Headroom.Example.:443"), None, true),
            (Some("192.168.0.7:8080"), Some(own), true),
            (Some("192.168.0.8:8080"), Some(own), false),
            (Some("192.168.0.7:8080"), None, false),
            (Some("evil.example:8080"), Some(own), false),
            (Some("evil.headroom.example"), None, false),
            (Some("0.0.0.0:8080"), None, false),
        ] {
            assert_eq!(admin.knows(host, own), is_known, "{host:?}");
        }
    }

    #[test]
    fn what_a_proxy_brings_is_noticed() {
        for name in [
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-anything",
            "x-real-ip",
            "via",
        ] {
            assert!(came_through_proxy(&headers(&[(name, "")])), "{name}");
        }
        assert!(!came_through_proxy(&headers(&[("x-forwarder", "a")])));
    }

    #[test]
    fn other_sites_are_told_apart() {
        let host = Some("localhost:8080");
        for (lines, is_foreign) in [
            (&[][..], false),
            (&[("sec-fetch-site", "same-origin")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "same-site")], true),
            (&[("sec-fetch-site", "cross-site")], true),
            (
                &[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
                true,
            ),
            (&[("origin", "http://localhost:8080")], false),
            (&[("origin", "https://LocalHost:8080")], false),
            (&[("origin", "http://localhost:3000")], true),
            (&[("origin", "http://localhost")], true),
            (&[("origin", "null")], true),
            (&[("origin", "http://localhost:8080.evil.example")], true),
            (&[("origin", "file://localhost:8080")], true),
        ] {
            assert_eq!(
                is_cross_site(&headers(lines), host),
                is_foreign,
                "{lines:?}"
            );
        }
        assert!(is_cross_site(&headers(&[("origin", "http://a")]), None));
    }

    #[test]
    fn a_page_that_is_opened_is_a_navigation() {
        let opened = headers(&[
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ]);
        let framed = headers(&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")]);
        assert!(is_navigation(&Method::GET, &opened));
        assert!(!is_navigation(&Method::POST, &opened));
        assert!(!is_navigation(&Method::GET, &framed));
        assert!(!is_navigation(&Method::GET, &Fields::new()));
    }

    #[test]
    fn keys_are_found_where_they_may_stand() {
        // Basic: eDpocl9h is x:hr_a, aHJfYTo= is hr_a:, eDp5 is x:y.
        for (lines, key) in [
            (&[][..], None),
            (&[("headroom-key", "hr_a")], Some("hr_a")),
            (&[("headroom-key", "a")], Some("a")),
            (&[("authorization", "Bearer hr_a")], Some("hr_a")),
            (&[("authorization", "bearer  hr_a")], Some("hr_a")),
            (&[("authorization", "Basic eDpocl9h")], Some("hr_a")),
            (&[("authorization", "Basic aHJfYTo=")], Some("hr_a")),
            (&[("authorization", "Basic eDp5")], None),
            (&[("authorization", "Bearer sk_a")], None),
            (&[("authorization", "hr_a")], None),
            (
                &[("headroom-key", "hr_a"), ("authorization", "Bearer hr_a")],
                Some("hr_a"),
            ),
            (
                &[("headroom-key", "hr_a"), ("authorization", "Bearer hr_b")],
                Some(""),
            ),
            (
                &[("headroom-key", "hr_a"), ("headroom-key", "hr_b")],
                Some(""),
            ),
        ] {
            let found = shown_key(&headers(lines)).map(|shown| shown.key);
            assert_eq!(found.as_deref(), key, "{lines:?}");
        }
    }

    #[test]
    fn the_admins_key_is_one() {
        let admin = Admin {
            key_hash: Some(hash_key("hr_a")),
            ..Admin::default()
        };
        assert!(admin.is_key("hr_a"));
        assert!(!admin.is_key("hr_b") && !admin.is_key(""));
        assert!(!Admin::default().is_key("hr_a"));
    }
}
