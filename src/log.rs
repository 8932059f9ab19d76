//! Logs: RVS's own lines and DPDK's, in one form on standard error.

mod filter;
mod limit;

use crate::options::LogFormat;
use dpdk_ffi::log::Level;
use std::fmt;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, reload};

use filter::Filter;

pub use limit::report;

/// The filter, to be changed while it filters.
static FILTER: OnceLock<(reload::Handle<EnvFilter, Filtered>, Mutex<Filter>)> = OnceLock::new();
type Filtered = tracing_subscriber::Registry;

/// Starts logging. `filter` is as `--log-level` takes it.
///
/// # Errors
/// If the filter is not understood.
pub fn start(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let (layer, handle) = reload::Layer::new(understood(filter)?);
    // Nobody but main starts a log.
    let _ = FILTER.set((handle, Mutex::new(filter.parse().unwrap_or_default())));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Json => lines.json().boxed(),
        LogFormat::Text if to_journal() => lines.event_format(Lines::of(Head::Priority)).with_ansi(false).boxed(),
        LogFormat::Text => lines.event_format(Lines::of(Head::Time)).with_ansi(colours()).boxed(),
    };
    tracing_subscriber::registry().with(layer).with(lines).with(limit::Limit).init();
    Ok(())
}

fn understood(filter: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(filter).map_err(|_| {
        anyhow::anyhow!("--log-level '{filter}' is not understood: error, warn, info, debug or trace, also for parts (info,dpdk=debug)")
    })
}

/// What is logged, as `--log-level` takes it.
pub fn filter() -> String {
    FILTER.get().map(|(_, filter)| crate::lock(filter).to_string()).unwrap_or_default()
}

/// From now on, lines of this target (a part of the program, `dpdk`), or all that nothing else is said of, are logged from
/// this level on.
///
/// # Errors
/// What is not understood.
pub fn set_level(target: Option<&str>, level: &str) -> Result<(), String> {
    let Some((handle, filter)) = FILTER.get() else { return Err("there is no log".to_owned()) };
    let mut filter = crate::lock(filter);
    let mut next = filter.clone();
    next.set(target, level)?;
    handle
        .reload(understood(&next.to_string()).map_err(|error| error.to_string())?)
        .map_err(|error| error.to_string())?;
    *filter = next;
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

/// What stands before a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Head {
    /// How grave it is, for the journal, which has a clock of its own (sd-daemon(3)).
    Priority,
    /// When it was, to the millisecond, and its level.
    Time,
}

/// Lines of text: `2026-11-24T03:53:27.123Z LEVEL target: text key=value`.
struct Lines(Head, Format<Full, ()>);

impl Lines {
    fn of(head: Head) -> Self {
        Self(head, Format::default().without_time().with_level(false))
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        let (priority, colour) = match level {
            tracing::Level::ERROR => (3, "\x1b[31m"),
            tracing::Level::WARN => (4, "\x1b[33m"),
            tracing::Level::INFO => (6, "\x1b[32m"),
            _ => (7, "\x1b[34m"),
        };
        match self.0 {
            Head::Priority => write!(to, "<{priority}>")?,
            Head::Time => {
                let mut time = String::new();
                SystemTime.format_time(&mut Writer::new(&mut time))?;
                // It has microseconds.
                let time = time.get(..MILLISECONDS).unwrap_or(&time);
                if to.has_ansi_escapes() {
                    write!(to, "\x1b[2m{time}Z\x1b[0m {colour}{level}\x1b[0m ")?;
                } else {
                    write!(to, "{time}Z {level} ")?;
                }
            }
        }
        self.1.format_event(context, to, event)
    }
}

/// Characters of `2026-11-24T03:53:27.123`.
const MILLISECONDS: usize = 23;

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
