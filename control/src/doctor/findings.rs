//! The decisions, pure.

use super::{Device, Needs, Node, Pages, PortAbility, System};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Good,
    /// Works, but could be better, or may be meant so.
    Note,
    /// rvsd does not start so.
    Bad,
}

/// Something found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Finding {
    /// How grave it is.
    pub level: Level,
    /// What it is about.
    pub about: String,
    /// What was found.
    pub found: String,
    /// The command that mends it, where there is something to mend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// Drivers of the kernel that give a device to a process.
const FOR_PROCESSES: [&str; 3] = ["vfio-pci", "uio_pci_generic", "igb_uio"];
/// Vendors whose devices DPDK uses beside the kernel's driver: Mellanox, now NVIDIA.
const BESIDE_THE_KERNEL: [u16; 1] = [0x15b3];

/// What there is to say about a system of which this is needed.
#[must_use]
pub fn examine(system: &System, needs: &Needs) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    findings.huge_pages(system, needs);
    findings.devices(system, needs);
    findings.memlock(system, needs);
    findings.interfaces(system, needs);
    for port in &system.ports {
        findings.port(port, needs);
    }
    findings.0
}

/// As lines for people: a mark, what it is about and what was found, and below it the command.
#[must_use]
pub fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { level, about, found, mend } in findings {
        let mark = match level {
            Level::Good => "ok  ",
            Level::Note => "note",
            Level::Bad => "BAD ",
        };
        let _ = writeln!(text, "{mark} {about}: {found}");
        if let Some(mend) = mend {
            let _ = writeln!(text, "     {mend}");
        }
    }
    text
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, level: Level, about: impl Into<String>, found: impl Into<String>, mend: Option<String>) {
        self.0.push(Finding { level, about: about.into(), found: found.into(), mend });
    }

    fn huge_pages(&mut self, system: &System, needs: &Needs) {
        if needs.huge == 0 {
            self.add(Level::Note, "huge pages", "not used (--no-huge): rates are lower without them", None);
            return;
        }
        // Devices want their memory near them; without any, the first node does.
        let used: Vec<u32> =
            system.devices.iter().filter(|device| is_for_dpdk(device)).filter_map(|d| d.node).collect();
        for (index, node) in system.nodes.iter().enumerate() {
            let about = format!("huge pages of node {}", node.number);
            let free: u64 = node.pages.iter().map(|pages| pages.kib * 1024 * pages.free).sum();
            let wanted = if used.is_empty() { index == 0 } else { used.contains(&node.number) };
            let found = describe(node);
            if !wanted {
                self.add(Level::Good, about, format!("{found}; no port is there"), None);
            } else if !needs.running && free < needs.huge {
                let need = format!("{found}; {} MiB free are needed", needs.huge.div_ceil(1 << 20));
                self.add(Level::Bad, about, need, Some(reserve(node, needs.huge)));
            } else {
                self.add(Level::Good, about, found, None);
            }
        }
        let any = system.nodes.iter().flat_map(|node| &node.pages).any(|pages| pages.total > 0);
        match (system.hugetlbfs, needs.in_memory) {
            (true, _) => self.add(Level::Good, "hugetlbfs", "mounted", None),
            (false, true) => self.add(Level::Good, "hugetlbfs", "not mounted, and not needed (--in-memory)", None),
            (false, false) if any && !needs.running => {
                let mend = "mkdir -p /dev/hugepages && mount -t hugetlbfs nodev /dev/hugepages".to_owned();
                self.add(Level::Bad, "hugetlbfs", "not mounted", Some(mend));
            }
            (false, false) => {}
        }
    }

    fn devices(&mut self, system: &System, needs: &Needs) {
        if !needs.pci {
            self.add(Level::Note, "NICs", "not used (--no-pci)", None);
            return;
        }
        let ready = system.devices.iter().any(is_for_dpdk);
        if system.devices.is_empty() {
            let found = "no network device on PCI; virtual devices work without: --no-pci --vdev=...";
            self.add(Level::Note, "NICs", found, None);
        }
        let mut by_vfio = false;
        for device in &system.devices {
            let about = format!("NIC {}", device.address);
            let node = device.node.map(|node| format!(" on node {node}")).unwrap_or_default();
            let bind = format!("modprobe vfio-pci && dpdk-devbind.py --bind=vfio-pci {}", device.address);
            match device.driver.as_deref() {
                Some(driver) if is_for_dpdk(device) => {
                    by_vfio |= driver == "vfio-pci";
                    self.add(Level::Good, about, format!("bound to {driver}{node}"), None);
                }
                Some(driver) => {
                    let interface = device.interface.as_deref().map(|name| format!(" as {name}")).unwrap_or_default();
                    let found = format!("the kernel has it{interface} ({driver}){node}; if it is to be a port:");
                    self.add(Level::Note, about, found, Some(bind));
                }
                None => self.add(Level::Note, about, format!("no driver has it{node}"), Some(bind)),
            }
        }
        let iommu = "add intel_iommu=on iommu=pt (or amd_iommu=on iommu=pt) to the kernel's command line, or: \
                     echo 1 > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
        match (system.iommu, system.no_iommu_mode) {
            (true, _) => self.add(Level::Good, "IOMMU", "on", None),
            (false, true) => self.add(Level::Note, "IOMMU", "off; vfio does without (unsafe)", None),
            (false, false) => {
                let level = if by_vfio { Level::Bad } else { Level::Note };
                self.add(level, "IOMMU", "off; vfio-pci gives no device away", Some(iommu.to_owned()));
            }
        }
        if !system.vfio && !ready && !system.devices.is_empty() {
            self.add(Level::Note, "vfio-pci", "not loaded", Some("modprobe vfio-pci".to_owned()));
        }
    }

    fn memlock(&mut self, system: &System, needs: &Needs) {
        let about = "locked memory";
        match system.memlock {
            None => self.add(Level::Good, about, "any amount", None),
            Some(_) if system.root => self.add(Level::Good, about, "any amount (root)", None),
            Some(bytes) if bytes >= needs.huge && needs.pci => {
                self.add(Level::Good, about, format!("{} MiB", bytes >> 20), None);
            }
            Some(_) if !needs.pci => self.add(Level::Good, about, "enough without NICs", None),
            Some(bytes) => {
                let found = format!("{} KiB only; vfio locks all memory", bytes >> 10);
                let mend = "ulimit -l unlimited (LimitMEMLOCK=infinity in a unit of systemd)".to_owned();
                self.add(Level::Bad, about, found, Some(mend));
            }
        }
    }

    fn interfaces(&mut self, system: &System, needs: &Needs) {
        if !system.tun && needs.interfaces {
            let found = "no /dev/net/tun: ports cannot have interfaces in the kernel";
            self.add(Level::Bad, "tun", found, Some("modprobe tun".to_owned()));
        } else if system.tun {
            self.add(Level::Good, "tun", "there", None);
        }
        if system.vhost_net {
            self.add(Level::Good, "vhost-net", "there", None);
        } else {
            let found = "no /dev/vhost-net: virtio-user ports to the kernel cannot be had, taps can";
            self.add(Level::Note, "vhost-net", found, Some("modprobe vhost-net".to_owned()));
        }
    }

    fn port(&mut self, port: &PortAbility, needs: &Needs) {
        let about = format!("port {} ({})", port.device, port.driver);
        let flow = match port.flow {
            Some(true) => "flow rules",
            Some(false) => "no flow rules",
            None => "flow rules unknown",
        };
        let rss = if port.rss { "RSS" } else { "no RSS" };
        let found = format!("{rss}, {flow}, {} queues", port.queues);
        if needs.workers > 1 && (!port.rss || usize::from(port.queues) < needs.workers) {
            let found = format!("{found}; workers hand frames over to each other, which costs some rate");
            let most = if port.rss { usize::from(port.queues).max(1) } else { 1 };
            self.add(Level::Note, about, found, Some(format!("rvsd ... -- --workers {most}")));
        } else {
            self.add(Level::Good, about, found, None);
        }
    }
}

