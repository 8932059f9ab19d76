//! What connects a worker: its queues, and its ends of the rings to the other workers.
//!
//! Between each two workers there is a ring for each direction, with one producer and one consumer, so frames of a flow
//! stay in order and nobody waits for anybody. A ring carries frames that another worker has to decide. Where a port has
//! fewer transmit queues than there are workers, a worker without one has a ring to one that has, for frames that are
//! ready to leave.

use super::egress::{Egress, Leaving, Outlet};
use crate::lines::{self, Own};
use crate::pipeline::{Peers, Share};
use crate::sync::{Consumer, Producer, RingBuffer};
use packet_io::{BURST, Frame, RxQueue, TxQueue};

/// Frames in a ring between two workers: some bursts, so that a worker may be late by as many turns.
const RING: usize = if cfg!(loom) { 2 } else { 16 * BURST };

/// A frame on its way to the worker that decides about it.
#[derive(Debug)]
pub(super) struct Handed<F> {
    pub frame: F,
    /// The port it came from, or will leave by if the kernel sends it.
    pub port: u16,
    /// The kernel sends it; else it was received.
    pub from_kernel: bool,
    /// The number of its trail, or 0.
    pub mark: u32,
}

/// The frames for one other worker.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Outgoing<F> {
    ring: Producer<Handed<F>>,
    /// What goes into the ring at once.
    pending: Vec<Handed<F>>,
}

impl<F> Outgoing<F> {
    fn new(ring: Producer<Handed<F>>) -> Self {
        Self { ring, pending: lines::room(BURST) }
    }

    /// Adds a frame; true if a [`flush`](Self::flush) must follow.
    pub fn push(&mut self, handed: Handed<F>) -> bool {
        self.pending.push(handed);
        self.pending.len() == BURST
    }

    /// Puts what was added into the ring. Answers how many frames were handed over that had been received; those that
    /// found no room go to `refuse`.
    pub fn flush(&mut self, refuse: impl FnMut(Handed<F>)) -> u64 {
        if self.pending.is_empty() {
            return 0;
        }
        let count = self.pending.len().min(self.ring.slots());
        let received = self.pending[..count].iter().filter(|handed| !handed.from_kernel).count();
        if let Ok(chunk) = self.ring.write_chunk_uninit(count) {
            chunk.fill_from_iter(self.pending.drain(..count));
        }
        self.pending.drain(..).for_each(refuse);
        received as u64
    }
}

/// The end of a ring from one other worker.
pub(super) type Intake<F> = Own<Consumer<Handed<F>>>;
/// Ready frames of a worker without a transmit queue, and their port.
pub(super) type Carried<F> = Own<(u16, Consumer<Leaving<F>>)>;

/// A worker's queues and its ends of the rings.
#[derive(Debug)]
pub struct Wiring<R, T, F> {
    pub(super) share: Share,
    /// The receive queues, each with its port.
    pub(super) receive: Vec<(u16, R)>,
    /// By port.
    pub(super) egress: Vec<Egress<F, T>>,
    /// By worker; none for this one.
    pub(super) outgoing: Vec<Option<Outgoing<F>>>,
    /// Of each other worker.
    pub(super) incoming: Vec<Intake<F>>,
    /// Ready frames of workers without a transmit queue, each with its port.
    pub(super) carried: Vec<Carried<F>>,
    /// To talk about persistence.
    pub(super) peers: Peers,
}

/// No worker has a transmit queue of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("port {0} has no transmit queue: configure it with one at least")]
pub struct NoTransmitQueue(pub u16);

impl<R, T, F> Wiring<R, T, F>
where
    R: RxQueue<Frame = F>,
    T: TxQueue<Frame = F>,
    F: Frame,
{
    /// A worker without others, with a pair of queues a port.
    pub fn alone(queues: Vec<(R, T)>) -> Self {
        let (receive, egress) =
            (0..).zip(queues).map(|(port, (rx, tx))| ((port, rx), Egress::new(Outlet::Queue(tx)))).unzip();
        let (outgoing, incoming, carried) = (Vec::new(), Vec::new(), Vec::new());
        Self { share: Share::ALL, receive, egress, outgoing, incoming, carried, peers: Peers::default() }
    }

    /// The workers that these queues are for: the outer vector is by worker, the inner ones by port, alike for all. A
    /// worker without a receive queue of a port gets its frames from others, one without a transmit queue sends through
    /// another.
    ///
    /// # Errors
    /// If a port has no transmit queue at all.
    pub fn among(workers: Vec<Vec<(Vec<R>, Option<T>)>>) -> Result<Vec<Self>, NoTransmitQueue> {
        let count = workers.len();
        let ports = workers.first().map_or(0, Vec::len);
        let owners: Vec<Vec<usize>> =
            (0..ports).map(|port| (0..count).filter(|&worker| workers[worker][port].1.is_some()).collect()).collect();
        if let Some(port) = owners.iter().position(Vec::is_empty) {
            return Err(NoTransmitQueue(port as u16));
        }
        let mut carried: Vec<Vec<Carried<F>>> = (0..count).map(|_| Vec::new()).collect();
        let mut incoming: Vec<Vec<Intake<F>>> = (0..count).map(|_| Vec::new()).collect();
        let mut wirings = Vec::with_capacity(count);
        for (worker, queues) in workers.into_iter().enumerate() {
            let (mut receive, mut egress) = (Vec::new(), Vec::new());
            for (port, (rx, tx)) in queues.into_iter().enumerate() {
                receive.extend(rx.into_iter().map(|rx| (port as u16, rx)));
                let outlet = tx.map_or_else(
                    || {
                        let (to, from) = RingBuffer::new(RING);
                        carried[owners[port][worker % owners[port].len()]].push(Own((port as u16, from)));
                        Outlet::Ring(to)
                    },
                    Outlet::Queue,
                );
                egress.push(Egress::new(outlet));
            }
            let outgoing = (0..count).map(|to| {
                (to != worker).then(|| {
                    let (into, out_of) = RingBuffer::new(RING);
                    incoming[to].push(Own(out_of));
                    Outgoing::new(into)
                })
            });
            let share = Share { worker: worker as u32, of: count as u32 };
            let outgoing = outgoing.collect();
            let (incoming, carried, peers) = (Vec::new(), Vec::new(), Peers::default());
            wirings.push(Self { share, receive, egress, outgoing, incoming, carried, peers });
        }
        let ends = incoming.into_iter().zip(carried).zip(Peers::mesh(count));
        for (wiring, ((incoming, carried), peers)) in wirings.iter_mut().zip(ends) {
            (wiring.incoming, wiring.carried, wiring.peers) = (incoming, carried, peers);
        }
        Ok(wirings)
    }

    /// Which part of all connections belongs to this worker.
    pub fn share(&self) -> Share {
        self.share
    }
}

