//! IP options that every router on the way fills in: record route and timestamp (RFC 791, 3.1).
//!
//! The kernel does it when a packet comes in (`ip_options_compile`), so before any forwarding. Nearly no packet has
//! such options; a packet with none need not come here ([`Parsed::l4`] says it: 20 bytes behind `l3`).

use crate::parse::Parsed;
use crate::wire::ipv4::{self, options};
use packet_io::Frame;
use std::net::Ipv4Addr;

/// Fills in record route and timestamp with `address` (of the director: for a request the virtual one) and
/// `milliseconds` since midnight UT. Answers false if such an option is broken: then drop the packet.
#[must_use]
pub fn record<F: Frame>(frame: &mut F, parsed: &Parsed, address: Ipv4Addr, milliseconds: u32) -> bool {
    let Some(header) = frame.bytes_mut().get_mut(parsed.l3.into()..parsed.l4.into()) else { return false };
    let Some((_, list)) = header.split_first_chunk_mut::<{ ipv4::HEADER }>() else { return false };
    // At most one of each is legal; where they are is noted first, because the walk borrows the list.
    let (mut route, mut stamp, mut twice) = (None, None, false);
    let sound = options::walk(list, |at, kind, length| match kind {
        options::RECORD_ROUTE => twice |= route.replace(at..at + length).is_some(),
        options::TIMESTAMP => twice |= stamp.replace(at..at + length).is_some(),
        _ => {}
    });
    if !sound || twice {
        return false;
    }
    let good = route.is_none_or(|range| record_route(&mut list[range], address))
        && stamp.is_none_or(|range| record_time(&mut list[range], address, milliseconds));
    ipv4::seal(header);
    good
}

/// Type, length, pointer (1-based, at least 4), then addresses.
fn record_route(option: &mut [u8], address: Ipv4Addr) -> bool {
    let &mut [_, _, pointer, ..] = option else { return false };
    if pointer < 4 {
        return false;
    }
    if usize::from(pointer) > option.len() {
        return true; // full
    }
    let at = usize::from(pointer) - 1;
    let Some(slot) = option.get_mut(at..at + 4) else { return false };
    slot.copy_from_slice(&address.octets());
    option[2] = pointer + 4;
    true
}

/// Type, length, pointer (1-based, at least 5), overflow count and flags, then timestamps with or without addresses.
fn record_time(option: &mut [u8], address: Ipv4Addr, milliseconds: u32) -> bool {
    let &mut [_, _, pointer, flags, ..] = option else { return false };
    if pointer < 5 {
        return false;
    }
    if usize::from(pointer) > option.len() {
        option[3] = flags.wrapping_add(0x10); // one more router that found no room
        return flags >> 4 != 15;
    }
    let at = usize::from(pointer) - 1;
    let with_address = match flags & 0xf {
        0 => false,
        1 | 3 => true,
        _ => return true,
    };
    let size = if with_address { 8 } else { 4 };
    let Some(slot) = option.get_mut(at..at + size) else { return false };
    // With flag 3 the sender says whose time it wants; another's slot is left for him.
    if flags & 0xf == 3 && slot[..4] != address.octets() {
        return true;
    }
    if with_address {
        slot[..4].copy_from_slice(&address.octets());
    }
    slot[size - 4..].copy_from_slice(&milliseconds.to_be_bytes());
    option[2] = pointer + size as u8;
    true
}
