//! A second loop over a burst, for as long as somebody watches: it takes packets one by one through the same pipeline, as
//! bursts of one, and keeps for each what was found and decided. What becomes of them is the same as in the first loop,
//! which knows nothing of all this but whether there is a watcher.
//!
//! Where only dropped frames are wanted, bursts stay whole, and each frame that is no ordinary packet is kept as it came
//! until it is decided.

use super::trail::{Came, Head, Trail, Watcher};
use super::{KernelLink, Outlets, Resolver};
use crate::parse::{Kind, parse};
use crate::pipeline::{Answers, ConnSlot, DropReason, NO_PORT, Pipeline, Sight, Turn, Verdict, Waiting};
use crate::stats::WorkerStats;
use packet_io::{BURST, Burst, Frame, FramePool, TableMemory, TxQueue};
use std::slice::from_mut;
use std::sync::Arc;

/// Bytes of a frame that are kept as it came.
const ORIGINAL: usize = 2048;

/// A worker's watcher, and the packet in work.
pub(super) struct Watch<F> {
    worker: u32,
    watcher: Arc<dyn Watcher>,
    trails: bool,
    drops: bool,
    current: Option<Trail>,
    /// The number of its trail, also when that was kept before the packet was done with; else 0.
    mark: u32,
    /// What the counters said when it came.
    before: [u64; 3],
    original: Box<[u8; ORIGINAL]>,
    /// Bytes of the frame that is in `original`, as far as it has room.
    length: usize,
    /// The frame in work is in `original`.
    remembered: bool,
    /// If packets come one by one.
    leaving: Option<Leaving<F>>,
}

impl<F: Frame> Watch<F> {
    pub fn new(worker: u32, watcher: Arc<dyn Watcher>) -> Self {
        let (trails, drops) = (watcher.wants_trails(), watcher.wants_drops());
        let original = Box::new([0; ORIGINAL]);
        Self {
            worker,
            watcher,
            trails,
            drops,
            current: None,
            mark: 0,
            before: [0; 3],
            original,
            length: 0,
            remembered: false,
            leaving: None,
        }
    }

    /// A packet comes up. `follows` is the number of the trail that leads to it, or 0.
    pub fn begin<M: TableMemory<ConnSlot>>(
        &mut self,
        pipeline: &Pipeline<M>,
        turn: &Turn<'_>,
        frame: &impl Frame,
        came: Came,
        follows: u32,
    ) {
        (self.current, self.mark, self.remembered) = (None, 0, false);
        if !self.trails || follows == 0 && !self.watcher.may_want() {
            return;
        }
        let sight = pipeline.sight(turn, frame.bytes(), frame.checksums());
        if follows != 0 || self.watcher.wants(&sight) {
            let place = (self.worker, turn.port);
            self.mark = self.watcher.number();
            self.current = Some(Trail::begin(self.mark, follows, place, came, sight, frame));
            self.before = counts(pipeline.stats());
        }
    }

    /// The number of the packet's trail, for who goes on with it elsewhere; 0 if it has none.
    pub fn mark(&self) -> u32 {
        self.mark
    }

    /// What was decided about the packet, and what it looks like now.
    pub fn decided(&mut self, verdict: Verdict, bytes: &[u8]) {
        let Some(trail) = &mut self.current else { return };
        trail.verdict = verdict;
        trail.after = Head::of(bytes);
        if !matches!(verdict, Verdict::HandOver(_)) {
            return;
        }
        if trail.sight.parsed.kind == Kind::Fragment && trail.follows == 0 {
            // Only who collects its datagram's fragments knows whether it is the first.
            self.mark = 0;
        } else {
            // Now: the other worker's part must not be known before.
            self.watcher.keep(trail);
        }
        self.current = None;
    }

    /// The packet is done with.
    pub fn end<M: TableMemory<ConnSlot>>(&mut self, pipeline: &Pipeline<M>, turn: &Turn<'_>) {
        self.mark = 0;
        let Some(mut trail) = self.current.take() else { return };
        let mut rose = counts(pipeline.stats()).into_iter().zip(self.before).map(|(now, before)| now != before);
        [trail.made, trail.pushed_out, trail.no_room] = std::array::from_fn(|_| rose.next().unwrap_or_default());
        trail.connection = pipeline.sight_after(turn, &trail.sight);
        let went = !matches!(trail.verdict, Verdict::Drop(_) | Verdict::Ask(_));
        if went && trail.sight.found.is_none() && trail.sight.offer.is_some_and(|offer| offer.one_packet) {
            trail.one_packet_server = pipeline.one_packet_server(turn, &trail.sight.parsed);
        }
        trail.find_neighbour(turn);
        self.watcher.keep(&trail);
    }

