//! Persistence: a client's next connections go where its last one went, by a template that remembers the server.

use super::ownership::Share;
use super::peers::{Message, Peers};
use super::{ConnSlot, DropReason, Pipeline, TemplateSlot, Turn};
use crate::clock::Tick;
use crate::conn::{Conn, Leaving, Template, TemplateKey, template_usable};
use crate::flow_table::{Fate, FlowTable, SlotId};
use crate::parse::Parsed;
use crate::service::{DestId, Persistence, Protocol, Service};
use packet_io::TableMemory;
use std::net::SocketAddrV4;
use std::sync::Arc;

/// Which server a new connection gets, and by which template.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub destination: DestId,
    pub template: Option<Reference>,
}

/// What to do with a first packet of a persistent service.
#[derive(Clone, Copy, Debug)]
pub(super) enum Advice {
    /// It goes to this server, or there is none.
    Chosen(Option<Choice>),
    /// It waits for the answer to the question of this number.
    Asked(u32),
    /// Nothing can be done for it.
    Drop(DropReason),
}

/// A template as a connection remembers it: its slot, and above it the worker that keeps it, if there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Reference(pub u32);

/// Bits of a slot in a [`Reference`], with several workers.
const SLOT_BITS: u32 = 24;

/// A worker's templates, and the way to those of others.
pub(super) struct Templates {
    pub table: FlowTable<Template, Vec<TemplateSlot>>,
    pub share: Share,
    pub peers: Peers,
}

impl Templates {
    /// True if references to its templates can be told from those to others'.
    pub fn fit(&self) -> bool {
        self.share.is_all()
            || (self.share.of <= 1 << (u32::BITS - SLOT_BITS) && self.table.capacity() <= 1 << SLOT_BITS)
    }

    /// How connections refer to the template in this slot.
    pub fn reference(&self, SlotId(slot): SlotId) -> Reference {
        Reference(if self.share.is_all() { slot } else { self.share.worker << SLOT_BITS | slot })
    }

    /// The worker that keeps a template, unless it is this one.
    pub fn other_keeper(&self, Reference(reference): Reference) -> Option<u32> {
        let keeper = if self.share.is_all() { self.share.worker } else { reference >> SLOT_BITS };
        (keeper != self.share.worker).then_some(keeper)
    }

    /// The slot of a template that this worker keeps.
    pub fn slot(&self, Reference(reference): Reference) -> SlotId {
        SlotId(if self.share.is_all() { reference } else { reference & ((1 << SLOT_BITS) - 1) })
    }

    /// False if a connection cannot go yet: its template is another worker's, to whom nothing can be told now.
    pub fn may_leave(&self, conn: &Conn) -> bool {
        let keeper = conn.template().and_then(|reference| self.other_keeper(Reference(reference)));
        keeper.is_none_or(|keeper| self.peers.may_tell(keeper, 1))
    }

    /// As [`Conn::evictable`], but one that cannot go does not give way.
    pub fn evictable(&self, conn: &Conn) -> Option<u8> {
        if self.may_leave(conn) { conn.evictable() } else { None }
    }

    /// A connection leaves its template.
    pub fn leave(&mut self, conn: &Conn, why: Leaving, now: Tick) {
        let Some(reference) = conn.template().map(Reference) else { return };
        match self.other_keeper(reference) {
            Some(keeper) => self.peers.tell(keeper, Message::Left(reference, why)),
            None => self.left_here(reference, why, now),
        }
    }

    /// A connection left a template that this worker keeps.
    pub fn left_here(&mut self, reference: Reference, why: Leaving, now: Tick) {
        let slot = self.slot(reference);
        if self.table.get_mut(slot).left(why) {
            self.table.rearm(slot, now);
        }
    }

    /// A connection proved real, and so did its template. (Only listings and evictions care, so this may be lost.)
    pub fn assure(&mut self, conn: &Conn) {
        let Some(reference) = conn.template().map(Reference) else { return };
        match self.other_keeper(reference) {
            Some(keeper) if self.peers.may_tell(keeper, 1) => self.peers.tell(keeper, Message::Assured(reference)),
            Some(_) => {}
            None => self.assure_here(reference),
        }
    }

    /// As [`assure`](Self::assure), of a template that this worker keeps.
    pub fn assure_here(&mut self, reference: Reference) {
        let slot = self.slot(reference);
        self.table.get_mut(slot).assure();
    }
}

