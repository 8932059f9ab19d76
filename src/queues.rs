//! Queues as workers have them: they can be given back while their port is stopped, and somebody may look at what goes
//! through them.

use crate::capture::{Capture, Point};
use crate::trace::{Filter, Trace};
use control::command::{CapturePage, CaptureSpec, TracePage, TraceSpec};
use control::console::trace::decision;
use control::director::trail::step;
use control::packet;
use crossbeam_queue::ArrayQueue;
use dpdk_ffi::mbuf::Mbuf;
use dpdk_ffi::queue::{RxQueue, TxQueue};
use forwarder::pipeline::{DropReason, Sight, Verdict};
use forwarder::worker::{Trail, Watcher};
use packet_io::{Burst, Frame as _};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// What lines about frames are logged as.
pub const TARGET: &str = "packet";

/// Frames that wait to be told of. More than that between two looks are counted only.
const SEEN: usize = 512;
/// Bytes of a frame that are looked at.
const HEAD: usize = 96;

/// A frame that was seen.
#[derive(Debug)]
pub struct Seen {
    /// Where.
    pub port: u16,
    /// It was sent; else it was received.
    pub sent: bool,
    /// Bytes on the wire, without FCS.
    pub length: usize,
    head: [u8; HEAD],
}

impl Seen {
    /// Its first bytes.
    pub fn head(&self) -> &[u8] {
        &self.head[..self.length.min(HEAD)]
    }
}

/// The receive queues and perhaps a transmit queue of a port, for one worker.
pub type Queues = (Vec<RxQueue>, Option<TxQueue>);

/// Who looks at frames, at most of the time nobody. Then a burst costs one look at the level.
#[derive(Debug)]
pub struct Eyes {
    level: AtomicU8,
    seen: ArrayQueue<Seen>,
    /// Made when it is first wanted: it is large.
    decided: OnceLock<ArrayQueue<Trail>>,
    missed: AtomicU64,
    capture: Capture,
    trace: Trace,
    /// Rises when workers have to show something else.
    version: AtomicU64,
    /// The number of the last trail.
    numbers: AtomicU32,
}

/// Bits of the level: what is told of, what is captured, what is told of with what was decided, and that what is
/// dropped is captured.
const TELL: [u8; 2] = [1, 2];
const CAPTURE: [u8; 2] = [4, 8];
const DECIDED: u8 = 16;
const DROPPED: u8 = 32;

impl Eyes {
    /// Closed.
    pub fn new() -> Self {
        Self {
            level: AtomicU8::new(0),
            seen: ArrayQueue::new(SEEN),
            decided: OnceLock::new(),
            missed: AtomicU64::new(0),
            capture: Capture::default(),
            trace: Trace::default(),
            version: AtomicU64::new(0),
            numbers: AtomicU32::new(0),
        }
    }

    /// 0: nothing; 1: what is received; 2: that with what was decided; 3: what is received and what is sent. For 2,
    /// workers must be told ([`version`](Self::version)).
    pub fn set(&self, level: u8) {
        let [receive, send] = TELL;
        let to = match level {
            0 => 0,
            1 => receive,
            2 => DECIDED,
            _ => receive | send,
        };
        self.decided.get_or_init(|| ArrayQueue::new(SEEN));
        self.change(receive | send | DECIDED, to);
        self.version.fetch_add(1, Relaxed);
    }

    /// Another number than before if workers have to show something else ([`watcher`](Self::watcher)).
    pub fn version(&self) -> u64 {
        self.version.load(Relaxed)
    }

    /// Who watches the workers, if somebody wants more than queues can tell.
    pub fn watcher(eyes: &Arc<Self>) -> Option<Arc<dyn Watcher>> {
        let level = eyes.level.load(Relaxed);
        let (filters, tells, drops) = (eyes.trace.filters(), level & DECIDED != 0, level & DROPPED != 0);
        let observer = Observer { eyes: eyes.clone(), filters, tells, drops };
        (observer.wants_trails() || observer.wants_drops()).then(|| Arc::new(observer) as Arc<dyn Watcher>)
    }

