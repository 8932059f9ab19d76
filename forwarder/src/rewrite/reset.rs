//! TCP resets, as the local stack answers a segment that belongs to no connection (RFC 9293, 3.10.7.1), written over
//! the segment itself.

use super::{Hop, set_macs};
use crate::parse::{Kind, Parsed};
use crate::wire::ipv4::{self, protocol};
use crate::wire::tcp::{self, Tcp, flags};
use crate::wire::{checksum, header};
use packet_io::Frame;

const LENGTH: usize = ipv4::HEADER + tcp::HEADER;

/// Turns a whole TCP segment into the reset that answers it, sent by `hop`. Answers false if nothing may be answered (a
/// reset, a wrong checksum, a header length that cannot be): then drop it.
///
/// As the kernel's `tcp_v4_send_reset`: DF, identification 0, TTL 64, the TOS of the segment without its ECN bits.
#[must_use]
pub fn write<F: Frame>(frame: &mut F, parsed: &Parsed, hop: &Hop) -> bool {
    if parsed.kind != Kind::Tcp || parsed.has_martian_source() {
        return false;
    }
    let Some(segment) = frame.bytes().get(usize::from(parsed.l4)..parsed.frame_length()) else { return false };
    let Some(tcp) = Tcp::at(segment, 0) else { return false };
    let Ok(length) = u16::try_from(segment.len()) else { return false };
    let pseudo = checksum::pseudo(parsed.addresses, protocol::TCP, length);
    let data = segment.len().checked_sub(tcp.header_length());
    let Some(data) = data.filter(|_| tcp.header_length() >= tcp::HEADER) else { return false };
    if tcp.flags() & flags::RST != 0 || !checksum::good(pseudo + checksum::sum(segment)) {
        return false;
    }
    let ports = parsed.ports.rotate_left(16);
    let mut answer = if tcp.flags() & flags::ACK != 0 {
        tcp::segment(ports, tcp.acknowledgement(), 0, flags::RST)
    } else {
        let occupied = u32::from(tcp.flags() & flags::SYN != 0) + u32::from(tcp.flags() & flags::FIN != 0);
        let next = tcp.sequence().wrapping_add(occupied).wrapping_add(data as u32);
        tcp::segment(ports, 0, next, flags::RST | flags::ACK)
    };
    let addresses = parsed.addresses.rotate_left(32);
    let pseudo = checksum::pseudo(addresses, protocol::TCP, tcp::HEADER as u16);
    let sum = checksum::finish(pseudo + checksum::sum(&answer));
    Tcp(&mut answer).set_checksum(sum);

    let l3 = usize::from(parsed.l3);
    let tos = header::<2>(frame.bytes(), l3).map_or(0, |start| start[1]);
    let ip = ipv4::New {
        tos: tos & !3,
        total_length: LENGTH as u16,
        id: 0,
        fragment: ipv4::DF,
        ttl: 64,
        protocol: protocol::TCP,
        source: parsed.destination_bits(),
        destination: parsed.source_bits(),
    };
    frame.truncate(l3 + LENGTH);
    let bytes = frame.bytes_mut();
    set_macs(bytes, hop);
    let Some(packet) = bytes.get_mut(l3..l3 + LENGTH) else { return false };
    packet[..ipv4::HEADER].copy_from_slice(&ip.bytes());
    packet[ipv4::HEADER..].copy_from_slice(&answer);
    true
}
