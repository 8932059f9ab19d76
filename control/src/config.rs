//! The configuration file: TOML, checked as a whole before anything of it is used.
//!
//! [`Config::parse`] answers either a configuration whose parts fit together or every [`Mistake`] with its line and
//! column. It opens no device and asks no kernel: whether a device or an address exists shows when it is used.

mod check;
pub mod difference;
mod mistake;
mod raw;
pub mod reload;
pub(crate) mod services;
mod sources;
#[cfg(test)]
mod tests;
pub(crate) mod values;
mod write;

pub use mistake::Mistake;

use crate::command::{DaemonSpec, MarkSpec, ServerSpec, ServiceSpec, Timeouts};
use crate::kernel::{Fixed, FixedNeighbour, FixedPort, FixedRoute, Network};
use forwarder::police;
use forwarder::route::Mac;
use sources::Sources;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is wrong.
    #[error("{}", lines(mistakes))]
    Wrong {
        /// At least one.
        mistakes: Vec<Mistake>,
    },
}

fn lines(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A whole configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `[eal] args`: arguments for DPDK, after those of the command line.
    pub eal: Vec<String>,
    /// `[[port]]`: the ports in their order, which numbers them from 0; none leaves the choice to the command line.
    pub ports: Vec<Port>,
    /// `[control] socket`.
    pub socket: Option<PathBuf>,
    /// `[log]`.
    pub log: Log,
    /// `[connections] capacity`: connections that each worker has room for.
    pub capacity: Option<u32>,
    /// `[workers] idle`.
    pub idle: Idle,
    /// `[[neighbour]]`.
    pub neighbours: Vec<FixedNeighbour>,
    /// `[[route]]`.
    pub routes: Vec<FixedRoute>,
    /// `[marks] rules`: marking rules, the first being the one that wins.
    pub marks: Vec<MarkSpec>,
    /// `[exceptions]`: what the kernel gets of each class at most, by `police::Class`; none where the file does not say.
    pub exceptions: [Option<u32>; police::Class::ALL.len()],
    /// `[settings]`: names and values of the kernel's `/proc/sys/net/ipv4/vs`, as `state::Settings` takes them.
    pub settings: Vec<(String, String)>,
    /// `[timeouts]`, seconds; 0 for what the file does not say.
    pub timeouts: Timeouts,
    /// `[[service]]`.
    pub services: Vec<Service>,
    /// `[[sync]]`: the daemons of connection synchronisation.
    pub daemons: Vec<DaemonSpec>,
    /// `[metrics]`.
    pub metrics: Metrics,
}

/// A virtual service with its servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The service.
    pub spec: ServiceSpec,
    /// Its servers, in the order in which they are added.
    pub servers: Vec<ServerSpec>,
}

/// Where metrics are to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// The address and port of the HTTP server; none if there is to be none.
    pub listen: Option<SocketAddr>,
    /// Whether servers have series of their own.
    pub backends: bool,
    /// Whether workers have series of their own, and not only sums.
    pub workers: bool,
    /// Whether what node_exporter tells of the kernel's IPVS is told under its names as well.
    pub node_names: bool,
    /// Where `net/ip_vs` and `net/ip_vs_stats` are written as the kernel has them in /proc; none: nowhere.
    pub procfs: Option<PathBuf>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], METRICS_PORT))),
            backends: true,
            workers: false,
            node_names: false,
            procfs: None,
        }
    }
}

/// The port of the HTTP server for metrics, if nobody says.
pub const METRICS_PORT: u16 = 9847;

impl Default for Config {
    fn default() -> Self {
        Self {
            eal: Vec::new(),
            ports: Vec::new(),
            socket: None,
            log: Log::default(),
            capacity: None,
            idle: Idle::default(),
            neighbours: Vec::new(),
            routes: Vec::new(),
            marks: Vec::new(),
            exceptions: Default::default(),
            settings: Vec::new(),
            timeouts: Timeouts { tcp: 0, tcp_fin: 0, udp: 0 },
            services: Vec::new(),
            daemons: Vec::new(),
            metrics: Metrics::default(),
        }
    }
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The device.
    pub device: Device,
    /// The name of its interface in the kernel; none if it has no such interface.
    pub kernel: Option<String>,
    /// Receive queues, each with a worker of its own; none leaves it to the number of workers.
    pub queues: Option<u16>,
    /// Whether clients' packets come in here, or those of real servers; none: clients' at the first port, servers' at
    /// others. With several workers it says what RSS hashes; frames go where they belong whatever it is.
    pub side: Option<Side>,
    /// MTU, bytes of IP packet; none leaves the device's.
    pub mtu: Option<u16>,
    /// Addresses of a port that has no interface in the kernel to hold them.
    pub addresses: Vec<Network>,
}

/// On which side of the director a port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The clients'.
    Outside,
    /// The real servers'.
    Inside,
}

/// Which of DPDK's devices a port is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    /// DPDK's port number.
    Number(u16),
    /// A PCI address with its domain (`0000:3b:00.0`) or the name of a virtual device (`net_af_packet0`).
    Name(String),
}

/// What a worker does while its queues are empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Idle {
    /// Looks again at once: the least delay, and all of one CPU.
    #[default]
    Poll,
    /// Sleeps for some microseconds when the queues stay empty.
    Pause,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The least important lines that are written.
    pub level: Level,
    /// Their form.
    pub format: Format,
}

/// A log level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // the names that everybody gives them
pub enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Reads and checks a file, with those of `conf.d` beside it.
    ///
    /// # Errors
    /// A file cannot be read or has mistakes.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let sources = Sources::read(path).map_err(|(path, error)| Error::Read { path, error })?;
        Self::of(&sources).map_err(|mistakes| Error::Wrong { mistakes })
    }

    /// Checks the text of a file.
    ///
    /// # Errors
    /// Every mistake, in the order of the file. Text that is no TOML or has unknown keys or wrong types has one: the
    /// first.
    pub fn parse(text: &str) -> Result<Self, Vec<Mistake>> {
        Self::of(&Sources::of_text(text))
    }

    fn of(sources: &Sources) -> Result<Self, Vec<Mistake>> {
        let mut whole = raw::File::default();
        let mut mistakes = Vec::new();
        for (number, text) in sources.texts().enumerate() {
            match toml::from_str::<raw::File>(&text) {
                Ok(file) => whole.join(file, &mut |span| {
                    mistakes.push(sources.mistake(number, Some(span), "another file says this already"));
                }),
                Err(error) => mistakes.push(Mistake::of_toml(sources, number, &error)),
            }
        }
        if mistakes.is_empty() { check::check(sources, whole) } else { Err(mistakes) }
    }

    /// What the file says about routes and neighbours of ports without a kernel interface. `device` answers a port's
    /// MAC address and MTU.
    #[must_use]
    pub fn fixed(&self, device: impl Fn(u16) -> (Mac, u16)) -> Fixed {
        let without_kernel = self.ports.iter().zip(0..).filter(|(port, _)| port.kernel.is_none());
        let ports = without_kernel.map(|(port, number)| {
            let (mac, mtu) = device(number);
            FixedPort { port: number, mac, mtu, addresses: port.addresses.clone() }
        });
        Fixed { ports: ports.collect(), neighbours: self.neighbours.clone(), routes: self.routes.clone() }
    }
}
