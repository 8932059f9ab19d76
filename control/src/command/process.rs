//! What is the process's own, as data: its log and its memory.

use serde::{Deserialize, Serialize};

/// The log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LogView {
    /// What is logged, as `--log-level` takes it.
    pub filter: String,
}

/// Memory of DPDK's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MemoryView {
    /// Pools of frames.
    pub pools: Vec<PoolView>,
    /// What DPDK has of the system, by NUMA node.
    pub heaps: Vec<HeapView>,
    /// The machine's huge pages, by NUMA node and size.
    pub huge_pages: Vec<HugePagesView>,
}

/// A pool of frames.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PoolView {
    /// Its name.
    pub name: String,
    /// Its frames.
    pub size: u32,
    /// Those that nobody has.
    pub available: u32,
}

/// A heap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HeapView {
    /// Its NUMA node.
    pub numa_node: u32,
    /// Bytes.
    pub total: u64,
    /// Bytes that nobody has.
    pub free: u64,
    /// Bytes of the largest piece of these.
    pub largest_free: u64,
}

/// Huge pages of one size on one NUMA node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HugePagesView {
    /// The NUMA node.
    pub numa_node: u32,
    /// Their size, KiB.
    pub kib: u64,
    /// How many are reserved.
    pub total: u64,
    /// How many of these nobody has.
    pub free: u64,
}
