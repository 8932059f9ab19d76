//! Direct routing: the packet stays as it is but for its TTL; the MAC address finds the real server.

use super::{Hop, Outcome, PLAIN, forward, set_macs};
use crate::parse::Parsed;
use crate::wire::{checksum, put_u16, u16_at};
use packet_io::Frame;

/// Sends a packet of any protocol to the real server behind `hop`.
#[inline]
pub fn send<F: Frame>(frame: &mut F, parsed: &Parsed, hop: &Hop) -> Outcome {
    if parsed.is_plain()
        && let Some(head) = frame.bytes_mut().first_chunk_mut::<PLAIN>()
        && head[22] > 1
        && parsed.total_length <= hop.mtu
    {
        rewrite(head, hop);
        frame.truncate(parsed.frame_length());
        return Outcome::Send;
    }
    otherwise(frame, parsed, hop)
}

/// [`send`] for the first bytes of a plain packet that fits its link and whose TTL is above 1.
#[inline(always)]
pub(crate) fn rewrite(head: &mut [u8; PLAIN], hop: &Hop) {
    set_macs(head, hop);
    head[22] -= 1;
    let sum = checksum::ttl_decremented(u16_at(head, 24));
    put_u16(head, 24, sum);
}

#[cold]
#[inline(never)]
fn otherwise<F: Frame>(frame: &mut F, parsed: &Parsed, hop: &Hop) -> Outcome {
    forward(frame, parsed, hop)
}
