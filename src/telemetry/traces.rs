//! Traces: OTLP over gRPC to the collector that the environment names, or none at all.
//!
//! The exporter sends from a thread of its own, out of a queue that is bounded and drops when it is full: a collector that
//! is dead costs no call anything. The trace id a caller is answered is the one that is exported, because the context of a
//! call is taken from its exported span.

use std::collections::BTreeMap;
use std::sync::Arc;

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Span;
use tracing::level_filters::LevelFilter;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::Targets;

use crate::domain::random::Random;
use crate::domain::trace::TraceContext;

/// Ties a span to the trace of its caller, if there is one, and answers the context that stands for the span.
pub type Adopt = Arc<dyn Fn(&Span, Option<TraceContext>) -> TraceContext + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    #[error("OTEL_EXPORTER_OTLP_PROTOCOL is `{0}`: only `grpc` is built in; collectors take it on port 4317")]
    Protocol(String),
    #[error("the collector's address cannot be used: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// What exports, if a collector is named. The collector's headers, the sampler and the sizes of batches are read from the
/// environment by OpenTelemetry itself, by its own names.
pub fn provider(env: &BTreeMap<String, String>) -> Result<Option<SdkTracerProvider>, TracesError> {
    let named = |name: &str| env.get(name).filter(|value| !value.is_empty());
    let endpoint = named("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| named("OTEL_EXPORTER_OTLP_ENDPOINT"));
    let Some(endpoint) = endpoint else { return Ok(None) };
    if let Some(protocol) = named("OTEL_EXPORTER_OTLP_PROTOCOL").filter(|protocol| *protocol != "grpc") {
        return Err(TracesError::Protocol(protocol.clone()));
    }
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    // The batch processor's queue holds 2,048 spans: about two seconds of a thousand calls.
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource(env)).build();
    Ok(Some(provider))
}

/// Who we are: the deployment says it (pod, node, namespace, by the downward API) in OpenTelemetry's own variables.
fn resource(env: &BTreeMap<String, String>) -> Resource {
    let pairs = env.get("OTEL_RESOURCE_ATTRIBUTES").map(String::as_str).unwrap_or_default().split(',');
    let given = pairs.filter_map(|pair| pair.split_once('='));
    let given = given.map(|(key, value)| KeyValue::new(key.trim().to_owned(), value.trim().to_owned()));
    let name = env.get("OTEL_SERVICE_NAME").map_or("hydrant", String::as_str);
    Resource::builder_empty()
        .with_attributes(given)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.name", name.to_owned()))
        .build()
}

/// Which spans are exported: ours. Those of the libraries that carry the export itself would feed on themselves.
pub fn ours() -> Targets {
    Targets::new().with_target(env!("CARGO_CRATE_NAME"), LevelFilter::INFO)
}

/// Without an exporter: the caller's trace goes on, or one of our own begins.
pub fn plain(random: Random) -> Adopt {
    Arc::new(move |_, caller| next(&random, caller))
}

/// With one: the span is placed in the caller's trace, and its own ids are what goes on.
pub fn exported(random: Random) -> Adopt {
    Arc::new(move |span, caller| {
        if let Some(caller) = caller {
            // It fails only for a span that nobody exports; then the ids go on without it.
            let _ = span.set_parent(remote(caller));
        }
        let context = span.context();
        let own = context.span().span_context().clone();
        if own.is_valid() {
            TraceContext::new(own.trace_id().to_bytes(), own.span_id().to_bytes(), own.trace_flags().to_u8())
        } else {
            next(&random, caller)
        }
    })
}

fn next(random: &Random, caller: Option<TraceContext>) -> TraceContext {
    caller.map_or_else(|| TraceContext::start(random), |caller| caller.child(random))
}

fn remote(caller: TraceContext) -> Context {
    let (trace, span, flags) = caller.parts();
    let context = SpanContext::new(
        opentelemetry::trace::TraceId::from_bytes(trace),
        SpanId::from_bytes(span),
        TraceFlags::new(flags),
        true,
        TraceState::default(),
    );
    Context::new().with_remote_span_context(context)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::SpanData;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::{Layer, Registry};

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[derive(Clone, Debug, Default)]
    struct Exported(Arc<Mutex<Vec<SpanData>>>);

    impl opentelemetry_sdk::trace::SpanExporter for Exported {
        async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().expect("unpoisoned").append(&mut batch);
            Ok(())
        }
    }

    /// The context a span was given, and the trace and parent it was exported with.
    fn export(caller: Option<&str>) -> (TraceContext, String, String) {
        let exporter = Exported::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test")).with_filter(ours());
        let context = tracing::subscriber::with_default(Registry::default().with(layer), || {
            let span = tracing::info_span!("rpc");
            let context = exported(Random::from_seed(1))(&span, caller.and_then(TraceContext::parse));
            span.in_scope(|| tracing::info_span!("fetch").in_scope(|| {}));
            context
        });
        let spans = exporter.0.lock().expect("unpoisoned").clone();
        assert_eq!(spans.len(), 2);
        let rpc = spans.iter().find(|span| span.name == "rpc").expect("exported");
        assert!(spans.iter().all(|span| span.span_context.trace_id() == rpc.span_context.trace_id()));
        (context, rpc.span_context.trace_id().to_string(), rpc.parent_span_id.to_string())
    }

    #[test]
    fn the_callers_trace_is_exported_and_answered() {
        let (context, trace, parent) = export(Some(PARENT));
        assert_eq!(trace, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.trace_id().to_string(), trace);
        assert_eq!(parent, "00f067aa0ba902b7");
    }

    #[test]
    fn a_trace_of_our_own_is_exported_under_the_id_that_is_answered() {
        let (context, trace, parent) = export(None);
        assert_eq!(context.trace_id().to_string(), trace);
        assert_eq!(parent, "0000000000000000");
    }

    #[test]
    fn without_an_exporter_the_ids_go_on() {
        let span = Span::none();
        for adopt in [plain(Random::from_seed(1)), exported(Random::from_seed(1))] {
            let went_on = adopt(&span, TraceContext::parse(PARENT));
            assert_eq!(went_on.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
            assert_ne!(adopt(&span, None).trace_id(), adopt(&span, None).trace_id());
        }
    }

    #[test]
    fn nothing_is_exported_unless_a_collector_is_named() {
        assert!(provider(&BTreeMap::new()).expect("nothing to fail").is_none());
        let http = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://x:4318"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")];
        let http = http.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert!(matches!(provider(&http), Err(TracesError::Protocol(_))));
    }
}
