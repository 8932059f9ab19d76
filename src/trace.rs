//! Packets that are traced: what is wanted, and what workers kept of them. It is bounded, and workers never wait for who reads.

use control::command::{MOST_TRACED, MOST_TRACES, TracePage, TraceSpec, TraceStep};
use control::director::trail::{joined, step};
use crossbeam_queue::ArrayQueue;
use forwarder::pipeline::Sight;
use forwarder::worker::Trail;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// Trails that wait to be read. More between two looks are counted only.
const WAITING: usize = 1024;
/// Steps that are kept: most packets are one worker's, and none makes more than three or four steps.
const STEPS: usize = 3 * MOST_TRACED as usize;

/// What one `trace add` wants.
#[derive(Debug)]
pub struct Filter {
    spec: TraceSpec,
    /// Packets that are still to come.
    left: AtomicU32,
}

impl Filter {
    fn new(spec: TraceSpec) -> Self {
        Self { spec, left: AtomicU32::new(spec.count) }
    }

    /// True if it still waits for packets like this.
    pub fn wants(&self, sight: &Sight) -> bool {
        self.left.load(Relaxed) > 0 && self.matches(sight)
    }

    fn matches(&self, sight: &Sight) -> bool {
        let TraceSpec { client, target, target_port, .. } = self.spec;
        client.is_none_or(|client| sight.concerns_client(client))
            && target.is_none_or(|target| sight.concerns_target(target, target_port))
    }

    /// Counts a packet; false if it needs no more.
    fn count(&self) -> bool {
        self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

/// A step, its number, and that of the step before it.
type Step = (u32, u32, TraceStep);

/// See the module.
#[derive(Debug, Default)]
pub struct Trace {
    /// Made with the first trace: it is large.
    waiting: OnceLock<ArrayQueue<(Trail, SystemTime)>>,
    missed: AtomicU64,
    kept: Mutex<(Vec<Arc<Filter>>, Vec<Step>)>,
}

impl Trace {
    /// Waits for more packets.
    ///
    /// # Errors
    /// That this is too much.
    pub fn add(&self, spec: TraceSpec) -> Result<(), String> {
        self.collect();
        let (filters, steps) = &mut *crate::lock(&self.kept);
        filters.retain(|filter| filter.left.load(Relaxed) > 0);
        let left: u32 = filters.iter().map(|filter| filter.left.load(Relaxed)).sum();
        let kept = steps.iter().filter(|step| step.1 == 0).count() as u32;
        if spec.count == 0 || spec.count.saturating_add(left).saturating_add(kept) > MOST_TRACED {
            return Err(format!(
                "{MOST_TRACED} packets can be traced in all, and at least one: {kept} are kept and {left} waited for; trace clear forgets them"
            ));
        }
        if filters.len() == MOST_TRACES {
            return Err(format!("{MOST_TRACES} traces are waited for already; trace clear ends them"));
        }
        self.waiting.get_or_init(|| ArrayQueue::new(WAITING));
        filters.push(Arc::new(Filter::new(spec)));
        Ok(())
    }

    /// Forgets everything.
    pub fn clear(&self) {
        let (filters, steps) = &mut *crate::lock(&self.kept);
        // Workers may hold them for a moment longer.
        filters.drain(..).for_each(|filter| filter.left.store(0, Relaxed));
        *steps = Vec::new();
        while self.waiting.get().and_then(ArrayQueue::pop).is_some() {}
        self.missed.store(0, Relaxed);
    }

    /// What is waited for.
    pub fn filters(&self) -> Vec<Arc<Filter>> {
        crate::lock(&self.kept).0.clone()
    }

    /// Takes over what workers kept. Answers true if something is no longer waited for.
    pub fn collect(&self) -> bool {
        let (filters, steps) = &mut *crate::lock(&self.kept);
        for (trail, time) in (0..WAITING).map_while(|_| self.waiting.get()?.pop()) {
            if steps.len() == STEPS {
                self.missed.fetch_add(1, Relaxed);
                continue;
            }
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            let microseconds = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
            steps.push((trail.number, trail.follows, step(&trail, microseconds)));
        }
        let before = filters.len();
        filters.retain(|filter| filter.left.load(Relaxed) > 0);
        filters.len() < before
    }

    /// All that was kept, and what is waited for.
    pub fn page(&self) -> TracePage {
        self.collect();
        let (filters, steps) = &*crate::lock(&self.kept);
        let waiting = filters.iter().map(|filter| TraceSpec { count: filter.left.load(Relaxed), ..filter.spec });
        TracePage {
            packets: joined(steps.iter().cloned()),
            waiting: waiting.collect(),
            missed: self.missed.load(Relaxed),
        }
    }

    /// A worker's trail, for the first of these filters that wants it. One that goes on with an earlier one is counted no more.
    pub fn keep(&self, filters: &[Arc<Filter>], trail: &Trail) {
        let Some(waiting) = self.waiting.get() else { return };
        let mut matching = filters.iter().filter(|filter| filter.matches(&trail.sight));
        let counted = match trail.follows {
            0 => matching.find(|filter| filter.count()),
            _ => match matching.next() {
                Some(_) => None,
                None => return,
            },
        };
        if trail.follows == 0 && counted.is_none() {
            return;
        }
        if waiting.push((*trail, SystemTime::now())).is_err() {
            self.missed.fetch_add(1, Relaxed);
            counted.into_iter().for_each(|filter| _ = filter.left.fetch_add(1, Relaxed));
        }
    }
}
