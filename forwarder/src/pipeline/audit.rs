//! Whether tables and counters add up: for tests that put a pipeline through everything.

use super::{ConnSlot, Pipeline};
use crate::conn::State;
use crate::flow_table::hash;
use crate::parse::Parsed;
use crate::service::{DestId, Snapshot};
use packet_io::TableMemory;
use std::collections::HashMap;

impl<M: TableMemory<ConnSlot>> Pipeline<M> {
    /// Walks all tables: every destination's ActiveConn, InActConn and PersistConn, every template's connections,
    /// connections by state, that each connection is found, and that the schedulers follow the snapshot, which must be the
    /// last one adopted. It takes as long as the tables are big.
    ///
    /// # Errors
    /// The first thing that does not add up, in words.
    pub fn audit(&self, snapshot: &Snapshot) -> Result<(), String> {
        let mut counted: HashMap<DestId, [u32; 3]> = HashMap::new();
        let mut states = [0; State::COUNT];
        let mut hanging = HashMap::new();
        self.hang(&mut hanging);
        let mut wrong = None;
        if let Some(service) = snapshot.services.iter().flatten().find(|service| !self.schedulers.follows(service)) {
            wrong = Some(format!("the scheduler of {:?} does not follow it", service.key));
        }
        self.conns.scan(0, usize::MAX, |slot, conn, _| {
            states[conn.state as usize] += 1;
            if !conn.is_bypass() {
                counted.entry(conn.dest).or_default()[usize::from(!conn.is_active())] += 1;
            }
            let request = conn.request();
            let parsed = Parsed {
                addresses: request.addresses,
                ports: request.ports,
                protocol: conn.protocol(),
                ..Parsed::default()
            };
            let hash = hash(parsed.source_endpoint(), &self.secret);
            let same = self.conns.find(hash, |other| other.is_request(parsed.addresses, parsed.ports, parsed.protocol));
            let has_ended = conn.protocol() != conn.protocol;
            if has_ended == (same == Some(slot)) {
                wrong = Some(format!("{conn:?} in {slot:?} is found in {same:?}"));
            }
        });
        self.templates.table.scan(0, usize::MAX, |_, template, _| {
            counted.entry(template.dest).or_default()[2] += 1;
        });
        if self.share.is_all()
            && let Some((number, missing)) = hanging.into_iter().find(|(_, missing)| *missing != 0)
        {
            wrong = Some(format!("template {number} counts {missing} connections more than it has"));
        }
        for (id, counters) in (0..).map(DestId).zip(&self.ledger.stats.destinations) {
            let counters = [&counters.active, &counters.inactive, &counters.persistent].map(crate::stats::Gauge::get);
            let counted = counted.remove(&id).unwrap_or_default();
            if counters != counted {
                wrong = Some(format!("{id:?}: the counters say {counters:?}, the tables {counted:?}"));
            }
            if self.share.is_all() && counted[0] + counted[1] == 0 && self.is_overloaded(id) {
                wrong = Some(format!("{id:?} is overloaded without a connection"));
            }
        }
        let said = self.ledger.stats.states.each_ref().map(crate::stats::Gauge::get);
        if said != states {
            wrong = Some(format!("the counters of states say {said:?}, the table {states:?}"));
        }
        wrong.map_or(Ok(()), Err)
    }

    /// For each template, by the number that connections know it by: the connections that it counts, less those that hang
    /// on it here. Over all workers the sum is 0 for each, when no message is on its way.
    pub fn hang(&self, sum: &mut HashMap<u32, i64>) {
        self.conns.scan(0, usize::MAX, |_, conn, _| {
            if let Some(template) = conn.template() {
                *sum.entry(template).or_default() -= 1;
            }
        });
        self.templates.table.scan(0, usize::MAX, |slot, template, _| {
            *sum.entry(self.templates.reference(slot).0).or_default() += i64::from(template.connections());
        });
    }

    /// True if a destination is over its threshold.
    #[must_use]
    pub fn is_overloaded(&self, id: DestId) -> bool {
        self.ledger.loads().overloaded(id)
    }
}
