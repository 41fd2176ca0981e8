//! `headroom simulate`: providers that refuse on purpose.

use std::fmt::Write as _;
use std::hash::DefaultHasher;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use tokio::net::TcpListener;

use super::{AdapterFolders, Failure, files};
use crate::adapter::catalog::Catalog;
use crate::adapter::parse::{read_seconds, read_zone};
use crate::clock;
use crate::diagnostic::closest;
use crate::simulate::fault::Faults;
use crate::simulate::provider::{Account, Provider};
use crate::simulate::server::{self, House};

#[derive(Debug, Args)]
#[command(after_help = "\
Each provider is at http://ADDR/ID/… and at http://ID.localhost:PORT/…; an only one is also at the root.
A request with the header `simulate-delay: 2.5` runs that long: that is how limits on requests at a time are met.
Only what the adapter names is sent, also Retry-After; what is not documented is left out.

Faults happen by chance: `--fault drop=10%` says how often, `--fault late=2s` how long, `--fault late=2s@25%` both.
  late     the answer takes 2 s longer, and tells the state from before (2s@10%)
  drop     the request is counted and no answer comes: its connection ends (5%)
  reorder  the answer is sent after some that were counted later, or after 300 ms (300ms@50%)
  lie      the answer tells that more is left than there is, or less (10%); refusals are never lies
  mute     the answer tells nothing of limits; refusals still do (10%)
  others   somebody else has just made the same request with the same account (10%)
The same --seed, provider and number of the request make the same fault.")]
pub(super) struct Arguments {
    /// The providers, as `headroom providers` lists them
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Where to listen; port 0 takes a free one
    #[arg(
        long,
        value_name = "ADDR",
        env = "HEADROOM_SIMULATE_LISTEN",
        default_value = "127.0.0.1:8081"
    )]
    listen: SocketAddr,
    /// The account's plan, for all providers that have it, or for one as ID=NAME; by default the smallest
    #[arg(
        long = "plan",
        value_name = "NAME",
        env = "HEADROOM_SIMULATE_PLAN",
        value_delimiter = ','
    )]
    plans: Vec<String>,
    /// The account's time zone
    #[arg(
        long,
        value_name = "ZONE",
        env = "HEADROOM_SIMULATE_TIME_ZONE",
        default_value = "UTC"
    )]
    time_zone: String,
    /// A quota instead of the documented one; with its window as N/60s where none is documented
    #[arg(
        long = "quota",
        value_name = "ID.POLICY=N",
        env = "HEADROOM_SIMULATE_QUOTA",
        value_delimiter = ','
    )]
    quotas: Vec<String>,
    /// What goes wrong on purpose: late, drop, reorder, lie, mute, others; see below
    #[arg(
        long = "fault",
        value_name = "KIND[=RATE]",
        env = "HEADROOM_SIMULATE_FAULT",
        value_delimiter = ','
    )]
    faults: Vec<String>,
    /// Decides which requests go wrong
    #[arg(
        long,
        value_name = "N",
        env = "HEADROOM_SIMULATE_SEED",
        default_value_t = 0
    )]
    seed: u64,
    #[command(flatten)]
    adapters: AdapterFolders,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let house = house(arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::unreadable(format!("headroom: {error}")))?;
    runtime.block_on(listen(arguments.listen, house))
}

