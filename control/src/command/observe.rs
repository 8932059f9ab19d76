//! What runs: workers and ports, as data.

use super::Counters;
use forwarder::conn::{Direction, State};
use forwarder::pipeline::DropReason;
use forwarder::police::Class;
use forwarder::stats::{BURST_CLASSES, Counter, DestCounters, WorkerStats};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a worker did since it started. Between two bursts
/// `received + handed_in = forwarded + to_kernel + dropped + held + handed_out`; a reader may see a burst half counted.
/// Over all workers, `handed_out` is more than `handed_in` by the frames between them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WorkerView {
    /// Its number.
    pub worker: u32,
    /// Frames received on ports.
    pub received: u64,
    /// Frames of connections, sent on.
    pub forwarded: u64,
    /// Frames given to the kernel.
    pub to_kernel: u64,
    /// Frames dropped, over all reasons.
    pub dropped: u64,
    /// Frames that wait for a neighbour's MAC address, now.
    pub held: u64,
    /// Frames given to the workers that their connections belong to.
    #[serde(default)]
    pub handed_out: u64,
    /// Frames taken from other workers.
    #[serde(default)]
    pub handed_in: u64,
    /// Frames that other workers own, by the port they came from, where there were any.
    #[serde(default)]
    pub misdelivered: BTreeMap<u16, u64>,
    /// Frames the director wrote itself.
    pub answered: u64,
    /// Frames from the kernel, sent out of a port.
    pub from_kernel: u64,
    /// Frames from the kernel, or the director's own, that found a port's transmit queue full.
    pub own_dropped: u64,
    /// Connections in its table, now.
    pub entries: u64,
    /// Those by their state, by ipvsadm's names; every state is there.
    #[serde(default)]
    pub states: BTreeMap<String, u64>,
    /// Connections made.
    pub created: u64,
    /// Connections that were not made: no room in the table.
    pub insert_failures: u64,
    /// Connections that gave way to new ones.
    pub evicted: u64,
    /// Connections that expired.
    pub expired: u64,
    /// Connections that an operator took away.
    #[serde(default)]
    pub flushed: u64,
    /// Those that expired by the state they were in, by ipvsadm's names; every state is there.
    #[serde(default)]
    pub expired_in: BTreeMap<String, u64>,
    /// Turns of its loop.
    pub turns: u64,
    /// Turns that received at least one frame.
    pub busy_turns: u64,
    /// Those by the frames they received: 1, 2 to 3, 4 to 7, 8 to 15, 16 to 31, 32 and more.
    #[serde(default)]
    pub bursts: [u64; BURST_CLASSES],
    /// What turns with frames took, in cycles of the processor's counter.
    #[serde(default)]
    pub busy_cycles: u64,
    /// What all else took.
    #[serde(default)]
    pub idle_cycles: u64,
    /// Of these, the last second or so.
    #[serde(default)]
    pub recent: RecentLoad,
    /// Version of the snapshot it uses.
    pub snapshot: u64,
    /// What it counted for connections, over all real servers that ever were.
    pub balanced: Counters,
    /// Frames for the kernel by class.
    pub classes: BTreeMap<String, ClassView>,
    /// Frames dropped, by reason; every reason is there.
    pub drops: BTreeMap<String, u64>,
}

/// How busy a worker was over the last second or so. The share of cycles that went into turns with frames says how near
/// to its limit it is: what is idle is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RecentLoad {
    /// What turns with frames took, in cycles of the processor's counter.
    pub busy_cycles: u64,
    /// What all else took.
    pub idle_cycles: u64,
    /// Frames that came in, from ports and from other workers.
    pub frames: u64,
    /// Turns of the loop. A worker without any does not run.
    #[serde(default)]
    pub turns: u64,
    /// Of the frames of all workers, this one's, in thousandths. Only where workers are compared: over the last second.
    #[serde(default)]
    pub permille: u16,
}

impl RecentLoad {
    /// Of all cycles, those of turns with frames, percent; none if there were none at all.
    #[must_use]
    pub fn busy(&self) -> Option<f64> {
        let all = self.busy_cycles.saturating_add(self.idle_cycles);
        (all > 0).then(|| self.busy_cycles as f64 * 100.0 / all as f64)
    }

    /// Cycles for a frame, none without frames.
    #[must_use]
    pub fn cycles_per_packet(&self) -> Option<f64> {
        (self.frames > 0).then(|| self.busy_cycles as f64 / self.frames as f64)
    }
}

/// Frames of one class on their way to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ClassView {
    /// Given to the kernel.
    pub passed: u64,
    /// Over the class's rate.
    pub policed: u64,
    /// The queue to the kernel was full.
    #[serde(default)]
    pub dropped: u64,
}

