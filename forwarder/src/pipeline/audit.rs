//! Whether tables and counters add up: for tests that put a pipeline through everything.

use super::{ConnSlot, Pipeline};
use crate::flow_table::hash;
use crate::parse::Parsed;
use crate::service::{DestId, Snapshot};
use packet_io::TableMemory;
use std::collections::HashMap;

impl<M: TableMemory<ConnSlot>> Pipeline<M> {
    /// Walks all tables: every destination's ActiveConn, InActConn and PersistConn, every template's connections, that
    /// each connection is found, and that the schedulers follow the snapshot, which must be the last one adopted. It
    /// takes as long as the tables are big.
    ///
    /// # Errors
    /// The first thing that does not add up, in words.
    pub fn audit(&self, snapshot: &Snapshot) -> Result<(), String> {
        let mut counted: HashMap<DestId, [u32; 3]> = HashMap::new();
        let mut templated: HashMap<u32, u32> = HashMap::new();
        let mut wrong = None;
        if let Some(service) = snapshot.services.iter().flatten().find(|service| !self.schedulers.follows(service)) {
            wrong = Some(format!("the scheduler of {:?} does not follow it", service.key));
        }
        self.conns.scan(0, usize::MAX, |slot, conn, _| {
            if !conn.is_bypass() {
                counted.entry(conn.dest).or_default()[usize::from(!conn.is_active())] += 1;
            }
            if let Some(template) = conn.template() {
                *templated.entry(template.0).or_default() += 1;
                if !self.templates.contains(template) {
                    wrong = Some(format!("the template of {conn:?} is gone"));
                }
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
        self.templates.scan(0, usize::MAX, |slot, template, _| {
            counted.entry(template.dest).or_default()[2] += 1;
            let connections = templated.remove(&slot.0).unwrap_or_default();
            if template.connections() != connections {
                wrong = Some(format!("{connections} connections hang on {template:?}"));
            }
        });
        for (id, counters) in (0..).map(DestId).zip(&self.ledger.stats.destinations) {
            let counters = [&counters.active, &counters.inactive, &counters.persistent].map(crate::stats::Gauge::get);
            let counted = counted.remove(&id).unwrap_or_default();
            if counters != counted {
                wrong = Some(format!("{id:?}: the counters say {counters:?}, the tables {counted:?}"));
            }
            if counted[0] + counted[1] == 0 && self.is_overloaded(id) {
                wrong = Some(format!("{id:?} is overloaded without a connection"));
            }
        }
        wrong.map_or(Ok(()), Err)
    }

    /// True if a destination is over its threshold.
    #[must_use]
    pub fn is_overloaded(&self, id: DestId) -> bool {
        self.ledger.loads().overloaded(id)
    }
}
