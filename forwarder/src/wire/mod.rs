//! Header views over bytes.
//!
//! A view borrows the fixed part of one header as an array: making it is the only bounds check, and its accessors cost
//! a load or a store. Views check nothing else; [`crate::parse`] says which packets are sound. Nothing here knows
//! connections, services or frames.
//!
//! Two byte orders appear: numbers (lengths, port numbers to show) in host order, and values that are only moved,
//! compared or summed (addresses, ports, checksums) *as they stand in memory*, so that the data path never swaps bytes.

pub mod checksum;
pub mod crc32c;
pub mod ethernet;
pub mod gre;
pub mod gue;
pub mod icmp;
pub mod ipv4;
pub mod sctp;
pub mod tcp;
pub mod udp;

/// The two bytes at `at`, as they stand in memory.
#[inline(always)]
pub(crate) fn u16_at<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_ne_bytes(*piece(bytes, at))
}

/// The four bytes at `at`, as they stand in memory.
#[inline(always)]
pub(crate) fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_ne_bytes(*piece(bytes, at))
}

/// The eight bytes at `at`, as they stand in memory.
#[inline(always)]
pub(crate) fn u64_at<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    u64::from_ne_bytes(*piece(bytes, at))
}

/// Some bytes at `at` as one piece: taken one by one, the compiler may load them so.
#[inline(always)]
fn piece<const N: usize, const M: usize>(bytes: &[u8; N], at: usize) -> &[u8; M] {
    bytes[at..].first_chunk().expect("a constant offset within the header")
}

/// The same, writable.
#[inline(always)]
fn piece_mut<const N: usize, const M: usize>(bytes: &mut [u8; N], at: usize) -> &mut [u8; M] {
    bytes[at..].first_chunk_mut().expect("an offset within the header")
}

/// Stores two bytes at `at`, as they stand in the value.
#[inline(always)]
pub(crate) fn put_u16<const N: usize>(bytes: &mut [u8; N], at: usize, value: u16) {
    *piece_mut(bytes, at) = value.to_ne_bytes();
}

/// Stores four bytes at `at`, as they stand in the value.
#[inline(always)]
pub(crate) fn put_u32<const N: usize>(bytes: &mut [u8; N], at: usize, value: u32) {
    *piece_mut(bytes, at) = value.to_ne_bytes();
}

/// Stores eight bytes at `at`, as they stand in the value.
#[inline(always)]
pub(crate) fn put_u64<const N: usize>(bytes: &mut [u8; N], at: usize, value: u64) {
    *piece_mut(bytes, at) = value.to_ne_bytes();
}

/// The fixed part of a header at `at`, or nothing if the bytes end before it does.
#[inline]
pub(crate) fn header<const N: usize>(bytes: &[u8], at: usize) -> Option<&[u8; N]> {
    bytes.get(at..)?.first_chunk()
}

/// The same, writable.
#[inline]
pub(crate) fn header_mut<const N: usize>(bytes: &mut [u8], at: usize) -> Option<&mut [u8; N]> {
    bytes.get_mut(at..)?.first_chunk_mut()
}
