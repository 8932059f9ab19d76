//! Counters: one writer each (the lcore they belong to), plain stores; readers add up.
//!
//! They are atomics only so that another thread may read them: the writer loads and stores, and never needs a locked
//! instruction. Nothing here is ever reset; a reader that wants to start from zero remembers where it started.

use crate::conn::{Direction, State};
use crate::lines;
use crate::pipeline::DropReason;
use crate::police::ClassCounters;
use crate::service::DestId;
use crate::sync::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::cell::Cell;

/// A counter that one thread writes and any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the owning thread may call this.
    #[inline(always)]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }
    /// The value.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number of connections that one thread writes and any thread reads.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU32);

impl Gauge {
    /// One more; only the owning thread may call this.
    #[inline]
    pub fn up(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_add(1), Relaxed);
    }
    /// One less; only the owning thread may call this.
    #[inline]
    pub fn down(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(1), Relaxed);
    }
    /// The value.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }
}

/// A mark that one thread sets and any thread reads.
#[derive(Debug, Default)]
pub struct Flag(AtomicBool);

impl Flag {
    /// Sets it; only the owning thread may call this.
    #[inline]
    pub fn set(&self, on: bool) {
        self.0.store(on, Relaxed);
    }
    /// Whether it is set.
    #[inline]
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// What one lcore knows about one destination: one cache line, written by that lcore alone.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct DestCounters {
    /// Connections scheduled to it.
    pub connections: Counter,
    /// Packets by direction: from clients, and to clients (NAT only: the others answer past the director).
    pub packets: [Counter; 2],
    /// Bytes of IP packets, likewise.
    pub bytes: [Counter; 2],
    /// ActiveConn: connections in SYN_RECV, SYN_SENT, SYNACK or ESTABLISHED.
    pub active: Gauge,
    /// InActConn: all others, and all of UDP.
    pub inactive: Gauge,
    /// PersistConn: persistence templates.
    pub persistent: Gauge,
    /// Over its threshold, as this lcore sees it.
    pub closed: Flag,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<DestCounters>() == 64);

impl DestCounters {
    /// One more packet, of so many bytes.
    #[inline(always)]
    pub fn count(&self, direction: Direction, bytes: u16) {
        self.packets[direction as usize].add(1);
        self.bytes[direction as usize].add(u64::from(bytes));
    }

    /// One more connection, active or not.
    #[inline]
    pub fn opened(&self, active: bool) {
        if active { self.active.up() } else { self.inactive.up() }
    }

    /// One connection less, active or not.
    #[inline]
    pub fn closed(&self, active: bool) {
        if active { self.active.down() } else { self.inactive.down() }
    }
}

/// The connections of a destination, as a scheduler weighs them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// ActiveConn.
    pub active: u32,
    /// InActConn.
    pub inactive: u32,
}

/// Destinations whose load or overload mark changed since their scheduler last asked: a bit by [`DestId`]. Schedulers
/// that keep servers in order look only at these, so whoever changes one marks it.
#[derive(Debug, Default)]
pub struct Touched(Vec<Cell<u64>>);

impl Touched {
    /// No destination touched, of this many slots.
    #[must_use]
    pub fn new(destinations: usize) -> Self {
        Self(lines::filled(destinations.div_ceil(64), || Cell::new(0)))
    }

    /// Marks a destination.
    #[inline]
    pub fn mark(&self, id: DestId) {
        let word = &self.0[id.0 as usize / 64];
        word.set(word.get() | 1 << (id.0 % 64));
    }

    /// Takes the marks of the destinations `64 * word + n` for which bit n of `mask` is set.
    #[inline]
    #[must_use]
    pub fn take(&self, word: usize, mask: u64) -> u64 {
        let word = &self.0[word];
        let marks = word.get();
        word.set(marks & !mask);
        marks & mask
    }
}

/// The loads of all destinations as one worker knows them: its own, exactly, and a recent sum of the others'.
#[derive(Clone, Copy, Debug)]
pub struct Loads<'a> {
    /// By [`DestId`]: this worker's counters.
    pub own: &'a [DestCounters],
    /// By [`DestId`]: the other workers' connections, summed a short while ago; empty with one worker.
    pub others: &'a [Load],
    /// A bit by [`DestId`]: over its threshold.
    pub overloaded: &'a [u64],
    /// Which of these changed; a new sum of the others' counts too.
    pub touched: &'a Touched,
}

