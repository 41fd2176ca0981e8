//! Spans as OTLP writes them in JSON: ids in hexadecimal digits, long numbers as text. Names are those of the semantic
//! conventions for HTTP.

use serde_json::{Value, json};

use super::Traced;
use crate::history::record::Outcome;

/// Kinds of spans.
const SERVER: u8 = 2;
const CLIENT: u8 = 3;
/// A status: it went wrong.
const ERROR: u8 = 2;

/// One request's worth of calls.
pub(super) fn encode(calls: &[Traced]) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut spans = Vec::with_capacity(calls.len() * 2);
    for call in calls {
        spans.push(server(call));
        spans.extend(client(call));
    }
    json!({
        "resourceSpans": [{
            "resource": { "attributes": [
                text("service.name", "headroom"),
                text("service.version", version),
            ]},
            "scopeSpans": [{
                "scope": { "name": "headroom", "version": version },
                "spans": spans,
            }],
        }],
    })
    .to_string()
}

fn server(call: &Traced) -> Value {
    let route = format!("/{}{}", call.connection, call.endpoint);
    let mut attributes = vec![
        text("http.request.method", method(call)),
        text("http.route", &route),
        text("url.scheme", "http"),
        text("headroom.connection", &call.connection),
        text("headroom.provider", &call.provider),
        text("headroom.consumer", &call.consumer.name()),
        text("headroom.outcome", call.outcome.as_str()),
    ];
    if let Some(by) = call.refused_by {
        attributes.push(text("headroom.refused_by", by.as_str()));
    }
    if let Some(policy) = &call.policy {
        attributes.push(text("headroom.policy", policy));
    }
    if call.waited.0 > 0 {
        let secs = std::time::Duration::from(call.waited).as_secs_f64();
        attributes.push(json!({ "key": "headroom.wait", "value": { "doubleValue": secs } }));
    }
    // What the caller did wrong is no error of the server's.
    let failed = match call.status {
        Some(status @ 500..) => Some(status.to_string()),
        _ if call.outcome == Outcome::Broken => Some("broken".to_owned()),
        _ => None,
    };
    let begun = call.ended_ns.saturating_sub(call.duration.0);
    let mut span = span(call, SERVER, call.status, attributes, failed);
    span["spanId"] = id(call.spans.server);
    if let Some(parent) = call.spans.parent {
        span["parentSpanId"] = id(parent);
    }
    span["name"] = format!("{} {route}", method(call)).into();
    times(&mut span, begun, call.ended_ns);
    span
}

/// What the provider had of it.
fn client(call: &Traced) -> Option<Value> {
    let sent = call.sent?;
    let (host, port) = &call.server;
    let attributes = vec![
        text("http.request.method", method(call)),
        text("url.template", &call.endpoint),
        text("server.address", host),
        number("server.port", *port),
        text("headroom.provider", &call.provider),
    ];
    let answered = call.upstream_status;
    let failed = match answered {
        Some(status @ 400..) => Some(status.to_string()),
        Some(_) => None,
        // The caller may have gone away before.
        None if call.outcome == Outcome::Left => None,
        None => Some("_OTHER".to_owned()),
    };
    let begun = call.ended_ns.saturating_sub(call.duration.0);
    let begun = begun.saturating_add(sent.0);
    let ended = call.upstream.map_or(call.ended_ns, |upstream| {
        begun.saturating_add(upstream.0).min(call.ended_ns)
    });
    let mut span = span(call, CLIENT, answered, attributes, failed);
    span["spanId"] = id(call.spans.told.span);
    span["parentSpanId"] = id(call.spans.server);
    span["name"] = format!("{} {}", method(call), call.endpoint).into();
    times(&mut span, begun, ended);
    Some(span)
}

fn span(
    call: &Traced,
    kind: u8,
    status: Option<u16>,
    mut attributes: Vec<Value>,
    failed: Option<String>,
) -> Value {
    if let Some(status) = status {
        attributes.push(number("http.response.status_code", status));
    }
    if let Some(failed) = &failed {
        attributes.push(text("error.type", failed));
    }
    let mut span = json!({
        "traceId": format!("{:032x}", call.spans.told.trace),
        "kind": kind,
        "attributes": attributes,
    });
    if failed.is_some() {
        span["status"] = json!({ "code": ERROR });
    }
    span
}

fn times(span: &mut Value, begun: u64, ended: u64) {
    span["startTimeUnixNano"] = begun.to_string().into();
    span["endTimeUnixNano"] = ended.to_string().into();
}

fn id(span: u64) -> Value {
    format!("{span:016x}").into()
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn number(key: &str, value: u16) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

fn method(call: &Traced) -> &'static str {
    match call.method {
        "OTHER" => "_OTHER",
        method => method,
    }
}
