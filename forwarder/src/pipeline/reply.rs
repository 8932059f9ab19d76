//! A packet from a real server to a client, of a NAT connection that exists.

use super::related::is_last_hop;
use super::{ConnSlot, Pipeline, Turn, Verdict, destination_of};
use crate::conn::Direction;
use crate::flow_table::{SlotId, hash};
use crate::parse::{Kind, Parsed, parse};
use packet_io::{Frame, TableMemory};

impl<M: TableMemory<ConnSlot>> Pipeline<M> {
    /// Translates a reply back to the virtual address. As in the kernel, this goes on for a deleted server's connections,
    /// and a reply that no router would send on changes nothing.
    #[inline]
    pub(super) fn reply<F: Frame>(&mut self, turn: &Turn<'_>, frame: &mut F, parsed: &Parsed, slot: SlotId) -> Verdict {
        let conn = *self.conns.get(slot);
        let Some(destination) = destination_of(&conn, turn.snapshot) else {
            if !conn.is_bypass() {
                self.end(turn.now, slot);
            }
            return Verdict::Kernel;
        };
        if !is_last_hop(frame, parsed) {
            self.follow(turn, frame.bytes(), parsed, slot, Direction::Reply, destination);
            self.count_reply(&conn, parsed);
        }
        self.give_back(turn, frame, parsed, slot)
    }

    /// The other worker that a frame which the kernel sends belongs to, if it may be a reply of the director's own.
    pub fn owner_of_kernel_frame<F: Frame>(&self, turn: &Turn<'_>, frame: &F) -> Option<u32> {
        if !turn.snapshot.local_servers || self.share.is_all() {
            return None;
        }
        let parsed = parse(frame.bytes(), packet_io::Checksums::Ipv4Good);
        if !matches!(parsed.kind, Kind::Tcp | Kind::Udp | Kind::Sctp) {
            return None;
        }
        self.other_owner(parsed.destination_endpoint())
    }

    /// A frame that the kernel sends: nearly always it leaves as it is. Where the director itself is a real server, it
    /// may be a reply; then it is translated like one. Answers what is to be sent.
    pub fn from_kernel<F: Frame>(&mut self, turn: &Turn<'_>, mut frame: F) -> Option<F> {
        if !turn.snapshot.local_servers || turn.snapshot.index.is_empty() {
            return Some(frame);
        }
        let parsed = parse(frame.bytes(), packet_io::Checksums::Ipv4Good);
        if !matches!(parsed.kind, Kind::Tcp | Kind::Udp | Kind::Sctp) {
            return Some(frame);
        }
        let hash = hash(parsed.destination_endpoint(), &self.secret);
        let found = self.conns.find(hash, |conn| conn.is_reply(parsed.addresses, parsed.ports, parsed.protocol));
        let Some(slot) = found else { return Some(frame) };
        let conn = *self.conns.get(slot);
        let Some(destination) = destination_of(&conn, turn.snapshot) else { return Some(frame) };
        self.follow(turn, frame.bytes(), &parsed, slot, Direction::Reply, destination);
        self.count_reply(&conn, &parsed);
        self.translate_own(&mut frame, &parsed, &conn);
        Some(frame)
    }
}
