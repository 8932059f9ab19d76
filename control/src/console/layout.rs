//! Queues, lcores and devices as testpmd prints them.

use crate::command::{LayoutView, PortView, QueueSettings, QueueView, SeatView};
use std::fmt::Write as _;

/// `show device info`.
pub(super) fn device(port: &PortView) -> String {
    let border = "*".repeat(21);
    format!(
        "\n{border} Infos for device {} {border}\nDriver name: {}\nConnect to socket: {}\n\n\
         \tPort id: {}\n\tMAC address: {}\n\tDevice name: {}\n",
        port.device,
        port.driver,
        port.numa_node.map_or("any".to_owned(), |node| node.to_string()),
        port.port,
        port.mac,
        port.device,
    )
}

/// `show rxq info`, or `show txq info`.
pub(super) fn queue(port: u16, number: usize, receive: bool, view: &QueueView) -> String {
    let (border, way) = ("*".repeat(21), if receive { "RX" } else { "TX" });
    let mut text = format!("\n{border} Infos for port {port:<2}, {way} queue {number:<2} {border}\n");
    if let Some(pool) = &view.pool {
        let _ = writeln!(text, "Mempool: {pool}");
    }
    match view.driver {
        None => text += "Its driver does not tell how it is set up\n",
        Some(driver) => {
            let QueueSettings { prefetch, host, write_back, free, report, .. } = driver;
            let _ = writeln!(text, "{way} prefetch threshold: {prefetch}\n{way} host threshold: {host}");
            let _ = writeln!(text, "{way} writeback threshold: {write_back}");
            if !receive {
                let _ = writeln!(text, "TX RS threshold: {report}");
            }
            let _ = writeln!(text, "{way} free threshold: {free}");
            if receive {
                let _ = writeln!(text, "RX drop packets: {}", on(driver.drops));
            }
            let _ = writeln!(text, "{way} deferred start: {}", on(driver.deferred_start));
            if receive {
                let _ = writeln!(text, "RX scattered packets: {}", on(driver.scattered));
            }
            let state = if driver.started { "started" } else { "stopped" };
            let _ = writeln!(text, "{} queue state: {state}", if receive { "Rx" } else { "Tx" });
            if driver.buffer > 0 {
                let _ = writeln!(text, "RX buffer size: {}", driver.buffer);
            }
        }
    }
    let _ = writeln!(text, "Number of {way}Ds: {}", view.descriptors);
    if let Some(mode) = &view.burst_mode {
        let _ = writeln!(text, "Burst mode: {mode}");
    }
    let _ = writeln!(text, "Served by worker: {}", view.worker.map_or("none".to_owned(), |worker| worker.to_string()));
    text
}

fn on(yes: bool) -> &'static str {
    if yes { "on" } else { "off" }
}

/// `show config rxtx`.
pub(super) fn queues(layout: &LayoutView) -> String {
    let (workers, ports) = (layout.workers.len(), layout.ports.len());
    let mut text = format!(
        "  rvs packet forwarding packets/burst={}\n  nb forwarding cores={workers} - nb forwarding ports={ports}\n",
        layout.burst
    );
    for port in &layout.ports {
        let _ = writeln!(
            text,
            "  port {}: RX queue number: {} Tx queue number: {}",
            port.port,
            port.rx.len(),
            port.tx.len()
        );
        let _ = writeln!(text, "    Rx offloads={:#x} Tx offloads={:#x}", port.rx_offloads, port.tx_offloads);
        for (way, queues) in [("RX", &port.rx), ("TX", &port.tx)] {
            for (number, queue) in queues.iter().enumerate() {
                let driver = queue.driver.unwrap_or_default();
                let _ = writeln!(text, "    {way} queue: {number}");
                let _ = writeln!(text, "      {way} desc={} - {way} free threshold={}", queue.descriptors, driver.free);
                let QueueSettings { prefetch, host, write_back, .. } = driver;
                let _ = writeln!(
                    text,
                    "      {way} threshold registers: pthresh={prefetch} hthresh={host}  wthresh={write_back}"
                );
                let report =
                    if way == "TX" { format!(" - TX RS bit threshold={}", driver.report) } else { String::new() };
                let _ = writeln!(text, "      {way} offloads={:#x}{report}", driver.offloads);
            }
        }
    }
    text
}

