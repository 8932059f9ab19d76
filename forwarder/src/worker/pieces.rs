//! Packets in several frames: those that came in fragments and go through the pipeline as one, and those that leave in
//! fragments.

use super::watch::tell;
use super::{Came, KernelLink, Outlets, Resolver, fragments};
use crate::clock::Tick;
use crate::pipeline::{Answers, ConnSlot, DropReason, Pipeline, Turn, Verdict, Waiting};
use crate::rewrite::fragment;
use crate::wire::ethernet;
use packet_io::{Frame, FramePool, TableMemory, TxQueue};

/// Where the fragments of a packet go.
#[derive(Clone, Copy)]
pub(super) struct Way {
    pub port: u16,
    /// Bytes of the longest fragment.
    pub mtu: u16,
    pub waiting: Option<Waiting>,
}

impl<F, T, K, N, P> Outlets<F, T, K, N, P>
where
    F: Frame,
    T: TxQueue<Frame = F>,
    K: KernelLink<Frame = F>,
    N: Resolver,
    P: FramePool<Frame = F>,
{
    /// Packets whose last fragment has come go through the pipeline as one, and leave in fragments again.
    #[inline]
    pub(super) fn run_collected<M: TableMemory<ConnSlot>>(&mut self, turn: &Turn<'_>, pipeline: &mut Pipeline<M>) {
        while let Some((ready, longest)) = self.collector.next() {
            let turn = Turn { port: ready.port, ..*turn };
            let count = ready.len();
            let Self { collector, watch, .. } = self;
            if let Some(watch) = watch {
                watch.begin(pipeline, &turn, &collector.whole, Came::Whole(count as u16), ready.mark);
            }
            let verdict = match longest {
                0 => Verdict::Drop(DropReason::FragmentLimit),
                _ => pipeline.run_one(&turn, &mut collector.whole),
            };
            if let Some(watch) = watch {
                watch.decided(verdict, collector.whole.bytes());
            }
            let mut dropped = None;
            match verdict {
                Verdict::Kernel if self.collector.whole.addresses() == ready.addresses() => {
                    self.finish_pieces(&turn, verdict, ready);
                    self.end(pipeline, &turn);
                    continue;
                }
                Verdict::HandOver(_) | Verdict::Ask(_) => {
                    self.finish_pieces(&turn, verdict, ready);
                    self.end(pipeline, &turn);
                    continue;
                }
                // It was translated for the director's own kernel.
                Verdict::Kernel => self.hand_whole_to_kernel(&turn, longest, count),
                Verdict::Transmit(port) => {
                    self.send_whole(Way { port, mtu: longest, waiting: None }, count, turn.now);
                }
                Verdict::Split { port, mtu, waiting, .. } => {
                    self.send_whole(Way { port, mtu: mtu.min(longest), waiting }, count, turn.now);
                }
                Verdict::Hold(waiting) => {
                    let way = Way { port: waiting.port, mtu: longest, waiting: Some(waiting) };
                    self.send_whole(way, count, turn.now);
                }
                Verdict::Drop(reason) => dropped = Some(reason),
                Verdict::Answer(port, reason) => {
                    dropped = Some(reason);
                    self.answer_whole(port);
                }
                Verdict::Collect => dropped = Some(DropReason::FragmentOverlap),
            }
            self.end(pipeline, &turn);
            let Self { collector, stats, watch, .. } = self;
            if let Some(reason) = dropped {
                stats.drops[reason as usize].add(count as u64);
            }
            collector.finish(ready, |port, piece| {
                if let Some(reason) = dropped {
                    tell(watch, port, reason, piece.bytes());
                }
            });
        }
    }

    /// What is to be done with the whole is done with each piece.
    fn finish_pieces(&mut self, turn: &Turn<'_>, verdict: Verdict, ready: fragments::Ready<F>) {
        let mut pieces = Vec::with_capacity(ready.len());
        self.collector.finish(ready, |port, piece| pieces.push((port, piece)));
        for (port, piece) in pieces {
            self.finish(&Turn { port, ..*turn }, verdict, piece);
        }
    }

    /// Sends the packet that was put together from `count` fragments, in fragments again.
    fn send_whole(&mut self, way: Way, count: usize, now: Tick) {
        let Self { pool, collector, pieces, .. } = self;
        if cut(collector.whole.bytes(), way.mtu, pool, pieces) {
            return self.send_pieces(way, count, now);
        }
        tell(&self.watch, way.port, DropReason::NoBuffer, self.collector.whole.bytes());
        self.stats.drops[DropReason::NoBuffer as usize].add(count as u64);
    }

    /// Hands the packet that was put together from `count` fragments to the kernel, in fragments of at most `mtu` bytes.
    fn hand_whole_to_kernel(&mut self, turn: &Turn<'_>, mtu: u16, count: usize) {
        let Self { pool, collector, pieces, .. } = self;
        if !cut(collector.whole.bytes(), mtu, pool, pieces) {
            tell(&self.watch, turn.port, DropReason::NoBuffer, self.collector.whole.bytes());
            return self.stats.drops[DropReason::NoBuffer as usize].add(count as u64);
        }
        let mut pieces = std::mem::take(&mut self.pieces);
        // Cut anew they are as many as came or fewer; all that came went to the kernel.
        self.stats.to_kernel.add(count.saturating_sub(pieces.len()) as u64);
        pieces.drain(..).for_each(|piece| self.hand_to_kernel(turn.port, piece, turn.now));
        self.pieces = pieces;
    }

    /// Sends what the packet that was put together was turned into: an answer to its sender.
    fn answer_whole(&mut self, port: u16) {
        let bytes = self.collector.whole.bytes();
        if let Some(mut frame) = self.pool.allocate()
            && frame.grow_back(bytes.len())
        {
            frame.bytes_mut().copy_from_slice(bytes);
            self.stats.answered.add(1);
            self.transmit_own(port, frame);
        }
    }

    pub(super) fn expire_fragments(&mut self, now: Tick) {
        let Self { collector, watch, .. } = self;
        let expired = collector.expire(now, |reason, port, bytes| tell(watch, port, reason, bytes));
        if expired > 0 {
            self.stats.drops[DropReason::FragmentTimeout as usize].add(expired as u64);
        }
    }

    /// Sends a frame in fragments; the first counts as the forwarded frame.
    pub(super) fn split(&mut self, way: Way, frame: F, now: Tick) {
        let Self { pool, pieces, .. } = self;
        match cut(frame.bytes(), way.mtu, pool, pieces) {
            true => self.send_pieces(way, 1, now),
            false => self.drop(way.port, DropReason::NoBuffer, frame),
        }
    }

    /// Sends the pieces that a packet was cut into, or keeps them until their neighbour is known. The identity of the
    /// counters holds for what came: `count` frames were forwarded, however many leave.
    fn send_pieces(&mut self, way: Way, count: usize, now: Tick) {
        let Self { egress, held, stats, resolver, watch, pieces, .. } = self;
        if let Some(waiting) = way.waiting {
            resolver.resolve(waiting);
        }
        stats.forwarded.add(count.saturating_sub(pieces.len()) as u64);
        for (index, piece) in pieces.drain(..).enumerate() {
            let own = index >= count;
            match (way.waiting, egress.get_mut(usize::from(way.port))) {
                (None, Some(egress)) => egress.push(piece, own, stats),
                (waiting, _) => {
                    let (reason, refused) = match waiting {
                        Some(waiting) => (DropReason::Unresolved, held.keep(waiting, 0, own, piece, now)),
                        None => (DropReason::NoRoute, Err(piece)),
                    };
                    match refused {
                        Ok(()) => {}
                        Err(_) if own => stats.own_dropped.add(1),
                        Err(piece) => {
                            tell(watch, way.port, reason, piece.bytes());
                            stats.drops[reason as usize].add(1);
                        }
                    }
                }
            }
        }
    }
}

/// Cuts a packet into pieces, or into none if there are not enough frames for all.
fn cut<P: FramePool>(bytes: &[u8], mtu: u16, pool: &mut P, pieces: &mut Vec<P::Frame>) -> bool {
    let whole = ethernet::payload(bytes)
        .is_some_and(|(_, l3)| fragment::split(bytes, l3, mtu, pool, |piece| pieces.push(piece)));
    if !whole {
        pieces.clear();
    }
    whole
}
