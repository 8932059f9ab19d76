//! The packet that an ICMP error quotes.
//!
//! The kernel's rules (`ip_vs_in_icmp`): the quoted header must be there as a whole, and four bytes behind it; its
//! checksums are not looked at, because the packet it came from was rewritten and cut on its way.

use super::{Kind, Parsed};
use crate::wire::ethernet;
use crate::wire::ipv4::{self, Ipv4, protocol};
use crate::wire::{checksum, gre, gue, header, icmp, u32_at, udp};

/// What an ICMP error says about which packet. Offsets count from the frame's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// ICMP type: 3, 4 or 11.
    pub kind: u8,
    /// ICMP code.
    pub code: u8,
    /// The last four bytes of the ICMP header; of "fragmentation needed", the last two are the MTU.
    pub rest: [u8; 4],
    /// Source and destination of the quoted packet as they stand.
    pub addresses: u64,
    /// Its ports as they stand.
    pub ports: u32,
    /// Its protocol number.
    pub protocol: u8,
    /// Offset of its IP header.
    pub l3: u8,
    /// Offset of its transport header.
    pub l4: u8,
    /// The quoted packet may not be fragmented.
    pub df: bool,
    /// What was around the quoted packet, if it travelled in a tunnel.
    pub tunnel: Option<TunnelQuote>,
}

/// The outer packet of a quoted tunnel packet: perhaps one that the director sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelQuote {
    /// Outer source and destination as they stand.
    pub addresses: u64,
    /// Outer protocol number: IPIP, GRE or UDP.
    pub protocol: u8,
    /// Outer UDP destination port in host byte order, else 0.
    pub port: u16,
}

impl Quoted {
    /// The MTU that a "fragmentation needed" names (0 if its router does not know RFC 1191).
    #[must_use]
    pub fn mtu(&self) -> u16 {
        u16::from_be_bytes([self.rest[2], self.rest[3]])
    }
    /// True for "fragmentation needed".
    #[must_use]
    pub fn is_fragmentation_needed(&self) -> bool {
        self.kind == icmp::UNREACHABLE && self.code == icmp::FRAGMENTATION_NEEDED
    }
    /// The quoted packet's endpoints as if it were parsed: a request if its source is the client, a reply if its
    /// destination is.
    #[must_use]
    pub fn as_parsed(&self) -> Parsed {
        Parsed { addresses: self.addresses, ports: self.ports, protocol: self.protocol, ..Parsed::default() }
    }
}

/// Reads the packet quoted in a frame that was parsed as [`Kind::IcmpError`]. Nothing if too little is quoted, or
/// another protocol than TCP, UDP or SCTP, or a later fragment: then the error is the kernel's to handle.
///
/// A tunnel packet is looked into, if what is in it is quoted far enough: `gue_port` says whether a UDP destination
/// port (host byte order) is one of ours for GUE.
#[must_use]
pub fn quoted(frame: &[u8], parsed: &Parsed, gue_port: impl Fn(u16) -> bool) -> Option<Quoted> {
    if parsed.kind != Kind::IcmpError {
        return None;
    }
    let frame = frame.get(..parsed.frame_length())?;
    let message: &[u8; icmp::HEADER] = header(frame, parsed.l4.into())?;
    let outer = usize::from(parsed.l4) + icmp::HEADER;
    let (tunnel, l3) = match tunnel(frame, outer, gue_port) {
        Some((tunnel, inner)) => (Some(tunnel), inner),
        None => (None, outer),
    };
    let ip = sound(frame, l3)?;
    let l4 = l3 + ip.header_length();
    if !matches!(ip.protocol(), protocol::TCP | protocol::UDP | protocol::SCTP) || ip.fragment() & ipv4::OFFSET != 0 {
        return None;
    }
    Some(Quoted {
        kind: message[0],
        code: message[1],
        rest: [message[4], message[5], message[6], message[7]],
        addresses: ip.addresses(),
        ports: u32_at::<4>(header(frame, l4)?, 0),
        protocol: ip.protocol(),
        l3: u8::try_from(l3).ok()?,
        l4: u8::try_from(l4).ok()?,
        df: ip.fragment() & ipv4::DF != 0,
        tunnel,
    })
}

/// True if the checksum of a whole ICMP message is right. The kernel looks only once it has found a connection.
#[must_use]
pub fn icmp_checksum_good(frame: &[u8], parsed: &Parsed) -> bool {
    frame
        .get(usize::from(parsed.l4)..parsed.frame_length())
        .is_some_and(|message| checksum::good(checksum::sum(message)))
}

/// A quoted header at `at`, if its version and length are possible.
fn sound(frame: &[u8], at: usize) -> Option<Ipv4<&[u8; ipv4::HEADER]>> {
    Ipv4::at(frame, at).filter(|ip| ip.version() == 4 && ip.header_length() >= ipv4::HEADER)
}

/// The tunnel header at `outer`, and where the packet in it starts.
fn tunnel(frame: &[u8], outer: usize, gue_port: impl Fn(u16) -> bool) -> Option<(TunnelQuote, usize)> {
    let ip = sound(frame, outer)?;
    if ip.fragment() & ipv4::OFFSET != 0 {
        return None;
    }
    let behind = outer + ip.header_length();
    let (port, skip) = match ip.protocol() {
        protocol::IPIP => (0, 0),
        protocol::GRE => (0, gre_header(header(frame, behind)?)?),
        protocol::UDP => {
            let port = udp::destination(header(frame, behind)?);
            let gue: &[u8; gue::HEADER] = header(frame, behind + udp::HEADER)?;
            // Variant 0, no control message; its length field counts words of options.
            if !gue_port(port) || gue[0] & 0xe0 != 0 || gue[1] != protocol::IPIP {
                return None;
            }
            (port, udp::HEADER + gue::HEADER + usize::from(gue[0] & 0x1f) * 4)
        }
        _ => return None,
    };
    Some((TunnelQuote { addresses: ip.addresses(), protocol: ip.protocol(), port }, behind + skip))
}

/// Bytes of a GRE header that an IPv4 packet follows.
fn gre_header(gre: &[u8; gre::HEADER]) -> Option<usize> {
    let with_checksum = gre[0] & 0x80 != 0;
    // Only the checksum option is ever ours; version 0; the payload is IPv4.
    let ours = gre[0] & 0x7f == 0 && gre[1] == 0 && [gre[2], gre[3]] == ethernet::EtherType::IPV4.0;
    ours.then_some(if with_checksum { gre::HEADER_WITH_CHECKSUM } else { gre::HEADER })
}
