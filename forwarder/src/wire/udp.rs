//! The UDP header (RFC 768).

use super::{put_u16, u16_at};

/// Bytes of a header.
pub const HEADER: usize = 8;
/// Offset of the checksum; 0 there says that there is none.
pub const CHECKSUM: usize = 6;

/// A header without checksum: ports in host order, `length` in bytes with the header.
#[must_use]
pub fn datagram(source: u16, destination: u16, length: u16) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    put_u16(&mut bytes, 0, source.to_be());
    put_u16(&mut bytes, 2, destination.to_be());
    put_u16(&mut bytes, 4, length.to_be());
    bytes
}

/// The destination port of a header, host order.
#[inline]
#[must_use]
pub fn destination(header: &[u8; HEADER]) -> u16 {
    u16::from_be(u16_at(header, 2))
}
