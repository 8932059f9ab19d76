//! Which worker serves which queue, as it is shown.

use crate::ports::DirectorPort;
use control::command::{PortLayout, QueueSettings, QueueView, SeatView};
use dpdk_ffi::lcore::Lcore;
use dpdk_ffi::queue_info::{DriverQueue, QueueInfo};

/// The workers' places: as many on lcores as there are, the others on threads.
pub fn seats(workers: usize, lcores: &[Lcore]) -> Vec<SeatView> {
    let lcores = lcores.iter().map(Some).chain(std::iter::repeat(None));
    let seat = |(worker, lcore): (u32, Option<&Lcore>)| SeatView {
        worker,
        lcore: lcore.map(|lcore| lcore.id),
        cpu: lcore.and_then(|lcore| lcore.cpu),
        numa_node: lcore.map(|lcore| lcore.socket),
    };
    (0..).zip(lcores).take(workers).map(seat).collect()
}

/// The queues of a port that has a device, and whose they are among so many workers, of which some serve queues.
pub fn of_port(number: u16, of: &DirectorPort, workers: usize, serving: usize) -> Option<PortLayout> {
    let port = of.port.as_ref()?;
    let (rx_offloads, tx_offloads) = port.offloads().unwrap_or_default();
    let rx = |queue: u16| QueueView {
        worker: of.receiver(queue, serving),
        pool: Some(crate::FRAMES.to_owned()),
        ..view(port.rx_queue_info(queue).unwrap_or_default())
    };
    let tx = |queue: u16| QueueView {
        worker: (usize::from(queue) < workers).then_some(queue.into()),
        ..view(port.tx_queue_info(queue).unwrap_or_default())
    };
    Some(PortLayout {
        port: number,
        numa_node: of.info.socket,
        rx_offloads,
        tx_offloads,
        rx: (0..of.queues).map(rx).collect(),
        tx: (0..of.queues).map(tx).collect(),
    })
}

fn view(of: QueueInfo) -> QueueView {
    let settings = |driver: DriverQueue| {
        let [prefetch, host, write_back] = driver.thresholds;
        QueueSettings {
            prefetch,
            host,
            write_back,
            free: driver.free_threshold,
            report: driver.report_threshold,
            offloads: driver.offloads,
            drops: driver.drops,
            deferred_start: driver.deferred_start,
            scattered: driver.scattered,
            buffer: driver.buffer,
            started: driver.started,
        }
    };
    QueueView {
        worker: None,
        descriptors: of.descriptors,
        pool: None,
        used: of.used,
        burst_mode: of.burst_mode,
        driver: of.driver.map(settings),
    }
}
