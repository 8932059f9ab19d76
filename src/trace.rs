//! Packets that are traced: what is wanted, and what workers kept of them. It is bounded, and workers never wait for who reads.

use control::command::{MOST_TRACED, MOST_TRACES, TracePage, TraceSpec, TraceStep};
use control::director::trail::{joined, step};
use crossbeam_queue::ArrayQueue;
use forwarder::pipeline::Sight;
use forwarder::worker::Trail;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Trails that wait to be read. More between two looks are counted only.
const WAITING: usize = 1024;
/// Steps that are kept: most packets are one worker's, and none makes more than three or four steps.
const STEPS: usize = 3 * MOST_TRACED as usize;

/// So long after the last packet its way may go on: a neighbour's MAC address is waited for, three seconds at most.
const GRACE: Duration = Duration::from_secs(4);

/// What one `trace add` wants.
#[derive(Debug)]
pub struct Filter {
    spec: TraceSpec,
    /// Packets that are still to come.
    left: AtomicU32,
    /// Since when none are.
    over: OnceLock<Instant>,
}

impl Filter {
    fn new(spec: TraceSpec) -> Self {
        Self { spec, left: AtomicU32::new(spec.count), over: OnceLock::new() }
    }

    /// True if it still waits for packets.
    pub fn waits(&self) -> bool {
        self.left.load(Relaxed) > 0
    }

    /// True if it still waits for packets like this.
    pub fn wants(&self, sight: &Sight) -> bool {
        self.waits() && self.matches(sight)
    }

    /// True if nothing more can come of it.
    fn is_done(&self) -> bool {
        !self.waits() && self.over.get_or_init(Instant::now).elapsed() > GRACE
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
        if spec.target_port.is_some() && spec.target.is_none() {
            return Err("a port is of a virtual address: vip ADDRESS:PORT".to_owned());
        }
        let left: u32 = filters.iter().map(|filter| filter.left.load(Relaxed)).sum();
        let kept = steps.iter().filter(|step| step.1 == 0).count() as u32;
        if spec.count == 0 || spec.count.saturating_add(left).saturating_add(kept) > MOST_TRACED {
            return Err(format!(
                "{MOST_TRACED} packets can be traced in all, and at least one: {kept} are kept and {left} waited for; trace clear forgets them"
            ));
        }
        if filters.iter().filter(|filter| filter.waits()).count() == MOST_TRACES {
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
            // It goes on with one that nobody traces.
            if trail.follows != 0 && !steps.iter().rev().any(|step| step.0 == trail.follows) {
                continue;
            }
            if steps.len() == STEPS {
                self.missed.fetch_add(1, Relaxed);
                continue;
            }
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            let microseconds = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
            steps.push((trail.number, trail.follows, step(&trail, microseconds)));
        }
        let before = filters.len();
        filters.retain(|filter| !filter.is_done());
        filters.len() < before
    }

    /// All that was kept, and what is waited for.
    pub fn page(&self) -> TracePage {
        self.collect();
        let (filters, steps) = &*crate::lock(&self.kept);
        let waiting = filters
            .iter()
            .filter(|filter| filter.waits())
            .map(|filter| TraceSpec { count: filter.left.load(Relaxed), ..filter.spec });
        TracePage {
            packets: joined(steps.iter().cloned()),
            waiting: waiting.collect(),
            missed: self.missed.load(Relaxed),
        }
    }

