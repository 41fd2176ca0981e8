//! Contexts, and the queue that is never waited for.

use http::HeaderValue;

use super::context::{Context, TRACEPARENT, TRACESTATE};
use super::*;
use crate::fields::Fields;

fn headers(lines: &[&'static str]) -> Fields {
    let mut headers = Fields::new();
    for line in lines {
        headers.append(TRACEPARENT, HeaderValue::from_static(line));
    }
    headers.insert(TRACESTATE, HeaderValue::from_static("vendor=1"));
    headers
}

const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn a_context_is_read_as_the_recommendation_says() {
    let good = Context::of(&headers(&[GOOD])).unwrap();
    assert_eq!(good.trace, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
    assert_eq!(good.span, 0x00f0_67aa_0ba9_02b7);
    assert!(good.is_sampled());
    let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-will-be";
    assert_eq!(Context::of(&headers(&[later])), Some(good));
    for bad in [
        "",
        "00",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.x",
        "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
    ] {
        assert_eq!(Context::of(&headers(&[bad])), None, "{bad}");
    }
    assert_eq!(Context::of(&headers(&[GOOD, GOOD])), None);
    assert_eq!(Context::of(&Fields::new()), None);
}

#[test]
fn the_trace_goes_on_and_each_span_is_new() {
    let before = headers(&[GOOD]);
    let spans = Spans::begin(&before).unwrap();
    assert_eq!(spans.parent, Some(0x00f0_67aa_0ba9_02b7));
    let mut after = before.clone();
    spans.write(&mut after);
    let told = Context::of(&after).unwrap();
    assert_eq!(told, spans.told);
    assert_eq!(told.trace, Context::of(&before).unwrap().trace);
    assert!(told.is_sampled() && told.span != spans.server);
    assert!(Some(told.span) != spans.parent && Some(spans.server) != spans.parent);
    assert_eq!(after.get(TRACESTATE).unwrap(), "vendor=1");
    let another = Spans::begin(&before).unwrap();
    assert!(another.told.span != spans.told.span && another.server != spans.server);
}

#[test]
fn what_nobody_records_passes_and_what_nobody_can_read_begins_anew() {
    let unrecorded = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    assert_eq!(Spans::begin(&headers(&[unrecorded])), None);
    let mut broken = headers(&["00-nonsense"]);
    let spans = Spans::begin(&broken).unwrap();
    assert_eq!(spans.parent, None);
    spans.write(&mut broken);
    assert!(Context::of(&broken).is_some());
    assert!(!broken.contains_key(TRACESTATE));
}

#[test]
fn who_finds_no_room_is_counted_and_does_not_wait() {
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ));
    let tls = tls
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let (tracer, _exporter) = Tracer::new("http://127.0.0.1:4318", tls.clone()).unwrap();
    let call = |sent| Traced {
        spans: Spans::begin(&Fields::new()).unwrap(),
        ended_ns: 0,
        duration: Nanos(0),
        sent,
        upstream: None,
        waited: Nanos(0),
        connection: "crm".into(),
        provider: "crm".into(),
        server: (String::new(), 0),
        consumer: Who::Anonymous,
        method: "GET",
        endpoint: String::new(),
        status: None,
        upstream_status: None,
        refused_by: None,
        policy: None,
        outcome: Outcome::Left,
    };
    for _ in 0..QUEUE {
        tracer.finish(call(None));
    }
    assert_eq!(tracer.counters().dropped(), 0);
    tracer.finish(call(None));
    tracer.finish(call(Some(Nanos(1))));
    assert_eq!(tracer.counters().dropped(), 3);
    for wrong in ["127.0.0.1:4318", "ftp://a", "http://", "http://a/?x=1"] {
        assert!(Tracer::new(wrong, tls.clone()).is_err(), "{wrong}");
    }
}
