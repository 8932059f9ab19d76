//! Persistence: a client's next connections go where its last one went, by a template that remembers the server.

use super::{ConnSlot, Pipeline, Turn};
use crate::clock::Tick;
use crate::conn::{Conn, Leaving, Template, TemplateKey, template_usable};
use crate::flow_table::{Fate, SlotId};
use crate::parse::Parsed;
use crate::service::{DestId, Persistence, Protocol, Service};
use packet_io::TableMemory;
use std::net::SocketAddrV4;
use std::sync::Arc;

/// Which server a new connection gets, and by which template.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub destination: DestId,
    pub template: Option<SlotId>,
}

impl<M: TableMemory<ConnSlot>> Pipeline<M> {
    /// The server that the client's template names, or else the scheduler, which then makes a template
    /// (ip_vs_sched_persist). `packet` is the frame, for persistence engines that look into it.
    pub(super) fn choose_persistent(
        &mut self,
        turn: &Turn<'_>,
        service: &Arc<Service>,
        protocol: Protocol,
        persistence: &Persistence,
        packet: &[u8],
        parsed: &Parsed,
    ) -> Option<Choice> {
        let (client, target, port) = (parsed.source(), parsed.destination(), parsed.destination_port());
        let mut key = TemplateKey::new(&service.key, persistence.mask, client, target, protocol, port);
        if persistence.sip {
            key.call = super::sip::call(packet, parsed, &self.secret).unwrap_or(0);
        }
        let hash = key.hash(&self.secret);
        if let Some(slot) = self.templates.find(hash, |template| template.matches(&key)) {
            let template = self.templates.get_mut(slot);
            let usable = turn.snapshot.destination(template.dest).is_some_and(|destination| {
                destination.generation == template.generation
                    && template_usable(destination.available, destination.weight, &turn.snapshot.settings)
            });
            if usable {
                return Some(Choice { destination: template.dest, template: Some(slot) });
            }
            template.invalidate();
        }
        let id = service.members[self.pick(turn, service, parsed)?].id;
        let destination = turn.snapshot.destination(id)?;
        let server = SocketAddrV4::new(destination.address, destination.port_for(port));
        let template = Template::new(key, server, id, destination.generation, persistence.timeout);
        let expires = turn.now.plus_seconds(persistence.timeout);
        // Without room for a template the connection is balanced like any other.
        let made = self.templates.insert(hash, template, expires, |_| None).ok().map(|made| made.slot);
        if made.is_some() {
            self.ledger.counters(id).persistent.up();
        }
        Some(Choice { destination: id, template: made })
    }

    /// The template of a choice scheduled a connection: its life starts anew.
    pub(super) fn template_scheduled(&mut self, now: Tick, choice: &Choice) {
        if let Some(slot) = choice.template {
            let life = self.templates.get_mut(slot).scheduled();
            self.templates.rearm(slot, now.plus(life));
        }
    }

    /// A connection leaves its template.
    pub(super) fn leave_template(&mut self, now: Tick, conn: &Conn, why: Leaving) {
        if let Some(slot) = conn.template()
            && self.templates.get_mut(slot).left(why)
        {
            self.templates.rearm(slot, now);
        }
    }

    /// A connection proved real, and so did its template.
    pub(super) fn assure_template(&mut self, conn: &Conn) {
        if let Some(slot) = conn.template() {
            self.templates.get_mut(slot).assure();
        }
    }

    /// Lets go the templates whose time is up and that no connection hangs on.
    pub(super) fn expire_templates(&mut self, now: Tick, budget: usize) {
        let Self { templates, ledger, .. } = self;
        templates.advance(now, budget, |template, _| match template.time_is_up() {
            Some(life) => Fate::Renew(now.plus(life)),
            None => {
                ledger.counters(template.dest).persistent.down();
                Fate::Expire
            }
        });
    }
}

/// The memory for templates, in one worker: as many entries as a quarter of its connections.
#[must_use]
pub fn templates_for(connections: usize) -> usize {
    (connections / 4).max(1024)
}
