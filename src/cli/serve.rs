//! `headroom serve`: the gateway.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::missing::Missing;
use super::mounts::{Exposure, Loaded, Mounts};
use super::sockets::listeners;
use super::stamps::Stamps;
use super::state::{State as Place, StateArguments};
use super::supervisor::{self, Inherited, Supervisor};
use super::{AdapterFolders, Failure, Openness, log};
use crate::admin::Books;
use crate::clock;
use crate::config::Config;
use crate::gateway::{self, Catalogue, Gateway, Lookup, Settings, client_config};
use crate::history::History;
use crate::ledger::{self, Ledger};
use crate::oauth::{self, Keeper, Registry};
use crate::state::{self, OpenError, State};
use crate::trace::Exporter;
use crate::warn::{self, Endpoint, Warnings};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The configuration; ./headroom.toml is found by itself
    #[arg(long, value_name = "FILE", env = "HEADROOM_CONFIG")]
    config: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", env = "HEADROOM_LISTEN")]
    listen: Option<SocketAddr>,
    /// A PEM file with certificate authorities to trust beside the system's
    #[arg(long, value_name = "FILE", env = "HEADROOM_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// A collector of OpenTelemetry traces; OTEL_EXPORTER_OTLP_ENDPOINT if nothing else names one
    #[arg(long, value_name = "URL", env = "HEADROOM_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
    /// How the log is written
    #[arg(
        long,
        value_name = "FORMAT",
        env = "HEADROOM_LOG_FORMAT",
        default_value = "text"
    )]
    log_format: log::Format,
    #[command(flatten)]
    openness: Openness,
    #[command(flatten)]
    state: StateArguments,
    #[command(flatten)]
    adapters: AdapterFolders,
}

/// How often the files are looked at for changes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    // Before there is a second thread: taking them alters the environment.
    let inherited = supervisor::inherited()?;
    // Everything that can be wrong is found before a port opens.
    let exposure = Exposure {
        open_to_all: arguments.openness.open_to_all,
        listen: (arguments.listen.into_iter())
            .chain(supervisor::addresses(&inherited))
            .collect(),
    };
    let loaded = Loaded::read(
        arguments.config.as_deref(),
        &arguments.adapters.folders,
        &exposure,
    )?;
    let mut settings = Settings {
        limits: loaded.config.limits,
        identity: loaded.config.identity.clone(),
        extra_roots: loaded.extra_roots(arguments.ca_file.as_deref())?,
        pseudonym: loaded
            .config
            .via
            .clone()
            .unwrap_or_else(|| Settings::default().pseudonym),
        ..Settings::default()
    };
    let exporter = match endpoint(arguments, &loaded.config) {
        Some(endpoint) => {
            let (tracer, exporter) = gateway::tracer(&endpoint, &settings)
                .map_err(|error| Failure::unreadable(format!("headroom: {error}")))?;
            settings.tracer = Some(tracer);
            Some(exporter)
        }
        None => None,
    };
    log::start(arguments.log_format);
    super::descriptors::raise();
    let state = arguments
        .state
        .place(loaded.state_dir(), |name| std::env::var_os(name));
    let cannot_start =
        |error: OpenError| Failure::unreadable(format!("headroom: cannot start: {error}"));
    let (mut kept, missing) = open(state).map_err(cannot_start)?;
    let secret = kept.as_ref().map_or_else(
        // Without a store nothing is compared with what an earlier process hashed.
        || (clock::random(), clock::random()),
        |(_, loaded)| secret(loaded.salt),
    );
    let settings = Settings { secret, ..settings };
    let told = kept
        .as_mut()
        .map(|(state, loaded)| (state.clone(), std::mem::take(&mut loaded.told)));
    let unreadable = |error| Failure::unreadable(format!("headroom: {error}"));
    let tls = client_config(&settings.extra_roots).map_err(unreadable)?;
    let webhooks = warn::Client::new(tls.clone(), warn::client::TIMEOUT).map_err(unreadable)?;
    let (told, registry) = registry(told, oauth::Client::new(tls).map_err(unreadable)?);
    let state = kept.as_ref().map(|(state, _)| state.clone());
    let ledger = Arc::new(Ledger::new(ledger::Settings::default(), kept));
    let now_ms = clock::now().as_millisecond();
    let history = History::new(state, loaded.config.history, now_ms).map_err(cannot_start)?;
    let history = Arc::new(history);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::unreadable(format!("headroom: cannot start: {error}")))?;
    let store = Store { told, missing };
    let serving = serve(
        arguments,
        loaded,
        (&ledger, &history),
        settings,
        store,
        (webhooks, registry),
        inherited,
    );
    let outcome = runtime.block_on(traced(exporter, serving));
    if let Err(error) = history.close() {
        tracing::error!("What was called last is not in the history: {error}");
    }
    ledger.close(clock::moment());
    // The lookup of a name cannot be cut, and nobody waits for it any more.
    runtime.shutdown_background();
    outcome
}

