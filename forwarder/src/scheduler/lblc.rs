//! lblc: locality-based least connections.
//!
//! Requests to one target (destination address) go to one server: the one remembered for it, while that server has a
//! weight and is not burdened. Burdened means: more active connections than its weight, while some server has less than
//! half of its own (that one may be over its threshold). The threshold of the remembered server is not looked at.
//! Otherwise the server is chosen as in wlc, and remembered. When memories go is told in `locality`.
//!
//! Source: Linux 6.1, `ip_vs_lblc.c`; recorded in `sched/lblc.json`, `sched/tt-lblc.json` and `sched/tt-scan.json`.

use super::load::Price;
use super::locality::{Servers, Targets, burdened};
use super::tournament::Tournament;
use super::{Request, Scheduler};
use crate::clock::Tick;
use crate::service::{Member, Service};
use crate::stats::Loads;

struct Locality {
    wlc: Tournament<fn(&Member, &Loads<'_>) -> Price>,
    /// By target, the number of its server.
    targets: Targets<u32>,
    servers: Servers,
}

pub(super) fn start(service: &Service, now: Tick, seed: u64) -> Box<dyn Scheduler> {
    let mut servers = Servers::default();
    servers.update(&service.members);
    Box::new(Locality {
        wlc: Tournament::new(&service.members, Price::of_overhead),
        targets: Targets::new(now, seed),
        servers,
    })
}

impl Scheduler for Locality {
    fn pick(&mut self, service: &Service, loads: &Loads<'_>, request: &Request<'_>) -> Option<usize> {
        let members = &service.members;
        self.targets.scan(request.now, request.settings.lblc_expiration, |_| ());
        let place = self.targets.find(request.target, request.now);
        if let Some(index) = place.and_then(|at| self.servers.get(*self.targets.value(at)).member)
            && members[index].weight > 0
            && !burdened(&members[index], members, loads)
        {
            return Some(index);
        }
        let index = self.wlc.winner(members, loads)?;
        let number = self.servers.number(index);
        match place {
            Some(at) => *self.targets.value(at) = number,
            None => _ = self.targets.insert(request.target, request.now, number, |_| ()),
        }
        Some(index)
    }

    fn changed(&mut self, _: &Service, new: &Service) {
        self.wlc.enter(&new.members);
        if !self.servers.update(&new.members) {
            self.targets.clear();
        }
    }
}
