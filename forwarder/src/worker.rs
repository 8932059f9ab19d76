//! One lcore's loop: receive a burst from each port, run it through the pipeline, take what the kernel sends, let go
//! what has expired, transmit. The loop around [`Worker::turn`], the clock and the queues belong to the daemon.

mod asking;
mod egress;
mod fragments;
mod held;
mod intake;
mod pieces;
mod trail;
mod watch;
mod wiring;

pub use trail::{Came, HEAD, Head, Trail, Watcher};
#[cfg(all(test, not(loom)))]
pub(crate) use wiring::slots_written;
pub use wiring::{NoTransmitQueue, Wiring};

use crate::clock::Tick;
use crate::lines::{self, Own};
use crate::pipeline::{Answers, BURSTS, ConnSlot, DropReason, Pipeline, Turn, Verdict, Waiting};
use crate::police::{Class, Limits, Police};
use crate::publication::Subscription;
use crate::stats::{PORTS, WorkerStats};
use asking::{Asking, Waiter};
use egress::Egress;
use fragments::{Collector, Dropped, PIECES};
use held::{Held, Kept, Outcome};
use packet_io::{BURST, Burst, Frame, FramePool, RxQueue, TableMemory, TxQueue};
use pieces::Way;
use std::sync::Arc;
use watch::{Watch, tell};
use wiring::{Carried, Handed, Intake, Outgoing};

/// Blocks of each flow table that one turn passes in search of expired entries for each of its bursts, at most.
const EXPIRY_BUDGET: usize = 32;

/// The way to the kernel interfaces of the ports, and back.
pub trait KernelLink {
    /// What travels.
    type Frame: Frame;
    /// True if this port has a kernel interface.
    fn exists(&self, port: u16) -> bool;
    /// Hands a frame to a port's kernel interface; gives it back when there is no room.
    ///
    /// # Errors
    /// The frame, if it was not taken.
    fn send(&mut self, port: u16, frame: Self::Frame) -> Result<(), Self::Frame>;
    /// Appends frames that the kernel wants sent out of this port.
    fn receive(&mut self, port: u16, burst: &mut Burst<Self::Frame>) -> usize;
}

/// Who makes the kernel find a neighbour.
pub trait Resolver {
    /// Asks for it; must not block, and may forget when too many ask.
    fn resolve(&mut self, waiting: Waiting);
}

/// One lcore: its queues, tables and counters.
pub struct Worker<R: RxQueue, T, K, N, P, M: TableMemory<ConnSlot>> {
    subscription: Subscription,
    pipeline: Pipeline<M>,
    receive: Vec<(u16, R)>,
    incoming: Vec<Intake<R::Frame>>,
    carried: Vec<Carried<R::Frame>>,
    bursts: [Burst<R::Frame>; BURSTS],
    out: Outlets<R::Frame, T, K, N, P>,
}

/// Where frames go from here.
pub(crate) struct Outlets<F, T, K, N, P> {
    pool: P,
    egress: Vec<Egress<F, T>>,
    outgoing: Vec<Option<Outgoing<F>>>,
    kernel: K,
    resolver: N,
    police: Police,
    held: Held<F>,
    asking: Asking<F>,
    collector: Collector<F>,
    /// What a packet is cut into; empty in between.
    pieces: Vec<F>,
    stats: Arc<WorkerStats>,
    /// Of most of the time nobody.
    watch: Option<Box<Watch<F>>>,
}

