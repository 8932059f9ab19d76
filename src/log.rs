//! Logs: RVS's own lines and DPDK's, in one form on standard error.

use crate::options::LogFormat;
use dpdk_ffi::log::Level;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tracing_subscriber::EnvFilter;

/// Starts logging. `filter` is as `--log-level` takes it.
///
/// # Errors
/// If the filter is not understood.
pub fn start(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).map_err(|_| {
        anyhow::anyhow!("--log-level '{filter}' is not understood: error, warn, info, debug or trace, also for parts (info,dpdk=debug)")
    })?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => subscriber.with_ansi(colours()).init(),
        LogFormat::Json => subscriber.json().init(),
    }
    Ok(())
}

/// Colours only on a terminal whose owner has not said no.
fn colours() -> bool {
    use std::io::IsTerminal;
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Set once DPDK has started.
static STARTED: AtomicBool = AtomicBool::new(false);

/// DPDK has started: from now on its lines are logged as grave as they are.
pub fn dpdk_started() {
    STARTED.store(true, Relaxed);
}

/// A line of DPDK's. What its drivers call errors on the way to something that works is not one here.
pub fn dpdk(level: Level, line: &str) {
    /// net_tap wants a queueing discipline for rte_flow, which is not used there, and tells secondary processes of its
    /// queues, of which there are none.
    const HARMLESS: [&str; 4] = ["qdisc", "multiq", "Disabling rte flow", "start req to secondary"];
    let harmless = HARMLESS.iter().any(|word| line.contains(word));
    match level {
        // What goes wrong at the start is said once, in the error that ends it.
        _ if harmless || !STARTED.load(Relaxed) => tracing::debug!(target: "dpdk", "{line}"),
        Level::Error => tracing::error!(target: "dpdk", "{line}"),
        Level::Warning => tracing::warn!(target: "dpdk", "{line}"),
        Level::Notice => tracing::info!(target: "dpdk", "{line}"),
        Level::Info | Level::Debug => tracing::debug!(target: "dpdk", "{line}"),
    }
}