    /// Keeps the trails of some packets. Workers must be told ([`version`](Self::version)).
    ///
    /// # Errors
    /// That this is too much.
    pub fn trace(&self, spec: TraceSpec) -> Result<(), String> {
        self.trace.add(spec)?;
        self.version.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Keeps no trails, and forgets them.
    pub fn clear_trace(&self) {
        self.trace.clear();
        self.version.fetch_add(1, Relaxed);
    }

    /// The trails that were kept.
    pub fn traced(&self) -> TracePage {
        self.trace.page()
    }

    /// Sets some bits of the level.
    fn change(&self, mask: u8, to: u8) {
        let _ = self.level.fetch_update(Relaxed, Relaxed, |level| Some(level & !mask | to & mask));
    }

    /// Keeps frames from now on. Workers must be told ([`version`](Self::version)).
    ///
    /// # Errors
    /// What is wrong with what is wanted, or that there is a capture already.
    pub fn start_capture(&self, spec: &CaptureSpec) -> Result<(), &'static str> {
        self.capture.begin(spec)?;
        let [receive, send] = CAPTURE;
        let bit = |wanted: bool, bit: u8| if wanted { bit } else { 0 };
        let wanted = bit(spec.received, receive) | bit(spec.sent, send) | bit(spec.dropped, DROPPED);
        self.change(receive | send | DROPPED, wanted);
        self.version.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Keeps no more frames. Workers must be told ([`version`](Self::version)).
    pub fn stop_capture(&self) {
        self.change(CAPTURE[0] | CAPTURE[1] | DROPPED, 0);
        self.version.fetch_add(1, Relaxed);
        self.capture.end();
    }

    /// What was kept, and forgets it.
    pub fn captured(&self) -> CapturePage {
        if self.capture.is_over() {
            self.stop_capture();
        }
        self.capture.take()
    }

    /// What was seen, and how many frames passed by unseen, since this was last asked.
    fn take(&self) -> (impl Iterator<Item = Seen>, u64) {
        let seen = (0..SEEN).map_while(|_| self.seen.pop());
        (seen, self.missed.swap(0, Relaxed))
    }

    /// Logs a line about each frame that was seen, and ends a capture that nobody asks for.
    pub fn tell(&self) {
        if self.capture.is_over() {
            self.stop_capture();
        }
        if self.trace.collect() {
            self.version.fetch_add(1, Relaxed);
        }
        for trail in (0..SEEN).map_while(|_| self.decided.get()?.pop()) {
            let step = step(&trail, 0);
            let (frame, worker, port) = (&step.frame, step.worker, step.port);
            tracing::info!(target: TARGET, port, worker, "{frame}: {}", decision(&step));
        }
        let (seen, missed) = self.take();
        for frame in seen {
            let way = if frame.sent { "sent" } else { "received" };
            tracing::info!(target: TARGET, port = frame.port, "{way} {}", packet::line(frame.head(), frame.length));
        }
        if missed > 0 {
            tracing::info!(target: TARGET, missed, "frames went by too fast to be told of");
        }
    }

    fn look(&self, received: bool) -> bool {
        let way = usize::from(!received);
        self.level.load(Relaxed) & (TELL[way] | CAPTURE[way]) != 0
    }

    #[cold]
    fn see<'a>(&self, port: u16, sent: bool, frames: impl Iterator<Item = &'a Mbuf>) {
        let (level, way) = (self.level.load(Relaxed), usize::from(sent));
        for frame in frames {
            let bytes = frame.bytes();
            if level & CAPTURE[way] != 0 {
                self.capture.keep(port, if sent { Point::Sent } else { Point::Received }, bytes, bytes.len());
            }
            if level & TELL[way] == 0 {
                continue;
            }
            let mut head = [0; HEAD];
            let shown = bytes.len().min(HEAD);
            head[..shown].copy_from_slice(&bytes[..shown]);
            if self.seen.push(Seen { port, sent, length: bytes.len(), head }).is_err() {
                self.missed.fetch_add(1, Relaxed);
            }
        }
    }
}

/// What workers show single frames to. It tells the [`Eyes`].
#[derive(Debug)]
struct Observer {
    eyes: Arc<Eyes>,
    filters: Vec<Arc<Filter>>,
    tells: bool,
    drops: bool,
}

impl Watcher for Observer {
    fn wants_trails(&self) -> bool {
        self.tells || !self.filters.is_empty()
    }

    fn wants_drops(&self) -> bool {
        self.drops
    }

    fn may_want(&self) -> bool {
        self.tells || self.filters.iter().any(|filter| filter.waits())
    }

    fn wants(&self, sight: &Sight) -> bool {
        self.tells || self.filters.iter().any(|filter| filter.wants(sight))
    }

    fn number(&self) -> u32 {
        self.eyes.numbers.fetch_add(1, Relaxed).wrapping_add(1).max(1)
    }

    fn keep(&self, trail: &Trail) {
        if !self.filters.is_empty() {
            self.eyes.trace.keep(&self.filters, trail);
        }
        // One line for each packet: that of the worker who decides.
        if self.tells
            && !matches!(trail.verdict, Verdict::HandOver(_) | Verdict::Ask(_))
            && let Some(decided) = self.eyes.decided.get()
            && decided.push(*trail).is_err()
        {
            self.eyes.missed.fetch_add(1, Relaxed);
        }
    }

    fn dropped(&self, port: u16, reason: DropReason, bytes: &[u8], length: usize) {
        self.eyes.capture.keep(port, Point::Dropped(reason), bytes, length);
    }
}

/// A queue of a port, or its empty place while the port is stopped.
pub struct Place<Q> {
    port: u16,
    queue: Option<Q>,
    eyes: Arc<Eyes>,
}

impl<Q> Place<Q> {
    /// With a queue of the port.
    pub fn new(port: u16, queue: Q, eyes: &Arc<Eyes>) -> Self {
        Self { port, queue: Some(queue), eyes: eyes.clone() }
    }

    /// Gives the queue back, or takes a new one.
    pub fn replace(&mut self, queue: Option<Q>) -> Option<Q> {
        std::mem::replace(&mut self.queue, queue)
    }
}

impl packet_io::RxQueue for Place<RxQueue> {
    type Frame = Mbuf;

    #[inline]
    fn receive(&mut self, burst: &mut Burst<Mbuf>) -> usize {
        let Some(queue) = &mut self.queue else { return 0 };
        let received = queue.receive(burst);
        if received > 0 && self.eyes.look(true) {
            let from = burst.len() - received;
            self.eyes.see(self.port, false, (from..burst.len()).filter_map(|index| burst.get(index)));
        }
        received
    }

    fn number(&self) -> u16 {
        self.queue.as_ref().map_or(0, RxQueue::queue)
    }
}

impl packet_io::TxQueue for Place<TxQueue> {
    type Frame = Mbuf;

    #[inline]
    fn transmit(&mut self, burst: &mut Burst<Mbuf>) -> usize {
        let Some(queue) = &mut self.queue else { return 0 };
        if self.eyes.look(false) {
            self.eyes.see(self.port, true, (0..burst.len()).filter_map(|index| burst.get(index)));
        }
        queue.transmit(burst)
    }
}
