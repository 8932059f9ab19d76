//! cache_bypass: when a transparent-proxy cluster has no server left, the packets of its mark service go on to where the
//! client sent them (ip_vs_leave, ip_vs_bypass_xmit). Such connections have an entry, so that they stay past the servers
//! that come back, but no destination to count them.

use super::{ConnSlot, DropReason, Pipeline, Turn, Verdict, answer, leave, signal};
use crate::conn::{self, Conn, Direction, Endpoints};
use crate::flow_table::SlotId;
use crate::parse::Parsed;
use crate::rewrite::dr;
use crate::rewrite::icmp_error::QuotedTtl;
use packet_io::{Frame, TableMemory};

impl<M: TableMemory<ConnSlot>> Pipeline<M> {
    /// The first packet of a connection that no server takes. None if it is not to pass by: its service has no mark,
    /// the setting is off, or the packet is for the director itself.
    #[cold]
    pub(super) fn bypass_first<F: Frame>(
        &mut self,
        turn: &Turn<'_>,
        frame: &mut F,
        parsed: &Parsed,
        hash: u64,
        mark: u32,
    ) -> Option<Verdict> {
        let wanted = mark != 0 && turn.snapshot.settings.cache_bypass;
        if !wanted || !answer::is_anothers(turn.snapshot.routes.lookup(parsed.destination())) {
            return None;
        }
        let mut conn = Conn::bypass(Endpoints { addresses: parsed.addresses, ports: parsed.ports }, parsed.protocol);
        conn.see(Direction::Request, signal(frame.bytes(), parsed), turn.snapshot.settings.is_secure());
        let expires = turn.now.plus(turn.snapshot.timeouts.of(conn.state));
        // Without room the packet passes by all the same.
        let _ = self.enter(turn, hash, conn, expires);
        Some(self.pass_by(turn, frame, parsed))
    }

    /// A packet of a connection that passes by the servers.
    #[cold]
    pub(super) fn bypass<F: Frame>(
        &mut self,
        turn: &Turn<'_>,
        frame: &mut F,
        parsed: &Parsed,
        slot: SlotId,
        hash: u64,
    ) -> Verdict {
        let signal = signal(frame.bytes(), parsed);
        let settings = &turn.snapshot.settings;
        if conn::starts_anew(signal) && conn::is_replaced(self.conns.get(slot), u32::MAX, settings) {
            return self.first(turn, frame, parsed, hash, Some(slot));
        }
        let conn = self.conns.get_mut(slot);
        let before = conn.state;
        conn.see(Direction::Request, signal, settings.is_secure());
        self.ledger.passed(before, conn.state);
        let timeout = turn.snapshot.timeouts.of(conn.state);
        self.conns.rearm(slot, turn.now.plus(timeout));
        self.pass_by(turn, frame, parsed)
    }

    fn pass_by<F: Frame>(&mut self, turn: &Turn<'_>, frame: &mut F, parsed: &Parsed) -> Verdict {
        let target = parsed.destination();
        let Some(way) = leave::way(turn.snapshot, turn.snapshot.routes.lookup(target), target) else {
            return Verdict::Drop(DropReason::NoRoute);
        };
        way.verdict(dr::send(frame, parsed, &way.hop), parsed.l3)
            .unwrap_or_else(|told| self.refused(turn, frame, parsed, told, QuotedTtl::Decremented, target))
    }
}
