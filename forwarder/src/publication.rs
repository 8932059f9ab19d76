//! How a snapshot reaches the workers: one pointer, swapped once for each change.
//!
//! A worker looks at the pointer once a burst (one load; nothing is written unless it changed). The publisher waits
//! until every worker has taken the new snapshot, so a worker skips no version unless it was given up, and keeps the old one
//! until then, so that its memory is freed here and never on an lcore.

use crate::service::Snapshot;
use crate::stats::WorkerStats;
use crate::sync::{ArcSwap, Cache};
use std::sync::Arc;

/// What can be published: it knows which version it is.
pub trait Versioned {
    /// One more than that of the one before.
    fn version(&self) -> u64;
}

impl Versioned for Snapshot {
    fn version(&self) -> u64 {
        self.version
    }
}

/// The publisher's end; there is one.
#[derive(Debug)]
pub struct Publisher<T = Snapshot> {
    current: Arc<ArcSwap<T>>,
    workers: Vec<Arc<WorkerStats>>,
}

/// A worker's end.
#[derive(Debug)]
pub struct Subscription<T = Snapshot> {
    cache: Cache<Arc<ArcSwap<T>>, Arc<T>>,
}

/// A worker did not take a snapshot in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stalled {
    /// Which worker.
    pub worker: usize,
}

impl<T: Versioned> Publisher<T> {
    /// A publisher with a first snapshot, and the counters in which each worker says which version it uses.
    #[must_use]
    pub fn new(first: T, workers: Vec<Arc<WorkerStats>>) -> Self {
        Self { current: Arc::new(ArcSwap::from_pointee(first)), workers }
    }

    /// A worker's end.
    #[must_use]
    pub fn subscribe(&self) -> Subscription<T> {
        Subscription { cache: Cache::new(self.current.clone()) }
    }

    /// The published snapshot.
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// Publishes `next`, whose version must be one more than the current one, and waits until every worker uses it.
    /// `pause` is called between looks and answers false when the wait has been too long. A worker that has not even taken
    /// the current one, for which somebody must have waited in vain, gets one more look only.
    ///
    /// # Errors
    /// [`Stalled`] if a worker did not take it, the first of them: the snapshot is published all the same, and the old one is
    /// kept alive by the worker that still uses it.
    pub fn publish(&self, next: T, mut pause: impl FnMut() -> bool) -> Result<(), Stalled> {
        let version = next.version();
        let old = self.current.swap(Arc::new(next));
        let mut stalled = None;
        for (worker, stats) in self.workers.iter().enumerate() {
            let is_late = || stats.snapshot.get() < version;
            let given_up = stats.snapshot.get() < old.version();
            while is_late() && pause() && !given_up {}
            if is_late() {
                stalled.get_or_insert(Stalled { worker });
            }
        }
        stalled.map_or(Ok(()), Err)
    }
}

impl Publisher {
    /// A way to the published snapshot for a thread that asks rarely.
    #[must_use]
    pub fn reader(&self) -> Box<dyn Fn() -> Arc<Snapshot> + Send + Sync> {
        let current = self.current.clone();
        Box::new(move || current.load_full())
    }
}

impl<T> Subscription<T> {
    /// The snapshot to use for this burst.
    #[inline]
    pub fn load(&mut self) -> &Arc<T> {
        self.cache.load()
    }
}

#[cfg(all(test, not(loom)))]
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
                        stats.snapshot.set(version);
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
        stats[0].snapshot.set(1);
        stats[2].snapshot.set(1);
        let publisher = Publisher::new(Snapshot::default(), stats);
        let next = Snapshot { version: 1, ..Snapshot::default() };
        assert_eq!(publisher.publish(next, || false), Err(Stalled { worker: 1 }));
        assert_eq!(publisher.current().version, 1);
    }

    #[test]
    fn who_was_waited_for_in_vain_is_waited_for_again_when_it_moved() {
        let stats: Vec<_> = (0..2).map(|_| Arc::new(WorkerStats::new(0))).collect();
        let publisher = Publisher::new(Snapshot::default(), stats.clone());
        // The second worker takes everything at once; the first one moves again after the second publication.
        let mut looks = [0; 4];
        let published = [1, 2, 3, 4].map(|version| {
            publisher.publish(Snapshot { version, ..Snapshot::default() }, || {
                let looks = &mut looks[version as usize - 1];
                *looks += 1;
                stats[1].snapshot.set(version);
                if version == 3 {
                    stats[0].snapshot.set(version);
                }
                *looks < 100
            })
        });
        assert_eq!(
            published,
            [Err(Stalled { worker: 0 }), Err(Stalled { worker: 0 }), Ok(()), Err(Stalled { worker: 0 })]
        );
        assert_eq!(looks, [100, 1, 1, 100]);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::cell::Cell;
    use loom::thread;

    /// What a worker reads without any other protection, and what is written when it is freed.
    struct Content {
        version: u64,
        cell: Cell<u64>,
        publisher: thread::ThreadId,
    }

    impl Content {
        fn new(version: u64) -> Self {
            Self { version, cell: Cell::new(version), publisher: thread::current().id() }
        }
    }

    impl Versioned for Content {
        fn version(&self) -> u64 {
            self.version
        }
    }

    impl Drop for Content {
        fn drop(&mut self) {
            assert_eq!(thread::current().id(), self.publisher, "freed by a worker");
            assert_eq!(self.cell.replace(u64::MAX), self.version, "freed twice");
        }
    }

    /// Workers that turn until they have seen `versions` of them; the publisher publishes as many.
    fn publish(workers: usize, versions: u64, preemptions: usize) {
        let model = move || {
            let stats: Vec<_> = (0..workers).map(|_| Arc::new(WorkerStats::new(0))).collect();
            let publisher = Publisher::new(Content::new(0), stats.clone());
            let run = |stats: &Arc<WorkerStats>| {
                let (mut subscription, stats) = (publisher.subscribe(), stats.clone());
                thread::spawn(move || {
                    let mut last = 0;
                    while last < versions {
                        let content = subscription.load();
                        assert_eq!(content.cell.get(), content.version, "freed already");
                        assert!(content.version <= last + 1, "skipped {last}");
                        if content.version == last {
                            thread::yield_now();
                        } else {
                            last = content.version;
                            stats.snapshot.set(last);
                        }
                    }
                    subscription
                })
            };
            let workers: Vec<_> = stats.iter().map(run).collect();
            for version in 1..=versions {
                let old = Arc::downgrade(&publisher.current());
                let yielding = || {
                    thread::yield_now();
                    true
                };
                publisher.publish(Content::new(version), yielding).unwrap();
                assert_eq!(old.strong_count(), 0, "the old one lives on");
            }
            workers.into_iter().for_each(|worker| drop(worker.join().unwrap()));
        };
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.max_branches = 10_000;
        builder.check(model);
    }

    #[test]
    fn no_worker_skips_a_version_and_the_publisher_frees() {
        publish(1, 2, 3);
    }

    #[test]
    fn an_old_snapshot_lives_as_long_as_the_last_worker_uses_it() {
        publish(2, 1, 1);
    }
}
