//! One frame to what the pipeline decides by: where its headers are, its addresses and ports, and its kind.
//!
//! Nearly every frame is an untagged, unfragmented IPv4 packet with TCP or UDP and no IP options: [`plain`] reads those,
//! and [`general`] everything else, out of line. The rules are the kernel's (`ip_rcv`, then
//! `ip_vs_in`): what it drops before IPVS sees it is [`Kind::Malformed`] with a name; what is none of a director's
//! business is [`Kind::Kernel`].
//!
//! It knows no services and no connections, and changes nothing.

mod quoted;
pub use quoted::{Quoted, TunnelQuote, icmp_checksum_good, quoted};

use crate::wire::ethernet::{self, EtherType};
use crate::wire::ipv4::{self, Ipv4, options, protocol};
use crate::wire::{checksum, header, icmp, sctp, tcp, u16_at, u32_at, u64_at, udp};
use packet_io::Checksums;
use std::net::Ipv4Addr;

/// What a frame is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A whole TCP segment.
    Tcp,
    /// A whole UDP datagram.
    Udp,
    /// A whole SCTP packet.
    Sctp,
    /// A whole ICMP message of type 3, 4 or 11: an error about a packet that [`quoted`] reads.
    IcmpError,
    /// A fragment of TCP, UDP, SCTP or ICMP: [`fragment`] says which piece. Ports are set in a first one;
    /// flags never, so that none is taken for an ordinary packet of its connection.
    Fragment,
    /// Not for a director: other protocols and ICMP types, ARP, IPv6, multicast and broadcast frames.
    #[default]
    Kernel,
    /// To be dropped, by this name.
    Malformed(Malformed),
}

/// Why a frame is dropped before anybody looks at its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The frame ends in its Ethernet header or tags.
    ShortFrame,
    /// The frame ends in the fixed part of its IPv4 header.
    ShortHeader,
    /// The version in an IPv4 frame is not 4.
    BadVersion,
    /// The IPv4 header length is below 20 bytes, or more than the frame has.
    BadHeaderLength,
    /// The total length is below the header length, or more than the frame has.
    BadTotalLength,
    /// The header checksum is wrong.
    BadHeaderChecksum,
    /// An IP option has an impossible length.
    BadOptions,
    /// It has a source route (which the kernel refuses, too, unless accept_source_route is set).
    SourceRouted,
    /// The packet, or its first fragment, ends in its TCP, UDP, SCTP or ICMP header.
    ShortTransport,
    /// A fragment that ends behind byte 65535 of its packet.
    FragmentTooLong,
}

/// What [`parse`] found. Offsets count from the frame's first byte; all numbers are 0 that the kind has no use for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Source and destination: the eight bytes at IP offset 12 as they stand in memory.
    pub addresses: u64,
    /// Source and destination port: the first four bytes of the transport header as they stand in memory.
    pub ports: u32,
    /// Bytes of the IP packet: what lies behind it in the frame is Ethernet padding.
    pub total_length: u16,
    /// Offset of the IP header.
    pub l3: u8,
    /// Offset of the transport header (of a later fragment: of its data).
    pub l4: u8,
    /// What it is.
    pub kind: Kind,
    /// IP protocol number.
    pub protocol: u8,
    /// TCP flags ([`tcp::flags`]); of a UDP datagram ACK alone, so that both are ordinary by the same test.
    pub flags: u8,
}

/// Half of a pair of addresses or ports as they stand: the one that comes first in the packet.
macro_rules! first {
    ($pair:expr, $half:ty) => {
        if cfg!(target_endian = "little") { $pair as $half } else { ($pair >> <$half>::BITS) as $half }
    };
}

/// The one that comes second.
macro_rules! second {
    ($pair:expr, $half:ty) => {
        if cfg!(target_endian = "little") { ($pair >> <$half>::BITS) as $half } else { $pair as $half }
    };
}

/// An endpoint as a number for hashing and comparing: address (as it stands) in the upper 32 bits, port (as it
/// stands) above the protocol number in the lower 32.
#[inline(always)]
#[must_use]
pub const fn endpoint(address: u32, port: u16, protocol: u8) -> u64 {
    (address as u64) << 32 | (port as u64) << 16 | protocol as u64
}

/// The source's endpoint of a pair of addresses and ports as they stand, or the destination's, without a branch.
#[inline(always)]
#[must_use]
pub const fn endpoint_of(addresses: u64, ports: u32, protocol: u8, destination: bool) -> u64 {
    let far = (destination == cfg!(target_endian = "little")) as u32;
    endpoint((addresses >> (far * 32)) as u32, (ports >> (far * 16)) as u16, protocol)
}

