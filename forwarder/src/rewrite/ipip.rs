//! IP in IP (RFC 2003): the packet travels whole in an outer one to the real server, which answers the client itself.

use super::{Hop, Outcome, Outer, Prepared, outer};
use crate::parse::Parsed;
use packet_io::Frame;

/// Bytes that the tunnel adds to a packet.
pub const OVERHEAD: u16 = 20;

/// Sends a packet of any protocol through the tunnel `outer` by `hop`. `id` is the next identification for outer headers
/// without DF; it is counted up when used.
#[inline]
pub fn send<F: Frame>(frame: &mut F, parsed: &Parsed, outer: &Outer, hop: &Hop, id: &mut u16) -> Outcome {
    outer::wrap(frame, parsed, outer, hop, id)
}

/// [`send`] for a plain packet of `total_length` bytes that fits its link and whose TTL is above 1. None, and nothing is
/// changed, if the frame has no room for another header.
#[inline(always)]
pub(crate) fn rewrite<F: Frame>(
    frame: &mut F,
    outer: &Prepared,
    hop: &Hop,
    total_length: u16,
    id: &mut u16,
) -> Option<()> {
    outer::wrap_plain(frame, outer, hop, total_length, id)
}