impl WorkerView {
    /// A worker's counters as they stand; `slots` slots of real servers were ever used.
    #[must_use]
    pub fn new(worker: usize, stats: &WorkerStats, slots: usize) -> Self {
        let class = |class: &Class| {
            let (index, counted) = (*class as usize, &stats.classes);
            let view = ClassView {
                passed: counted.passed[index].get(),
                policed: counted.policed[index].get(),
                dropped: counted.refused[index].get(),
            };
            (class.name().to_owned(), view)
        };
        let drops: BTreeMap<_, _> = DropReason::ALL
            .iter()
            .map(|&reason| (reason.name().to_owned(), stats.drops[reason as usize].get()))
            .collect();
        Self {
            worker: worker as u32,
            received: stats.received.get(),
            forwarded: stats.forwarded.get(),
            to_kernel: stats.to_kernel.get(),
            dropped: drops.values().sum(),
            held: stats.held.get(),
            handed_out: stats.handed_out.get(),
            handed_in: stats.handed_in.get(),
            misdelivered: (0..)
                .zip(stats.misdelivered.iter().map(Counter::get))
                .filter(|(_, frames)| *frames > 0)
                .collect(),
            answered: stats.answered.get(),
            from_kernel: stats.from_kernel.get(),
            own_dropped: stats.own_dropped.get(),
            entries: stats.entries.get(),
            states: by_state(|state| stats.states[state as usize].get().into()),
            created: stats.created.get(),
            insert_failures: stats.insert_failures.get(),
            evicted: stats.evicted.get(),
            expired: stats.expired.get(),
            flushed: stats.flushed.get(),
            expired_in: by_state(|state| stats.expired_in[state as usize].get()),
            turns: stats.turns.get(),
            busy_turns: stats.busy_turns.get(),
            bursts: stats.bursts.each_ref().map(Counter::get),
            busy_cycles: stats.busy_cycles.get(),
            idle_cycles: stats.idle_cycles.get(),
            recent: RecentLoad::default(),
            snapshot: stats.snapshot.get(),
            balanced: stats.destinations.iter().take(slots).fold(Counters::default(), |sum, of| sum.plus(of.into())),
            classes: Class::ALL.iter().map(class).collect(),
            drops,
        }
    }
}

impl WorkerView {
    /// What it did over all the time.
    #[must_use]
    pub fn load(&self) -> RecentLoad {
        let frames = self.received.wrapping_add(self.handed_in);
        RecentLoad {
            busy_cycles: self.busy_cycles,
            idle_cycles: self.idle_cycles,
            frames,
            turns: self.turns,
            permille: 0,
        }
    }

    /// What was counted since `earlier`; what is counted now (held frames, connections, the snapshot) stays.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let class = |(name, now): (&String, &ClassView)| {
            let then = earlier.classes.get(name).copied().unwrap_or_default();
            let view = ClassView {
                passed: now.passed.wrapping_sub(then.passed),
                policed: now.policed.wrapping_sub(then.policed),
                dropped: now.dropped.wrapping_sub(then.dropped),
            };
            (name.clone(), view)
        };
        let drop = |(reason, now): (&String, &u64)| {
            (reason.clone(), now.wrapping_sub(earlier.drops.get(reason).copied().unwrap_or_default()))
        };
        let expired = |(state, now): (&String, &u64)| {
            (state.clone(), now.wrapping_sub(earlier.expired_in.get(state).copied().unwrap_or_default()))
        };
        let misdelivered = |(port, now): (&u16, &u64)| {
            (*port, now.wrapping_sub(earlier.misdelivered.get(port).copied().unwrap_or_default()))
        };
        Self {
            worker: self.worker,
            received: self.received.wrapping_sub(earlier.received),
            forwarded: self.forwarded.wrapping_sub(earlier.forwarded),
            to_kernel: self.to_kernel.wrapping_sub(earlier.to_kernel),
            dropped: self.dropped.wrapping_sub(earlier.dropped),
            held: self.held,
            handed_out: self.handed_out.wrapping_sub(earlier.handed_out),
            handed_in: self.handed_in.wrapping_sub(earlier.handed_in),
            misdelivered: self.misdelivered.iter().map(misdelivered).collect(),
            answered: self.answered.wrapping_sub(earlier.answered),
            from_kernel: self.from_kernel.wrapping_sub(earlier.from_kernel),
            own_dropped: self.own_dropped.wrapping_sub(earlier.own_dropped),
            entries: self.entries,
            states: self.states.clone(),
            created: self.created.wrapping_sub(earlier.created),
            insert_failures: self.insert_failures.wrapping_sub(earlier.insert_failures),
            evicted: self.evicted.wrapping_sub(earlier.evicted),
            expired: self.expired.wrapping_sub(earlier.expired),
            flushed: self.flushed.wrapping_sub(earlier.flushed),
            expired_in: self.expired_in.iter().map(expired).collect(),
            turns: self.turns.wrapping_sub(earlier.turns),
            busy_turns: self.busy_turns.wrapping_sub(earlier.busy_turns),
            bursts: std::array::from_fn(|class| self.bursts[class].wrapping_sub(earlier.bursts[class])),
            busy_cycles: self.busy_cycles.wrapping_sub(earlier.busy_cycles),
            idle_cycles: self.idle_cycles.wrapping_sub(earlier.idle_cycles),
            recent: self.recent,
            snapshot: self.snapshot,
            balanced: self.balanced.since(earlier.balanced),
            classes: self.classes.iter().map(class).collect(),
            drops: self.drops.iter().map(drop).collect(),
        }
    }
}

