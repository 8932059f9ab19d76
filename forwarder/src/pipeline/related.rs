//! ICMP errors about a connection: they follow it, in either direction, with the packet they quote translated as the
//! connection's packets are (ip_vs_in_icmp, ip_vs_out_icmp). They refresh no timer and change no state.

use super::{ConnSlot, DropReason, Pipeline, Turn, Verdict, answer, destination_of, leave};
use crate::conn::{Direction, Forward};
use crate::flow_table::{SlotId, hash};
use crate::parse::{Parsed, Quoted, TunnelQuote, icmp_checksum_good, quoted};
use crate::rewrite::icmp_error::{QuotedTtl, Sender};
use crate::rewrite::{self, dr};
use crate::service::{Destination, Method, Tunnel};
use crate::wire::ipv4::{Ipv4, protocol};
use packet_io::{Frame, TableMemory};

impl<M: TableMemory<ConnSlot>> Pipeline<M> {
    pub(super) fn related<F: Frame>(&mut self, turn: &Turn<'_>, frame: &mut F, parsed: &Parsed) -> Verdict {
        let gue_port = |port| turn.snapshot.gue_ports.contains(&port);
        let Some(quote) = quoted(frame.bytes(), parsed, gue_port) else { return Verdict::Kernel };
        let inner = quote.as_parsed();
        let found = if quote.tunnel.is_some() {
            self.request_of(&inner).map(|slot| (slot, Way::Tunnel))
        } else if let Some(slot) = self.request_of(&reversed(&inner)) {
            Some((slot, Way::ToServer))
        } else {
            self.reply_of(&reversed(&inner)).map(|slot| (slot, Way::ToClient))
        };
        let Some((slot, way)) = found else {
            return self.next_owner_of_error(turn, &quote).map_or(Verdict::Kernel, Verdict::HandOver);
        };
        if self.conns.get(slot).is_bypass() {
            return Verdict::Kernel;
        }
        if !icmp_checksum_good(frame.bytes(), parsed) {
            return Verdict::Drop(DropReason::BadIcmpChecksum);
        }
        match way {
            Way::Tunnel => self.about_tunnel(turn, frame, parsed, &quote, slot),
            Way::ToServer => self.tell_server(turn, frame, parsed, &quote, slot),
            Way::ToClient => self.tell_client(turn, frame, parsed, &quote, slot),
        }
    }

    fn request_of(&self, parsed: &Parsed) -> Option<SlotId> {
        let hash = hash(parsed.source_endpoint(), &self.secret);
        self.conns.find(hash, |conn| conn.is_request(parsed.addresses, parsed.ports, parsed.protocol))
    }

    fn reply_of(&self, parsed: &Parsed) -> Option<SlotId> {
        let hash = hash(parsed.destination_endpoint(), &self.secret);
        self.conns.find(hash, |conn| conn.is_reply(parsed.addresses, parsed.ports, parsed.protocol))
    }

    /// The client, or a router before it, complains about a reply: its server hears of it.
    fn tell_server<F: Frame>(
        &mut self,
        turn: &Turn<'_>,
        frame: &mut F,
        parsed: &Parsed,
        quote: &Quoted,
        slot: SlotId,
    ) -> Verdict {
        // One that is not for the director's own address meets the router before it meets IPVS, and so two hops.
        if answer::is_anothers(turn.snapshot.routes.lookup(parsed.destination())) {
            if is_last_hop(frame, parsed) {
                return Verdict::Drop(DropReason::TtlExceeded);
            }
            if let Some(mut ip) = Ipv4::at_mut(frame.bytes_mut(), parsed.l3.into()) {
                ip.decrement_ttl();
            }
        }
        let conn = *self.conns.get(slot);
        let Some(destination) = destination_of(&conn, turn.snapshot) else { return Verdict::Kernel };
        let counters = self.ledger.counters(conn.dest);
        counters.count(Direction::Request, parsed.total_length);
        let Some(mut way) = leave::way(turn.snapshot, destination.next_hop, destination.address) else {
            return Verdict::Kernel;
        };
        let outcome = match conn.forward() {
            Forward::Nat => rewrite::quoted::to_server(frame, parsed, quote, conn.reply().source_bits(), &way.hop),
            Forward::Tun => self.tunnel(turn, frame, parsed, destination, way.to_mut()),
            Forward::Dr => dr::send(frame, parsed, &way.hop),
            Forward::Local => return Verdict::Kernel,
        };
        way.verdict(outcome, parsed.l3).unwrap_or_else(|told| {
            self.refused(turn, frame, parsed, told, QuotedTtl::Decremented, parsed.destination())
        })
    }

