//! rvsd's command line: `rvsd [EAL arguments] -- [options]`. Without `--`, everything is the options', and the EAL's
//! arguments come from the configuration file.

use crate::lcore::Idle;
use clap::Parser;
use forwarder::rss::Side;
use std::path::PathBuf;

/// The options behind `--`.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "rvsd",
    version,
    override_usage = "rvsd [EAL arguments] -- [options]\n       rvsd [options]\n       rvsd check FILE\n       rvsd bench [options]\n       rvsd [EAL arguments] -- [options] doctor"
)]
/// A Linux Virtual Server director on DPDK
pub struct Options {
    /// Configuration file (TOML)
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The console in the foreground, as testpmd -i has it; leaving it ends the daemon
    #[arg(long, short)]
    pub interactive: bool,
    /// Control socket [default: $RVS_SOCKET, or /run/rvs/control.sock]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// A port to use, in order: a device name or PCI address, its kernel interface, and its side
    #[arg(long = "port", value_name = "DEVICE[,kernel=NAME|,kernel=none][,side=outside|,side=inside]")]
    pub ports: Vec<PortOption>,
    /// Workers [default: one on each lcore but the main one]; those beyond the lcores run on threads
    #[arg(long, value_name = "N")]
    pub workers: Option<std::num::NonZeroU8>,
    /// Connections that a worker can keep
    #[arg(long, value_name = "N", value_parser = number(1..=1 << 30))]
    pub connections: Option<usize>,
    /// Real servers that can be configured, over all services
    #[arg(long, value_name = "N", value_parser = number(1..=1 << 24))]
    pub destinations: Option<usize>,
    /// Frames in the memory pool
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1024..))]
    pub mbufs: Option<u32>,
    /// Bytes of a frame's buffer
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(256..))]
    pub mbuf_size: Option<u16>,
    /// What a worker does while its queues are empty
    #[arg(long, value_enum, value_name = "MODE")]
    pub idle: Option<Idle>,
    /// What is logged: error, warn, info, debug or trace, also for parts (`info,dpdk=debug`)
    #[arg(long, value_name = "FILTER")]
    pub log_level: Option<String>,
    /// How it is logged
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Something else to do than to direct
    #[command(subcommand)]
    pub action: Option<Action>,
}

/// What rvsd can do besides.
#[derive(Clone, Debug, PartialEq, clap::Subcommand)]
pub enum Action {
    /// Say what is wrong in a configuration file, and in those of conf.d beside it; exit status 4 if anything is
    Check {
        /// The file
        file: PathBuf,
    },
    /// Say what on this machine is in the way, and the command that mends it; exit status 1 if anything is
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Measure the data path on generated flows; needs neither NIC nor root
    Bench(BenchOptions),
}

/// `rvsd bench`.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct BenchOptions {
    /// How packets are forwarded, and which of them there are
    #[arg(long, value_enum, default_value = "dr")]
    pub mode: rvs_bench::traffic::Mode,
    /// Their protocol
    #[arg(long, value_enum, default_value = "tcp")]
    pub proto: rvs_bench::frames::Proto,
    /// Connections at a time
    #[arg(long, value_name = "N", default_value_t = 65_536, value_parser = number(1..=16_000_000))]
    pub flows: usize,
    /// Bytes of a frame on the wire
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = clap::value_parser!(u16).range(64..=1518))]
    pub frame_size: u16,
    /// Of the frames, those that make a connection
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    pub new: f64,
    /// Who picks the servers; replies (nat-reply, nat-mixed) need sh and 16 servers
    #[arg(long, value_name = "NAME", default_value = "sh")]
    pub scheduler: String,
    /// Servers of a service
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub servers: u16,
    /// Services, one of which gets the traffic
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub services: u16,
    /// Frames in a burst
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub burst: u8,
    /// How long it measures
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    pub seconds: f64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A number of so many. It is memory, all of which is taken at the start.
fn number(range: std::ops::RangeInclusive<u64>) -> impl clap::builder::TypedValueParser<Value = usize> {
    use clap::builder::TypedValueParser;
    clap::value_parser!(u64).range(range).map(|n| n as usize)
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `--port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortOption {
    /// The device's name or PCI address.
    pub device: String,
    /// Its kernel interface.
    pub kernel: KernelInterface,
    /// On which side of the director it is.
    pub side: Option<Side>,
}

/// Which kernel interface a port gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KernelInterface {
    /// `lvsN`, N being the port's number; none for devices that only replay or drop frames.
    #[default]
    Default,
    /// One of this name.
    Named(String),
    /// None.
    None,
}

impl std::str::FromStr for PortOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let device = parts.next().filter(|device| !device.is_empty()).ok_or("the device's name is missing")?;
        let mut option = Self { device: device.to_owned(), kernel: KernelInterface::Default, side: None };
        for part in parts {
            match part.split_once('=') {
                Some(("kernel", "none")) => option.kernel = KernelInterface::None,
                Some(("kernel", name)) if !name.is_empty() && name.len() < 16 => {
                    option.kernel = KernelInterface::Named(name.to_owned());
                }
                Some(("kernel", name)) => return Err(format!("'{name}' is no interface name (1 to 15 bytes)")),
                Some(("side", "outside")) => option.side = Some(Side::Outside),
                Some(("side", "inside")) => option.side = Some(Side::Inside),
                _ => {
                    return Err(format!(
                        "'{part}' is not understood: kernel=NAME, kernel=none, side=outside or side=inside"
                    ));
                }
            }
        }
        Ok(option)
    }
}

/// The EAL's arguments and the options, from the process's arguments without its name.
///
/// # Errors
/// What clap says, help and version included.
pub fn split(arguments: Vec<String>) -> Result<(Vec<String>, Options), clap::Error> {
    let (eal, own) = match arguments.iter().position(|argument| argument == "--") {
        Some(at) => (arguments[..at].to_vec(), arguments[at + 1..].to_vec()),
        None => (Vec::new(), arguments),
    };
    let options = Options::try_parse_from(std::iter::once("rvsd".to_owned()).chain(own))?;
    Ok((eal, options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn eal_arguments_end_at_the_two_dashes() {
        let (eal, options) =
            split(words("-l 0-1 --no-huge -- --socket /tmp/s --port net_ring0,kernel=none,side=inside")).unwrap();
        assert_eq!(eal, words("-l 0-1 --no-huge"));
        assert_eq!(options.socket, Some("/tmp/s".into()));
        let port = PortOption { device: "net_ring0".into(), kernel: KernelInterface::None, side: Some(Side::Inside) };
        assert_eq!(options.ports, [port]);
        let (eal, options) = split(words("--config f.toml")).unwrap();
        assert!(eal.is_empty() && options.config == Some("f.toml".into()));
    }

    #[test]
    fn a_number_that_no_memory_holds_is_refused() {
        for line in [
            "--connections 0",
            "--connections 18446744073709551615",
            "--destinations 99999999999",
            "--destinations 18446744073709551616",
            "--mbufs 0",
            "--mbuf-size 0",
        ] {
            assert!(split(words(line)).is_err(), "{line}");
        }
        let (_, options) = split(words("--connections 1 --destinations 16777216")).unwrap();
        assert_eq!((options.connections, options.destinations), (Some(1), Some(1 << 24)));
    }

    #[test]
    fn a_bad_port_is_refused_with_a_reason() {
        for (text, reason) in
            [(",kernel=x", "missing"), ("a,kernel=", "interface name"), ("a,kern=x", "not understood")]
        {
            let error = text.parse::<PortOption>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
