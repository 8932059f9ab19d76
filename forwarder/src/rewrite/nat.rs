//! Masquerading: the request gets the real server's address and port, the reply the virtual ones back.
//!
//! Checksums are brought up to date by what changed (RFC 1624), so a wrong one stays wrong. As the kernel does
//! (`udp_dnat_handler`), a datagram without a checksum gets one; and an SCTP packet a new CRC32c if its port changes.

use super::{Hop, Outcome, PLAIN, forward, set_macs};
use crate::conn::Direction;
use crate::parse::{Kind, Parsed};
use crate::wire::ipv4::{self, Ipv4, protocol};
use crate::wire::{checksum, header_mut, put_u16, put_u32, sctp, tcp, u16_at, u32_at, udp};
use packet_io::Frame;

/// The change of one endpoint of a packet. It depends on the connection and the direction alone, so it may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nat {
    /// The new address, as it stands in memory.
    pub address: u32,
    /// The new port, as it stands in memory.
    pub port: u16,
    /// What the change adds to the sum of an IP header, TTL included.
    l3: u32,
    /// What it adds to the sum of a TCP segment or UDP datagram.
    l4: u32,
}

impl Nat {
    /// The change from one address and port to another, all as they stand in memory.
    #[inline]
    #[must_use]
    pub const fn new(old: (u32, u16), new: (u32, u16)) -> Self {
        let address = checksum::delta(old.0, new.0) as u32;
        Self {
            address: new.0,
            port: new.1,
            l3: address + checksum::TTL_DECREMENT,
            l4: address + !old.1 as u32 + new.1 as u32,
        }
    }

    /// The change to this address and port, as they stand in memory, with what [`deltas`] said about it.
    #[inline(always)]
    #[must_use]
    pub const fn kept(address: u32, port: u16, ip: u16, l4: u16) -> Self {
        Self { address, port, l3: ip as u32 + checksum::TTL_DECREMENT, l4: l4 as u32 }
    }
}

/// What replacing an endpoint adds to the sums of an IP header and of a TCP segment or UDP datagram, to be kept.
#[inline]
#[must_use]
pub const fn deltas(old: (u32, u16), new: (u32, u16)) -> (u16, u16) {
    let address = checksum::delta(old.0, new.0);
    (address, checksum::join(address, checksum::fold32(!old.1 as u32 + new.1 as u32)))
}

/// Which endpoint is rewritten: offsets of its address in the IP header and of its port in the transport header.
trait Side {
    const DIRECTION: Direction;
    const ADDRESS: usize;
    const PORT: usize;
}
struct Source;
struct Destination;
impl Side for Source {
    const DIRECTION: Direction = Direction::Reply;
    const ADDRESS: usize = 12;
    const PORT: usize = 0;
}
impl Side for Destination {
    const DIRECTION: Direction = Direction::Request;
    const ADDRESS: usize = 16;
    const PORT: usize = 2;
}

/// Rewrites a request (TCP, UDP or SCTP): its destination becomes the real server.
#[inline]
pub fn request<F: Frame>(frame: &mut F, parsed: &Parsed, nat: &Nat, hop: &Hop) -> Outcome {
    translate::<F, Destination>(frame, parsed, nat, hop)
}

/// Rewrites a reply (TCP, UDP or SCTP): its source becomes the virtual service.
#[inline]
pub fn reply<F: Frame>(frame: &mut F, parsed: &Parsed, nat: &Nat, hop: &Hop) -> Outcome {
    translate::<F, Source>(frame, parsed, nat, hop)
}

/// Rewrites a request to the director itself, which gets it with the TTL that it came with. Answers false if the frame
/// is shorter than it was parsed to be.
pub fn own_request<F: Frame>(frame: &mut F, parsed: &Parsed, nat: &Nat) -> bool {
    replace::<Destination>(frame.bytes_mut(), parsed, nat)
}

/// Rewrites a reply of the director's own kernel, which chose its MAC addresses and TTL itself: only its source becomes
/// the virtual service. Answers false if the frame is shorter than it was parsed to be.
pub fn own_reply<F: Frame>(frame: &mut F, parsed: &Parsed, nat: &Nat) -> bool {
    replace::<Source>(frame.bytes_mut(), parsed, nat)
}

const L3: usize = 14;
const L4: usize = L3 + ipv4::HEADER;

/// True if a plain TCP segment or UDP datagram has a checksum, as all but some datagrams have.
#[inline(always)]
pub(crate) fn has_checksum(head: &[u8; PLAIN], protocol: u8) -> bool {
    protocol == protocol::TCP || u16_at(head, L4 + udp::CHECKSUM) != 0
}

