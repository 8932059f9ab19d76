//! A packet from a client whose connection exists.

use super::leave::Toward;
use super::{ConnSlot, DropReason, Pipeline, Turn, Verdict, destination_of, signal};
use crate::conn::{self, Conn, Direction, Forward, Signal, Timeouts, Unavailable};
use crate::flow_table::SlotId;
use crate::parse::Parsed;
use crate::service::Destination;
use crate::wire::tcp::flags;
use packet_io::{Frame, TableMemory};

impl<M: TableMemory<ConnSlot>> Pipeline<M> {
    /// Follows the connection in `slot`, or starts over where its server or its state asks for it.
    #[inline]
    pub(super) fn request<F: Frame>(
        &mut self,
        turn: &Turn<'_>,
        frame: &mut F,
        parsed: &Parsed,
        slot: SlotId,
        hash: u64,
    ) -> Verdict {
        let conn = *self.conns.get(slot);
        let Some(destination) = destination_of(&conn, turn.snapshot) else {
            return self.without_destination(turn, frame, parsed, slot, hash);
        };
        if !conn.is_steady(Direction::Request, parsed.flags) {
            let signal = signal(frame.bytes(), parsed);
            if conn::starts_anew(signal) && conn::is_replaced(&conn, destination.weight, &turn.snapshot.settings) {
                return self.first(turn, frame, parsed, hash, Some(slot));
            }
        }
        if !destination.available {
            return match conn::on_unavailable(&turn.snapshot.settings) {
                Unavailable::Drop => Verdict::Drop(DropReason::DestinationGone),
                Unavailable::Anew => self.restart(turn, frame, parsed, slot, hash),
            };
        }
        self.follow(turn, frame.bytes(), parsed, slot, Direction::Request, destination);
        self.count_request(&conn, parsed);
        let (forward, server, entered) = (conn.forward(), conn.reply().source_bits(), Some(conn.dest));
        self.deliver(turn, frame, parsed, &Toward { destination, forward, server, entered })
    }

    #[inline]
    pub(super) fn count_request(&self, conn: &Conn, parsed: &Parsed) {
        let counters = self.ledger.counters(conn.dest);
        counters.count(Direction::Request, parsed.total_length);
    }

    #[inline]
    pub(super) fn count_reply(&self, conn: &Conn, parsed: &Parsed) {
        let counters = self.ledger.counters(conn.dest);
        counters.count(Direction::Reply, parsed.total_length);
    }

    /// The entry names no destination that there is: on purpose, or because its slot belongs to another one by now.
    #[cold]
    fn without_destination<F: Frame>(
        &mut self,
        turn: &Turn<'_>,
        frame: &mut F,
        parsed: &Parsed,
        slot: SlotId,
        hash: u64,
    ) -> Verdict {
        if self.conns.get(slot).is_bypass() {
            self.bypass(turn, frame, parsed, slot, hash)
        } else {
            self.restart(turn, frame, parsed, slot, hash)
        }
    }

    /// The entry is worth nothing any more: the packet is treated as if it had none.
    #[cold]
    fn restart<F: Frame>(
        &mut self,
        turn: &Turn<'_>,
        frame: &mut F,
        parsed: &Parsed,
        slot: SlotId,
        hash: u64,
    ) -> Verdict {
        self.end(turn.now, slot);
        let verdict = self.first(turn, frame, parsed, hash, None);
        if matches!(verdict, Verdict::Answer(_, DropReason::NoConnection)) {
            self.see_own_reset(turn, slot);
        }
        verdict
    }

    /// The director itself reset a connection whose entry is still there. Where the server would have answered from the
    /// virtual address, too, the kernel takes it for the server's answer.
    fn see_own_reset(&mut self, turn: &Turn<'_>, slot: SlotId) {
        let conn = self.conns.get_mut(slot);
        if conn.forward() == Forward::Nat {
            return;
        }
        let before = conn.state;
        let change = conn.see(Direction::Reply, Signal::Tcp(flags::RST), turn.snapshot.settings.is_secure());
        let conn = *conn;
        self.ledger.passed(before, conn.state);
        if let Some(active) = change.recount {
            self.ledger.moved(conn.dest, active);
        }
        self.conns.rearm(slot, turn.now.plus(turn.snapshot.timeouts.of(conn.state)));
    }

    /// Brings state, timer and counts of a connection up to date with one more packet.
    #[inline]
    pub(super) fn follow(
        &mut self,
        turn: &Turn<'_>,
        frame: &[u8],
        parsed: &Parsed,
        slot: SlotId,
        direction: Direction,
        destination: &Destination,
    ) {
        let conn = self.conns.get(slot);
        if conn.is_steady(direction, parsed.flags) {
            let timeout = timeouts(turn, conn, destination).of(conn.state);
            self.conns.touch(slot, turn.now.plus(timeout));
        } else {
            self.see(turn, frame, parsed, slot, direction, destination);
        }
    }

    #[cold]
    fn see(
        &mut self,
        turn: &Turn<'_>,
        frame: &[u8],
        parsed: &Parsed,
        slot: SlotId,
        direction: Direction,
        destination: &Destination,
    ) {
        let secure = turn.snapshot.settings.is_secure();
        let conn = self.conns.get_mut(slot);
        let before = conn.state;
        let change = conn.see(direction, signal(frame, parsed), secure);
        let conn = *conn;
        if change.moved {
            self.ledger.passed(before, conn.state);
        }
        if let Some(active) = change.recount {
            self.ledger.moved(conn.dest, active);
        }
        if change.assured {
            self.templates.assure(&conn);
        }
        let timeout = timeouts(turn, &conn, destination).of(conn.state);
        self.conns.rearm(slot, turn.now.plus(timeout));
    }
}

/// The timeouts of a connection: its service's own, or everybody's.
#[inline]
fn timeouts<'a>(turn: &Turn<'a>, conn: &Conn, destination: &Destination) -> &'a Timeouts {
    if !conn.has_own_timeouts() {
        return &turn.snapshot.timeouts;
    }
    let service = turn.snapshot.service(destination.service);
    service.and_then(|service| service.timeouts.as_ref()).unwrap_or(&turn.snapshot.timeouts)
}
