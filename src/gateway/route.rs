//! Which connection a request is for, and what of its target is the provider's.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::{CONNECTION, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE};
use http::uri::Authority;
use http::{Method, Version};

use super::connection::{Catalogue, Connection, Lookup};
use super::error::Problem;
use super::heads::RequestHead;
use super::present::Present;
use super::{fields, target};
use crate::address::is_loopback;
use crate::diagnostic;
use crate::fields::Value;
use crate::limits::Limits;

/// Where a request came in.
#[derive(Debug, Clone, Default)]
pub(super) struct Entrance {
    /// A listener of its own belongs to this connection, whatever the path and the host.
    pub(super) connection: Option<String>,
    /// TLS is spoken there.
    pub(super) is_secure: bool,
    /// Headroom's own address on this connection of a caller's.
    pub(super) own: Option<IpAddr>,
    /// The caller is on this machine, or somebody there has brought it.
    pub(super) is_near: bool,
    /// The number of the worker that serves the caller.
    pub(super) worker: usize,
}

impl Entrance {
    /// The same for one caller's connection with these ends. Where the system does not tell them, the caller is a stranger.
    pub(super) fn between(&self, own: Option<IpAddr>, callers: Option<IpAddr>) -> Self {
        Self {
            connection: self.connection.clone(),
            is_secure: self.is_secure,
            own,
            is_near: own.is_some_and(is_loopback) && callers.is_some_and(is_loopback),
            worker: self.worker,
        }
    }
}

/// Who answers.
pub(super) enum Destination<'a> {
    /// Headroom itself, at `/` and under `/-/`, and where a call must not go further.
    Own,
    /// A provider.
    Provider(Route<'a>),
}

/// A call on its way to a provider.
pub(super) struct Route<'a> {
    /// Its connection.
    pub(super) connection: Arc<Connection>,
    /// The raw path and query at the provider.
    pub(super) target: Cow<'a, str>,
    /// Where the path ends in it, in bytes.
    path_end: usize,
    /// TLS is spoken with the caller.
    is_secure: bool,
    /// The host that the caller addressed, with its port.
    pub(super) host: Option<&'a str>,
    /// The first segment as the caller wrote it, where that chose the connection.
    segment: Option<&'a str>,
}

impl Route<'_> {
    /// The raw path at the provider.
    pub(super) fn path(&self) -> &str {
        self.target.get(..self.path_end).unwrap_or_default()
    }

    /// Headroom's own address of this connection, as the caller wrote it, without a slash at the end.
    pub(super) fn mount(&self) -> String {
        let mut mount = String::new();
        // Without a host (HTTP/1.0) the reference is relative, which leads back just as well.
        if let Some(host) = self.host {
            mount.push_str(if self.is_secure {
                "https://"
            } else {
                "http://"
            });
            mount.push_str(host);
        }
        if let Some(segment) = self.segment {
            mount.push('/');
            mount.push_str(segment);
        }
        mount
    }
}

fn path_end(target: &str) -> usize {
    memchr::memchr(b'?', target.as_bytes()).unwrap_or(target.len())
}

/// Finds who answers, and refuses what nobody must.
pub(super) fn route<'a>(
    head: &'a RequestHead,
    entrance: &Entrance,
    catalogue: &dyn Catalogue,
) -> Result<Destination<'a>, Problem> {
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return Err(Problem::Method);
    }
    let host = host(head)?;
    // The authority form is for CONNECT alone (RFC 9112, 3.2.3).
    if head.uri.authority().is_some() && head.uri.scheme().is_none() {
        return Err(Problem::TargetForm);
    }
    let whole = head
        .uri
        .path_and_query()
        .map_or("/", |whole| whole.as_str());
    // A gateway of HTTP has nothing else to fetch (RFC 9110, section 7.1), whoever names `ftp` there.
    let is_of_http = |scheme: &str| {
        ["http", "https"]
            .iter()
            .any(|one| scheme.eq_ignore_ascii_case(one))
    };
    if head
        .uri
        .scheme_str()
        .is_some_and(|scheme| !is_of_http(scheme))
    {
        return Err(Problem::TargetForm);
    }
    // About headroom itself (RFC 9110, section 9.3.7).
    if whole == "*" && head.method == Method::OPTIONS {
        return Ok(Destination::Own);
    }
    // `http://crm.localhost?q` has no path, which stands for `/`.
    let lacks_path = whole.starts_with('?');
    if !whole.starts_with('/') && !lacks_path {
        return Err(Problem::TargetForm);
    }
    // Of a known connection `check` says it, with that connection's limits on the refusal.
    let dotted = || target::has_dot_segment(whole.split('?').next().unwrap_or_default());
    let known = |name: &str| {
        find(catalogue, name).map_err(|problem| match problem {
            Problem::UnknownConnection { .. } if dotted() => Problem::DotSegment,
            problem => problem,
        })
    };
    let forwards_left = || fields::forwards_left(&head.method, &head.headers);
    if head.present.has(Present::MAX_FORWARDS) && forwards_left() == Some(0) && !dotted() {
        return Ok(Destination::Own);
    }
    let own = entrance.connection.as_deref().map(Cow::Borrowed);
    if let Some(name) = own.or_else(|| localhost_label(host)) {
        let connection = known(&name)?;
        let target = if lacks_path {
            Cow::Owned(format!("/{whole}"))
        } else {
            Cow::Borrowed(whole)
        };
        return Ok(Destination::Provider(Route {
            connection,
            path_end: path_end(&target),
            target,
            is_secure: entrance.is_secure,
            host,
            segment: None,
        }));
    }
    if lacks_path {
        return Ok(Destination::Own);
    }
    let end = whole[1..]
        .find(['/', '?'])
        .map_or(whole.len(), |end| end + 1);
    let (segment, rest) = (&whole[1..end], &whole[end..]);
    if segment == "-" || (segment.is_empty() && !rest.starts_with('/')) {
        return if dotted() {
            Err(Problem::DotSegment)
        } else {
            Ok(Destination::Own)
        };
    }
    let connection = known(&target::decoded_name(segment))?;
    // `/crm` and `/crm?q` stand for `/crm/` and `/crm/?q`: a request target has a path.
    let target = if rest.starts_with('/') {
        Cow::Borrowed(rest)
    } else {
        Cow::Owned(format!("/{rest}"))
    };
    Ok(Destination::Provider(Route {
        connection,
        path_end: path_end(&target),
        target,
        is_secure: entrance.is_secure,
        host,
        segment: Some(segment),
    }))
}