    /// A worker's trail, for the first of these filters that wants it. One that goes on with an earlier one is not
    /// counted, and kept if that one is.
    pub fn keep(&self, filters: &[Arc<Filter>], trail: &Trail) {
        let Some(waiting) = self.waiting.get() else { return };
        let mut matching = filters.iter().filter(|filter| filter.matches(&trail.sight));
        let counted = matching.find(|filter| trail.follows == 0 && filter.count());
        if trail.follows == 0 && counted.is_none() {
            return;
        }
        if waiting.push((*trail, SystemTime::now())).is_err() {
            self.missed.fetch_add(1, Relaxed);
            counted.into_iter().for_each(|filter| _ = filter.left.fetch_add(1, Relaxed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forwarder::parse::Parsed;
    use forwarder::pipeline::Verdict;
    use forwarder::worker::{Came, Head};
    use std::net::Ipv4Addr;

    const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn spec(count: u32) -> TraceSpec {
        TraceSpec { client: Some(CLIENT), target: None, target_port: None, count }
    }

    fn trail(number: u32, follows: u32, client: Ipv4Addr) -> Trail {
        let [a, b, c, d] = client.octets();
        let parsed = Parsed { addresses: u64::from_ne_bytes([a, b, c, d, 10, 9, 9, 9]), ..Parsed::default() };
        Trail {
            number,
            follows,
            worker: 0,
            port: 0,
            came: Came::Received(0),
            before: Head::of(&[0; 60]),
            sight: Sight::of(parsed),
            verdict: Verdict::Kernel,
            after: Head::of(&[0; 60]),
            connection: None,
            made: false,
            pushed_out: false,
            no_room: false,
            one_packet_server: None,
            neighbour: None,
            dropped: None,
        }
    }

    #[test]
    fn what_is_wanted_is_kept_and_counted() {
        let trace = Trace::default();
        assert_eq!(trace.page(), TracePage::default());
        trace.add(spec(2)).unwrap();
        let filters = trace.filters();
        let keep = |number, follows, client| trace.keep(&filters, &trail(number, follows, client));
        keep(1, 0, CLIENT);
        // Another's, a packet that nobody traces on its way on, and the way on of the first, whoever's it looks like.
        keep(2, 0, Ipv4Addr::LOCALHOST);
        keep(4, 3, CLIENT);
        keep(5, 1, Ipv4Addr::LOCALHOST);
        let page = trace.page();
        assert_eq!((page.packets.len(), page.packets[0].steps.len(), page.waiting), (1, 2, vec![spec(1)]));
        keep(6, 0, CLIENT);
        keep(7, 0, CLIENT);
        assert!(!filters[0].waits() && !trace.collect(), "its last packet may still go on");
        keep(8, 6, CLIENT);
        let page = trace.page();
        assert_eq!((page.packets.len(), page.packets[1].steps.len(), page.waiting), (2, 2, vec![]));
        trace.clear();
        assert_eq!(trace.page(), TracePage::default());
        keep(9, 0, CLIENT);
        assert_eq!(trace.page(), TracePage::default(), "a worker that does not know yet");
    }

    #[test]
    fn everything_is_bounded() {
        let trace = Trace::default();
        assert!(trace.add(spec(0)).is_err() && trace.add(spec(u32::MAX)).is_err());
        assert!(trace.add(TraceSpec { target_port: Some(80), ..spec(1) }).unwrap_err().contains("vip"));
        (0..MOST_TRACES).for_each(|_| trace.add(spec(1)).unwrap());
        assert!(trace.add(spec(1)).unwrap_err().contains("8 traces"));
        trace.clear();
        trace.add(spec(MOST_TRACED)).unwrap();
        assert!(trace.add(spec(1)).unwrap_err().contains("1000 waited for"));
        let filters = trace.filters();
        (1..=MOST_TRACED).for_each(|number| trace.keep(&filters, &trail(number, 0, CLIENT)));
        assert!(trace.add(spec(1)).unwrap_err().contains("1000 are kept"));
        // Whatever follows, in however many steps.
        for round in 1..10 {
            (0..WAITING as u32 + 7).for_each(|_| trace.keep(&filters, &trail(5000 + round, round, CLIENT)));
            trace.collect();
        }
        let page = trace.page();
        assert_eq!(page.packets.iter().map(|packet| packet.steps.len()).sum::<usize>(), STEPS);
        assert_eq!(page.missed, 9 * (WAITING as u64 + 7) - (STEPS as u64 - u64::from(MOST_TRACED)));
    }
}
