//! Packets that are watched on their way through the workers, as data.

use super::ConnectionView;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// Traces that can be waited for at once.
pub const MOST_TRACES: usize = 8;
/// Packets that can be asked for, and kept, in all.
pub const MOST_TRACED: u32 = 1000;
/// Packets of a trace, if nobody says.
pub const TRACED: u32 = 10;

/// Which packets are traced, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceSpec {
    /// Only those from or to this client, or of its connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Ipv4Addr>,
    /// Only those from or to this virtual address, or of its connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Ipv4Addr>,
    /// And this port of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_port: Option<u16>,
    /// So many packets, 1 to 1000 over all that is traced.
    #[serde(default = "traced")]
    pub count: u32,
}

fn traced() -> u32 {
    TRACED
}

/// The packets that were traced, and those that are waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TracePage {
    /// In the order in which they came.
    pub packets: Vec<TracedPacket>,
    /// What was asked for, each with the number of packets that are still to come.
    pub waiting: Vec<TraceSpec>,
    /// How many passed by too fast to be kept.
    pub missed: u64,
}

/// A packet's way through the director: a step for each worker that looked at it, and for each time that it waited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TracedPacket {
    /// The steps, the first first.
    pub steps: Vec<TraceStep>,
}

/// What one worker found and decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TraceStep {
    /// The worker.
    pub worker: u32,
    /// When it was done, in microseconds since 1970.
    pub microseconds: u64,
    /// How the packet came to it: received, handed_over, whole (put together from fragments), answered (it waited for
    /// another worker to answer), held (it waited for a neighbour's MAC address) or from_kernel.
    pub came: String,
    /// The port that it came by.
    pub port: u16,
    /// The queue of it, if it was received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<u16>,
    /// How many fragments it was put together from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fragments: Option<u16>,
    /// Bytes of the frame, without FCS.
    pub length: u32,
    /// The frame in a line.
    pub frame: String,
    /// What it is: tcp, udp, sctp, icmp_error (about a packet of these), fragment (of these or ICMP), other (nothing for a
    /// director) or malformed.
    pub kind: String,
    /// The connection that it was found to belong to, as it was then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<TracedConnection>,
    /// The service that it was found to be for, if it had no connection, or started a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<TracedService>,
    /// The packet made a connection.
    pub made: bool,
    /// The connection after the packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<TracedConnection>,
    /// The server that a packet got for which no connection is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_packet_server: Option<String>,
    /// Another connection was taken away to make room for the new one.
    pub pushed_out: bool,
    /// There was no room for a connection.
    pub no_room: bool,
    /// What was changed in the packet.
    pub changes: Vec<String>,
    /// What became of it: sent, sent_in_fragments, kernel, dropped, answered (it was dropped, and its sender told), held (for
    /// a neighbour's MAC address), collected (for the other fragments), handed_over or asked (it waits for another worker).
    pub decision: String,
    /// The name of the drop reason, if it was dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The port by which it leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_port: Option<u16>,
    /// The neighbour that it was sent to, or waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neighbour: Option<Ipv4Addr>,
    /// The worker that goes on with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_worker: Option<u32>,
    /// The answer in a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// A connection as a packet met it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TracedConnection {
    /// As it is listed.
    #[serde(flatten)]
    pub view: ConnectionView,
    /// The packet is a reply, or an error about a request.
    pub reply: bool,
    /// nat, tun, dr, local, or bypass.
    pub forwarding: String,
    /// A persistence template chose its server.
    pub by_template: bool,
}

/// A service as a packet met it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TracedService {
    /// Its name: `TCP 10.0.0.1:80` or `FWM 7`.
    pub name: String,
    /// The mark that the packet got, or 0.
    pub mark: u32,
    /// Its scheduler.
    pub scheduler: String,
    /// It keeps no connections.
    pub one_packet: bool,
    /// With persistence: the server that the client's template names; the worker that keeps it; or that there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<TracedTemplate>,
}

/// What is known of a client's template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TracedTemplate {
    /// It has none.
    None,
    /// It names this server.
    Server(String),
    /// This worker knows.
    Worker(u32),
}
