//! Every way in which headroom itself ends a call, and the one place that maps them to HTTP.

use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use super::body::Body;
use super::failure::Failure;
use super::heads::{PROXY_STATUS, Reply};
use super::http1::Invalid;
use super::keys::Stray;
use crate::fields::Fields;
use crate::oauth::Unavailable;

/// The methods that are passed on, among others that nobody has named.
pub(super) const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Why a call ends here.
#[derive(Debug)]
pub(super) enum Problem {
    /// No `Host` in HTTP/1.1, several, an unreadable one, or one that contradicts `:authority`.
    Host(&'static str),
    /// It is no request that can be understood in one way only.
    Request(Invalid),
    /// `*` or an authority where a path is needed.
    TargetForm,
    /// `.` or `..` in some encoding.
    DotSegment,
    /// The path cannot be sent on without changing it.
    Target,
    /// TRACE would show the caller's credentials and what headroom adds; CONNECT would make an open proxy.
    Method,
    /// An `Upgrade`, such as WebSocket.
    Upgrade,
    /// A `Transfer-Encoding` that is not just `chunked`.
    TransferCoding,
    /// The call has been here before.
    Loop,
    /// No connection has this name.
    UnknownConnection {
        name: String,
        closest: Option<String>,
    },
    /// The connection exists and cannot be used.
    BrokenConnection { name: String, reason: String },
    /// Nothing is at this address under `/-/`.
    NoPage,
    /// A page of headroom's own, asked for with a method that it does not have.
    PageMethod,
    /// A page of headroom's own needs a key, and there is none, or one of nobody.
    PageKey {
        is_unknown: bool,
        /// A browser is to ask whoever sits before it.
        is_for_people: bool,
    },
    /// The page is for callers on this machine, or for those with a key that is not configured.
    NoAdminKey,
    /// A consumer's key does not open this page.
    ForbiddenPage,
    /// A name that may be somebody else's leads here.
    UnknownHost(String),
    /// A browser asks in the name of another site.
    CrossSite,
    /// A page of headroom's own, asked for something that it does not know; the text is for people.
    Parameter(String),
    /// A page of headroom's own that cannot be made now; the text is for people.
    PageUnavailable(String),
    /// The caller's body ended before its end, or was badly framed.
    RequestBody,
    /// The caller stopped sending in the middle of its body.
    SlowRequest,
    /// The caller's body is longer than `body_bytes`.
    BodyTooLong,
    /// The request's head is larger than `header_bytes`, or has more fields than `header_fields`.
    HeadTooLarge,
    /// It is the target that makes the head too large.
    TargetTooLong,
    /// The caller expects what headroom does not know.
    Expectation,
    /// As many calls are under way as there may be.
    Overloaded,
    /// There are consumers, and the caller does not say which it is.
    NoKey,
    /// No consumer has this key.
    UnknownKey,
    /// The request shows two keys.
    SeveralKeys,
    /// A key of headroom's would reach the provider.
    StrayKey(Stray),
    /// The consumer may not use this connection.
    ForbiddenConnection { name: String },
    /// The consumer may not call with this method, or asks for another one in a header that some servers follow.
    ForbiddenMethod,
    /// The consumer may not call this path.
    ForbiddenPath,
    /// There is no token for the provider.
    Credential(Unavailable),
    /// As many budgets are being counted as there may be.
    HouseFull,
    /// The provider could not be reached or made no sense.
    Upstream(Failure),
}

/// A problem as its answer says it (RFC 9457).
#[derive(Serialize)]
struct Details<'a> {
    /// No type of headroom's own: the status says what a type would, and `code` says which case it is (section 4.2.1).
    r#type: &'static str,
    title: Option<&'static str>,
    status: u16,
    detail: String,
    /// A stable word for programs.
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<&'a str>,
}

