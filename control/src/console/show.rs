//! Workers, drops and ports in words; ports as testpmd prints them, so that eyes and scripts that know it feel at home.

use super::table::table;
use crate::command::{
    ConfigReport, ExceptionView, ForwardingView, PortStats, PortView, RecentLoad, Reply, Statistics, WorkerView,
};
use forwarder::pipeline::DropReason;
use forwarder::stats::BURST_CLASSES;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// `show worker`: a line each.
pub(super) fn workers(workers: &[WorkerView]) -> String {
    let row = |worker: &WorkerView| {
        [
            worker.worker.to_string(),
            worker.received.to_string(),
            worker.forwarded.to_string(),
            worker.to_kernel.to_string(),
            worker.dropped.to_string(),
            worker.held.to_string(),
            worker.handed_out.to_string(),
            worker.handed_in.to_string(),
            worker.from_kernel.to_string(),
            worker.answered.to_string(),
            worker.entries.to_string(),
            worker.created.to_string(),
            percent(worker.recent.busy()),
            cycles(worker.recent.cycles_per_packet()),
            worker.snapshot.to_string(),
        ]
    };
    let titles = [
        "worker",
        "received",
        "forwarded",
        "to kernel",
        "dropped",
        "held",
        "handed out",
        "handed in",
        "from kernel",
        "answered",
        "connections",
        "created",
        "busy",
        "cycles/packet",
        "snapshot",
    ];
    table(titles, &workers.iter().map(row).collect::<Vec<_>>())
}

/// How frames reach the workers that they belong to: a line for each port, after the workers' if there are several.
pub(super) fn deliveries(ports: &[PortView], workers: &[WorkerView]) -> String {
    let line = |port: &PortView| {
        let frames: u64 = workers.iter().filter_map(|worker| worker.misdelivered.get(&port.port)).sum();
        let how = if port.delivery == "rss" { "by RSS" } else { "from worker to worker" };
        format!("port {}: {} queues, frames reach their owners {how}; {frames} handed over\n", port.port, port.queues)
    };
    if workers.len() < 2 { String::new() } else { ports.iter().map(line).collect() }
}

/// How unequal several workers are, and which of them do not turn: a line after the workers'.
pub(super) fn skew(workers: &[WorkerView]) -> String {
    let shares = || workers.iter().map(|worker| worker.recent.permille);
    let (Some(least), Some(most), true) = (shares().min(), shares().max(), workers.len() > 1) else {
        return String::new();
    };
    // Nothing was measured yet.
    if workers.iter().all(|worker| worker.recent == RecentLoad::default()) {
        return String::new();
    }
    let percent = |permille: u16| f64::from(permille) / 10.0;
    let of_frames = match most {
        0 => "no frames".to_owned(),
        _ => format!("{:.1}% to {:.1}% of the frames a worker", percent(least), percent(most)),
    };
    let still: Vec<_> = workers.iter().filter(|worker| worker.recent.turns == 0).map(|worker| worker.worker).collect();
    let turning = if still.is_empty() { "all turn".to_owned() } else { format!("{still:?} do not turn") };
    format!("over the last second: {of_frames}; {turning}\n")
}

