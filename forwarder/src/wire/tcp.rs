//! The TCP header (RFC 9293).

use super::{header, header_mut, put_u16, u16_at, u32_at};
use std::borrow::{Borrow, BorrowMut};

/// Bytes of a header without options.
pub const HEADER: usize = 20;
/// Offset of the checksum.
pub const CHECKSUM: usize = 16;
/// Offset of the flags.
pub const FLAGS: usize = 13;

/// The flags, byte 13.
pub mod flags {
    #![allow(missing_docs)] // RFC 9293 names them
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    pub const URG: u8 = 0x20;

    /// True if they neither start nor end anything.
    #[inline(always)]
    #[must_use]
    pub const fn are_ordinary(flags: u8) -> bool {
        flags & (SYN | FIN | RST | ACK) == ACK
    }
}

/// A view of the fixed 20 bytes of a header.
#[derive(Clone, Copy, Debug)]
pub struct Tcp<B>(pub B);

impl<'a> Tcp<&'a [u8; HEADER]> {
    /// The header at `at`, or nothing if the bytes end before its fixed part does.
    #[inline]
    #[must_use]
    pub fn at(bytes: &'a [u8], at: usize) -> Option<Self> {
        header(bytes, at).map(Self)
    }
}

impl<'a> Tcp<&'a mut [u8; HEADER]> {
    /// The same, writable.
    #[inline]
    #[must_use]
    pub fn at_mut(bytes: &'a mut [u8], at: usize) -> Option<Self> {
        header_mut(bytes, at).map(Self)
    }
}

#[allow(missing_docs)] // RFC 9293 describes each field
impl<B: Borrow<[u8; HEADER]>> Tcp<B> {
    /// Source and destination as they stand.
    #[inline]
    pub fn ports(&self) -> u32 {
        u32_at(self.0.borrow(), 0)
    }
    #[inline]
    pub fn sequence(&self) -> u32 {
        u32::from_be(u32_at(self.0.borrow(), 4))
    }
    #[inline]
    pub fn acknowledgement(&self) -> u32 {
        u32::from_be(u32_at(self.0.borrow(), 8))
    }
    /// Bytes, with options; below 20 only in a malformed header.
    #[inline]
    pub fn header_length(&self) -> usize {
        usize::from(self.0.borrow()[12] >> 4) * 4
    }
    #[inline]
    pub fn flags(&self) -> u8 {
        self.0.borrow()[FLAGS]
    }
    /// As it stands.
    #[inline]
    pub fn checksum(&self) -> u16 {
        u16_at(self.0.borrow(), CHECKSUM)
    }
}

impl<B: BorrowMut<[u8; HEADER]>> Tcp<B> {
    /// As it stands.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        put_u16(self.0.borrow_mut(), CHECKSUM, checksum);
    }
}

/// A header without options, data and checksum: `ports` as they stand, the numbers in host order, window 0.
#[must_use]
pub fn segment(ports: u32, sequence: u32, acknowledgement: u32, flags: u8) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[0..4].copy_from_slice(&ports.to_ne_bytes());
    bytes[4..8].copy_from_slice(&sequence.to_be_bytes());
    bytes[8..12].copy_from_slice(&acknowledgement.to_be_bytes());
    bytes[12] = (HEADER as u8 / 4) << 4;
    bytes[FLAGS] = flags;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_reads_back() {
        let mut bytes = segment(u32::from_ne_bytes([0, 80, 0x80, 1]), 5, 0x0102_0304, flags::RST | flags::ACK);
        Tcp(&mut bytes).set_checksum(0xabcd);
        let tcp = Tcp::at(&bytes, 0).expect("20 bytes");
        assert_eq!(tcp.ports().to_ne_bytes(), [0, 80, 0x80, 1]);
        assert_eq!((tcp.sequence(), tcp.acknowledgement(), tcp.header_length()), (5, 0x0102_0304, 20));
        assert_eq!((tcp.flags(), tcp.checksum()), (0x14, 0xabcd));
        assert!(Tcp::at(&bytes, 1).is_none());
    }
}
