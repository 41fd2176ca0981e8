//! What `serve` looks at before a port opens, and `check` without opening one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;

use super::loaded::{Exposure, Loaded, Sources};
use super::state::{State as Place, StateArguments};
use super::{AdapterFolders, Failure, Openness};
use crate::config::Config;
use crate::gateway::{self, Trust};
use crate::identity::Identity;
use crate::trace::{Exporter, Tracer};

/// What can be said outside of the file.
#[derive(Debug, Args)]
pub(super) struct StartArguments {
    /// The configuration; ./headroom.toml is found by itself
    #[arg(long, value_name = "FILE", env = "HEADROOM_CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", env = "HEADROOM_LISTEN")]
    pub(super) listen: Option<SocketAddr>,
    /// A PEM file with certificate authorities to trust beside the system's
    #[arg(long, value_name = "FILE", env = "HEADROOM_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// A collector of OpenTelemetry traces; OTEL_EXPORTER_OTLP_ENDPOINT if nothing else names one
    #[arg(long, value_name = "URL", env = "HEADROOM_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
    #[command(flatten)]
    openness: Openness,
    #[command(flatten)]
    state: StateArguments,
    #[command(flatten)]
    adapters: AdapterFolders,
}

impl StartArguments {
    /// Where everything is read from; headroom listens at these addresses already.
    pub(super) fn sources(&self, listening: impl IntoIterator<Item = SocketAddr>) -> Sources {
        Sources {
            config: self.config.clone(),
            folders: self.adapters.folders.clone(),
            ca_file: self.ca_file.clone(),
            exposure: Exposure {
                open_to_all: self.openness.open_to_all,
                listen: self.listen.into_iter().chain(listening).collect(),
            },
        }
    }

    /// Nobody has said anything that could be looked at without a file.
    pub(super) fn is_silent(&self) -> bool {
        self.config.is_none()
            && self.listen.is_none()
            && self.ca_file.is_none()
            && self.otlp_endpoint.is_none()
            && self.adapters.folders.is_empty()
    }

    /// Where the state lives.
    pub(super) fn place(&self, loaded: &Loaded) -> Place {
        let configured = loaded.state_dir();
        self.state.place(configured, |name| std::env::var_os(name))
    }

    /// Where traces go.
    fn endpoint(&self, config: &Config) -> Option<String> {
        let configured = self.otlp_endpoint.as_ref();
        let configured = configured.or(config.otlp_endpoint.as_ref()).cloned();
        // The variable of all of OpenTelemetry goes for whoever has not said anything else.
        let general = || std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok();
        configured.or_else(general).filter(|text| !text.is_empty())
    }
}

/// What is ready before a port opens.
pub(super) struct Start {
    pub(super) trust: Trust,
    pub(super) traces: Option<(Arc<Tracer>, Exporter)>,
}

impl Start {
    /// From what was read and what was said outside of it.
    pub(super) fn new(arguments: &StartArguments, loaded: &Loaded) -> Result<Self, Failure> {
        let failure = |error| Failure::unreadable(format!("headroom: {error}"));
        let trust = Trust::new(&loaded.roots).map_err(failure)?;
        let traces = arguments.endpoint(&loaded.config);
        let traces = traces.map(|endpoint| gateway::tracer(&endpoint, &trust));
        let traces = traces.transpose().map_err(failure)?;
        Ok(Self { trust, traces })
    }
}

/// Certificates of headroom's own that nobody accepts now: they do not keep it from starting.
pub(super) fn expired(config: &Config, now: Timestamp) -> Vec<String> {
    let own = config.identity.iter();
    let own = own.map(|identity| ("[tls]".to_owned(), identity));
    let shown = config.connections.iter().filter_map(|connection| {
        let place = format!("[connections.{}]", connection.name);
        Some((place, connection.identity.as_ref()?))
    });
    let all = own.chain(shown);
    all.filter_map(|(place, identity)| Some(format!("{place}: {}", invalid(identity, now)?)))
        .collect()
}

fn invalid(identity: &Identity, now: Timestamp) -> Option<String> {
    let validity = identity.validity()?;
    if now < *validity.start() {
        return Some(format!(
            "the certificate is not valid before {}",
            validity.start()
        ));
    }
    let is_over = now > *validity.end();
    is_over.then(|| format!("the certificate expired on {}", validity.end()))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_certificate_is_told_of_outside_its_time_alone() {
        let certificate = include_str!("../../tests/support/tls/server.pem");
        let key = include_str!("../../tests/support/tls/server.key");
        let identity = Identity::parse(certificate, key).unwrap();
        let validity = identity.validity().unwrap();
        let (from, until) = (*validity.start(), *validity.end());
        let second = SignedDuration::from_secs(1);
        assert_eq!(invalid(&identity, from), None);
        assert_eq!(invalid(&identity, until), None);
        let early = invalid(&identity, from - second).unwrap();
        assert_eq!(early, format!("the certificate is not valid before {from}"));
        let late = invalid(&identity, until + second).unwrap();
        assert_eq!(late, format!("the certificate expired on {until}"));
    }
}
