//! What threads share: counters, the pointer to the snapshot, the rings between workers. Real ones, or, under
//! `--cfg loom` (`make loom`), models of the same interface that loom can take through every order of events.

#[cfg(not(loom))]
mod real {
    pub use arc_swap::{ArcSwap, Cache};
    pub use rtrb::{Consumer, Producer, RingBuffer};
    pub use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
}
#[cfg(not(loom))]
pub(crate) use real::*;

#[cfg(loom)]
mod model;
#[cfg(loom)]
pub(crate) use model::*;
