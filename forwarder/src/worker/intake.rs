//! What comes in from elsewhere than a port: from other workers, and from the kernel.

use super::egress::Leaving;
use super::wiring::Handed;
use super::{Came, KernelLink, Outlets, Resolver};
use crate::pipeline::{ConnSlot, Pipeline, Share, Turn, Verdict};
use crate::sync::Consumer;
use packet_io::{BURST, Burst, Frame, FramePool, TableMemory, TxQueue};

impl<F, T, K, N, P> Outlets<F, T, K, N, P>
where
    F: Frame,
    T: TxQueue<Frame = F>,
    K: KernelLink<Frame = F>,
    N: Resolver,
    P: FramePool<Frame = F>,
{
    /// Runs what one other worker handed over, a burst at most.
    pub(super) fn take_handed_over<M: TableMemory<ConnSlot>>(
        &mut self,
        ring: &mut Consumer<Handed<F>>,
        burst: &mut Burst<F>,
        turn: &Turn<'_>,
        pipeline: &mut Pipeline<M>,
    ) -> usize {
        let count = ring.slots().min(BURST);
        let Ok(chunk) = ring.read_chunk(count) else { return 0 };
        if count == 0 {
            return 0;
        }
        let mut turn = *turn;
        let mut of_kernel = 0;
        let mut marks = [0; BURST];
        for Handed { frame, port, from_kernel, mark } in chunk {
            if from_kernel {
                of_kernel += 1;
                self.send_for_kernel(frame, &Turn { port, ..turn }, pipeline, mark);
                continue;
            }
            // A burst is of one port.
            if port != turn.port && !burst.is_empty() {
                self.run_handed_over(&turn, burst, &marks, pipeline);
            }
            turn.port = port;
            marks[burst.len() % BURST] = mark;
            let _ = burst.push(frame);
        }
        if !burst.is_empty() {
            self.run_handed_over(&turn, burst, &marks, pipeline);
        }
        self.run_collected(&turn, pipeline);
        self.stats.handed_in.add((count - of_kernel) as u64);
        count
    }

    #[inline]
    fn run_handed_over<M: TableMemory<ConnSlot>>(
        &mut self,
        turn: &Turn<'_>,
        burst: &mut Burst<F>,
        marks: &[u32; BURST],
        pipeline: &mut Pipeline<M>,
    ) {
        match self.watch {
            None => pipeline.run_handed_over(turn, burst, self),
            Some(_) => self.run_handed_over_watched(turn, burst, marks, pipeline),
        }
    }

    /// Sends ready frames of a worker without a queue of this port, a burst at most.
    pub(super) fn carry(&mut self, port: u16, ring: &mut Consumer<Leaving<F>>) -> usize {
        let count = ring.slots().min(BURST);
        let (Ok(chunk), Some(egress)) = (ring.read_chunk(count), self.egress.get_mut(usize::from(port))) else {
            return 0;
        };
        for Leaving { frame, own } in chunk {
            self.stats.handed_in.add(u64::from(!own));
            egress.push(frame, own, &self.stats);
        }
        count
    }

    /// What the kernel sends leaves by its port, unless it is the director's own answer as a real server. Each port's
    /// kernel interface is one worker's.
    pub(super) fn take_from_kernel<M: TableMemory<ConnSlot>>(
        &mut self,
        burst: &mut Burst<F>,
        turn: &Turn<'_>,
        pipeline: &mut Pipeline<M>,
    ) {
        let Share { worker, of } = pipeline.share();
        for port in (0..self.egress.len() as u16).skip(worker as usize).step_by(of as usize) {
            if self.kernel.receive(port, burst) == 0 {
                continue;
            }
            for frame in burst.drain() {
                self.stats.from_kernel.add(1);
                match pipeline.owner_of_kernel_frame(turn, &frame) {
                    Some(owner) => self.hand_over(owner, Handed { frame, port, from_kernel: true, mark: 0 }),
                    None => self.send_for_kernel(frame, &Turn { port, ..*turn }, pipeline, 0),
                }
            }
        }
    }

    /// `follows` is the number of the trail that led here, or 0.
    fn send_for_kernel<M: TableMemory<ConnSlot>>(
        &mut self,
        frame: F,
        turn: &Turn<'_>,
        pipeline: &mut Pipeline<M>,
        follows: u32,
    ) {
        self.begin(pipeline, turn, &frame, Came::FromKernel, follows);
        if let Some(frame) = pipeline.from_kernel(turn, frame) {
            if let Some(watch) = &mut self.watch {
                watch.decided(Verdict::Transmit(turn.port), frame.bytes());
            }
            self.transmit_own(turn.port, frame);
        }
        self.end(pipeline, turn);
    }
}
