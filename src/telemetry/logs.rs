//! Log lines: one JSON object each, with the trace id of the call they belong to, whatever the level.
//!
//! Why a layer of our own: the stock JSON format puts fields of spans in nested lists where no log search finds them, and
//! a filtered layer does not see the span that carries the id once the level is above the span's.

use std::fmt;
use std::io::Write;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::{Directive, EnvFilter, ParseError};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry, reload};

/// Libraries whose lines help nobody who runs a sidecar: redis writes thousands a second while a server is away. A filter
/// that names one of them has the last word.
const QUIET: [&str; 9] = [
    "redis=off",
    "h2=off",
    "hyper=off",
    "hyper_util=off",
    "tower=off",
    "tonic=off",
    "reqwest=off",
    "rustls=off",
    "opentelemetry=off",
];

/// The module whose spans carry trace ids.
const OURS: &str = env!("CARGO_CRATE_NAME");

#[derive(Debug, thiserror::Error)]
pub enum LevelError {
    #[error("`{level}` is no log filter such as `info,hydrant::remote=debug`: {source}")]
    Malformed { level: String, source: ParseError },
    #[error("logging has ended")]
    Ended,
}

/// The filter in force, which a reload changes.
pub struct Level {
    handle: reload::Handle<EnvFilter, Registry>,
}

/// Which events are written. Our own spans always pass, since they carry the trace id.
pub struct Lines {
    events: reload::Layer<EnvFilter, Registry>,
}

impl Level {
    pub fn new(level: &str) -> Result<(Self, Lines), LevelError> {
        let (events, handle) = reload::Layer::new(filter(level)?);
        Ok((Self { handle }, Lines { events }))
    }

    pub fn set(&self, level: &str) -> Result<(), LevelError> {
        self.handle.reload(filter(level)?).map_err(|_| LevelError::Ended)
    }
}

fn filter(level: &str) -> Result<EnvFilter, LevelError> {
    let malformed = |source| LevelError::Malformed { level: level.to_owned(), source };
    let quiet: Vec<Directive> = QUIET.iter().filter_map(|directive| directive.parse().ok()).collect();
    let asked: Vec<Directive> = level
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().map_err(malformed))
        .collect::<Result<_, _>>()?;
    // A later directive for the same target replaces an earlier one.
    Ok(quiet.into_iter().chain(asked).fold(EnvFilter::default(), EnvFilter::add_directive))
}

impl Filter<Registry> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, cx: &Context<'_, Registry>) -> bool {
        carries_trace_id(metadata) || Filter::enabled(&self.events, metadata, cx)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        // The inner filter learns of every callsite, or it would not know it later.
        let interest = Filter::callsite_enabled(&self.events, metadata);
        if carries_trace_id(metadata) { Interest::always() } else { interest }
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Filter::max_level_hint(&self.events).map(|hint| hint.max(tracing::level_filters::LevelFilter::INFO))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, Registry>) {
        Filter::on_new_span(&self.events, attributes, id, cx);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, cx: Context<'_, Registry>) {
        Filter::on_record(&self.events, id, values, cx);
    }

    fn on_enter(&self, id: &Id, cx: Context<'_, Registry>) {
        Filter::on_enter(&self.events, id, cx);
    }

    fn on_exit(&self, id: &Id, cx: Context<'_, Registry>) {
        Filter::on_exit(&self.events, id, cx);
    }

    fn on_close(&self, id: Id, cx: Context<'_, Registry>) {
        Filter::on_close(&self.events, id, cx);
    }
}

fn carries_trace_id(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && *metadata.level() <= tracing::Level::INFO && metadata.target().starts_with(OURS)
}

/// Writes each event as one line.
pub struct JsonLines<W> {
    writer: W,
}

/// What a span says of its trace; kept with the span.
struct TraceId(String);