/// `show worker N`: everything about it.
pub(super) fn worker(worker: &WorkerView) -> String {
    let mut text = format!("worker {}\n", worker.worker);
    let lines = [
        ("received", worker.received),
        ("forwarded", worker.forwarded),
        ("to kernel", worker.to_kernel),
        ("dropped", worker.dropped),
        ("held", worker.held),
        ("handed out", worker.handed_out),
        ("handed in", worker.handed_in),
        ("answered", worker.answered),
        ("from kernel", worker.from_kernel),
        ("own frames lost", worker.own_dropped),
        ("connections", worker.entries),
        ("created", worker.created),
        ("not created, table full", worker.insert_failures),
        ("gave way", worker.evicted),
        ("expired", worker.expired),
        ("flushed", worker.flushed),
        ("turns", worker.turns),
        ("busy turns", worker.busy_turns),
        ("snapshot", worker.snapshot),
    ];
    for (name, value) in lines {
        let _ = writeln!(text, "  {name}: {value}");
    }
    for (state, connections) in worker.states.iter().filter(|(_, connections)| **connections > 0) {
        let _ = writeln!(text, "  now in {state}: {connections}");
    }
    for (state, connections) in worker.expired_in.iter().filter(|(_, connections)| **connections > 0) {
        let _ = writeln!(text, "  expired in {state}: {connections}");
    }
    let (recent, all) = (worker.recent, worker.load());
    let _ = writeln!(text, "  busy: {} over the last second, {} in all", percent(recent.busy()), percent(all.busy()));
    let (of_recent, of_all) = (cycles(recent.cycles_per_packet()), cycles(all.cycles_per_packet()));
    let _ = writeln!(text, "  cycles/packet: {of_recent} over the last second, {of_all} in all");
    let _ = writeln!(text, "  heartbeat: {} turns over the last second", recent.turns);
    let bursts: u64 = worker.bursts.iter().sum();
    for (frames, turns) in BURSTS.iter().zip(worker.bursts).filter(|(_, turns)| *turns > 0) {
        let _ = writeln!(text, "  bursts of {frames}: {turns} ({:.1}%)", turns as f64 * 100.0 / bursts as f64);
    }
    for (name, class) in &worker.classes {
        let _ = writeln!(
            text,
            "  {name} for the kernel: {} passed, {} policed, {} dropped",
            class.passed, class.policed, class.dropped
        );
    }
    for (reason, frames) in dropped(std::slice::from_ref(worker)) {
        let _ = writeln!(text, "  dropped as {reason}: {frames}");
    }
    text
}

/// The classes of [`WorkerView::bursts`].
const BURSTS: [&str; BURST_CLASSES] = ["1", "2 to 3", "4 to 7", "8 to 15", "16 to 31", "32 and more"];

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{share:.1}%"))
}

fn cycles(cycles: Option<f64>) -> String {
    cycles.map_or_else(|| "-".to_owned(), |cycles| format!("{cycles:.0}"))
}

/// What ports have lost because no worker took it in time: the workers are at their limit, or were given no time.
pub(super) fn missed(ports: &[PortView]) -> String {
    let line = |port: &PortView| format!("port {}: {} frames missed\n", port.port, port.stats.rx_missed);
    ports.iter().filter(|port| port.stats.rx_missed > 0).map(line).collect()
}

/// The reasons for which something was dropped, summed over workers, in the order in which a packet meets them.
fn dropped(workers: &[WorkerView]) -> Vec<(&'static str, u64)> {
    let sum = |reason: &str| workers.iter().filter_map(|worker| worker.drops.get(reason)).sum();
    let sums = DropReason::ALL.iter().map(|reason| (reason.name(), sum(reason.name())));
    sums.filter(|&(_, frames)| frames > 0).collect()
}

/// The reasons to show: those with a count, in the order in which a packet meets them, or one whatever its count.
fn chosen<'a>(all: &BTreeMap<String, u64>, reason: Option<&'a str>) -> Vec<(&'a str, u64)> {
    let count = |reason: &str| all.get(reason).copied().unwrap_or_default();
    match reason {
        None => {
            DropReason::ALL.iter().map(|reason| (reason.name(), count(reason.name()))).filter(|row| row.1 > 0).collect()
        }
        Some(reason) => vec![(reason, count(reason))],
    }
}

/// `show drop`.
pub(super) fn drops(all: &BTreeMap<String, u64>, reason: Option<&str>) -> String {
    let rows = chosen(all, reason).into_iter().map(|(reason, frames)| [reason.to_owned(), frames.to_string()]);
    table(["reason", "frames"], &rows.collect::<Vec<_>>())
}

/// `show drop json`.
pub(super) fn drops_json(all: &BTreeMap<String, u64>, reason: Option<&str>) -> String {
    let all: BTreeMap<_, _> = chosen(all, reason).into_iter().collect();
    serde_json::json!({ "drops": all }).to_string() + "\n"
}

/// `show exception`.
pub(super) fn exceptions(classes: &[ExceptionView]) -> String {
    let row = |view: &ExceptionView| {
        let counts = [view.packets, view.policed, view.dropped, view.limit.into()].map(|count| count.to_string());
        let [packets, policed, dropped, limit] = counts;
        [view.class.name().to_owned(), packets, policed, dropped, limit]
    };
    let titles = ["class", "packets", "policed", "dropped", "limit a second and worker"];
    table(titles, &classes.iter().map(row).collect::<Vec<_>>())
}

