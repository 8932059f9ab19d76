//! Queues that replay frames from memory and take back what is sent, as the `net_pcap` device with `infinite_rx` does,
//! but without DPDK: what is left is the director's own work.

use packet_io::{Burst, Frame, FramePool, RxQueue, TxQueue};
use std::cell::RefCell;

/// Room in front of a frame.
const HEADROOM: usize = 128;
/// Room for a frame with what is in front of it.
const ROOM: usize = 2048;
/// Buffers that are put aside at most; more than any test has in use.
const SPARE: usize = 1024;

/// A buffer.
#[derive(Debug)]
struct Buffer {
    head: usize,
    end: usize,
    bytes: [u8; ROOM],
}

thread_local! {
    /// Buffers that nobody uses, so that none is allocated twice.
    static SPARES: RefCell<Vec<Box<Buffer>>> = RefCell::new(Vec::with_capacity(SPARE));
}

/// A frame. Dropping it puts its buffer aside.
#[derive(Debug)]
pub struct Replayed(Option<Box<Buffer>>);

impl Replayed {
    #[inline]
    fn buffer(&self) -> &Buffer {
        self.0.as_deref().expect("a frame has its buffer until it goes")
    }

    #[inline]
    fn buffer_mut(&mut self) -> &mut Buffer {
        self.0.as_deref_mut().expect("a frame has its buffer until it goes")
    }
}

impl Drop for Replayed {
    fn drop(&mut self) {
        if let Some(buffer) = self.0.take() {
            SPARES.with_borrow_mut(|spares| put_aside(spares, buffer));
        }
    }
}

fn put_aside(spares: &mut Vec<Box<Buffer>>, buffer: Box<Buffer>) {
    if spares.len() < SPARE {
        spares.push(buffer);
    }
}

fn fresh(spares: &mut Vec<Box<Buffer>>) -> Box<Buffer> {
    let mut buffer = spares.pop().unwrap_or_else(|| Box::new(Buffer { head: 0, end: 0, bytes: [0; ROOM] }));
    (buffer.head, buffer.end) = (HEADROOM, HEADROOM);
    buffer
}

impl Frame for Replayed {
    #[inline]
    fn bytes(&self) -> &[u8] {
        let Buffer { head, end, bytes } = self.buffer();
        &bytes[*head..*end]
    }
    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        let Buffer { head, end, bytes } = self.buffer_mut();
        &mut bytes[*head..*end]
    }
    #[inline]
    fn grow_front(&mut self, n: usize) -> bool {
        let buffer = self.buffer_mut();
        let fits = n <= buffer.head;
        buffer.head -= if fits { n } else { 0 };
        fits
    }
    fn shrink_front(&mut self, n: usize) -> bool {
        let buffer = self.buffer_mut();
        let fits = n <= buffer.end - buffer.head;
        buffer.head += if fits { n } else { 0 };
        fits
    }
    fn grow_back(&mut self, n: usize) -> bool {
        let buffer = self.buffer_mut();
        let fits = n <= ROOM - buffer.end;
        buffer.end += if fits { n } else { 0 };
        fits
    }
    #[inline]
    fn truncate(&mut self, len: usize) {
        let buffer = self.buffer_mut();
        buffer.end = buffer.end.min(buffer.head + len);
    }
}

/// Where answers of the director come from.
#[derive(Debug)]
pub struct Pool;

impl FramePool for Pool {
    type Frame = Replayed;
    fn allocate(&mut self) -> Option<Replayed> {
        Some(Replayed(Some(SPARES.with_borrow_mut(fresh))))
    }
}

/// Replays its frames again and again.
#[derive(Debug, Default)]
pub struct Source {
    frames: Vec<Vec<u8>>,
    next: usize,
    /// Frames in a burst, at most.
    pub burst: usize,
}

impl Source {
    /// Replays these from now on, a burst of so many at a time.
    pub fn replay(&mut self, frames: Vec<Vec<u8>>, burst: usize) {
        assert!(frames.iter().all(|frame| frame.len() <= ROOM - HEADROOM), "a frame does not fit its buffer");
        *self = Self { frames, next: 0, burst };
    }
}

impl RxQueue for Source {
    type Frame = Replayed;
    fn receive(&mut self, burst: &mut Burst<Replayed>) -> usize {
        let spare = burst.spare_mut();
        let count = if self.frames.is_empty() { 0 } else { spare.len().min(self.burst) };
        SPARES.with_borrow_mut(|spares| {
            for slot in &mut spare[..count] {
                let frame = &self.frames[self.next];
                self.next = if self.next + 1 == self.frames.len() { 0 } else { self.next + 1 };
                let mut buffer = fresh(spares);
                buffer.end = HEADROOM + frame.len();
                buffer.bytes[HEADROOM..HEADROOM + frame.len()].copy_from_slice(frame);
                *slot = Some(Replayed(Some(buffer)));
            }
        });
        burst.commit(count);
        count
    }
}

/// Takes all that is sent.
#[derive(Debug, Default)]
pub struct Sink {
    /// Frames taken.
    pub frames: u64,
}

impl TxQueue for Sink {
    type Frame = Replayed;
    fn transmit(&mut self, burst: &mut Burst<Replayed>) -> usize {
        let count = burst.len();
        SPARES.with_borrow_mut(|spares| {
            for slot in burst.slots_mut() {
                if let Some(mut frame) = slot.take()
                    && let Some(buffer) = frame.0.take()
                {
                    put_aside(spares, buffer);
                    self.frames += 1;
                }
            }
        });
        burst.consume(count);
        count
    }
}
