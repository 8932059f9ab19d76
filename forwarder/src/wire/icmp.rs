//! The ICMP header (RFC 792) of errors, which quote the packet they are about.

use super::{checksum, put_u16};

/// Bytes of a header, before the quoted packet.
pub const HEADER: usize = 8;
/// Offset of the checksum.
pub const CHECKSUM: usize = 2;
/// Destination unreachable.
pub const UNREACHABLE: u8 = 3;
/// Source quench.
pub const SOURCE_QUENCH: u8 = 4;
/// Redirect.
pub const REDIRECT: u8 = 5;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 11;
/// Parameter problem.
pub const PARAMETER_PROBLEM: u8 = 12;
/// Code of [`UNREACHABLE`]: protocol unreachable.
pub const PROTOCOL_UNREACHABLE: u8 = 2;
/// Code of [`UNREACHABLE`]: port unreachable.
pub const PORT_UNREACHABLE: u8 = 3;
/// Code of [`UNREACHABLE`]: fragmentation needed, with the MTU in the last two bytes of the header (RFC 1191).
pub const FRAGMENTATION_NEEDED: u8 = 4;

/// True for the types that report an error about another packet.
#[inline]
#[must_use]
pub const fn is_error(kind: u8) -> bool {
    matches!(kind, UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM)
}

/// A header with the checksum over itself and the `quote` behind it; `rest` is its last four bytes.
#[must_use]
pub fn error(kind: u8, code: u8, rest: [u8; 4], quote: &[u8]) -> [u8; HEADER] {
    let mut bytes = [kind, code, 0, 0, rest[0], rest[1], rest[2], rest[3]];
    let sum = checksum::finish(checksum::sum(&bytes) + checksum::sum(quote));
    put_u16(&mut bytes, CHECKSUM, sum);
    bytes
}
