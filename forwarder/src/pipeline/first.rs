//! The packet that makes a connection: which service, which server, and the new entry.

use super::leave::Toward;
use super::persist::{Advice, Choice, Reference};
use super::{ConnSlot, DropReason, Pipeline, Turn, Verdict, signal, unbind};
use crate::clock::Tick;
use crate::conn::{self, Conn, Direction, Endpoints, Forward, Leaving};
use crate::flow_table::{FlowTable, Full, SlotId};
use crate::parse::Parsed;
use crate::service::{DestId, Destination, Protocol, Service};
use packet_io::{Frame, TableMemory};
use std::net::SocketAddrV4;
use std::sync::Arc;

impl<M: TableMemory<ConnSlot>> Pipeline<M> {
    /// A packet without a connection. `replaced` is an entry of the same packet that a new one takes the place of; as
    /// in the kernel it counts until the new server has been picked.
    #[inline(never)]
    pub(super) fn first<F: Frame>(
        &mut self,
        turn: &Turn<'_>,
        frame: &mut F,
        parsed: &Parsed,
        hash: u64,
        replaced: Option<SlotId>,
    ) -> Verdict {
        let Some(protocol) = Protocol::from_number(parsed.protocol) else { return Verdict::Kernel };
        let found =
            turn.snapshot.service_for(protocol, parsed.source(), parsed.destination(), parsed.destination_port());
        let Some((service, mark)) = found else {
            return self.no_service(turn, frame, parsed);
        };
        // Its memory comes while the server is chosen.
        self.conns.prepare(hash);
        // As in the kernel: who wants an address served must own it; otherwise its packets are only routed.
        if mark == 0 && !self.own.is_own(&turn.snapshot.routes, parsed.destination()) {
            return Verdict::Kernel;
        }
        if let Some(verdict) = self.misplaced(parsed) {
            return verdict;
        }
        if parsed.has_martian_source() {
            return Verdict::Drop(DropReason::MartianSource);
        }
        let signal = signal(frame.bytes(), parsed);
        if !conn::may_start(signal, &turn.snapshot.settings) {
            if let Some(old) = replaced {
                self.end(turn.now, old);
            }
            return self.no_connection(turn, frame, parsed);
        }
        let choice = match service.persistence {
            Some(persistence) => {
                match self.choose_persistent(turn, service, protocol, &persistence, frame.bytes(), parsed) {
                    Advice::Chosen(choice) => choice,
                    Advice::Asked(question) => return Verdict::Ask(question),
                    Advice::Drop(reason) => return Verdict::Drop(reason),
                }
            }
            None => self.choose(turn, service, parsed),
        };
        if let Some(old) = replaced {
            self.end(turn.now, old);
        }
        match choice {
            Some(choice) if service.one_packet => self.one_packet(turn, frame, parsed, &choice),
            Some(choice) => self.connect(turn, frame, parsed, hash, service, choice),
            None => match self.bypass_first(turn, frame, parsed, hash, mark) {
                Some(verdict) => verdict,
                None => {
                    let verdict = self.no_destination(turn, frame, parsed);
                    // The kernel's answer meets the old entry on its way out.
                    if let Some(old) = replaced {
                        let old = self.conns.get(old);
                        self.count_own(old.dest, old.forward(), frame, parsed, &verdict);
                    }
                    verdict
                }
            },
        }
    }

    /// Asks the scheduler.
    fn choose(&mut self, turn: &Turn<'_>, service: &Arc<Service>, parsed: &Parsed) -> Option<Choice> {
        let member = self.pick(turn, service, parsed)?;
        Some(Choice { destination: service.members[member].id, template: None })
    }

    /// The index of the member that the service's scheduler picks.
    pub(super) fn pick(&mut self, turn: &Turn<'_>, service: &Arc<Service>, parsed: &Parsed) -> Option<usize> {
        let client = (parsed.source(), parsed.source_port());
        self.schedulers.pick(service, &self.ledger, turn.snapshot, client, parsed.destination(), turn.now)
    }

    /// Makes the entry and sends the packet on.
    fn connect<F: Frame>(
        &mut self,
        turn: &Turn<'_>,
        frame: &mut F,
        parsed: &Parsed,
        hash: u64,
        service: &Service,
        choice: Choice,
    ) -> Verdict {
        let Some(destination) = turn.snapshot.destination(choice.destination) else {
            self.not_made(choice.template);
            return Verdict::Drop(DropReason::DestinationGone);
        };
        // Nothing here refers to it before it is in its slot, so it is made there; and nothing that was just written
        // piece by piece is copied as a whole, which processors are slow at.
        let mut conn = new_conn(parsed, choice.destination, destination);
        if service.timeouts.is_some() {
            conn.set_own_timeouts();
        }
        if let Some(Reference(template)) = choice.template {
            conn.set_template(template);
        }
        let secure = turn.snapshot.settings.is_secure();
        let change = conn.see(Direction::Request, signal(frame.bytes(), parsed), secure);
        let timeouts = service.timeouts.as_ref().unwrap_or(&turn.snapshot.timeouts);
        let expires = turn.now.plus(timeouts.of(conn.state));
        let (forward, active) = (conn.forward(), conn.is_active());
        let server = server_bits(parsed, destination);
        let to = |entered| Toward { destination, forward, server, entered };
        let Ok(slot) = self.enter(turn, hash, conn, expires) else {
            self.not_made(choice.template);
            // Without an entry, a datagram can still be delivered where nothing has to be translated back.
            let stateless = parsed.protocol == Protocol::Udp as u8 && forward != Forward::Nat;
            return if stateless {
                self.deliver(turn, frame, parsed, &to(None))
            } else {
                Verdict::Drop(DropReason::TableFull)
            };
        };
        let slot = if forward == Forward::Nat { put_first(&mut self.conns, hash, slot) } else { slot };
        self.template_scheduled(turn.now, &choice);
        self.ledger.bind(choice.destination, destination, active);
        if change.assured {
            self.templates.assure(self.conns.get(slot));
        }
        self.count_first(parsed, &choice);
        self.deliver(turn, frame, parsed, &to(Some(choice.destination)))
    }

