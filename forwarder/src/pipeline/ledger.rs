//! Which connections count where: ActiveConn, InActConn and PersistConn of each destination, and from them whether a
//! destination is over its threshold.
//!
//! A destination becomes overloaded when a new connection brings it to its upper threshold, and is taken back when an
//! entry goes that leaves it below the lower one (or, without one, below three quarters of the upper one): the rules
//! of the kernel's ip_vs_bind_dest and ip_vs_unbind_dest.

use crate::service::{DestId, Destination};
use crate::stats::{DestCounters, Load, Loads, Touched, WorkerStats};
use std::sync::Arc;

/// The counts of one worker.
#[derive(Debug)]
pub(super) struct Ledger {
    pub stats: Arc<WorkerStats>,
    /// A bit by destination slot: over its threshold.
    overloaded: Vec<u64>,
    /// The other workers' connections by destination slot; empty with one worker.
    others: Vec<Load>,
    /// Destinations whose load or mark changed; also to be marked when a new sum of the others' comes in.
    touched: Touched,
}

impl Ledger {
    pub fn new(stats: Arc<WorkerStats>) -> Self {
        let words = stats.destinations.len().div_ceil(64);
        let touched = Touched::new(stats.destinations.len());
        Self { stats, overloaded: vec![0; words], others: Vec::new(), touched }
    }

    /// The loads as a scheduler sees them.
    pub fn loads(&self) -> Loads<'_> {
        Loads {
            own: &self.stats.destinations,
            others: &self.others,
            overloaded: &self.overloaded,
            touched: &self.touched,
        }
    }

    /// The counters of a destination slot. The control thread hands out no slot beyond them.
    #[inline]
    pub fn counters(&self, id: DestId) -> &DestCounters {
        &self.stats.destinations[id.0 as usize]
    }

    /// A connection was made to this destination.
    pub fn bind(&mut self, id: DestId, destination: &Destination, active: bool) {
        self.counters(id).opened(active);
        self.touched.mark(id);
        if destination.upper != 0 && self.total(id) >= destination.upper {
            self.overloaded[id.0 as usize / 64] |= 1 << (id.0 % 64);
        }
    }

    /// A connection became active or inactive.
    #[inline]
    pub fn moved(&mut self, id: DestId, active: bool) {
        let counters = self.counters(id);
        counters.closed(!active);
        counters.opened(active);
        self.touched.mark(id);
    }

    /// A connection of this destination is gone. `destination` is none if the slot already belongs to another one.
    pub fn unbind(&mut self, id: DestId, destination: Option<&Destination>, active: bool) {
        self.counters(id).closed(active);
        self.touched.mark(id);
        let Some(destination) = destination else { return };
        let total = u64::from(self.total(id));
        let (upper, lower) = (u64::from(destination.upper), u64::from(destination.lower));
        let relieved = match (upper, lower) {
            (_, 1..) => total < lower,
            (1.., 0) => total * 4 < upper * 3,
            (0, 0) => true,
        };
        if relieved {
            self.clear(id);
        }
    }

    /// A threshold that was lifted or raised takes the destination back at once (ip_vs_update_dest).
    pub fn relieve(&mut self, id: DestId) {
        if (id.0 as usize) < self.stats.destinations.len() {
            self.clear(id);
        }
    }

    fn clear(&mut self, id: DestId) {
        self.overloaded[id.0 as usize / 64] &= !(1 << (id.0 % 64));
        self.touched.mark(id);
    }

    fn total(&self, id: DestId) -> u32 {
        let load = self.loads().of(id);
        load.active.saturating_add(load.inactive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::NextHop;
    use crate::service::{Method, ServiceId};
    use std::net::Ipv4Addr;

    fn destination(upper: u32, lower: u32) -> Destination {
        Destination {
            generation: 1,
            available: true,
            weight: 1,
            upper,
            lower,
            method: Method::Dr,
            address: Ipv4Addr::LOCALHOST,
            port: 80,
            service: ServiceId(0),
            next_hop: NextHop::Unreachable,
            exit: crate::service::Exit::CLOSED,
        }
    }

    #[test]
    fn thresholds_close_and_reopen_where_the_kernel_does() {
        // (upper, lower, connections left when it is taken back): recorded in states/threshold-*.
        for (upper, lower, reopens_at) in [(4, 0, 2), (4, 2, 1), (1, 0, 0), (8, 0, 5), (4, 1, 0)] {
            let (id, destination) = (DestId(70), destination(upper, lower));
            let mut ledger = Ledger::new(Arc::new(WorkerStats::new(128)));
            for n in 1..=upper {
                assert!(!ledger.loads().overloaded(id));
                ledger.bind(id, &destination, n % 2 == 0);
            }
            assert!(ledger.loads().overloaded(id), "-x {upper} -y {lower}");
            for left in (0..upper).rev() {
                ledger.unbind(id, Some(&destination), (left + 1) % 2 == 0);
                assert_eq!(ledger.loads().overloaded(id), left > reopens_at, "-x {upper} -y {lower}, {left} left");
            }
        }
    }
}
