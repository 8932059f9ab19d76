//! Frames that wait for what another worker answers. They are few and for a short time, some turns of that worker.

use crate::lines;
use packet_io::Frame;

/// Frames that wait, at most.
const CAPACITY: usize = 256;

/// The frames in the order in which they came, each with the number of its question and its port.
pub(super) struct Asking<F>(Vec<(u32, u16, F)>);

impl<F: Frame> Asking<F> {
    pub fn new() -> Self {
        Self(lines::room(CAPACITY))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Keeps a frame; gives it back when too many wait.
    pub fn keep(&mut self, question: u32, port: u16, frame: F) -> Result<(), F> {
        if self.0.len() == CAPACITY {
            return Err(frame);
        }
        self.0.push((question, port, frame));
        Ok(())
    }

    /// Takes out the first frame that waits for this.
    pub fn next(&mut self, question: u32) -> Option<(u16, F)> {
        let index = self.0.iter().position(|waiting| waiting.0 == question)?;
        let (_, port, frame) = self.0.remove(index);
        Some((port, frame))
    }
}
