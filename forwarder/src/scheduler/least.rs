//! lc and wlc: least connections.
//!
//! lc: the usable server with the least overhead (an active connection counts 256, an inactive one 1); weights count
//! only as zero or not. wlc: the least overhead for its weight. Among equals the first in the list wins, which is the
//! server added last; so empty servers tie in wlc, whatever they weigh.
//!
//! Source: Linux 6.1.176, `ip_vs_lc.c` and `ip_vs_wlc.c`; recorded in `sched/lc.json`, `sched/wlc.json` and
//! `sched/factor256-6.1.176.json`.

use super::Scheduler;
use super::load::Price;
use super::tournament::Tournament;
use crate::clock::Tick;
use crate::service::Service;

pub(super) fn start_lc(service: &Service, _: Tick, _: u64) -> Box<dyn Scheduler> {
    Box::new(Tournament::new(&service.members, |member, loads| {
        let price = Price::of_overhead(member, loads);
        Price { weight: price.weight.min(1), ..price }
    }))
}

pub(super) fn start_wlc(service: &Service, _: Tick, _: u64) -> Box<dyn Scheduler> {
    Box::new(Tournament::new(&service.members, Price::of_overhead))
}
