//! What runs on a worker's lcore: turns of its loop, and between them questions about its connections.

use crate::clock::Clock;
use crate::kernel_link::Link;
use crate::queues::Place;
use crossbeam_queue::ArrayQueue;
use dpdk_ffi::memory::TableMemory;
use dpdk_ffi::mempool::Mempool;
use dpdk_ffi::queue::{RxQueue, TxQueue};
use forwarder::clock::Tick;
use forwarder::pipeline::{ConnSlot, ConnView, Listing};
use forwarder::service::Snapshot;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

/// A worker on DPDK.
pub type Worker = forwarder::worker::Worker<Place<RxQueue>, Place<TxQueue>, Link, Link, Mempool, TableMemory<ConnSlot>>;

/// What a worker is asked for between turns.
pub enum Request {
    /// An answer.
    List(Question),
    /// Its queues of a port, for others or for none.
    Replace {
        /// The port.
        port: u16,
        /// What it gets to receive from.
        rx: Vec<Place<RxQueue>>,
        /// What it gets to send by.
        tx: Option<TxQueue>,
        /// Where those go that it had.
        answer: SyncSender<(Vec<Place<RxQueue>>, Option<TxQueue>)>,
    },
}

/// A question: what lives in the next slots of the tables?
pub struct Question {
    /// Where to go on.
    pub from: Listing,
    /// Slots to look at.
    pub limit: usize,
    /// Empty, with room for as many answers, so that the lcore need not allocate.
    pub room: Vec<ConnView>,
    /// Where the answer goes.
    pub answer: SyncSender<(Vec<ConnView>, Listing)>,
}

/// What the lcore does while its queues are empty: the option's words for [`control::config::Idle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Idle {
    /// Looks again at once: the least delay, and all of one CPU.
    Poll,
    /// Sleeps for some microseconds when the queues stay empty.
    Pause,
}

impl From<control::config::Idle> for Idle {
    fn from(idle: control::config::Idle) -> Self {
        match idle {
            control::config::Idle::Poll => Self::Poll,
            control::config::Idle::Pause => Self::Pause,
        }
    }
}

/// Turns without a frame before a pause.
const PATIENCE: u32 = 1_000;
/// How long a pause is.
const PAUSE: Duration = Duration::from_micros(20);

/// How long a turn without forwarding sleeps.
const REST: Duration = Duration::from_millis(1);

/// What an lcore and those who direct it share.
pub struct Shared {
    /// Ends the loop.
    pub stop: AtomicBool,
    /// Leaves the queues alone.
    pub rest: AtomicBool,
    /// Questions, and what else is asked for.
    pub requests: ArrayQueue<Request>,
    /// The snapshot that answers refer to.
    pub snapshot: Box<dyn Fn() -> Arc<Snapshot> + Send + Sync>,
}

/// Turns the loop until it is told to stop.
pub fn run(mut worker: Worker, clock: Clock, idle: Idle, shared: &Shared) {
    let mut clock = clock.follow();
    let stats = worker.pipeline().stats().clone();
    let mut empty = 0u32;
    let _ = clock.now();
    // A turn's end is the next one's beginning, so one look at the counter a turn is enough.
    let (mut began, mut frames) = (clock.cycles(), 0);
    while !shared.stop.load(Relaxed) {
        let now = clock.now();
        stats.took(frames, clock.cycles().wrapping_sub(began));
        began = clock.cycles();
        frames = 0;
        if shared.rest.load(Relaxed) {
            worker.rest(now);
            std::thread::sleep(REST);
        } else {
            frames = worker.turn(now);
            empty = if frames > 0 { 0 } else { empty.saturating_add(1) };
        }
        // Popping from an empty queue costs a fence; looking does not.
        if !shared.requests.is_empty()
            && let Some(request) = shared.requests.pop()
        {
            answer(&mut worker, request, shared, now);
        }
        if idle == Idle::Pause && empty > PATIENCE {
            std::thread::sleep(PAUSE);
        }
    }
}

/// Whoever asked may have given up.
#[cold]
fn answer(worker: &mut Worker, request: Request, shared: &Shared, now: Tick) {
    match request {
        Request::List(Question { from, limit, mut room, answer }) => {
            let next = worker.pipeline().list(&(shared.snapshot)(), now, from, limit, |view| room.push(view));
            let _ = answer.try_send((room, next));
        }
        Request::Replace { port, rx, tx, answer } => {
            if tx.is_none() {
                worker.abandon(port);
            }
            let old = worker.replace_receive_queues(port, rx);
            let _ = answer.try_send((old, worker.transmit_queue(port).and_then(|place| place.replace(tx))));
        }
    }
}
