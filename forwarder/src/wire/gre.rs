//! The GRE header (RFC 2784) in front of an IPv4 packet.

use super::{checksum, put_u16};

/// Bytes of a header without checksum.
pub const HEADER: usize = 4;
/// Bytes of a header with checksum.
pub const HEADER_WITH_CHECKSUM: usize = 8;

/// A header without checksum.
pub const PLAIN: [u8; HEADER] = [0, 0, 0x08, 0x00];

/// A header with the checksum over itself and the `payload` behind it.
#[must_use]
pub fn with_checksum(payload: &[u8]) -> [u8; HEADER_WITH_CHECKSUM] {
    let mut bytes = [0x80, 0, 0x08, 0x00, 0, 0, 0, 0];
    let sum = checksum::finish(checksum::sum(&bytes) + checksum::sum(payload));
    put_u16(&mut bytes, 4, sum);
    bytes
}