impl Loads<'_> {
    /// Connections of a destination.
    #[inline]
    #[must_use]
    pub fn of(&self, id: DestId) -> Load {
        let index = id.0 as usize;
        let own = &self.own[index];
        let other = self.others.get(index).copied().unwrap_or_default();
        Load {
            active: own.active.get().wrapping_add(other.active),
            inactive: own.inactive.get().wrapping_add(other.inactive),
        }
    }

    /// True if the destination reached its upper threshold and is not below its lower one again.
    #[inline]
    #[must_use]
    pub fn overloaded(&self, id: DestId) -> bool {
        let index = id.0 as usize;
        self.overloaded.get(index / 64).is_some_and(|word| word & 1 << (index % 64) != 0)
    }
}

/// Ports that have counters of their own: as many as DPDK has.
pub const PORTS: usize = 32;

/// Classes of turns by the frames they received: 1, 2 and 3, 4 to 7, and so on; in the last, 32 and more.
pub const BURST_CLASSES: usize = 6;

/// The class of a turn with so many frames, of which there is at least one.
#[inline]
#[must_use]
pub fn burst_class(frames: usize) -> usize {
    (frames.max(1).ilog2() as usize).min(BURST_CLASSES - 1)
}

/// Everything one worker counts, shared with its readers. The identity that holds between turns:
/// `received + handed_in = forwarded + to_kernel + dropped + held + handed_out`. Over all workers, `handed_out` is more
/// than `handed_in` by the frames that are in the rings between them.
#[derive(Debug)]
#[repr(align(64))]
pub struct WorkerStats {
    /// Frames received on ports.
    pub received: Counter,
    /// Frames of connections, sent on (a handed-over frame counts where it is sent).
    pub forwarded: Counter,
    /// Frames given to the kernel.
    pub to_kernel: Counter,
    /// Frames that wait for a neighbour's MAC address.
    pub held: Level,
    /// Frames given to other workers.
    pub handed_out: Counter,
    /// Frames taken from other workers.
    pub handed_in: Counter,
    /// Frames that other workers own, by the port they came from (those of further ports are with the last).
    pub misdelivered: [Counter; PORTS],
    /// Frames dropped, by reason.
    pub drops: [Counter; DropReason::COUNT],
    /// Frames the director wrote itself: ICMP errors and resets.
    pub answered: Counter,
    /// Frames from the kernel, sent out of a port.
    pub from_kernel: Counter,
    /// Frames from the kernel, or the director's own, that found no room in a port's transmit queue, or whose
    /// neighbour did not answer.
    pub own_dropped: Counter,
    /// Frames for the kernel by class.
    pub classes: ClassCounters,
    /// Connections in the flow table.
    pub entries: Level,
    /// Connections made.
    pub created: Counter,
    /// Connections that were not made: no room in the table.
    pub insert_failures: Counter,
    /// Half-open connections that gave way to new ones.
    pub evicted: Counter,
    /// Connections that expired.
    pub expired: Counter,
    /// Connections that an operator took away.
    pub flushed: Counter,
    /// Turns of the loop: its heartbeat.
    pub turns: Counter,
    /// Turns that received at least one frame.
    pub busy_turns: Counter,
    /// Those by how many frames they received: [`burst_class`].
    pub bursts: [Counter; BURST_CLASSES],
    /// What turns with frames took, in units of the processor's cycle counter. Who runs the loop counts this and the next.
    pub busy_cycles: Counter,
    /// What all else took: turns without frames, pauses, questions.
    pub idle_cycles: Counter,
    /// Connections in the flow table, by their state.
    pub states: [Gauge; State::COUNT],
    /// Connections that expired, by the state they were in.
    pub expired_in: [Counter; State::COUNT],
    /// Version of the snapshot in use.
    pub snapshot: InUse,
    /// By destination slot.
    pub destinations: Box<[DestCounters]>,
}

