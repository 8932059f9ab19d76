//! Which connections count where: ActiveConn, InActConn and PersistConn of each destination, and from them whether a
//! destination is over its threshold.
//!
//! A destination becomes overloaded when a new connection brings it to its upper threshold, and is taken back when an
//! entry goes that leaves it below the lower one (or, without one, below three quarters of the upper one): the rules
//! of the kernel's ip_vs_bind_dest and ip_vs_unbind_dest. With several workers the connections of all count, the others'
//! as the last survey found them.

use crate::conn::State;
use crate::lines;
use crate::service::{DestId, Destination, Member};
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
        Self { stats, overloaded: lines::filled(words, || 0), others: Vec::new(), touched }
    }

    /// There are other workers from now on.
    pub fn expect_others(&mut self) {
        self.others = lines::filled(self.stats.destinations.len(), Load::default);
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
            self.close(id);
        }
    }

    /// This worker chose a destination for a connection that another will make, and that no survey has found yet.
    pub fn promise(&mut self, id: DestId, upper: u32, active: bool) {
        if let Some(load) = self.others.get_mut(id.0 as usize) {
            let count = if active { &mut load.active } else { &mut load.inactive };
            *count = count.wrapping_add(1);
            self.touched.mark(id);
            if upper != 0 && self.total(id) >= upper {
                self.close(id);
            }
        }
    }

    /// What a survey found: the other workers' connections of a destination, and whether one of them holds it to be over
    /// its threshold.
    pub fn others_have(&mut self, member: &Member, load: Load, closed: bool) {
        let Some(known) = self.others.get_mut(member.id.0 as usize) else { return };
        if *known != load {
            *known = load;
            self.touched.mark(member.id);
        }
        if member.upper != 0 {
            let total = self.total(member.id);
            if closed || total >= member.upper {
                self.close(member.id);
            }
            if relieves(total, member.upper, member.lower) {
                self.clear(member.id);
            }
        }
    }

    /// An entry of this state was made.
    #[inline]
    pub fn entered(&self, state: State) {
        self.stats.states[state as usize].up();
    }

    /// An entry's state is another one.
    #[inline]
    pub fn passed(&self, from: State, to: State) {
        self.stats.states[from as usize].down();
        self.entered(to);
    }

    /// An entry is gone.
    #[inline]
    pub fn left(&self, state: State) {
        self.stats.states[state as usize].down();
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
        if relieves(self.total(id), destination.upper, destination.lower) {
            self.clear(id);
        }
    }

    /// A threshold that was lifted or raised takes the destination back at once (ip_vs_update_dest).
    pub fn relieve(&mut self, id: DestId) {
        if (id.0 as usize) < self.stats.destinations.len() {
            self.clear(id);
        }
    }

    fn close(&mut self, id: DestId) {
        self.overloaded[id.0 as usize / 64] |= 1 << (id.0 % 64);
        self.counters(id).closed.set(true);
        self.touched.mark(id);
    }

    fn clear(&mut self, id: DestId) {
        self.overloaded[id.0 as usize / 64] &= !(1 << (id.0 % 64));
        self.counters(id).closed.set(false);
        self.touched.mark(id);
    }

    fn total(&self, id: DestId) -> u32 {
        let load = self.loads().of(id);
        load.active.wrapping_add(load.inactive)
    }
}

/// True if so many connections take a destination back that was over its threshold.
fn relieves(total: u32, upper: u32, lower: u32) -> bool {
    let (total, upper, lower) = (u64::from(total), u64::from(upper), u64::from(lower));
    match (upper, lower) {
        (_, 1..) => total < lower,
        (1.., 0) => total * 4 < upper * 3,
        (0, 0) => true,
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
