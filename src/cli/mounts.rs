//! From files to connections: what the user configured, and the catalogue under its own names.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::process::Process;
use super::{Failure, colour, files};
use crate::adapter::Adapter;
use crate::adapter::catalog::Catalog;
use crate::adapter::terms::Terms;
use crate::config::{
    self, Access as Shown, Config, ConnectionConfig, ConsumerConfig, Reserve, Waiting,
};
use crate::consumer::{Consumer, Consumers, number};
use crate::credential::Credential;
use crate::diagnostic::Mistakes;
use crate::emit::Style;
use crate::gateway::{Access, Catalogue, Connection, Lookup, Reach};
use crate::guard::Admin;
use crate::ledger::account::Account;
use crate::ledger::lookout::{Bell, Watch};
use crate::ledger::rule::{Shares, Wishes};
use crate::oauth::Registry;
use crate::origin::Origin;

/// Everything that was read.
pub(super) struct Loaded {
    pub(super) config: Config,
    catalog: Arc<Catalog>,
    /// The folder that paths of the configuration are relative to.
    base: PathBuf,
    fingerprint: u64,
    /// The files that the configuration refers to.
    files: Vec<PathBuf>,
}

/// What is said outside of the file about who can reach headroom.
#[derive(Debug, Clone, Default)]
pub(super) struct Exposure {
    /// All may call.
    pub(super) open_to_all: bool,
    /// Where headroom listens whatever the file says: by the command line, or because it does already.
    pub(super) listen: Vec<SocketAddr>,
}

impl Exposure {
    /// What is wrong in the file.
    pub(super) fn mistakes(&self, config: &Config) -> Mistakes {
        if self.open_to_all {
            return Mistakes::default();
        }
        config.check_exposure(!self.listen.is_empty())
    }

    /// What is wrong beside the file.
    fn check(&self, config: &Config) -> Result<(), Failure> {
        if self.open_to_all || !config.is_private() {
            return Ok(());
        }
        let exposed = |address: &SocketAddr| config::reject_exposed(*address).err();
        match self.listen.iter().find_map(exposed) {
            None => Ok(()),
            Some(problem) => Err(Failure::mistakes(format!(
                "headroom: {problem}; make keys (`headroom key new NAME`), listen on 127.0.0.1, or say that all may call: --open-to-all, or open_to_all = true in headroom.toml"
            ))),
        }
    }
}

impl Loaded {
    /// Reads the configuration (`./headroom.toml` when none is named and it is there) and all folders of adapters.
    pub(super) fn read(
        path: Option<&Path>,
        folders: &[PathBuf],
        exposure: &Exposure,
    ) -> Result<Self, Failure> {
        let found = Path::new("headroom.toml");
        let path = path.or_else(|| found.exists().then_some(found));
        let mut hasher = DefaultHasher::new();
        let Some(path) = path else {
            let catalog = files::catalog(folders, &mut hasher)?;
            let config = Config::default();
            exposure.check(&config)?;
            return Ok(Self {
                config,
                catalog: Arc::new(catalog),
                base: PathBuf::new(),
                fingerprint: hasher.finish(),
                files: Vec::new(),
            });
        };
        let source = files::read(path)?;
        source.hash(&mut hasher);
        let base = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let shown = path.display().to_string();
        let process = Process::new(&base);
        let (config, mut mistakes) = config::parse(&source, &process);
        let read = process.read();
        read.hash(&mut hasher);
        // The command line's folders go last, and so before those of the file.
        let mut all = folders_of(&config, &base);
        all.extend_from_slice(folders);
        let catalog = files::catalog(&all, &mut hasher)?;
        mistakes.append(config.check(&catalog));
        mistakes.append(exposure.mistakes(&config));
        if !mistakes.is_empty() {
            return Err(Failure::mistakes(mistakes.render(
                &shown,
                &config::without_secrets(&source),
                colour(),
            )));
        }
        exposure.check(&config)?;
        Ok(Self {
            config,
            catalog: Arc::new(catalog),
            base,
            fingerprint: hasher.finish(),
            files: read.into_iter().map(|(path, _)| path).collect(),
        })
    }

    /// Changes when any file that was read changes.
    pub(super) const fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The folders of adapters that the configuration names.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        folders_of(&self.config, &self.base)
    }

    /// Files that the configuration refers to: certificates, keys, credentials.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.files.clone()
    }

    /// The folder for the state that the configuration names.
    pub(super) fn state_dir(&self) -> Option<PathBuf> {
        let named = self.config.state_dir.as_ref();
        named.map(|folder| self.base.join(folder))
    }

    /// The certificate authorities of the flag and of the configuration.
    pub(super) fn extra_roots(
        &self,
        flag: Option<&Path>,
    ) -> Result<Vec<CertificateDer<'static>>, Failure> {
        let configured = self
            .config
            .ca_file
            .as_ref()
            .map(|path| self.base.join(path));
        let mut roots = Vec::new();
        for path in flag.map(Path::to_path_buf).into_iter().chain(configured) {
            let failure = |error: String| {
                Failure::unreadable(format!(
                    "headroom: cannot read certificates from {}: {error}",
                    path.display()
                ))
            };
            let before = roots.len();
            let found =
                CertificateDer::pem_file_iter(&path).map_err(|error| failure(error.to_string()))?;
            for certificate in found {
                roots.push(certificate.map_err(|error| failure(error.to_string()))?);
            }
            if roots.len() == before {
                return Err(failure("there is no certificate in it".to_owned()));
            }
        }
        Ok(roots)
    }
}

