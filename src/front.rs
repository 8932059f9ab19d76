//! What the control socket's clients reach: the director, and what is the process's own: its log, its memory, its end.

use crate::queues::Eyes;
use crate::workers::Lcores;
use crate::{FRAMES, launch, lock, log};
use control::command::{Command, Error, HeapView, HugePagesView, LogView, MemoryView, PoolView, Reply};
use control::director::Director;
use control::doctor::{self, Finding, Needs};
use control::kernel::Operator;
use control::server::Executor;
use dpdk_ffi::eal::EalHandle;
use dpdk_ffi::mempool::Mempool;
use dpdk_ffi::port::Port;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// The director, as its threads share it.
pub type SharedDirector = Arc<Mutex<Director<Lcores>>>;

/// Does commands.
#[derive(Clone)]
pub struct Front {
    director: SharedDirector,
    eal: EalHandle,
    frames: Mempool,
    eyes: Arc<Eyes>,
    kernel: Operator,
}

impl Front {
    /// Of this director, whose frames are from this pool, and whose neighbours and routes are the kernel's.
    pub fn new(director: SharedDirector, eal: &EalHandle, frames: &Mempool, kernel: Operator) -> Self {
        let eyes = lock(&director).workers().eyes.clone();
        Self { director, eal: eal.clone(), frames: frames.clone(), eyes, kernel }
    }

    /// Waits until all workers show what is wanted.
    fn watch(&self) -> Result<Reply, Error> {
        lock(&self.director).workers().watch()?;
        Ok(Reply::Done)
    }

    /// What `rvsd doctor` would say, of a director that runs.
    fn findings(&self) -> Vec<Finding> {
        let (workers, ports) = {
            let mut director = lock(&self.director);
            let workers = director.workers();
            (workers.shared.len(), workers.ports.clone())
        };
        let mut system = doctor::read(Path::new("/"), rustix::process::geteuid().is_root());
        let ports = lock(&ports);
        system.ports = ports
            .iter()
            .map(|port| crate::doctor::ability(&port.info, port.port.as_ref().map(Port::takes_flow_rules)))
            .collect();
        let needs = Needs {
            huge: u64::from(self.eal.has_huge_pages()),
            pci: system.ports.iter().any(|port| port.device.contains(':')),
            in_memory: false,
            interfaces: ports.iter().any(|port| port.kernel.is_some()),
            workers,
            running: true,
        };
        doctor::examine(&system, &needs)
    }

    fn memory(&self) -> MemoryView {
        let (available, in_use) = (self.frames.available(), self.frames.in_use());
        let nodes = doctor::huge_pages(Path::new("/"));
        let pages = nodes.iter().flat_map(|node| {
            let view = |pages: &doctor::Pages| HugePagesView {
                numa_node: node.number,
                kib: pages.kib,
                total: pages.total,
                free: pages.free,
            };
            node.pages.iter().map(view)
        });
        let heaps = self.eal.heaps().into_iter().map(|heap| HeapView {
            numa_node: heap.socket,
            total: heap.total,
            free: heap.free,
            largest_free: heap.largest_free,
        });
        MemoryView {
            pools: vec![PoolView { name: FRAMES.to_owned(), size: available.saturating_add(in_use), available }],
            heaps: heaps.collect(),
            huge_pages: pages.collect(),
        }
    }
}

impl Executor for Front {
    fn execute(&mut self, command: Command) -> Result<Reply, Error> {
        match command {
            Command::Log => Ok(Reply::Log(LogView { filter: log::filter() })),
            Command::SetLog { target, level } => {
                log::set_level(target.as_deref(), &level).map_err(|why| Error::Refused { why })?;
                tracing::info!(filter = log::filter(), "log");
                Ok(Reply::Done)
            }
            Command::StartCapture(spec) => {
                self.eyes.start_capture(&spec).map_err(|why| Error::Refused { why: why.to_owned() })?;
                tracing::info!(?spec, "capture");
                self.watch().inspect_err(|_| self.eyes.stop_capture())
            }
            Command::StopCapture => {
                self.eyes.stop_capture();
                self.watch()
            }
            Command::AddTrace(spec) => {
                self.eyes.trace(spec).map_err(|why| Error::Refused { why })?;
                tracing::info!(?spec, "trace");
                self.watch()
            }
            Command::ClearTrace => {
                self.eyes.clear_trace();
                self.watch()
            }
            Command::Trace => Ok(Reply::Traced(self.eyes.traced())),
            Command::Captured => Ok(Reply::Captured(self.eyes.captured())),
            Command::AddNeighbour { .. }
            | Command::DeleteNeighbour { .. }
            | Command::AddRoute(_)
            | Command::DeleteRoute(_) => {
                // Without the director, who has to take what comes of it.
                let reply = self.kernel.execute(&command)?;
                tracing::info!(?command, "kernel");
                lock(&self.director).note(command);
                Ok(reply)
            }
            Command::Memory => Ok(Reply::Memory(self.memory())),
            Command::Doctor => Ok(Reply::Findings(self.findings())),
            Command::Shutdown => {
                tracing::warn!("an operator ends the director");
                launch::end();
                Ok(Reply::Done)
            }
            command => lock(&self.director).execute(command),
        }
    }
}
