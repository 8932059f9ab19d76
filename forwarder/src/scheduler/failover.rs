//! fo and ovf: weighted failover and overflow.
//!
//! fo: the usable server with the highest weight; the others only stand by. ovf: the same among servers that have no
//! more active connections than their weight (so one more than the weight fit in); when all are full, nobody serves.
//! Among equals the first in the list wins, which is the server added last.
//!
//! Source: Linux 6.1, `ip_vs_fo.c` and `ip_vs_ovf.c`; recorded in `sched/fo.json` and `sched/ovf.json`.

use super::load::usable;
use super::{Request, Scheduler};
use crate::clock::Tick;
use crate::service::{Member, Service};
use crate::stats::Loads;

struct Failover;
struct Overflow;

pub(super) fn start_fo(_: &Service, _: Tick, _: u64) -> Box<dyn Scheduler> {
    Box::new(Failover)
}

pub(super) fn start_ovf(_: &Service, _: Tick, _: u64) -> Box<dyn Scheduler> {
    Box::new(Overflow)
}

/// The first of the heaviest members that may serve.
fn heaviest(members: &[Member], may_serve: impl Fn(&Member) -> bool) -> Option<usize> {
    let able = members.iter().enumerate().filter(|(_, member)| may_serve(member));
    able.min_by_key(|(_, member)| std::cmp::Reverse(member.weight)).map(|(index, _)| index)
}

impl Scheduler for Failover {
    fn pick(&mut self, service: &Service, loads: &Loads<'_>, _: &Request<'_>) -> Option<usize> {
        heaviest(&service.members, |member| usable(member, loads))
    }
}

impl Scheduler for Overflow {
    fn pick(&mut self, service: &Service, loads: &Loads<'_>, _: &Request<'_>) -> Option<usize> {
        let room = |member: &Member| loads.of(member.id).active <= member.weight;
        heaviest(&service.members, |member| usable(member, loads) && room(member))
    }
}
