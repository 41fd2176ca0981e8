//! What the user says: `headroom.toml`. Text in, [`Config`] out, with every mistake; no files and no environment here, the
//! command line hands both in.

mod admin;
mod connections;
mod consumers;
mod credentials;
mod exposure;
mod history;
mod language;
mod limits;
mod reader;
mod references;
mod secrets;
mod tls;
mod warnings;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use jiff::tz::TimeZone;
use rustls::pki_types::CertificateDer;

pub use exposure::reject_exposed;
pub use language::CONFIG;
pub use references::Outside;

use http::Method;

use crate::adapter::CredentialPlace;
use crate::adapter::catalog::Catalog;
use crate::consumer::PathPattern;
use crate::diagnostic::Mistakes;
use crate::document::{self, Fields};
use crate::emit::Style;
use crate::guard::Admin;
use crate::history::Settings as HistorySettings;
use crate::identity::Identity;
use crate::limits::Limits;
use crate::oauth;
use crate::quota::{Mode, Share};
use crate::secret::Secret;
use crate::warn::Endpoint;
use reader::{Reader, Resolved};

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the gateway listens.
    pub listen: Option<SocketAddr>,
    /// All may call, also from other machines.
    pub open_to_all: bool,
    /// Who may look at headroom's own pages.
    pub admin: Admin,
    /// Folders of adapters, as written: relative to the file.
    pub providers: Vec<String>,
    /// Certificate authorities to trust beside the system's.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Who headroom is to its callers; with it, they all speak TLS.
    pub identity: Option<Identity>,
    /// Headroom's name in `Via` (RFC 9110, section 7.6.3).
    pub via: Option<String>,
    /// Where counts and usage are kept, as written; `None`: the default place.
    pub state_dir: Option<String>,
    /// Where traces go.
    pub otlp_endpoint: Option<String>,
    /// How many calls a crash may make headroom believe were used, at least 1.
    pub count_block: u64,
    /// Who may wait, where a connection does not say otherwise.
    pub waiting: Waiting,
    /// How the standard headers are written.
    pub style: Style,
    /// What is kept of the calls, and for how long.
    pub history: HistorySettings,
    /// What is taken of callers and providers.
    pub limits: Limits,
    /// What is worth a warning.
    pub warnings: WarningsConfig,
    /// Who is told, in the order of the file.
    pub webhooks: Vec<WebhookConfig>,
    /// The connections, in the order of the file.
    pub connections: Vec<ConnectionConfig>,
    /// The programs that may call, in the order of the file.
    pub consumers: Vec<ConsumerConfig>,
    /// Values that came from elsewhere: no mistake repeats them.
    resolved: Vec<Resolved>,
    listen_span: Range<usize>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: None,
            open_to_all: false,
            admin: Admin::default(),
            providers: Vec::new(),
            authorities: Vec::new(),
            identity: None,
            via: None,
            state_dir: None,
            otlp_endpoint: None,
            count_block: 64,
            waiting: Waiting::default(),
            style: Style::default(),
            history: HistorySettings::default(),
            limits: Limits::default(),
            warnings: WarningsConfig::default(),
            webhooks: Vec::new(),
            connections: Vec::new(),
            consumers: Vec::new(),
            resolved: Vec::new(),
            listen_span: 0..0,
        }
    }
}

/// How many calls may wait for quota, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// At once, for each connection; 0: none.
    pub max_waiting: usize,
    /// The longest a call is held.
    pub max_wait: Duration,
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            max_waiting: 1_000,
            max_wait: Duration::from_secs(60),
        }
    }
}

/// `[warnings]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarningsConfig {
    /// Per cent of a quota, each from 1 to 100.
    pub thresholds: Vec<u8>,
    /// Whether a pace that is too fast is told.
    pub forecast: bool,
    /// Quotas of shorter windows are not warned of.
    pub min_window: Duration,
}

impl Default for WarningsConfig {
    fn default() -> Self {
        Self {
            thresholds: vec![80, 95, 100],
            forecast: true,
            min_window: Duration::from_secs(60),
        }
    }
}

/// One `[[webhooks]]`.
#[derive(Debug, Clone)]
pub struct WebhookConfig {
    /// Who is told of what.
    pub endpoint: Endpoint,
    connections: Named,
}

/// One `[connections.NAME]`.
#[derive(Debug, Clone)]
pub struct ConnectionConfig {
    /// The mount: `/NAME/`.
    pub name: String,
    /// The adapter's id.
    pub provider: String,
    /// Instead of the adapter's.
    pub base_url: Option<String>,
    /// What its calls show the provider.
    pub access: Access,
    /// The certificate that headroom shows the provider when that asks for one.
    pub identity: Option<Identity>,
    /// The account's plan.
    pub plan: Option<String>,
    /// The account's zone.
    pub time_zone: Option<TimeZone>,
    /// The account's own quotas, by policy.
    pub quotas: BTreeMap<String, u64>,
    /// A port of its own.
    pub listen: Option<SocketAddr>,
    /// What happens to calls that a quota has no room for.
    pub modes: Modes,
    /// Calls are spread over the window instead of sent as fast as they come.
    pub pace: bool,
    /// Who may wait.
    pub waiting: Waiting,
    /// A part of every quota that only some may touch.
    pub reserve: Option<Reserve>,
    spans: Spans,
}

