//! Workers that forward nothing: to try out what a director would do, and for tests.

use super::{Adjustment, Director, Workers};
use crate::command::{
    Command, ConnectionPage, ConnectionView, Error, LayoutView, PortLayout, PortView, QueueView, Reply, SeatView,
};
use crate::ipvsadm::Executor;
use crate::publish::Builder;
use forwarder::clock::Tick;
use forwarder::pipeline::{Flushed, Listing, Which};
use forwarder::publication::Publisher;
use forwarder::service::Snapshot;
use forwarder::stats::WorkerStats;
use std::sync::Arc;

/// Connections in a page.
const PAGE: u64 = 1000;

/// One worker that takes every snapshot at once, and shows what it was told to.
#[derive(Debug, Default)]
pub struct Still {
    /// The moment.
    pub now: Tick,
    /// The ports.
    pub ports: Vec<PortView>,
    /// Whether a port receives frames for every address, as it was last told.
    pub promiscuous: Vec<(u16, bool)>,
    /// How frames are received, as it was told.
    pub adjustments: Vec<Adjustment>,
    /// What was to be flushed.
    pub flushes: Vec<Which>,
    /// Of which connections a list was wanted.
    pub listed: Vec<Which>,
    /// The connections.
    pub connections: Vec<ConnectionView>,
    /// The worker's counters; made with its director.
    pub stats: Option<Arc<WorkerStats>>,
}

impl Still {
    /// A director of this worker, with room for so many servers.
    #[must_use]
    pub fn director(self, servers: usize) -> Director<Self> {
        let stats = Arc::new(WorkerStats::new(servers));
        let builder = Builder::default();
        let publisher = Publisher::new(builder.snapshot().clone(), vec![stats.clone()]);
        Director::new(builder, publisher, vec![stats.clone()], Self { stats: Some(stats), ..self })
    }
}

impl Workers for Still {
    fn now(&self) -> Tick {
        self.now
    }

    fn wait(&mut self, _: u32) -> bool {
        if let Some(stats) = &self.stats {
            stats.snapshot.set(stats.snapshot.get() + 1);
        }
        true
    }

    fn connections(&mut self, cursor: u64) -> Result<ConnectionPage, Error> {
        let end = (cursor + PAGE).min(self.connections.len() as u64);
        let connections = self.connections.get(cursor as usize..end as usize).unwrap_or_default().to_vec();
        Ok(ConnectionPage { connections, next: (end < self.connections.len() as u64).then_some(end) })
    }

    fn connections_of(&mut self, which: &Which, cursor: u64) -> Result<ConnectionPage, Error> {
        self.listed.push(which.clone());
        self.connections(cursor)
    }

    fn flush(
        &mut self,
        _: usize,
        which: &Arc<Which>,
        _: &Arc<Snapshot>,
        from: Listing,
        flushed: &mut Flushed,
    ) -> Result<Listing, Error> {
        if from == Listing::Start {
            self.flushes.push(Which::clone(which));
            flushed.connections += self.connections.drain(..).count() as u64;
            return Ok(Listing::Templates(0));
        }
        Ok(Listing::End)
    }

    fn interface_mtu(&self, _: &str) -> Option<u32> {
        Some(1500)
    }

    fn ports(&mut self, only: Option<u16>, _: bool) -> Vec<PortView> {
        self.ports.iter().filter(|view| only.is_none_or(|only| only == view.port)).cloned().collect()
    }

    fn set_forwarding(&mut self, _: bool) {}

    fn set_promiscuous(&mut self, port: u16, on: bool) -> Result<(), String> {
        self.promiscuous.push((port, on));
        Ok(())
    }

    fn layout(&mut self) -> LayoutView {
        let queue = || vec![QueueView { worker: Some(0), descriptors: 512, ..QueueView::default() }];
        let port = |view: &PortView| PortLayout { port: view.port, rx: queue(), tx: queue(), ..PortLayout::default() };
        LayoutView {
            burst: 32,
            workers: vec![SeatView { lcore: Some(1), ..SeatView::default() }],
            ports: self.ports.iter().map(port).collect(),
        }
    }

    fn attach(&mut self, device: &str) -> Result<u16, String> {
        let port = (0..2).find(|port| self.ports.iter().all(|view| view.port != *port));
        let port = port.ok_or("no port is detached")?;
        self.ports.push(PortView { port, device: device.to_owned(), stopped: true, ..PortView::default() });
        self.ports.sort_by_key(|view| view.port);
        Ok(port)
    }

    fn adjust(&mut self, to: Adjustment) -> Result<(), String> {
        self.adjustments.push(to);
        if let Adjustment::Detach(port) = to {
            self.ports.retain(|view| view.port != port);
        }
        if let Adjustment::Start(port) | Adjustment::Stop(port) = to {
            let view = self.ports.iter_mut().find(|view| view.port == port).ok_or("it is gone")?;
            view.stopped = to == Adjustment::Stop(port);
        }
        Ok(())
    }
}

impl Executor for Director<Still> {
    fn execute(&mut self, command: Command) -> Result<Reply, Error> {
        Director::execute(self, command)
    }
}
