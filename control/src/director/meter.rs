//! What goes through ports a second and what workers do for it, and what was counted since somebody said "from zero".

use crate::command::{ForwardingView, PortRates, PortStats, PortView, RecentLoad, WorkerView};
use forwarder::clock::{TICKS_PER_SECOND, Tick};
use std::collections::{BTreeMap, HashMap};

/// Rates are those of the last second or so: the clock is looked at a little more often.
const PERIOD: u32 = TICKS_PER_SECOND * 9 / 10;

/// Measures rates of ports, and how busy workers are, from counters read now and then.
#[derive(Debug, Default)]
pub(super) struct Meter {
    last: Option<Tick>,
    ports: HashMap<u16, (PortStats, PortRates)>,
    /// By worker: what it had done at the last sample, and between the last two.
    workers: Vec<(RecentLoad, RecentLoad)>,
}

impl Meter {
    /// True when it is time for [`Meter::sample`].
    pub fn due(&self, now: Tick) -> bool {
        self.last.is_none_or(|last| now.since(last) >= PERIOD)
    }

    /// Takes counters in.
    pub fn sample(&mut self, now: Tick, ports: &[PortView], workers: impl Iterator<Item = RecentLoad>) {
        let ticks = self.last.map_or(0, |last| now.since(last));
        self.last = Some(now);
        let measured = ports.iter().map(|view| {
            let rates = match self.ports.get(&view.port) {
                Some((then, _)) if ticks > 0 => rates(view.stats.since(*then), ticks),
                _ => PortRates::default(),
            };
            (view.port, (view.stats, rates))
        });
        self.ports = measured.collect();
        let mut before = std::mem::take(&mut self.workers).into_iter();
        self.workers = workers
            .map(|load| {
                let (then, _) = before.next().unwrap_or_default();
                let recent = RecentLoad {
                    busy_cycles: load.busy_cycles.wrapping_sub(then.busy_cycles),
                    idle_cycles: load.idle_cycles.wrapping_sub(then.idle_cycles),
                    frames: load.frames.wrapping_sub(then.frames),
                    turns: load.turns.wrapping_sub(then.turns),
                    permille: 0,
                };
                (load, recent)
            })
            .collect();
        let all: u64 = self.workers.iter().map(|(_, recent)| recent.frames).sum();
        for (_, recent) in &mut self.workers {
            recent.permille = (u128::from(recent.frames) * 1000 / u128::from(all.max(1))) as u16;
        }
    }

    /// Fills in how busy workers are, which are in the order of their numbers.
    pub fn fill_workers(&self, workers: &mut [WorkerView]) {
        for (view, (_, recent)) in workers.iter_mut().zip(&self.workers) {
            view.recent = *recent;
        }
    }

    /// Fills the rates in.
    pub fn fill(&self, ports: &mut [PortView]) {
        for view in ports {
            view.rates = self.ports.get(&view.port).map(|(_, rates)| *rates).unwrap_or_default();
        }
    }
}

fn rates(counted: PortStats, ticks: u32) -> PortRates {
    let second = |count: u64| (u128::from(count) * u128::from(TICKS_PER_SECOND) / u128::from(ticks)) as u64;
    PortRates {
        rx_packets: second(counted.rx_packets),
        rx_bits: second(counted.rx_bytes.saturating_mul(8)),
        tx_packets: second(counted.tx_packets),
        tx_bits: second(counted.tx_bytes.saturating_mul(8)),
    }
}

/// Where counting started.
#[derive(Debug, Default)]
pub(super) struct Baseline {
    workers: Vec<WorkerView>,
    ports: Vec<PortView>,
}

impl Baseline {
    /// Here.
    pub fn new(workers: Vec<WorkerView>, ports: Vec<PortView>) -> Self {
        Self { workers, ports }
    }

    /// A port, or all, counts from zero by itself.
    pub fn forget(&mut self, port: Option<u16>) {
        self.ports.retain(|view| port.is_some_and(|port| port != view.port));
    }

    /// Frames dropped since, by reason.
    pub fn drops(&self, workers: &[WorkerView]) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for view in self.since(true, workers, Vec::new()).workers {
            for (reason, frames) in view.drops {
                *sums.entry(reason).or_default() += frames;
            }
        }
        sums
    }

    /// What was counted since.
    pub fn since(&self, running: bool, workers: &[WorkerView], mut ports: Vec<PortView>) -> ForwardingView {
        for view in &mut ports {
            if let Some(then) = self.ports.iter().find(|then| then.port == view.port) {
                view.stats = view.stats.since(then.stats);
            }
        }
        let none = WorkerView::default();
        let then = |worker| self.workers.iter().find(|then| then.worker == worker).unwrap_or(&none);
        let workers = workers.iter().map(|view| view.since(then(view.worker))).collect();
        ForwardingView { running, ports, workers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(rx_packets: u64, rx_bytes: u64) -> PortView {
        PortView { stats: PortStats { rx_packets, rx_bytes, ..PortStats::default() }, ..PortView::default() }
    }

    #[test]
    fn rates_are_those_of_the_last_period() {
        let mut meter = Meter::default();
        assert!(meter.due(Tick(0)));
        let load = |busy_cycles, idle_cycles, frames| {
            [RecentLoad { busy_cycles, idle_cycles, frames, ..RecentLoad::default() }].into_iter()
        };
        meter.sample(Tick(0), &[port(1000, 64_000)], load(1_000, 9_000, 10));
        assert!(!meter.due(Tick(50)) && meter.due(Tick(100)));
        meter.sample(Tick(200), &[port(1300, 94_000)], load(4_000, 10_000, 40));
        let mut worker = [WorkerView::default()];
        meter.fill_workers(&mut worker);
        let recent = worker[0].recent;
        assert_eq!((recent.busy(), recent.cycles_per_packet()), (Some(75.0), Some(100.0)));
        let mut ports = [port(9999, 0)];
        meter.fill(&mut ports);
        assert_eq!(ports[0].rates, PortRates { rx_packets: 150, rx_bits: 120_000, ..PortRates::default() });
        assert_eq!(recent.permille, 1000);
        meter.sample(Tick(300), &[port(100, 800)], load(4_000, 10_000, 40));
        meter.fill(&mut ports);
        assert_eq!(ports[0].rates.rx_packets, 100, "the counters were cleared between");
    }

    #[test]
    fn counting_from_zero_leaves_levels_alone() {
        let mut worker = WorkerView { received: 10, entries: 3, ..WorkerView::default() };
        worker.drops.insert("no_route".to_owned(), 4);
        let baseline = Baseline::new(vec![worker.clone()], vec![port(7, 70)]);
        worker.received = 25;
        worker.drops.insert("no_route".to_owned(), 5);
        assert_eq!(baseline.drops(std::slice::from_ref(&worker))["no_route"], 1);
        let view = baseline.since(true, &[worker], vec![port(9, 90)]);
        assert_eq!((view.workers[0].received, view.workers[0].entries, view.workers[0].drops["no_route"]), (15, 3, 1));
        assert_eq!(view.ports[0].stats.rx_packets, 2);
    }
}
