//! Logs: to stderr, for people or, as JSON, for what collects them.

use std::fmt;
use std::io::Write;

use clap::ValueEnum;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::clock;

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Format {
    /// Lines for people
    #[default]
    Text,
    /// One JSON object for each line
    Json,
}

/// Starts the log. `HEADROOM_LOG` chooses what is told (`debug`, `headroom=debug`); `info` if it is not there.
pub(super) fn start(format: Format) {
    let wanted = std::env::var("HEADROOM_LOG").unwrap_or_default();
    // Targets, not `EnvFilter`: that brings an engine for patterns in field values which makes every pattern of every
    // adapter twice as slow to compile.
    let chosen = wanted.parse::<Targets>();
    let is_unreadable = chosen.is_err() && !wanted.is_empty();
    let info = Targets::new().with_default(LevelFilter::INFO);
    let filter = match chosen {
        Ok(chosen) if !wanted.is_empty() => chosen,
        _ => info,
    };
    let lines = (format == Format::Text).then(|| {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(super::colour())
            .with_target(false)
    });
    let objects = (format == Format::Json).then_some(Json);
    // A second start (in tests) changes nothing.
    let _ = tracing_subscriber::registry()
        .with(lines)
        .with(objects)
        .with(filter)
        .try_init();
    if is_unreadable {
        tracing::warn!(
            "HEADROOM_LOG={wanted:?} cannot be read; write a level, or target=level, as in headroom=debug"
        );
    }
}

/// Writes each event as one JSON object: `time`, `level`, `target` and `message`, then the fields of the event and of the
/// spans that it is in. tracing-subscriber's own would bring a second writer of JSON for as many lines.
struct Json;

/// The fields of a span.
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, Value::String(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::from(value));
    }
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Json {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields(Map::new());
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields(Map::new());
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<Fields>() {
                fields.0.extend(outer.0.clone());
            }
        }
        event.record(&mut fields);
        // These four come first, and no field can take their places.
        let message = fields.0.remove("message").unwrap_or_default();
        let metadata = event.metadata();
        let mut line = Map::new();
        line.insert("time".to_owned(), clock::now().to_string().into());
        line.insert("level".to_owned(), metadata.level().as_str().into());
        line.insert("target".to_owned(), metadata.target().into());
        line.insert("message".to_owned(), message);
        for (name, value) in fields.0 {
            line.entry(name).or_insert(value);
        }
        let text = Value::Object(line).to_string() + "\n";
        // A closed stderr leaves nobody to tell.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}