/// Whose credential the provider gets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Access {
    /// That of each caller.
    #[default]
    Callers,
    /// This one.
    Credential(Secret),
    /// A token.
    OAuth2(Box<OAuth2>),
}

/// `[connections.NAME.oauth2]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuth2 {
    /// How tokens are got.
    pub settings: oauth::Settings,
    /// They stand where the adapter says, instead of where RFC 6750 does.
    pub in_providers_place: bool,
}

impl OAuth2 {
    /// Where tokens stand, given the provider's own place.
    #[must_use]
    pub fn place(&self, provider: &CredentialPlace) -> CredentialPlace {
        if self.in_providers_place {
            provider.clone()
        } else {
            CredentialPlace::Bearer
        }
    }
}

/// What was configured with `mode`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Modes {
    /// For all policies.
    pub all: Option<Mode>,
    /// By policy.
    pub policies: BTreeMap<String, Mode>,
}

impl Modes {
    /// The mode of a policy; `None`: nothing was configured, and it depends on who said the quota.
    #[must_use]
    pub fn of(&self, policy: &str) -> Option<Mode> {
        self.policies.get(policy).copied().or(self.all)
    }
}

/// A part of every quota of a connection that only some consumers may touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserve {
    /// How much.
    pub share: Share,
    /// Who. With nobody, it is left to those who call the provider without headroom.
    pub consumers: Vec<String>,
}

/// One `[consumers.NAME]`.
#[derive(Debug, Clone)]
pub struct ConsumerConfig {
    /// The name in reports.
    pub name: String,
    /// SHA-256 of its key.
    pub key_hash: [u8; 32],
    /// The connections that it may use; `None`: all.
    pub connections: Option<Vec<String>>,
    /// The methods that it may call with; `None`: all.
    pub methods: Option<Vec<Method>>,
    /// The paths at providers that it may call; `None`: all.
    pub paths: Option<Vec<PathPattern>>,
    /// Its part of every quota of these connections.
    pub share: Option<Share>,
    /// The most that it may use of a policy's quota, by policy.
    pub cap: BTreeMap<String, u64>,
    spans: ConsumerSpans,
}

impl ConsumerConfig {
    /// Whether it may use a connection.
    #[must_use]
    pub fn may_use(&self, connection: &str) -> bool {
        let listed = |names: &Vec<String>| names.iter().any(|name| name == connection);
        self.connections.as_ref().is_none_or(listed)
    }
}

/// Names in the order of the file, each with its place.
type Named = Vec<(String, Range<usize>)>;

#[derive(Debug, Clone, Default)]
struct Spans {
    name: Range<usize>,
    provider: Range<usize>,
    plan: Range<usize>,
    credential: Range<usize>,
    base_url: Range<usize>,
    client_certificate: Range<usize>,
    listen: Range<usize>,
    /// Of `quotas` and `mode`.
    policies: Named,
    reserved_for: Named,
}

#[derive(Debug, Clone, Default)]
struct ConsumerSpans {
    connections: Named,
    share: Range<usize>,
    cap: Named,
}

/// Parses and checks a configuration, as far as that goes without the adapters. With mistakes, the configuration is as good
/// as the text allows, so that [`Config::check`] can find the others too; it must not be used. The mistakes know which bytes of
/// the text are secrets: those of other checks are appended to these, so that all are shown without them.
#[must_use]
pub fn parse(source: &str, outside: &dyn Outside) -> (Config, Mistakes) {
    let mut mistakes = Mistakes::default();
    let mut resolved = Vec::new();
    let resolve = &mut |text: &str, span, mistakes: &mut Mistakes| {
        Reader::new(outside, mistakes, &mut resolved).resolve(text, span)
    };
    let table = document::parse_resolved(source, &CONFIG, resolve, &mut mistakes);
    let root = Fields::root(&table);
    let mut config = Reader::new(outside, &mut mistakes, &mut resolved).config(&root);
    config.resolved = resolved;
    for found in secrets::written_out(source) {
        mistakes.hide(found.span.clone());
        config.resolved.push(Resolved::written_out(found));
    }
    reader::hide(&config.resolved, &mut mistakes);
    mistakes.drop_echoes(source);
    (config, mistakes)
}

impl Config {
    /// The mistakes that only show beside the adapters: unknown providers, plans and policies, missing hosts, and consumers
    /// that do not fit the connections.
    #[must_use]
    pub fn check(&self, catalog: &Catalog) -> Mistakes {
        let mut mistakes = Mistakes::default();
        for connection in &self.connections {
            connection.check(catalog, &mut mistakes);
        }
        consumers::check(self, catalog, &mut mistakes);
        warnings::check(self, catalog, &mut mistakes);
        reader::hide(&self.resolved, &mut mistakes);
        mistakes
    }
}