impl Problem {
    /// The provider never saw the call.
    pub(super) const fn is_before_provider(&self) -> bool {
        match self {
            Self::Upstream(failure) => failure.is_before_provider(),
            Self::RequestBody | Self::SlowRequest | Self::BodyTooLong => false,
            _ => true,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Host(_)
            | Self::Request(_)
            | Self::TargetForm
            | Self::DotSegment
            | Self::Target
            | Self::SeveralKeys
            | Self::StrayKey(_)
            | Self::Parameter(_)
            | Self::RequestBody => StatusCode::BAD_REQUEST,
            Self::SlowRequest => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::Method | Self::PageMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::Upgrade | Self::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::NoKey | Self::UnknownKey | Self::PageKey { .. } => StatusCode::UNAUTHORIZED,
            Self::ForbiddenConnection { .. }
            | Self::ForbiddenMethod
            | Self::ForbiddenPath
            | Self::NoAdminKey
            | Self::ForbiddenPage
            | Self::CrossSite => StatusCode::FORBIDDEN,
            Self::UnknownHost(_) => StatusCode::MISDIRECTED_REQUEST,
            // Who is refused has to be looked at by people; who is not there may come back.
            Self::Credential(unavailable) if unavailable.reason.is_refusal() => {
                StatusCode::BAD_GATEWAY
            }
            Self::Credential(_) | Self::HouseFull | Self::PageUnavailable(_) | Self::Overloaded => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::UnknownConnection { .. } | Self::NoPage => StatusCode::NOT_FOUND,
            Self::BrokenConnection { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Upstream(failure) => failure.status(),
        }
    }

    /// A stable word for programs.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Host(_) => "bad-host",
            Self::Request(_) => "bad-request",
            Self::TargetForm => "bad-target",
            Self::DotSegment => "dot-segment",
            Self::Target => "inexact-target",
            Self::Method | Self::PageMethod => "method-not-allowed",
            Self::Upgrade => "upgrade-not-supported",
            Self::TransferCoding => "transfer-coding-not-supported",
            Self::Loop => "loop-detected",
            Self::NoKey
            | Self::PageKey {
                is_unknown: false, ..
            } => "no-key",
            Self::UnknownKey | Self::PageKey { .. } => "unknown-key",
            Self::SeveralKeys => "several-keys",
            Self::StrayKey(_) => "stray-key",
            Self::NoAdminKey => "no-admin-key",
            Self::ForbiddenPage => "forbidden-page",
            Self::UnknownHost(_) => "unknown-host",
            Self::CrossSite => "cross-site",
            Self::ForbiddenConnection { .. } => "forbidden-connection",
            Self::ForbiddenMethod => "forbidden-method",
            Self::ForbiddenPath => "forbidden-path",
            Self::Credential(_) => "no-credential",
            Self::HouseFull => "too-many-budgets",
            Self::UnknownConnection { .. } => "unknown-connection",
            Self::BrokenConnection { .. } => "broken-connection",
            Self::NoPage => "not-found",
            Self::Parameter(_) => "bad-parameter",
            Self::PageUnavailable(_) => "unavailable",
            Self::RequestBody => "incomplete-request",
            Self::SlowRequest => "slow-request",
            Self::BodyTooLong => "body-too-long",
            Self::HeadTooLarge => "head-too-large",
            Self::TargetTooLong => "target-too-long",
            Self::Expectation => "expectation-failed",
            Self::Overloaded => "overloaded",
            Self::Upstream(Failure::Prohibited) => "private-address",
            Self::Upstream(_) => "upstream-failed",
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Host(detail) => (*detail).to_owned(),
            Self::Request(invalid) => format!("The request is {invalid}."),
            Self::TargetForm => "The request target must be a path.".to_owned(),
            Self::DotSegment => {
                "The path has a `.` or `..` segment. Headroom sends paths as they are and resolves none.".to_owned()
            }
            Self::NoKey => {
                "Say who calls: headroom-key: hr_… (made with `headroom key new NAME`).".to_owned()
            }
            Self::UnknownKey => "No consumer has this key. It may have been replaced.".to_owned(),
            Self::PageKey { is_unknown: false, .. } => {
                "This page needs a key: Authorization: Bearer hr_… (made with `headroom key new NAME --admin`), or the same as the password of Basic.".to_owned()
            }
            Self::PageKey { .. } => "Nobody has this key. It may have been replaced.".to_owned(),
            Self::NoAdminKey => {
                "Headroom's own pages are shown on its own machine only, until there is a key for them: `headroom key new NAME --admin` makes one, and `[admin] key_hash` in headroom.toml takes its hash.".to_owned()
            }
            Self::ForbiddenPage => {
                "A consumer's key opens /-/quota, /-/usage and /-/events; this page needs the admin's.".to_owned()
            }
            Self::UnknownHost(host) => {
                format!("Headroom does not know itself as `{host}`, and anybody can make a name that leads here. Ask for localhost or an address, or write the name into `[admin] hosts` in headroom.toml.")
            }
            Self::CrossSite => {
                "A browser asks for this in the name of another site, which must not see it or make headroom call anybody.".to_owned()
            }
            Self::ForbiddenConnection { name } => {
                format!("This consumer may not use the connection `{name}`.")
            }
            Self::ForbiddenMethod => "This consumer may not call with this method, nor have another method sent in its place.".to_owned(),
            Self::ForbiddenPath => "This consumer may not call this path. A path that servers may read in two ways (`%2F`, `//`, `;`) is never allowed to it.".to_owned(),
            Self::SeveralKeys => "The request shows two keys of headroom's, so nobody can tell who calls.".to_owned(),
            Self::StrayKey(place) => format!(
                "A key of headroom's stands in {place}, where it would reach the provider. Send it as headroom-key, or in the place of the provider's credential."
            ),
            Self::Credential(unavailable) => format!(
                "There is no token for the provider: {}.",
                unavailable.reason
            ),
            Self::HouseFull => {
                "Headroom counts as many budgets as it may, and forgets none that is in use. Try again later.".to_owned()
            }
            Self::Target => "The path cannot be sent to the provider without changing it.".to_owned(),
            Self::Method => "TRACE and CONNECT are not passed on.".to_owned(),
            Self::PageMethod => "This page of headroom's own has no such method.".to_owned(),
            Self::Upgrade => "Protocol upgrades such as WebSocket are not passed on.".to_owned(),
            Self::TransferCoding => "The only transfer coding known here is `chunked`.".to_owned(),
            Self::Loop => "This request has been through this gateway already, or one of the same name: a base_url leads back to it, or two gateways in a row need two names (`via` in headroom.toml).".to_owned(),
            Self::UnknownConnection { name, closest: Some(closest) } => {
                format!("There is no connection `{name}`; did you mean `{closest}`? See /-/ for all.")
            }
            Self::UnknownConnection { name, closest: None } => {
                format!("There is no connection `{name}`; see /-/ for all.")
            }
            Self::BrokenConnection { name, reason } => format!("The connection `{name}` cannot be used: {reason}"),
            Self::NoPage => "There is nothing here; /-/ leads to what there is.".to_owned(),
            Self::Parameter(detail) | Self::PageUnavailable(detail) => detail.clone(),
            Self::RequestBody => "The request's body ended too early or was badly framed.".to_owned(),
            Self::SlowRequest => "The rest of the request's body did not come in time.".to_owned(),
            Self::BodyTooLong => "The request's body is longer than it may be (`body_bytes`).".to_owned(),
            Self::HeadTooLarge => {
                "The request's head is larger than it may be (`header_bytes`, `header_fields`).".to_owned()
            }
            Self::TargetTooLong => "The request target is longer than it may be (`header_bytes`).".to_owned(),
            Self::Expectation => "The only expectation known here is `100-continue`.".to_owned(),
            Self::Overloaded => {
                "As many calls are under way as there may be (`concurrent_calls`). Try again later.".to_owned()
            }
            Self::Upstream(failure) => failure.detail().to_owned(),
        }
    }

    fn extra_header(&self) -> Option<(HeaderName, HeaderValue)> {
        let (name, value) = match self {
            Self::Credential(unavailable) => {
                let secs = HeaderValue::from(unavailable.retry_after.max(1));
                return Some((RETRY_AFTER, secs));
            }
            Self::Method => (ALLOW, METHODS),
            // Others may see another end of such a body than headroom does.
            Self::TransferCoding => (CONNECTION, "close"),
            Self::PageMethod => (ALLOW, "GET, HEAD"),
            // Budgets are forgotten when their windows are over; most are minutes long.
            Self::HouseFull => (RETRY_AFTER, "60"),
            Self::PageUnavailable(_) => (RETRY_AFTER, "5"),
            // Calls end all the time.
            Self::Overloaded | Self::Upstream(Failure::ConnectionLimit) => (RETRY_AFTER, "1"),
            Self::PageKey {
                is_for_people: true,
                ..
            } => (WWW_AUTHENTICATE, "Basic realm=\"headroom\""),
            Self::NoKey | Self::UnknownKey | Self::PageKey { .. } => {
                (WWW_AUTHENTICATE, "Bearer realm=\"headroom\"")
            }
            _ => return None,
        };
        Some((name, HeaderValue::from_static(value)))
    }

    fn proxy_error(&self) -> Option<&'static str> {
        match self {
            Self::Upstream(failure) => Some(failure.token()),
            Self::Loop => Some("proxy_loop_detected"),
            Self::RequestBody | Self::SlowRequest | Self::BodyTooLong | Self::Target => {
                Some("http_request_error")
            }
            _ => None,
        }
    }

    /// The answer. `dress` puts on what the connection has to add, when there is one.
    pub(super) fn response(
        &self,
        connection: Option<&str>,
        pseudonym: &str,
        dress: impl FnOnce(&mut Fields, StatusCode),
    ) -> Reply<Body> {
        let status = self.status();
        let details = Details {
            r#type: "about:blank",
            title: status.canonical_reason(),
            status: status.as_u16(),
            detail: self.detail(),
            code: self.code(),
            connection,
        };
        // Strings and a number: there is nothing in it that could not be written.
        let body = Body::full(serde_json::to_string(&details).unwrap_or_default());
        let mut headers = Fields::new();
        for (name, value) in [
            (CONTENT_TYPE, "application/problem+json"),
            (CACHE_CONTROL, "no-store"),
            // It may repeat a word of the caller's.
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        if let Some((name, value)) = self.extra_header() {
            headers.append(&name, &value);
        }
        let proxy_status = self
            .proxy_error()
            .map(|token| format!("{pseudonym}; error={token}"));
        if let Some(Ok(value)) = proxy_status.map(HeaderValue::try_from) {
            headers.append(&PROXY_STATUS, &value);
        }
        dress(&mut headers, status);
        Reply::new(status, headers, body)
    }
}
