//! The last step: where a packet leaves, and the rewriting for it.

use super::{ConnSlot, DropReason, Pipeline, Turn, Verdict};
use crate::clock::TICK_MS;
use crate::conn::{Conn, Direction, Forward};
use crate::flow_table::SlotId;
use crate::parse::Parsed;
use crate::rewrite::icmp_error::{Message, QuotedTtl};
use crate::rewrite::{Departure, Hop, Outcome, Outer, dr, gre, gue, ipip, nat, options};
use crate::route::{LinkId, NextHop};
use crate::service::{DestId, Destination, Method, Snapshot, Tunnel, TunnelChecksum};
use crate::way::Way;
use packet_io::{Frame, TableMemory};
use std::borrow::Cow;
use std::net::Ipv4Addr;

/// Where a request goes, as its connection says.
#[derive(Clone, Copy)]
pub(super) struct Toward<'a> {
    pub destination: &'a Destination,
    pub forward: Forward,
    /// The address and port that it gets (NAT), as they stand in memory.
    pub server: (u32, u16),
    /// The connection's destination, if it is in the table: what the director itself answers counts there.
    pub entered: Option<DestId>,
}

impl Way {
    /// What becomes of a frame that was rewritten for this way. `l3` is the offset of its IP header.
    #[inline]
    pub fn verdict(&self, outcome: Outcome, l3: u8) -> Result<Verdict, Outcome> {
        match outcome {
            Outcome::Send if self.local => Ok(Verdict::Kernel),
            Outcome::Send => Ok(self.waiting.map_or(Verdict::Transmit(self.port), Verdict::Hold)),
            Outcome::Fragment => Ok(Verdict::Split { port: self.port, l3, mtu: self.hop.mtu, waiting: self.waiting }),
            Outcome::NoRoom => Ok(Verdict::Drop(DropReason::NoHeadroom)),
            told => Err(told),
        }
    }
}

/// The way to a next hop. `address` is that of the packet's destination, the neighbour if it is on the link.
#[inline]
pub(super) fn way(snapshot: &Snapshot, next_hop: NextHop, address: Ipv4Addr) -> Option<Cow<'_, Way>> {
    match next_hop {
        NextHop::Link(id) => snapshot.ways.get(usize::from(id.0)).map(Cow::Borrowed),
        NextHop::Unknown(number) => {
            let port = snapshot.ports.get(usize::from(number))?;
            Some(Cow::Owned(Way::unknown(number, port, address)))
        }
        NextHop::Local | NextHop::Unreachable => None,
    }
}

/// The way to the director's own kernel: the frame keeps its MAC addresses, and no MTU is in its way.
#[cold]
fn own_way<'a>(frame: &[u8], turn: &Turn<'_>) -> Cow<'a, Way> {
    let mac = |at: usize| frame.get(at..at + 6).and_then(|mac| mac.try_into().ok()).unwrap_or_default();
    let hop = Hop::new(mac(0), mac(6), u16::MAX);
    let (port, source, departure) = (turn.port, Ipv4Addr::UNSPECIFIED, Departure::CLOSED);
    Cow::Owned(Way { port, hop, source, waiting: None, local: true, departure })
}

/// The director's address on the port that a packet came from.
pub(super) fn own_address(turn: &Turn<'_>) -> Ipv4Addr {
    turn.snapshot.ports.get(usize::from(turn.port)).map_or(Ipv4Addr::UNSPECIFIED, |port| port.source)
}

/// Fills in IP options that ask every router for its address or the time. Answers false if one is broken.
#[cold]
fn record<F: Frame>(turn: &Turn<'_>, frame: &mut F, parsed: &Parsed, address: Ipv4Addr) -> bool {
    const DAY: u64 = 86_400_000;
    let milliseconds = u64::from(turn.snapshot.day) + u64::from(turn.now.0) * u64::from(TICK_MS);
    options::record(frame, parsed, address, (milliseconds % DAY) as u32)
}

impl<M: TableMemory<ConnSlot>> Pipeline<M> {
    /// Sends a request on to its server.
    #[inline]
    pub(super) fn deliver<F: Frame>(
        &mut self,
        turn: &Turn<'_>,
        frame: &mut F,
        parsed: &Parsed,
        to: &Toward<'_>,
    ) -> Verdict {
        let &Toward { destination, forward, server, entered } = to;
        let mut way = match way(turn.snapshot, destination.next_hop, destination.address) {
            Some(way) => way,
            None if destination.next_hop == NextHop::Local => match forward {
                Forward::Nat => own_way(frame.bytes(), turn),
                _ => return Verdict::Kernel,
            },
            None => return Verdict::Drop(DropReason::NoRoute),
        };
        if parsed.has_options() && !way.local && !record(turn, frame, parsed, parsed.destination()) {
            return Verdict::Drop(DropReason::BadOptions);
        }
        let to_server = || {
            let virtual_end = (parsed.destination_bits(), parsed.destination_port_bits());
            nat::Nat::new(virtual_end, server)
        };
        let outcome = match forward {
            Forward::Nat if way.local => {
                // It arrives: no hop is taken.
                nat::own_request(frame, parsed, &to_server());
                return Verdict::Kernel;
            }
            Forward::Dr => dr::send(frame, parsed, &way.hop),
            Forward::Nat => nat::request(frame, parsed, &to_server(), &way.hop),
            Forward::Tun => self.tunnel(turn, frame, parsed, destination, way.to_mut()),
            Forward::Local => return Verdict::Kernel,
        };
        match way.verdict(outcome, parsed.l3) {
            Ok(verdict) => verdict,
            Err(told) => {
                let source = parsed.destination();
                let verdict = self.refused(turn, frame, parsed, told, QuotedTtl::Decremented, source);
                if let Some(dest) = entered {
                    self.count_own(dest, forward, frame, parsed, &verdict);
                }
                verdict
            }
        }
    }