impl<F, T, K, N, P> Outlets<F, T, K, N, P>
where
    F: Frame,
    T: TxQueue<Frame = F>,
    K: KernelLink<Frame = F>,
    N: Resolver,
    P: FramePool<Frame = F>,
{
    /// Sends a frame of a connection out of a port.
    #[inline]
    pub fn transmit(&mut self, port: u16, frame: F) {
        match self.egress.get_mut(usize::from(port)) {
            Some(egress) => egress.push(frame, false, &self.stats),
            None => self.drop(port, DropReason::NoRoute, frame),
        }
    }

    /// Sends the frames of a burst by several ports.
    #[cold]
    fn scatter(&mut self, burst: &mut Burst<F>, ports: &[u16; BURST]) {
        for (slot, port) in burst.slots_mut().iter_mut().zip(ports) {
            if let Some(frame) = slot.take() {
                self.transmit(*port, frame);
            }
        }
        burst.consume(burst.len());
    }

    /// Sends a frame that was not received from a port: the director's own or the kernel's.
    pub fn transmit_own(&mut self, port: u16, frame: F) {
        if let Some(egress) = self.egress.get_mut(usize::from(port)) {
            egress.push(frame, true, &self.stats);
        }
    }

    /// Hands a frame to the kernel interface of the port it came from.
    pub fn hand_to_kernel(&mut self, port: u16, frame: F, now: Tick) {
        if !self.kernel.exists(port) {
            return self.drop(port, DropReason::NoKernelInterface, frame);
        }
        let class = Class::of(frame.bytes());
        if !self.police.admit(class, now) {
            self.stats.classes.policed[class as usize].add(1);
            return self.drop(port, DropReason::KernelPoliced, frame);
        }
        match self.kernel.send(port, frame) {
            Ok(()) => {
                self.stats.to_kernel.add(1);
                self.stats.classes.passed[class as usize].add(1);
            }
            Err(frame) => {
                self.stats.classes.refused[class as usize].add(1);
                self.drop(port, DropReason::KernelFull, frame);
            }
        }
    }

    /// Keeps a frame, complete but for its destination MAC address, until that is known.
    pub fn hold(&mut self, waiting: Waiting, frame: F, now: Tick) {
        self.resolver.resolve(waiting);
        if let Err(frame) = self.held.keep(waiting, self.mark(), false, frame, now) {
            self.drop(waiting.port, DropReason::Unresolved, frame);
        }
    }

    /// Gives a frame to another worker.
    #[cold]
    fn hand_over(&mut self, worker: u32, handed: Handed<F>) {
        if !handed.from_kernel {
            self.stats.misdelivered[usize::from(handed.port).min(PORTS - 1)].add(1);
        }
        match self.outgoing.get_mut(worker as usize) {
            Some(Some(outgoing)) => {
                if outgoing.push(handed) {
                    outgoing_flush(outgoing, &self.stats, &self.watch);
                }
            }
            _ => self.drop(handed.port, DropReason::HandoverFull, handed.frame),
        }
    }

    /// Frames that are here and not counted as anything else: they wait for a MAC address, for another worker, for their
    /// other fragments, for room in a queue.
    fn holding(&self) -> u64 {
        let waiting = self.held.len() + self.asking.len() + self.collector.len();
        waiting as u64 + self.egress.iter().map(Egress::own_pending).sum::<u64>()
    }

    /// Counts and releases a frame that came by this port, or would have left by it.
    #[inline]
    pub fn drop(&mut self, port: u16, reason: DropReason, frame: F) {
        self.stats.drops[reason as usize].add(1);
        tell(&self.watch, port, reason, frame.bytes());
        drop(frame);
    }
}

