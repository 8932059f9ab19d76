//! Reads the picture from files of the kernel. What is not there or not understood is as if it were not.

use super::{Device, Node, Pages, System};
use std::fs;
use std::path::Path;

/// The class of network devices on PCI, its first byte.
const NETWORK: &str = "0x02";

/// The system whose files are below `root` (`/`); `is_root` says if the process may do everything.
#[must_use]
pub fn read(root: &Path, is_root: bool) -> System {
    let sys = root.join("sys");
    let exists = |path: &str| root.join(path).exists();
    let parameter = text(&sys.join("module/vfio/parameters/enable_unsafe_noiommu_mode"));
    System {
        nodes: nodes(&sys),
        hugetlbfs: text(&root.join("proc/self/mounts")).lines().any(|line| line.split(' ').nth(2) == Some("hugetlbfs")),
        devices: devices(&sys),
        iommu: !names(&sys.join("kernel/iommu_groups")).is_empty(),
        no_iommu_mode: parameter.trim() == "Y",
        vfio: exists("sys/bus/pci/drivers/vfio-pci"),
        memlock: memlock(&text(&root.join("proc/self/limits"))),
        root: is_root,
        vhost_net: exists("dev/vhost-net"),
        tun: exists("dev/net/tun"),
        ports: Vec::new(),
    }
}

/// The huge pages of the system whose files are below `root`, by NUMA node.
#[must_use]
pub fn huge_pages(root: &Path) -> Vec<Node> {
    nodes(&root.join("sys"))
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn number(path: &Path) -> u64 {
    text(path).trim().parse().unwrap_or_default()
}

/// The names in a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn nodes(sys: &Path) -> Vec<Node> {
    let directory = sys.join("devices/system/node");
    let numbered =
        |name: &String| Some((name.strip_prefix("node")?.parse().ok()?, directory.join(name).join("hugepages")));
    let mut nodes: Vec<_> = names(&directory).iter().filter_map(numbered).map(|(n, path)| node(n, &path)).collect();
    nodes.sort_by_key(|node| node.number);
    // A kernel without NUMA.
    if nodes.is_empty() { vec![node(0, &sys.join("kernel/mm/hugepages"))] } else { nodes }
}

fn node(number_of_node: u32, hugepages: &Path) -> Node {
    let size = |name: &String| {
        let kib = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        let path = hugepages.join(name);
        Some(Pages { kib, total: number(&path.join("nr_hugepages")), free: number(&path.join("free_hugepages")) })
    };
    let mut pages: Vec<_> = names(hugepages).iter().filter_map(size).collect();
    pages.sort_by_key(|pages| pages.kib);
    Node { number: number_of_node, pages }
}

fn devices(sys: &Path) -> Vec<Device> {
    let directory = sys.join("bus/pci/devices");
    let device = |address: String| {
        let path = directory.join(&address);
        if !text(&path.join("class")).starts_with(NETWORK) {
            return None;
        }
        let driver = fs::read_link(path.join("driver")).ok();
        let vendor = text(&path.join("vendor"));
        Some(Device {
            vendor: u16::from_str_radix(vendor.trim().trim_start_matches("0x"), 16).unwrap_or_default(),
            driver: driver.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())),
            // -1 is none.
            node: text(&path.join("numa_node")).trim().parse().ok(),
            interface: interface(&path),
            address,
        })
    };
    names(&directory).into_iter().filter_map(device).collect()
}

/// The interface's name; virtio keeps it one directory further down.
fn interface(device: &Path) -> Option<String> {
    let below = names(device).into_iter().filter(|name| name.starts_with("virtio")).map(|name| device.join(name));
    let places = std::iter::once(device.to_owned()).chain(below);
    places.flat_map(|place| names(&place.join("net"))).next()
}

/// The soft limit in bytes; none: no limit.
fn memlock(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    line.split_whitespace().next()?.parse().ok()
}