/// Address and port of an [`endpoint`], as they stand.
#[inline]
#[must_use]
pub const fn address_and_port(endpoint: u64) -> ([u8; 4], [u8; 2]) {
    (((endpoint >> 32) as u32).to_ne_bytes(), ((endpoint >> 16) as u16).to_ne_bytes())
}

impl Parsed {
    /// Of no frame.
    pub const NONE: Self =
        Self { addresses: 0, ports: 0, total_length: 0, l3: 0, l4: 0, kind: Kind::Kernel, protocol: 0, flags: 0 };

    /// The source address.
    #[inline]
    #[must_use]
    pub fn source(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.source_bits().to_ne_bytes())
    }
    /// The destination address.
    #[inline]
    #[must_use]
    pub fn destination(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.destination_bits().to_ne_bytes())
    }
    /// The source address as it stands.
    #[inline]
    #[must_use]
    pub const fn source_bits(&self) -> u32 {
        first!(self.addresses, u32)
    }
    /// The destination address as it stands.
    #[inline]
    #[must_use]
    pub const fn destination_bits(&self) -> u32 {
        second!(self.addresses, u32)
    }
    /// The source port, host byte order.
    #[inline]
    #[must_use]
    pub const fn source_port(&self) -> u16 {
        u16::from_be(self.source_port_bits())
    }
    /// The destination port, host byte order.
    #[inline]
    #[must_use]
    pub const fn destination_port(&self) -> u16 {
        u16::from_be(self.destination_port_bits())
    }
    /// The source port as it stands.
    #[inline]
    #[must_use]
    pub const fn source_port_bits(&self) -> u16 {
        first!(self.ports, u16)
    }
    /// The destination port as it stands.
    #[inline]
    #[must_use]
    pub const fn destination_port_bits(&self) -> u16 {
        second!(self.ports, u16)
    }
    /// The client's endpoint if the packet is a request: its source.
    #[inline]
    #[must_use]
    pub const fn source_endpoint(&self) -> u64 {
        endpoint(self.source_bits(), self.source_port_bits(), self.protocol)
    }
    /// The client's endpoint if the packet is a reply: its destination.
    #[inline]
    #[must_use]
    pub const fn destination_endpoint(&self) -> u64 {
        endpoint(self.destination_bits(), self.destination_port_bits(), self.protocol)
    }
    /// The client's endpoint if the packet is a reply (then the second, without a branch) or a request.
    #[inline(always)]
    #[must_use]
    pub const fn client_endpoint(&self, is_reply: bool) -> u64 {
        endpoint_of(self.addresses, self.ports, self.protocol, is_reply)
    }
    /// Bytes of the frame without padding.
    #[inline]
    #[must_use]
    pub const fn frame_length(&self) -> usize {
        self.l3 as usize + self.total_length as usize
    }
    /// True if the IP header has options.
    #[inline]
    #[must_use]
    pub const fn has_options(&self) -> bool {
        self.l4 as usize > self.l3 as usize + ipv4::HEADER
    }
    /// True if the headers lie where they do in untagged frames without IP options: IP at 14, transport at 34.
    #[inline]
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.l4 as usize == PLAIN_L4 // no other place of the IP header leads there
    }
    /// True if its TCP flags neither start nor end anything. Of UDP, always.
    #[inline]
    #[must_use]
    pub const fn is_ordinary(&self) -> bool {
        tcp::flags::are_ordinary(self.flags)
    }
    /// True if nothing may be sent back to its source: the kernel refuses such packets as "martian" when it routes them
    /// (source multicast, broadcast, loopback or 0.0.0.0/8), so no connection may come of one.
    #[must_use]
    pub fn has_martian_source(&self) -> bool {
        let source = self.source();
        matches!(source.octets()[0], 0 | 127 | 224..=239) || source.is_broadcast()
    }
}

const PLAIN_L3: usize = ethernet::HEADER;
const PLAIN_L4: usize = PLAIN_L3 + ipv4::HEADER;
/// Bytes of the fixed headers of a plain TCP segment; a NIC pads shorter frames to more than this.
pub const PLAIN: usize = PLAIN_L4 + tcp::HEADER;

/// Finds out what a frame is. `checksums` is the carrier's verdict on the IPv4 header.
#[inline]
#[must_use]
pub fn parse(frame: &[u8], checksums: Checksums) -> Parsed {
    plain(frame, checksums).unwrap_or_else(|| general(frame, checksums))
}

/// The same of a whole TCP segment or UDP datagram of at least 54 bytes, untagged and without IP options, as nearly all
/// are. None: it is something else, and [`general`] says what.
#[inline(always)]
#[must_use]
pub fn plain(frame: &[u8], checksums: Checksums) -> Option<Parsed> {
    match plain_of::<{ protocol::TCP }>(frame, checksums) {
        None => plain_of::<{ protocol::UDP }>(frame, checksums),
        parsed => parsed,
    }
}

