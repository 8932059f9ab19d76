//! With several workers: how many connections the others have, for schedulers that weigh servers by them, and for
//! thresholds.
//!
//! Nobody adds up in a place that several write. Each worker reads the others' counters in rounds, a few each turn,
//! between bursts; a round begins with each tick, if the one before has ended. So what a worker knows of the others is as
//! old as a tick (10 ms) or, where it is more, as the time in which it turns once for every [`READS`] counters.
//!
//! A destination over its threshold is known by the sum, or because another worker saw the sum reach it.

use super::Ledger;
use crate::clock::Tick;
use crate::service::{Member, Snapshot};
use crate::stats::{Load, WorkerStats};
use std::sync::Arc;

/// Counters of other workers that are read in one turn, about: each may cost a cache miss.
const READS: usize = 32;

/// Where the round is.
#[derive(Debug)]
pub(super) struct Survey {
    others: Vec<Arc<WorkerStats>>,
    service: usize,
    member: usize,
    begun: Option<Tick>,
}

impl Survey {
    /// A survey of these workers: all but the one that makes it.
    pub fn new(others: Vec<Arc<WorkerStats>>) -> Self {
        Self { others, service: 0, member: 0, begun: None }
    }

    /// True if there is nobody else.
    pub fn is_empty(&self) -> bool {
        self.others.is_empty()
    }

    /// A piece of the round.
    pub fn advance(&mut self, snapshot: &Snapshot, ledger: &mut Ledger, now: Tick) {
        if self.service == 0 && self.member == 0 {
            if self.begun == Some(now) {
                return;
            }
            self.begun = Some(now);
        }
        let mut reads = 0;
        while reads < READS {
            let Some(service) = snapshot.services.get(self.service) else {
                (self.service, self.member) = (0, 0);
                return;
            };
            reads += 1;
            let members = service.as_ref().map_or(&[][..], |service| &service.members);
            let weighs = service.as_ref().is_some_and(|service| service.scheduler.definition().by_load);
            while let Some(member) = members.get(self.member)
                && reads < READS
            {
                self.member += 1;
                reads += 1;
                if weighs || member.upper != 0 {
                    reads += self.others.len();
                    self.look_at(member, snapshot, ledger);
                }
            }
            if self.member >= members.len() {
                (self.service, self.member) = (self.service + 1, 0);
            }
        }
    }

    fn look_at(&self, member: &Member, snapshot: &Snapshot, ledger: &mut Ledger) {
        let mut load = Load::default();
        let mut closed = false;
        for stats in &self.others {
            let Some(counters) = stats.destinations.get(member.id.0 as usize) else { continue };
            load.active = load.active.wrapping_add(counters.active.get());
            load.inactive = load.inactive.wrapping_add(counters.inactive.get());
            // One that follows an older snapshot may not know yet that the threshold was lifted.
            closed |= stats.snapshot.get() >= snapshot.version && counters.closed.get();
        }
        ledger.others_have(member, load, closed);
    }
}
