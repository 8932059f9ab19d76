//! The ordinary packet: of an established connection whose server is there and whose way out is known. It changes the
//! connection's expiry and the counters, and nothing else; so does everything here, in as few steps as can be. Whatever
//! is not ordinary is left, untouched, to the files that know what to do with it.

use super::leave::{to_client, to_server};
use super::{ConnSlot, Pipeline, Turn};
use crate::conn::{Direction, Forward};
use crate::parse::Parsed;
use crate::rewrite::{Outcome, Outer, dr, ipip, nat};
use crate::service::{Exit, Method, Tunnel};
use packet_io::{Frame, TableMemory};

impl<M: TableMemory<ConnSlot>> Pipeline<M> {
    /// Forwards an ordinary packet and answers the port it leaves by. None: it is no ordinary one, and untouched.
    #[inline(always)]
    pub(super) fn steady<F: Frame>(
        &mut self,
        turn: &Turn<'_>,
        frame: &mut F,
        parsed: &Parsed,
        hash: u64,
        from_server: bool,
    ) -> Option<u16> {
        if from_server {
            self.steady_reply(turn, frame, parsed, hash)
        } else {
            self.steady_request(turn, frame, parsed, hash)
        }
    }

    #[inline(always)]
    fn steady_request<F: Frame>(&mut self, turn: &Turn<'_>, frame: &mut F, parsed: &Parsed, hash: u64) -> Option<u16> {
        let Self { conns, ledger, ip_id, paths, .. } = self;
        let slot = conns.find(hash, |conn| conn.is_request(parsed.addresses, parsed.ports, parsed.protocol))?;
        let (conn, expires) = conns.entry_mut(slot);
        let destination = turn.snapshot.destination(conn.dest)?;
        let Exit { hop, port, room, source, open } = &destination.exit;
        let ordinary = conn.is_steady(Direction::Request, parsed.flags)
            & (destination.generation == conn.generation)
            & *open
            & (parsed.total_length <= *room)
            & parsed.is_plain()
            & (conn.timeouts == 0);
        if !ordinary {
            return None;
        }
        let outcome = match conn.forward() {
            Forward::Dr => dr::send(frame, parsed, hop),
            Forward::Nat => nat::request(frame, parsed, &to_server(conn), hop),
            Forward::Tun if destination.method == Method::Tun(Tunnel::Ipip) && paths.is_empty() => {
                let outer = Outer {
                    source: *source,
                    destination: u32::from_ne_bytes(destination.address.octets()),
                    pmtu_disc: turn.snapshot.settings.pmtu_disc,
                };
                ipip::send(frame, parsed, &outer, hop, ip_id)
            }
            _ => return None,
        };
        if outcome != Outcome::Send {
            return not_sent(outcome);
        }
        *expires = turn.now.plus(turn.snapshot.timeouts.of(conn.state));
        let counters = ledger.counters(conn.dest);
        counters.in_packets.add(1);
        counters.in_bytes.add(u64::from(parsed.total_length));
        Some(*port)
    }

    #[inline(always)]
    fn steady_reply<F: Frame>(&mut self, turn: &Turn<'_>, frame: &mut F, parsed: &Parsed, hash: u64) -> Option<u16> {
        let Self { conns, ledger, .. } = self;
        let slot = conns.find(hash, |conn| conn.is_reply(parsed.addresses, parsed.ports, parsed.protocol))?;
        let (conn, expires) = conns.entry_mut(slot);
        let destination = turn.snapshot.destination(conn.dest)?;
        let way = turn.snapshot.ways.get(usize::from(conn.client_link))?;
        let ordinary = conn.is_steady(Direction::Reply, parsed.flags)
            & (destination.generation == conn.generation)
            & (conn.route_version == turn.snapshot.routes.version)
            & (conn.timeouts == 0)
            & (parsed.total_length <= way.hop.mtu)
            & parsed.is_plain()
            & way.waiting.is_none();
        if !ordinary {
            return None;
        }
        let outcome = nat::reply(frame, parsed, &to_client(conn), &way.hop);
        if outcome != Outcome::Send {
            return not_sent(outcome);
        }
        *expires = turn.now.plus(turn.snapshot.timeouts.of(conn.state));
        let counters = ledger.counters(conn.dest);
        counters.out_packets.add(1);
        counters.out_bytes.add(u64::from(parsed.total_length));
        Some(way.port)
    }
}

/// What does not leave (its TTL is used up) is as it came: only [`Outcome::Fragment`] says otherwise, and what is too long
/// for its way is not ordinary.
#[cold]
fn not_sent(outcome: Outcome) -> Option<u16> {
    debug_assert!(outcome != Outcome::Fragment, "an ordinary packet is not longer than its way allows");
    None
}
