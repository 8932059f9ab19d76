//! What stands in rvsd's way on this machine, and the command that mends it.
//!
//! [`examine`] decides, from a picture of the system that [`read`] takes and to which rvsd adds what only DPDK knows.

mod findings;
mod read;

#[cfg(test)]
mod tests;

pub use findings::{Finding, Level, examine, text};
pub use read::{huge_pages, read};

/// The system, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// NUMA nodes by number; one of number 0 where there is no NUMA.
    pub nodes: Vec<Node>,
    /// A hugetlbfs is mounted.
    pub hugetlbfs: bool,
    /// Network devices on PCI.
    pub devices: Vec<Device>,
    /// The IOMMU has groups.
    pub iommu: bool,
    /// vfio may do without an IOMMU.
    pub no_iommu_mode: bool,
    /// The driver vfio-pci is loaded.
    pub vfio: bool,
    /// Bytes that may be locked; none: any number.
    pub memlock: Option<u64>,
    /// Runs as root.
    pub root: bool,
    /// There is /dev/vhost-net.
    pub vhost_net: bool,
    /// There is /dev/net/tun.
    pub tun: bool,
    /// The ports that DPDK was asked about.
    pub ports: Vec<PortAbility>,
}

/// A NUMA node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub number: u32,
    /// Its huge pages by size.
    pub pages: Vec<Pages>,
}

/// Huge pages of one size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pages {
    /// Their size in KiB.
    pub kib: u64,
    /// Reserved.
    pub total: u64,
    /// Not in use.
    pub free: u64,
}

/// A network device on PCI.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Its address: `0000:3b:00.0`.
    pub address: String,
    /// Its vendor's number.
    pub vendor: u16,
    /// The driver that has it.
    pub driver: Option<String>,
    /// Its NUMA node.
    pub node: Option<u32>,
    /// Its interface in the kernel.
    pub interface: Option<String>,
}

/// What a port can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortAbility {
    /// Its device.
    pub device: String,
    /// Its driver.
    pub driver: String,
    /// Queues in each direction that it can have.
    pub queues: u16,
    /// Receive-side scaling can be told which frames go to which queue.
    pub rss: bool,
    /// It takes flow rules; none if it could not be asked.
    pub flow: Option<bool>,
}

/// What is asked of the system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Bytes of huge pages; 0: none are used.
    pub huge: u64,
    /// Devices on PCI are used.
    pub pci: bool,
    /// Huge pages need no files.
    pub in_memory: bool,
    /// Ports have interfaces in the kernel.
    pub interfaces: bool,
    /// Workers.
    pub workers: usize,
    /// The director runs already: it has its memory.
    pub running: bool,
}