/// The cache lines that a ring's producer fills. The first and the last one are the allocator's to share: rtrb knows no
/// alignment.
#[cfg(all(test, not(loom)))]
pub(crate) fn slots_written<F>(ring: &mut Producer<F>) -> Vec<usize> {
    let count = ring.slots();
    let mut chunk = ring.write_chunk_uninit(count).expect("so many are free");
    let (first, second) = chunk.as_mut_slices();
    assert!(second.is_empty(), "a fresh ring");
    lines::inside(first).collect()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use packet_io::memory::{MemFrame, MemQueue};
    use std::collections::HashMap;

    /// The lines that a worker writes in what it got from its wiring, turn by turn.
    fn written(wiring: &mut Wiring<MemQueue, MemQueue, MemFrame>) -> Vec<usize> {
        let Wiring { egress, outgoing, incoming, carried, peers, .. } = wiring;
        let mut all: Vec<usize> = lines::of(egress).chain(lines::of(outgoing)).chain(lines::of(incoming)).collect();
        all.extend(lines::of(carried));
        for outgoing in outgoing.iter_mut().flatten() {
            assert!(outgoing.pending.capacity() > BURST);
            outgoing.pending.clear();
            all.extend(lines::of(&outgoing.pending.spare_capacity_mut()[..BURST]));
            all.extend(slots_written(&mut outgoing.ring));
        }
        egress.iter_mut().filter_map(Egress::ring).for_each(|ring| all.extend(slots_written(ring)));
        all.extend(peers.written());
        all
    }

    #[test]
    fn workers_write_no_cache_line_of_each_others() {
        for workers in 2..=5 {
            // Two transmit queues on the second port: the others send through those that have one.
            let queues = |worker| {
                let pair = |tx| (vec![MemQueue::default()], (worker < tx).then(MemQueue::default));
                vec![pair(workers), pair(2)]
            };
            let mut wirings = Wiring::among((0..workers).map(queues).collect()).expect("there are queues");
            let mut writers = HashMap::new();
            for (worker, wiring) in wirings.iter_mut().enumerate() {
                for line in written(wiring) {
                    let first = *writers.entry(line).or_insert(worker);
                    assert_eq!(first, worker, "{first} and {worker} of {workers} write line {line:x}");
                }
            }
            assert!(writers.len() > workers * (workers - 1) * RING * size_of::<Handed<MemFrame>>() / lines::LINE / 2);
        }
    }

    /// Where a ring's two ends stand is written by one of them each: rtrb keeps these two on lines of their own.
    #[test]
    fn a_rings_head_and_tail_are_lines_apart() {
        assert!(align_of::<RingBuffer<u8>>() >= lines::LINE && size_of::<RingBuffer<u8>>() >= 3 * lines::LINE);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::thread;
    use packet_io::memory::{MemFrame, MemPool, MemQueue};

    const FRAMES: u8 = 4;

    /// A worker hands over more than the ring holds while the other takes and leaves: what was handed over arrives in
    /// order, what was refused is refused once, and no frame is lost or freed twice.
    #[test]
    fn frames_are_taken_refused_or_freed_with_the_ring_each_once() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let mut pool = MemPool::new(usize::from(FRAMES));
            let queues = || vec![(vec![MemQueue::default()], Some(MemQueue::default()))];
            let [mut from, mut to] = <[_; 2]>::try_from(Wiring::among(vec![queues(), queues()]).unwrap()).unwrap();
            let frames: Vec<MemFrame> = (0..FRAMES).map(|n| pool.frame(&[n]).unwrap()).collect();
            let taker = thread::spawn(move || {
                let mut taken = Vec::new();
                for _ in 0..2 {
                    let count = to.incoming[0].slots();
                    let chunk = to.incoming[0].read_chunk(count).unwrap();
                    taken.extend(chunk.into_iter().map(|handed: Handed<MemFrame>| handed.frame.bytes()[0]));
                    thread::yield_now();
                }
                taken
            });
            let outgoing = from.outgoing[1].as_mut().unwrap();
            let mut refused = Vec::new();
            let mut handed = 0;
            for frame in frames {
                outgoing.push(Handed { frame, port: 0, from_kernel: false, mark: 0 });
                handed += outgoing.flush(|back| refused.push(back.frame.bytes()[0]));
            }
            let taken = taker.join().unwrap();
            let in_ring = handed as usize - taken.len();
            assert_eq!((handed as usize + refused.len(), pool.in_use()), (usize::from(FRAMES), in_ring));
            assert!(taken.is_sorted() && refused.is_sorted() && !taken.iter().any(|n| refused.contains(n)));
            drop(from);
            assert_eq!(pool.in_use(), 0);
        });
    }
}
