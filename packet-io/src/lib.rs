//! The seam between what decides about packets and what carries them.
//!
//! A [`Frame`] is one Ethernet frame in contiguous memory with room in front of it; an [`RxQueue`] hands frames out
//! in bursts and a [`TxQueue`] takes them. DPDK implements these traits in `dpdk-ffi`; the module [`memory`] is their
//! twin on plain memory, so that everything above this seam builds and is tested without DPDK.
//!
//! A frame is owned by exactly one place at a time; dropping it releases it. This crate depends on nothing and must
//! not know protocols, tables or threads.

pub mod memory;

mod burst;
pub use burst::{BURST, Burst, Drain};

use std::ops::DerefMut;

/// One Ethernet frame, owned, in one contiguous piece of memory. Dropping it releases its buffer.
pub trait Frame: Sized {
    /// The frame from its destination MAC address to its last byte, without FCS.
    fn bytes(&self) -> &[u8];
    /// The same, writable.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// Adds `n` bytes of unspecified content in front. Answers false, and changes nothing, without room for them.
    #[must_use]
    fn grow_front(&mut self, n: usize) -> bool;
    /// Takes `n` bytes off the front. Answers false, and changes nothing, if the frame is shorter.
    #[must_use]
    fn shrink_front(&mut self, n: usize) -> bool;
    /// Adds `n` bytes of unspecified content at the end. Answers false, and changes nothing, without room for them.
    #[must_use]
    fn grow_back(&mut self, n: usize) -> bool;
    /// Cuts the frame to `len` bytes; a shorter frame stays as it is.
    fn truncate(&mut self, len: usize);
    /// What the carrier found out about the checksums while receiving.
    fn checksums(&self) -> Checksums {
        Checksums::Unknown
    }
}

/// The carrier's verdict on a received frame's IPv4 header checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksums {
    /// Nobody looked; the data path must.
    Unknown,
    /// The NIC verified the IPv4 header checksum.
    Ipv4Good,
}

/// A receive queue, owned by one worker.
pub trait RxQueue {
    /// What the queue hands out.
    type Frame: Frame;
    /// Appends received frames to `burst` until it is full or the queue is empty; answers how many were added.
    fn receive(&mut self, burst: &mut Burst<Self::Frame>) -> usize;
    /// Its number among its port's, for who looks at single frames.
    fn number(&self) -> u16 {
        0
    }
}

/// A transmit queue, owned by one worker.
pub trait TxQueue {
    /// What the queue takes.
    type Frame: Frame;
    /// Takes frames from the front of `burst`, in order, and answers how many were taken. What the carrier has no
    /// room for stays in `burst`, at its front: the caller decides whether to try again or to drop and count.
    fn transmit(&mut self, burst: &mut Burst<Self::Frame>) -> usize;
}

/// Where frames come from that the director itself writes (ICMP errors, resets, fragments).
pub trait FramePool {
    /// What the pool hands out.
    type Frame: Frame;
    /// An empty frame (length 0) with room in front, or nothing when the pool is exhausted.
    fn allocate(&mut self) -> Option<Self::Frame>;
}

/// Memory for a table, at a fixed size from start to end: ordinary memory, or huge pages.
pub trait TableMemory<T>: DerefMut<Target = [T]> {
    /// Asks the processor to load element `index` into its cache. Only a hint: an index out of range is harmless.
    fn prefetch(&self, index: usize);

    /// Runs a loop that looks things up in such memory; the place to have it compiled for better instructions than every
    /// processor has, and to choose at run time.
    #[inline(always)]
    fn run<W: Work>(work: W) -> W::Answer {
        work.run()
    }
}

/// Something to do. It is no closure, because only a method can be told to be inlined wherever it is called.
pub trait Work {
    /// What comes of it.
    type Answer;
    /// Does it; must be `#[inline(always)]`, as must be what it calls.
    fn run(self) -> Self::Answer;
}

impl<T> TableMemory<T> for Vec<T> {
    fn prefetch(&self, _index: usize) {}
}
