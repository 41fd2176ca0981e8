//! Every way in which headroom itself ends a call, and the one place that maps them to HTTP.

use std::error::Error;
use std::io;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::body::Body;

/// Why a call ends here.
#[derive(Debug)]
pub(super) enum Problem {
    /// No `Host` in HTTP/1.1, several, an unreadable one, or one that contradicts `:authority`.
    Host(&'static str),
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
    /// The caller's body ended before its end, or was badly framed.
    RequestBody,
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

/// What went wrong between headroom and the provider. The words are those of RFC 9209, section 2.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Dns,
    ConnectionTimeout,
    ConnectionRefused,
    Unroutable,
    TlsCertificate,
    TlsAlert,
    TlsProtocol,
    /// The connection ended before an answer came.
    ConnectionTerminated,
    ResponseTimeout,
    Protocol,
    /// An error that has none of these shapes.
    Other,
}

/// A name that could not be resolved; the resolver wraps its errors in this so that they can be told from others.
#[derive(Debug)]
pub(super) struct DnsError(pub(super) io::Error);

impl std::fmt::Display for DnsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "name resolution failed: {}", self.0)
    }
}

impl Error for DnsError {}

impl Failure {
    /// Finds the shape of an error by the types in its chain.
    pub(super) fn of(error: &reqwest::Error) -> Self {
        let mut found = if error.is_timeout() {
            Some(Self::ConnectionTimeout)
        } else {
            None
        };
        let mut link: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(error) = link {
            // The innermost shape says most, so later links overwrite.
            found = Self::of_link(error).or(found);
            // An io::Error made around another error does not name it as its source.
            link = match error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref)
            {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        found.unwrap_or(Self::Other)
    }

    fn of_link(error: &(dyn Error + 'static)) -> Option<Self> {
        if error.is::<DnsError>() {
            return Some(Self::Dns);
        }
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Some(match error {
                rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
                    Self::TlsCertificate
                }
                rustls::Error::AlertReceived(_) => Self::TlsAlert,
                _ => Self::TlsProtocol,
            });
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            if error.is_parse() || error.is_parse_status() {
                return Some(Self::Protocol);
            }
            let ended = error.is_incomplete_message() || error.is_canceled() || error.is_closed();
            return ended.then_some(Self::ConnectionTerminated);
        }
        let error = error.downcast_ref::<io::Error>()?;
        Some(match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::ConnectionRefused,
            io::ErrorKind::TimedOut => Self::ConnectionTimeout,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Self::Unroutable,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Self::ConnectionTerminated,
            _ => return None,
        })
    }

    const fn token(self) -> &'static str {
        match self {
            Self::Dns => "dns_error",
            Self::ConnectionTimeout => "connection_timeout",
            Self::ConnectionRefused => "connection_refused",
            Self::Unroutable => "destination_ip_unroutable",
            Self::TlsCertificate => "tls_certificate_error",
            Self::TlsAlert => "tls_alert_received",
            Self::TlsProtocol => "tls_protocol_error",
            Self::ConnectionTerminated => "connection_terminated",
            Self::ResponseTimeout => "http_response_timeout",
            Self::Protocol => "http_protocol_error",
            Self::Other => "proxy_internal_error",
        }
    }

    const fn detail(self) -> &'static str {
        match self {
            Self::Dns => "The provider's host name could not be resolved.",
            Self::ConnectionTimeout => "The provider did not accept the connection in time.",
            Self::ConnectionRefused => "The provider refused the connection.",
            Self::Unroutable => "There is no route to the provider's address.",
            Self::TlsCertificate => "The provider's certificate is not trusted.",
            Self::TlsAlert => "The provider ended the TLS handshake with an alert.",
            Self::TlsProtocol => "The TLS handshake with the provider failed.",
            Self::ConnectionTerminated => "The provider closed the connection before it answered.",
            Self::ResponseTimeout => "The provider did not answer in time.",
            Self::Protocol => {
                "The provider's answer is not valid HTTP, or not an answer to this request."
            }
            Self::Other => "The call to the provider failed.",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::ConnectionTimeout | Self::ResponseTimeout => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        }
    }
}

