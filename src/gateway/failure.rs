//! What can go wrong between headroom and a provider, found by the types in an error's chain.

use std::error::Error;
use std::io;

use http::StatusCode;
use rustls::AlertDescription;

use super::http1::Invalid;

/// What went wrong between headroom and the provider. The words are those of RFC 9209, section 2.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Dns,
    ConnectionTimeout,
    /// As many connections to the provider are in use as there may be, and none became free in time.
    ConnectionLimit,
    ConnectionRefused,
    Unroutable,
    /// The host is one of the built-in catalogue, and its address is not of the public internet.
    Prohibited,
    TlsCertificate,
    TlsAlert,
    /// It wants to be shown a certificate, and there is none.
    TlsNoIdentity,
    TlsProtocol,
    /// The connection ended before an answer came.
    ConnectionTerminated,
    /// The provider said that it did not look at the call (RFC 9113, sections 6.8 and 8.7).
    NotProcessed,
    /// The answer's body ended before its end.
    Incomplete,
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

/// All addresses of a name are of networks that calls must not reach.
#[derive(Debug)]
pub(super) struct ProhibitedError;

impl std::fmt::Display for ProhibitedError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the name has no address of the public internet")
    }
}

impl Error for ProhibitedError {}

impl Failure {
    /// Finds the shape of an error by the types in its chain.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut found = None;
        for link in chain(error) {
            // The innermost shape says most, so later links overwrite.
            found = Self::of_link(link).or(found);
        }
        found.unwrap_or(Self::Other)
    }

    /// Finds the shape of an error in the middle of an answer's body.
    pub(super) fn of_body(error: &(dyn Error + 'static)) -> Self {
        let reset = chain(error)
            .filter_map(|link| {
                link.downcast_ref::<io::Error>()
                    .or_else(|| link.downcast_ref::<h2::Error>()?.get_io())
            })
            .any(|error| error.kind() == io::ErrorKind::ConnectionReset);
        if reset {
            Self::ConnectionTerminated
        } else {
            Self::Incomplete
        }
    }

    fn of_link(error: &(dyn Error + 'static)) -> Option<Self> {
        if error.is::<DnsError>() {
            return Some(Self::Dns);
        }
        if error.is::<ProhibitedError>() {
            return Some(Self::Prohibited);
        }
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Some(match error {
                rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
                    Self::TlsCertificate
                }
                rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
                    Self::TlsNoIdentity
                }
                rustls::Error::AlertReceived(_) => Self::TlsAlert,
                _ => Self::TlsProtocol,
            });
        }
        if error.is::<Invalid>() {
            return Some(Self::Protocol);
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            if error.is_parse() || error.is_parse_status() {
                return Some(Self::Protocol);
            }
            let ended = error.is_incomplete_message() || error.is_canceled() || error.is_closed();
            return ended.then_some(Self::ConnectionTerminated);
        }
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return Some(Self::of_http2(error));
        }
        Self::of_io(error.downcast_ref::<io::Error>()?)
    }

    fn of_http2(error: &h2::Error) -> Self {
        if let Some(error) = error.get_io() {
            return Self::of_io(error).unwrap_or(Self::ConnectionTerminated);
        }
        let (remote, reason) = (error.is_remote(), error.reason());
        match reason {
            // Calls that the GOAWAY counts among the processed ones do not end with it.
            Some(h2::Reason::NO_ERROR) if remote && error.is_go_away() => Self::NotProcessed,
            Some(h2::Reason::REFUSED_STREAM) if remote && error.is_reset() => Self::NotProcessed,
            _ if remote && error.is_go_away() => Self::ConnectionTerminated,
            _ => Self::Protocol,
        }
    }

    fn of_io(error: &io::Error) -> Option<Self> {
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

    /// The provider never saw the call, so it cannot have counted it.
    pub(super) const fn is_before_provider(self) -> bool {
        matches!(
            self,
            Self::Dns
                | Self::ConnectionTimeout
                | Self::ConnectionLimit
                | Self::ConnectionRefused
                | Self::Unroutable
                | Self::Prohibited
                | Self::TlsCertificate
                | Self::TlsAlert
                | Self::TlsNoIdentity
                | Self::TlsProtocol
                | Self::NotProcessed
        )
    }

    pub(super) const fn token(self) -> &'static str {
        match self {
            Self::Dns => "dns_error",
            Self::ConnectionTimeout => "connection_timeout",
            Self::ConnectionLimit => "connection_limit_reached",
            Self::ConnectionRefused => "connection_refused",
            Self::Unroutable => "destination_ip_unroutable",
            Self::Prohibited => "destination_ip_prohibited",
            Self::TlsCertificate => "tls_certificate_error",
            Self::TlsAlert | Self::TlsNoIdentity => "tls_alert_received",
            Self::TlsProtocol => "tls_protocol_error",
            Self::ConnectionTerminated | Self::NotProcessed => "connection_terminated",
            Self::Incomplete => "http_response_incomplete",
            Self::ResponseTimeout => "http_response_timeout",
            Self::Protocol => "http_protocol_error",
            Self::Other => "proxy_internal_error",
        }
    }

    pub(super) const fn detail(self) -> &'static str {
        match self {
            Self::Dns => "The provider's host name could not be resolved.",
            Self::ConnectionTimeout => "The provider did not accept the connection in time.",
            Self::ConnectionLimit => {
                "As many connections to the provider are in use as there may be (`connections_per_origin`), and none became free in time."
            }
            Self::ConnectionRefused => "The provider refused the connection.",
            Self::Unroutable => "There is no route to the provider's address.",
            Self::Prohibited => {
                "The provider's host name leads to an address that is not of the public internet. If that is meant, write the connection into headroom.toml with its base_url."
            }
            Self::TlsCertificate => "The provider's certificate is not trusted.",
            Self::TlsAlert => "The provider ended the TLS handshake with an alert.",
            Self::TlsNoIdentity => {
                "The provider wants to be shown a certificate: write `client_certificate` and `client_key` into the connection in headroom.toml."
            }
            Self::TlsProtocol => "The TLS handshake with the provider failed.",
            Self::ConnectionTerminated => {
                "The provider closed the connection before its answer was complete."
            }
            Self::NotProcessed => "The provider did not take the call; it may be sent again.",
            Self::Incomplete => "The provider's answer ended before its end.",
            Self::ResponseTimeout => "The provider did not answer in time.",
            Self::Protocol => {
                "The provider's answer is not valid HTTP, or not an answer to this request."
            }
            Self::Other => "The call to the provider failed.",
        }
    }

    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::ConnectionTimeout | Self::ResponseTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::ConnectionLimit => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_GATEWAY,
        }
    }
}

/// The links of an error's chain, from the outermost.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // An io::Error made around another error does not name it as its source.
        match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}