#[inline(always)]
fn plain_of<const PROTOCOL: u8>(frame: &[u8], checksums: Checksums) -> Option<Parsed> {
    let head = plain_head::<PROTOCOL>(frame, checksums)?;
    let is_tcp = PROTOCOL == protocol::TCP;
    Some(Parsed {
        addresses: plain_addresses(head),
        ports: plain_ports(head),
        total_length: plain_length(head),
        l3: PLAIN_L3 as u8,
        l4: PLAIN_L4 as u8,
        kind: if is_tcp { Kind::Tcp } else { Kind::Udp },
        protocol: PROTOCOL,
        flags: if is_tcp { plain_flags(head) } else { tcp::flags::ACK },
    })
}

/// The headers of a plain frame of this protocol, TCP or UDP; None if it is something else.
#[inline(always)]
#[must_use]
pub fn plain_head<const PROTOCOL: u8>(frame: &[u8], checksums: Checksums) -> Option<&[u8; PLAIN]> {
    let head = frame.first_chunk::<PLAIN>()?;
    let least = ipv4::HEADER + if PROTOCOL == protocol::TCP { tcp::HEADER } else { udp::HEADER };
    let total_length = usize::from(plain_length(head));
    let [high, low] = EtherType::IPV4.0;
    // Several fields in one word each: EtherType, version and header length; fragment bits and protocol.
    let is_plain = u32_at(head, 12) & u32::from_ne_bytes([0xff, 0xff, 0xff, 0])
        == u32::from_ne_bytes([high, low, 0x45, 0])
        && u32_at(head, PLAIN_L3 + 6) & u32::from_ne_bytes([!DF, 0xff, 0, 0xff])
            == u32::from_ne_bytes([0, 0, 0, PROTOCOL])
        && total_length >= least
        && total_length <= frame.len() - PLAIN_L3
        && head[0] & 1 == 0
        && (checksums == Checksums::Ipv4Good || ip_checksum_good(head));
    is_plain.then_some(head)
}

/// The upper byte of "don't fragment"; the bit above it is reserved, and nobody looks at it.
const DF: u8 = 0xc0;

/// [`Parsed::addresses`] of a plain frame.
#[inline(always)]
#[must_use]
pub fn plain_addresses(head: &[u8; PLAIN]) -> u64 {
    u64_at(head, PLAIN_L3 + 12)
}

/// [`Parsed::ports`] of a plain frame.
#[inline(always)]
#[must_use]
pub fn plain_ports(head: &[u8; PLAIN]) -> u32 {
    u32_at(head, PLAIN_L4)
}

/// [`Parsed::source`] of a plain frame.
#[inline(always)]
#[must_use]
pub fn plain_source(head: &[u8; PLAIN]) -> Ipv4Addr {
    Ipv4Addr::from(u32_at(head, PLAIN_L3 + 12).to_ne_bytes())
}

/// [`Parsed::client_endpoint`] of a plain frame.
#[inline(always)]
#[must_use]
pub fn plain_client(head: &[u8; PLAIN], protocol: u8, is_reply: bool) -> u64 {
    let end = usize::from(is_reply);
    endpoint(u32_at(head, PLAIN_L3 + 12 + 4 * end), u16_at(head, PLAIN_L4 + 2 * end), protocol)
}

/// [`Parsed::total_length`] of a plain frame.
#[inline(always)]
#[must_use]
pub fn plain_length(head: &[u8; PLAIN]) -> u16 {
    u16::from_be(u16_at(head, PLAIN_L3 + 2))
}

/// The TCP flags of a plain frame.
#[inline(always)]
#[must_use]
pub fn plain_flags(head: &[u8; PLAIN]) -> u8 {
    head[PLAIN_L4 + tcp::FLAGS]
}

#[inline(always)]
fn ip_checksum_good(head: &[u8; PLAIN]) -> bool {
    match head[PLAIN_L3..].first_chunk() {
        Some(header) => checksum::header_good(header),
        None => false,
    }
}

/// Any frame, at leisure.
#[cold]
#[inline(never)]
#[must_use]
pub fn general(frame: &[u8], checksums: Checksums) -> Parsed {
    let mut parsed = Parsed::default();
    parsed.kind = examine(frame, checksums, &mut parsed).unwrap_or_else(Kind::Malformed);
    parsed
}

