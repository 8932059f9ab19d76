//! sed and nq: shortest expected delay, and never queue.
//!
//! sed: the usable server with the least (active connections + 1) for its weight: the connections it would have.
//! nq: the first usable server without active connections, whatever its weight; if there is none, as sed. Inactive
//! connections do not count. Among equals the first in the list wins, which is the server added last.
//!
//! Source: Linux 6.1, `ip_vs_sed.c` and `ip_vs_nq.c`; recorded in `sched/sed.json` and `sched/nq.json`.

use super::load::{least_for_weight, usable};
use super::{Request, Scheduler};
use crate::clock::Tick;
use crate::service::Service;
use crate::stats::{Load, Loads};

struct ShortestExpectedDelay;
struct NeverQueue;

pub(super) fn start_sed(_: &Service, _: Tick, _: u64) -> Box<dyn Scheduler> {
    Box::new(ShortestExpectedDelay)
}

pub(super) fn start_nq(_: &Service, _: Tick, _: u64) -> Box<dyn Scheduler> {
    Box::new(NeverQueue)
}

/// Connections the server would have with this one.
fn expected(load: Load) -> u64 {
    u64::from(load.active) + 1
}

impl Scheduler for ShortestExpectedDelay {
    fn pick(&mut self, service: &Service, loads: &Loads<'_>, _: &Request<'_>) -> Option<usize> {
        least_for_weight(service.members.iter().enumerate(), loads, expected)
    }
}

impl Scheduler for NeverQueue {
    fn pick(&mut self, service: &Service, loads: &Loads<'_>, _: &Request<'_>) -> Option<usize> {
        let idle = service.members.iter().position(|member| usable(member, loads) && loads.of(member.id).active == 0);
        idle.or_else(|| least_for_weight(service.members.iter().enumerate(), loads, expected))
    }
}