    /// Puts a connection into the table, where another may have to give way.
    #[inline(always)]
    pub(super) fn enter(&mut self, turn: &Turn<'_>, hash: u64, conn: Conn, expires: Tick) -> Result<SlotId, Full> {
        let Self { conns, templates, ledger, .. } = self;
        let room = conns.room(hash, |conn| templates.evictable(conn)).inspect_err(|_| {
            ledger.stats.insert_failures.add(1);
        })?;
        if let Some(evicted) = conns.giving_way(room) {
            ledger.stats.evicted.add(1);
            templates.leave(evicted, Leaving::GaveWay, turn.now);
            unbind(evicted, turn.snapshot, ledger);
        }
        ledger.stats.created.add(1);
        ledger.entered(conn.state);
        conns.put(room, hash, conn, expires);
        Ok(room.slot)
    }

    /// One-packet scheduling: the packet is sent on and nothing is remembered.
    fn one_packet<F: Frame>(&mut self, turn: &Turn<'_>, frame: &mut F, parsed: &Parsed, choice: &Choice) -> Verdict {
        let Some(destination) = turn.snapshot.destination(choice.destination) else {
            self.not_made(choice.template);
            return Verdict::Drop(DropReason::DestinationGone);
        };
        self.one_packet_went_to = choice.destination;
        let mut conn = new_conn(parsed, choice.destination, destination);
        if let Some(Reference(template)) = choice.template {
            conn.set_template(template);
            self.template_scheduled(turn.now, choice);
            self.templates.leave(&conn, Leaving::Ended, turn.now);
        }
        self.count_first(parsed, choice);
        let (forward, server) = (conn.forward(), server_bits(parsed, destination));
        self.deliver(turn, frame, parsed, &Toward { destination, forward, server, entered: None })
    }

    fn count_first(&mut self, parsed: &Parsed, choice: &Choice) {
        let counters = self.ledger.counters(choice.destination);
        counters.connections.add(1);
        counters.count(Direction::Request, parsed.total_length);
    }
}

/// A client that talks from one port to several services is the same peer to a server of both. A reply then belongs to the
/// newest connection, as in the kernel, which looks through its lists from the newest on (`ip_vs_conn_hash`). Answers where
/// the newest, which was put into `slot`, is then.
#[inline]
fn put_first<M: TableMemory<ConnSlot>>(conns: &mut FlowTable<Conn, M>, hash: u64, slot: SlotId) -> SlotId {
    let conn = conns.get(slot);
    let (Endpoints { addresses, ports }, protocol, request) = (conn.reply(), conn.protocol, conn.request());
    let same_replies = |other: &Conn| other.is_reply(addresses, ports, protocol);
    match conns.find(hash, |other| same_replies(other) && other.request() != request) {
        Some(older) => put_before(conns, hash, slot, older, same_replies),
        None => slot,
    }
}

/// Replies of the burst in work may have met the older one already: in its place must be the newest from now on, or nobody.
#[cold]
fn put_before<M: TableMemory<ConnSlot>>(
    conns: &mut FlowTable<Conn, M>,
    hash: u64,
    newest: SlotId,
    older: SlotId,
    same_replies: impl Fn(&Conn) -> bool,
) -> SlotId {
    let is_first = |conns: &FlowTable<Conn, M>| conns.find(hash, &same_replies) == Some(newest);
    let mut older = older;
    if is_first(conns) {
        let Ok(room) = conns.room(hash, |_| None) else { return newest };
        conns.put(room, hash, *conns.get(older), conns.expires(older));
        conns.remove(older);
        if is_first(conns) {
            return newest;
        }
        older = room.slot;
    }
    conns.exchange(older, newest);
    older
}

/// The address and port of the destination that this packet goes to, as they stand in memory.
#[inline]
fn server_bits(parsed: &Parsed, destination: &Destination) -> (u32, u16) {
    let port = destination.port_for(parsed.destination_port());
    (u32::from_ne_bytes(destination.address.octets()), port.to_be())
}

/// A fresh connection of this packet to this destination.
#[inline(always)]
fn new_conn(parsed: &Parsed, id: DestId, destination: &Destination) -> Conn {
    let request = Endpoints { addresses: parsed.addresses, ports: parsed.ports };
    let server = SocketAddrV4::new(destination.address, destination.port_for(parsed.destination_port()));
    let mut conn = Conn::new(request, parsed.protocol, destination.method.into(), server);
    (conn.dest, conn.generation) = (id, destination.generation);
    conn
}