/// The head is not larger than heads may be. What is much larger never came so far.
pub(super) fn measure(head: &RequestHead, limits: &Limits) -> Result<(), Problem> {
    let target = head
        .uri
        .path_and_query()
        .map_or(0, |whole| whole.as_str().len());
    let line = target.saturating_add(head.method.as_str().len());
    let whole = line.saturating_add(head.headers.written_length());
    if head.headers.len() > limits.header_fields {
        Err(Problem::HeadTooLarge)
    } else if whole <= limits.header_bytes {
        Ok(())
    } else if target > whole / 2 {
        Err(Problem::TargetTooLong)
    } else {
        Err(Problem::HeadTooLarge)
    }
}

/// The checks that only a call to a provider has to pass.
pub(super) fn check(head: &RequestHead, route: &Route<'_>, pseudonym: &str) -> Result<(), Problem> {
    if target::has_dot_segment(route.path()) {
        return Err(Problem::DotSegment);
    }
    let present = head.present;
    let others = Present::HOP_BY_HOP;
    if !(present.has(others) || present.has(Present::EXPECT) || present.has(Present::VIA)) {
        return Ok(());
    }
    // Java's client offers `h2c` on each plain request; an offer may be ignored, and that one is.
    let asks_for_upgrade = fields::has_token(&head.headers, &CONNECTION, "upgrade")
        && fields::tokens(&head.headers, &UPGRADE)
            .any(|protocol| !protocol.eq_ignore_ascii_case("h2c"));
    if asks_for_upgrade {
        return Err(Problem::Upgrade);
    }
    // hyper takes `chunked` off; any coding under it would stay on the body while the field is stripped.
    if fields::tokens(&head.headers, &TRANSFER_ENCODING)
        .any(|coding| !coding.eq_ignore_ascii_case("chunked"))
    {
        return Err(Problem::TransferCoding);
    }
    // Nothing is coded twice in chunks (RFC 9112, section 7.1).
    if fields::tokens(&head.headers, &TRANSFER_ENCODING).count() > 1 {
        return Err(Problem::TransferCoding);
    }
    // HTTP/1.0 knows no expectations.
    if head.version > Version::HTTP_10
        && fields::tokens(&head.headers, &EXPECT)
            .any(|expected| !expected.eq_ignore_ascii_case("100-continue"))
    {
        return Err(Problem::Expectation);
    }
    if fields::has_passed(&head.headers, pseudonym) {
        return Err(Problem::Loop);
    }
    Ok(())
}

/// The host that the caller addressed: only for choosing a connection and for writing links, never for connecting.
pub(super) fn host(head: &RequestHead) -> Result<Option<&str>, Problem> {
    let mut lines = head.headers.get_all(HOST);
    let line = lines.next();
    if lines.next().is_some() {
        return Err(Problem::Host("The request has several Host fields."));
    }
    let unreadable = Problem::Host("The Host field is not a host with an optional port.");
    let field = match line.map(Value::text) {
        None => None,
        Some(Some(text)) if is_host(text) => Some(text),
        Some(_) => return Err(unreadable),
    };
    // In HTTP/2 this is `:authority`; in HTTP/1.1 it is an absolute-form target, which outranks Host (RFC 9112, 3.2.2).
    let authority = head.uri.authority().map(Authority::as_str);
    if authority.is_some_and(|authority| !is_host(authority)) {
        return Err(unreadable);
    }
    match (authority, field) {
        (Some(authority), Some(field))
            if head.version == Version::HTTP_2 && !authority.eq_ignore_ascii_case(field) =>
        {
            Err(Problem::Host("The Host field contradicts :authority."))
        }
        // In HTTP/2 it may be either (RFC 9113, section 8.3.1).
        (None, None) if head.version >= Version::HTTP_11 => {
            Err(Problem::Host("The request has no Host field."))
        }
        // Even with an absolute-form target a request without Host is malformed.
        (Some(_), None) if head.version == Version::HTTP_11 => {
            Err(Problem::Host("The request has no Host field."))
        }
        (Some(host), _) | (None, Some(host)) => Ok(Some(host)),
        (None, None) => Ok(None),
    }
}

