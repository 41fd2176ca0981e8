//! `headroom translate`: one response on stdin, what headroom makes of it on stdout.

use std::collections::BTreeMap;
use std::hash::DefaultHasher;
use std::io::{self, Read, Write as _};

use clap::Args;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AdapterFolders, Failure, files, print};
use crate::adapter::parse::read_zone;
use crate::adapter::terms::Terms;
use crate::adapter::{Answer, BODY_LIMIT, Call};
use crate::diagnostic::closest;
use crate::emit::{Style, standard_headers};
use crate::fields::Fields;
use crate::recording::Recording;
use crate::translate::{Translation, generic, translate};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The provider's id, or `generic` for one without an adapter
    provider: String,
    /// The request's method
    #[arg(long, value_name = "M")]
    method: Option<Method>,
    /// The request's path
    #[arg(long, value_name = "P")]
    path: Option<String>,
    /// The account's plan
    #[arg(long, value_name = "NAME")]
    plan: Option<String>,
    /// The account's time zone
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// The moment of the answer; the clock is read when left out
    #[arg(long, value_name = "RFC3339")]
    now: Option<Timestamp>,
    /// JSON instead of a head
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    adapters: AdapterFolders,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut input = Vec::new();
    io::stdin()
        .lock()
        .read_to_end(&mut input)
        .map_err(|error| {
            Failure::unreadable(format!(
                "headroom: cannot read the response on stdin: {error}"
            ))
        })?;
    let recording = Recording::parse(&input)
        .map_err(|error| Failure::unreadable(format!("headroom: {error}")))?;
    let (mut translation, status) = translated(arguments, &recording)?;
    translation
        .notes
        .splice(0..0, recording.notes.iter().cloned());
    if arguments.json {
        let value = to_json(&arguments.provider, &translation, status);
        return print(&format!("{value:#}\n"));
    }
    for note in &translation.notes {
        // Notes are for people; a closed stderr leaves nobody to tell.
        let _ = writeln!(io::stderr(), "note: {note}");
    }
    print(&to_head(&translation, status))
}

fn translated(
    arguments: &Arguments,
    recording: &Recording,
) -> Result<(Translation, StatusCode), Failure> {
    let told = |name: &str, flag: &Option<String>| {
        flag.clone()
            .or_else(|| recording.circumstance(name).map(str::to_owned))
    };
    let now = match (arguments.now, recording.circumstance("now")) {
        (Some(now), _) => now,
        (None, Some(text)) => text.parse().map_err(|error| {
            Failure::unreadable(format!(
                "headroom: `# now: {text}` is not a moment: {error}"
            ))
        })?,
        (None, None) => crate::clock::now(),
    };
    let headers = Fields::from(&recording.headers);
    let answer = Answer {
        status: recording.status,
        headers: &headers,
        body: Some(recording.body.as_slice()).filter(|body| body.len() <= BODY_LIMIT),
    };
    if arguments.provider == "generic" {
        return Ok((generic::translate(&answer, now), recording.status));
    }
    let catalog = files::catalog(&arguments.adapters.folders, &mut DefaultHasher::new())?;
    let Some(adapter) = catalog.get(&arguments.provider) else {
        let near = closest(&arguments.provider, catalog.ids())
            .map_or_else(String::new, |near| format!(" Did you mean `{near}`?"));
        return Err(Failure::unreadable(format!(
            "headroom: there is no adapter `{}`.{near} `headroom providers` lists them; `generic` reads any provider",
            arguments.provider
        )));
    };
    let zone = match told("time_zone", &arguments.time_zone) {
        Some(name) => Some(read_zone(&name).ok_or_else(|| {
            Failure::unreadable(format!(
                "headroom: \"{name}\" is not a time zone; write a name such as \"Europe/Oslo\""
            ))
        })?),
        None => None,
    };
    let plan = told("plan", &arguments.plan);
    let terms = Terms::new(&adapter, plan.as_deref(), zone.as_ref(), &BTreeMap::new())
        .map_err(|error| Failure::unreadable(format!("headroom: {error}")))?;
    let method = match (&arguments.method, recording.circumstance("method")) {
        (Some(method), _) => method.clone(),
        (None, Some(text)) => text.parse().map_err(|_| {
            Failure::unreadable(format!("headroom: `# method: {text}` is not a method"))
        })?,
        (None, None) => Method::GET,
    };
    let path = told("path", &arguments.path);
    let path = path
        .as_deref()
        .map(|path| path.split('?').next().unwrap_or(path));
    let call = Call {
        method: &method,
        path,
        headers: None,
        body: None,
    };
    Ok((
        translate(&adapter, &terms, &call, &answer, now),
        recording.status,
    ))
}

/// The status line, then the standard headers.
pub(crate) fn to_head(translation: &Translation, upstream: StatusCode) -> String {
    let status = translation.status.unwrap_or(upstream);
    let mut text = format!(
        "HTTP/1.1 {} {}",
        status.as_u16(),
        status.canonical_reason().unwrap_or("")
    );
    text.truncate(text.trim_end().len());
    text.push('\n');
    for (name, value) in standard_headers(translation, upstream, &Style::default()) {
        text.push_str(&format!("{name}: {}\n", value.to_str().unwrap_or("")));
    }
    text
}

/// Contract, section 5.
pub(crate) fn to_json(provider: &str, translation: &Translation, upstream: StatusCode) -> Value {
    let limits: Vec<Value> = translation
        .limits
        .iter()
        .map(|limit| {
            json!({
                "policy": &*limit.policy,
                "unit": limit.unit.as_str(),
                "limit": limit.limit,
                "remaining": limit.remaining,
                "reset": limit.reset,
                "window": limit.window,
                "source": limit.source.as_str(),
            })
        })
        .collect();
    let headers: serde_json::Map<String, Value> =
        standard_headers(translation, upstream, &Style::default())
            .into_iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or("").into()))
            .collect();
    json!({
        "provider": provider,
        "status": translation.status.unwrap_or(upstream).as_u16(),
        "upstream_status": translation.status.filter(|status| *status != upstream).map(|_| upstream.as_u16()),
        "retry_after": translation.retry_after,
        "binding": translation.binding_limit().map(|limit| &*limit.policy),
        "limits": limits,
        "headers": headers,
        "notes": translation.notes,
    })
}