/// The folders of adapters that a configuration in the folder `base` names.
pub(super) fn folders_of(config: &Config, base: &Path) -> Vec<PathBuf> {
    let named = config.providers.iter();
    named.map(|folder| base.join(folder)).collect()
}

/// Sizes and times of all files that are read: cheap to look at, and different when one of them was written. Folders are
/// looked at, not watched, because a mounted file is replaced without a word.
pub(super) fn stamp(
    config: Option<&Path>,
    folders: &[PathBuf],
    named: &[PathBuf],
    files: &[PathBuf],
) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut add = |path: &Path| {
        let metadata = std::fs::metadata(path).ok();
        let modified = metadata.as_ref().and_then(|data| data.modified().ok());
        (path, metadata.map(|data| data.len()), modified).hash(&mut hasher);
    };
    add(config.unwrap_or(Path::new("headroom.toml")));
    for path in files {
        add(path);
    }
    for folder in folders.iter().chain(named) {
        for (_, path) in files::adapters_in(folder).unwrap_or_default() {
            add(&path);
        }
    }
    hasher.finish()
}

/// A fingerprint of any bytes, for comparing what was seen with what is there.
pub(super) fn fingerprint_of(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// The connections of the configuration, and every provider of the catalogue under its own name.
pub(super) struct Mounts {
    configured: BTreeMap<String, Arc<Connection>>,
    /// Made at the first call: start-up does not grow with the catalogue.
    catalogued: BTreeMap<String, OnceLock<Result<Arc<Connection>, String>>>,
    catalog: Arc<Catalog>,
    style: Style,
    consumers: Consumers,
    admin: Admin,
    /// Of connections that are not configured.
    block: u64,
    waiting: Waiting,
    /// What is worth a warning.
    watch: Option<Arc<Watch>>,
    /// What consumers have of every connection that they may use.
    parts: Vec<ConsumerConfig>,
    /// How often the files were read before.
    generation: u64,
}

impl Mounts {
    pub(super) fn new(
        loaded: &Loaded,
        generation: u64,
        bell: &Arc<Bell>,
        registry: &Registry,
    ) -> Self {
        let config = &loaded.config;
        let warnings = &config.warnings;
        let least = warnings.min_window.into();
        let watch = Watch::new(&warnings.thresholds, warnings.forecast, least, bell);
        let style = config.style;
        let configured = config
            .connections
            .iter()
            .filter_map(|connection| {
                // `Config::check` has refused what could fail here.
                let adapter = loaded.catalog.get(&connection.provider)?;
                let watch = watch.as_ref();
                let access = access(connection, &adapter, registry).ok()?;
                // Whose word is it that this is the host: the operator's, or that of what was built in?
                let is_operators =
                    connection.base_url.is_some() || loaded.catalog.is_users(&connection.provider);
                let reach = reach(is_operators);
                let made = configured(
                    connection, adapter, access, reach, config, generation, watch,
                );
                let made = made.ok()?;
                Some((connection.name.clone(), Arc::new(made)))
            })
            .collect();
        let catalogued = loaded
            .catalog
            .ids()
            .into_iter()
            .map(|id| (id.to_owned(), OnceLock::new()))
            .collect();
        Self {
            configured,
            catalogued,
            catalog: Arc::clone(&loaded.catalog),
            style,
            consumers: config.consumers.iter().map(consumer).collect(),
            admin: config.admin.clone(),
            block: config.count_block,
            waiting: config.waiting,
            watch,
            parts: config.consumers.clone(),
            generation,
        }
    }
}

impl Catalogue for Mounts {
    fn connection(&self, name: &str) -> Lookup {
        if let Some(connection) = self.configured.get(name) {
            return Lookup::Found(Arc::clone(connection));
        }
        let Some(slot) = self.catalogued.get(name) else {
            return Lookup::Unknown;
        };
        let made = slot.get_or_init(|| {
            let adapter = self
                .catalog
                .get(name)
                .ok_or_else(|| format!("the adapter `{name}` has mistakes"))?;
            self.catalogued(adapter).map(Arc::new)
        });
        match made {
            Ok(connection) => Lookup::Found(Arc::clone(connection)),
            Err(reason) => Lookup::Broken(reason.clone()),
        }
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .configured
            .keys()
            .chain(self.catalogued.keys())
            .cloned()
            .collect();
        names.sort();
        names.dedup();
        names
    }

    fn consumers(&self) -> &Consumers {
        &self.consumers
    }

    fn admin(&self) -> &Admin {
        &self.admin
    }
}

const fn reach(is_operators: bool) -> Reach {
    if is_operators {
        Reach::Anywhere
    } else {
        Reach::Public
    }
}

fn consumer(config: &ConsumerConfig) -> ([u8; 32], Consumer) {
    let consumer = Consumer {
        name: Arc::from(config.name.as_str()),
        connections: config.connections.clone(),
        methods: config.methods.clone(),
        paths: config.paths.clone(),
    };
    (config.key_hash, consumer)
}

/// Who may have how much of a policy of a connection.
fn shares(
    consumers: &[ConsumerConfig],
    reserve: Option<&Reserve>,
    connection: &str,
    policy: &str,
) -> Shares {
    let users = || consumers.iter().filter(|one| one.may_use(connection));
    Shares {
        sure: users()
            .filter_map(|one| Some((number(&one.name), u64::from(one.share?.millionths()))))
            .collect(),
        reserve: reserve.map_or(0, |reserve| u64::from(reserve.share.millionths())),
        reserved_for: reserve.map_or_else(Vec::new, |reserve| {
            reserve.consumers.iter().map(|name| number(name)).collect()
        }),
        caps: users()
            .filter_map(|one| Some((number(&one.name), *one.cap.get(policy)?)))
            .collect(),
    }
}

/// What the provider gets.
fn access(
    connection: &ConnectionConfig,
    adapter: &Adapter,
    registry: &Registry,
) -> Result<Access, String> {
    Ok(match &connection.access {
        Shown::Callers => Access::Callers,
        Shown::Credential(secret) => {
            let credential = Credential::new(&adapter.credential, secret);
            Access::Own(credential.map_err(|unfit| unfit.problem.to_owned())?)
        }
        Shown::OAuth2(oauth2) => {
            let place = oauth2.place(&adapter.credential);
            Access::Tokens(registry.tokens(&oauth2.settings, &place))
        }
    })
}

fn configured(
    connection: &ConnectionConfig,
    adapter: Arc<Adapter>,
    access: Access,
    reach: Reach,
    config: &Config,
    generation: u64,
    watch: Option<&Arc<Watch>>,
) -> Result<Connection, String> {
    let base_url = connection
        .base_url
        .clone()
        .or_else(|| adapter.base_url.clone())
        .ok_or("there is no base URL")?;
    let terms = Terms::new(
        &adapter,
        connection.plan.as_deref(),
        connection.time_zone.as_ref(),
        &connection.quotas,
    )?;
    let origin = Origin::parse(&base_url)?;
    let wishes = |policy: &str| Wishes {
        mode: connection.modes.of(policy),
        pace: connection.pace,
        block: config.count_block,
        shares: Arc::new(shares(
            &config.consumers,
            connection.reserve.as_ref(),
            &connection.name,
            policy,
        )),
        generation,
        watch: watch.cloned(),
    };
    let account = Account::new(
        &connection.name,
        &origin.base_url(),
        &adapter,
        &terms,
        &wishes,
        connection.waiting.max_waiting,
    );
    Ok(Connection {
        name: connection.name.clone(),
        origin,
        access,
        adapter,
        terms,
        style: config.style,
        account: Arc::new(account),
        reach,
        configured: true,
        max_wait: connection.waiting.max_wait,
    })
}

impl Mounts {
    fn catalogued(&self, adapter: Arc<Adapter>) -> Result<Connection, String> {
        let url = adapter
            .base_url
            .as_deref()
            .filter(|_| !adapter.base_url_is_template);
        let Some(url) = url else {
            return Err(format!(
                "every account of {} has a host of its own: write [connections.{}] with your base_url into headroom.toml",
                adapter.name, adapter.id
            ));
        };
        let origin = Origin::parse(url)?;
        let reach = reach(self.catalog.is_users(&adapter.id));
        let terms = Terms::new(&adapter, None, None, &BTreeMap::new())?;
        let wishes = |policy: &str| Wishes {
            block: self.block,
            shares: Arc::new(shares(&self.parts, None, &adapter.id, policy)),
            generation: self.generation,
            watch: self.watch.clone(),
            ..Wishes::default()
        };
        let account = Account::new(
            &adapter.id,
            &origin.base_url(),
            &adapter,
            &terms,
            &wishes,
            self.waiting.max_waiting,
        );
        Ok(Connection {
            name: adapter.id.clone(),
            origin,
            access: Access::Callers,
            terms,
            account: Arc::new(account),
            adapter,
            style: self.style,
            reach,
            configured: false,
            max_wait: self.waiting.max_wait,
        })
    }
}
