//! Devices that come and go, and the kernel behind them: net_tap and net_af_packet, in a network namespace of its own.

mod common;

use common::{contents, eal, frame, pool};
use dpdk_ffi::{EalHandle, Error, Mbuf, Mempool, Port, PortConfig, PortId};
use packet_io::{Burst, RxQueue, TxQueue as _};
use std::process::Command;

const INSIDE: &str = "RVS_TEST_INSIDE_NAMESPACE";

#[test]
fn devices_come_and_go() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let possible = std::path::Path::new("/dev/net/tun").exists()
        && Command::new("unshare")
            .args(["-n", "ip", "link", "show"])
            .output()
            .is_ok_and(|tried| tried.status.success());
    if !possible {
        println!("skipped: hot-plug needs root, /dev/net/tun, unshare and ip");
        return;
    }
    let status = Command::new("unshare")
        .arg("-n")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "devices_come_and_go", "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success());
}

fn inside() {
    let eal = eal("hotplug", &[]);
    assert!(eal.ports().is_empty());
    let mut pool = pool(&eal, "frames", 2048);
    tap(&eal, &mut pool);
    af_packet(&eal, &mut pool);
    refusals(&eal);
    assert_eq!(pool.in_use(), 0);
    drop(pool);
    eal.cleanup().unwrap();
}

fn ip(arguments: &str) -> String {
    let done = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    assert!(done.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn open_one(eal: &EalHandle, device: &str, pool: &Mempool) -> Port {
    let ports = eal.plug(device).unwrap();
    assert_eq!(ports.len(), 1, "{device}");
    let mut port = Port::open(eal, ports[0]).unwrap();
    port.configure(&PortConfig::default(), pool).unwrap();
    port.start().unwrap();
    port
}

/// Polls, a bounded number of times, until a frame comes for which `wanted` holds.
fn wait_for(rx: &mut impl RxQueue<Frame = Mbuf>, wanted: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let mut burst = Burst::new();
    for _ in 0..200_000 {
        rx.receive(&mut burst);
        let found = contents(&mut burst).into_iter().find(|bytes| wanted(bytes));
        if found.is_some() {
            return found;
        }
        std::thread::yield_now();
    }
    None
}

/// Who has 10.99.0.1? 10.99.0.2 at 02:00:00:00:00:02 asks.
fn arp_request() -> Vec<u8> {
    let mut bytes = vec![0xFF; 6];
    bytes.extend([2, 0, 0, 0, 0, 2, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    bytes.extend([2, 0, 0, 0, 0, 2, 10, 99, 0, 2, 0, 0, 0, 0, 0, 0, 10, 99, 0, 1]);
    bytes.resize(60, 0);
    bytes
}

fn tap(eal: &EalHandle, pool: &mut Mempool) {
    let mut port = open_one(eal, "net_tap0,iface=lvs0,mac=02:00:00:00:00:01", pool);
    let info = port.info().unwrap();
    assert_eq!((info.name.as_str(), info.driver.as_str()), ("net_tap0", "net_tap"));
    assert_eq!(info.mac, [2, 0, 0, 0, 0, 1]);
    assert_eq!(port.device().unwrap(), "net_tap0,iface=lvs0,mac=02:00:00:00:00:01");
    assert!(port.link().unwrap().up);
    ip("addr add 10.99.0.1/24 dev lvs0");
    ip("link set lvs0 up");

    let (mut rx, mut tx) = (port.rx_queue(0).unwrap(), port.tx_queue(0).unwrap());
    let mut burst = Burst::new();
    burst.push(frame(pool, &arp_request())).unwrap();
    assert_eq!(tx.transmit(&mut burst), 1);
    let reply = wait_for(&mut rx, |bytes| bytes[12..14] == [8, 6]).expect("the kernel answers ARP on the tap");
    assert_eq!(reply[..14], [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 6]);

    // With a queue out, the port stays, unharmed.
    let (port, error) = port.unplug().unwrap_err();
    assert!(matches!(error, Error::QueuesInUse { out: 2, .. }));
    drop((rx, tx));
    let mut port = port;
    port.set_mac([2, 0, 0, 0, 0, 9]).unwrap();
    port.set_mtu(1400).unwrap();
    assert_eq!((port.info().unwrap().mac, port.info().unwrap().mtu), ([2, 0, 0, 0, 0, 9], 1400));
    let link = ip("-o link show lvs0");
    assert!(link.contains("02:00:00:00:00:09") && link.contains("mtu 1400"), "{link}");
    assert!(port.set_mac([1, 0, 0, 0, 0, 1]).is_err(), "a multicast address");

    port.unplug().map_err(|(_, error)| error).unwrap();
    assert!(eal.ports().is_empty());
    assert!(!ip("-o link").contains("lvs0"));
    assert_eq!(pool.in_use(), 0);

    // Plugged again, it works again; dropped, it is closed, and its interface is gone.
    let port = open_one(eal, "net_tap0,iface=lvs0,mac=02:00:00:00:00:01", pool);
    let again = eal.plug("net_tap0,iface=lvs0").unwrap_err();
    assert!(again.to_string().contains("exists already"), "{again}");
    port.unplug().map_err(|(_, error)| error).unwrap();
}

fn af_packet(eal: &EalHandle, pool: &mut Mempool) {
    ip("link add va type veth peer name vb");
    ip("link set va up");
    ip("link set vb up");
    let mut a = open_one(eal, "net_af_packet0,iface=va", pool);
    let mut b = open_one(eal, "net_af_packet1,iface=vb", pool);
    assert!(a.info().unwrap().interface.is_some());
    let (mut tx, mut rx) = (a.tx_queue(0).unwrap(), b.rx_queue(0).unwrap());
    let mut burst = Burst::new();
    let sent: Vec<u8> = (0..=255).cycle().take(1000).collect();
    burst.push(frame(pool, &sent)).unwrap();
    assert_eq!(tx.transmit(&mut burst), 1);
    let marker = |bytes: &[u8]| bytes.len() == 1000;
    assert_eq!(wait_for(&mut rx, marker).as_deref(), Some(sent.as_slice()));
    drop((rx, tx));
    // In the order of their making, and by dropping.
    drop(a);
    b.unplug().map_err(|(_, error)| error).unwrap();
    assert!(eal.ports().is_empty());
}

fn refusals(eal: &EalHandle) {
    let unknown = eal.plug("net_nosuch0,a=b").unwrap_err();
    assert!(matches!(&unknown, Error::NoDriver(name) if name == "net_nosuch0"), "{unknown}");
    let missing = eal.plug("net_af_packet5,iface=nosuch").unwrap_err().to_string();
    assert!(
        missing.starts_with("device 'net_af_packet5' cannot be used: ") && missing.contains("No such device"),
        "{missing}"
    );
    assert!(matches!(Port::open(eal, PortId(0)), Err(Error::NoSuchPort(0))));
}
