//! Systems in a directory, and what there is to say about them.

use super::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

fn file(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a directory")).expect("a new directory");
    fs::write(path, text).expect("a new file");
}

fn nic(root: &Path, address: &str, driver: Option<&str>, node: &str, interface: Option<&str>) {
    let at = format!("sys/bus/pci/devices/{address}");
    file(root, &format!("{at}/class"), "0x020000\n");
    file(root, &format!("{at}/vendor"), "0x8086\n");
    file(root, &format!("{at}/numa_node"), node);
    if let Some(driver) = driver {
        fs::create_dir_all(root.join("sys/bus/pci/drivers").join(driver)).expect("a new directory");
        symlink(format!("../../drivers/{driver}"), root.join(&at).join("driver")).expect("a new link");
    }
    if let Some(interface) = interface {
        file(root, &format!("{at}/virtio0/net/{interface}/mtu"), "1500\n");
    }
}

fn pages(root: &Path, node: u32, kib: u64, total: u64, free: u64) {
    let at = format!("sys/devices/system/node/node{node}/hugepages/hugepages-{kib}kB");
    file(root, &format!("{at}/nr_hugepages"), &format!("{total}\n"));
    file(root, &format!("{at}/free_hugepages"), &format!("{free}\n"));
}

const NEEDS: Needs =
    Needs { huge: 600 << 20, pci: true, in_memory: false, interfaces: true, workers: 2, running: false };

/// A machine as it should be.
fn healthy(root: &Path) {
    pages(root, 0, 2048, 512, 400);
    pages(root, 0, 1 << 20, 0, 0);
    pages(root, 1, 2048, 0, 0);
    file(root, "sys/devices/system/node/online", "0-1\n");
    nic(root, "0000:3b:00.0", Some("vfio-pci"), "0\n", None);
    file(root, "sys/bus/pci/devices/0000:00:1f.0/class", "0x060100\n");
    file(root, "sys/kernel/iommu_groups/1/type", "DMA\n");
    file(root, "proc/self/mounts", "tmpfs / tmpfs rw 0 0\nhugetlbfs /dev/hugepages hugetlbfs rw 0 0\n");
    file(root, "proc/self/limits", "Limit Soft Hard Units\nMax locked memory         unlimited  unlimited  bytes\n");
    file(root, "dev/net/tun", "");
    file(root, "dev/vhost-net", "");
}

#[test]
fn a_director_that_runs_has_its_memory() {
    let root = tempfile::tempdir().expect("a directory");
    healthy(root.path());
    pages(root.path(), 0, 2048, 512, 0);
    // It may have taken them without files.
    file(root.path(), "proc/self/mounts", "tmpfs / tmpfs rw 0 0\n");
    let system = read(root.path(), true);
    let worst = |running| examine(&system, &Needs { running, ..NEEDS }).iter().map(|finding| finding.level).max();
    assert_eq!([false, true].map(worst), [Some(Level::Bad), Some(Level::Good)]);
}

#[test]
fn a_machine_as_it_should_be() {
    let root = tempfile::tempdir().expect("a directory");
    healthy(root.path());
    let mut system = read(root.path(), true);
    let device = Device {
        address: "0000:3b:00.0".into(),
        vendor: 0x8086,
        driver: Some("vfio-pci".into()),
        node: Some(0),
        interface: None,
    };
    assert_eq!(system.devices, [device]);
    system.ports.push(PortAbility {
        device: "0000:3b:00.0".into(),
        driver: "net_ice".into(),
        queues: 64,
        rss: true,
        flow: Some(true),
    });
    let findings = examine(&system, &NEEDS);
    assert!(findings.iter().all(|finding| finding.level == Level::Good && finding.mend.is_none()), "{findings:?}");
    let expected = "ok   huge pages of node 0: 400 of 512 free of 2 MiB\n\
                    ok   huge pages of node 1: none reserved; no port is there\n\
                    ok   hugetlbfs: mounted\n\
                    ok   NIC 0000:3b:00.0: bound to vfio-pci on node 0\n\
                    ok   IOMMU: on\n\
                    ok   locked memory: any amount\n\
                    ok   tun: there\n\
                    ok   vhost-net: there\n\
                    ok   port 0000:3b:00.0 (net_ice): RSS, flow rules, 64 queues\n";
    assert_eq!(text(&findings), expected);
}