impl<R, T, K, N, P, M> Worker<R, T, K, N, P, M>
where
    R: RxQueue,
    T: TxQueue<Frame = R::Frame>,
    K: KernelLink<Frame = R::Frame>,
    N: Resolver,
    P: FramePool<Frame = R::Frame>,
    M: TableMemory<ConnSlot>,
{
    /// The only worker, on these queues, one pair a port, in the order of the port numbers.
    pub fn new(
        subscription: Subscription,
        pipeline: Pipeline<M>,
        queues: Vec<(R, T)>,
        kernel: K,
        resolver: N,
        pool: P,
        now: Tick,
    ) -> Self {
        Self::wired(subscription, pipeline, Wiring::alone(queues), kernel, resolver, pool, now)
    }

    /// A worker on these queues, perhaps one of several; `pipeline` must be [among](Pipeline::among) them.
    pub fn wired(
        subscription: Subscription,
        mut pipeline: Pipeline<M>,
        wiring: Wiring<R, T, R::Frame>,
        kernel: K,
        resolver: N,
        pool: P,
        now: Tick,
    ) -> Self {
        let stats = pipeline.stats().clone();
        let Wiring { share, receive, egress, outgoing, incoming, carried, peers } = wiring;
        debug_assert_eq!(share, pipeline.share(), "a pipeline and its wiring are of the same worker");
        pipeline.meet(peers);
        let police = Police::new(Limits::default(), now);
        let (held, asking, collector) = (Held::new(), Asking::new(), Collector::new());
        let (pieces, watch) = (lines::room(PIECES), None);
        let out =
            Outlets { pool, egress, outgoing, kernel, resolver, police, held, asking, collector, pieces, stats, watch };
        Self { subscription, pipeline, receive, incoming, carried, bursts: Default::default(), out }
    }

    /// One turn of the loop. Answers how many frames came in, from ports and from other workers.
    pub fn turn(&mut self, now: Tick) -> usize {
        let Self { subscription, pipeline, receive, incoming, carried, bursts, out } = self;
        let snapshot = &**subscription.load();
        let news = pipeline.adopt(snapshot, now);
        if news {
            out.police.adopt(snapshot.exceptions, now);
        }
        let mut received = 0;
        for (port, queue) in receive {
            let together = pipeline.together();
            for _ in 0..BURSTS / together {
                let (mut filled, mut count) = (0, 0);
                for burst in &mut bursts[..together] {
                    count = queue.receive(burst);
                    received += count;
                    filled += usize::from(count > 0);
                    if count < BURST {
                        break;
                    }
                }
                if filled > 0 {
                    let (turn, bursts) = (&Turn { snapshot, now, port: *port }, &mut bursts[..filled]);
                    match out.watch {
                        None => pipeline.run(turn, bursts, out),
                        Some(_) => {
                            bursts.iter_mut().for_each(|burst| out.run_watched(turn, burst, pipeline, queue.number()))
                        }
                    }
                    out.run_collected(turn, pipeline);
                }
                if count < BURST {
                    break;
                }
            }
        }
        let (mut taken, burst) = (0, &mut bursts[0]);
        for ring in incoming {
            for _ in 0..BURSTS {
                let count = out.take_handed_over(ring, burst, &Turn { snapshot, now, port: 0 }, pipeline);
                taken += count;
                if count < BURST {
                    break;
                }
            }
        }
        while let Some(answered) = pipeline.hear(&Turn { snapshot, now, port: 0 }) {
            out.resume(answered, &Turn { snapshot, now, port: 0 }, pipeline);
        }
        out.take_from_kernel(burst, &Turn { snapshot, now, port: 0 }, pipeline);
        out.release_held(snapshot, now, news);
        out.expire_fragments(now);
        for Own((port, ring)) in carried {
            taken += out.carry(*port, ring);
        }
        for egress in &mut out.egress {
            egress.flush(&out.stats);
        }
        for outgoing in out.outgoing.iter_mut().flatten() {
            outgoing_flush(outgoing, &out.stats, &out.watch);
        }
        // Where each burst may make a burst of entries, so many have to go.
        for _ in 0..(received + taken).div_ceil(BURST).max(1) {
            pipeline.expire(snapshot, now, EXPIRY_BUDGET);
        }
        pipeline.survey(snapshot, now);
        let stats = &out.stats;
        stats.received.add(received as u64);
        stats.held.set(out.holding());
        stats.turns.add(1);
        stats.busy_turns.add(u64::from(received + taken > 0));
        received + taken
    }

    /// A turn without frames: the queues are left alone, but connections age and snapshots are taken.
    pub fn rest(&mut self, now: Tick) {
        let Self { subscription, pipeline, out, .. } = self;
        let snapshot = &**subscription.load();
        let news = pipeline.adopt(snapshot, now);
        if news {
            out.police.adopt(snapshot.exceptions, now);
        }
        let turn = Turn { snapshot, now, port: 0 };
        while let Some(answered) = pipeline.hear(&turn) {
            out.resume(answered, &turn, pipeline);
        }
        out.release_held(snapshot, now, news);
        out.expire_fragments(now);
        for egress in &mut out.egress {
            egress.flush(&out.stats);
        }
        pipeline.expire(snapshot, now, EXPIRY_BUDGET);
        out.stats.held.set(out.holding());
        out.stats.turns.add(1);
    }

    /// The pipeline, for questions between turns: listings of connections.
    pub fn pipeline(&mut self) -> &mut Pipeline<M> {
        &mut self.pipeline
    }

    /// Serves these receive queues of a port from now on; answers those that it served. Between turns, and it allocates.
    pub fn replace_receive_queues(&mut self, port: u16, queues: Vec<R>) -> Vec<R> {
        let old = self.receive.extract_if(.., |queue| queue.0 == port).map(|queue| queue.1).collect();
        self.receive.extend(queues.into_iter().map(|queue| (port, queue)));
        self.receive.sort_by_key(|queue| queue.0);
        old
    }

    /// Shows what happens to single frames to somebody from now on, or to nobody. Between turns, and it allocates.
    pub fn watch(&mut self, watcher: Option<Arc<dyn Watcher>>) {
        let worker = self.pipeline.share().worker;
        self.out.watch = watcher.map(|watcher| Box::new(Watch::new(worker, watcher)));
        for (port, egress) in (0..).zip(&mut self.out.egress) {
            egress.watch(self.out.watch.as_ref().and_then(|watch| watch.teller(port)));
        }
    }

    /// Sends what waits to leave by a port; drops by name what does not go at once.
    pub fn abandon(&mut self, port: u16) {
        if let Some(egress) = self.out.egress.get_mut(usize::from(port)) {
            egress.flush(&self.out.stats);
            egress.abandon(&self.out.stats);
        }
    }

    /// The receive side of a port, for tests that put frames there.
    pub fn receive_queue(&mut self, port: u16) -> Option<&mut R> {
        self.receive.iter_mut().find(|queue| queue.0 == port).map(|queue| &mut queue.1)
    }

    /// The transmit queue of a port, if this worker has one.
    pub fn transmit_queue(&mut self, port: u16) -> Option<&mut T> {
        self.out.egress.get_mut(usize::from(port))?.queue()
    }

    /// The way to the kernel, for tests.
    pub fn kernel_link(&mut self) -> &mut K {
        &mut self.out.kernel
    }
}