/// What is left of the store for those who run.
struct Store {
    told: Told,
    /// It should be there, and is not yet.
    missing: Option<Missing>,
}

/// The store, and what warnings remember.
type Told = Option<(State, Vec<state::WarningRow>)>;

/// Where tokens come from. Rotated refresh tokens lie beside what warnings remember.
fn registry(told: Told, client: oauth::Client) -> (Told, Arc<Registry>) {
    let Some((state, rows)) = told else {
        let registry = Registry::new(client, Keeper::default());
        return (None, Arc::new(registry));
    };
    let (tokens, told) = oauth::part(rows);
    let keeper = Keeper::new(Some(state.clone()), &tokens);
    let registry = Arc::new(Registry::new(client, keeper));
    (Some((state, told)), registry)
}

/// Who is told of warnings.
fn endpoints(config: &Config) -> Vec<Endpoint> {
    let webhooks = config.webhooks.iter();
    webhooks.map(|webhook| webhook.endpoint.clone()).collect()
}

/// Where traces go.
fn endpoint(arguments: &Arguments, config: &Config) -> Option<String> {
    let configured = arguments.otlp_endpoint.as_ref();
    let configured = configured.or(config.otlp_endpoint.as_ref()).cloned();
    // The variable of all of OpenTelemetry goes for whoever has not said anything else.
    let general = || std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok();
    configured.or_else(general).filter(|text| !text.is_empty())
}

/// Takes traces to their collector meanwhile, and the last of them at the end.
async fn traced<T>(exporter: Option<Exporter>, serving: impl Future<Output = T>) -> T {
    let Some(exporter) = exporter else {
        return serving.await;
    };
    let (stop, stopped) = oneshot::channel();
    let exporting = tokio::spawn(exporter.run(stopped));
    let outcome = serving.await;
    drop(stop);
    if let Err(error) = exporting.await {
        tracing::error!(error = %error, "Traces broke off.");
    }
    outcome
}

/// A store, and what an earlier process left in it.
type Kept = (State, state::Loaded);

/// Opens the store. Where it cannot be opened headroom counts all the same, and goes on trying: no traffic stops for it.
fn open(place: Place) -> Result<(Option<Kept>, Option<Missing>), OpenError> {
    let folder = match place {
        Place::Folder(folder) => folder,
        Place::Off => return Ok((None, None)),
        Place::Homeless => {
            tracing::warn!(
                "There is no home to keep counts in, so a restart forgets them: name a folder with --state-dir."
            );
            return Ok((None, None));
        }
    };
    let now_ms = clock::now().as_millisecond();
    match State::open(&folder, now_ms) {
        Ok((state, loaded)) => {
            for warning in &loaded.warnings {
                tracing::warn!("{warning}");
            }
            Ok((Some((state, loaded)), None))
        }
        Err(error) => {
            tracing::error!(
                "Counts are not kept until the state can be opened, and a restart forgets them: {error}"
            );
            let (state, loaded) = State::without_store(&folder, &error, now_ms)?;
            let missing = Missing {
                state: state.clone(),
                folder,
                salt: loaded.salt,
            };
            Ok((Some((state, loaded)), Some(missing)))
        }
    }
}

/// The store's salt as the keys of a hash.
fn secret(salt: [u8; 16]) -> (u64, u64) {
    let both = u128::from_le_bytes(salt);
    let half = |shift: u32| u64::try_from((both >> shift) & u128::from(u64::MAX)).unwrap_or(0);
    (half(0), half(64))
}

