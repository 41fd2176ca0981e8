//! `headroom providers`: the catalogue.

use std::hash::DefaultHasher;

use clap::Args;
use serde_json::{Value, json};

use super::{AdapterFolders, Failure, files, print};
use crate::adapter::reading::{Quantity, Reading, Source};
use crate::adapter::{Adapter, Policy, Quota, WindowLength, Zone};
use crate::diagnostic::closest;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// One provider, whole
    id: Option<String>,
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    adapters: AdapterFolders,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let catalog = files::catalog(&arguments.adapters.folders, &mut DefaultHasher::new())?;
    let Some(id) = &arguments.id else {
        let adapters: Vec<_> = catalog
            .ids()
            .into_iter()
            .filter_map(|id| catalog.get(id))
            .collect();
        if arguments.json {
            let values: Vec<Value> = adapters.iter().map(|adapter| to_json(adapter)).collect();
            return print(&format!("{:#}\n", Value::from(values)));
        }
        let width = adapters
            .iter()
            .map(|adapter| adapter.id.len())
            .max()
            .unwrap_or(0);
        let text: String = adapters
            .iter()
            .map(|adapter| line(adapter, width))
            .collect();
        return print(&text);
    };
    let Some(adapter) = catalog.get(id) else {
        let near = closest(id, catalog.ids())
            .map_or_else(String::new, |near| format!(" Did you mean `{near}`?"));
        return Err(Failure::unreadable(format!(
            "headroom: there is no adapter `{id}`.{near} `headroom providers` lists them"
        )));
    };
    if arguments.json {
        print(&format!("{:#}\n", to_json(&adapter)))
    } else {
        print(&page(&adapter))
    }
}

fn line(adapter: &Adapter, width: usize) -> String {
    let policies: Vec<&str> = adapter
        .policies
        .iter()
        .map(|policy| &*policy.name)
        .collect();
    format!(
        "{:width$}  {}: {}\n",
        adapter.id,
        adapter.name,
        if policies.is_empty() {
            "named by the provider".to_owned()
        } else {
            policies.join(", ")
        },
    )
}

fn page(adapter: &Adapter) -> String {
    let mut text = format!("{} ({})\n", adapter.name, adapter.id);
    match &adapter.base_url {
        Some(url) if adapter.base_url_is_template => {
            text.push_str(&format!("{url}  (the connection must say which)\n"));
        }
        Some(url) => text.push_str(&format!("{url}\n")),
        None => {
            text.push_str("every account has a host of its own; the connection must say which\n")
        }
    }
    text.push_str("\nquota policies\n");
    for policy in &adapter.policies {
        text.push_str(&format!("  {}: {}\n", policy.name, describe(policy)));
        let sends = sends(&policy.readings);
        if !sends.is_empty() {
            text.push_str(&format!("      sends {}\n", sends.join(", ")));
        }
    }
    if let Some((policy, limit)) = &adapter.structured_fields {
        text.push_str(&format!(
            "  named by the provider in {policy} and {limit}\n"
        ));
    }
    if adapter.silent {
        text.push_str("\nno answer tells anything: headroom has to count\n");
    }
    if let Some(endpoint) = &adapter.quota_endpoint {
        text.push_str(&format!("\nquota endpoint\n  {endpoint}\n"));
    }
    text.push_str("\nsources\n");
    for page in &adapter.docs {
        text.push_str(&format!("  {page}\n"));
    }
    text
}

fn describe(policy: &Policy) -> String {
    let mut parts = Vec::new();
    match &policy.quota {
        Quota::Unknown => parts.push(format!("{} as the provider tells", policy.unit)),
        Quota::Fixed(quota) => parts.push(format!("{quota} {}", policy.unit)),
        Quota::ByPlan(plans) => {
            let plans: Vec<String> = plans
                .iter()
                .map(|(plan, quota)| format!("{quota} ({plan})"))
                .collect();
            parts.push(format!("{} {}", plans.join(", "), policy.unit));
        }
    }
    if let Some(window) = policy.window {
        parts.push(format!("per {}", window_text(window)));
    }
    if let Some(kind) = policy.kind {
        parts.push(kind.name().to_owned());
    }
    match &policy.zone {
        Some(Zone::Account) => parts.push("in the account's zone".to_owned()),
        Some(Zone::Named(zone)) => {
            parts.extend(zone.iana_name().map(|name| format!("in {name}")));
        }
        None => {}
    }
    if let Some(refill) = policy.refill {
        parts.push(format!("{refill} given back a second"));
    }
    if policy.soft {
        parts.push("soft".to_owned());
    }
    parts.join(", ")
}

fn window_text(window: WindowLength) -> String {
    match window {
        WindowLength::Day => "day".to_owned(),
        WindowLength::Week => "week".to_owned(),
        WindowLength::Month => "month".to_owned(),
        WindowLength::Seconds(secs) if secs % 3_600 == 0 => format!("{} h", secs / 3_600),
        WindowLength::Seconds(secs) if secs % 60 == 0 => format!("{} min", secs / 60),
        WindowLength::Seconds(secs) => format!("{secs} s"),
    }
}

/// What an answer tells, and where.
fn sends(readings: &[Reading]) -> Vec<String> {
    let mut sends = Vec::new();
    for reading in readings {
        let place = match &reading.source {
            Source::Header(name) => name.to_string(),
            Source::Headers(pattern) => format!("headers like {pattern}"),
            Source::Body => "the body".to_owned(),
        };
        let quantities: Vec<&str> = reading
            .extract
            .quantities()
            .into_iter()
            .map(Quantity::name)
            .collect();
        sends.push(format!("{} in {place}", quantities.join(" and ")));
    }
    sends
}

fn to_json(adapter: &Adapter) -> Value {
    let policies: Vec<Value> = adapter
        .policies
        .iter()
        .map(|policy| {
            let quota = match &policy.quota {
                Quota::Unknown => Value::Null,
                Quota::Fixed(quota) => json!(quota),
                Quota::ByPlan(plans) => plans
                    .iter()
                    .map(|(plan, quota)| (plan.clone(), json!(quota)))
                    .collect::<serde_json::Map<_, _>>()
                    .into(),
            };
            json!({
                "policy": &*policy.name,
                "unit": policy.unit.as_str(),
                "quota": quota,
                "window": policy.window.map(window_text),
                "kind": policy.kind.map(crate::adapter::WindowKind::name),
                "soft": policy.soft,
                "sends": sends(&policy.readings),
            })
        })
        .collect();
    json!({
        "id": adapter.id,
        "name": adapter.name,
        "base_url": adapter.base_url,
        "policies": policies,
        "silent": adapter.silent,
        "quota_endpoint": adapter.quota_endpoint,
        "docs": adapter.docs,
    })
}