impl<F, T, K, N, P> Outlets<F, T, K, N, P>
where
    F: Frame,
    T: TxQueue<Frame = F>,
    K: KernelLink<Frame = F>,
    N: Resolver,
    P: FramePool<Frame = F>,
{
    /// A question is answered: the packets that waited for it go on, in order.
    fn resume<M: TableMemory<ConnSlot>>(&mut self, question: u32, turn: &Turn<'_>, pipeline: &mut Pipeline<M>) {
        while let Some(Waiter { port, mark, mut frame, .. }) = self.asking.next(question) {
            let turn = Turn { port, ..*turn };
            if self.watch.is_some() {
                self.run_one_watched(&turn, frame, pipeline, mark);
                continue;
            }
            let verdict = pipeline.run_one(&turn, &mut frame);
            self.finish(&turn, verdict, frame);
        }
        self.run_collected(turn, pipeline);
        pipeline.forget(question);
    }

    /// Sends the held frames whose neighbour has answered, and drops those that waited too long.
    fn release_held(&mut self, snapshot: &crate::service::Snapshot, now: Tick, news: bool) {
        if self.held.is_empty() {
            return;
        }
        let Self { held, egress, stats, watch, .. } = self;
        held.release(&snapshot.routes, now, news, |outcome| match (outcome, &mut *egress) {
            (Outcome::Send(Kept { waiting, mark, own, frame, .. }), egress)
                if usize::from(waiting.port) < egress.len() =>
            {
                if let Some(watch) = watch {
                    watch.let_go(waiting, mark, Verdict::Transmit(waiting.port), &frame);
                }
                egress[usize::from(waiting.port)].push(frame, own, stats);
            }
            (Outcome::Send(Kept { own: true, .. }) | Outcome::Expired(Kept { own: true, .. }), _) => {
                stats.own_dropped.add(1);
            }
            (
                Outcome::Send(Kept { waiting, mark, frame, .. }) | Outcome::Expired(Kept { waiting, mark, frame, .. }),
                _,
            ) => {
                stats.drops[DropReason::Unresolved as usize].add(1);
                if let Some(watch) = watch {
                    watch.let_go(waiting, mark, Verdict::Drop(DropReason::Unresolved), &frame);
                }
                tell(watch, waiting.port, DropReason::Unresolved, frame.bytes());
                drop(frame);
            }
        });
    }
}