    /// A packet that was held goes, or nobody answered. `follows` is the number of the trail that led here, or 0.
    #[cold]
    pub fn let_go(&self, waiting: Waiting, follows: u32, verdict: Verdict, frame: &F) {
        if follows == 0 || !self.trails {
            return;
        }
        let sight = Sight::of(parse(frame.bytes(), frame.checksums()));
        let place = (self.worker, waiting.port);
        let mut trail = Trail::begin(self.watcher.number(), follows, place, Came::Held, sight, frame);
        (trail.verdict, trail.neighbour) = (verdict, Some(waiting.neighbour));
        self.watcher.keep(&trail);
    }

    /// Keeps a frame as it came.
    #[cold]
    #[inline(never)]
    pub fn remember(&mut self, frame: &[u8]) {
        self.remembered = true;
        if self.drops {
            let kept = frame.len().min(ORIGINAL);
            self.original[..kept].copy_from_slice(&frame[..kept]);
            self.length = frame.len();
        }
    }

    /// The frame that was [remembered](Self::remember) last is dropped.
    fn tell_remembered(&self, port: u16, reason: DropReason) {
        if self.drops {
            self.watcher.dropped(port, reason, &self.original[..self.length.min(ORIGINAL)], self.length);
        }
    }

    fn any_is_wanted<M: TableMemory<ConnSlot>>(
        &self,
        pipeline: &Pipeline<M>,
        turn: &Turn<'_>,
        burst: &Burst<F>,
    ) -> bool {
        let mut frames = (0..burst.len()).filter_map(|index| burst.get(index));
        self.trails
            && self.watcher.may_want()
            && frames.any(|frame| self.watcher.wants(&pipeline.sight(turn, frame.bytes(), frame.checksums())))
    }

    /// Notes by which port the frame in work leaves. True if it is kept until its burst is through.
    #[cold]
    pub fn leave(&mut self, burst: &mut Burst<F>, ports: &[u16; BURST]) -> bool {
        let Self { leaving: Some(leaving), current, .. } = self else { return false };
        let count = burst.len();
        for (slot, port) in burst.slots_mut().iter_mut().zip(ports) {
            let Some(frame) = slot.take() else { continue };
            if let Some(trail) = current {
                (trail.verdict, trail.after) = (Verdict::Transmit(*port), Head::of(frame.bytes()));
            }
            leaving.ports[leaving.frames.len() % BURST] = *port;
            // It was in a burst, so a burst has room for it.
            let _ = leaving.frames.push(frame);
        }
        burst.consume(count);
        true
    }

    /// What a watcher is told by others than the worker itself.
    pub fn teller(&self, port: u16) -> Option<Teller> {
        self.drops.then(|| Teller { port, watcher: self.watcher.clone() })
    }
}

/// Tells of frames that are dropped at a port.
#[derive(Clone, Debug)]
pub(super) struct Teller {
    port: u16,
    watcher: Arc<dyn Watcher>,
}

impl Teller {
    #[cold]
    pub fn tell(&self, reason: DropReason, frame: &[u8]) {
        self.watcher.dropped(self.port, reason, frame, frame.len());
    }
}

/// Tells of a frame that is dropped, if somebody wants to know.
#[inline]
pub(super) fn tell<F: Frame>(watch: &Option<Box<Watch<F>>>, port: u16, reason: DropReason, frame: &[u8]) {
    if let Some(watch) = watch
        && watch.drops
    {
        watch.watcher.dropped(port, reason, frame, frame.len());
    }
}

fn counts(stats: &WorkerStats) -> [u64; 3] {
    [&stats.created, &stats.evicted, &stats.insert_failures].map(crate::stats::Counter::get)
}

/// The names by which a frame may be dropped when what was decided about it is done.
fn may_end_in(verdict: Verdict) -> &'static [DropReason] {
    use DropReason::*;
    match verdict {
        Verdict::Transmit(_) => &[NoRoute],
        Verdict::Split { .. } => &[NoBuffer, NoRoute, Unresolved],
        Verdict::Collect => &[ShortTransport, FragmentLimit, FragmentDuplicate, FragmentOverlap],
        Verdict::Kernel => &[NoKernelInterface, KernelPoliced, KernelFull],
        Verdict::Hold(_) => &[Unresolved],
        Verdict::Ask(_) => &[HandoverFull],
        Verdict::HandOver(_) | Verdict::Drop(_) | Verdict::Answer(..) => &[],
    }
}

/// The frames of a burst that leave, as the first loop would give them to their ports: together, when all are decided.
pub(super) struct Leaving<F> {
    frames: Burst<F>,
    ports: [u16; BURST],
}

