//! `headroom serve`: the gateway.

use std::io;
use std::num::NonZero;
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::loaded::Loaded;
use super::missing::Missing;
use super::mounts::Mounts;
use super::orders::Orders;
use super::sockets::listeners;
use super::start::{Start, StartArguments};
use super::state::State as Place;
use super::supervisor::{self, Inherited, Supervisor};
use super::watch::{Seen, Watch, endpoints, tell_expired};
use super::workers::Workers;
use super::{Failure, log};
use crate::admin::{Books, Reloads};
use crate::clock;
use crate::gateway::{Catalogue, Gateway, Lookup, Settings};
use crate::history::History;
use crate::ledger::{self, Ledger};
use crate::oauth::{self, Keeper, Registry};
use crate::state::{self, OpenError, State};
use crate::trace::Exporter;
use crate::warn::{self, Warnings};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    start: StartArguments,
    /// How the log is written
    #[arg(
        long,
        value_name = "FORMAT",
        env = "HEADROOM_LOG_FORMAT",
        default_value = "text"
    )]
    log_format: log::Format,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    // Before there is a second thread: taking them alters the environment.
    let inherited = supervisor::inherited()?;
    // Everything that can be wrong is found before a port opens.
    let sources = arguments.start.sources(supervisor::addresses(&inherited));
    let loaded = sources.read()?;
    log::start(arguments.log_format);
    let Start { trust, traces } = Start::new(&arguments.start, &loaded)?;
    tell_expired(&loaded.config);
    let (tracer, exporter) = traces.unzip();
    let settings = Settings {
        limits: loaded.config.limits,
        identity: loaded.config.identity.clone(),
        trust: Some(trust.clone()),
        pseudonym: loaded
            .config
            .via
            .clone()
            .unwrap_or_else(|| Settings::default().pseudonym),
        tracer,
        ..Settings::default()
    };
    super::descriptors::raise();
    let state = arguments.start.place(&loaded);
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
    let tls = trust.client_config().map_err(unreadable)?;
    let webhooks = warn::Client::new(tls.clone(), warn::client::TIMEOUT).map_err(unreadable)?;
    let (told, registry) = registry(told, oauth::Client::new(tls).map_err(unreadable)?);
    let state = kept.as_ref().map(|(state, _)| state.clone());
    let ledger = Arc::new(Ledger::new(ledger::Settings::default(), kept));
    let now_ms = clock::now().as_millisecond();
    let history = History::new(state, loaded.config.history, now_ms).map_err(cannot_start)?;
    let history = Arc::new(history);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let cannot_run =
        |error: io::Error| Failure::unreadable(format!("headroom: cannot start: {error}"));
    let runtime = runtime.map_err(cannot_run)?;
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let workers = Workers::start(processors).map_err(cannot_run)?;
    let settings = Settings {
        workers: workers.runtimes(),
        ..settings
    };
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
    drop(workers);
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
    // Before an address is open: who finds headroom there may stop it.
    let orders = Orders::new();
    // Nobody has it read the files before it listens to that: the signal would be its end.
    let hangup = signal(SignalKind::hangup()).ok();
    let listeners = listeners(arguments.start.listen, &loaded.config, inherited).await?;
    let scheme = match &settings.identity {
        Some(_) => "https",
        None => "http",
    };
    let mut sources = arguments.start.sources([]);
    sources.exposure.listen.clear();
    for listener in &listeners {
        if let Ok(address) = listener.socket.local_addr() {
            sources.exposure.listen.push(address);
            tracing::info!(
                listen.address = %address,
                connection = listener.connection,
                "headroom listens on {scheme}://{address}"
            );
        }
    }
    let warnings = Warnings::new(endpoints(&loaded.config));
    let mounts = Arc::new(Mounts::new(&loaded, 0, warnings.bell(), &registry));
    adopt(ledger, &*mounts, settings.secret);
    let warner = tokio::spawn(Arc::clone(&warnings).run(Arc::clone(ledger), told, webhooks));
    let books = Books {
        ledger: Arc::clone(ledger),
        history: Arc::clone(history),
        warnings: Arc::clone(&warnings),
        reloads: Arc::new(Reloads::new(clock::now().as_millisecond())),
    };
    let reloads = Arc::clone(&books.reloads);
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
    let watch = Watch {
        sources,
        gateway: Arc::clone(&gateway),
        warnings,
        registry,
        reloads,
        supervisor: supervisor.clone(),
        hangup,
    };
    let watcher = tokio::spawn(watch.run(Seen::new(&loaded)));
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
