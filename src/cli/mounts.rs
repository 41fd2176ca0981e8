//! From what was read to connections: what the user configured, and the catalogue under its own names.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use super::loaded::Loaded;
use crate::adapter::Adapter;
use crate::adapter::catalog::Catalog;
use crate::adapter::terms::Terms;
use crate::config::{Access as Shown, Config, ConnectionConfig, ConsumerConfig, Reserve, Waiting};
use crate::consumer::{Consumer, Consumers, Rights, number};
use crate::credential::Credential;
use crate::emit::Style;
use crate::gateway::{Access, Catalogue, Connection, Lookup, Reach};
use crate::guard::Admin;
use crate::identity::Identity;
use crate::ledger::account::Account;
use crate::ledger::lookout::{Bell, Watch};
use crate::ledger::rule::{Shares, Wishes};
use crate::oauth::Registry;
use crate::origin::Origin;

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

    fn identities(&self) -> Vec<Identity> {
        let all = self.configured.values();
        all.filter_map(|one| one.identity.clone()).collect()
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
    let rights = Rights {
        connections: config.connections.clone(),
        methods: config.methods.clone(),
        paths: config.paths.clone(),
    };
    (config.key_hash, Consumer::new(&config.name, rights))
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
        identity: connection.identity.clone(),
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
            identity: None,
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