fn is_host(text: &str) -> bool {
    is_plain_host(text) || is_any_host(text)
}

/// Letters, digits, dots and hyphens, and perhaps a port: as nearly all are.
fn is_plain_host(text: &str) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let bytes = text.as_bytes();
    let end = bytes.iter().position(|byte| !is_plain(byte));
    let (host, port) = text.split_at(end.unwrap_or(text.len()));
    !host.is_empty() && is_port(port)
}

fn is_any_host(text: &str) -> bool {
    let Ok(authority) = text.parse::<Authority>() else {
        return false;
    };
    // Without `@` the host comes first. The parser takes anything for a port.
    let host = authority.host();
    !text.contains('@') && !host.is_empty() && text.strip_prefix(host).is_some_and(is_port)
}

/// Nothing, `:` or `:8080`.
fn is_port(text: &str) -> bool {
    let Some(digits) = text.strip_prefix(':') else {
        return text.is_empty();
    };
    digits.is_empty()
        || (digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok())
}

/// `crm` of `crm.localhost:8080`. Such names mean the machine itself (RFC 6761). Browsers, curl and systemd's resolver know
/// that; a C library alone does not, and there a port of the connection's own does the same.
///
/// Hosts have no case (RFC 9110, section 4.2.3), and the names of connections are in lower case.
fn localhost_label(host: Option<&str>) -> Option<Cow<'_, str>> {
    const SUFFIX: &str = ".localhost";
    let host = host?;
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let name = name.strip_suffix('.').unwrap_or(name);
    let at = name.len().checked_sub(SUFFIX.len()).filter(|at| *at > 0)?;
    let (label, suffix) = name.split_at_checked(at)?;
    if !suffix.eq_ignore_ascii_case(SUFFIX) {
        return None;
    }
    Some(if label.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(label.to_ascii_lowercase())
    } else {
        Cow::Borrowed(label)
    })
}

fn find(catalogue: &dyn Catalogue, name: &str) -> Result<Arc<Connection>, Problem> {
    match catalogue.connection(name) {
        Lookup::Found(connection) => Ok(connection),
        Lookup::Broken(reason) => Err(Problem::BrokenConnection {
            name: name.to_owned(),
            reason,
        }),
        Lookup::Unknown => Err(Problem::UnknownConnection {
            name: name.chars().take(MAX_SHOWN).collect(),
            closest: closest(catalogue, name),
        }),
    }
}

/// As much of an unknown name as is worth showing, and comparing: the comparison costs the product of the lengths.
const MAX_SHOWN: usize = 64;

fn closest(catalogue: &dyn Catalogue, name: &str) -> Option<String> {
    let name: String = name
        .chars()
        .take(MAX_SHOWN)
        .flat_map(char::to_lowercase)
        .collect();
    let names = catalogue.names();
    diagnostic::closest(&name, names.iter().map(String::as_str)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_near_if_both_ends_are_of_this_machine() {
        for (own, callers, is_near) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.8.0.1", true),
            ("::1", "::1", true),
            ("::ffff:127.0.0.1", "::ffff:127.0.0.1", true),
            ("192.168.0.7", "192.168.0.7", false),
            ("192.168.0.7", "127.0.0.1", false),
            // Whoever routes such a packet here is a neighbour.
            ("127.0.0.1", "192.168.0.8", false),
            ("::ffff:10.0.0.1", "::1", false),
        ] {
            let (own, callers) = (own.parse().ok(), callers.parse().ok());
            let entrance = Entrance::default().between(own, callers);
            assert_eq!((entrance.is_near, entrance.own), (is_near, own));
        }
        assert!(!Entrance::default().between(None, None).is_near);
    }

    #[test]
    fn localhost_labels() {
        for host in [
            "crm.localhost:8080",
            "crm.localhost:",
            "crm.LocalHost.",
            "CRM.LocalHost.:80",
        ] {
            assert_eq!(localhost_label(Some(host)).as_deref(), Some("crm"));
        }
        assert_eq!(localhost_label(Some("localhost:8080")), None);
        assert_eq!(localhost_label(Some(".localhost")), None);
        assert_eq!(localhost_label(Some("crm.localhost.example")), None);
        assert_eq!(localhost_label(Some("[::1]:80")), None);
        assert_eq!(localhost_label(None), None);
    }

    #[test]
    fn hosts() {
        for good in [
            "localhost",
            "127.0.0.1:80",
            "[::1]:8080",
            "a.b",
            "a:65535",
            "a:",
        ] {
            assert!(is_host(good), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a b",
            "user@host",
            "a/b",
            "a,b c",
            "a:evil",
            "a:99999",
            "a:+80",
            "a:8:0",
            "[::1]:x",
            "[::1]80",
        ] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
