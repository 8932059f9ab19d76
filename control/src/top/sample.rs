//! What the director says at one moment.

use crate::command::{Command, Error, PortView, Reply, ServiceView, StatusView, WorkerView};
use crate::ipvsadm::Executor;
use std::collections::BTreeMap;
use std::time::Duration;

/// A sample.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// When it was taken, since any fixed moment.
    pub at: Duration,
    /// Seconds since 1970.
    pub clock: u64,
    pub(super) version: String,
    pub(super) status: StatusView,
    pub(super) services: Vec<ServiceView>,
    pub(super) workers: Vec<WorkerView>,
    pub(super) ports: Vec<PortView>,
    pub(super) forwarding: bool,
}

impl Sample {
    /// Asks the director.
    ///
    /// # Errors
    /// It does not answer.
    pub fn ask(executor: &mut dyn Executor, at: Duration, clock: u64) -> Result<Self, Error> {
        let mut sample = Self { at, clock, ..Self::default() };
        let questions = [Command::Version, Command::Status, Command::Services { service: None }, Command::Forwarding];
        for question in questions.into_iter().chain([Command::Workers, Command::Ports { port: None, extended: false }])
        {
            match executor.execute(question)? {
                Reply::Version(version) => sample.version = version.rvs,
                Reply::Status(status) => sample.status = status,
                Reply::Services(services) => sample.services = services,
                Reply::Workers(workers) => sample.workers = workers,
                Reply::Ports(ports) => sample.ports = ports,
                Reply::Forwarding(view) => sample.forwarding = view.running,
                _ => {}
            }
        }
        Ok(sample)
    }

    /// Frames dropped by all workers, by reason.
    pub(super) fn drops(&self) -> BTreeMap<&str, u64> {
        let mut sums = BTreeMap::new();
        for (reason, count) in self.workers.iter().flat_map(|worker| &worker.drops) {
            *sums.entry(reason.as_str()).or_default() += count;
        }
        sums
    }
}
