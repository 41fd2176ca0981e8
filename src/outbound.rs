//! How headroom calls others: what a client does of its own accord is off, for providers, token endpoints, webhooks and
//! collectors alike. What is meant for one of them is for no other, so no redirect is followed, no proxy is asked, nothing is
//! sent twice, and nobody is told where a call came from.

use reqwest::{Client, ClientBuilder, redirect, retry};
use rustls::ClientConfig;

/// A client with this idea of whom to trust, over HTTP/2 where the other side has it.
pub fn builder(mut tls: ClientConfig) -> ClientBuilder {
    // A TLS configuration of our own comes without the protocols that reqwest would offer.
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
}
