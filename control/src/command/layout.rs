//! Which worker serves which queue of which port, and how queues are set up, as data.

use serde::{Deserialize, Serialize};

/// How frames are received and sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LayoutView {
    /// Frames that are received at once, at most.
    pub burst: u16,
    /// The workers, by number.
    pub workers: Vec<SeatView>,
    /// The ports, by number.
    pub ports: Vec<PortLayout>,
}

/// Where a worker runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SeatView {
    /// Its number.
    pub worker: u32,
    /// Its lcore; none for one on a thread, for which there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lcore: Option<u32>,
    /// The CPU of its lcore, if that is exactly one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// The NUMA node of its lcore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numa_node: Option<u32>,
}

/// The queues of a port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PortLayout {
    /// Its number.
    pub port: u16,
    /// Its NUMA node, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numa_node: Option<u32>,
    /// Receive offloads in use (RTE_ETH_RX_OFFLOAD_*).
    pub rx_offloads: u64,
    /// Transmit offloads in use (RTE_ETH_TX_OFFLOAD_*).
    pub tx_offloads: u64,
    /// Its receive queues, by number.
    pub rx: Vec<QueueView>,
    /// Its transmit queues, by number.
    pub tx: Vec<QueueView>,
}

/// A queue. What is not known is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct QueueView {
    /// The worker that serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<u32>,
    /// Its descriptors.
    pub descriptors: u16,
    /// Receive: where its frames come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Receive: descriptors with frames that its worker has not taken yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u32>,
    /// Which of its routines the driver uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst_mode: Option<String>,
    /// What its driver tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<QueueSettings>,
}

/// What a driver tells of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct QueueSettings {
    /// Threshold of prefetching, descriptors.
    pub prefetch: u8,
    /// Threshold of the host, descriptors.
    pub host: u8,
    /// Threshold of writing back, descriptors.
    pub write_back: u8,
    /// Descriptors are given back in groups of so many.
    pub free: u16,
    /// Transmit: descriptors between two reports of the device.
    pub report: u16,
    /// Offloads in use.
    pub offloads: u64,
    /// Receive: frames are dropped while no descriptor is free.
    pub drops: bool,
    /// It does not start with its port.
    pub deferred_start: bool,
    /// Receive: a frame may come in several segments.
    pub scattered: bool,
    /// Receive: bytes of a buffer; 0 if unknown.
    pub buffer: u16,
    /// It is started.
    pub started: bool,
}