/// Only servers that drain, and their services.
pub(super) fn draining(reply: Reply) -> Reply {
    let Reply::Services(mut services) = reply else { return reply };
    for service in &mut services {
        service.servers.retain(|server| server.drain.is_some());
    }
    services.retain(|service| !service.servers.is_empty());
    Reply::Services(services)
}

/// `show drain`.
pub(super) fn drains(reply: &Reply) -> String {
    let Reply::Services(services) = reply else { return String::new() };
    let mut rows = Vec::new();
    for service in services {
        for server in &service.servers {
            let Some(drain) = server.drain else { continue };
            rows.push([
                service.spec.title(),
                server.spec.name().to_string(),
                server.active.to_string(),
                server.inactive.to_string(),
                drain.seconds.to_string(),
                drain.remaining.map_or("-".to_owned(), |seconds| seconds.to_string()),
                if drain.delete { "delete" } else { "stay" }.to_owned(),
            ]);
        }
    }
    table(["service", "server", "active", "inactive", "for", "remaining", "then"], &rows)
}

/// `show vs`.
pub(super) fn settings(reply: &Reply) -> String {
    let Reply::Settings(settings) = reply else { return String::new() };
    settings.iter().map(|setting| format!("{} = {}\n", setting.name, setting.value)).collect()
}

/// `show status`.
pub(super) fn status(reply: &Reply) -> String {
    let Reply::Status(status) = reply else { return String::new() };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    format!(
        "up for {} s\nfile taken over {} s ago; read again {} times, {} times bad\n",
        now.saturating_sub(status.started),
        now.saturating_sub(status.last_reload),
        status.reloads + status.failed_reloads,
        status.failed_reloads,
    )
}

/// What a file changed, or would.
pub(super) fn report(report: &ConfigReport) -> String {
    let mut text: String = report.changes.iter().map(|line| format!("{line}\n")).collect();
    let _ = writeln!(text, "{}: {}", if report.applied { "done" } else { "it would be" }, report.summary);
    if !report.restart.is_empty() {
        let _ = writeln!(text, "only a restart of rvsd takes over: {}", report.restart.join(", "));
    }
    text
}

/// `show stats`.
pub(super) fn statistics(reply: &Reply) -> String {
    let Reply::Statistics(Statistics { counters, rates }) = reply else { return String::new() };
    let rows = [
        ("connections", counters.connections, rates.connections),
        ("packets from clients", counters.in_packets, rates.in_packets),
        ("packets to clients", counters.out_packets, rates.out_packets),
        ("bytes from clients", counters.in_bytes, rates.in_bytes),
        ("bytes to clients", counters.out_bytes, rates.out_bytes),
    ];
    let rows = rows.map(|(name, total, rate)| [name.to_owned(), total.to_string(), rate.to_string()]);
    table(["", "total", "per second"], &rows)
}

/// `show port stats`.
pub(super) fn port_stats(port: &PortView) -> String {
    let PortStats { rx_packets, rx_bytes, rx_missed, rx_errors, rx_nombuf, tx_packets, tx_bytes, tx_errors } =
        port.stats;
    let border = "#".repeat(24);
    format!(
        "\n  {border} NIC statistics for port {:<2} {border}\n  \
         RX-packets: {rx_packets:<10} RX-missed: {rx_missed:<10} RX-bytes:  {rx_bytes}\n  \
         RX-errors: {rx_errors}\n  RX-nombuf:  {rx_nombuf:<10}\n  \
         TX-packets: {tx_packets:<10} TX-errors: {tx_errors:<10} TX-bytes:  {tx_bytes}\n\n  \
         Throughput (over the last second)\n  \
         Rx-pps: {:>12}          Rx-bps: {:>12}\n  Tx-pps: {:>12}          Tx-bps: {:>12}\n  {}\n",
        port.port,
        port.rates.rx_packets,
        port.rates.rx_bits,
        port.rates.tx_packets,
        port.rates.tx_bits,
        "#".repeat(76),
    )
}

/// `show port xstats`.
pub(super) fn port_xstats(port: &PortView) -> String {
    let mut text = format!("###### NIC extended statistics for port {:<2}\n", port.port);
    for stat in &port.extended {
        let _ = writeln!(text, "{}: {}", stat.name, stat.value);
    }
    text
}

