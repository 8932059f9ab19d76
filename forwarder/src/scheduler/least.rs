//! lc and wlc: least connections.
//!
//! lc: the usable server with the least overhead (an active connection counts 256, an inactive one 1); weights count
//! only as zero or not. wlc: the least overhead for its weight. Among equals the first in the list wins, which is the
//! server added last; so empty servers tie in wlc, whatever they weigh.
//!
//! Source: Linux 6.1.176, `ip_vs_lc.c` and `ip_vs_wlc.c`; recorded in `sched/lc.json`, `sched/wlc.json` and
//! `sched/factor256-6.1.176.json`.

use super::load::{least_for_weight, overhead, usable};
use super::{Request, Scheduler};
use crate::clock::Tick;
use crate::service::Service;
use crate::stats::Loads;

struct LeastConnections;
struct WeightedLeastConnections;

pub(super) fn start_lc(_: &Service, _: Tick, _: u64) -> Box<dyn Scheduler> {
    Box::new(LeastConnections)
}

pub(super) fn start_wlc(_: &Service, _: Tick, _: u64) -> Box<dyn Scheduler> {
    Box::new(WeightedLeastConnections)
}

impl Scheduler for LeastConnections {
    fn pick(&mut self, service: &Service, loads: &Loads<'_>, _: &Request<'_>) -> Option<usize> {
        let usable = service.members.iter().enumerate().filter(|(_, member)| usable(member, loads));
        usable.min_by_key(|(_, member)| overhead(loads.of(member.id))).map(|(index, _)| index)
    }
}

impl Scheduler for WeightedLeastConnections {
    fn pick(&mut self, service: &Service, loads: &Loads<'_>, _: &Request<'_>) -> Option<usize> {
        least_for_weight(service.members.iter().enumerate(), loads, overhead)
    }
}
