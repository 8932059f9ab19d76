//! What waits to leave by one port: at most one burst. What the device does not take at once is offered again in the
//! next turn, and dropped by name only when a full burst finds no room.

use crate::pipeline::DropReason;
use crate::stats::WorkerStats;
use packet_io::{BURST, Burst, Frame, TxQueue};

/// One port's transmit queue and the burst in front of it.
pub(super) struct Egress<F, T> {
    queue: T,
    pending: Burst<F>,
    /// A bit by place in `pending`: not a frame of a connection, so not counted as forwarded.
    own: u32,
}

const _: () = assert!(BURST == u32::BITS as usize);

fn first(n: usize) -> u32 {
    u32::MAX.checked_shr((BURST - n) as u32).unwrap_or(0)
}

impl<F: Frame, T: TxQueue<Frame = F>> Egress<F, T> {
    pub fn new(queue: T) -> Self {
        Self { queue, pending: Burst::new(), own: 0 }
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

    /// Offers the burst to the device.
    #[inline]
    pub fn flush(&mut self, stats: &WorkerStats) {
        if self.pending.is_empty() {
            return;
        }
        let taken = self.queue.transmit(&mut self.pending);
        let own = (self.own & first(taken)).count_ones();
        self.own = self.own.checked_shr(taken as u32).unwrap_or(0);
        stats.forwarded.add(taken as u64 - u64::from(own));
    }

    #[cold]
    fn make_room(&mut self, stats: &WorkerStats) {
        self.flush(stats);
        if self.pending.is_full() {
            let own = self.own.count_ones();
            stats.drops[DropReason::TransmitFull as usize].add(BURST as u64 - u64::from(own));
            stats.own_dropped.add(u64::from(own));
            self.pending.clear();
            self.own = 0;
        }
    }

    /// Frames of connections that wait here.
    pub fn own_pending(&self) -> u64 {
        self.pending.len() as u64 - u64::from(self.own.count_ones())
    }

    pub fn queue(&mut self) -> &mut T {
        &mut self.queue
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use packet_io::memory::{MemFrame, MemQueue};

    #[test]
    fn every_frame_is_forwarded_waiting_or_dropped_by_name() {
        let stats = WorkerStats::new(0);
        let mut egress = Egress::new(MemQueue { room: 40, ..MemQueue::default() });
        for n in 0..100u8 {
            egress.push(MemFrame::new(&[n]), n % 10 == 0, &stats);
        }
        egress.flush(&stats);
        let dropped = stats.drops[DropReason::TransmitFull as usize].get();
        assert_eq!(stats.forwarded.get(), 36, "40 left, 4 of them not of connections");
        assert_eq!(stats.forwarded.get() + dropped + egress.own_pending(), 90);
        assert!(dropped > 0);
        let sent: Vec<_> = egress.queue().frames.iter().map(|frame| frame.bytes()[0]).collect();
        assert!(sent.is_sorted(), "{sent:?}");
    }
}
