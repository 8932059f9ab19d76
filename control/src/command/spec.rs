//! Services, servers and what else an operator describes, as commands carry them and listings show them.

use super::{Netmask, ServerName, ServiceName, method, names};
use forwarder::service::Method;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A virtual service as an operator describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceSpec {
    /// Its name.
    pub service: ServiceName,
    /// The scheduler's name, `wlc` if nobody says.
    #[serde(default = "default_scheduler")]
    pub scheduler: String,
    /// What operators call it, 1 to 63 letters, digits, `.`, `_` and `-`; no two services have the same. An edit without
    /// one, as ipvsadm's are, keeps it; an empty one takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `-b`.
    #[serde(default, skip_serializing_if = "SchedulerFlags::is_empty")]
    pub flags: SchedulerFlags,
    /// `-p`: life of a client's template after its last new connection, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<u32>,
    /// `-M`: which clients share a template. Means nothing without persistence. None: each has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netmask: Option<Netmask>,
    /// `--pe`: the persistence engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// `-o`: one-packet scheduling.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_packet: bool,
    /// `--conn-timeouts`: timeouts of its own connections, those that are made from here on; 0 is what all have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
}

impl ServiceSpec {
    /// What operators call it, if they do, and what it is: `web tcp 10.0.0.1:80`.
    #[must_use]
    pub fn title(&self) -> String {
        self.name.as_ref().map_or_else(|| self.service.to_string(), |name| format!("{name} {}", self.service))
    }

    /// A service with ipvsadm's defaults.
    #[must_use]
    pub fn new(service: ServiceName) -> Self {
        Self {
            service,
            scheduler: default_scheduler(),
            name: None,
            flags: SchedulerFlags::default(),
            persistence: None,
            netmask: None,
            engine: None,
            one_packet: false,
            timeouts: None,
        }
    }
}

fn default_scheduler() -> String {
    "wlc".to_owned()
}

/// `-b`: what a flag means depends on the scheduler (sh and mh: 1 is fallback, 2 is port).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct SchedulerFlags {
    pub flag1: bool,
    pub flag2: bool,
    pub flag3: bool,
}

impl SchedulerFlags {
    /// True if no flag is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A real server as an operator describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerSpec {
    /// Its address.
    pub address: IpAddr,
    /// Its port, host byte order. With DR and TUN it is always the service's, whatever is written here, except for a
    /// mark service. 0: the packet's own port stays.
    pub port: u16,
    /// `-g` (default), `-i` or `-m`.
    #[serde(with = "method", default = "default_method")]
    #[schemars(with = "names::MethodJson")]
    pub method: Method,
    /// `-w`, 0 to 2147483647; 0 quiesces.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// `-x`: at this many connections it gets no more; 0 is no limit.
    #[serde(default)]
    pub upper: u32,
    /// `-y`: below this many it is taken back; 0 means below 3/4 of `upper`. Not above `upper`.
    #[serde(default)]
    pub lower: u32,
}

impl ServerSpec {
    /// A server with ipvsadm's defaults.
    #[must_use]
    pub fn new(address: IpAddr, port: u16) -> Self {
        Self { address, port, method: default_method(), weight: default_weight(), upper: 0, lower: 0 }
    }

    /// What tells it from the others of its service.
    #[must_use]
    pub fn name(&self) -> ServerName {
        ServerName { address: self.address, port: self.port }
    }
}

fn default_method() -> Method {
    Method::Dr
}

fn default_weight() -> u32 {
    1
}

/// Connection timeouts that an operator can set, in seconds, 0 to 2678400. In `--set`, 0 leaves one as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// TCP, ESTABLISHED.
    pub tcp: u32,
    /// TCP, FIN_WAIT.
    pub tcp_fin: u32,
    /// UDP.
    pub udp: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { tcp: 900, tcp_fin: 120, udp: 300 }
    }
}

/// The two ends of connection synchronisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DaemonRole {
    /// Sends.
    Master,
    /// Receives.
    Backup,
}

/// `--start-daemon`. What is left out is the kernel's default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DaemonSpec {
    /// Master or backup.
    pub role: DaemonRole,
    /// The interface of the multicast group.
    pub interface: String,
    /// Told apart by this from others of the same group.
    #[serde(default)]
    pub sync_id: u8,
    /// Longest message, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_len: Option<u16>,
    /// The multicast group, 224.0.0.81 if nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<IpAddr>,
    /// UDP port, 8848 if nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Time to live of the messages, 1 if nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
}
