//! The ordinary packet: of an established connection whose server is there and whose way out is known. It changes the
//! connection's expiry and the counters, and nothing else; so does everything here, in as few steps as can be. Whatever
//! is not ordinary is left, untouched, to the files that know what to do with it.
//!
//! Packets of one direction, protocol and forwarding method go through a loop of their own ([`pass`](Pipeline::pass)):
//! what is the same for all of them is decided when the program is compiled, and no branch in it depends on the packet.
//! Ordinary packets need no order among themselves and those that are left: none of them changes what another one finds.
//! They are rewritten in their slots, so they leave in the order in which they came.

use super::burst::{Kinds, Stage, each, first, rare};
use super::exits::Beside;
use super::{ConnSlot, Pipeline, Turn};
use crate::clock::Tick;
use crate::conn::{Conn, Direction, Forward, ordinary_state};
use crate::flow_table::{Candidate, Lines};
use crate::parse::{PLAIN, plain_addresses, plain_length, plain_ports};
use crate::rewrite::{dr, ipip, nat};
use crate::stats::DestCounters;
use crate::way::Way;
use crate::wire::ethernet;
use crate::wire::ipv4::protocol;
use packet_io::{BURST, Frame, TableMemory, Work};

/// Offset of the IP header.
const L3: usize = ethernet::HEADER;
/// Offset of its TTL.
const TTL: usize = L3 + 8;

const NAT: u8 = Forward::Nat as u8;
const TUN: u8 = Forward::Tun as u8;
const DR: u8 = Forward::Dr as u8;

impl<M: TableMemory<ConnSlot>> Pipeline<M> {
    /// Forwards those frames of a group that are ordinary packets. The answer has a bit for each that is none.
    pub(super) fn pass_ordinary<F: Frame>(
        &mut self,
        turn: &Turn<'_>,
        slots: &mut [Option<F>; BURST],
        stage: &mut Stage,
        kinds: &Kinds,
        group: u32,
    ) -> u32 {
        let left = self.pass_by_kind(turn, slots, stage, kinds, group);
        if left == 0 {
            return 0;
        }
        let again = self.prepare(turn, slots, stage, kinds, left);
        left & !again | self.pass_by_kind(turn, slots, stage, kinds, again)
    }

    #[inline]
    fn pass_by_kind<F: Frame>(
        &mut self,
        turn: &Turn<'_>,
        slots: &mut [Option<F>; BURST],
        stage: &mut Stage,
        kinds: &Kinds,
        group: u32,
    ) -> u32 {
        let Kinds { replies, udp, .. } = *kinds;
        let mut left = 0;
        if group & !replies & !udp != 0 {
            left |= self.pass_requests::<F, false>(turn, slots, stage, group & !replies & !udp);
        }
        if group & !replies & udp != 0 {
            left |= self.pass_requests::<F, true>(turn, slots, stage, group & !replies & udp);
        }
        if group & replies & !udp != 0 {
            left |= self.pass::<F, NAT, true, false>(turn, slots, stage, group & replies & !udp);
        }
        if group & replies & udp != 0 {
            left |= self.pass::<F, NAT, true, true>(turn, slots, stage, group & replies & udp);
        }
        left
    }

    /// Requests go by their connection's method, which is only known when that is found: the usual one is tried first.
    #[inline]
    fn pass_requests<F: Frame, const UDP: bool>(
        &mut self,
        turn: &Turn<'_>,
        slots: &mut [Option<F>; BURST],
        stage: &mut Stage,
        group: u32,
    ) -> u32 {
        let mut left = self.pass_requests_by::<F, UDP>(self.usual, turn, slots, stage, group);
        let usual = self.usual;
        for forward in [Forward::Nat, Forward::Dr, Forward::Tun] {
            if left == 0 {
                break;
            }
            if forward != usual {
                let before = left;
                left = self.pass_requests_by::<F, UDP>(forward, turn, slots, stage, left);
                self.usual = if left == before { self.usual } else { forward };
            }
        }
        left
    }

    #[inline]
    fn pass_requests_by<F: Frame, const UDP: bool>(
        &mut self,
        forward: Forward,
        turn: &Turn<'_>,
        slots: &mut [Option<F>; BURST],
        stage: &mut Stage,
        group: u32,
    ) -> u32 {
        match forward {
            Forward::Nat => self.pass::<F, NAT, false, UDP>(turn, slots, stage, group),
            Forward::Dr => self.pass::<F, DR, false, UDP>(turn, slots, stage, group),
            // Where the MTU of some path is known, a packet must be compared with it.
            Forward::Tun if self.paths.is_empty() => self.pass::<F, TUN, false, UDP>(turn, slots, stage, group),
            Forward::Tun | Forward::Local => group,
        }
    }

    /// Forwards those packets of a group of one kind that are ordinary ones of connections with one method, and notes by
    /// which ports they leave. The answer has a bit for each that is not: nothing was done for it.
    #[inline(never)] // a loop by itself has the registers for itself
    fn pass<F: Frame, const FORWARD: u8, const REPLY: bool, const UDP: bool>(
        &mut self,
        turn: &Turn<'_>,
        slots: &mut [Option<F>; BURST],
        stage: &mut Stage,
        group: u32,
    ) -> u32 {
        M::run(Pass::<F, M, FORWARD, REPLY, UDP> { pipeline: self, turn, slots, stage, group })
    }