/// The same for the first bytes of a plain TCP segment or UDP datagram that fits its link, that [`has_checksum`], and whose
/// TTL is above 1, of either direction without a branch.
#[inline(always)]
pub(crate) fn rewrite(head: &mut [u8; PLAIN], direction: Direction, protocol: u8, nat: &Nat, hop: &Hop) {
    let is_tcp = protocol == protocol::TCP;
    let at = L4 + if is_tcp { tcp::CHECKSUM } else { udp::CHECKSUM };
    let new = checksum::update(u16_at(head, at), nat.l4);
    put_u16(head, at, if is_tcp { new } else { checksum::udp(new) });
    set_macs(head, hop);
    head[L3 + 8] -= 1;
    let sum = checksum::update(u16_at(head, L3 + 10), nat.l3);
    put_u16(head, L3 + 10, sum);
    // The destination of a request, the source of a reply.
    let side = direction.other() as usize;
    put_u32(head, L3 + 12 + 4 * side, nat.address);
    put_u16(head, L4 + 2 * side, nat.port);
}

#[inline(always)]
fn translate<F: Frame, S: Side>(frame: &mut F, parsed: &Parsed, nat: &Nat, hop: &Hop) -> Outcome {
    if parsed.is_plain()
        && let Some(head) = frame.bytes_mut().first_chunk_mut::<PLAIN>()
        && head[L3 + 8] > 1
        && parsed.total_length <= hop.mtu
    {
        let is_tcp = matches!(parsed.kind, Kind::Tcp);
        if (is_tcp || matches!(parsed.kind, Kind::Udp)) && has_checksum(head, parsed.protocol) {
            rewrite(head, S::DIRECTION, parsed.protocol, nat, hop);
            frame.truncate(parsed.frame_length());
            return Outcome::Send;
        }
    }
    otherwise::<F, S>(frame, parsed, nat, hop)
}

/// Tags, IP options, fragments, SCTP, short datagrams, no UDP checksum, and whatever may not pass.
#[cold]
#[inline(never)]
fn otherwise<F: Frame, S: Side>(frame: &mut F, parsed: &Parsed, nat: &Nat, hop: &Hop) -> Outcome {
    let outcome = forward(frame, parsed, hop);
    if !matches!(outcome, Outcome::Send | Outcome::Fragment) {
        return outcome;
    }
    if replace::<S>(frame.bytes_mut(), parsed, nat) { outcome } else { Outcome::NoRoom }
}

/// Replaces one endpoint of a packet, and nothing else.
fn replace<S: Side>(bytes: &mut [u8], parsed: &Parsed, nat: &Nat) -> bool {
    let l3 = usize::from(parsed.l3);
    let Some(ip) = header_mut::<{ ipv4::HEADER }>(bytes, l3) else { return false };
    let old = u32_at(ip, S::ADDRESS);
    let address = u32::from(checksum::delta(old, nat.address));
    let sum = checksum::update(u16_at(ip, 10), address);
    put_u16(ip, 10, sum);
    put_u32(ip, S::ADDRESS, nat.address);
    let addresses = Ipv4(&*ip).addresses();
    let is_later_fragment = Ipv4(&*ip).fragment() & ipv4::OFFSET != 0;
    let is_whole = Ipv4(&*ip).fragment() & ipv4::MF == 0;
    if is_later_fragment {
        return true;
    }
    let Some(packet) = bytes.get_mut(parsed.l4.into()..parsed.frame_length()) else { return false };
    let Some(ports) = header_mut::<4>(packet, 0) else { return false };
    let old = u16_at(ports, S::PORT);
    put_u16(ports, S::PORT, nat.port);
    let change = address + u32::from(!old) + u32::from(nat.port);
    match parsed.protocol {
        protocol::TCP => {
            if let Some(tcp) = header_mut::<{ tcp::HEADER }>(packet, 0) {
                let sum = checksum::update(u16_at(tcp, tcp::CHECKSUM), change);
                put_u16(tcp, tcp::CHECKSUM, sum);
            }
        }
        protocol::UDP => {
            if let Some(udp) = header_mut::<{ udp::HEADER }>(packet, 0) {
                let sum = u16_at(udp, udp::CHECKSUM);
                if sum != 0 {
                    put_u16(udp, udp::CHECKSUM, checksum::udp(checksum::update(sum, change)));
                } else if is_whole {
                    let pseudo = checksum::pseudo(addresses, parsed.protocol, packet.len() as u16);
                    let sum = checksum::finish_udp(pseudo + checksum::sum(packet));
                    packet[udp::CHECKSUM..udp::CHECKSUM + 2].copy_from_slice(&sum.to_ne_bytes());
                }
            }
        }
        protocol::SCTP if old != nat.port && is_whole => {
            if let Some(sum) = sctp::checksum(packet) {
                packet[sctp::CHECKSUM..sctp::CHECKSUM + 4].copy_from_slice(&sum);
            }
        }
        _ => {}
    }
    true
}
