//! Files that change while headroom runs: they are read again, and what has mistakes is reported, and what runs stays.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;

use super::Failure;
use super::loaded::{self, Loaded, Sources};
use super::mounts::Mounts;
use super::orders::next_of;
use super::stamps::Stamps;
use super::start::expired;
use super::supervisor::Supervisor;
use crate::admin::Reloads;
use crate::clock;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::oauth::Registry;
use crate::warn::{Endpoint, Warnings};

/// How often the files are looked at for changes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Who looks at the files, and who is told.
pub(super) struct Watch {
    pub(super) sources: Sources,
    pub(super) gateway: Arc<Gateway>,
    pub(super) warnings: Arc<Warnings>,
    pub(super) registry: Arc<Registry>,
    pub(super) reloads: Arc<Reloads>,
    pub(super) supervisor: Supervisor,
    /// The order to look at once.
    pub(super) hangup: Option<Signal>,
}

/// What was read last.
pub(super) struct Seen {
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
    /// Of the files, or of what is wrong with them.
    fingerprint: u64,
    /// Of what takes effect at a start alone.
    fixed: String,
    generation: u64,
}

impl Seen {
    /// At the start.
    pub(super) fn new(loaded: &Loaded) -> Self {
        Self {
            folders: loaded.folders(),
            files: loaded.files(),
            fingerprint: loaded.fingerprint(),
            fixed: fixed_at_start(loaded),
            generation: 0,
        }
    }
}

impl Watch {
    /// Reads the files again on SIGHUP and when they change.
    pub(super) async fn run(mut self, mut seen: Seen) {
        let mut stamps = Stamps::default();
        loop {
            let forced = tokio::select! {
                () = next_of(&mut self.hangup) => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            let stamp = loaded::stamp(&self.sources, &seen.folders, &seen.files);
            if !stamps.is_new(stamp) && !forced {
                continue;
            }
            if forced {
                self.supervisor.reloading();
            }
            let sources = self.sources.clone();
            let read = tokio::task::spawn_blocking(move || sources.read());
            let read = read.await.unwrap_or_else(|error| {
                Err(Failure::unreadable(format!(
                    "headroom: the files could not be read: {error}"
                )))
            });
            let put = match read {
                Ok(loaded) => self.put(loaded, forced, &mut seen).await,
                Err(failure) => Err(failure),
            };
            if let Err(failure) = put {
                // What is missing may be a file that nobody knew of before.
                stamps = Stamps::default();
                self.keep(&failure, forced, &mut seen);
            }
        }
    }

    /// Puts what was read in place, if it is something else or was asked for.
    async fn put(&self, loaded: Loaded, forced: bool, seen: &mut Seen) -> Result<(), Failure> {
        seen.folders = loaded.folders();
        seen.files = loaded.files();
        if !forced && loaded.fingerprint() == seen.fingerprint {
            return Ok(());
        }
        seen.generation += 1;
        let mounts = Mounts::new(
            &loaded,
            seen.generation,
            self.warnings.bell(),
            &self.registry,
        );
        let (gateway, roots) = (Arc::clone(&self.gateway), loaded.roots.clone());
        let replaced = tokio::task::spawn_blocking(move || {
            gateway.trust(&roots)?;
            gateway.replace(Arc::new(mounts));
            Ok(())
        });
        let replaced = replaced.await.map_err(|error| error.to_string()).flatten();
        replaced.map_err(|error| {
            Failure::unreadable(format!(
                "headroom: the configuration could not be put in place: {error}"
            ))
        })?;
        seen.fingerprint = loaded.fingerprint();
        if let Some(identity) = &loaded.config.identity {
            self.gateway.show(identity);
        }
        self.warnings.replace(endpoints(&loaded.config));
        self.reloads.succeeded(clock::now().as_millisecond());
        tracing::info!("The configuration was read again.");
        self.supervisor.ready();
        tell_expired(&loaded.config);
        let fixed = fixed_at_start(&loaded);
        if fixed != seen.fixed {
            seen.fixed = fixed;
            tracing::warn!(
                "A change of `listen`, `tls`, `via`, `state_dir`, `limits`, `telemetry` or `history` takes effect after a restart."
            );
        }
        Ok(())
    }

    /// Reports what is wrong: once, not every second.
    fn keep(&self, failure: &Failure, forced: bool, seen: &mut Seen) {
        let found = loaded::fingerprint_of(&failure.message);
        if !forced && found == seen.fingerprint {
            return;
        }
        seen.fingerprint = found;
        self.reloads.failed(in_short(&failure.message));
        self.supervisor.kept();
        tracing::error!(
            "The files have mistakes, what runs stays:\n{}",
            failure.message.trim_end()
        );
    }
}

/// Who is told of warnings.
pub(super) fn endpoints(config: &Config) -> Vec<Endpoint> {
    let webhooks = config.webhooks.iter();
    webhooks.map(|webhook| webhook.endpoint.clone()).collect()
}

/// Says which certificates of headroom's own nobody accepts.
pub(super) fn tell_expired(config: &Config) {
    for problem in expired(config, clock::now()) {
        tracing::warn!("{problem}");
    }
}

/// What cannot change while the gateway runs: its sockets, its name, its limits, where it keeps its state and for how long.
fn fixed_at_start(loaded: &Loaded) -> String {
    let config = &loaded.config;
    let own: Vec<_> = config
        .connections
        .iter()
        .filter_map(|one| Some((&one.name, one.listen?)))
        .collect();
    format!(
        "{:?} {} {:?} {:?} {:?} {:?} {:?} {own:?}",
        config.listen,
        // A certificate is replaced by another at once.
        config.identity.is_some(),
        config.via,
        config.state_dir,
        config.otlp_endpoint,
        config.history,
        config.limits
    )
}

/// A rendered report in one line: its first mistake, where that is, and how many more there are.
fn in_short(report: &str) -> String {
    let plain = without_colours(report);
    let mut lines = plain.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut short = lines.next().unwrap_or_default().to_owned();
    let short_of = |line: &str| line.strip_prefix("--> ").map(str::to_owned);
    if let Some(place) = lines.clone().next().and_then(short_of) {
        short = format!("{short}, {place}");
    }
    let more = lines.filter(|line| line.starts_with("error[")).count();
    if more > 0 {
        short = format!("{short}; and {more} more");
    }
    short
}

/// On a terminal reports are coloured.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Mistakes;

    #[test]
    fn a_report_in_short_says_what_and_where() {
        let source = "listen = 1\nvia = 2\n";
        let mut mistakes = Mistakes::default();
        mistakes.push("wrong-type", 9..10, "this is wrong", "write another");
        mistakes.push("wrong-type", 17..18, "so is this", "write another");
        for colour in [false, true] {
            let report = mistakes.render("a/headroom.toml", source, colour);
            assert_eq!(
                in_short(&report),
                "error[wrong-type]: this is wrong, a/headroom.toml:1:10; and 1 more"
            );
        }
        assert_eq!(
            in_short("headroom: cannot read x\n"),
            "headroom: cannot read x"
        );
        assert_eq!(in_short(""), "");
    }
}
