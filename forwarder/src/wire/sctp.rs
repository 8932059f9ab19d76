//! The SCTP common header (RFC 9260).

use super::crc32c::Crc32c;

/// Bytes of the common header.
pub const HEADER: usize = 12;
/// Offset of the checksum.
pub const CHECKSUM: usize = 8;

/// The checksum of a packet, as it stands in the packet: CRC32c with the checksum field taken as 0. `bytes` start with
/// the common header, the `rest` follows in pieces. Nothing if the header is not whole.
#[must_use]
pub fn checksum<'a>(bytes: &[u8], rest: impl Iterator<Item = &'a [u8]>) -> Option<[u8; 4]> {
    let (header, chunks) = bytes.split_first_chunk::<HEADER>()?;
    let start = Crc32c::default().with(&header[..CHECKSUM]).with(&[0; 4]).with(chunks);
    Some(rest.fold(start, Crc32c::with).finish())
}
