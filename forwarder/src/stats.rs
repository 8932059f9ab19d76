//! Counters: one writer each (the lcore they belong to), plain stores; readers add up.
//!
//! They are atomics only so that another thread may read them: the writer loads and stores, and never needs a locked
//! instruction. Nothing here is ever reset; a reader that wants to start from zero remembers where it started.

use crate::service::DestId;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// A counter that one thread writes and any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the owning thread may call this.
    #[inline]
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

/// What one lcore knows about one destination: one cache line, written by that lcore alone.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct DestCounters {
    /// Connections scheduled to it.
    pub connections: Counter,
    /// Packets from clients.
    pub in_packets: Counter,
    /// Packets to clients (NAT only: the others answer past the director).
    pub out_packets: Counter,
    /// Bytes of IP packets from clients.
    pub in_bytes: Counter,
    /// Bytes of IP packets to clients.
    pub out_bytes: Counter,
    /// ActiveConn: connections in SYN_RECV, SYN_SENT, SYNACK or ESTABLISHED.
    pub active: Gauge,
    /// InActConn: all others, and all of UDP.
    pub inactive: Gauge,
    /// PersistConn: persistence templates.
    pub persistent: Gauge,
}

/// The connections of a destination, as a scheduler weighs them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// ActiveConn.
    pub active: u32,
    /// InActConn.
    pub inactive: u32,
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
}

impl Loads<'_> {
    /// Connections of a destination.
    #[inline]
    #[must_use]
    pub fn of(&self, id: DestId) -> Load {
        let index = id.0 as usize;
        let own = &self.own[index];
        let other = self.others.get(index).copied().unwrap_or_default();
        Load { active: own.active.get() + other.active, inactive: own.inactive.get() + other.inactive }
    }

    /// True if the destination reached its upper threshold and is not below its lower one again.
    #[inline]
    #[must_use]
    pub fn overloaded(&self, id: DestId) -> bool {
        let index = id.0 as usize;
        self.overloaded.get(index / 64).is_some_and(|word| word & 1 << (index % 64) != 0)
    }
}
