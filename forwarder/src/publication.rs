//! How a snapshot reaches the workers: one pointer, swapped once for each change.
//!
//! A worker looks at the pointer once a burst (one load; nothing is written unless it changed). The publisher waits
//! until every worker has taken the new snapshot, so a worker skips no version unless it was given up, and keeps the old one
//! until then, so that its memory is freed here and never on an lcore.

use crate::service::Snapshot;
use crate::stats::WorkerStats;
use arc_swap::{ArcSwap, Cache};
use std::sync::Arc;

/// The publisher's end; there is one.
#[derive(Debug)]
pub struct Publisher {
    current: Arc<ArcSwap<Snapshot>>,
    workers: Vec<Arc<WorkerStats>>,
}

/// A worker's end.
#[derive(Debug)]
pub struct Subscription {
    cache: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
}

/// A worker did not take a snapshot in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stalled {
    /// Which worker.
    pub worker: usize,
}

impl Publisher {
    /// A publisher with a first snapshot, and the counters in which each worker says which version it uses.
    #[must_use]
    pub fn new(first: Snapshot, workers: Vec<Arc<WorkerStats>>) -> Self {
        Self { current: Arc::new(ArcSwap::from_pointee(first)), workers }
    }

    /// A worker's end.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        Subscription { cache: Cache::new(self.current.clone()) }
    }

    /// The published snapshot.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// A way to the published snapshot for a thread that asks rarely.
    #[must_use]
    pub fn reader(&self) -> Box<dyn Fn() -> Arc<Snapshot> + Send + Sync> {
        let current = self.current.clone();
        Box::new(move || current.load_full())
    }

    /// Publishes `next`, whose version must be one more than the current one, and waits until every worker uses it.
    /// `pause` is called between looks and answers false when the wait has been too long.
    ///
    /// # Errors
    /// [`Stalled`] if a worker did not take it: the snapshot is published all the same, and the old one is kept alive
    /// by the worker that still uses it.
    pub fn publish(&self, next: Snapshot, mut pause: impl FnMut() -> bool) -> Result<(), Stalled> {
        let version = next.version;
        let old = self.current.swap(Arc::new(next));
        for (worker, stats) in self.workers.iter().enumerate() {
            while stats.snapshot.get() < version {
                if !pause() {
                    return Err(Stalled { worker });
                }
            }
        }
        drop(old);
        Ok(())
    }
}

impl Subscription {
    /// The snapshot to use for this burst.
    #[inline]
    pub fn load(&mut self) -> &Arc<Snapshot> {
        self.cache.load()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn no_worker_skips_a_version_and_retired_snapshots_are_freed() {
        const VERSIONS: u64 = 2_000;
        let stats: Vec<_> = (0..2).map(|_| Arc::new(WorkerStats::new(0))).collect();
        let publisher = Publisher::new(Snapshot::default(), stats.clone());
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for stats in &stats {
                let (mut subscription, stop) = (publisher.subscribe(), &stop);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let version = subscription.load().version;
                        let seen = stats.snapshot.get();
                        assert!(version == seen || version == seen + 1, "skipped from {seen} to {version}");
                        stats.snapshot.add(version - seen);
                        std::thread::yield_now();
                    }
                });
            }
            let mut first = None;
            for version in 1..=VERSIONS {
                let yielding = || {
                    std::thread::yield_now();
                    true
                };
                publisher.publish(Snapshot { version, ..Snapshot::default() }, yielding).unwrap();
                first.get_or_insert_with(|| Arc::downgrade(&publisher.current()));
            }
            assert!(first.unwrap().upgrade().is_none(), "an old snapshot is still alive");
            stop.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_stalled_worker_is_named() {
        let stats: Vec<_> = (0..3).map(|_| Arc::new(WorkerStats::new(0))).collect();
        stats[0].snapshot.add(1);
        stats[2].snapshot.add(1);
        let publisher = Publisher::new(Snapshot::default(), stats);
        let next = Snapshot { version: 1, ..Snapshot::default() };
        assert_eq!(publisher.publish(next, || false), Err(Stalled { worker: 1 }));
        assert_eq!(publisher.current().version, 1);
    }
}
