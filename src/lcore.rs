//! What runs on a worker's lcore: turns of its loop, and between them questions about its connections.

use crate::clock::Clock;
use crate::kernel_link::Link;
use crate::queues::Place;
use crossbeam_queue::ArrayQueue;
use dpdk_ffi::memory::TableMemory;
use dpdk_ffi::mempool::Mempool;
use dpdk_ffi::queue::{RxQueue, TxQueue};
use forwarder::clock::Tick;
use forwarder::pipeline::{ConnSlot, ConnView, Flushed, Listing, Which};
use forwarder::service::Snapshot;
use forwarder::stats::WorkerStats;
use forwarder::worker::Watcher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

/// A worker on DPDK.
pub type Worker = forwarder::worker::Worker<Place<RxQueue>, Place<TxQueue>, Link, Link, Mempool, TableMemory<ConnSlot>>;

/// What a worker is asked for between turns.
pub enum Request {
    /// An answer.
    List(Question),
    /// Connections are to go.
    Flush(Flush),
    /// To show single frames to somebody, or to nobody; an answer when it does.
    Watch(Option<Arc<dyn Watcher>>, SyncSender<()>),
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

/// Connections and templates to be taken away, a piece after each turn.
pub struct Flush {
    /// Which.
    pub which: Arc<Which>,
    /// Where their destinations are.
    pub snapshot: Arc<Snapshot>,
    /// Where to go on.
    pub place: Listing,
    /// Pieces until it is answered, at most.
    pub pieces: u32,
    /// What went so far.
    pub flushed: Flushed,
    /// Where it goes when it is done, or passes from connections to templates.
    pub answer: SyncSender<(Flushed, Listing)>,
}

impl Flush {
    /// Does a piece; what is left to do.
    #[cold]
    fn advance(mut self, worker: &mut Worker, now: Tick) -> Option<Self> {
        let before = self.place;
        let next = worker.pipeline().flush(&self.snapshot, now, &self.which, before, &mut self.flushed);
        (self.place, self.pieces) = (next, self.pieces.saturating_sub(1));
        let passed = matches!((before, next), (Listing::Start | Listing::Conns(_), Listing::Templates(_)));
        if passed || next == Listing::End || self.pieces == 0 {
            // Whoever asked may have given up.
            let _ = self.answer.try_send((self.flushed, next));
            return None;
        }
        Some(self)
    }
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

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(2);
/// No worker makes so many turns.
const NEVER: u64 = u64::MAX;

/// A worker does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silent;

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
    /// What it counts.
    stats: Arc<WorkerStats>,
    /// The turns that it had made when somebody waited for it in vain.
    stuck_at: AtomicU64,
}

impl Shared {
    /// Of a worker that counts here, and answers from this snapshot.
    pub fn new(stats: Arc<WorkerStats>, snapshot: Box<dyn Fn() -> Arc<Snapshot> + Send + Sync>) -> Self {
        let (stop, rest) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { stop, rest, requests: ArrayQueue::new(4), snapshot, stats, stuck_at: AtomicU64::new(NEVER) }
    }

    /// Asks it, between two of its turns, and waits for the answer: two seconds at most, and not at all if it was waited
    /// for in vain and has not moved since.
    pub fn ask<T>(&self, request: impl FnOnce(SyncSender<T>) -> Request) -> Result<T, Silent> {
        self.ask_within(ANSWER, request)
    }

    fn ask_within<T>(&self, time: Duration, request: impl FnOnce(SyncSender<T>) -> Request) -> Result<T, Silent> {
        if self.stuck_at.load(Relaxed) == self.stats.turns.get() {
            return Err(Silent);
        }
        let (answer, answered) = sync_channel(1);
        self.requests.push(request(answer)).map_err(|_| Silent)?;
        answered.recv_timeout(time).map_err(|_| {
            self.stuck_at.store(self.stats.turns.get(), Relaxed);
            Silent
        })
    }
}

/// Turns the loop until it is told to stop.
pub fn run(mut worker: Worker, clock: Clock, idle: Idle, shared: &Shared) {
    let mut clock = clock.follow();
    let stats = worker.pipeline().stats().clone();
    let mut empty = 0u32;
    let mut flush = None;
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
            if flush.is_none() {
                std::thread::sleep(REST);
            }
        } else {
            frames = worker.turn(now);
            empty = if frames > 0 { 0 } else { empty.saturating_add(1) };
        }
        // Popping from an empty queue costs a fence; looking does not.
        if !shared.requests.is_empty()
            && flush.is_none()
            && let Some(request) = shared.requests.pop()
        {
            flush = answer(&mut worker, request, shared, now);
        } else if flush.is_some() {
            // After a turn, in which it heard which connections of others left its templates.
            flush = flush.take().and_then(|flush: Flush| flush.advance(&mut worker, now));
            empty = 0;
        }
        if idle == Idle::Pause && empty > PATIENCE {
            std::thread::sleep(PAUSE);
        }
    }
}

/// Whoever asked may have given up. What takes longer is answered.
#[cold]
fn answer(worker: &mut Worker, request: Request, shared: &Shared, now: Tick) -> Option<Flush> {
    match request {
        Request::Flush(flush) => return Some(flush),
        Request::List(Question { from, limit, mut room, answer }) => {
            let next = worker.pipeline().list(&(shared.snapshot)(), now, from, limit, |view| room.push(view));
            let _ = answer.try_send((room, next));
        }
        Request::Watch(watcher, answer) => {
            worker.watch(watcher);
            let _ = answer.try_send(());
        }
        Request::Replace { port, rx, tx, answer } => {
            if tx.is_none() {
                worker.abandon(port);
            }
            let old = worker.replace_receive_queues(port, rx);
            let _ = answer.try_send((old, worker.transmit_queue(port).and_then(|place| place.replace(tx))));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_move_is_waited_for_once() {
        let stats = Arc::new(WorkerStats::new(0));
        let shared = Shared::new(stats.clone(), Box::new(Arc::default));
        let ask = || shared.ask_within(Duration::from_millis(1), |answer| Request::Watch(None, answer));
        assert_eq!((ask(), shared.requests.len()), (Err(Silent), 1));
        // Nothing more is put where it would find it.
        assert_eq!((ask(), ask(), shared.requests.len()), (Err(Silent), Err(Silent), 1));
        stats.turns.add(1);
        assert_eq!((ask(), shared.requests.len()), (Err(Silent), 2));
        // It moves and answers.
        stats.turns.add(1);
        let answered = shared.ask(|answer| {
            answer.send(()).expect("somebody waits");
            Request::Watch(None, answer)
        });
        assert_eq!(answered, Ok(()));
    }
}
