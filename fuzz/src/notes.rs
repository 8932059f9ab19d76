//! Who watches workers in a play: counts what it is told.

use forwarder::pipeline::{DropReason, Sight};
use forwarder::worker::{Trail, Watcher};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// See the module.
#[derive(Debug)]
pub(crate) struct Notes {
    /// Frames that were dropped, by reason.
    dropped: [AtomicU64; DropReason::COUNT],
    numbers: AtomicU32,
}

impl Default for Notes {
    fn default() -> Self {
        Self { dropped: std::array::from_fn(|_| AtomicU64::new(0)), numbers: AtomicU32::new(0) }
    }
}

impl Notes {
    /// The frames that it was told of, by reason, as in [`DropReason::ALL`].
    pub fn told(&self) -> impl Iterator<Item = u64> {
        DropReason::ALL.iter().map(|reason| self.dropped[*reason as usize].load(Relaxed))
    }
}

impl Watcher for Notes {
    fn wants_trails(&self) -> bool {
        true
    }
    fn wants_drops(&self) -> bool {
        true
    }
    fn may_want(&self) -> bool {
        true
    }
    /// Of every second source port.
    fn wants(&self, sight: &Sight) -> bool {
        sight.parsed.source_port().is_multiple_of(2)
    }
    fn number(&self) -> u32 {
        self.numbers.fetch_add(1, Relaxed) + 1
    }
    fn keep(&self, trail: &Trail) {
        let _ = control::director::trail::step(trail, 0);
    }
    fn dropped(&self, _: u16, reason: DropReason, bytes: &[u8], length: usize) {
        assert!(bytes.len() <= length);
        self.dropped[reason as usize].fetch_add(1, Relaxed);
    }
}
