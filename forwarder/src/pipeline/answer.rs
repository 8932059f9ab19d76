//! What the director itself says to the sender of a packet: ICMP errors and resets, written over the packet.

use super::{ConnSlot, DropReason, Pipeline, Turn, Verdict, leave};
use crate::parse::{Kind, Parsed};
use crate::rewrite::icmp_error::{self, Message, QuotedTtl, Sender};
use crate::rewrite::{Hop, reset};
use crate::route::{Mac, NextHop};
use crate::wire::{icmp, tcp};
use packet_io::{Frame, TableMemory};
use std::net::Ipv4Addr;

impl<M: TableMemory<ConnSlot>> Pipeline<M> {
    /// Tells the sender of a packet by ICMP, from the address `source`, what is wrong with it.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn tell<F: Frame>(
        &mut self,
        turn: &Turn<'_>,
        frame: &mut F,
        parsed: &Parsed,
        message: Message,
        ttl: QuotedTtl,
        source: Ipv4Addr,
        reason: DropReason,
    ) -> Verdict {
        // On behalf of an address that a mark made ours but that is not the director's own, nothing can be said.
        if is_anothers(turn.snapshot.routes.lookup(source)) {
            return Verdict::Drop(reason);
        }
        let Some((port, hop)) = way_back(turn, frame.bytes(), parsed) else { return Verdict::Drop(reason) };
        if !self.may_tell(turn, message) {
            return Verdict::Drop(reason);
        }
        self.ip_id = self.ip_id.wrapping_add(1);
        let sender = Sender { source, id: self.ip_id, hop };
        if icmp_error::write(frame, parsed, message, ttl, &sender) {
            Verdict::Answer(port, reason)
        } else {
            Verdict::Drop(reason)
        }
    }

    /// False if too many errors were sent lately: whoever forges a source must not make the director flood it. As in the
    /// kernel (icmp_global_allow) path MTU discovery does not suffer.
    pub(super) fn may_tell(&mut self, turn: &Turn<'_>, message: Message) -> bool {
        matches!(message, Message::FragmentationNeeded(_)) || self.errors.admit(turn.now)
    }

    /// No server can take a new connection: ICMP port unreachable, for TCP as well as UDP (as ip_vs_leave).
    #[cold]
    pub(super) fn no_destination<F: Frame>(&mut self, turn: &Turn<'_>, frame: &mut F, parsed: &Parsed) -> Verdict {
        let (message, reason) = (Message::PortUnreachable, DropReason::NoDestination);
        self.tell(turn, frame, parsed, message, QuotedTtl::AsReceived, parsed.destination(), reason)
    }

    /// A packet of no service: the kernel's, unless a real server has lost its connection and is to be told
    /// (nat_icmp_send).
    pub(super) fn no_service<F: Frame>(&mut self, turn: &Turn<'_>, frame: &mut F, parsed: &Parsed) -> Verdict {
        let is_reset = parsed.kind == Kind::Tcp && parsed.flags & tcp::flags::RST != 0;
        if !turn.snapshot.settings.nat_icmp_send || is_reset || !turn.snapshot.is_real_server(parsed) {
            return Verdict::Kernel;
        }
        let own = leave::own_address(turn);
        let (message, reason) = (Message::PortUnreachable, DropReason::NoReplyConnection);
        self.tell(turn, frame, parsed, message, QuotedTtl::Decremented, own, reason)
    }

    /// A packet of a service that neither has nor may start a connection. The kernel would leave it to its own stack,
    /// which has no socket there, and no SCTP; a director whose kernel must not see a service's packets answers as that stack would.
    #[cold]
    pub(super) fn no_connection<F: Frame>(&mut self, turn: &Turn<'_>, frame: &mut F, parsed: &Parsed) -> Verdict {
        let reason = DropReason::NoConnection;
        if parsed.kind == Kind::Sctp {
            let message = Message::Other(icmp::UNREACHABLE, icmp::PROTOCOL_UNREACHABLE, [0; 4]);
            return self.tell(turn, frame, parsed, message, QuotedTtl::AsReceived, parsed.destination(), reason);
        }
        if parsed.kind != Kind::Tcp || is_anothers(turn.snapshot.routes.lookup(parsed.destination())) {
            return Verdict::Drop(reason);
        }
        match way_back(turn, frame.bytes(), parsed) {
            Some((port, hop)) if reset::write(frame, parsed, &hop) => Verdict::Answer(port, reason),
            _ => Verdict::Drop(reason),
        }
    }
}

/// True if packets with such a destination are routed on, so that its address is not the director's own. An address that
/// no route leads to may well be one that only the director's services know.
pub(super) fn is_anothers(next_hop: NextHop) -> bool {
    matches!(next_hop, NextHop::Link(_) | NextHop::Unknown(_))
}

/// The way back to the sender of a packet: by its route, or, while that is not known, to whoever handed the packet over.
pub(super) fn way_back(turn: &Turn<'_>, frame: &[u8], parsed: &Parsed) -> Option<(u16, Hop)> {
    resolved_way(turn, parsed.source()).or_else(|| {
        // A port whose kernel interface is gone has no MAC address to send from.
        let port = turn.snapshot.ports.get(usize::from(turn.port)).filter(|port| port.mac != Mac::default())?;
        let handed_over_by = frame.get(6..12)?.try_into().ok()?;
        Some((turn.port, Hop::new(handed_over_by, port.mac, port.mtu)))
    })
}

/// The way to an address by its route, if the neighbour's MAC address is known.
pub(super) fn resolved_way(turn: &Turn<'_>, address: Ipv4Addr) -> Option<(u16, Hop)> {
    let way = leave::way(turn.snapshot, turn.snapshot.routes.lookup(address), address)?;
    Some((way.resolved()?, way.hop))
}