/// `show config cores`.
pub(super) fn cores(layout: &LayoutView) -> String {
    let lcores: String = layout.workers.iter().filter_map(|seat| seat.lcore).map(|lcore| format!(" {lcore}")).collect();
    let mut text = format!("List of forwarding lcores:{lcores}\n");
    for seat in layout.workers.iter().filter(|seat| seat.lcore.is_none()) {
        let _ = writeln!(text, "worker {} runs on a thread: there is no lcore for it", seat.worker);
    }
    text
}

/// `show config fwd`.
pub(super) fn streams(layout: &LayoutView) -> String {
    let node = |node: Option<u32>| node.map_or("any".to_owned(), |node| node.to_string());
    let each = |receive: bool, worker: u32| {
        layout.ports.iter().flat_map(move |port| {
            let queues = if receive { &port.rx } else { &port.tx };
            let own = (0..).zip(queues).filter(move |(_, queue)| queue.worker == Some(worker));
            own.map(move |(number, _): (u16, _)| (port, number))
        })
    };
    let all: usize = layout.ports.iter().map(|port| port.rx.len()).sum();
    let (ports, cores) = (layout.ports.len(), layout.workers.len());
    let mut text = format!("rvs packet forwarding - ports={ports} - cores={cores} - streams={all}\n");
    for SeatView { worker, lcore, numa_node, .. } in layout.workers.iter().copied() {
        let place = lcore.map_or("A thread".to_owned(), |lcore| format!("Logical Core {lcore}"));
        let own = each(true, worker).count();
        let _ =
            writeln!(text, "{place} (socket {}), worker {worker}, forwards packets on {own} streams:", node(numa_node));
        let sends: Vec<_> = each(false, worker).map(|(port, queue)| format!("P={}/Q={queue}", port.port)).collect();
        let sends = if sends.is_empty() { "other workers' queues".to_owned() } else { sends.join(" ") };
        for (port, queue) in each(true, worker) {
            let _ = writeln!(
                text,
                "  RX P={}/Q={queue} (socket {}) -> TX by route: {sends}",
                port.port,
                node(port.numa_node)
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::PortLayout;

    fn layout() -> LayoutView {
        let queue = |worker| QueueView { worker, descriptors: 512, ..QueueView::default() };
        let driver = QueueSettings { free: 32, offloads: 2, started: true, ..QueueSettings::default() };
        let rx = QueueView {
            driver: Some(driver),
            pool: Some("frames".into()),
            burst_mode: Some("Scalar".into()),
            ..queue(Some(0))
        };
        LayoutView {
            burst: 16,
            workers: vec![
                SeatView { worker: 0, lcore: Some(3), cpu: Some(3), numa_node: Some(0) },
                SeatView { worker: 1, ..SeatView::default() },
            ],
            ports: vec![PortLayout {
                port: 0,
                numa_node: Some(0),
                rx_offloads: 2,
                tx_offloads: 0,
                rx: vec![rx, queue(Some(1))],
                tx: vec![queue(Some(0))],
            }],
        }
    }

    #[test]
    fn lcores_and_streams_are_named() {
        let text = "List of forwarding lcores: 3\nworker 1 runs on a thread: there is no lcore for it\n";
        assert_eq!(cores(&layout()), text);
        assert_eq!(
            streams(&layout()),
            "rvs packet forwarding - ports=1 - cores=2 - streams=2\n\
             Logical Core 3 (socket 0), worker 0, forwards packets on 1 streams:\n  \
             RX P=0/Q=0 (socket 0) -> TX by route: P=0/Q=0\n\
             A thread (socket any), worker 1, forwards packets on 1 streams:\n  \
             RX P=0/Q=1 (socket 0) -> TX by route: other workers' queues\n"
        );
    }

    #[test]
    fn queues_are_told_as_testpmd_does() {
        let layout = layout();
        let text = queues(&layout);
        let expected = "  port 0: RX queue number: 2 Tx queue number: 1\n    Rx offloads=0x2 Tx offloads=0x0\n    RX queue: 0\n      \
                        RX desc=512 - RX free threshold=32\n";
        assert!(text.starts_with("  rvs packet forwarding packets/burst=16\n") && text.contains(expected), "{text}");
        let text = queue(0, 0, true, &layout.ports[0].rx[0]);
        for line in [
            "Infos for port 0 , RX queue 0 ",
            "Mempool: frames\n",
            "Rx queue state: started\n",
            "Number of RXDs: 512\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        let text = queue(0, 0, false, &layout.ports[0].tx[0]);
        assert!(
            text.contains("does not tell") && text.contains("Number of TXDs: 512\nServed by worker: 0\n"),
            "{text}"
        );
    }
}
