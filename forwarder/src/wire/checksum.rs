//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! Sums and checksums are taken as they stand in memory: a one's complement sum comes out the same in either byte
//! order (RFC 1071, 2(B)), so nothing is swapped on the way in or out.

use super::{u32_at, u64_at};

/// The one's complement sum of bytes, not yet folded. Sums of pieces may be added, if every piece but the last has an
/// even length.
#[must_use]
pub fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    words.iter().fold(u64::from(u32::from_ne_bytes(last)), |sum, word| sum + u64::from(u32::from_ne_bytes(*word)))
}

/// Folds a sum to 16 bits. Only a sum of nothing but zeros folds to 0.
#[inline]
#[must_use]
pub const fn fold(sum: u64) -> u16 {
    let (low, carry) = (sum as u32).overflowing_add((sum >> 32) as u32);
    fold32(low.wrapping_add(carry as u32))
}

/// The same for a small sum: adding the halves crosswise brings the carry of the lower sum into the upper one.
#[inline(always)]
#[must_use]
pub const fn fold32(sum: u32) -> u16 {
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}

/// The checksum for a sum.
#[inline]
#[must_use]
pub const fn finish(sum: u64) -> u16 {
    !fold(sum)
}

/// What a UDP checksum field holds for a sum: a computed 0 is sent as 0xffff, because 0 says "no checksum" (RFC 768).
#[inline]
#[must_use]
pub const fn finish_udp(sum: u64) -> u16 {
    udp(finish(sum))
}

/// A computed UDP checksum as it is sent: 0 becomes 0xffff.
#[inline(always)]
#[must_use]
pub const fn udp(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// True if a sum that includes the checksum field is that of undamaged bytes.
#[inline]
#[must_use]
pub const fn good(sum: u64) -> bool {
    fold(sum) == 0xffff
}

/// The sum of the pseudo header of TCP and UDP: `addresses` as the eight bytes of the IP header stand, `length` of the
/// transport header and data in bytes.
#[inline]
#[must_use]
pub fn pseudo(addresses: u64, protocol: u8, length: u16) -> u64 {
    (addresses >> 32)
        + (addresses & 0xffff_ffff)
        + u64::from(u16::from_ne_bytes([0, protocol]))
        + u64::from(length.to_be())
}

/// What replacing `old` by `new` adds to a sum (RFC 1624, equation 3: the part behind `~HC`), for [`update`].
#[inline]
#[must_use]
pub const fn delta(old: u32, new: u32) -> u16 {
    fold(!old as u64 + new as u64)
}

/// Two changes as one.
#[inline]
#[must_use]
pub const fn join(one: u16, other: u16) -> u16 {
    fold32(one as u32 + other as u32)
}

/// The checksum after changes (RFC 1624, equation 3); `delta` may be the sum of several. A wrong checksum stays wrong.
#[inline(always)]
#[must_use]
pub const fn update(checksum: u16, delta: u32) -> u16 {
    !fold32(!checksum as u32 + delta)
}

/// The checksum of an IPv4 header whose TTL is decremented: as [`update`], in fewer steps.
#[inline(always)]
#[must_use]
pub const fn ttl_decremented(checksum: u16) -> u16 {
    const ONE: u16 = u16::from_ne_bytes([1, 0]);
    // A carry comes round; and of the two zeros it becomes the one that RFC 1624 wants.
    checksum.wrapping_add(ONE).wrapping_add((checksum >= !ONE) as u16)
}

/// What decrementing the TTL adds to the sum of an IPv4 header: the TTL is the first byte of its 16-bit word.
pub const TTL_DECREMENT: u32 = !u16::from_ne_bytes([1, 0]) as u32;

/// True if a 20-byte IPv4 header has a right checksum.
#[inline(always)]
#[must_use]
pub fn header_good(header: &[u8; 20]) -> bool {
    let (sum, carry) = u64_at(header, 0).carrying_add(u64_at(header, 8), false);
    let (sum, carry) = sum.carrying_add(u64::from(u32_at(header, 16)), carry);
    // 2^64 is 1 more than a multiple of 0xffff, so the carry counts 1. A header is never all zeros, so "folds to 0xffff" is
    // "is a multiple of 0xffff": a multiplication and a compare.
    sum.wrapping_add(u64::from(carry)).is_multiple_of(0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071's definition, one byte at a time, in network order.
    fn slow(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for (index, byte) in bytes.iter().enumerate() {
            sum += u32::from(*byte) << if index % 2 == 0 { 8 } else { 0 };
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(finish(sum(&bytes)).to_ne_bytes(), (!0xddf2_u16).to_be_bytes());
    }

    #[test]
    fn a_udp_checksum_is_never_sent_as_zero() {
        assert_eq!(finish_udp(0xffff), 0xffff);
        assert_eq!(finish_udp(0x1234), !0x1234);
    }

    #[test]
    fn a_decremented_ttl_has_the_checksum_that_an_update_gives() {
        for checksum in 0..=u16::MAX {
            assert_eq!(ttl_decremented(checksum), update(checksum, TTL_DECREMENT));
        }
    }

    proptest! {
        #[test]
        fn sums_agree_with_the_definition(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(finish(sum(&bytes)).to_ne_bytes(), slow(&bytes).to_be_bytes());
        }

        #[test]
        fn sums_of_pieces_add_up(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..150) {
            let (front, back) = bytes.split_at((at * 2).min(bytes.len() & !1));
            prop_assert_eq!(fold(sum(front) + sum(back)), fold(sum(&bytes)));
        }

        #[test]
        fn an_update_is_a_recomputation(mut bytes in any::<[u8; 40]>(), word in 1usize..10, new in any::<u32>()) {
            bytes[0] = 1; // never all zeros, like a header
            let old = u32_at(&bytes, word * 4);
            let before = finish(sum(&bytes));
            bytes[word * 4..][..4].copy_from_slice(&new.to_ne_bytes());
            prop_assert_eq!(update(before, delta(old, new).into()), finish(sum(&bytes)));
        }

        #[test]
        fn the_complement_of_a_change_undoes_it(checksum in 0..u16::MAX, old in any::<u32>(), new in any::<u32>()) {
            let change = delta(old, new);
            prop_assert_eq!(update(update(checksum, change.into()), (!change).into()), checksum);
        }

        #[test]
        fn a_decremented_ttl_is_a_recomputation(mut header in any::<[u8; 20]>()) {
            header[0] = 0x45;
            header[8] = header[8].max(1);
            header[10..12].fill(0);
            let before = finish(sum(&header));
            header[8] -= 1;
            prop_assert_eq!(update(before, TTL_DECREMENT), finish(sum(&header)));
        }

        #[test]
        fn a_header_is_good_exactly_with_its_checksum(mut header in any::<[u8; 20]>(), damage in any::<u16>()) {
            header[0] |= 0x40;
            header[10..12].fill(0);
            let right = finish(sum(&header));
            let stored = right ^ damage;
            header[10..12].copy_from_slice(&stored.to_ne_bytes());
            prop_assert_eq!(header_good(&header), damage == 0 || good(sum(&header)));
            prop_assert!(damage != 0 || header_good(&header));
        }
    }
}
