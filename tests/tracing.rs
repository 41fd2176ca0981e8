//! Traces: what a collector gets, and what the provider is told.

use std::sync::Arc;

use headroom::gateway::{self, Settings, Trust};
use headroom::trace::Counters;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::exchange::{OK, fields, status};
use crate::support::harness::Harness;
use crate::support::program::{Program, stub};
use crate::support::upstream::Upstream;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TAKEN: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

/// A gateway whose calls a collector is told of.
struct Traced {
    gateway: Harness,
    collector: Upstream,
    counters: Arc<Counters>,
    stop: oneshot::Sender<()>,
    exporting: JoinHandle<()>,
}

impl Traced {
    async fn new(provider: &Upstream, collector_answers: &str) -> Self {
        let collector = Upstream::answering(collector_answers).await;
        let settings = Settings::default();
        let (tracer, exporter) =
            gateway::tracer(&collector.base_url(), &Trust::new(&[]).unwrap()).unwrap();
        let counters = Arc::clone(tracer.counters());
        let settings = Settings {
            tracer: Some(tracer),
            ..settings
        };
        let (stop, stopped) = oneshot::channel();
        Self {
            gateway: Harness::with(&provider.base_url(), settings).await,
            collector,
            counters,
            stop,
            exporting: tokio::spawn(exporter.run(stopped)),
        }
    }

    async fn call(&self, target: &str, lines: &str) -> String {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: a\r\n{lines}Connection: close\r\n\r\n");
        self.gateway.send(request).await
    }

    /// Stops, and gives what the collector got.
    async fn spans(self) -> (Vec<Value>, Arc<Counters>) {
        self.stop.send(()).unwrap();
        self.exporting.await.unwrap();
        (spans(&self.collector), self.counters)
    }
}

/// All spans that a collector got.
fn spans(collector: &Upstream) -> Vec<Value> {
    let requests = collector.requests();
    let spans = requests.iter().flat_map(|request| {
        assert!(
            request.starts_with("POST /v1/traces HTTP/1.1\r\n"),
            "{request}"
        );
        assert_eq!(fields(request, "content-type"), ["application/json"]);
        let (_, body) = request.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        let resource = &body["resourceSpans"][0];
        assert_eq!(
            resource["resource"]["attributes"][0],
            serde_json::json!({ "key": "service.name", "value": { "stringValue": "headroom" } })
        );
        resource["scopeSpans"][0]["spans"]
            .as_array()
            .unwrap()
            .clone()
    });
    spans.collect()
}

/// An attribute as text.
fn attribute<'a>(span: &'a Value, name: &str) -> Option<&'a str> {
    let attributes = span["attributes"].as_array().unwrap();
    let found = attributes.iter().find(|one| one["key"] == name)?;
    let value = &found["value"];
    value["stringValue"]
        .as_str()
        .or_else(|| value["intValue"].as_str())
}

