//! Logs: RVS's own lines and DPDK's, in one form on standard error.

mod limit;

use crate::options::LogFormat;
use dpdk_ffi::log::Level;
use std::fmt;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

pub use limit::report;

/// Starts logging. `filter` is as `--log-level` takes it.
///
/// # Errors
/// If the filter is not understood.
pub fn start(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).map_err(|_| {
        anyhow::anyhow!("--log-level '{filter}' is not understood: error, warn, info, debug or trace, also for parts (info,dpdk=debug)")
    })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Json => lines.json().boxed(),
        LogFormat::Text if to_journal() => lines.event_format(Journal::default()).with_ansi(false).boxed(),
        LogFormat::Text => lines.with_ansi(colours()).boxed(),
    };
    tracing_subscriber::registry().with(lines).with(limit::Limit).with(filter).init();
    Ok(())
}

/// Colours only on a terminal whose owner has not said no.
fn colours() -> bool {
    use std::io::IsTerminal;
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether standard error is the journal's: systemd says which file that is (systemd.exec(5)).
fn to_journal() -> bool {
    let Ok(said) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(std::io::stderr().as_fd()).is_ok_and(|file| said == format!("{}:{}", file.st_dev, file.st_ino))
}

/// Lines for the journal, which has a clock of its own and wants to know how grave each is (sd-daemon(3)).
struct Journal(Format<Full, ()>);

impl Default for Journal {
    fn default() -> Self {
        Self(Format::default().without_time().with_level(false).with_ansi(false))
    }
}

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let priority = match *event.metadata().level() {
            tracing::Level::ERROR => 3,
            tracing::Level::WARN => 4,
            tracing::Level::INFO => 6,
            _ => 7,
        };
        write!(to, "<{priority}>")?;
        self.0.format_event(context, to, event)
    }
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
