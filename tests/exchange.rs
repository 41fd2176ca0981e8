//! The gateway over real sockets: what a caller sends, what a scripted provider gets, what it answers, what comes back.

mod bodies;
mod failures;
mod faults;
mod heads;
mod hostile;
mod hostile_h2;
mod lasting;
mod limits;
mod lingering;
mod load;
mod outsider;
mod serving;
mod targets;
pub(crate) mod tls;
mod transcripts;

/// The status of a raw answer.
pub(crate) fn status(answer: &str) -> u16 {
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("no status in {answer:?}"))
}

/// The values of a field of a raw message.
pub(crate) fn fields<'a>(message: &'a str, name: &str) -> Vec<&'a str> {
    let head = message.split("\r\n\r\n").next().unwrap_or_default();
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect()
}

/// What follows the head of a raw message.
pub(crate) fn body(message: &str) -> &str {
    message.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A client that speaks HTTP/2 from its first byte.
pub(crate) fn http2() -> reqwest::Client {
    reqwest::Client::builder()
        .http2_prior_knowledge()
        .no_proxy()
        .tls_backend_preconfigured(no_tls())
        .build()
        .unwrap()
}

/// reqwest wants TLS set up even where none is used.
fn no_tls() -> rustls::ClientConfig {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}
