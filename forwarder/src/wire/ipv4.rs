//! The IPv4 header (RFC 791).

use super::{checksum, header, header_mut, put_u16, put_u32, u16_at, u32_at, u64_at};
use std::borrow::{Borrow, BorrowMut};

/// Bytes of a header without options.
pub const HEADER: usize = 20;
/// The protocol numbers that are told apart.
pub mod protocol {
    #![allow(missing_docs)] // IANA's protocol numbers
    pub const ICMP: u8 = 1;
    pub const IPIP: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const GRE: u8 = 47;
    pub const SCTP: u8 = 132;
}
/// Don't Fragment, in [`Ipv4::fragment`].
pub const DF: u16 = 0x4000;
/// More Fragments, in [`Ipv4::fragment`].
pub const MF: u16 = 0x2000;
/// The fragment offset, in units of 8 bytes, in [`Ipv4::fragment`].
pub const OFFSET: u16 = 0x1fff;

/// A view of the fixed 20 bytes of a header.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4<B>(pub B);

impl<'a> Ipv4<&'a [u8; HEADER]> {
    /// The header at `at`, or nothing if the bytes end before its fixed part does.
    #[inline]
    #[must_use]
    pub fn at(bytes: &'a [u8], at: usize) -> Option<Self> {
        header(bytes, at).map(Self)
    }
}

impl<'a> Ipv4<&'a mut [u8; HEADER]> {
    /// The same, writable.
    #[inline]
    #[must_use]
    pub fn at_mut(bytes: &'a mut [u8], at: usize) -> Option<Self> {
        header_mut(bytes, at).map(Self)
    }
}

#[allow(missing_docs)] // RFC 791 describes each field
impl<B: Borrow<[u8; HEADER]>> Ipv4<B> {
    #[inline]
    pub fn version(&self) -> u8 {
        self.0.borrow()[0] >> 4
    }
    /// Bytes, with options; below 20 only in a malformed header.
    #[inline]
    pub fn header_length(&self) -> usize {
        usize::from(self.0.borrow()[0] & 0xf) * 4
    }
    #[inline]
    pub fn tos(&self) -> u8 {
        self.0.borrow()[1]
    }
    /// Bytes, with the header.
    #[inline]
    pub fn total_length(&self) -> u16 {
        u16::from_be(u16_at(self.0.borrow(), 2))
    }
    #[inline]
    pub fn id(&self) -> u16 {
        u16::from_be(u16_at(self.0.borrow(), 4))
    }
    /// [`DF`], [`MF`] and [`OFFSET`].
    #[inline]
    pub fn fragment(&self) -> u16 {
        u16::from_be(u16_at(self.0.borrow(), 6))
    }
    #[inline]
    pub fn ttl(&self) -> u8 {
        self.0.borrow()[8]
    }
    #[inline]
    pub fn protocol(&self) -> u8 {
        self.0.borrow()[9]
    }
    /// As it stands.
    #[inline]
    pub fn checksum(&self) -> u16 {
        u16_at(self.0.borrow(), 10)
    }
    /// Source and destination as they stand.
    #[inline]
    pub fn addresses(&self) -> u64 {
        u64_at(self.0.borrow(), 12)
    }
    /// As it stands.
    #[inline]
    pub fn source(&self) -> u32 {
        u32_at(self.0.borrow(), 12)
    }
    /// As it stands.
    #[inline]
    pub fn destination(&self) -> u32 {
        u32_at(self.0.borrow(), 16)
    }
}

impl<B: BorrowMut<[u8; HEADER]>> Ipv4<B> {
    /// Bytes, with the header.
    #[inline]
    pub fn set_total_length(&mut self, length: u16) {
        put_u16(self.0.borrow_mut(), 2, length.to_be());
    }
    /// [`DF`], [`MF`] and [`OFFSET`].
    #[inline]
    pub fn set_fragment(&mut self, fragment: u16) {
        put_u16(self.0.borrow_mut(), 6, fragment.to_be());
    }
    /// As it stands.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        put_u16(self.0.borrow_mut(), 10, checksum);
    }
    /// As it stands.
    #[inline]
    pub fn set_source(&mut self, address: u32) {
        put_u32(self.0.borrow_mut(), 12, address);
    }
    /// As it stands.
    #[inline]
    pub fn set_destination(&mut self, address: u32) {
        put_u32(self.0.borrow_mut(), 16, address);
    }
    /// Takes one off the TTL (which must not be 0) and brings the checksum up to date.
    #[inline]
    pub fn decrement_ttl(&mut self) {
        let ttl = self.ttl();
        self.0.borrow_mut()[8] = ttl.wrapping_sub(1);
        self.set_checksum(checksum::ttl_decremented(self.checksum()));
    }
}