impl<F, T, K, N, P> Answers<F> for Outlets<F, T, K, N, P>
where
    F: Frame,
    T: TxQueue<Frame = F>,
    K: KernelLink<Frame = F>,
    N: Resolver,
    P: FramePool<Frame = F>,
{
    #[inline(always)]
    fn forward(&mut self, burst: &mut Burst<F>, ports: &[u16; BURST]) {
        if let Some(watch) = &mut self.watch
            && watch.leave(burst, ports)
        {
            return;
        }
        let first = ports[0];
        // No early exit, so that the compiler can look at several at once.
        let together = ports[..burst.len()].iter().fold(0, |differ, port| differ | (port ^ first)) == 0;
        match self.egress.get_mut(usize::from(first)) {
            Some(egress) if together => egress.send(burst, &self.stats),
            _ => self.scatter(burst, ports),
        }
    }

    #[inline]
    fn consider(&mut self, frame: &F) {
        if let Some(watch) = &mut self.watch {
            watch.remember(frame.bytes());
        }
    }

    fn finish(&mut self, turn: &Turn<'_>, verdict: Verdict, frame: F) {
        match self.watch {
            None => self.dispose(turn, verdict, frame),
            Some(_) => self.finish_watched(turn, verdict, frame),
        }
    }
}

impl<F, T, K, N, P> Outlets<F, T, K, N, P>
where
    F: Frame,
    T: TxQueue<Frame = F>,
    K: KernelLink<Frame = F>,
    N: Resolver,
    P: FramePool<Frame = F>,
{
    /// Does with a frame what the verdict says.
    fn dispose(&mut self, turn: &Turn<'_>, verdict: Verdict, frame: F) {
        match verdict {
            Verdict::Transmit(port) => self.transmit(port, frame),
            Verdict::Split { port, mtu, waiting, .. } => self.split(Way { port, mtu, waiting }, frame, turn.now),
            Verdict::Kernel => self.hand_to_kernel(turn.port, frame, turn.now),
            Verdict::Hold(waiting) => self.hold(waiting, frame, turn.now),
            Verdict::Drop(reason) => self.drop(turn.port, reason, frame),
            Verdict::Collect => {
                let mark = self.mark();
                let Self { collector, stats, watch, .. } = self;
                let dropped = |reason, port, bytes: &[u8]| tell(watch, port, reason, bytes);
                if let Err(Dropped(count, reason)) = collector.add(frame, turn.port, mark, turn.now, dropped) {
                    stats.drops[reason as usize].add(count as u64);
                }
            }
            Verdict::Ask(question) => {
                let waiter = Waiter { question, port: turn.port, mark: self.mark(), frame };
                if let Err(frame) = self.asking.keep(waiter) {
                    self.drop(turn.port, DropReason::HandoverFull, frame);
                }
            }
            Verdict::HandOver(worker) => {
                self.hand_over(worker, Handed { frame, port: turn.port, from_kernel: false, mark: self.mark() });
            }
            Verdict::Answer(port, reason) => {
                self.stats.drops[reason as usize].add(1);
                self.stats.answered.add(1);
                self.transmit_own(port, frame);
            }
        }
    }
}

/// Puts frames for another worker into its ring, and drops by name those that find no room.
fn outgoing_flush<F: Frame>(outgoing: &mut Outgoing<F>, stats: &WorkerStats, watch: &Option<Box<Watch<F>>>) {
    let handed = outgoing.flush(|refused| {
        if refused.from_kernel {
            return stats.own_dropped.add(1);
        }
        stats.drops[DropReason::HandoverFull as usize].add(1);
        tell(watch, refused.port, DropReason::HandoverFull, refused.frame.bytes());
    });
    stats.handed_out.add(handed);
}