impl<F, T, K, N, P> Outlets<F, T, K, N, P>
where
    F: Frame,
    T: TxQueue<Frame = F>,
    K: KernelLink<Frame = F>,
    N: Resolver,
    P: FramePool<Frame = F>,
{
    /// Runs a burst while there is a watcher; leaves it empty.
    #[cold]
    #[inline(never)]
    pub(super) fn run_watched<M: TableMemory<ConnSlot>>(
        &mut self,
        turn: &Turn<'_>,
        burst: &mut Burst<F>,
        pipeline: &mut Pipeline<M>,
        queue: u16,
    ) {
        let Some(watch) = &mut self.watch else { return };
        watch.remembered = false;
        if !watch.any_is_wanted(pipeline, turn, burst) {
            return pipeline.run(turn, from_mut(burst), self);
        }
        let mut single = Burst::new();
        self.one_by_one(|out| {
            for frame in burst.drain() {
                out.begin(pipeline, turn, &frame, Came::Received(queue), 0);
                let _ = single.push(frame);
                pipeline.run(turn, from_mut(&mut single), out);
                out.end(pipeline, turn);
            }
        });
    }

    /// Runs a burst that another worker handed over while there is a watcher; leaves it empty. `marks` are the numbers of
    /// the trails that led here.
    #[cold]
    #[inline(never)]
    pub(super) fn run_handed_over_watched<M: TableMemory<ConnSlot>>(
        &mut self,
        turn: &Turn<'_>,
        burst: &mut Burst<F>,
        marks: &[u32; BURST],
        pipeline: &mut Pipeline<M>,
    ) {
        let mut single = Burst::new();
        self.one_by_one(|out| {
            for (frame, mark) in burst.drain().zip(marks) {
                out.begin(pipeline, turn, &frame, Came::HandedOver, *mark);
                let _ = single.push(frame);
                pipeline.run_handed_over(turn, &mut single, out);
                out.end(pipeline, turn);
            }
        });
    }

    /// Sends what leaves meanwhile when all packets of a burst are through.
    fn one_by_one(&mut self, run: impl FnOnce(&mut Self)) {
        let leaving = |out: &mut Self, leaving| {
            out.watch.as_mut().and_then(|watch| std::mem::replace(&mut watch.leaving, leaving))
        };
        leaving(self, Some(Leaving { frames: Burst::new(), ports: [NO_PORT; BURST] }));
        run(self);
        if let Some(Leaving { mut frames, ports }) = leaving(self, None) {
            self.forward(&mut frames, &ports);
        }
    }

    pub(super) fn begin<M: TableMemory<ConnSlot>>(
        &mut self,
        pipeline: &Pipeline<M>,
        turn: &Turn<'_>,
        frame: &impl Frame,
        came: Came,
        follows: u32,
    ) {
        let Self { watch: Some(watch), collector, .. } = self else { return };
        let follows = if follows == 0 { collector.trail_of(frame) } else { follows };
        watch.begin(pipeline, turn, frame, came, follows);
    }

    pub(super) fn end<M: TableMemory<ConnSlot>>(&mut self, pipeline: &Pipeline<M>, turn: &Turn<'_>) {
        if let Some(watch) = &mut self.watch {
            watch.end(pipeline, turn);
        }
    }

    /// The number of the trail of the packet in work; 0 if it has none.
    pub(super) fn mark(&self) -> u32 {
        self.watch.as_ref().map_or(0, |watch| watch.mark())
    }

    /// One packet that does not come in a burst: decides and finishes it.
    #[cold]
    #[inline(never)]
    pub(super) fn run_one_watched<M: TableMemory<ConnSlot>>(
        &mut self,
        turn: &Turn<'_>,
        mut frame: F,
        pipeline: &mut Pipeline<M>,
        follows: u32,
    ) {
        self.begin(pipeline, turn, &frame, Came::Answered, follows);
        self.consider(&frame);
        let verdict = pipeline.run_one(turn, &mut frame);
        self.finish(turn, verdict, frame);
        self.end(pipeline, turn);
    }

    /// Does what was decided, and tells of it.
    #[cold]
    #[inline(never)]
    pub(super) fn finish_watched(&mut self, turn: &Turn<'_>, verdict: Verdict, frame: F) {
        if let Some(watch) = &mut self.watch {
            watch.decided(verdict, frame.bytes());
            match verdict {
                Verdict::Drop(reason) if watch.remembered => {
                    watch.tell_remembered(turn.port, reason);
                    return self.stats.drops[reason as usize].add(1);
                }
                Verdict::Answer(_, reason) if watch.remembered => watch.tell_remembered(turn.port, reason),
                _ => {}
            }
        }
        let reasons = may_end_in(verdict);
        let count = |stats: &WorkerStats, reason: DropReason| stats.drops[reason as usize].get();
        let before: [u64; 4] = std::array::from_fn(|index| reasons.get(index).map_or(0, |of| count(&self.stats, *of)));
        self.dispose(turn, verdict, frame);
        let stats = &self.stats;
        let rose = reasons.iter().zip(before).find(|(reason, before)| count(stats, **reason) != *before);
        if let Some(trail) = self.watch.as_mut().and_then(|watch| watch.current.as_mut()) {
            trail.dropped = rose.map(|(reason, _)| *reason);
        }
    }
}
