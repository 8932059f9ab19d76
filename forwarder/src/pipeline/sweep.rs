//! What the kernel's work queue does after servers were removed while expire_nodest_conn is set
//! (ip_vs_expire_nodest_conn_flush): their connections and templates go, whether packets still come for them or not.
//!
//! The tables are gone through a piece each turn, from the tick after the removal on.

use super::{ConnSlot, Pipeline, destination_of, gone};
use crate::clock::Tick;
use crate::service::Snapshot;
use packet_io::TableMemory;

/// Slots that one turn looks at: some microseconds.
const SLOTS: usize = 256;

/// Where a walk through the tables is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sweep {
    /// It begins when this moment has passed.
    Due(Tick),
    /// It is at this slot of the connections.
    Conns(usize),
    /// It is at this slot of the templates.
    Templates(usize),
}

impl<M: TableMemory<ConnSlot>> Pipeline<M> {
    /// Servers may have been removed: begins the walk anew if so, and if it is wanted.
    pub(super) fn note_removals(&mut self, snapshot: &Snapshot, now: Tick) {
        if self.removals != snapshot.removals {
            self.removals = snapshot.removals;
            if snapshot.settings.expire_nodest_conn {
                self.sweep = Some(Sweep::Due(now));
            }
        }
    }

    /// One step of the walk.
    #[cold]
    pub(super) fn sweep_on(&mut self, sweep: Sweep, snapshot: &Snapshot, now: Tick) {
        self.sweep = match sweep {
            Sweep::Due(moment) if !now.passed(moment) => return,
            Sweep::Due(_) => Some(Sweep::Conns(0)),
            Sweep::Conns(from) => {
                let next = self.sweep_conns(from, snapshot, now);
                Some(next.map_or(Sweep::Templates(0), Sweep::Conns))
            }
            Sweep::Templates(from) => self.sweep_templates(from, snapshot).map(Sweep::Templates),
        };
    }

    fn sweep_conns(&mut self, from: usize, snapshot: &Snapshot, now: Tick) -> Option<usize> {
        let Self { conns, templates, ledger, .. } = self;
        if !templates.peers.may_tell_all(SLOTS) {
            return Some(from);
        }
        conns.retain(from, SLOTS, |_, conn| {
            let keep = destination_of(conn, snapshot).is_none_or(|destination| destination.available);
            if !keep {
                gone(conn, snapshot, now, templates, ledger);
            }
            keep
        })
    }

    fn sweep_templates(&mut self, from: usize, snapshot: &Snapshot) -> Option<usize> {
        let Self { templates, ledger, .. } = self;
        templates.table.retain(from, SLOTS, |_, template| {
            let destination =
                snapshot.destination(template.dest).filter(|destination| destination.generation == template.generation);
            let keep = template.connections() > 0 || destination.is_none_or(|destination| destination.available);
            if !keep {
                ledger.counters(template.dest).persistent.down();
            }
            keep
        })
    }
}
