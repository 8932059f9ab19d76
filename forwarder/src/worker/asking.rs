//! Frames that wait for what another worker answers. They are few and for a short time, some turns of that worker.

use crate::lines;
use packet_io::Frame;

/// Frames that wait, at most.
const CAPACITY: usize = 256;

/// A frame that waits.
pub(super) struct Waiter<F> {
    /// The number of its question.
    pub question: u32,
    /// The port that it came by.
    pub port: u16,
    /// The number of its trail, or 0.
    pub mark: u32,
    pub frame: F,
}

/// The frames in the order in which they came.
pub(super) struct Asking<F>(Vec<Waiter<F>>);

impl<F: Frame> Asking<F> {
    pub fn new() -> Self {
        Self(lines::room(CAPACITY))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Keeps a frame; gives it back when too many wait.
    pub fn keep(&mut self, waiter: Waiter<F>) -> Result<(), F> {
        if self.0.len() == CAPACITY {
            return Err(waiter.frame);
        }
        self.0.push(waiter);
        Ok(())
    }

    /// Takes out the first frame that waits for this.
    pub fn next(&mut self, question: u32) -> Option<Waiter<F>> {
        let index = self.0.iter().position(|waiter| waiter.question == question)?;
        Some(self.0.remove(index))
    }
}