    /// The director itself answered a request. As in the kernel that is a reply of the connection, where a server's own
    /// would come from the virtual address, too.
    #[cold]
    pub(super) fn count_own<F: Frame>(
        &self,
        dest: DestId,
        forward: Forward,
        frame: &F,
        parsed: &Parsed,
        verdict: &Verdict,
    ) {
        if matches!(verdict, Verdict::Answer(..)) && forward != Forward::Nat {
            let length = frame.bytes().len().saturating_sub(parsed.l3.into());
            self.ledger.counters(dest).count(Direction::Reply, u16::try_from(length).unwrap_or(u16::MAX));
        }
    }

    /// Puts a packet into its tunnel; narrows the way to what the path takes.
    #[inline]
    pub(super) fn tunnel<F: Frame>(
        &mut self,
        turn: &Turn<'_>,
        frame: &mut F,
        parsed: &Parsed,
        destination: &Destination,
        way: &mut Way,
    ) -> Outcome {
        way.hop.mtu = self.paths.of(destination.address, way.hop.mtu, turn.now);
        let outer = Outer {
            source: u32::from_ne_bytes(way.source.octets()),
            destination: u32::from_ne_bytes(destination.address.octets()),
            pmtu_disc: turn.snapshot.settings.pmtu_disc,
        };
        let id = &mut self.ip_id;
        match destination.method {
            Method::Tun(Tunnel::Gue(port, checksum)) => {
                let spread = crate::flow_table::hash(parsed.source_endpoint(), &self.secret) as u32;
                let source_port = gue::source_port(spread);
                let gue = gue::Gue { source_port, port, checksum: checksum != TunnelChecksum::None };
                gue::send(frame, parsed, &outer, &gue, &way.hop, id)
            }
            Method::Tun(Tunnel::Gre(checksum)) => {
                gre::send(frame, parsed, &outer, checksum != TunnelChecksum::None, &way.hop, id)
            }
            _ => ipip::send(frame, parsed, &outer, &way.hop, id),
        }
    }

    /// Sends a reply back to its client, from the virtual address.
    #[inline]
    pub(super) fn give_back<F: Frame>(
        &mut self,
        turn: &Turn<'_>,
        frame: &mut F,
        parsed: &Parsed,
        slot: SlotId,
    ) -> Verdict {
        let next_hop = self.client_hop(turn, slot, parsed.destination());
        let conn = self.conns.get(slot);
        let way = match way(turn.snapshot, next_hop, parsed.destination()) {
            Some(way) => way,
            None if next_hop == NextHop::Local => own_way(frame.bytes(), turn),
            None => return Verdict::Drop(DropReason::NoRoute),
        };
        let nat = to_client(conn);
        if parsed.has_options() && !way.local && !record(turn, frame, parsed, *conn.request().destination().ip()) {
            return Verdict::Drop(DropReason::BadOptions);
        }
        match way.verdict(nat::reply(frame, parsed, &nat, &way.hop), parsed.l3) {
            Ok(verdict) => verdict,
            Err(told) => self.refused(turn, frame, parsed, told, QuotedTtl::AsReceived, own_address(turn)),
        }
    }

    /// Puts the virtual address into a reply of the director's own; its MAC addresses and TTL are the kernel's choice.
    pub(super) fn translate_own<F: Frame>(&self, frame: &mut F, parsed: &Parsed, conn: &Conn) {
        if conn.forward() == Forward::Nat {
            nat::own_reply(frame, parsed, &to_client(conn));
        }
    }

    /// Where the client of a connection is reached; the routes are asked only when they changed.
    #[inline]
    pub(super) fn client_hop(&mut self, turn: &Turn<'_>, slot: SlotId, client: Ipv4Addr) -> NextHop {
        let routes = &turn.snapshot.routes;
        let conn = self.conns.get_mut(slot);
        if conn.route_version == routes.version {
            return NextHop::Link(LinkId(conn.client_link));
        }
        let next_hop = routes.lookup(client);
        if let NextHop::Link(link) = next_hop {
            (conn.route_version, conn.client_link) = (routes.version, link.0);
        }
        next_hop
    }

    /// A rewriter refused a packet: its sender is told, by `source`. `ttl` is that of a quoted packet which was too big.
    #[cold]
    #[allow(clippy::too_many_arguments)]
    pub(super) fn refused<F: Frame>(
        &mut self,
        turn: &Turn<'_>,
        frame: &mut F,
        parsed: &Parsed,
        outcome: Outcome,
        ttl: QuotedTtl,
        source: Ipv4Addr,
    ) -> Verdict {
        match outcome {
            Outcome::FragmentationNeeded(mtu) => {
                let message = Message::FragmentationNeeded(mtu);
                self.tell(turn, frame, parsed, message, ttl, source, DropReason::TooBig)
            }
            _ => {
                let message = Message::TimeExceeded;
                self.tell(turn, frame, parsed, message, QuotedTtl::AsReceived, source, DropReason::TtlExceeded)
            }
        }
    }
}

/// The change of a reply's source.
#[inline]
pub(super) fn to_client(conn: &Conn) -> nat::Nat {
    let (request, reply) = (conn.request(), conn.reply());
    nat::Nat::new(reply.source_bits(), request.destination_bits())
}
