//! What the tunnels share: the outer IP header.
//!
//! As the kernel has it (`ip_vs_tunnel_xmit`): TTL of the inner packet, already decremented; its TOS, but "congestion
//! experienced" becomes ECT(0) (RFC 6040, the inner one keeps it); its DF, if path MTU discovery is on; identification
//! 0 with DF, else counted.

use super::{Hop, Outcome, admit, set_macs};
use crate::parse::Parsed;
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::{checksum, ethernet, put_u16, put_u32, put_u64, u16_at};
use packet_io::Frame;

/// The ends of a tunnel. It depends on the real server and its route alone, so it may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// The outer source: an address of the port that the packet leaves by. As it stands in memory.
    pub source: u32,
    /// The outer destination: the real server. As it stands in memory.
    pub destination: u32,
    /// The kernel's `pmtu_disc`: true copies DF to the outer header and refuses what is too long, false fragments.
    pub pmtu_disc: bool,
}

/// The outer header as far as the tunnel alone decides it, for packets that are plain: what differs among them is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Both ends as they stand in the header.
    ends: u64,
    /// The sum of what is the same in every header.
    sum: u32,
    /// Which bits of the fragment field are copied; as it stands.
    copied: u16,
}

impl Outer {
    /// Prepares the outer headers of IPIP.
    #[must_use]
    pub fn prepared(&self) -> Prepared {
        let [a, b, c, d] = self.source.to_ne_bytes();
        let [e, f, g, h] = self.destination.to_ne_bytes();
        let fixed = u16::from_ne_bytes([0x45, 0]) as u32 + u32::from(u16::from_ne_bytes([0, ipv4::protocol::IPIP]));
        let ends = checksum::fold(u64::from(self.source) + u64::from(self.destination));
        Prepared {
            ends: u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            sum: fixed + u32::from(ends),
            copied: if self.pmtu_disc { ipv4::DF.to_be() } else { 0 },
        }
    }
}

/// Bytes of the smallest MTU that a link may have (RFC 791): no smaller one is told to a client.
const SMALLEST_MTU: u16 = 68;

/// Offsets in a plain frame that got an outer header in front.
const OUTER: usize = ethernet::HEADER;
const INNER: usize = OUTER + ipv4::HEADER;
const PLAIN: usize = INNER + ipv4::HEADER;

/// Puts an outer header with nothing between it and the packet: IPIP, untagged.
#[inline]
pub(super) fn wrap<F: Frame>(frame: &mut F, parsed: &Parsed, outer: &Outer, hop: &Hop, id: &mut u16) -> Outcome {
    let length = u32::from(parsed.total_length) + ipv4::HEADER as u32;
    let ttl = frame.bytes().first_chunk::<{ OUTER + ipv4::HEADER }>().map_or(0, |head| head[OUTER + 8]);
    if parsed.is_plain()
        && ttl > 1
        && length <= u32::from(hop.mtu)
        && wrap_plain(frame, &outer.prepared(), hop, parsed.total_length, id).is_some()
    {
        return Outcome::Send;
    }
    push(frame, parsed, ipv4::protocol::IPIP, 0, outer, hop, id, |_, _| {})
}

/// The same of a plain packet of `total_length` bytes that fits its link, and whose TTL is above 1, without its padding.
#[inline(always)]
pub(super) fn wrap_plain<F: Frame>(
    frame: &mut F,
    outer: &Prepared,
    hop: &Hop,
    total_length: u16,
    id: &mut u16,
) -> Option<()> {
    // All is read before the frame grows and written afterwards: reading by a beginning that was just moved takes long.
    let head = frame.bytes().first_chunk::<{ OUTER + ipv4::HEADER }>()?;
    let ttl = head[OUTER + 8].wrapping_sub(1);
    let sum = checksum::ttl_decremented(u16_at(head, OUTER + 10));
    let (tos, fragment) = (congestion_forgotten(head[OUTER + 1]), u16_at(head, OUTER + 6) & outer.copied);
    if !frame.grow_front(ipv4::HEADER) {
        return None;
    }
    let length = total_length + ipv4::HEADER as u16;
    frame.truncate(OUTER + usize::from(length));
    let head = frame.bytes_mut().first_chunk_mut::<PLAIN>()?;
    let this = identification(fragment, id).to_be();
    let [length, lifetime] = [length.to_be(), u16::from_ne_bytes([ttl, ipv4::protocol::IPIP])];
    let own = [u16::from_ne_bytes([0, tos]), length, this, fragment, u16::from_ne_bytes([ttl, 0])];
    let checksum = !checksum::fold32(outer.sum + own.iter().map(|word| u32::from(*word)).sum::<u32>());
    let [high, low] = ethernet::EtherType::IPV4.0;
    set_macs(head, hop);
    put_u32(head, 12, u32::from_ne_bytes([high, low, 0x45, tos]));
    put_u16(head, OUTER + 2, length);
    put_u16(head, OUTER + 4, this);
    put_u16(head, OUTER + 6, fragment);
    put_u16(head, OUTER + 8, lifetime);
    put_u16(head, OUTER + 10, checksum);
    put_u64(head, OUTER + 12, outer.ends);
    head[INNER + 8] = ttl;
    put_u16(head, INNER + 10, sum);
    Some(())
}