/// `show port info`.
pub(super) fn port_info(port: &PortView) -> String {
    let border = "*".repeat(21);
    let speed = match port.speed {
        None => "Unknown".to_owned(),
        Some(speed) if speed >= 1000 && speed % 500 == 0 => format!("{} Gbps", f64::from(speed) / 1000.0),
        Some(speed) => format!("{speed} Mbps"),
    };
    format!(
        "\n{border} Infos for port {:<2} {border}\nMAC address: {}\nDevice name: {}\nDriver name: {}\n\
         Connect to socket: {}\nKernel interface: {}\nLink status: {}\nLink speed: {speed}\nMTU: {}\n",
        port.port,
        port.mac,
        port.device,
        port.driver,
        port.numa_node.map_or("any".to_owned(), |node| node.to_string()),
        port.kernel.as_deref().unwrap_or("none"),
        if port.link_up { "up" } else { "down" },
        port.mtu,
    )
}

/// `show port summary`.
pub(super) fn port_summary(ports: &[PortView]) -> String {
    let mut text = format!("Number of available ports: {}\n", ports.len());
    let row = |port: &PortView| {
        [
            port.port.to_string(),
            port.mac.clone(),
            port.device.clone(),
            port.driver.clone(),
            if port.link_up { "up" } else { "down" }.to_owned(),
            port.speed.map_or("Unknown".to_owned(), |speed| format!("{speed} Mbps")),
        ]
    };
    let rows: Vec<_> = ports.iter().map(row).collect();
    text += &table(["Port", "MAC Address", "Name", "Driver", "Status", "Link"], &rows);
    text
}

