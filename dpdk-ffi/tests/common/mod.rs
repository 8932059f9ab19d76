//! What the tests of several binaries need. The EAL starts once in a process, so each binary has one test.

#![allow(dead_code)] // no binary uses all of it

use dpdk_ffi::mempool::MempoolConfig;
use dpdk_ffi::{Eal, EalHandle, Mbuf, Mempool, Port, PortConfig, PortId, RxQueue, TxQueue};
use packet_io::{Burst, Frame, FramePool};

/// The EAL without huge pages, NICs or traces on the disk, with these arguments in addition. Two lcores on one CPU.
pub fn eal(name: &str, more: &[&str]) -> Eal {
    // With --no-shconf nothing is shared under the prefix, and only an empty directory stays.
    let prefix = format!("--file-prefix=rvs-test-{name}");
    let mut arguments =
        vec!["--no-huge", "-m", "256", "--no-pci", "--no-shconf", "--no-telemetry", "--lcores=0@0,1@0", &prefix];
    arguments.extend(more);
    Eal::init(&arguments, |level, line| println!("{level:?} {line}")).unwrap()
}

pub fn pool(eal: &EalHandle, name: &str, data_room: u16) -> Mempool {
    Mempool::new(eal, name, &MempoolConfig { count: 2047, cache: 64, data_room, socket: None }).unwrap()
}

/// A started port with one queue each way.
pub fn started(eal: &EalHandle, id: PortId, pool: &Mempool) -> (Port, RxQueue, TxQueue) {
    let mut port = Port::open(eal, id).unwrap();
    port.configure(&PortConfig::default(), pool).unwrap();
    port.start().unwrap();
    let (rx, tx) = (port.rx_queue(0).unwrap(), port.tx_queue(0).unwrap());
    (port, rx, tx)
}

/// The port of this name.
pub fn port_named(eal: &EalHandle, name: &str) -> PortId {
    eal.ports().into_iter().find(|id| eal.port_info(*id).unwrap().name == name).unwrap()
}

pub fn frame(pool: &mut Mempool, bytes: &[u8]) -> Mbuf {
    let mut frame = pool.allocate().unwrap();
    assert!(frame.grow_back(bytes.len()));
    frame.bytes_mut().copy_from_slice(bytes);
    frame
}

pub fn contents(burst: &mut Burst<Mbuf>) -> Vec<Vec<u8>> {
    burst.drain().map(|frame| frame.bytes().to_vec()).collect()
}
