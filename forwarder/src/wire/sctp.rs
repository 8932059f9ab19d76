//! The SCTP common header (RFC 9260).

use super::crc32c::Crc32c;

/// Bytes of the common header.
pub const HEADER: usize = 12;
/// Offset of the checksum.
pub const CHECKSUM: usize = 8;

/// The checksum of a packet (`bytes` from the common header to the end), as it stands in the packet: CRC32c with the
/// checksum field taken as 0. Nothing if the packet is shorter than its header.
#[must_use]
pub fn checksum(bytes: &[u8]) -> Option<[u8; 4]> {
    let (header, chunks) = bytes.split_first_chunk::<HEADER>()?;
    Some(Crc32c::default().with(&header[..CHECKSUM]).with(&[0; 4]).with(chunks).finish())
}
