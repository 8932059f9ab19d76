//! Starting the workers: their tables, their queues, and the lcores or threads that they run on.

use crate::clock::Clock;
use crate::kernel_link::{Link, Rings};
use crate::lcore::{self, Idle, Shared};
use crate::plan::Plan;
use crate::queues::Place;
use crate::{random, spawn};
use anyhow::Result;
use dpdk_ffi::eal::EalHandle;
use dpdk_ffi::lcore::{Lcore, LcoreTask};
use dpdk_ffi::mbuf::Mbuf;
use dpdk_ffi::memory::TableMemory;
use dpdk_ffi::mempool::Mempool;
use dpdk_ffi::queue::{RxQueue, TxQueue};
use forwarder::flow_table::{FlowTable, Secret, Slot, slots_for};
use forwarder::pipeline::{Pipeline, templates_for};
use forwarder::publication::Subscription;
use forwarder::rss::Spread;
use forwarder::stats::WorkerStats;
use forwarder::worker::Wiring;
use std::iter::repeat;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

/// How many workers there are if nobody says: one on each lcore but the main one, at least one.
pub fn count(eal: &EalHandle) -> usize {
    lcores(eal).count().max(1)
}

/// The lcores that workers run on, in their order: the main one is left to the control side.
pub fn lcores(eal: &EalHandle) -> impl Iterator<Item = Lcore> {
    eal.lcores().into_iter().filter(|lcore| !lcore.main)
}

/// What all workers have in common.
pub struct Crew<'a> {
    pub eal: &'a EalHandle,
    pub plan: &'a Plan,
    pub clock: Clock,
    pub pool: &'a Mempool,
    pub rings: &'a Arc<Rings>,
    /// How clients are spread over them, if there are several.
    pub spread: Option<Arc<Spread>>,
}

/// What one worker gets for itself.
pub struct Kit {
    pub wiring: Wiring<Place<RxQueue>, Place<TxQueue>, Mbuf>,
    pub stats: Arc<WorkerStats>,
    pub subscription: Subscription,
    pub shared: Arc<Shared>,
}

/// Starts the workers, in the order of the lcores; those beyond the lcores on threads. Also if it fails, those in
/// `started` run and must be ended.
///
/// # Errors
/// Without memory for a table, or if an lcore is taken.
pub fn start(crew: &Crew<'_>, kits: Vec<Kit>, started: &mut Vec<Task>) -> Result<()> {
    // All workers must agree on whose a connection is.
    let secret = Secret::new(random()?);
    let crew_stats: Vec<_> = kits.iter().map(|kit| kit.stats.clone()).collect();
    let mut workers = Vec::with_capacity(kits.len());
    // A worker beyond the lcores runs anywhere.
    let nodes = lcores(crew.eal).map(|lcore| Some(lcore.socket));
    for (number, (kit, node)) in kits.into_iter().zip(nodes.chain(repeat(None))).enumerate() {
        let Kit { wiring, stats, subscription, shared } = kit;
        let pipeline = pipeline(crew, &stats, secret, node)?;
        let pipeline = match &crew.spread {
            Some(spread) => pipeline.among(wiring.share(), &crew_stats, spread),
            None => pipeline,
        };
        let (link, pool) = (Link(crew.rings.clone(), number), crew.pool.clone());
        let now = crew.clock.now();
        workers.push((lcore::Worker::wired(subscription, pipeline, wiring, link.clone(), link, pool, now), shared));
    }
    let mut lcores = lcores(crew.eal);
    let (clock, idle) = (crew.clock, crew.plan.idle);
    let mut start = |(number, (worker, shared)): (usize, (lcore::Worker, Arc<Shared>))| match lcores.next() {
        Some(lcore) => {
            tracing::info!(worker = number, lcore = lcore.id, cpu = lcore.cpu, "worker");
            let work = move || supervise(&format!("worker {number}"), || lcore::run(worker, clock, idle, &shared), end);
            Ok(Task::Lcore(crew.eal.launch(lcore.id, work)?))
        }
        None => {
            tracing::info!(worker = number, "worker, on a thread: there is no lcore for it");
            thread(crew.eal, number, worker, clock, idle, shared)
        }
    };
    for worker in workers.into_iter().enumerate() {
        started.push(start(worker)?);
    }
    Ok(())
}

fn thread(
    eal: &EalHandle,
    number: usize,
    worker: lcore::Worker,
    clock: Clock,
    idle: Idle,
    shared: Arc<Shared>,
) -> Result<Task> {
    let eal = eal.clone();
    Ok(Task::Thread(spawn(&format!("rvs-worker-{number}"), move || {
        let _registered = eal.register_thread().inspect_err(|error| tracing::warn!("{error}"));
        supervise(&format!("worker {number}"), || lcore::run(worker, clock, idle, &shared), end)
    })?))
}

/// Runs a worker, or another thread without which the daemon is none. If it panics, no daemon must be left behind that
/// looks alive: it ends. Answers whether all went well.
pub fn supervise(what: &str, work: impl FnOnce(), end: impl FnOnce()) -> bool {
    let result = catch_unwind(AssertUnwindSafe(work));
    if result.is_err() {
        tracing::error!("{what} has panicked; ending");
        end();
    }
    result.is_ok()
}

/// Ends the daemon as an operator would.
pub fn end() {
    if let Err(error) = signal_hook::low_level::raise(signal_hook::consts::SIGTERM) {
        tracing::error!(%error, "cannot end");
    }
}

/// A worker's tables, on huge pages if there are any, of its own NUMA node if it has one.
fn pipeline(
    crew: &Crew<'_>,
    stats: &Arc<WorkerStats>,
    secret: Secret,
    node: Option<u32>,
) -> Result<Pipeline<TableMemory<forwarder::pipeline::ConnSlot>>> {
    let connections = crew.plan.connections;
    let memory = TableMemory::new(slots_for(connections), Slot::default(), node)?;
    tracing::info!(connections, memory = %memory.kind(), "flow table");
    let now = crew.clock.now();
    let conns = FlowTable::new(memory, now)?;
    let templates = vec![Slot::default(); slots_for(templates_for(connections))];
    let templates = FlowTable::new(templates, now)?;
    Ok(Pipeline::new(conns, templates, stats.clone(), secret))
}

/// What runs a worker. Its answer is whether the worker ended well.
pub enum Task {
    /// An lcore of the EAL.
    Lcore(LcoreTask<bool>),
    /// A thread beside them.
    Thread(JoinHandle<bool>),
}

impl Task {
    /// Waits for its end. Answers whether it ended well.
    pub fn join(self) -> bool {
        match self {
            Self::Lcore(task) => task.join(),
            Self::Thread(thread) => thread.join().unwrap_or(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_panics_ends_the_daemon() {
        let mut ended = false;
        assert!(supervise("a", || {}, || ended = true) && !ended);
        assert!(!supervise("b", || panic!("on purpose"), || ended = true) && ended);
    }
}