    /// Finds the connections that are not where they were looked for, and gets exits ready that are not. The answer has a
    /// bit for each packet that is worth a second try.
    #[cold]
    #[inline(never)]
    fn prepare<F: Frame>(
        &mut self,
        turn: &Turn<'_>,
        slots: &[Option<F>; BURST],
        stage: &mut Stage,
        kinds: &Kinds,
        group: u32,
    ) -> u32 {
        let Self { conns, exits, .. } = self;
        let mut again = 0;
        each(group, |index| {
            let Some(head) = slots[index].as_ref().and_then(|frame| frame.bytes().first_chunk()) else { return };
            let (addresses, ports, at) = (plain_addresses(head), plain_ports(head), &mut stage.at[index]);
            let protocol = if kinds.udp >> index & 1 != 0 { protocol::UDP } else { protocol::TCP };
            let is_reply = kinds.replies >> index & 1 != 0;
            let found = conns.find(stage.hashes[index], |conn| match is_reply {
                true => conn.is_reply(addresses, ports, protocol),
                false => conn.is_request(addresses, ports, protocol),
            });
            let Some(slot) = found else { return };
            let moved = *at != Candidate::from(slot);
            *at = slot.into();
            if exits.prepare(conns.get(slot), turn.snapshot) || moved {
                again |= 1 << index;
            }
        });
        again
    }
}

/// [`Pipeline::pass`], to be compiled for more than one kind of processor.
struct Pass<'a, F, M: TableMemory<ConnSlot>, const FORWARD: u8, const REPLY: bool, const UDP: bool> {
    pipeline: &'a mut Pipeline<M>,
    turn: &'a Turn<'a>,
    slots: &'a mut [Option<F>; BURST],
    stage: &'a mut Stage,
    group: u32,
}

impl<F, M, const FORWARD: u8, const REPLY: bool, const UDP: bool> Work for Pass<'_, F, M, FORWARD, REPLY, UDP>
where
    F: Frame,
    M: TableMemory<ConnSlot>,
{
    type Answer = u32;

    #[inline(always)]
    fn run(self) -> u32 {
        let Self { pipeline: Pipeline { conns, exits, ledger, ip_id, .. }, turn, slots, stage, mut group } = self;
        let (exits, counters) = exits.beside(&ledger.stats.destinations);
        let mut lane = Lane::<FORWARD, REPLY, UDP> {
            expiry: turn.now.plus(turn.snapshot.timeouts.of(ordinary_state(Lane::<FORWARD, REPLY, UDP>::PROTOCOL))),
            lines: conns.lines(),
            exits,
            counters,
            ways: &turn.snapshot.ways,
            routes: turn.snapshot.routes.version,
            next_id: *ip_id,
        };
        let mut left = 0;
        // No closure in here: it would not be inlined.
        while group != 0 {
            let index = first(group);
            group &= group - 1;
            let passed = match &mut slots[index] {
                Some(frame) => lane.pass(frame, stage.at[index]),
                None => None,
            };
            match passed {
                Some(port) => stage.ports[index] = port,
                None => left |= rare(index),
            }
        }
        if FORWARD == TUN {
            *ip_id = lane.next_id;
        }
        left
    }
}

/// What the packets of one direction, protocol and method have in common.
struct Lane<'a, const FORWARD: u8, const REPLY: bool, const UDP: bool> {
    expiry: Tick,
    lines: Lines<'a, Conn>,
    exits: Beside<'a>,
    counters: &'a [DestCounters],
    ways: &'a [Way],
    routes: u32,
    next_id: u16,
}

impl<const FORWARD: u8, const REPLY: bool, const UDP: bool> Lane<'_, FORWARD, REPLY, UDP> {
    const DIRECTION: Direction = if REPLY { Direction::Reply } else { Direction::Request };
    const PROTOCOL: u8 = if UDP { protocol::UDP } else { protocol::TCP };
    const METHOD: Forward = match FORWARD {
        NAT => Forward::Nat,
        TUN => Forward::Tun,
        _ => Forward::Dr,
    };

    /// Forwards a packet of the connection in this place, and answers the port by which it leaves. None, and nothing is
    /// changed: it is another connection's, or not ordinary.
    #[inline(always)]
    fn pass<F: Frame>(&mut self, frame: &mut F, at: Candidate) -> Option<u16> {
        let (direction, protocol, forward) = const { (Self::DIRECTION, Self::PROTOCOL, Self::METHOD) };
        let (conn, expires) = self.lines.get_mut(at)?;
        let head = frame.bytes_mut().first_chunk_mut::<PLAIN>()?;
        if !conn.is_ordinary(direction, protocol, forward, plain_addresses(head), plain_ports(head)) {
            return None;
        }
        let (exit, counters) = (self.exits.get(conn)?, self.counters.get(conn.dest.0 as usize)?);
        let departure = match direction {
            Direction::Request => &exit.departure,
            Direction::Reply if conn.route_version == self.routes => {
                &self.ways.get(usize::from(conn.client_link))?.departure
            }
            Direction::Reply => return None,
        };
        let total_length = plain_length(head);
        // The TTL is used up on this hop, or the packet is too long for it.
        if head[TTL] <= 1 || total_length > departure.hop.mtu {
            return None;
        }
        if forward == Forward::Nat && !nat::has_checksum(head, protocol) {
            return None;
        }
        match forward {
            Forward::Tun => {
                ipip::rewrite(frame, exit.tunnel.as_ref()?, &departure.hop, total_length, &mut self.next_id)?;
                *expires = self.expiry;
                counters.count(direction, total_length);
            }
            // Here nothing can fail any more; accounted first, less has to be kept until later.
            Forward::Nat => {
                *expires = self.expiry;
                counters.count(direction, total_length);
                nat::rewrite(head, direction, protocol, &conn.translation(direction), &departure.hop);
                frame.truncate(L3 + usize::from(total_length));
            }
            Forward::Dr | Forward::Local => {
                *expires = self.expiry;
                counters.count(direction, total_length);
                dr::rewrite(head, &departure.hop);
                frame.truncate(L3 + usize::from(total_length));
            }
        }
        Some(departure.port)
    }
}