fn examine(frame: &[u8], checksums: Checksums, parsed: &mut Parsed) -> Result<Kind, Malformed> {
    let (ethertype, l3) = ethernet::payload(frame).ok_or(Malformed::ShortFrame)?;
    parsed.l3 = l3 as u8;
    if ethertype != EtherType::IPV4 {
        return Ok(Kind::Kernel);
    }
    let ip = Ipv4::at(frame, l3).ok_or(Malformed::ShortHeader)?;
    if ip.version() != 4 {
        return Err(Malformed::BadVersion);
    }
    let header_length = ip.header_length();
    if header_length < ipv4::HEADER || l3 + header_length > frame.len() {
        return Err(Malformed::BadHeaderLength);
    }
    parsed.total_length = ip.total_length();
    if usize::from(parsed.total_length) < header_length || parsed.frame_length() > frame.len() {
        return Err(Malformed::BadTotalLength);
    }
    let l4 = l3 + header_length;
    if checksums == Checksums::Unknown && !checksum::good(checksum::sum(&frame[l3..l4])) {
        return Err(Malformed::BadHeaderChecksum);
    }
    parsed.l4 = l4 as u8;
    parsed.protocol = ip.protocol();
    parsed.addresses = ip.addresses();
    let mut source_routed = false;
    let sound = options::walk(&frame[l3 + ipv4::HEADER..l4], |_, kind, _| {
        source_routed |= matches!(kind, options::LOOSE_SOURCE_ROUTE | options::STRICT_SOURCE_ROUTE);
    });
    if !sound {
        return Err(Malformed::BadOptions);
    }
    if source_routed {
        return Err(Malformed::SourceRouted);
    }
    if frame[0] & 1 != 0 {
        return Ok(Kind::Kernel);
    }
    transport(&frame[l4..parsed.frame_length()], ip.fragment(), parsed)
}

/// The rest of it: `payload` is the IP packet's.
fn transport(payload: &[u8], fragment: u16, parsed: &mut Parsed) -> Result<Kind, Malformed> {
    let offset = usize::from(fragment & ipv4::OFFSET) * 8;
    let is_fragment = offset != 0 || fragment & ipv4::MF != 0;
    let (kind, least) = match parsed.protocol {
        protocol::TCP => (Kind::Tcp, tcp::HEADER),
        protocol::UDP => (Kind::Udp, udp::HEADER),
        protocol::SCTP => (Kind::Sctp, sctp::HEADER),
        protocol::ICMP => (Kind::IcmpError, icmp::HEADER),
        _ => return Ok(Kind::Kernel),
    };
    if offset + payload.len() + ipv4::HEADER > usize::from(u16::MAX) {
        return Err(Malformed::FragmentTooLong);
    }
    if offset != 0 {
        return Ok(Kind::Fragment);
    }
    // Also of a first fragment: one that cuts its transport header in two is an attack (RFC 1858).
    if payload.len() < least {
        return Err(Malformed::ShortTransport);
    }
    if kind == Kind::IcmpError {
        let answered_by_kernel = !matches!(payload[0], icmp::UNREACHABLE | icmp::SOURCE_QUENCH | icmp::TIME_EXCEEDED);
        return Ok(if is_fragment {
            Kind::Fragment
        } else if answered_by_kernel {
            Kind::Kernel
        } else {
            kind
        });
    }
    parsed.ports = header(payload, 0).map_or(0, |ports| u32_at::<4>(ports, 0));
    if is_fragment {
        return Ok(Kind::Fragment);
    }
    parsed.flags = match kind {
        Kind::Udp => tcp::flags::ACK,
        Kind::Tcp => payload.get(tcp::FLAGS).copied().unwrap_or(0),
        _ => 0,
    };
    Ok(kind)
}

/// Which piece of its packet a fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The packet's identification, the same in all its fragments from one source to one destination of one protocol.
    pub id: u16,
    /// Where its data belongs, in bytes from the start of the packet's payload.
    pub offset: u16,
    /// Bytes of data.
    pub length: u16,
    /// False in the last.
    pub more: bool,
    /// Don't Fragment.
    pub df: bool,
}

/// Reads the fragment fields of a frame that was parsed as a [`Kind::Fragment`] (of any other: one that is whole).
#[must_use]
pub fn fragment(frame: &[u8], parsed: &Parsed) -> Option<Fragment> {
    let ip = Ipv4::at(frame, parsed.l3.into())?;
    let field = ip.fragment();
    Some(Fragment {
        id: ip.id(),
        offset: (field & ipv4::OFFSET) * 8,
        length: parsed.total_length.checked_sub(u16::from(parsed.l4.checked_sub(parsed.l3)?))?,
        more: field & ipv4::MF != 0,
        df: field & ipv4::DF != 0,
    })
}

#[cfg(test)]
mod tests;
