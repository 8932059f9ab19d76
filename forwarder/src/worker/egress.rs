//! What waits to leave by one port: at most one burst. What the device does not take at once is offered again in the
//! next turn, and dropped by name only when a full burst finds no room.

use super::watch::Teller;
use crate::pipeline::DropReason;
use crate::stats::WorkerStats;
use crate::sync::Producer;
use packet_io::{BURST, Burst, Frame, TxQueue};

/// One port's transmit queue and the burst in front of it, on cache lines of their worker's own.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Egress<F, T> {
    outlet: Outlet<F, T>,
    pending: Burst<F>,
    /// A bit by place in `pending`: not a frame of a connection, so not counted as forwarded.
    own: u32,
    /// Whom to tell of frames that are dropped here.
    teller: Option<Teller>,
}

/// Where the burst goes.
#[derive(Debug)]
pub(super) enum Outlet<F, T> {
    /// The device.
    Queue(T),
    /// A worker that has a queue of the device.
    Ring(Producer<Leaving<F>>),
}

/// A frame on its way to a worker that has a queue of its port.
#[derive(Debug)]
pub(super) struct Leaving<F> {
    pub frame: F,
    /// Not a frame of a connection.
    pub own: bool,
}

const _: () = assert!(BURST == u32::BITS as usize);

fn first(n: usize) -> u32 {
    u32::MAX.checked_shr((BURST - n) as u32).unwrap_or(0)
}

impl<F: Frame, T: TxQueue<Frame = F>> Egress<F, T> {
    pub fn new(outlet: Outlet<F, T>) -> Self {
        Self { outlet, pending: Burst::new(), own: 0, teller: None }
    }

    #[inline]
    pub fn push(&mut self, frame: F, own: bool, stats: &WorkerStats) {
        if self.pending.is_full() {
            self.make_room(stats);
        }
        if own {
            self.own |= 1 << self.pending.len();
        }
        let pushed = self.pending.push(frame);
        debug_assert!(pushed.is_ok(), "room was made");
    }

    /// Sends a burst of frames of connections; leaves it empty. If nothing waits, the device gets it as it is.
    #[inline]
    pub fn send(&mut self, burst: &mut Burst<F>, stats: &WorkerStats) {
        if let Outlet::Queue(queue) = &mut self.outlet
            && self.pending.is_empty()
        {
            stats.forwarded.add(queue.transmit(burst) as u64);
        }
        if !burst.is_empty() {
            self.push_all(burst, stats);
        }
    }

    #[cold]
    fn push_all(&mut self, burst: &mut Burst<F>, stats: &WorkerStats) {
        for frame in burst.drain() {
            self.push(frame, false, stats);
        }
    }

    /// Offers the burst to the device.
    #[inline]
    pub fn flush(&mut self, stats: &WorkerStats) {
        if self.pending.is_empty() {
            return;
        }
        let (taken, counter) = match &mut self.outlet {
            Outlet::Queue(queue) => (queue.transmit(&mut self.pending), &stats.forwarded),
            Outlet::Ring(ring) => (hand_on(ring, &mut self.pending, self.own), &stats.handed_out),
        };
        let own = (self.own & first(taken)).count_ones();
        self.own = self.own.checked_shr(taken as u32).unwrap_or(0);
        counter.add(taken as u64 - u64::from(own));
    }

    #[cold]
    fn make_room(&mut self, stats: &WorkerStats) {
        self.flush(stats);
        if self.pending.is_full() {
            self.abandon(stats);
        }
    }

    /// Drops what waits here.
    #[cold]
    pub fn abandon(&mut self, stats: &WorkerStats) {
        stats.drops[DropReason::TransmitFull as usize].add(self.own_pending());
        stats.own_dropped.add(u64::from(self.own.count_ones()));
        if let Some(teller) = &self.teller {
            let frames = (0..self.pending.len()).filter(|index| self.own >> index & 1 == 0);
            let frames = frames.filter_map(|index| self.pending.get(index));
            frames.for_each(|frame| teller.tell(DropReason::TransmitFull, frame.bytes()));
        }
        self.pending.clear();
        self.own = 0;
    }

    /// Tells somebody, or nobody, of frames that are dropped here.
    pub fn watch(&mut self, teller: Option<Teller>) {
        self.teller = teller;
    }

    /// Frames of connections that wait here.
    pub fn own_pending(&self) -> u64 {
        self.pending.len() as u64 - u64::from(self.own.count_ones())
    }

    /// The ring to a worker that has a queue of the device, if this one has none.
    #[cfg(all(test, not(loom)))]
    pub fn ring(&mut self) -> Option<&mut Producer<Leaving<F>>> {
        match &mut self.outlet {
            Outlet::Queue(_) => None,
            Outlet::Ring(ring) => Some(ring),
        }
    }

    /// The device's queue, if this worker has one.
    pub fn queue(&mut self) -> Option<&mut T> {
        match &mut self.outlet {
            Outlet::Queue(queue) => Some(queue),
            Outlet::Ring(_) => None,
        }
    }
}

/// Puts as many frames into a ring as find room, as a queue would take them.
#[cold]
fn hand_on<F>(ring: &mut Producer<Leaving<F>>, burst: &mut Burst<F>, own: u32) -> usize {
    let count = burst.len().min(ring.slots());
    if let Ok(chunk) = ring.write_chunk_uninit(count) {
        let frames = burst.slots_mut()[..count].iter_mut().enumerate();
        let leaving = frames.filter_map(|(at, slot)| Some(Leaving { frame: slot.take()?, own: own & 1 << at != 0 }));
        chunk.fill_from_iter(leaving);
    }
    burst.consume(count);
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use packet_io::memory::{MemFrame, MemQueue};

    #[test]
    fn every_frame_is_forwarded_waiting_or_dropped_by_name() {
        let stats = WorkerStats::new(0);
        let mut egress = Egress::new(Outlet::Queue(MemQueue { room: 40, ..MemQueue::default() }));
        for n in 0..100u8 {
            egress.push(MemFrame::new(&[n]), n % 10 == 0, &stats);
        }
        egress.flush(&stats);
        let dropped = stats.drops[DropReason::TransmitFull as usize].get();
        assert_eq!(stats.forwarded.get(), 36, "40 left, 4 of them not of connections");
        assert_eq!(stats.forwarded.get() + dropped + egress.own_pending(), 90);
        assert!(dropped > 0);
        let sent: Vec<_> = egress.queue().unwrap().frames.iter().map(|frame| frame.bytes()[0]).collect();
        assert!(sent.is_sorted(), "{sent:?}");
    }
}