fn nanos(span: &Value, name: &str) -> u64 {
    span[name].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_call_is_two_spans_of_its_callers_trace() {
    let provider = Upstream::answering(OK).await;
    let traced = Traced::new(&provider, TAKEN).await;
    let lines = format!(
        "traceparent: {PARENT}\r\ntracestate: vendor=1\r\nAuthorization: Bearer secret\r\n"
    );
    traced
        .call("/crm/v3/contacts/17?token=hidden", &lines)
        .await;
    let sent = provider.request();
    let (spans, counters) = traced.spans().await;
    let [server, client] = &spans[..] else {
        panic!("{spans:#?}")
    };
    assert_eq!((counters.exported(), counters.dropped()), (2, 0));
    assert_eq!((&server["kind"], &client["kind"]), (&2.into(), &3.into()));
    for span in &spans {
        assert_eq!(span["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(span["status"], Value::Null);
        assert_eq!(attribute(span, "http.request.method"), Some("GET"));
        assert_eq!(attribute(span, "http.response.status_code"), Some("200"));
    }
    assert_eq!(server["parentSpanId"], "00f067aa0ba902b7");
    assert_eq!(client["parentSpanId"], server["spanId"]);
    assert_eq!(server["name"], "GET /crm/v3/contacts/*");
    assert_eq!(client["name"], "GET /v3/contacts/*");
    assert_eq!(attribute(server, "http.route"), Some("/crm/v3/contacts/*"));
    assert_eq!(attribute(client, "server.address"), Some("127.0.0.1"));
    let port = provider.address.port().to_string();
    assert_eq!(attribute(client, "server.port"), Some(&*port));
    // One within the other.
    let [begun, ended] = ["startTimeUnixNano", "endTimeUnixNano"];
    assert!(nanos(server, begun) <= nanos(client, begun));
    assert!(nanos(client, begun) < nanos(client, ended));
    assert!(nanos(client, ended) <= nanos(server, ended));
    // The provider goes on from the client span.
    let told = format!(
        "00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01",
        client["spanId"].as_str().unwrap()
    );
    assert_eq!(fields(&sent, "traceparent"), [told.as_str()]);
    assert_eq!(fields(&sent, "tracestate"), ["vendor=1"]);
    let all = serde_json::to_string(&spans).unwrap();
    for secret in ["hidden", "token", "secret", "17?"] {
        assert!(!all.contains(secret), "{all}");
    }
}

#[tokio::test]
async fn what_was_not_sent_is_one_span_and_a_failure_says_so() {
    let provider = Upstream::answering(
        "HTTP/1.1 402 Payment Required\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n\"quota\"",
    )
    .await;
    let traced = Traced::new(&provider, TAKEN).await;
    traced.call("/crm/a", "").await;
    // Now headroom refuses.
    assert_eq!(status(&traced.call("/crm/b", "").await), 429);
    let (spans, _) = traced.spans().await;
    let [first, told, second] = &spans[..] else {
        panic!("{spans:#?}")
    };
    assert_eq!(attribute(first, "http.response.status_code"), Some("429"));
    assert_eq!(attribute(first, "headroom.refused_by"), Some("provider"));
    assert_eq!(attribute(told, "http.response.status_code"), Some("402"));
    assert_eq!(attribute(told, "error.type"), Some("402"));
    assert_eq!(told["status"]["code"], 2);
    assert_eq!(attribute(second, "headroom.refused_by"), Some("headroom"));
    assert_eq!(attribute(second, "headroom.policy"), Some("stub"));
    // The caller's own fault is no error of the server's.
    assert_eq!(second["status"], Value::Null);
    assert_ne!(first["traceId"], second["traceId"]);
    assert_eq!(first["parentSpanId"], Value::Null);
}

#[tokio::test]
async fn without_a_collector_or_a_recorder_the_trace_passes_as_it_is() {
    let provider = Upstream::answering(OK).await;
    let odd = "traceparent: 00-Nonsense\r\ntracestate: a=1\r\ntracestate: b=2\r\n";
    let unrecorded = PARENT.replace("-01", "-00");
    let unrecorded_line = format!("traceparent: {unrecorded}\r\ntracestate: a=1\r\n");
    let gateway = Harness::new(&provider.base_url()).await;
    let request = format!("GET /crm/a HTTP/1.1\r\nHost: a\r\n{odd}Connection: close\r\n\r\n");
    gateway.send(request).await;
    let traced = Traced::new(&provider, TAKEN).await;
    traced.call("/crm/a", &unrecorded_line).await;
    let sent = provider.requests();
    assert_eq!(fields(&sent[0], "traceparent"), ["00-Nonsense"]);
    assert_eq!(fields(&sent[0], "tracestate"), ["a=1", "b=2"]);
    assert_eq!(fields(&sent[1], "traceparent"), [unrecorded.as_str()]);
    assert_eq!(fields(&sent[1], "tracestate"), ["a=1"]);
    let (spans, counters) = traced.spans().await;
    assert!(spans.is_empty());
    assert_eq!((counters.exported(), counters.dropped()), (0, 0));
}

#[tokio::test]
async fn what_a_collector_does_not_take_is_counted_and_costs_no_call() {
    let provider = Upstream::answering(OK).await;
    let refusing = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    let partly = "HTTP/1.1 200 OK\r\nContent-Length: 41\r\n\r\n{\"partialSuccess\":{\"rejectedSpans\":\"1\"} }";
    for (answers, expected) in [(refusing, (0, 2)), (partly, (1, 1))] {
        let traced = Traced::new(&provider, answers).await;
        assert_eq!(status(&traced.call("/crm/a", "").await), 200);
        let (_, counters) = traced.spans().await;
        assert_eq!((counters.exported(), counters.dropped()), expected);
    }
}

/// The last calls are sent when headroom stops.
#[tokio::test]
async fn the_program_sends_its_traces_before_it_ends() {
    let provider = Upstream::answering(OK).await;
    let collector = Upstream::answering(TAKEN).await;
    let (folder, config) = stub(
        &provider,
        "[policy.day]\nquota = 100\nwindow = \"1d\"\nkind = \"fixed\"",
        "",
    );
    let config = format!(
        "{config}[telemetry]\notlp_endpoint = \"{}\"\n",
        collector.base_url()
    );
    let program = Program::start(folder.path(), &config);
    assert_eq!(status(&program.get("/stub/a", "").await), 200);
    let page = program.get("/-/metrics", "").await;
    assert!(page.contains("headroom_trace_spans_dropped_total 0"));
    // The collector runs here.
    let ending = tokio::task::spawn_blocking(move || program.terminate());
    assert!(ending.await.unwrap().success());
    let spans = spans(&collector);
    assert_eq!(spans.len(), 2, "{spans:#?}");
    assert_eq!(spans[0]["name"], "GET /stub/a");
}
