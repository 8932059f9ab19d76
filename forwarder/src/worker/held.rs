//! Frames that wait for a neighbour's MAC address. They are few and for a short time: a bounded number in all and for
//! each neighbour, so that one dead server does not take the room of the others.

use crate::clock::{TICKS_PER_SECOND, Tick};
use crate::lines;
use crate::pipeline::Waiting;
use crate::route::Routes;
use packet_io::Frame;

/// Frames that wait, at most.
const CAPACITY: usize = 256;
/// Frames that wait for one neighbour, at most.
const EACH: usize = 16;
/// How long a frame waits: as long as the kernel tries (three solicitations, a second apart).
const PATIENCE: u32 = 3 * TICKS_PER_SECOND;

pub(super) struct Held<F> {
    frames: Vec<Kept<F>>,
    looked: Tick,
}

/// A held frame.
pub(super) struct Kept<F> {
    pub waiting: Waiting,
    since: Tick,
    /// The number of its trail, or 0.
    pub mark: u32,
    /// It is more than what came, because a packet was cut: not counted as held, forwarded or dropped.
    pub own: bool,
    pub frame: F,
}

/// What became of a held frame.
pub(super) enum Outcome<F> {
    /// It has its MAC address and leaves.
    Send(Kept<F>),
    /// Nobody answered.
    Expired(Kept<F>),
}

impl<F: Frame> Held<F> {
    pub fn new() -> Self {
        Self { frames: lines::room(CAPACITY), looked: Tick::default() }
    }

    /// Frames that came and wait.
    pub fn len(&self) -> usize {
        self.frames.iter().filter(|kept| !kept.own).count()
    }

    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Keeps a frame, with the number of its trail or 0; gives it back when too many wait. `own` is one that did not come.
    pub fn keep(&mut self, waiting: Waiting, mark: u32, own: bool, frame: F, now: Tick) -> Result<(), F> {
        let same = self.frames.iter().filter(|held| held.waiting == waiting).count();
        if self.frames.len() == CAPACITY || same >= EACH {
            return Err(frame);
        }
        self.frames.push(Kept { waiting, since: now, mark, own, frame });
        Ok(())
    }

    /// Looks through the frames, once a tick or when there are news: those whose neighbour is known now get its MAC
    /// address and go, in order; those that waited too long go too.
    pub fn release(&mut self, routes: &Routes, now: Tick, news: bool, mut done: impl FnMut(Outcome<F>)) {
        if !news && now == self.looked {
            return;
        }
        self.looked = now;
        let mac_of = |waiting: &Waiting| {
            routes.neighbour(waiting.port, waiting.neighbour).and_then(|id| routes.link(id)).and_then(|link| link.mac)
        };
        let over = |held: &mut Kept<F>| mac_of(&held.waiting).is_some() || now.since(held.since) > PATIENCE;
        for mut held in self.frames.extract_if(.., over) {
            match (mac_of(&held.waiting), held.frame.bytes_mut().first_chunk_mut()) {
                (Some(mac), Some(destination)) => {
                    *destination = mac;
                    done(Outcome::Send(held));
                }
                _ => done(Outcome::Expired(held)),
            }
        }
    }
}
