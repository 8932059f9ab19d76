//! The in-memory twin: frames in vectors, queues in deques, a pool that counts what is out.

use crate::{Burst, Frame, FramePool, RxQueue, TxQueue};
use std::collections::VecDeque;
use std::sync::Arc;

/// Room in front of a frame, as DPDK's default headroom.
pub const HEADROOM: usize = 128;
/// Room for a frame and what may be added at its end, as a default mbuf has it.
pub const DATA_ROOM: usize = 2048;

/// A frame in a vector. It may be counted by the [`MemPool`] it came from.
#[derive(Debug)]
pub struct MemFrame {
    buffer: Vec<u8>,
    head: usize,
    // Held for its count alone: the pool sees how many frames are alive.
    _ticket: Option<Arc<()>>,
}

impl MemFrame {
    /// A frame with these bytes, not counted by any pool.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self::with_ticket(bytes, None)
    }

    fn with_ticket(bytes: &[u8], ticket: Option<Arc<()>>) -> Self {
        let mut buffer = Vec::with_capacity(HEADROOM + DATA_ROOM.max(bytes.len()));
        buffer.resize(HEADROOM, 0);
        buffer.extend_from_slice(bytes);
        Self { buffer, head: HEADROOM, _ticket: ticket }
    }
}

impl Frame for MemFrame {
    fn bytes(&self) -> &[u8] {
        &self.buffer[self.head..]
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.head..]
    }
    fn grow_front(&mut self, n: usize) -> bool {
        let fits = n <= self.head;
        if fits {
            self.head -= n;
        }
        fits
    }
    fn shrink_front(&mut self, n: usize) -> bool {
        let fits = n <= self.buffer.len() - self.head;
        if fits {
            self.head += n;
        }
        fits
    }
    fn grow_back(&mut self, n: usize) -> bool {
        let len = self.buffer.len() + n;
        let fits = len <= self.buffer.capacity();
        if fits {
            self.buffer.resize(len, 0);
        }
        fits
    }
    fn truncate(&mut self, len: usize) {
        self.buffer.truncate(self.head.saturating_add(len));
    }
}

/// A pool of at most `capacity` frames alive at a time.
#[derive(Debug)]
pub struct MemPool {
    ticket: Arc<()>,
    capacity: usize,
}

impl MemPool {
    /// A pool that lets `capacity` frames be alive at a time.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { ticket: Arc::new(()), capacity }
    }
    /// How many frames of this pool are alive.
    #[must_use]
    pub fn in_use(&self) -> usize {
        Arc::strong_count(&self.ticket) - 1
    }
    /// A frame of this pool with these bytes.
    pub fn frame(&mut self, bytes: &[u8]) -> Option<MemFrame> {
        (self.in_use() < self.capacity).then(|| MemFrame::with_ticket(bytes, Some(self.ticket.clone())))
    }
}

impl FramePool for MemPool {
    type Frame = MemFrame;
    fn allocate(&mut self) -> Option<MemFrame> {
        self.frame(&[])
    }
}

/// A queue in memory, for either direction. `room` bounds what it takes, as a NIC's ring does.
#[derive(Debug)]
pub struct MemQueue {
    /// What waits to be received, or what was transmitted.
    pub frames: VecDeque<MemFrame>,
    /// The most frames a transmit queue holds before it refuses more.
    pub room: usize,
}

impl Default for MemQueue {
    fn default() -> Self {
        Self { frames: VecDeque::new(), room: usize::MAX }
    }
}

impl RxQueue for MemQueue {
    type Frame = MemFrame;
    fn receive(&mut self, burst: &mut Burst<MemFrame>) -> usize {
        let before = burst.len();
        while !burst.is_full() {
            let Some(frame) = self.frames.pop_front() else { break };
            let _ = burst.push(frame);
        }
        burst.len() - before
    }
}

impl TxQueue for MemQueue {
    type Frame = MemFrame;
    fn transmit(&mut self, burst: &mut Burst<MemFrame>) -> usize {
        let taken = burst.len().min(self.room.saturating_sub(self.frames.len()));
        for slot in &mut burst.slots_mut()[..taken] {
            self.frames.extend(slot.take());
        }
        burst.consume(taken);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_sees_every_frame_come_back() {
        let mut pool = MemPool::new(2);
        let (a, b) = (pool.frame(b"a").unwrap(), pool.frame(b"b").unwrap());
        assert!(pool.allocate().is_none());
        drop(a);
        assert_eq!(pool.in_use(), 1);
        drop(b);
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn a_frame_grows_only_where_there_is_room() {
        let mut frame = MemFrame::new(b"payload");
        assert!(frame.grow_front(20) && !frame.grow_front(HEADROOM));
        assert_eq!(frame.bytes().len(), 27);
        assert!(frame.shrink_front(20) && !frame.shrink_front(8));
        assert_eq!(frame.bytes(), b"payload");
        frame.truncate(3);
        assert_eq!(frame.bytes(), b"pay");
    }

    #[test]
    fn a_full_queue_leaves_the_rest_with_the_sender() {
        let mut queue = MemQueue { room: 1, ..MemQueue::default() };
        let mut burst = Burst::new();
        burst.push(MemFrame::new(b"1")).unwrap();
        burst.push(MemFrame::new(b"2")).unwrap();
        assert_eq!(queue.transmit(&mut burst), 1);
        assert_eq!(burst.get(0).unwrap().bytes(), b"2");
    }
}