async fn serve(
    arguments: &Arguments,
    loaded: Loaded,
    (ledger, history): (&Arc<Ledger>, &Arc<History>),
    settings: Settings,
    Store { told, missing }: Store,
    (webhooks, registry): (warn::Client, Arc<Registry>),
    inherited: Vec<Inherited>,
) -> Result<(), Failure> {
    let supervisor = Supervisor::new(|name| std::env::var_os(name), std::process::id());
    let listeners = listeners(arguments.listen, &loaded.config, inherited).await?;
    // Before anybody is told that headroom is there: who knows of it may stop it.
    let orders = Orders::new();
    // Nobody has it read the files before it listens to that: the signal would be its end.
    let hangup = signal(SignalKind::hangup()).ok();
    let scheme = match &settings.identity {
        Some(_) => "https",
        None => "http",
    };
    let mut exposure = Exposure {
        open_to_all: arguments.openness.open_to_all,
        listen: Vec::new(),
    };
    for listener in &listeners {
        if let Ok(address) = listener.socket.local_addr() {
            exposure.listen.push(address);
            tracing::info!(
                listen.address = %address,
                connection = listener.connection,
                "headroom listens on {scheme}://{address}"
            );
        }
    }
    let seen = loaded.fingerprint();
    let warnings = Warnings::new(endpoints(&loaded.config));
    let mounts = Arc::new(Mounts::new(&loaded, 0, warnings.bell(), &registry));
    adopt(ledger, &*mounts, settings.secret);
    let warner = tokio::spawn(Arc::clone(&warnings).run(Arc::clone(ledger), told, webhooks));
    let books = Books {
        ledger: Arc::clone(ledger),
        history: Arc::clone(history),
        warnings: Arc::clone(&warnings),
    };
    let secret = settings.secret;
    let gateway = Gateway::new(mounts, books, settings)
        .map_err(|error| Failure::unreadable(format!("headroom: {error}")))?;
    let gateway = Arc::new(gateway);
    let finder = missing.map(|missing| {
        let (gateway, ledger) = (Arc::clone(&gateway), Arc::clone(ledger));
        let late = (Arc::clone(&warnings), Arc::clone(&registry));
        let find = missing.find(ledger, late, move |ledger| {
            adopt(ledger, &*gateway.catalogue(), secret);
        });
        tokio::spawn(find)
    });
    let watcher = tokio::spawn(watch(
        Arc::clone(&gateway),
        (warnings, registry),
        arguments.config.clone(),
        (arguments.adapters.folders.clone(), exposure),
        (loaded.folders(), loaded.files()),
        (seen, fixed_at_start(&loaded)),
        (supervisor.clone(), hangup),
    ));
    let heart = tokio::spawn(supervisor.clone().beat());
    supervisor.ready();
    let (stop, stopped) = oneshot::channel();
    let stopped = async {
        // Whoever has the other end lives for as long as this is waited for.
        let _told = stopped.await;
    };
    tokio::select! {
        () = gateway.serve(listeners, stopped) => {}
        () = ended_twice(orders, stop, &supervisor) => tracing::warn!("The calls in flight are cut."),
    }
    watcher.abort();
    heart.abort();
    if let Some(finder) = finder {
        finder.abort();
    }
    // What it has to remember is stored as soon as it is known.
    warner.abort();
    tracing::info!("headroom has stopped");
    Ok(())
}

/// Puts meters of an earlier process in their places.
fn adopt(ledger: &Ledger, connections: &dyn Catalogue, secret: (u64, u64)) {
    for name in ledger.kept_connections() {
        if let Lookup::Found(connection) = connections.connection(&name) {
            let (account, is_resident) = (&connection.account, connection.configured);
            ledger.adopt(account, secret, is_resident, clock::moment());
        }
    }
}

/// The order to stop, and the same again while calls in flight are being finished. One listener for both: of two, the second
/// could take the two orders for one.
async fn ended_twice(mut orders: Orders, stop: oneshot::Sender<()>, supervisor: &Supervisor) {
    orders.next().await;
    supervisor.stopping();
    // Nobody waits for it when everything has ended by itself.
    let _ended = stop.send(());
    tracing::info!(
        "headroom finishes the calls in flight and stops; a second signal stops it at once"
    );
    orders.next().await;
}