fn is_for_dpdk(device: &Device) -> bool {
    let driver = device.driver.as_deref().unwrap_or_default();
    FOR_PROCESSES.contains(&driver) || (BESIDE_THE_KERNEL.contains(&device.vendor) && driver.starts_with("mlx"))
}

fn describe(node: &Node) -> String {
    let each = |pages: &Pages| {
        let size =
            if pages.kib >= 1 << 20 { format!("{} GiB", pages.kib >> 20) } else { format!("{} MiB", pages.kib >> 10) };
        format!("{} of {} free of {size}", pages.free, pages.total)
    };
    let sizes: Vec<_> = node.pages.iter().filter(|pages| pages.total > 0).map(each).collect();
    if sizes.is_empty() { "none reserved".to_owned() } else { sizes.join(", ") }
}

/// Reserves what lacks, in the smallest pages, which can be had while the system runs.
fn reserve(node: &Node, bytes: u64) -> String {
    let smallest = node.pages.iter().min_by_key(|pages| pages.kib).copied();
    let pages = smallest.unwrap_or(Pages { kib: 2048, total: 0, free: 0 });
    let used = pages.total.saturating_sub(pages.free);
    let wanted = used + bytes.div_ceil(pages.kib * 1024);
    format!(
        "echo {wanted} > /sys/devices/system/node/node{}/hugepages/hugepages-{}kB/nr_hugepages",
        node.number, pages.kib
    )
}