/// `show fwd stats all`: testpmd's blocks for the ports, then what each worker did with the frames.
pub(super) fn forwarding(ForwardingView { ports, workers, .. }: &ForwardingView) -> String {
    let mut text = String::new();
    let line = |side: &str, packets: u64, dropped: u64| {
        let total = packets + dropped;
        format!("  {side}-packets: {packets:<14} {side}-dropped: {dropped:<14}{side}-total: {total}\n")
    };
    let border = "-".repeat(22);
    let mut sum = PortStats::default();
    for port in ports {
        let stats = port.stats;
        let _ = writeln!(text, "\n  {border} Forward statistics for port {:<2} {border}", port.port);
        text += &line("RX", stats.rx_packets, stats.rx_missed);
        if stats.rx_errors + stats.rx_nombuf > 0 {
            let _ = writeln!(text, "  RX-error: {}\n  RX-nombufs: {:<14}", stats.rx_errors, stats.rx_nombuf);
        }
        text += &line("TX", stats.tx_packets, stats.tx_errors);
        let _ = writeln!(text, "  {}", "-".repeat(76));
        sum.rx_packets += stats.rx_packets;
        sum.rx_missed += stats.rx_missed;
        sum.tx_packets += stats.tx_packets;
        sum.tx_errors += stats.tx_errors;
    }
    let border = "+".repeat(15);
    let _ = writeln!(text, "\n  {border} Accumulated forward statistics for all ports{border}");
    text += &line("RX", sum.rx_packets, sum.rx_missed);
    text += &line("TX", sum.tx_packets, sum.tx_errors);
    let _ = writeln!(text, "  {}\n", "+".repeat(76));
    for worker in workers {
        let _ = writeln!(
            text,
            "  worker {}: received {}, forwarded {}, to kernel {}, dropped {}, held {}, busy {}, {} cycles/packet",
            worker.worker,
            worker.received,
            worker.forwarded,
            worker.to_kernel,
            worker.dropped,
            worker.held,
            percent(worker.load().busy()),
            cycles(worker.load().cycles_per_packet())
        );
        for (reason, frames) in dropped(std::slice::from_ref(worker)) {
            let _ = writeln!(text, "    dropped as {reason}: {frames}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use forwarder::stats::WorkerStats;

    #[test]
    fn several_workers_say_how_frames_reach_them() {
        let port =
            |port, delivery: &str| PortView { port, queues: 2, delivery: delivery.into(), ..PortView::default() };
        let worker = |frames| WorkerView { misdelivered: [(1, frames)].into(), ..WorkerView::default() };
        let ports = [port(0, "rss"), port(1, "handed over")];
        assert_eq!(deliveries(&ports, &[worker(1)]), "");
        assert_eq!(
            deliveries(&ports, &[worker(3), worker(4)]),
            "port 0: 2 queues, frames reach their owners by RSS; 0 handed over\n\
             port 1: 2 queues, frames reach their owners from worker to worker; 7 handed over\n",
        );
    }

    #[test]
    fn several_workers_are_compared() {
        let worker = |worker, turns, permille| WorkerView {
            worker,
            recent: RecentLoad { turns, permille, ..RecentLoad::default() },
            ..WorkerView::default()
        };
        assert_eq!(skew(&[worker(0, 9, 1000)]), "");
        let even = [worker(0, 9, 480), worker(1, 9, 520)];
        assert_eq!(skew(&even), "over the last second: 48.0% to 52.0% of the frames a worker; all turn\n");
        let stalled = [worker(0, 9, 0), worker(1, 0, 0)];
        assert_eq!(skew(&stalled), "over the last second: no frames; [1] do not turn\n");
    }

    #[test]
    fn a_worker_is_shown_with_what_it_counted() {
        let stats = WorkerStats::new(0);
        stats.received.add(10);
        stats.forwarded.add(7);
        stats.drops[DropReason::NoDestination as usize].add(2);
        stats.drops[DropReason::ShortFrame as usize].add(1);
        stats.took(10, 1_000);
        stats.took(0, 7_000);
        let mut view = WorkerView::new(3, &stats, 0);
        view.recent = view.load();
        assert_eq!((view.received, view.dropped, view.drops["no_destination"]), (10, 3, 2));
        assert_eq!(view.drops.len(), DropReason::COUNT);
        let line = workers(std::slice::from_ref(&view));
        assert_eq!(
            line.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>()[..5],
            ["3", "10", "7", "0", "3"]
        );
        assert!(line.contains("12.5%"), "{line}");
        let all = worker(&view);
        assert!(all.contains("  busy: 12.5% over the last second, 12.5% in all\n"), "{all}");
        assert!(
            all.contains("  cycles/packet: 100 over") && all.contains("  bursts of 8 to 15: 1 (100.0%)\n"),
            "{all}"
        );
        assert!(all.contains("  dropped as short_frame: 1\n  dropped as no_destination: 2\n"));
        let missed =
            |rx_missed| [PortView { stats: PortStats { rx_missed, ..PortStats::default() }, ..PortView::default() }];
        assert_eq!((&*super::missed(&missed(0)), &*super::missed(&missed(5))), ("", "port 0: 5 frames missed\n"));
    }

    #[test]
    fn drops_are_shown_by_reason() {
        let stats = WorkerStats::new(0);
        stats.drops[DropReason::NoRoute as usize].add(5);
        let all = WorkerView::new(0, &stats, 0).drops;
        assert_eq!(drops(&all, None), "reason    frames\nno_route       5\n");
        assert_eq!(drops(&all, Some("too_big")), "reason   frames\ntoo_big       0\n");
        assert_eq!(drops_json(&all, None), "{\"drops\":{\"no_route\":5}}\n");
    }

    #[test]
    fn ports_are_shown_as_testpmd_shows_them() {
        let stats = PortStats {
            rx_packets: 5,
            rx_missed: 1,
            rx_bytes: 300,
            tx_packets: 4,
            tx_bytes: 240,
            ..PortStats::default()
        };
        let port = PortView { port: 1, stats, ..PortView::default() };
        let text = port_stats(&port);
        assert!(text.starts_with(
            "\n  ######################## NIC statistics for port 1  ########################\n  \
             RX-packets: 5          RX-missed: 1          RX-bytes:  300\n  RX-errors: 0\n"
        ));
        assert!(text.ends_with("\n  ############################################################################\n"));
        let view = ForwardingView { ports: vec![port.clone(), port], ..ForwardingView::default() };
        let text = forwarding(&view);
        assert!(text.contains(
            "  ---------------------- Forward statistics for port 1  ----------------------\n  \
             RX-packets: 5              RX-dropped: 1             RX-total: 6\n"
        ));
        assert!(text.contains(
            "+++ Accumulated forward statistics for all ports+++++++++++++++\n  \
             RX-packets: 10             RX-dropped: 2             RX-total: 12\n"
        ));
    }
}
