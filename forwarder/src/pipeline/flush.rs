//! Connections and templates that an operator takes away. The tables are gone through a piece at a time, between turns.

use super::{ConnSlot, ConnView, Listing, Pipeline, unbind};
use crate::clock::Tick;
use crate::conn::{Conn, Leaving, Template};
use crate::service::{DestId, Snapshot};
use packet_io::TableMemory;
use std::net::Ipv4Addr;

/// Slots that one piece looks at: some microseconds.
const SLOTS: usize = 256;

/// Which of them are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// Those of these destinations alone: by slot, the generation of the one that is meant. None: of all.
    pub destinations: Option<Vec<Option<u16>>>,
    /// Those of this client alone. A template that it shares with others, by the service's mask, is not its own.
    pub client: Option<Ipv4Addr>,
}

/// How many went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Connections.
    pub connections: u64,
    /// Persistence templates.
    pub templates: u64,
}

impl Which {
    /// One that is listed.
    #[must_use]
    pub fn listed(&self, view: &ConnView) -> bool {
        self.means(view.destination, view.generation, *view.client.ip())
    }

    fn means(&self, dest: DestId, generation: u16, client: Ipv4Addr) -> bool {
        let destination = self.destinations.as_ref();
        destination.is_none_or(|known| known.get(dest.0 as usize).copied().flatten() == Some(generation))
            && self.client.is_none_or(|known| known == client)
    }

    fn connection(&self, conn: &Conn) -> bool {
        self.means(conn.dest, conn.generation, *conn.request().source().ip())
    }

    fn template(&self, template: &Template) -> bool {
        self.means(template.dest, template.generation, template.key().client)
    }
}

impl<M: TableMemory<ConnSlot>> Pipeline<M> {
    /// Takes away those that live in the next slots, and answers where to go on: after the last connection at the first
    /// template, after the last template at the end; or `from` itself if other workers cannot be told now. What is made
    /// meanwhile, in slots that were passed, stays. A template that connections still hang on goes with the last of them,
    /// and no other finds it.
    pub fn flush(
        &mut self,
        snapshot: &Snapshot,
        now: Tick,
        which: &Which,
        from: Listing,
        flushed: &mut Flushed,
    ) -> Listing {
        match from {
            Listing::Start => self.flush_conns(snapshot, now, which, 0, flushed),
            Listing::Conns(slot) => self.flush_conns(snapshot, now, which, slot, flushed),
            Listing::Templates(slot) => self.flush_templates(which, slot, flushed),
            Listing::End => Listing::End,
        }
    }

    fn flush_conns(
        &mut self,
        snapshot: &Snapshot,
        now: Tick,
        which: &Which,
        from: usize,
        flushed: &mut Flushed,
    ) -> Listing {
        let Self { conns, templates, ledger, .. } = self;
        if !templates.peers.may_tell_all(SLOTS) {
            return Listing::Conns(from);
        }
        let next = conns.retain(from, SLOTS, |_, conn| {
            let goes = which.connection(conn);
            if goes {
                flushed.connections += 1;
                ledger.stats.flushed.add(1);
                unbind(conn, snapshot, ledger);
                templates.leave(conn, Leaving::Ended, now);
            }
            !goes
        });
        ledger.stats.entries.set(conns.len() as u64);
        next.map_or(Listing::Templates(0), Listing::Conns)
    }

    fn flush_templates(&mut self, which: &Which, from: usize, flushed: &mut Flushed) -> Listing {
        let Self { templates, ledger, .. } = self;
        let next = templates.table.retain(from, SLOTS, |_, template| {
            if !which.template(template) {
                return true;
            }
            flushed.templates += u64::from(template.is_valid());
            template.invalidate();
            let stays = template.connections() > 0;
            if !stays {
                ledger.counters(template.dest).persistent.down();
            }
            stays
        });
        next.map_or(Listing::End, Listing::Templates)
    }
}
