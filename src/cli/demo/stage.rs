//! What the demo plays on: the simulated providers on a free port, and the gateway before them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::adapter::Call;
use crate::adapter::catalog::Catalog;
use crate::adapter::terms::Terms;
use crate::admin::{Books, Reloads};
use crate::cli::Failure;
use crate::clock;
use crate::emit::Style;
use crate::gateway::{Access, Connection, Connections, Gateway, Listener, Reach, Settings};
use crate::history::History;
use crate::ledger::Ledger;
use crate::ledger::account::Account as Counted;
use crate::ledger::rule::Wishes;
use crate::origin::Origin;
use crate::quota::Mode;
use crate::simulate::provider::{Account, Provider};
use crate::simulate::server::{self, House};
use crate::translate::applies;
use crate::warn::Warnings;

/// Where the gateway listens, if that is free.
const GATEWAY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Toggl's leaky bucket of one request a second. It would make this demo a long one, so it has room for all of its calls.
const CHANGED: &str = "burst";

/// A quota that is documented for everyone is only observed, unless the configuration says more: here it does, for what
/// may run at a time at a provider whose answers tell nothing.
const ENFORCED: (&str, &str) = ("truecontext", "concurrency");

/// A provider on the stage.
#[derive(Debug)]
pub(super) struct Scene {
    /// Its id, and so its mount.
    pub(super) id: &'static str,
    /// For people.
    pub(super) name: String,
    /// The simulated account: plan and documented quotas, for people.
    pub(super) account: String,
    /// The path that is called, behind the mount.
    pub(super) path: &'static str,
    /// Where the simulated provider itself is.
    pub(super) origin: String,
    /// The quota of its first policy.
    pub(super) quota: u64,
    /// Live, it is called every so many ticks …
    pub(super) every: u64,
    /// … so many times.
    pub(super) at_once: u32,
}

/// Id, path, and pace of the live calls.
const CAST: [(&str, &str, u64, u32); 5] = [
    ("toggl", "/api/v9/workspaces/1/projects", 4, 1),
    ("salesforce", "/services/data/v60.0/sobjects/Account", 2, 1),
    ("hubspot", "/crm/v3/objects/contacts", 1, 3),
    ("appenate-family", "/api/forms", 4, 1),
    ("truecontext", "/api/1.1/forms", 4, 1),
];

/// Everything that is open.
#[derive(Debug)]
pub(super) struct Stage {
    /// The gateway's address.
    pub(super) gateway: SocketAddr,
    /// The address that the gateway would have had.
    pub(super) taken: Option<SocketAddr>,
    /// The providers.
    pub(super) scenes: Vec<Scene>,
}

impl Stage {
    /// Opens the sockets and serves until the process ends.
    pub(super) async fn open() -> Result<Self, Failure> {
        let wrong = |error: String| Failure::unreadable(format!("headroom: {error}"));
        let simulator = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let origin = local(&simulator)?;
        let catalog = Catalog::default();
        let (mut scenes, mut providers, mut connections) = (Vec::new(), Vec::new(), Vec::new());
        for (id, path, every, at_once) in CAST {
            let adapter = catalog
                .get(id)
                .ok_or_else(|| wrong(format!("the adapter `{id}` is not there")))?;
            let mut account = Account::default();
            if adapter.policy(CHANGED).is_some() {
                account.quotas.insert(CHANGED.to_owned(), (1_000, None));
            }
            let provider =
                Provider::new(Arc::clone(&adapter), &account, clock::now()).map_err(wrong)?;
            let zone = jiff::tz::TimeZone::UTC;
            let terms = Terms::new(&adapter, provider.plan(), Some(&zone), &Default::default())
                .map_err(wrong)?;
            let base = format!("http://{origin}/{id}");
            let wishes = |policy: &str| Wishes {
                mode: ((id, policy) == ENFORCED).then_some(Mode::Enforce),
                ..Wishes::default()
            };
            connections.push(Connection {
                name: id.to_owned(),
                origin: Origin::parse(&base).map_err(wrong)?,
                access: Access::Callers,
                identity: None,
                account: Arc::new(Counted::new(id, &base, &adapter, &terms, &wishes, 1_000)),
                reach: Reach::Anywhere,
                configured: true,
                max_wait: Duration::from_secs(60),
                adapter: Arc::clone(&adapter),
                terms,
                style: Style::default(),
            });
            scenes.push(Scene {
                id,
                name: adapter.name.clone(),
                account: account_of(&provider, path),
                path,
                origin: base,
                quota: provider.enforced().next().map_or(0, |first| first.quota),
                every,
                at_once,
            });
            providers.push(provider);
        }
        let house: House = providers.into_iter().collect();
        tokio::spawn(server::serve(
            simulator,
            Arc::new(house),
            std::future::pending(),
        ));
        let connections: Connections = connections.into_iter().collect();
        let ledger = Arc::new(Ledger::new(Default::default(), None));
        let now_ms = clock::now().as_millisecond();
        let history = History::new(None, Default::default(), now_ms)
            .map_err(|error| wrong(error.to_string()))?;
        let books = Books {
            ledger,
            history: Arc::new(history),
            warnings: Warnings::new(Vec::new()),
            reloads: Arc::new(Reloads::new(now_ms)),
        };
        let gateway = Gateway::new(Arc::new(connections), books, Settings::default())
            .map_err(|error| wrong(error.to_string()))?;
        let (socket, taken) = match TcpListener::bind(GATEWAY).await {
            Ok(socket) => (socket, None),
            Err(_) => {
                let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                (bind(free).await?, Some(GATEWAY))
            }
        };
        let address = local(&socket)?;
        let listener = Listener {
            socket,
            connection: None,
        };
        tokio::spawn(Arc::new(gateway).serve(vec![listener], std::future::pending()));
        Ok(Self {
            gateway: address,
            taken,
            scenes,
        })
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(|error| Failure::unreadable(format!("headroom: cannot listen: {error}")))
}

fn local(socket: &TcpListener) -> Result<SocketAddr, Failure> {
    socket
        .local_addr()
        .map_err(|error| Failure::unreadable(format!("headroom: cannot listen: {error}")))
}

/// `plan free: 30 requests in an hour`: what is documented for calls of this path, without what the demo has changed.
fn account_of(provider: &Provider, path: &str) -> String {
    let method = http::Method::GET;
    let call = Call {
        method: &method,
        path: Some(path),
        headers: None,
        body: None,
    };
    let documented: Vec<String> = provider
        .enforced()
        .filter(|enforced| {
            let policy = enforced.policy;
            applies(provider.adapter(), enforced.index, &call)
                && &*policy.name != CHANGED
                // Only slow requests count against such a one, and here is none.
                && policy.slower_than_secs.is_none()
        })
        .map(|enforced| enforced.to_string())
        .collect();
    let plan = provider
        .plan()
        .map_or_else(String::new, |plan| format!("plan {plan}: "));
    format!("{plan}{}", documented.join(", "))
}