/// Ctrl-C, or the SIGTERM of a supervisor. Listened to from when it is made: a signal between two looks is not lost.
pub(super) struct Orders {
    signals: [Option<Signal>; 2],
}

impl Orders {
    pub(super) fn new() -> Self {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
        Self {
            signals: kinds.map(|kind| signal(kind).ok()),
        }
    }

    pub(super) async fn next(&mut self) {
        let [interrupt, terminate] = &mut self.signals;
        tokio::select! {
            () = next_of(interrupt) => {}
            () = next_of(terminate) => {}
        }
    }
}

/// The next signal; never, where the system lets nobody listen to it.
async fn next_of(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// What cannot change while the gateway runs: its sockets, its name, whom it trusts, its limits, where it keeps its state and for how long.
fn fixed_at_start(loaded: &Loaded) -> String {
    let config = &loaded.config;
    let own: Vec<_> = config
        .connections
        .iter()
        .filter_map(|one| Some((&one.name, one.listen?)))
        .collect();
    format!(
        "{:?} {} {:?} {:?} {:?} {:?} {:?} {:?} {own:?}",
        config.listen,
        // A certificate is replaced by another at once.
        config.identity.is_some(),
        config.via,
        config.ca_file,
        config.state_dir,
        config.otlp_endpoint,
        config.history,
        config.limits
    )
}

/// Reads the files again on SIGHUP and when they change. A file with mistakes is reported, and what runs stays.
async fn watch(
    gateway: Arc<Gateway>,
    (warnings, registry): (Arc<Warnings>, Arc<Registry>),
    config: Option<PathBuf>,
    (folders, exposure): (Vec<PathBuf>, Exposure),
    (mut known_folders, mut known_files): (Vec<PathBuf>, Vec<PathBuf>),
    (mut seen, mut fixed_before): (u64, String),
    (supervisor, mut hangup): (Supervisor, Option<Signal>),
) {
    let mut generation = 0;
    let mut stamps = Stamps::default();
    loop {
        let forced = tokio::select! {
            () = next_of(&mut hangup) => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        let (path, folders, exposure) = (config.clone(), folders.clone(), exposure.clone());
        let stamp = super::mounts::stamp(path.as_deref(), &folders, &known_folders, &known_files);
        if !stamps.is_new(stamp) && !forced {
            continue;
        }
        let read = move || Loaded::read(path.as_deref(), &folders, &exposure);
        if forced {
            supervisor.reloading();
        }
        let Ok(outcome) = tokio::task::spawn_blocking(read).await else {
            supervisor.kept();
            continue;
        };
        match outcome {
            Ok(loaded) => {
                let found = loaded.fingerprint();
                known_folders = loaded.folders();
                known_files = loaded.files();
                if forced || found != seen {
                    seen = found;
                    generation += 1;
                    let mounts = Mounts::new(&loaded, generation, warnings.bell(), &registry);
                    let mounts = Arc::new(mounts);
                    if let Some(identity) = &loaded.config.identity {
                        gateway.show(identity);
                    }
                    let gateway = Arc::clone(&gateway);
                    let replaced = tokio::task::spawn_blocking(move || gateway.replace(mounts));
                    if let Err(error) = replaced.await {
                        tracing::error!(error = %error, "The configuration could not be put in place.");
                    }
                    warnings.replace(endpoints(&loaded.config));
                    tracing::info!("The configuration was read again.");
                    supervisor.ready();
                    let fixed = fixed_at_start(&loaded);
                    if fixed != fixed_before {
                        fixed_before = fixed;
                        tracing::warn!(
                            "A change of `listen`, `tls`, `via`, `ca_file`, `state_dir`, `limits`, `telemetry` or `history` takes effect after a restart."
                        );
                    }
                }
            }
            Err(failure) => {
                // What is missing may be a file that nobody knew of before.
                stamps = Stamps::default();
                let found = super::mounts::fingerprint_of(failure.message.as_bytes());
                // The same mistake is told once, not every second.
                if forced || found != seen {
                    seen = found;
                    supervisor.kept();
                    tracing::error!(
                        "The files have mistakes, what runs stays:\n{}",
                        failure.message.trim_end()
                    );
                }
            }
        }
    }
}
