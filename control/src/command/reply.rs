//! Answers, as data: a front end formats them.

use super::{
    CapturePage, Command, DaemonSpec, Error, ExceptionView, ForwardingView, LayoutView, LogView, MarkSpec, MemoryView,
    NeighbourView, PortView, RoutePage, ServerSpec, ServiceSpec, Timeouts, TracePage, WorkerView,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The answer to a command that was not refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// A change was made, and every lcore knows it.
    Done,
    /// For each command of a [`super::Command::Each`], why it was refused, if it was.
    Each(Vec<Option<Error>>),
    /// Services in the kernel's order, each with its servers in the kernel's order.
    Services(Vec<ServiceView>),
    /// One page of connections.
    Connections(ConnectionPage),
    /// What was taken away.
    Flushed(FlushedView),
    /// The timeouts.
    Timeouts(Timeouts),
    /// The daemons that run, master before backup, with every default filled in.
    Daemons(Vec<DaemonSpec>),
    /// Every setting.
    Settings(Vec<Setting>),
    /// The marking rules, in their order.
    Marks(Vec<MarkSpec>),
    /// The classes of frames for the kernel.
    Exceptions(Vec<ExceptionView>),
    /// What the director did in all.
    Statistics(Statistics),
    /// The director's version.
    Version(Version),
    /// What was changed lately.
    Changes(ChangePage),
    /// What a configuration file changed, or would.
    Config(ConfigReport),
    /// The daemon's own affairs.
    Status(StatusView),
    /// Text for people.
    Text(String),
    /// The workers, by number.
    Workers(Vec<WorkerView>),
    /// The ports, by number.
    Ports(Vec<PortView>),
    /// What was forwarded.
    Forwarding(ForwardingView),
    /// Which worker serves which queue.
    Layout(LayoutView),
    /// Frames dropped, by reason; every reason is there.
    Drops(BTreeMap<String, u64>),
    /// The neighbours, by address.
    Neighbours(Vec<NeighbourView>),
    /// Routes.
    Routes(RoutePage),
    /// The log.
    Log(LogView),
    /// Memory.
    Memory(MemoryView),
    /// What is in the way, and what is not.
    Findings(Vec<crate::doctor::Finding>),
    /// Frames.
    Captured(CapturePage),
    /// Packets that were traced.
    Traced(TracePage),
}

/// A service as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ServiceView {
    /// How it is configured.
    #[serde(rename = "config")]
    pub spec: ServiceSpec,
    /// What it did.
    pub statistics: Statistics,
    /// Its servers, the newest first.
    pub servers: Vec<ServerView>,
    /// Where it came from.
    #[serde(default)]
    pub origin: Origin,
}

/// Where something came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// From a command at run time.
    #[default]
    Runtime,
    /// From the configuration file.
    File,
    /// From the configuration file, and edited at run time since.
    FileEdited,
}

/// How far a drain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DrainView {
    /// Seconds since it began.
    pub seconds: u32,
    /// Seconds until the deadline, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<u32>,
    /// Whether the server is deleted at the end.
    pub delete: bool,
}

/// A real server as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ServerView {
    /// How it is configured.
    #[serde(rename = "config")]
    pub spec: ServerSpec,
    /// ActiveConn, now.
    pub active: u32,
    /// InActConn, now.
    pub inactive: u32,
    /// PersistConn, now.
    pub persistent: u32,
    /// What it did.
    pub statistics: Statistics,
    /// Where it came from.
    #[serde(default)]
    pub origin: Origin,
    /// If it drains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainView>,
}

/// Counters and rates as of the last estimation: both stand still for 2 s at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Statistics {
    /// Since the start, or since `-Z`.
    #[serde(flatten)]
    pub counters: Counters,
    /// Each second, averaged.
    pub rates: Rates,
}

/// Counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Counters {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Packets to clients (NAT).
    pub out_packets: u64,
    /// Bytes of IP packets from clients.
    pub in_bytes: u64,
    /// Bytes of IP packets to clients.
    pub out_bytes: u64,
}

impl Counters {
    /// Applies `f` to each pair of counters.
    #[must_use]
    pub fn zip(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            connections: f(self.connections, other.connections),
            in_packets: f(self.in_packets, other.in_packets),
            out_packets: f(self.out_packets, other.out_packets),
            in_bytes: f(self.in_bytes, other.in_bytes),
            out_bytes: f(self.out_bytes, other.out_bytes),
        }
    }

    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        self.zip(earlier, u64::wrapping_sub)
    }

    /// The sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, u64::wrapping_add)
    }
}

/// The same, per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[allow(missing_docs)] // as in Counters
pub struct Rates {
    pub connections: u64,
    pub in_packets: u64,
    pub out_packets: u64,
    pub in_bytes: u64,
    pub out_bytes: u64,
}

/// Connections, a few at a time: nobody builds the whole list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ConnectionPage {
    /// In no order.
    pub connections: Vec<ConnectionView>,
    /// Where the next page starts; none after the last.
    pub next: Option<u64>,
}

/// An entry of the connection table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ConnectionView {
    /// `TCP`, `UDP`, `SCTP`, or `IP` for a mark's template.
    pub protocol: String,
    /// Seconds to live.
    pub expires: u32,
    /// The state's name in the kernel's `/proc/net/ip_vs_conn`.
    pub state: String,
    /// The client.
    pub client: IpAddr,
    /// Its port, host byte order; 0 in a template.
    pub client_port: u16,
    /// The virtual address; for a mark's template the mark, written as an address.
    #[serde(rename = "virtual")]
    pub target: IpAddr,
    /// Its port, host byte order.
    #[serde(rename = "virtual_port")]
    pub target_port: u16,
    /// The real server.
    pub server: IpAddr,
    /// Its port, host byte order.
    pub server_port: u16,
    /// The persistence engine and its data (`sip`, a Call-ID).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<(String, String)>,
}

/// What was taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FlushedView {
    /// Connections.
    pub connections: u64,
    /// Persistence templates.
    pub templates: u64,
}

/// What speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Version {
    /// The director's version.
    pub rvs: String,
    /// The version of the JSON protocol: it grows when something is taken away or changes its meaning.
    pub protocol: u32,
}

/// What a configuration file changed, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ConfigReport {
    /// False if it only would.
    pub applied: bool,
    /// In one line.
    pub summary: String,
    /// A line for each change.
    pub changes: Vec<String>,
    /// Sections of the file that differ from what the daemon started by, and wait for its restart.
    pub restart: Vec<String>,
}

/// The daemon's own affairs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StatusView {
    /// When it started, in seconds since 1970.
    pub started: u64,
    /// How often its file was read again and taken over.
    pub reloads: u64,
    /// How often it was bad.
    pub failed_reloads: u64,
    /// When its file was last taken over, in seconds since 1970.
    pub last_reload: u64,
}

/// Changes in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ChangePage {
    /// The changes.
    pub changes: Vec<Change>,
    /// The number of the next one.
    pub next: u64,
    /// How many of those asked for are forgotten.
    pub lost: u64,
}

/// A change that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Change {
    /// Changes are numbered from 0 since the director started.
    pub number: u64,
    /// The command that made it.
    pub change: Command,
}

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Setting {
    /// The file's name in `/proc/sys/net/ipv4/vs`.
    pub name: String,
    /// Its content.
    pub value: String,
}