// What two workers write never lies in one cache line.
const _: () = assert!(align_of::<WorkerStats>() == 64 && size_of::<WorkerStats>().is_multiple_of(64));
const _: () = assert!(align_of::<DestCounters>() == 64);

/// A 64-bit level that one thread writes and any thread reads.
#[derive(Debug, Default)]
pub struct Level(AtomicU64);

impl Level {
    /// Sets it; only the owning thread may call this.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }
    /// The value.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The version of the snapshot that a worker uses. Whoever sees it sees everything that the worker did with older ones.
#[derive(Debug, Default)]
pub struct InUse(AtomicU64);

impl InUse {
    /// Sets it, when older ones are let go; only the owning thread may call this.
    #[inline]
    pub fn set(&self, version: u64) {
        self.0.store(version, Release);
    }
    /// The version.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Acquire)
    }
}

impl WorkerStats {
    /// Zeroed counters for this many destination slots.
    #[must_use]
    pub fn new(destinations: usize) -> Self {
        Self {
            received: Counter::default(),
            forwarded: Counter::default(),
            to_kernel: Counter::default(),
            held: Level::default(),
            handed_out: Counter::default(),
            handed_in: Counter::default(),
            misdelivered: std::array::from_fn(|_| Counter::default()),
            drops: std::array::from_fn(|_| Counter::default()),
            answered: Counter::default(),
            from_kernel: Counter::default(),
            own_dropped: Counter::default(),
            classes: ClassCounters::default(),
            entries: Level::default(),
            created: Counter::default(),
            insert_failures: Counter::default(),
            evicted: Counter::default(),
            expired: Counter::default(),
            flushed: Counter::default(),
            states: std::array::from_fn(|_| Gauge::default()),
            expired_in: std::array::from_fn(|_| Counter::default()),
            turns: Counter::default(),
            busy_turns: Counter::default(),
            bursts: std::array::from_fn(|_| Counter::default()),
            busy_cycles: Counter::default(),
            idle_cycles: Counter::default(),
            snapshot: InUse::default(),
            destinations: (0..destinations).map(|_| DestCounters::default()).collect(),
        }
    }

    /// Counts what a turn took that received so many frames; only the owning thread may call this.
    #[inline]
    pub fn took(&self, frames: usize, cycles: u64) {
        if frames > 0 {
            self.busy_cycles.add(cycles);
            self.bursts[burst_class(frames)].add(1);
        } else {
            self.idle_cycles.add(cycles);
        }
    }

    /// Frames dropped, over all reasons.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.drops.iter().map(Counter::get).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_told_apart_by_their_frames() {
        let classes = [1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 33, 4096].map(burst_class);
        assert_eq!(classes, [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5]);
        let stats = WorkerStats::new(0);
        for (frames, cycles) in [(0, 100), (5, 300), (0, 1), (32, 2000)] {
            stats.took(frames, cycles);
        }
        assert_eq!((stats.busy_cycles.get(), stats.idle_cycles.get()), (2300, 101));
        assert_eq!(stats.bursts.each_ref().map(Counter::get), [0, 0, 1, 0, 0, 1]);
    }

    #[test]
    fn workers_write_no_cache_line_of_each_others() {
        let workers: Vec<_> = (0..4).map(|_| std::sync::Arc::new(WorkerStats::new(3))).collect();
        let mut seen = std::collections::HashSet::new();
        for stats in &workers {
            // Counters, the heartbeat, the version in use; and by destination, counters, loads, marks of thresholds.
            let mut all = lines::of(std::slice::from_ref(&**stats)).chain(lines::of(&stats.destinations));
            assert!(all.all(|line| seen.insert(line)));
        }
    }

    #[test]
    fn each_taker_gets_its_own_marks_once() {
        let touched = Touched::new(100);
        [0, 63, 64, 99].into_iter().for_each(|id| touched.mark(DestId(id)));
        assert_eq!((touched.take(0, 1), touched.take(0, 1)), (1, 0));
        assert_eq!((touched.take(0, !1), touched.take(1, u64::MAX)), (1 << 63, 1 | 1 << 35));
        assert_eq!((touched.take(0, u64::MAX), touched.take(1, u64::MAX)), (0, 0));
    }
}