/// The mending command, which must be there, of the worst finding about something.
fn mend(system: &System, needs: &Needs, about: &str, level: Level) -> String {
    let findings = examine(system, needs);
    let found = findings.iter().find(|finding| finding.about.starts_with(about));
    let found = found.unwrap_or_else(|| panic!("nothing about {about} in {findings:?}"));
    assert_eq!(found.level, level, "{found:?}");
    found.mend.clone().unwrap_or_else(|| panic!("no command: {found:?}"))
}

#[test]
fn each_trouble_has_its_command() {
    let root = tempfile::tempdir().expect("a directory");
    healthy(root.path());
    let good = read(root.path(), false);
    let change = |edit: fn(&mut System)| {
        let mut system = good.clone();
        edit(&mut system);
        system
    };
    // All 512 pages of 2 MiB are in use; 300 more are needed.
    let few = change(|system| system.nodes[0].pages[0].free = 0);
    let command = "echo 812 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages";
    assert_eq!(mend(&few, &NEEDS, "huge pages of node 0", Level::Bad), command);
    let far = change(|system| system.devices[0].node = Some(1));
    assert!(mend(&far, &NEEDS, "huge pages of node 1", Level::Bad).contains("node1/"));
    let unmounted = change(|system| system.hugetlbfs = false);
    assert!(mend(&unmounted, &NEEDS, "hugetlbfs", Level::Bad).contains("mount -t hugetlbfs"));
    let without = change(|system| system.iommu = false);
    assert!(mend(&without, &NEEDS, "IOMMU", Level::Bad).contains("iommu=pt"));
    let kernel = change(|system| system.devices[0].driver = Some("ice".into()));
    assert!(mend(&kernel, &NEEDS, "NIC 0000:3b:00.0", Level::Note).ends_with("--bind=vfio-pci 0000:3b:00.0"));
    let locked = change(|system| system.memlock = Some(65_536));
    assert!(mend(&locked, &NEEDS, "locked memory", Level::Bad).contains("LimitMEMLOCK=infinity"));
    let no_tun = change(|system| system.tun = false);
    assert_eq!(mend(&no_tun, &NEEDS, "tun", Level::Bad), "modprobe tun");
    let no_vhost = change(|system| system.vhost_net = false);
    assert_eq!(mend(&no_vhost, &NEEDS, "vhost-net", Level::Note), "modprobe vhost-net");
    let port = PortAbility { device: "net_tap0".into(), queues: 1, ..PortAbility::default() };
    let slow = System { ports: vec![port], ..good.clone() };
    assert!(mend(&slow, &NEEDS, "port net_tap0", Level::Note).contains("--workers 1"));
}

#[test]
fn what_is_not_used_is_no_trouble() {
    let root = tempfile::tempdir().expect("a directory");
    let system = read(root.path(), true);
    assert_eq!(system.nodes, [Node::default()]);
    let needs = Needs { huge: 0, pci: false, in_memory: true, interfaces: false, workers: 1, running: false };
    assert!(examine(&system, &needs).iter().all(|finding| finding.level < Level::Bad));
    assert!(examine(&system, &NEEDS).iter().any(|finding| finding.level == Level::Bad));
}

#[test]
fn an_interface_of_the_kernel_is_named() {
    let root = tempfile::tempdir().expect("a directory");
    nic(root.path(), "0000:00:03.0", Some("virtio-pci"), "-1\n", Some("ens3"));
    file(root.path(), "proc/self/limits", "Max locked memory         65536      65536      bytes\n");
    let system = read(root.path(), false);
    assert_eq!((system.devices[0].interface.as_deref(), system.devices[0].node), (Some("ens3"), None));
    assert_eq!(system.memlock, Some(65_536));
    let text = text(&examine(&system, &NEEDS));
    assert!(
        text.contains("the kernel has it as ens3 (virtio-pci); if it is to be a port:\n     modprobe vfio-pci"),
        "{text}"
    );
}
