//! ICMP errors that the director sends itself, written over the frame they are about.
//!
//! As the kernel's `icmp_send`: precedence 6 with the packet's own TOS bits, TTL 64, no DF, as much of the packet as fits in 576 bytes; nothing about
//! ICMP errors, later fragments, or to addresses that are nobody's. Rate limiting is the caller's.

use super::{Hop, set_macs};
use crate::parse::Parsed;
use crate::wire::icmp;
use crate::wire::ipv4::{self, Ipv4, protocol};
use packet_io::Frame;
use std::net::Ipv4Addr;

/// The most bytes of an error, IP header included (RFC 1812, 4.3.2.3).
const LIMIT: u16 = 576;
const HEADERS: usize = ipv4::HEADER + icmp::HEADER;
/// The precedence of errors (RFC 1812, 4.3.2.5), and the bits of RFC 1349 that they take over.
const INTERNETWORK_CONTROL: u8 = 0xc0;
const TOS_BITS: u8 = 0x1e;

/// What to tell the sender of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// 11/0: the TTL was used up.
    TimeExceeded,
    /// 3/4: the packet is longer than this MTU, bytes.
    FragmentationNeeded(u16),
    /// 3/3: nobody serves this port now.
    PortUnreachable,
    /// Any other: type, code and the last four bytes of the header.
    Other(u8, u8, [u8; 4]),
}

impl Message {
    const fn parts(self) -> (u8, u8, [u8; 4]) {
        match self {
            Self::TimeExceeded => (icmp::TIME_EXCEEDED, 0, [0; 4]),
            Self::FragmentationNeeded(mtu) => {
                let [high, low] = mtu.to_be_bytes();
                (icmp::UNREACHABLE, icmp::FRAGMENTATION_NEEDED, [0, 0, high, low])
            }
            Self::PortUnreachable => (icmp::UNREACHABLE, icmp::PORT_UNREACHABLE, [0; 4]),
            Self::Other(kind, code, rest) => (kind, code, rest),
        }
    }
}

/// The TTL in the quoted packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotedTtl {
    /// The one it came with.
    AsReceived,
    /// One less: the kernel had already forwarded it when it found the trouble. So in "fragmentation needed" about a
    /// request, whatever the method, and in what `nat_icmp_send` answers.
    Decremented,
}

/// Who sends an error, and by which link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The source: the virtual address for a request, an address of the incoming port for a reply.
    pub source: Ipv4Addr,
    /// The identification of the IP header: any.
    pub id: u16,
    /// The way back to the packet's source. Its MTU bounds the message.
    pub hop: Hop,
}

/// Turns a frame into an error about the packet in it, sent to its source. Answers false if none may be sent, or if the
/// frame has no room for it: then drop it.
#[must_use]
pub fn write<F: Frame>(frame: &mut F, parsed: &Parsed, message: Message, ttl: QuotedTtl, sender: &Sender) -> bool {
    let length = usize::from(parsed.total_length);
    if !may_answer(frame.bytes(), parsed) {
        return false;
    }
    if ttl == QuotedTtl::Decremented
        && let Some(mut ip) = Ipv4::at_mut(frame.bytes_mut(), parsed.l3.into())
    {
        ip.decrement_ttl();
    }
    put(frame, parsed.l3.into(), length, message, sender)
}

/// Puts IP and ICMP headers between the Ethernet header, which is `l3` bytes long, and the packet behind it, of which
/// there are `length` bytes. The packet's source, as it stands in it, is the destination.
pub(super) fn put<F: Frame>(frame: &mut F, l3: usize, length: usize, message: Message, sender: &Sender) -> bool {
    let room = usize::from(sender.hop.mtu.min(LIMIT)).saturating_sub(HEADERS);
    let quote = length.min(room);
    frame.truncate(l3 + quote);
    if quote < ipv4::HEADER || frame.bytes().len() != l3 + quote || !frame.grow_front(HEADERS) {
        return false;
    }
    let bytes = frame.bytes_mut();
    bytes.copy_within(HEADERS..HEADERS + l3, 0);
    set_macs(bytes, &sender.hop);
    let Some((front, quoted)) = bytes.split_at_mut_checked(l3 + HEADERS) else { return false };
    let Some(packet) = Ipv4::at(quoted, 0) else { return false };
    let ip = ipv4::New {
        tos: INTERNETWORK_CONTROL | quoted[1] & TOS_BITS,
        total_length: (HEADERS + quote) as u16,
        id: sender.id,
        fragment: 0,
        ttl: 64,
        protocol: protocol::ICMP,
        source: u32::from_ne_bytes(sender.source.octets()),
        destination: packet.source(),
    };
    let (kind, code, rest) = message.parts();
    front[l3..l3 + ipv4::HEADER].copy_from_slice(&ip.bytes());
    front[l3 + ipv4::HEADER..].copy_from_slice(&icmp::error(kind, code, rest, quoted));
    true
}

/// RFC 1122, 3.2.2: no error about an error, about a fragment but the first, about a frame to many, or to an address
/// that is not one host's.
fn may_answer(frame: &[u8], parsed: &Parsed) -> bool {
    let Some(ip) = Ipv4::at(frame, parsed.l3.into()) else { return false };
    let destination = parsed.destination();
    let about_error =
        parsed.protocol == protocol::ICMP && frame.get(usize::from(parsed.l4)).is_none_or(|kind| icmp::is_error(*kind));
    !about_error
        && ip.fragment() & ipv4::OFFSET == 0
        && frame[0] & 1 == 0
        && !parsed.has_martian_source()
        && !destination.is_multicast()
        && !destination.is_broadcast()
}