impl Problem {
    fn status(&self) -> StatusCode {
        match self {
            Self::Host(_)
            | Self::TargetForm
            | Self::DotSegment
            | Self::Target
            | Self::RequestBody => StatusCode::BAD_REQUEST,
            Self::Method | Self::PageMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::Upgrade | Self::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::UnknownConnection { .. } | Self::NoPage => StatusCode::NOT_FOUND,
            Self::BrokenConnection { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Upstream(failure) => failure.status(),
        }
    }

    /// A stable word for programs.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Host(_) => "bad-host",
            Self::TargetForm => "bad-target",
            Self::DotSegment => "dot-segment",
            Self::Target => "inexact-target",
            Self::Method | Self::PageMethod => "method-not-allowed",
            Self::Upgrade => "upgrade-not-supported",
            Self::TransferCoding => "transfer-coding-not-supported",
            Self::Loop => "loop-detected",
            Self::UnknownConnection { .. } => "unknown-connection",
            Self::BrokenConnection { .. } => "broken-connection",
            Self::NoPage => "not-found",
            Self::RequestBody => "incomplete-request",
            Self::Upstream(_) => "upstream-failed",
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Host(detail) => (*detail).to_owned(),
            Self::TargetForm => "The request target must be a path.".to_owned(),
            Self::DotSegment => {
                "The path has a `.` or `..` segment. Headroom sends paths as they are and resolves none.".to_owned()
            }
            Self::Target => "The path cannot be sent to the provider without changing it.".to_owned(),
            Self::Method => "TRACE and CONNECT are not passed on.".to_owned(),
            Self::PageMethod => "This page of headroom's own has no such method.".to_owned(),
            Self::Upgrade => "Protocol upgrades such as WebSocket are not passed on.".to_owned(),
            Self::TransferCoding => "The only transfer coding known here is `chunked`.".to_owned(),
            Self::Loop => "This request has been through this gateway already: a base_url leads back to it.".to_owned(),
            Self::UnknownConnection { name, closest: Some(closest) } => {
                format!("There is no connection `{name}`; did you mean `{closest}`? See /-/ for all.")
            }
            Self::UnknownConnection { name, closest: None } => {
                format!("There is no connection `{name}`; see /-/ for all.")
            }
            Self::BrokenConnection { name, reason } => format!("The connection `{name}` cannot be used: {reason}"),
            Self::NoPage => "There is nothing here; /-/ leads to what there is.".to_owned(),
            Self::RequestBody => "The request's body ended too early or was badly framed.".to_owned(),
            Self::Upstream(failure) => failure.detail().to_owned(),
        }
    }

    fn extra_header(&self) -> Option<(HeaderName, &'static str)> {
        match self {
            Self::Method => Some((ALLOW, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")),
            Self::PageMethod => Some((ALLOW, "GET, HEAD")),
            _ => None,
        }
    }

    fn proxy_error(&self) -> Option<&'static str> {
        match self {
            Self::Upstream(failure) => Some(failure.token()),
            Self::Loop => Some("proxy_loop_detected"),
            Self::RequestBody | Self::Target => Some("http_request_error"),
            _ => None,
        }
    }

    /// The answer. `dress` puts on what the connection has to add, when there is one.
    pub(super) fn response(
        &self,
        connection: Option<&str>,
        pseudonym: &str,
        dress: impl FnOnce(&mut HeaderMap, StatusCode),
    ) -> Response<Body> {
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
        let mut response = Response::new(Body::full(
            serde_json::to_string(&details).unwrap_or_default(),
        ));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some((name, value)) = self.extra_header() {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let proxy_status = self
            .proxy_error()
            .map(|token| format!("{pseudonym}; error={token}"));
        if let Some(Ok(value)) = proxy_status.map(HeaderValue::try_from) {
            headers.insert("proxy-status", value);
        }
        dress(headers, status);
        response
    }
}