/// Computes the checksum of a whole header (`bytes` from its first to its last byte, options included) anew.
pub fn seal(bytes: &mut [u8]) {
    let Some(mut header) = Ipv4::at_mut(bytes, 0) else { return };
    header.set_checksum(0);
    let sum = checksum::finish(checksum::sum(bytes));
    if let Some(mut header) = Ipv4::at_mut(bytes, 0) {
        header.set_checksum(sum);
    }
}

/// What a header without options says; [`New::write`] makes its bytes.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // RFC 791 describes each field
pub struct New {
    pub tos: u8,
    /// Bytes, with the header.
    pub total_length: u16,
    pub id: u16,
    /// [`DF`], [`MF`] and [`OFFSET`].
    pub fragment: u16,
    pub ttl: u8,
    pub protocol: u8,
    /// As it stands.
    pub source: u32,
    /// As it stands.
    pub destination: u32,
}

impl New {
    /// Writes the header, checksum included.
    #[inline(always)]
    pub fn write(&self, bytes: &mut [u8; HEADER]) {
        // In words, because bytes written one by one and read again as words make the processor wait.
        let halves = |high: u16, low: u16| (u32::from(high) << 16 | u32::from(low)).to_be();
        let words = [
            halves(0x4500 | u16::from(self.tos), self.total_length),
            halves(self.id, self.fragment),
            halves(u16::from_be_bytes([self.ttl, self.protocol]), 0),
            self.source,
            self.destination,
        ];
        let checksum = checksum::finish(words.iter().map(|word| u64::from(*word)).sum());
        put_u32(bytes, 0, words[0]);
        put_u32(bytes, 4, words[1]);
        put_u32(bytes, 8, words[2]);
        put_u16(bytes, 10, checksum);
        put_u32(bytes, 12, words[3]);
        put_u32(bytes, 16, words[4]);
    }

    /// The header by value.
    #[must_use]
    pub fn bytes(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        self.write(&mut bytes);
        bytes
    }
}

/// IP options (RFC 791, 3.1), in order.
pub mod options {
    /// End of the option list.
    pub const END: u8 = 0;
    /// No operation.
    pub const NOP: u8 = 1;
    /// Record route.
    pub const RECORD_ROUTE: u8 = 7;
    /// Internet timestamp.
    pub const TIMESTAMP: u8 = 68;
    /// Loose source route.
    pub const LOOSE_SOURCE_ROUTE: u8 = 131;
    /// Strict source route.
    pub const STRICT_SOURCE_ROUTE: u8 = 137;

    /// Calls `each` with the offset, type and length of every option that has a length, in order, until the end of the
    /// list. Answers false if an option's length is impossible.
    pub fn walk(options: &[u8], mut each: impl FnMut(usize, u8, usize)) -> bool {
        let mut at = 0;
        while let Some(&kind) = options.get(at) {
            match kind {
                END => return true,
                NOP => at += 1,
                _ => match options.get(at + 1) {
                    Some(&length) if length >= 2 && usize::from(length) <= options.len() - at => {
                        each(at, kind, usize::from(length));
                        at += usize::from(length);
                    }
                    _ => return false,
                },
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_header_reads_back_and_has_a_right_checksum() {
        let new = New {
            tos: 0xb8,
            total_length: 1500,
            id: 0x1234,
            fragment: DF,
            ttl: 63,
            protocol: protocol::IPIP,
            source: u32::from_ne_bytes([192, 168, 1, 1]),
            destination: u32::from_ne_bytes([192, 168, 1, 2]),
        };
        let bytes = new.bytes();
        let header = Ipv4(&bytes);
        assert!(checksum::header_good(&bytes));
        assert_eq!((header.version(), header.header_length(), header.tos()), (4, 20, 0xb8));
        assert_eq!((header.total_length(), header.id(), header.fragment()), (1500, 0x1234, DF));
        assert_eq!((header.ttl(), header.protocol()), (63, 4));
        assert_eq!((header.source(), header.destination()), (new.source, new.destination));
        assert_eq!(header.addresses().to_ne_bytes(), [192, 168, 1, 1, 192, 168, 1, 2]);
    }

    #[test]
    fn options_with_impossible_lengths_are_noticed() {
        for (bytes, sound, seen) in [
            (&[1u8, 1, 1, 1][..], true, &[][..]),
            (&[7, 4, 4, 0, 0, 9], true, &[7]),
            (&[1, 0x83, 3, 4], true, &[0x83]),
            (&[0x94, 4, 0, 0, 68, 4, 5, 0], true, &[0x94, 68]),
            (&[1, 1, 1, 7], false, &[]),
            (&[7, 1, 0, 0], false, &[]),
            (&[7, 5, 0, 0], false, &[]),
        ] {
            let mut kinds = Vec::new();
            assert_eq!(options::walk(bytes, |_, kind, _| kinds.push(kind)), sound, "{bytes:?}");
            assert_eq!(kinds, seen, "{bytes:?}");
        }
    }
}