/// The TOS of an outer header: "congestion experienced" becomes ECT(0).
#[inline(always)]
fn congestion_forgotten(tos: u8) -> u8 {
    tos & !(tos >> 1 & tos & 1)
}

/// The identification of an outer header with these fragment bits. With DF, 0: nobody will ever put it together again
/// (RFC 6864).
#[inline(always)]
fn identification(df: u16, id: &mut u16) -> u16 {
    let this = if df == 0 { *id } else { 0 };
    *id = id.wrapping_add(u16::from(df == 0));
    this
}

/// The outer header for an inner one with this TOS, fragment field and decremented TTL.
#[inline(always)]
fn header(tos: u8, fragment: u16, ttl: u8, protocol: u8, length: u16, outer: &Outer, id: &mut u16) -> ipv4::New {
    let df = if outer.pmtu_disc { fragment & ipv4::DF } else { 0 };
    let this = identification(df, id);
    ipv4::New {
        tos: congestion_forgotten(tos),
        total_length: length,
        id: this,
        fragment: df,
        ttl,
        protocol,
        source: outer.source,
        destination: outer.destination,
    }
}

/// Puts an outer header and `extra` bytes behind it in front of any packet. `fill` gets the outer addresses, as a pseudo
/// header wants them, and everything behind the outer header: the extra bytes, to be written, and the inner packet.
#[allow(clippy::too_many_arguments)]
#[inline(never)]
pub(super) fn push<F: Frame>(
    frame: &mut F,
    parsed: &Parsed,
    protocol: u8,
    extra: u8,
    outer: &Outer,
    hop: &Hop,
    id: &mut u16,
    fill: impl FnOnce(u64, &mut [u8]),
) -> Outcome {
    let l3 = usize::from(parsed.l3);
    let added = ipv4::HEADER + usize::from(extra);
    let Some(inner) = Ipv4::at(frame.bytes(), l3) else { return Outcome::NoRoom };
    let (tos, fragment) = (inner.tos(), inner.fragment());
    let length = usize::from(parsed.total_length) + added;
    let outcome = match admit(&inner, length, added as u16, hop, outer.pmtu_disc) {
        Outcome::FragmentationNeeded(mtu) => return Outcome::FragmentationNeeded(mtu.max(SMALLEST_MTU)),
        outcome @ (Outcome::Send | Outcome::Fragment) => outcome,
        refused => return refused,
    };
    let Ok(length) = u16::try_from(length) else { return Outcome::NoRoom };
    frame.truncate(parsed.frame_length());
    if frame.bytes().len() != parsed.frame_length() || !frame.grow_front(added) {
        return Outcome::NoRoom;
    }
    let bytes = frame.bytes_mut();
    bytes.copy_within(added..added + l3, 0); // the Ethernet header with its tags
    set_macs(bytes, hop);
    let Some((front, payload)) = bytes.split_at_mut_checked(l3 + ipv4::HEADER) else { return Outcome::NoRoom };
    let Some(mut inner) = Ipv4::at_mut(payload, extra.into()) else { return Outcome::NoRoom };
    inner.decrement_ttl();
    let header = header(tos, fragment, inner.ttl(), protocol, length, outer, id).bytes();
    front[l3..].copy_from_slice(&header);
    fill(Ipv4(&header).addresses(), payload);
    outcome
}
