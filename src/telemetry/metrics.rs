//! The registry, and what the process itself counts: which build runs, since when, and what it takes of the machine.
//!
//! Every module registers its own metrics under its own prefix (`hydrant_grpc_…`), built where the module is built and
//! passed down; there is no global one.

use std::fs;
use std::time::UNIX_EPOCH;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Unit;

use crate::domain::clock::Clock;

/// Linux counts processor time in hundredths of a second, on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// What every module registers with; named here so that `app` can pass it round without knowing the crate.
pub type Registry = prometheus_client::registry::Registry;

/// A registry that knows of the process; modules add their own.
pub fn registry(clock: Clock) -> Registry {
    let mut registry = Registry::default();
    let build = vec![("version", env!("CARGO_PKG_VERSION")), ("commit", env!("HYDRANT_COMMIT"))];
    registry.register("hydrant_build", "The build that runs", Info::new(build));
    let started = clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    registry.register_collector(Box::new(Process { started }));
    registry
}

/// Reads `/proc` when it is asked. Elsewhere than on Linux what cannot be read is left out.
#[derive(Debug)]
struct Process {
    started: f64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let start = "process_start_time";
        gauge(&mut encoder, start, "When the process started, since 1970", Some(&Unit::Seconds), self.started)?;
        if let Some(bytes) = resident_bytes() {
            let help = "Memory of the process that is in RAM";
            gauge(&mut encoder, "process_resident_memory", help, Some(&Unit::Bytes), bytes)?;
        }
        if let Some((seconds, threads)) = cpu_seconds_and_threads() {
            let counter = ConstCounter::new(seconds);
            let help = "Processor time used, by the process and by the kernel for it";
            let unit = Some(&Unit::Seconds);
            counter.encode(encoder.encode_descriptor("process_cpu", help, unit, counter.metric_type())?)?;
            gauge(&mut encoder, "process_threads", "Threads of the process", None, threads)?;
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            gauge(&mut encoder, "process_open_fds", "Files and sockets open", None, files.count() as f64)?;
        }
        Ok(())
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: f64,
) -> Result<(), std::fmt::Error> {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

fn cpu_seconds_and_threads() -> Option<(f64, f64)> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name, in brackets, may hold spaces; counting begins after it, with field 3.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    Some(((field(14)? + field(15)?) / TICKS_PER_SECOND, field(20)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_speaks_for_itself() {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry(Clock::System)).expect("encodes");
        assert!(
            text.contains(&format!("hydrant_build_info{{version=\"{}\",commit=", env!("CARGO_PKG_VERSION"))),
            "{text}"
        );
        for name in ["process_start_time_seconds ", "process_resident_memory_bytes ", "process_cpu_seconds_total "] {
            let value = text.lines().find_map(|line| line.strip_prefix(name)).expect(name);
            assert!(value.parse::<f64>().is_ok_and(|value| value >= 0.0), "{name}{value}");
        }
    }
}
