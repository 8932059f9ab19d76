//! fo and ovf: weighted failover and overflow.
//!
//! fo: the usable server with the highest weight; the others only stand by. ovf: the same among servers that have no
//! more active connections than their weight (so one more than the weight fit in); when all are full, nobody serves.
//! Among equals the first in the list wins, which is the server added last.
//!
//! Source: Linux 6.1, `ip_vs_fo.c` and `ip_vs_ovf.c`; recorded in `sched/fo.json` and `sched/ovf.json`.

use super::Scheduler;
use super::load::{Price, usable};
use super::tournament::Tournament;
use crate::clock::Tick;
use crate::service::{Member, Service};
use crate::stats::Loads;

/// The heavier, the cheaper.
fn by_weight(member: &Member, may_serve: bool) -> Price {
    if may_serve { Price { cost: 1, weight: member.weight } } else { Price::NEVER }
}

/// True if the server has room for a connection more.
fn room(member: &Member, loads: &Loads<'_>) -> bool {
    loads.of(member.id).active <= member.weight
}

pub(super) fn start_fo(service: &Service, _: Tick, _: u64) -> Box<dyn Scheduler> {
    Box::new(Tournament::new(&service.members, |member, loads| by_weight(member, usable(member, loads))))
}

pub(super) fn start_ovf(service: &Service, _: Tick, _: u64) -> Box<dyn Scheduler> {
    Box::new(Tournament::new(&service.members, |member, loads| {
        by_weight(member, usable(member, loads) && room(member, loads))
    }))
}