    /// The server, or a router before it, complains about a request: its client hears of it, from the virtual address.
    fn tell_client<F: Frame>(
        &mut self,
        turn: &Turn<'_>,
        frame: &mut F,
        parsed: &Parsed,
        quote: &Quoted,
        slot: SlotId,
    ) -> Verdict {
        if is_last_hop(frame, parsed) {
            return Verdict::Drop(DropReason::TtlExceeded);
        }
        let conn = *self.conns.get(slot);
        let counters = self.ledger.counters(conn.dest);
        counters.count(Direction::Reply, parsed.total_length);
        let client = *conn.request().source().ip();
        let Some(way) = leave::way(turn.snapshot, self.client_hop(turn, slot, client), client) else {
            return Verdict::Kernel;
        };
        let outcome = rewrite::quoted::to_client(frame, parsed, quote, conn.request().destination_bits(), &way.hop);
        way.verdict(outcome, parsed.l3)
            .unwrap_or_else(|told| self.refused(turn, frame, parsed, told, QuotedTtl::AsReceived, parsed.destination()))
    }

    /// A router on the way to a tunnel's end complains about the outer packet: the client hears of its own packet, from
    /// the virtual address.
    fn about_tunnel<F: Frame>(
        &mut self,
        turn: &Turn<'_>,
        frame: &mut F,
        parsed: &Parsed,
        quote: &Quoted,
        slot: SlotId,
    ) -> Verdict {
        let conn = *self.conns.get(slot);
        let Some(destination) = destination_of(&conn, turn.snapshot) else { return Verdict::Kernel };
        if !quote.tunnel.is_some_and(|tunnel| turn.snapshot.any_destination(|other| is_to(&tunnel, other))) {
            return Verdict::Kernel;
        }
        let Some(way) = leave::way(turn.snapshot, destination.next_hop, destination.address) else {
            return Verdict::Kernel;
        };
        // As from the kernel, the client hears of the MTU that its packet was held against; the next one meets the new.
        let known = self.paths.used(destination.address, way.hop.mtu);
        if quote.is_fragmentation_needed() {
            self.paths.learn(destination.address, way.hop.mtu, quote.mtu(), turn.now);
        }
        let Some(message) = rewrite::quoted::about_tunnel(quote, Some(known)) else {
            return Verdict::Drop(DropReason::TunnelErrorIgnored);
        };
        if answer::is_anothers(turn.snapshot.routes.lookup(*conn.request().destination().ip())) {
            return Verdict::Drop(DropReason::TunnelErrorIgnored);
        }
        // Not back to the router that complains: the client is elsewhere.
        let Some((port, hop)) = answer::resolved_way(turn, *conn.request().source().ip()) else {
            return Verdict::Drop(DropReason::Unresolved);
        };
        if !self.may_tell(turn, message) {
            return Verdict::Drop(DropReason::TunnelErrorIgnored);
        }
        self.ip_id = self.ip_id.wrapping_add(1);
        let sender = Sender { source: *conn.request().destination().ip(), id: self.ip_id, hop };
        // The kernel counts what it answers twice: once as what it was about.
        let about = parsed.frame_length().saturating_sub(quote.l3.into());
        if rewrite::quoted::from_tunnel(frame, parsed, quote, message, &sender) {
            let verdict = Verdict::Answer(port, DropReason::TunnelError);
            self.count_own(conn.dest, conn.forward(), frame, parsed, &verdict);
            self.ledger.counters(conn.dest).count(Direction::Reply, about as u16);
            verdict
        } else {
            Verdict::Drop(DropReason::NoHeadroom)
        }
    }
}

/// True if no router sends this packet on.
pub(super) fn is_last_hop<F: Frame>(frame: &F, parsed: &Parsed) -> bool {
    Ipv4::at(frame.bytes(), parsed.l3.into()).is_some_and(|ip| ip.ttl() <= 1)
}

/// True if this is the outer header of packets to this real server.
fn is_to(tunnel: &TunnelQuote, destination: &Destination) -> bool {
    let outer = Parsed { addresses: tunnel.addresses, ..Parsed::default() };
    let same_kind = match destination.method {
        Method::Tun(Tunnel::Ipip) => tunnel.protocol == protocol::IPIP,
        Method::Tun(Tunnel::Gre(_)) => tunnel.protocol == protocol::GRE,
        Method::Tun(Tunnel::Gue(port, _)) => tunnel.protocol == protocol::UDP && tunnel.port == port,
        _ => false,
    };
    same_kind && outer.destination() == destination.address
}

/// The packet in the other direction.
fn reversed(parsed: &Parsed) -> Parsed {
    Parsed { addresses: parsed.addresses.rotate_left(32), ports: parsed.ports.rotate_left(16), ..*parsed }
}

/// Whom an error concerns.
enum Way {
    Tunnel,
    ToServer,
    ToClient,
}
