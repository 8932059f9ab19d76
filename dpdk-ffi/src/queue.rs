//! Receive and transmit queues: one call of DPDK a burst.

use crate::Mbuf;
use crate::mbuf::{ONE, raw_slots};
use crate::port::Shared;
use dpdk_sys as sys;
use packet_io::Burst;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// A receive queue of a started port. There is at most one value for each queue; dropping it gives the queue back.
#[derive(Debug)]
pub struct RxQueue {
    port: u16,
    queue: u16,
    shared: Arc<Shared>,
}

/// A transmit queue of a started port. There is at most one value for each queue; dropping it gives the queue back.
#[derive(Debug)]
pub struct TxQueue {
    port: u16,
    queue: u16,
    shared: Arc<Shared>,
}

impl RxQueue {
    /// The caller has marked the queue as taken.
    pub(crate) fn new(port: u16, queue: u16, shared: Arc<Shared>) -> Self {
        Self { port, queue, shared }
    }

    /// Its port's number.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its number.
    #[must_use]
    pub fn queue(&self) -> u16 {
        self.queue
    }

    /// Drops what is no [`Mbuf`] out of freshly received frames and closes the gaps; answers how many are left.
    #[cold]
    fn refuse(&self, slots: &mut [Option<Mbuf>]) -> usize {
        let mut kept = 0;
        for index in 0..slots.len() {
            if slots[index].as_ref().is_some_and(|frame| frame.shape() == ONE) {
                slots.swap(kept, index);
                kept += 1;
            } else {
                slots[index] = None;
            }
        }
        self.shared.refused.fetch_add((slots.len() - kept) as u64, Relaxed);
        kept
    }
}

impl packet_io::RxQueue for RxQueue {
    type Frame = Mbuf;

    /// Also asks for each frame's first cache line. A frame in several segments (longer than the pool's data room) is
    /// released and counted in [`crate::Port::refused`].
    #[inline]
    fn receive(&mut self, burst: &mut Burst<Mbuf>) -> usize {
        let most = usize::from(self.shared.burst.load(Relaxed));
        let spare = burst.spare_mut();
        let room = spare.len().min(most);
        let spare = &mut spare[..room];
        debug_assert!(spare.iter().all(Option::is_none), "a frame in a slot that is not in use would be lost");
        // SAFETY: DPDK writes at most `spare.len()` pointers to frames that we own from then on; the queue exists and its
        // port is started as long as this value lives, and `&mut self` makes us its only user. Needed because DPDK is C.
        let received =
            unsafe { sys::shim_rx_burst(self.port, self.queue, raw_slots(spare), spare.len() as u16) } as usize;
        let fresh = &mut spare[..received];
        let mut shapes = ONE;
        for frame in fresh.iter().flatten() {
            shapes |= frame.shape();
            frame.prefetch();
        }
        let received = if shapes == ONE { received } else { self.refuse(fresh) };
        burst.commit(received);
        received
    }
}

impl Drop for RxQueue {
    fn drop(&mut self) {
        self.shared.give_back_rx(self.queue);
    }
}

impl TxQueue {
    /// The caller has marked the queue as taken.
    pub(crate) fn new(port: u16, queue: u16, shared: Arc<Shared>) -> Self {
        Self { port, queue, shared }
    }

    /// Its port's number.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its number.
    #[must_use]
    pub fn queue(&self) -> u16 {
        self.queue
    }
}

/// Moves the empty slots to the front, the frames behind them in their order, and consumes the empty ones.
#[cold]
fn close_gaps(burst: &mut Burst<Mbuf>) {
    let slots = burst.slots_mut();
    let mut first = slots.len();
    for index in (0..slots.len()).rev() {
        if slots[index].is_some() {
            first -= 1;
            slots.swap(first, index);
        }
    }
    burst.consume(first);
}

impl packet_io::TxQueue for TxQueue {
    type Frame = Mbuf;

    /// Slots whose frame was taken out are skipped and not counted.
    #[inline]
    fn transmit(&mut self, burst: &mut Burst<Mbuf>) -> usize {
        // No early exit, so that the compiler can look at several slots at once.
        if burst.slots_mut().iter().fold(false, |gap, slot| gap | slot.is_none()) {
            close_gaps(burst);
        }
        let slots = burst.slots_mut();
        // SAFETY: the slots are pointers to `slots.len()` frames that we own. DPDK owns the first `sent` of them
        // afterwards, and we forget those before anything else. The queue exists and its port is started as long as
        // this value lives, and `&mut self` makes us its only user. Needed because DPDK is C.
        let sent = unsafe { sys::shim_tx_burst(self.port, self.queue, raw_slots(slots), slots.len() as u16) } as usize;
        slots[..sent].iter_mut().for_each(|slot| std::mem::forget(slot.take()));
        burst.consume(sent);
        sent
    }
}

impl Drop for TxQueue {
    fn drop(&mut self) {
        self.shared.give_back_tx(self.queue);
    }
}
