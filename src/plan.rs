//! What is to be started: the command line, over the configuration file, over the defaults.

use crate::lcore::Idle;
use crate::options::{KernelInterface, LogFormat, Options};
use anyhow::Result;
use control::config::{self, Config, Device};
use control::kernel::{Fixed, Network};
use forwarder::rss::Side;
use std::path::PathBuf;

const CONNECTIONS: usize = 1_000_000;
const DESTINATIONS: usize = 262_144;
/// Frames in the pool, at least. One less than a power of two wastes least memory.
const MBUFS: u32 = 16_383;
/// Frames that a pair of queues can hold.
const MBUFS_OF_QUEUES: u32 = 2 * 1024;
/// Frames that are anywhere else: in bursts, rings, caches, waiting.
const MBUFS_ELSEWHERE: u32 = 8_192;
const MBUF_SIZE: u16 = 2_048;

/// All that main needs to know.
#[derive(Debug)]
pub struct Plan {
    /// The EAL's arguments.
    pub eal: Vec<String>,
    /// The ports in their order; none: all there are.
    pub ports: Vec<PortPlan>,
    /// The control socket; none: the default.
    pub socket: Option<PathBuf>,
    /// Connections that a worker can keep.
    pub connections: usize,
    /// Slots for real servers.
    pub destinations: usize,
    /// Workers; none: one on each lcore but the main one.
    pub workers: Option<usize>,
    /// Frames in the pool, if somebody says.
    mbufs: Option<u32>,
    /// Bytes of a frame's buffer.
    pub mbuf_size: u16,
    /// What a worker does while its queues are empty.
    pub idle: Idle,
    /// The file.
    pub file: Option<PathBuf>,
    /// What it says.
    config: Config,
}

/// A port that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortPlan {
    /// The device.
    pub device: Device,
    /// Its kernel interface.
    pub kernel: KernelInterface,
    /// Its MTU, if not the device's own.
    pub mtu: Option<u16>,
    /// Its queues in each direction, if not one a worker.
    pub queues: Option<u16>,
    /// On which side of the director it is, if somebody says.
    pub side: Option<Side>,
}

/// How the log is to be, before anything else can be said.
pub struct Log {
    /// As `--log-level` takes it.
    pub filter: String,
    /// Its form.
    pub format: LogFormat,
}

impl Plan {
    /// Reads the file, if there is one, and puts the command line over it.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn new(eal: Vec<String>, options: &Options) -> Result<(Self, Log)> {
        let config = options.config.as_deref().map(Config::load).transpose()?.unwrap_or_default();
        let of_options = options.ports.iter().map(|port| PortPlan {
            device: port.device.parse().map_or_else(|_| Device::Name(port.device.clone()), Device::Number),
            kernel: port.kernel.clone(),
            mtu: None,
            queues: None,
            side: port.side,
        });
        let of_config = config.ports.iter().map(|port| PortPlan {
            device: port.device.clone(),
            kernel: port.kernel.clone().map_or(KernelInterface::None, KernelInterface::Named),
            mtu: port.mtu,
            queues: port.queues,
            side: port.side.map(|side| match side {
                config::Side::Outside => Side::Outside,
                config::Side::Inside => Side::Inside,
            }),
        });
        let ports = if options.ports.is_empty() { of_config.collect() } else { of_options.collect() };
        let log = Log {
            filter: options.log_level.clone().unwrap_or_else(|| level(config.log.level).to_owned()),
            format: options.log_format.unwrap_or(match config.log.format {
                config::Format::Text => LogFormat::Text,
                config::Format::Json => LogFormat::Json,
            }),
        };
        let capacity = config.capacity.map(|capacity| capacity as usize);
        let plan = Self {
            eal: eal.into_iter().chain(config.eal.iter().cloned()).collect(),
            ports,
            socket: options.socket.clone().or_else(|| config.socket.clone()),
            connections: options.connections.or(capacity).unwrap_or(CONNECTIONS),
            destinations: options.destinations.unwrap_or(DESTINATIONS),
            workers: options.workers.map(|workers| workers.get().into()),
            mbufs: options.mbufs,
            mbuf_size: options.mbuf_size.unwrap_or(MBUF_SIZE),
            idle: options.idle.unwrap_or(config.idle.into()),
            file: options.config.clone(),
            config,
        };
        Ok((plan, log))
    }

    /// Frames in the pool, for so many workers on so many ports.
    pub fn mbufs(&self, workers: usize, ports: usize) -> u32 {
        let queues = u32::try_from(workers.saturating_mul(ports)).unwrap_or(u32::MAX);
        let needed = queues.saturating_mul(MBUFS_OF_QUEUES).saturating_add(MBUFS_ELSEWHERE);
        self.mbufs.unwrap_or(needed.max(MBUFS))
    }

    /// What is configured about the ports without a kernel interface, whose MAC addresses and MTUs are given by number.
    pub fn fixed(&self, without_kernel: &[(u16, [u8; 6], u16)]) -> Fixed {
        let addresses = |number: u16| -> Vec<Network> {
            self.config.ports.get(usize::from(number)).map(|port| port.addresses.clone()).unwrap_or_default()
        };
        let ports = without_kernel.iter().map(|&(port, mac, mtu)| control::kernel::FixedPort {
            port,
            mac,
            mtu,
            addresses: addresses(port),
        });
        Fixed { ports: ports.collect(), neighbours: self.config.neighbours.clone(), routes: self.config.routes.clone() }
    }

    /// What the file says.
    pub fn config(&self) -> &Config {
        &self.config
    }
}

fn level(level: config::Level) -> &'static str {
    match level {
        config::Level::Error => "error",
        config::Level::Warn => "warn",
        config::Level::Info => "info",
        config::Level::Debug => "debug",
        config::Level::Trace => "trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;

    fn plan(file: &str, line: &str) -> Result<(Plan, Log)> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("rvs.toml");
        std::fs::write(&path, file)?;
        let words = line.split_whitespace().map(str::to_owned);
        let words = words.chain(["--config".to_owned(), path.display().to_string()]).collect();
        let (eal, options) = options::split(words)?;
        Plan::new(eal, &options)
    }

    #[test]
    fn the_command_line_goes_over_the_file() {
        let file = r#"
            [eal]
            args = ["--no-pci"]
            [[port]]
            device = "net_ring0"
            kernel = false
            [control]
            socket = "/run/a.sock"
            [connections]
            capacity = 5000
            [workers]
            idle = "pause"
        "#;
        let (plan, log) = self::plan(file, "--no-huge -- --socket /run/b.sock --log-level warn").unwrap();
        assert_eq!(plan.eal, ["--no-huge", "--no-pci"]);
        assert_eq!(plan.socket, Some("/run/b.sock".into()));
        assert_eq!((plan.connections, plan.idle), (5000, Idle::Pause));
        assert_eq!(plan.ports[0].kernel, KernelInterface::None);
        assert_eq!(log.filter, "warn");
        let (plan, log) = self::plan(file, "-- --port 3 --connections 7 --idle poll").unwrap();
        assert_eq!(plan.ports[0].device, Device::Number(3));
        assert_eq!((plan.connections, log.filter.as_str(), plan.idle), (7, "info", Idle::Poll));
    }
}
