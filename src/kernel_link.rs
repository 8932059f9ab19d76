//! Between workers and the kernel interfaces of the ports: queues in memory, and one thread that makes the system calls
//! which a worker must not make.

use control::kernel::Asker;
use crossbeam_queue::ArrayQueue;
use dpdk_ffi::eal::EalHandle;
use dpdk_ffi::mbuf::Mbuf;
use dpdk_ffi::queue::{RxQueue, TxQueue};
use forwarder::pipeline::Waiting;
use forwarder::worker::{KernelLink, Resolver};
use packet_io::{Burst, RxQueue as _, TxQueue as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Frames of a worker on their way to the kernel, over all ports.
const TO_KERNEL: usize = 1024;
/// Frames on their way from the kernel, each port.
const FROM_KERNEL: usize = 512;
/// Neighbours that a worker asks for.
const ASKED: usize = 64;
/// How long the thread sleeps when there is nothing to carry.
const NAP: Duration = Duration::from_micros(50);

/// What workers and the carrying thread share. No two workers write to the same of it.
#[derive(Debug)]
pub struct Rings {
    /// By worker.
    workers: Vec<Outgoing>,
    /// By port: each port's kernel interface is one worker's.
    from_kernel: Vec<Option<ArrayQueue<Mbuf>>>,
    stop: AtomicBool,
    /// Frames that a kernel interface did not take, or that the worker had no room for.
    pub lost: AtomicU64,
}

/// What a worker has for the kernel.
#[derive(Debug)]
struct Outgoing {
    frames: ArrayQueue<(u16, Mbuf)>,
    asked: ArrayQueue<Waiting>,
}

impl Rings {
    /// Rings of so many workers, for ports of which those marked have a kernel interface.
    pub fn new(workers: usize, interfaces: &[bool]) -> Arc<Self> {
        let outgoing = || Outgoing { frames: ArrayQueue::new(TO_KERNEL), asked: ArrayQueue::new(ASKED) };
        Arc::new(Self {
            workers: (0..workers).map(|_| outgoing()).collect(),
            from_kernel: interfaces.iter().map(|&exists| exists.then(|| ArrayQueue::new(FROM_KERNEL))).collect(),
            stop: AtomicBool::new(false),
            lost: AtomicU64::new(0),
        })
    }

    /// Ends the carrying thread.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }
}

/// The end of the worker of this number.
#[derive(Clone, Debug)]
pub struct Link(pub Arc<Rings>, pub usize);

impl Link {
    fn outgoing(&self) -> Option<&Outgoing> {
        self.0.workers.get(self.1)
    }
}

impl KernelLink for Link {
    type Frame = Mbuf;

    fn exists(&self, port: u16) -> bool {
        self.0.from_kernel.get(usize::from(port)).is_some_and(Option::is_some)
    }

    fn send(&mut self, port: u16, frame: Mbuf) -> Result<(), Mbuf> {
        let Some(outgoing) = self.outgoing() else { return Err(frame) };
        outgoing.frames.push((port, frame)).map_err(|(_, frame)| frame)
    }

    fn receive(&mut self, port: u16, burst: &mut Burst<Mbuf>) -> usize {
        let Some(Some(ring)) = self.0.from_kernel.get(usize::from(port)) else { return 0 };
        // Popping from an empty queue costs a fence; looking does not.
        if ring.is_empty() {
            return 0;
        }
        let before = burst.len();
        while !burst.is_full()
            && let Some(frame) = ring.pop()
        {
            let _ = burst.push(frame);
        }
        burst.len() - before
    }
}

impl Resolver for Link {
    fn resolve(&mut self, waiting: Waiting) {
        // When too many ask, this one asks again with its next packet.
        let _ = self.outgoing().map(|outgoing| outgoing.asked.push(waiting));
    }
}

/// The queues of one port's kernel interface.
#[derive(Debug)]
pub struct Interface {
    /// The port's number.
    pub port: u16,
    /// From the kernel.
    pub rx: RxQueue,
    /// To the kernel.
    pub tx: TxQueue,
}

/// Carries frames and questions until the rings are stopped.
pub fn carry(eal: &EalHandle, rings: &Rings, mut interfaces: Vec<Interface>, asker: Option<&Asker>) {
    let _registered = eal.register_thread().inspect_err(|error| tracing::warn!("{error}"));
    let mut outgoing: Vec<Burst<Mbuf>> = interfaces.iter().map(|_| Burst::new()).collect();
    let mut incoming = Burst::new();
    while !rings.stop.load(Relaxed) {
        let mut carried = 0;
        for worker in &rings.workers {
            for _ in 0..4 * packet_io::BURST {
                let Some((port, frame)) = worker.frames.pop() else { break };
                carried += 1;
                let Some(index) = interfaces.iter().position(|interface| interface.port == port) else { continue };
                if outgoing[index].is_full() {
                    write(&mut interfaces[index], &mut outgoing[index], rings);
                }
                let _ = outgoing[index].push(frame);
            }
        }
        for (interface, burst) in interfaces.iter_mut().zip(&mut outgoing) {
            write(interface, burst, rings);
            carried += interface.rx.receive(&mut incoming);
            if let Some(Some(ring)) = rings.from_kernel.get(usize::from(interface.port)) {
                let lost = incoming.drain().filter_map(|frame| ring.push(frame).err()).count();
                rings.lost.fetch_add(lost as u64, Relaxed);
            }
        }
        for waiting in rings.workers.iter().flat_map(|worker| std::iter::from_fn(|| worker.asked.pop())) {
            if let Some(asker) = asker {
                asker.resolve(waiting.port, waiting.neighbour);
            }
        }
        if carried == 0 {
            std::thread::sleep(NAP);
        }
    }
    for worker in &rings.workers {
        while worker.frames.pop().is_some() {}
    }
    for ring in rings.from_kernel.iter().flatten() {
        while ring.pop().is_some() {}
    }
}

/// Gives a burst to the kernel; what it does not take is lost, as on any full interface.
fn write(interface: &mut Interface, burst: &mut Burst<Mbuf>, rings: &Rings) {
    if !burst.is_empty() {
        interface.tx.transmit(burst);
        rings.lost.fetch_add(burst.len() as u64, Relaxed);
        burst.clear();
    }
}
