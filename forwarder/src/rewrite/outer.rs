//! What the tunnels share: the outer IP header.
//!
//! As the kernel has it (`ip_vs_tunnel_xmit`): TTL of the inner packet, already decremented; its TOS, but "congestion
//! experienced" becomes ECT(0) (RFC 6040, the inner one keeps it); its DF, if path MTU discovery is on; identification
//! 0 with DF, else counted.

use super::{Hop, Outcome, admit, set_macs};
use crate::parse::Parsed;
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::{checksum, ethernet, put_u16, u16_at};
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
        && wrap_plain(frame, outer, hop, length as u16, id).is_some()
    {
        frame.truncate(parsed.frame_length() + ipv4::HEADER);
        return Outcome::Send;
    }
    push(frame, parsed, ipv4::protocol::IPIP, 0, outer, hop, id, |_, _| {})
}

/// The same of a plain packet that fits its link, and whose TTL is above 1. `length` is that of the outer packet.
#[inline(always)]
pub(super) fn wrap_plain<F: Frame>(frame: &mut F, outer: &Outer, hop: &Hop, length: u16, id: &mut u16) -> Option<()> {
    // All is read before the frame grows and written afterwards: reading by a beginning that was just moved takes long.
    let head = frame.bytes().first_chunk::<{ OUTER + ipv4::HEADER }>()?;
    let ttl = head[OUTER + 8].wrapping_sub(1);
    let sum = checksum::ttl_decremented(u16_at(head, OUTER + 10));
    let (tos, fragment) = (head[OUTER + 1], u16::from_be(u16_at(head, OUTER + 6)));
    if !frame.grow_front(ipv4::HEADER) {
        return None;
    }
    let head = frame.bytes_mut().first_chunk_mut::<PLAIN>()?;
    set_macs(head, hop);
    put_u16(head, 12, u16::from_ne_bytes(ethernet::EtherType::IPV4.0));
    header(tos, fragment, ttl, ipv4::protocol::IPIP, length, outer, id).write(head[OUTER..].first_chunk_mut()?);
    head[INNER + 8] = ttl;
    put_u16(head, INNER + 10, sum);
    Some(())
}

/// The outer header for an inner one with this TOS, fragment field and decremented TTL.
#[inline(always)]
fn header(tos: u8, fragment: u16, ttl: u8, protocol: u8, length: u16, outer: &Outer, id: &mut u16) -> ipv4::New {
    let df = if outer.pmtu_disc { fragment & ipv4::DF } else { 0 };
    // With DF, 0: nobody will ever put it together again (RFC 6864).
    let this = if df == 0 { *id } else { 0 };
    *id = id.wrapping_add(u16::from(df == 0));
    ipv4::New {
        tos: if tos & 3 == 3 { tos & !1 } else { tos },
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
