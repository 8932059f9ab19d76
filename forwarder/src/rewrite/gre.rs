//! Generic routing encapsulation (RFC 2784) of an IPv4 packet.

use super::{Hop, Outcome, Outer, outer};
use crate::parse::Parsed;
use crate::wire::gre::{self, HEADER, HEADER_WITH_CHECKSUM};
use crate::wire::ipv4::{self, protocol};
use packet_io::Frame;

/// Bytes that the tunnel adds to a packet.
#[must_use]
pub const fn overhead(with_checksum: bool) -> u16 {
    (ipv4::HEADER + if with_checksum { HEADER_WITH_CHECKSUM } else { HEADER }) as u16
}

/// Sends a packet of any protocol through the tunnel `outer` by `hop`; see [`super::ipip::send`] for `id`.
pub fn send<F: Frame>(
    frame: &mut F,
    parsed: &Parsed,
    outer: &Outer,
    with_checksum: bool,
    hop: &Hop,
    id: &mut u16,
) -> Outcome {
    let extra = if with_checksum { HEADER_WITH_CHECKSUM } else { HEADER };
    outer::push(frame, parsed, protocol::GRE, extra as u8, outer, hop, id, |_, bytes| {
        let (header, inner) = bytes.split_at_mut(extra);
        if with_checksum {
            header.copy_from_slice(&gre::with_checksum(inner));
        } else {
            header.copy_from_slice(&gre::PLAIN);
        }
    })
}
