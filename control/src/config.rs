//! The configuration file: TOML, checked as a whole before anything of it is used.
//!
//! [`Config::parse`] answers either a configuration whose parts fit together or every [`Mistake`] with its line and
//! column. It opens no device and asks no kernel: whether a device or an address exists shows when it is used.

mod check;
mod mistake;
mod raw;
#[cfg(test)]
mod tests;
mod values;

pub use mistake::Mistake;

use crate::command::MarkSpec;
use crate::kernel::{Fixed, FixedNeighbour, FixedPort, FixedRoute, Network};
use forwarder::route::Mac;
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
    /// The file is wrong.
    #[error("{}", lines(path, mistakes))]
    Wrong {
        /// The file.
        path: PathBuf,
        /// At least one.
        mistakes: Vec<Mistake>,
    },
}

fn lines(path: &Path, mistakes: &[Mistake]) -> String {
    let lines: Vec<String> = mistakes.iter().map(|mistake| format!("{}: {mistake}", path.display())).collect();
    lines.join("\n")
}

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// `[[neighbour]]`.
    pub neighbours: Vec<FixedNeighbour>,
    /// `[[route]]`.
    pub routes: Vec<FixedRoute>,
    /// `[marks] rules`: marking rules, the first being the one that wins.
    pub marks: Vec<MarkSpec>,
    /// `[settings]`: names and values of the kernel's `/proc/sys/net/ipv4/vs`, as `state::Settings` takes them.
    pub settings: Vec<(String, String)>,
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
    /// Reads and checks a file.
    ///
    /// # Errors
    /// The file cannot be read or has mistakes.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::Read { path: path.to_owned(), error })?;
        Self::parse(&text).map_err(|mistakes| Error::Wrong { path: path.to_owned(), mistakes })
    }

    /// Checks the text of a file.
    ///
    /// # Errors
    /// Every mistake, in the order of the file. Text that is no TOML or has unknown keys or wrong types has one: the
    /// first.
    pub fn parse(text: &str) -> Result<Self, Vec<Mistake>> {
        let file: raw::File = toml::from_str(text).map_err(|error| vec![Mistake::of_toml(text, &error)])?;
        check::check(text, file)
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
