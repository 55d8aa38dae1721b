//! What is told about the process: logs, traces, metrics.
//!
//! Logs go to stderr, so that stdout is a command's own. Traces are exported only where the environment names a
//! collector. Metrics are registered by the modules that count; this one makes the registry and speaks for the process.

pub mod logs;

pub mod traces;

pub mod metrics;

pub mod reference;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::domain::random::Random;
use crate::telemetry::logs::{JsonLines, Level, LevelError};
use crate::telemetry::traces::{Adopt, TracesError};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub format: LogFormat,
    /// A filter as in `RUST_LOG`: `info,hydrant::remote=debug`.
    pub level: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Json,
    Pretty,
}

#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error(transparent)]
    Level(#[from] LevelError),
    #[error(transparent)]
    Traces(#[from] TracesError),
    #[error("logging was set up before")]
    Twice,
}

/// Logging and tracing as they run; kept until the process ends.
pub struct Telemetry {
    level: Level,
    provider: Option<SdkTracerProvider>,
    adopt: Adopt,
}

/// Sets logging and tracing up for the whole process. Inside a runtime: the exporter connects on it.
pub fn init(config: &Config, env: &BTreeMap<String, String>, random: Random) -> Result<Telemetry, InitError> {
    let (subscriber, telemetry) = build(config, env, random, io::stderr)?;
    subscriber.try_init().map_err(|_| InitError::Twice)?;
    logs::tell_of_panics();
    Ok(telemetry)
}

/// The same without making it the process's: for tests, which run beside each other.
pub fn build<W>(
    config: &Config,
    env: &BTreeMap<String, String>,
    random: Random,
    writer: W,
) -> Result<(impl tracing::Subscriber + Send + Sync + use<W>, Telemetry), InitError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (level, lines) = Level::new(&config.level)?;
    let written: Box<dyn Layer<Registry> + Send + Sync> = match config.format {
        LogFormat::Json => JsonLines::new(writer).with_filter(lines).boxed(),
        LogFormat::Pretty => tracing_subscriber::fmt::layer().compact().with_writer(writer).with_filter(lines).boxed(),
    };
    let provider = traces::provider(env)?;
    let exported = provider.as_ref().map(|provider| {
        let tracer = provider.tracer("hydrant");
        tracing_opentelemetry::layer().with_tracer(tracer).with_location(false).with_filter(traces::ours())
    });
    let adopt = match &provider {
        Some(_) => traces::exported(random),
        None => traces::plain(random),
    };
    let subscriber = Registry::default().with(written).with(exported);
    Ok((subscriber, Telemetry { level, provider, adopt }))
}

impl Telemetry {
    /// Ties a call's span to its caller's trace; the door calls it for each call.
    pub fn adopt(&self) -> Adopt {
        self.adopt.clone()
    }

    /// Puts another filter in force, for a reload.
    pub fn set_level(&self, level: &str) -> Result<(), LevelError> {
        self.level.set(level)
    }

    /// Sends what has not been sent, at most this long. The last thing a process does.
    pub async fn shutdown(self, longest: Duration) {
        let Some(provider) = self.provider else { return };
        // It blocks until the collector has answered or the time is over.
        let flush = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(longest));
        if !matches!(tokio::time::timeout(longest, flush).await, Ok(Ok(Ok(())))) {
            tracing::debug!("spans may have been lost: the collector did not take them in time");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_collector_that_is_not_there_costs_a_call_nothing() {
        // Port 9 is nobody's: the queue takes what it can and drops the rest.
        let env = [("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), "http://127.0.0.1:9".to_owned())].into();
        let config = Config { format: LogFormat::Pretty, level: "error".to_owned() };
        let (subscriber, telemetry) = build(&config, &env, Random::from_seed(1), io::sink).expect("an address");
        let adopt = telemetry.adopt();
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..5_000 {
                let span = tracing::info_span!("rpc");
                assert_ne!(adopt(&span, None).parts().0, [0; 16]);
                drop(span.entered());
            }
        });
        // Ends with its limit, though what is queued can never be sent.
        telemetry.shutdown(Duration::from_millis(100)).await;
    }

    #[test]
    fn a_level_that_cannot_be_read_is_named() {
        let config = Config { format: LogFormat::Json, level: "loud,=".to_owned() };
        let error = build(&config, &BTreeMap::new(), Random::from_seed(1), io::sink).err().expect("refused");
        assert!(error.to_string().contains("loud,="), "{error}");
    }
}
