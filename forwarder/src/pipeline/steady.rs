//! The ordinary packet: of an established connection whose server is there and whose way out is known. It changes the
//! connection's expiry and the counters, and nothing else; so does everything here, in as few steps as can be. Whatever
//! is not ordinary is left to the files that know what to do with it.
//!
//! Two loops over a burst, each of which has what it needs in registers: [`follow`](Pipeline::follow_all) finds the
//! connection and counts, [`leave`](Pipeline::leave_all) rewrites. Ordinary packets need no order among themselves and
//! those that are left: none of them changes what another one finds. They are rewritten in their slots, so they leave in
//! the order in which they came.

use super::exits::Exit;
use super::related::is_last_hop;
use super::{ConnSlot, Pipeline, Staged, Turn, Verdict, bit, destination_of};
use crate::conn::{Conn, Direction, Forward};
use crate::rewrite::{PLAIN, dr, ipip, nat};
use packet_io::{Frame, TableMemory};

impl<M: TableMemory<ConnSlot>> Pipeline<M> {
    /// Finds the connections of packets whose headers are ordinary, counts them and lets their connections live on. The
    /// answer has a bit for each packet that is no ordinary one after all: nothing was done for it.
    #[inline(never)] // a loop by itself has the registers for itself
    pub(super) fn follow_all(&mut self, turn: &Turn<'_>, staged: &mut [Staged]) -> u32 {
        let Self { conns, exits, ledger, .. } = self;
        let mut lines = conns.lines();
        let (mut exits, counters) = exits.beside(&ledger.stats.destinations);
        let timeouts = &turn.snapshot.timeouts;
        let mut left = 0;
        for (index, Staged { parsed, direction, hash, at, slot }) in staged.iter_mut().enumerate() {
            let is_it = |conn: &Conn| conn.is_ordinary(*direction, parsed.addresses, parsed.ports, parsed.protocol);
            let followed = (|| {
                let found = lines.confirm(*at, *hash, is_it)?;
                let (conn, expires) = lines.entry(found)?;
                let index = exits.index(conn, turn.snapshot)?;
                *expires = turn.now.plus(timeouts.of(conn.state));
                counters.get(index)?.count(*direction, parsed.total_length);
                *slot = found;
                Some(())
            })();
            if followed.is_none() {
                *slot = Staged::EMPTY.slot;
                left |= bit(index);
            }
        }
        left
    }

    /// Rewrites the packets that were followed, and notes by which ports they leave. The answer has a bit for each that is
    /// more work, or was not followed: it is as it came.
    #[inline(never)] // as above
    pub(super) fn leave_all<F: Frame>(
        &mut self,
        turn: &Turn<'_>,
        slots: &mut [Option<F>],
        staged: &[Staged],
        ports: &mut [u16],
    ) -> u32 {
        let mut left = 0;
        for (index, ((slot, staged), port)) in slots.iter_mut().zip(staged).zip(ports).enumerate() {
            match self.leave(turn, slot, staged) {
                Some(by) => *port = by,
                None => left |= bit(index),
            }
        }
        left
    }

    #[inline(always)]
    fn leave<F: Frame>(&mut self, turn: &Turn<'_>, slot: &mut Option<F>, staged: &Staged) -> Option<u16> {
        let Staged { parsed, direction, .. } = staged;
        let conn = self.conns.peek(staged.slot)?;
        let Exit { hop, port, room, tunnel, .. } = self.exits.get(conn)?;
        let frame = slot.as_mut()?;
        let head = frame.bytes_mut().first_chunk_mut::<PLAIN>()?;
        // The TTL is used up on this hop.
        if head[22] <= 1 {
            return None;
        }
        let forward = conn.forward();
        if forward == Forward::Nat {
            let (hop, port, room, open) = match direction {
                Direction::Request => (hop, *port, *room, true),
                Direction::Reply => {
                    let way = turn.snapshot.ways.get(usize::from(conn.client_link))?;
                    let known = conn.route_version == turn.snapshot.routes.version;
                    (&way.hop, way.port, way.hop.mtu, known && way.is_open())
                }
            };
            if !open || parsed.total_length > room {
                return None;
            }
            nat::rewrite(head, *direction, parsed.protocol, &conn.translation(*direction), hop)?;
            frame.truncate(parsed.frame_length());
            return Some(port);
        }
        if parsed.total_length > *room {
            return None;
        }
        if forward == Forward::Dr {
            dr::rewrite(head, hop);
            frame.truncate(parsed.frame_length());
        } else if forward == Forward::Tun && self.paths.is_empty() {
            ipip::rewrite(frame, tunnel.as_ref()?, hop, parsed.total_length, &mut self.ip_id)?;
            frame.truncate(parsed.frame_length() + usize::from(ipip::OVERHEAD));
        } else {
            return None;
        }
        Some(*port)
    }

    /// A packet that was followed, but is more work to rewrite.
    #[cold]
    #[inline(never)]
    pub(super) fn leave_hard<F: Frame>(&mut self, turn: &Turn<'_>, frame: &mut F, staged: &Staged) -> Verdict {
        let Staged { parsed, slot, .. } = staged;
        let conn = *self.conns.get(*slot);
        match (staged.direction, destination_of(&conn, turn.snapshot)) {
            (Direction::Request, Some(destination)) => {
                let verdict = self.deliver(turn, frame, parsed, &conn, destination);
                self.count_own(&conn, frame, parsed, &verdict);
                verdict
            }
            _ => {
                if is_last_hop(frame, parsed) {
                    self.ledger.counters(conn.dest).uncount(Direction::Reply, parsed.total_length);
                }
                self.give_back(turn, frame, parsed, *slot)
            }
        }
    }
}