/// The key of the template of a connection. `call` is a hash of its SIP Call-ID, or 0.
pub(super) fn key(
    service: &Service,
    persistence: &Persistence,
    protocol: Protocol,
    parsed: &Parsed,
    call: u64,
) -> TemplateKey {
    let (client, target, port) = (parsed.source(), parsed.destination(), parsed.destination_port());
    TemplateKey { call, ..TemplateKey::new(&service.key, persistence.mask, client, target, protocol, port) }
}

impl<M: TableMemory<ConnSlot>> Pipeline<M> {
    /// The server of a new connection of a persistent service. `packet` is the frame, for persistence engines that look
    /// into it.
    pub(super) fn choose_persistent(
        &mut self,
        turn: &Turn<'_>,
        service: &Arc<Service>,
        protocol: Protocol,
        persistence: &Persistence,
        packet: &[u8],
        parsed: &Parsed,
    ) -> Advice {
        let call = if persistence.sip { super::sip::call(packet, parsed, &self.secret).unwrap_or(0) } else { 0 };
        let key = key(service, persistence, protocol, parsed, call);
        match self.share.other_owner(key.hash(&self.secret)) {
            Some(keeper) => self.consult(turn, keeper, service, parsed, call),
            None => Advice::Chosen(self.choose_here(turn, service, persistence, key, parsed)),
        }
    }

    /// The server that the client's template names, or else the scheduler, which then makes a template
    /// (ip_vs_sched_persist).
    pub(super) fn choose_here(
        &mut self,
        turn: &Turn<'_>,
        service: &Arc<Service>,
        persistence: &Persistence,
        key: TemplateKey,
        parsed: &Parsed,
    ) -> Option<Choice> {
        let hash = key.hash(&self.secret);
        let table = &mut self.templates.table;
        if let Some(slot) = table.find(hash, |template| template.matches(&key)) {
            let template = table.get_mut(slot);
            let usable = turn.snapshot.destination(template.dest).is_some_and(|destination| {
                destination.generation == template.generation
                    && template_usable(destination.available, destination.weight, &turn.snapshot.settings)
            });
            if usable {
                let destination = template.dest;
                return Some(Choice { destination, template: Some(self.templates.reference(slot)) });
            }
            template.invalidate();
        }
        let id = service.members[self.pick(turn, service, parsed)?].id;
        let destination = turn.snapshot.destination(id)?;
        let server = SocketAddrV4::new(destination.address, destination.port_for(parsed.destination_port()));
        let template = Template::new(key, server, id, destination.generation, persistence.timeout);
        let expires = turn.now.plus_seconds(persistence.timeout);
        // Without room for a template the connection is balanced like any other.
        let made = self.templates.table.insert(hash, template, expires, |_| None).ok();
        if made.is_some() {
            self.ledger.counters(id).persistent.up();
        }
        Some(Choice { destination: id, template: made.map(|made| self.templates.reference(made.slot)) })
    }

    /// The template of a choice scheduled a connection: its life starts anew. One of another worker knows already.
    pub(super) fn template_scheduled(&mut self, now: Tick, choice: &Choice) {
        if let Some(reference) = choice.template
            && self.templates.other_keeper(reference).is_none()
        {
            let slot = self.templates.slot(reference);
            let life = self.templates.table.get_mut(slot).scheduled();
            self.templates.table.rearm(slot, now.plus(life));
        }
    }

    /// Lets go the templates whose time is up and that no connection hangs on.
    pub(super) fn expire_templates(&mut self, now: Tick, budget: usize) {
        let Self { templates, ledger, .. } = self;
        templates.table.advance(now, budget, |template, _| match template.time_is_up() {
            Some(life) => Fate::Renew(now.plus(life)),
            None => {
                ledger.counters(template.dest).persistent.down();
                Fate::Expire
            }
        });
    }
}

/// The memory for templates, in one worker: as many entries as a quarter of its connections, up to what a table may have
/// whose slots are numbered beside workers.
#[must_use]
pub fn templates_for(connections: usize) -> usize {
    (connections / 4).clamp(1024, 10_000_000)
}

const _: () = assert!(crate::flow_table::slots_for(10_000_000) <= 1 << SLOT_BITS);
