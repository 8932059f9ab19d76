//! Starting the workers: their tables, their queues, and the lcores or threads that they run on.

use crate::clock::Clock;
use crate::kernel_link::{Link, Rings};
use crate::lcore::{self, Idle, Shared};
use crate::plan::Plan;
use crate::{random, spawn};
use anyhow::Result;
use dpdk_ffi::eal::EalHandle;
use dpdk_ffi::lcore::LcoreTask;
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
use std::sync::Arc;
use std::thread::JoinHandle;

/// How many workers there are if nobody says: one on each lcore but the main one, at least one.
pub fn count(eal: &EalHandle) -> usize {
    eal.lcores().iter().filter(|lcore| !lcore.main).count().max(1)
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
    pub wiring: Wiring<RxQueue, TxQueue, Mbuf>,
    pub stats: Arc<WorkerStats>,
    pub subscription: Subscription,
    pub shared: Arc<Shared>,
}

/// Starts the workers, in the order of the lcores; those beyond the lcores on threads.
///
/// # Errors
/// Without memory for a table, or if an lcore is taken.
pub fn start(crew: &Crew<'_>, kits: Vec<Kit>) -> Result<Vec<Task>> {
    // All workers must agree on whose a connection is.
    let secret = Secret::new(random()?);
    let crew_stats: Vec<_> = kits.iter().map(|kit| kit.stats.clone()).collect();
    let mut workers = Vec::with_capacity(kits.len());
    for Kit { wiring, stats, subscription, shared } in kits {
        let pipeline = pipeline(crew, &stats, secret)?;
        let pipeline = match &crew.spread {
            Some(spread) => pipeline.among(wiring.share(), &crew_stats, spread),
            None => pipeline,
        };
        let (link, pool) = (Link(crew.rings.clone()), crew.pool.clone());
        let now = crew.clock.now();
        workers.push((lcore::Worker::wired(subscription, pipeline, wiring, link.clone(), link, pool, now), shared));
    }
    let mut lcores = crew.eal.lcores().into_iter().filter(|lcore| !lcore.main);
    let (clock, idle) = (crew.clock, crew.plan.idle);
    let start = |(number, (worker, shared)): (usize, (lcore::Worker, Arc<Shared>))| match lcores.next() {
        Some(lcore) => {
            tracing::info!(worker = number, lcore = lcore.id, cpu = lcore.cpu, "worker");
            Ok(Task::Lcore(crew.eal.launch(lcore.id, move || lcore::run(worker, clock, idle, &shared))?))
        }
        None => {
            tracing::info!(worker = number, "worker, on a thread: there is no lcore for it");
            thread(crew.eal, number, worker, clock, idle, shared)
        }
    };
    workers.into_iter().enumerate().map(start).collect()
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
        lcore::run(worker, clock, idle, &shared);
    })?))
}

/// A worker's tables, on huge pages if there are any.
fn pipeline(
    crew: &Crew<'_>,
    stats: &Arc<WorkerStats>,
    secret: Secret,
) -> Result<Pipeline<TableMemory<forwarder::pipeline::ConnSlot>>> {
    let connections = crew.plan.connections;
    let memory = TableMemory::new(slots_for(connections), Slot::default(), None)?;
    tracing::info!(connections, memory = %memory.kind(), "flow table");
    let now = crew.clock.now();
    let conns = FlowTable::new(memory, now)?;
    let templates = vec![Slot::default(); slots_for(templates_for(connections))];
    let templates = FlowTable::new(templates, now)?;
    Ok(Pipeline::new(conns, templates, stats.clone(), secret))
}

/// What runs a worker.
pub enum Task {
    /// An lcore of the EAL.
    Lcore(LcoreTask<()>),
    /// A thread beside them.
    Thread(JoinHandle<()>),
}

impl Task {
    /// Waits for its end.
    pub fn join(self) {
        match self {
            Self::Lcore(task) => task.join(),
            Self::Thread(thread) => {
                if thread.join().is_err() {
                    tracing::error!("a worker has panicked");
                }
            }
        }
    }
}