impl<W> JsonLines<W> {
    pub fn new(writer: W) -> Self {
        Self { writer }
    }
}

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        remember(id, &cx, |visit| attributes.record(visit));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, cx: Context<'_, S>) {
        remember(id, &cx, |visit| values.record(visit));
    }

    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let target = fields.log_target.unwrap_or_else(|| metadata.target().to_owned());
        let mut line = Map::new();
        line.insert("ts".to_owned(), now().into());
        line.insert("level".to_owned(), metadata.level().as_str().into());
        line.insert("target".to_owned(), target.into());
        if let Some(scope) = cx.event_scope(event) {
            for span in scope {
                if let Some(TraceId(id)) = span.extensions().get() {
                    line.insert("trace_id".to_owned(), id.clone().into());
                    break;
                }
            }
        }
        line.append(&mut fields.map);
        let mut bytes = Value::Object(line).to_string().into_bytes();
        bytes.push(b'\n');
        // A log that cannot be written has nowhere to say so.
        let _ = self.writer.make_writer_for(metadata).write_all(&bytes);
    }
}

/// Every call makes a span, so this looks at one field and copies no other.
fn remember<S>(id: &Id, cx: &Context<'_, S>, record: impl FnOnce(&mut FindTraceId))
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let mut found = FindTraceId(None);
    record(&mut found);
    if let (Some(trace), Some(span)) = (found.0, cx.span(id)) {
        span.extensions_mut().replace(TraceId(trace));
    }
}

struct FindTraceId(Option<String>);

impl Visit for FindTraceId {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "trace_id" {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "trace_id" {
            self.0 = Some(format!("{value:?}"));
        }
    }
}

/// RFC 3339, in UTC, to the microsecond.
fn now() -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

#[derive(Default)]
struct Fields {
    map: Map<String, Value>,
    /// Lines of libraries that log by `log` carry their target as a field.
    log_target: Option<String>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("log.target", Value::String(target)) => self.log_target = Some(target),
            (name, _) if name.starts_with("log.") => {}
            (name, value) => {
                self.map.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

/// A panic is told like everything else, by its place. Its text is told only where it is fixed in the code: one that was
/// put together may hold a value.
pub fn tell_of_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(withheld)");
        tracing::error!(place, text, "a defect: panicked");
    }));
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("unpoisoned").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        fn lines(&self) -> Vec<Value> {
            let bytes = self.0.lock().expect("unpoisoned").clone();
            let text = String::from_utf8(bytes).expect("text");
            text.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect()
        }
    }

    fn logged(level: &str, act: impl FnOnce(&Level)) -> Vec<Value> {
        let written = Written::default();
        let writer = written.clone();
        let (level, lines) = Level::new(level).expect("a good filter");
        let layer = JsonLines::new(move || writer.clone()).with_filter(lines);
        tracing::subscriber::with_default(Registry::default().with(layer), || act(&level));
        written.lines()
    }

    #[test]
    fn a_line_is_one_object_with_its_fields() {
        let lines = logged("info", |_| tracing::info!(count = 3, name = "a\"b", "it \"happened\""));
        let line = &lines[0];
        assert_eq!(
            (&line["count"], &line["name"], &line["message"]),
            (&3.into(), &"a\"b".into(), &"it \"happened\"".into())
        );
        assert_eq!((&line["level"], line["target"].as_str()), (&"INFO".into(), Some(module_path!())));
        assert!(line["ts"].as_str().is_some_and(|ts| ts.ends_with('Z')));
    }

    #[test]
    fn every_line_of_a_call_carries_its_trace_id_whatever_the_level() {
        let lines = logged("warn", |_| {
            let span = tracing::info_span!("rpc", trace_id = tracing::field::Empty);
            span.record("trace_id", tracing::field::display("4bf9"));
            span.in_scope(|| tracing::info_span!("inner").in_scope(|| tracing::warn!("late")));
        });
        assert_eq!(lines[0]["trace_id"], "4bf9");
    }

    #[test]
    fn the_level_can_be_changed_while_running() {
        let lines = logged("warn", |level| {
            tracing::info!("one");
            level.set("info").expect("a good filter");
            tracing::info!("two");
            assert!(level.set("info,=").is_err());
            tracing::info!("three");
        });
        let told: Vec<_> = lines.iter().map(|line| line["message"].as_str()).collect();
        assert_eq!(told, [Some("two"), Some("three")]);
    }

    #[test]
    fn noisy_libraries_are_off_unless_they_are_asked_for() {
        let noise = |_: &Level| tracing::error!(target: "redis", "storm");
        assert_eq!(logged("trace", noise).len(), 0);
        assert_eq!(logged("info,redis=debug", noise).len(), 1);
    }
}