async fn listen(address: SocketAddr, house: House) -> Result<(), Failure> {
    let failure = |error: io::Error| {
        Failure::unreadable(format!("headroom: cannot listen on {address}: {error}"))
    };
    let listener = TcpListener::bind(address).await.map_err(failure)?;
    let address = listener.local_addr().map_err(failure)?;
    // A message for people; a closed stderr leaves nobody to tell.
    let _ = io::stderr().write_all(greeting(&house, address).as_bytes());
    let stop = async {
        // Without signals only the end of the process is left.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    server::serve(listener, Arc::new(house), stop).await;
    Ok(())
}

fn greeting(house: &House, address: SocketAddr) -> String {
    let mut text = String::new();
    for provider in house.providers() {
        let adapter = provider.adapter();
        let (id, port) = (&adapter.id, address.port());
        let _ = writeln!(
            text,
            "{} (simulated) at http://{address}/{id}/ and http://{id}.localhost:{port}/",
            adapter.name
        );
        for notice in provider.notices(clock::moment()) {
            let _ = writeln!(text, "  {notice}");
        }
    }
    if !house.faults().is_empty() {
        let _ = writeln!(text, "On purpose: {}", house.faults());
    }
    text.push_str("Ctrl-C ends the simulation.\n");
    text
}

fn house(arguments: &Arguments) -> Result<House, Failure> {
    let words = arguments.faults.iter().map(String::as_str);
    let faults = Faults::parse(words, arguments.seed)
        .map_err(|mistake| Failure::unreadable(format!("headroom: --fault {mistake}")))?;
    let catalog = files::catalog(&arguments.adapters.folders, &mut DefaultHasher::new())?;
    let zone = read_zone(&arguments.time_zone).ok_or_else(|| {
        Failure::unreadable(format!(
            "headroom: \"{}\" is not a time zone; write a name such as \"Europe/Oslo\"",
            arguments.time_zone
        ))
    })?;
    let mut accounts: Vec<(String, Account)> = Vec::new();
    for id in &arguments.ids {
        if accounts.iter().any(|(known, _)| known == id) {
            continue;
        }
        let account = Account {
            zone: Some(zone.clone()),
            ..Account::default()
        };
        accounts.push((id.clone(), account));
    }
    for text in &arguments.quotas {
        quota(text, &mut accounts).map_err(Failure::unreadable)?;
    }
    for text in &arguments.plans {
        plan(text, &catalog, &mut accounts).map_err(Failure::unreadable)?;
    }
    let house: House = accounts
        .iter()
        .map(|(id, account)| {
            let Some(adapter) = catalog.get(id) else {
                let near = closest(id, catalog.ids())
                    .map_or_else(String::new, |near| format!(" Did you mean `{near}`?"));
                return Err(Failure::unreadable(format!(
                    "headroom: there is no adapter `{id}`.{near} `headroom providers` lists them"
                )));
            };
            Provider::new(adapter, account, clock::now())
                .map_err(|error| Failure::unreadable(format!("headroom: {error}")))
        })
        .collect::<Result<_, Failure>>()?;
    Ok(house.with_faults(faults))
}

/// `toggl.organization=5`, `organization=5` where there is one provider, `slack.tier=20/1m`.
fn quota(text: &str, accounts: &mut [(String, Account)]) -> Result<(), String> {
    let mistake = || {
        format!(
            "headroom: --quota {text}: write ID.POLICY=N as in toggl.organization=5, or N/60s with its window"
        )
    };
    let (name, value) = text.split_once('=').ok_or_else(mistake)?;
    let (account, policy) = match (name.split_once('.'), accounts.len()) {
        (Some((id, policy)), _) => {
            let account = accounts.iter_mut().find(|(known, _)| known == id);
            let account = account.ok_or_else(|| {
                format!("headroom: --quota {text}: `{id}` is not one of the simulated providers")
            })?;
            (account, policy)
        }
        (None, 1) => (accounts.first_mut().ok_or_else(mistake)?, name),
        (None, _) => return Err(mistake()),
    };
    let (number, window) = match value.split_once('/') {
        Some((number, window)) => {
            let window = read_seconds(window).filter(|secs| *secs > 0);
            (number, Some(window.ok_or_else(mistake)?))
        }
        None => (value, None),
    };
    let number = number.parse().map_err(|_| mistake())?;
    account.1.quotas.insert(policy.to_owned(), (number, window));
    Ok(())
}

/// `starter` for every provider that has it, `toggl=starter` for one.
fn plan(text: &str, catalog: &Catalog, accounts: &mut [(String, Account)]) -> Result<(), String> {
    if let Some((id, plan)) = text.split_once('=') {
        let Some((_, account)) = accounts.iter_mut().find(|(known, _)| known == id) else {
            return Err(format!(
                "headroom: --plan {text}: `{id}` is not one of the simulated providers"
            ));
        };
        account.plan = Some(plan.to_owned());
        return Ok(());
    }
    let only = accounts.len() == 1;
    let mut taken = false;
    for (id, account) in accounts.iter_mut() {
        let known = catalog
            .get(id)
            .is_some_and(|adapter| adapter.plans().contains(&text));
        // The only provider says by itself which plans it has.
        if known || only {
            account.plan = Some(text.to_owned());
            taken = true;
        }
    }
    if taken {
        Ok(())
    } else {
        Err(format!(
            "headroom: --plan {text}: none of the simulated providers has such a plan"
        ))
    }
}
