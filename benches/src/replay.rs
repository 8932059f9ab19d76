//! Queues that replay frames from memory and take back what is sent, as the `net_pcap` device with `infinite_rx` does,
//! but without DPDK: what is left is the director's own work.

use crate::frames::{self, LENGTH};
use packet_io::{Burst, Frame, FramePool, RxQueue, TxQueue};
use std::cell::RefCell;

/// Room in front of a frame.
const HEADROOM: usize = 128;
/// Room for a frame with what is in front of it.
const ROOM: usize = 2048;
/// Buffers that are put aside at most; more than any test has in use.
const SPARE: usize = 1024;

thread_local! {
    /// Buffers that nobody uses, so that none is allocated twice.
    static SPARES: RefCell<Vec<Box<[u8]>>> = RefCell::new(Vec::with_capacity(SPARE));
}

/// A frame. Dropping it puts its buffer aside.
#[derive(Debug)]
pub struct Replayed {
    buffer: Box<[u8]>,
    head: u32,
    end: u32,
}

impl Drop for Replayed {
    #[inline]
    fn drop(&mut self) {
        if !self.buffer.is_empty() {
            SPARES.with_borrow_mut(|spares| self.put_aside(spares));
        }
    }
}

impl Replayed {
    #[inline]
    fn fresh(spares: &mut Vec<Box<[u8]>>, length: usize) -> Self {
        let buffer = spares.pop().unwrap_or_else(|| vec![0; ROOM].into_boxed_slice());
        Self { buffer, head: HEADROOM as u32, end: (HEADROOM + length) as u32 }
    }

    #[inline]
    fn put_aside(&mut self, spares: &mut Vec<Box<[u8]>>) {
        let buffer = std::mem::take(&mut self.buffer);
        if spares.len() < SPARE {
            spares.push(buffer);
        }
    }
}

impl Frame for Replayed {
    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        self.buffer.get(self.head as usize..self.end as usize).unwrap_or_default()
    }
    #[inline(always)]
    fn bytes_mut(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.head as usize..self.end as usize).unwrap_or_default()
    }
    #[inline]
    fn grow_front(&mut self, n: usize) -> bool {
        let fits = n <= self.head as usize;
        self.head -= if fits { n as u32 } else { 0 };
        fits
    }
    fn shrink_front(&mut self, n: usize) -> bool {
        let fits = n <= self.bytes().len();
        self.head += if fits { n as u32 } else { 0 };
        fits
    }
    fn grow_back(&mut self, n: usize) -> bool {
        let fits = n <= ROOM - self.end as usize;
        self.end += if fits { n as u32 } else { 0 };
        fits
    }
    #[inline]
    fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.head + len as u32);
    }
}

/// Where answers of the director come from.
#[derive(Debug)]
pub struct Pool;

impl FramePool for Pool {
    type Frame = Replayed;
    fn allocate(&mut self) -> Option<Replayed> {
        Some(SPARES.with_borrow_mut(|spares| Replayed::fresh(spares, 0)))
    }
}

/// Replays its frames again and again.
#[derive(Debug, Default)]
pub struct Source {
    frames: Vec<[u8; LENGTH]>,
    length: usize,
    next: usize,
    burst: usize,
}

impl Source {
    /// Replays frames of `length` bytes that begin like these from now on, a burst of so many at a time.
    ///
    /// # Panics
    /// If frames are to be shorter than their beginning, or longer than their buffers.
    pub fn replay(&mut self, frames: &[[u8; LENGTH]], length: usize, burst: usize) {
        self.frames.clear();
        self.frames.extend_from_slice(frames);
        self.prepare(length, burst);
    }

    /// The same of so many frames that `fill` writes.
    ///
    /// # Panics
    /// As [`replay`](Self::replay).
    pub fn refill(&mut self, count: usize, length: usize, burst: usize, fill: impl FnMut(&mut [u8; LENGTH])) {
        self.frames.resize(count, [0; LENGTH]);
        self.frames.iter_mut().for_each(fill);
        self.prepare(length, burst);
    }

    fn prepare(&mut self, length: usize, burst: usize) {
        assert!((LENGTH..=ROOM - HEADROOM).contains(&length), "frames of {length} bytes");
        if length != LENGTH {
            self.frames.iter_mut().for_each(|frame| frames::stretch(frame, length));
        }
        (self.length, self.burst, self.next) = (length, burst, 0);
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
                let mut replayed = Replayed::fresh(spares, self.length);
                replayed.buffer[HEADROOM..HEADROOM + LENGTH].copy_from_slice(frame);
                *slot = Some(replayed);
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
                if let Some(mut frame) = slot.take() {
                    frame.put_aside(spares);
                    self.frames += 1;
                }
            }
        });
        burst.consume(count);
        count
    }
}

/// Takes a number of frames from a source and drops them, a burst at a time: what replaying costs without a director.
/// Answers how many there were.
pub fn through(source: &mut Source, frames: usize) -> usize {
    let (mut burst, mut sink) = (Burst::new(), Sink::default());
    let mut count = 0;
    while count < frames {
        let received = source.receive(&mut burst);
        if received == 0 {
            break;
        }
        count += received;
        sink.transmit(&mut burst);
    }
    count
}
