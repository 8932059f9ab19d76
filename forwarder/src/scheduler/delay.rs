//! sed and nq: shortest expected delay, and never queue.
//!
//! sed: the usable server with the least (active connections + 1) for its weight: the connections it would have.
//! nq: the first usable server without active connections, whatever its weight; if there is none, as sed. Inactive
//! connections do not count. Among equals the first in the list wins, which is the server added last.
//!
//! Source: Linux 6.1, `ip_vs_sed.c` and `ip_vs_nq.c`; recorded in `sched/sed.json` and `sched/nq.json`.

use super::Scheduler;
use super::load::{Price, usable};
use super::tournament::Tournament;
use crate::clock::Tick;
use crate::service::{Member, Service};
use crate::stats::Loads;

/// The connections a usable server would have, for its weight.
fn expected(member: &Member, loads: &Loads<'_>) -> Price {
    if usable(member, loads) {
        Price { cost: u64::from(loads.of(member.id).active) + 1, weight: member.weight }
    } else {
        Price::NEVER
    }
}

pub(super) fn start_sed(service: &Service, _: Tick, _: u64) -> Box<dyn Scheduler> {
    Box::new(Tournament::new(&service.members, expected))
}

pub(super) fn start_nq(service: &Service, _: Tick, _: u64) -> Box<dyn Scheduler> {
    Box::new(Tournament::new(&service.members, |member, loads| match expected(member, loads) {
        Price { cost: 1, weight: 1.. } => Price { cost: 0, weight: 1 }, // idle
        price => price,
    }))
}
