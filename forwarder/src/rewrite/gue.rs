//! Generic UDP encapsulation of an IPv4 packet, variant 0.
//!
//! Remote checksum offload adds nothing here: the kernel uses it only for packets that it has itself left without a
//! checksum, and a forwarded packet never is (see the recordings); the outer checksum is then there as without it.

use super::{Hop, Outcome, Outer, outer};
use crate::parse::Parsed;
use crate::wire::ipv4::{self, protocol};
use crate::wire::{checksum, gue, udp};
use packet_io::Frame;

const EXTRA: usize = udp::HEADER + gue::HEADER;

/// Bytes that the tunnel adds to a packet.
pub const OVERHEAD: u16 = (ipv4::HEADER + EXTRA) as u16;

/// The UDP side of the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gue {
    /// Source port, host byte order: [`source_port`] of the connection's hash, so that routers can spread connections.
    pub source_port: u16,
    /// Destination port, host byte order.
    pub port: u16,
    /// With a UDP checksum (`--tun-csum`, `--tun-remcsum`).
    pub checksum: bool,
}

/// The outer source port for a hash: one of the kernel's ephemeral ports (`udp_flow_src_port`).
#[inline]
#[must_use]
pub const fn source_port(hash: u32) -> u16 {
    const LOW: u64 = 32768;
    const HIGH: u64 = 60999;
    (LOW + ((hash as u64 * (HIGH - LOW + 1)) >> 32)) as u16
}

/// Sends a packet of any protocol through the tunnel `outer` by `hop`; see [`super::ipip::send`] for `id`.
pub fn send<F: Frame>(frame: &mut F, parsed: &Parsed, outer: &Outer, gue: &Gue, hop: &Hop, id: &mut u16) -> Outcome {
    outer::push(frame, parsed, protocol::UDP, EXTRA as u8, outer, hop, id, |addresses, bytes| {
        let length = bytes.len() as u16; // the outer total length was checked to fit
        bytes[..udp::HEADER].copy_from_slice(&udp::datagram(gue.source_port, gue.port, length));
        bytes[udp::HEADER..EXTRA].copy_from_slice(&gue::IPV4);
        if gue.checksum {
            let pseudo = checksum::pseudo(addresses, protocol::UDP, length);
            let sum = checksum::finish_udp(pseudo + checksum::sum(bytes));
            bytes[udp::CHECKSUM..udp::CHECKSUM + 2].copy_from_slice(&sum.to_ne_bytes());
        }
    })
}
