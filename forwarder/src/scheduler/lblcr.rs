//! lblcr: locality-based least connections with replication.
//!
//! Requests to one target (destination address) go to a set of servers, to the usable one with the least overhead for
//! its weight, the newest of the set among equals. If none of the set is usable, or that one is burdened (as in lblc),
//! the server is chosen as in wlc and joins the set. A set of several that has not changed for lblcr_expiration loses
//! its most loaded server, after the choice was made: it may be the one that was chosen. When memories go is told in
//! `locality`.
//!
//! Source: Linux 6.1, `ip_vs_lblcr.c`; recorded in `sched/lblcr.json`, `sched/tt-lblcr.json` and `sched/tt-scan.json`.

use super::load::{Price, overhead};
use super::locality::{Servers, Targets, burdened};
use super::tournament::Tournament;
use super::{Request, Scheduler};
use crate::clock::{TICKS_PER_SECOND, Tick};
use crate::service::{Member, Service};
use crate::stats::Loads;

/// Links of all sets of a service at most; without one, a server serves and does not join.
const LIMIT: usize = 1 << 16;
/// No link.
const NONE: u32 = u32::MAX;

/// The servers of one target, as a list of links, the newest first.
#[derive(Clone, Copy)]
struct Set {
    first: u32,
    changed: Tick,
}

#[derive(Clone, Copy)]
struct Link {
    server: u32,
    next: u32,
}

/// The links of all sets of a service.
struct Links {
    links: Vec<Link>,
    /// The first unused one.
    free: u32,
}

impl Links {
    /// The servers of a set.
    fn servers(&self, set: Set) -> impl Iterator<Item = u32> {
        let link = |at: u32| self.links.get(at as usize);
        std::iter::successors(link(set.first), move |before| link(before.next)).map(|link| link.server)
    }

    /// A server joins at the head, unless it is in the set or there is no room.
    fn join(&mut self, set: &mut Set, server: u32, now: Tick) {
        if self.servers(*set).any(|member| member == server) {
            return;
        }
        let link = Link { server, next: set.first };
        if let Some(unused) = self.links.get_mut(self.free as usize) {
            set.first = std::mem::replace(&mut self.free, unused.next);
            *unused = link;
        } else if self.links.len() < LIMIT {
            set.first = self.links.len() as u32;
            self.links.push(link);
        } else {
            return;
        }
        set.changed = now;
    }

    /// A server leaves.
    fn leave(&mut self, set: &mut Set, server: u32, now: Tick) {
        let (mut before, mut at) = (NONE, set.first);
        while let Some(&link) = self.links.get(at as usize) {
            if link.server == server {
                match self.links.get_mut(before as usize) {
                    Some(before) => before.next = link.next,
                    None => set.first = link.next,
                }
                self.links[at as usize].next = std::mem::replace(&mut self.free, at);
                set.changed = now;
                return;
            }
            (before, at) = (at, link.next);
        }
    }

    /// Gives the links of a set back.
    fn release(&mut self, set: Set) {
        let mut at = set.first;
        while let Some(link) = self.links.get_mut(at as usize) {
            let next = std::mem::replace(&mut link.next, self.free);
            self.free = at;
            at = next;
        }
    }
}

struct Replication {
    wlc: Tournament<fn(&Member, &Loads<'_>) -> Price>,
    targets: Targets<Set>,
    links: Links,
    servers: Servers,
}

pub(super) fn start(service: &Service, now: Tick, seed: u64) -> Box<dyn Scheduler> {
    let mut servers = Servers::default();
    servers.update(&service.members);
    Box::new(Replication {
        wlc: Tournament::new(&service.members, Price::of_overhead),
        targets: Targets::new(now, seed),
        links: Links { links: Vec::new(), free: NONE },
        servers,
    })
}

impl Replication {
    /// The member of a set that serves.
    fn least(&self, set: Set, service: &Service, loads: &Loads<'_>) -> Option<usize> {
        let present = self.links.servers(set).filter_map(|number| self.servers.get(number).member);
        let prices = present.map(|index| (index, Price::of_overhead(&service.members[index], loads)));
        let least = prices.reduce(|least, next| if least.1.above(next.1) { next } else { least });
        least.filter(|(_, price)| price.weight > 0).map(|(index, _)| index)
    }

    /// The server of a set with the most overhead for its weight, deleted or not.
    fn most(&self, set: Set, loads: &Loads<'_>) -> Option<u32> {
        let weighty = self.links.servers(set).filter(|&number| self.servers.get(number).weight > 0);
        let prices = weighty.map(|number| {
            let server = self.servers.get(number);
            (number, Price { cost: overhead(loads.of(server.id)), weight: server.weight })
        });
        let most = prices.reduce(|most, next| if next.1.above(most.1) { next } else { most });
        most.map(|(number, _)| number)
    }
}

impl Scheduler for Replication {
    fn pick(&mut self, service: &Service, loads: &Loads<'_>, request: &Request<'_>) -> Option<usize> {
        let (members, now) = (&service.members, request.now);
        let expiration = request.settings.lblcr_expiration;
        self.targets.scan(now, expiration, |set| self.links.release(set));
        let place = self.targets.find(request.target, now);
        if let Some(at) = place {
            let mut set = *self.targets.value(at);
            let least = self.least(set, service, loads);
            let stable = u64::from(now.since(set.changed)) > u64::from(expiration) * u64::from(TICKS_PER_SECOND);
            if stable
                && self.links.servers(set).nth(1).is_some()
                && let Some(most) = self.most(set, loads)
            {
                self.links.leave(&mut set, most, now);
                *self.targets.value(at) = set;
            }
            if let Some(index) = least.filter(|&index| !burdened(&members[index], members, loads)) {
                return Some(index);
            }
        }
        let index = self.wlc.winner(members, loads)?;
        let number = self.servers.number(index);
        match place {
            Some(at) => self.links.join(self.targets.value(at), number, now),
            None => {
                let mut set = Set { first: NONE, changed: now };
                self.links.join(&mut set, number, now);
                if !self.targets.insert(request.target, now, set, |set| self.links.release(set)) {
                    self.links.release(set);
                }
            }
        }
        Some(index)
    }

    fn changed(&mut self, _: &Service, new: &Service) {
        self.wlc.enter(&new.members);
        if !self.servers.update(&new.members) {
            self.targets.clear();
            self.links = Links { links: Vec::new(), free: NONE };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_used_again_and_end_at_the_limit() {
        let now = Tick(0);
        let mut links = Links { links: Vec::new(), free: NONE };
        for round in 0..10 {
            let mut set = Set { first: NONE, changed: now };
            (0..20).for_each(|server| links.join(&mut set, server + round % 3, now));
            links.leave(&mut set, 5 + round % 3, now);
            links.leave(&mut set, 500, now);
            assert_eq!(links.servers(set).count(), 19);
            links.release(set);
        }
        assert_eq!(links.links.len(), 20);

        let mut set = Set { first: NONE, changed: now };
        let mut full = Links { links: vec![Link { server: 7, next: NONE }; LIMIT], free: NONE };
        full.join(&mut set, 1, now.plus(1));
        assert_eq!((set.first, set.changed), (NONE, now));
    }
}