/// Two states of different protocols may have one name.
fn by_state(count: impl Fn(State) -> u64) -> BTreeMap<String, u64> {
    let mut by_name = BTreeMap::new();
    for state in State::ALL {
        *by_name.entry(state.name().to_owned()).or_default() += count(state);
    }
    by_name
}

impl From<&DestCounters> for Counters {
    fn from(of: &DestCounters) -> Self {
        Self {
            connections: of.connections.get(),
            in_packets: of.packets[Direction::Request as usize].get(),
            out_packets: of.packets[Direction::Reply as usize].get(),
            in_bytes: of.bytes[Direction::Request as usize].get(),
            out_bytes: of.bytes[Direction::Reply as usize].get(),
        }
    }
}

/// A port as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PortView {
    /// Its number, counted from 0 in the order of the configuration.
    pub port: u16,
    /// The device's name: `0000:3b:00.0`, `net_af_packet0`.
    pub device: String,
    /// Its driver's name.
    pub driver: String,
    /// Its MAC address: `02:00:00:00:00:01`.
    pub mac: String,
    /// Bytes of IP packet.
    pub mtu: u16,
    /// Its NUMA node, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numa_node: Option<u32>,
    /// Its queues in each direction.
    #[serde(default)]
    pub queues: u16,
    /// How its frames reach the workers that they belong to: `one worker`, `rss`, or `handed over`.
    #[serde(default)]
    pub delivery: String,
    /// Its interface in the kernel, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Whether somebody has stopped it.
    #[serde(default)]
    pub stopped: bool,
    /// Whether its link is up.
    pub link_up: bool,
    /// Megabits a second, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<u32>,
    /// Its counters.
    pub stats: PortStats,
    /// What went through it a second, over the last second or so.
    #[serde(default)]
    pub rates: PortRates,
    /// All that its driver counts, by the driver's names; only if asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extended: Vec<ExtendedStat>,
}

/// What a port counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PortStats {
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames lost because no worker took them in time.
    pub rx_missed: u64,
    /// Frames that came in damaged.
    pub rx_errors: u64,
    /// Times that there was no memory for a received frame.
    pub rx_nombuf: u64,
    /// Frames transmitted.
    pub tx_packets: u64,
    /// Bytes transmitted.
    pub tx_bytes: u64,
    /// Frames that could not be transmitted.
    pub tx_errors: u64,
}

impl PortStats {
    /// What was counted since `earlier`; a counter that is behind was cleared by somebody else, and counts from zero.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        let since = |now: u64, then: u64| if now >= then { now - then } else { now };
        Self {
            rx_packets: since(self.rx_packets, earlier.rx_packets),
            rx_bytes: since(self.rx_bytes, earlier.rx_bytes),
            rx_missed: since(self.rx_missed, earlier.rx_missed),
            rx_errors: since(self.rx_errors, earlier.rx_errors),
            rx_nombuf: since(self.rx_nombuf, earlier.rx_nombuf),
            tx_packets: since(self.tx_packets, earlier.tx_packets),
            tx_bytes: since(self.tx_bytes, earlier.tx_bytes),
            tx_errors: since(self.tx_errors, earlier.tx_errors),
        }
    }
}

/// What goes through a port a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PortRates {
    /// Frames received.
    pub rx_packets: u64,
    /// Bits received.
    pub rx_bits: u64,
    /// Frames transmitted.
    pub tx_packets: u64,
    /// Bits transmitted.
    pub tx_bits: u64,
}

/// What was forwarded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ForwardingView {
    /// Whether frames are forwarded now.
    pub running: bool,
    /// What the ports counted meanwhile.
    pub ports: Vec<PortView>,
    /// What the workers counted meanwhile.
    pub workers: Vec<WorkerView>,
}

/// A counter by the driver's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ExtendedStat {
    /// The name.
    pub name: String,
    /// The value.
    pub value: u64,
}
