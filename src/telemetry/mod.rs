//! What is told about the process: logs, traces, metrics.

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
