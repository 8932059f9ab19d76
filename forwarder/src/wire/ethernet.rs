//! Ethernet II headers with their VLAN tags.

use super::header;

/// Bytes of a header without tags.
pub const HEADER: usize = 14;
/// Bytes of a VLAN tag (802.1Q or 802.1ad).
pub const TAG: usize = 4;
/// The most tags that are looked behind.
pub const TAGS: usize = 2;

/// The protocol in a frame: bytes 12 and 13, or the last two of the last tag, as they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EtherType(pub [u8; 2]);

impl EtherType {
    /// IPv4.
    pub const IPV4: Self = Self([0x08, 0x00]);
    /// ARP.
    pub const ARP: Self = Self([0x08, 0x06]);
    /// IPv6.
    pub const IPV6: Self = Self([0x86, 0xdd]);
    /// A VLAN tag follows (802.1Q).
    pub const VLAN: Self = Self([0x81, 0x00]);
    /// A service tag follows (802.1ad).
    pub const SERVICE_VLAN: Self = Self([0x88, 0xa8]);
}

/// The protocol behind at most [`TAGS`] tags, and the offset of its first byte. With more tags, the protocol is that
/// of the next tag. Nothing if the frame ends before.
#[must_use]
pub fn payload(frame: &[u8]) -> Option<(EtherType, usize)> {
    let mut at = HEADER;
    loop {
        let protocol = EtherType(*header::<2>(frame, at - 2)?);
        let tagged = protocol == EtherType::VLAN || protocol == EtherType::SERVICE_VLAN;
        if !tagged || at == HEADER + TAGS * TAG {
            return Some((protocol, at));
        }
        at += TAG;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_looked_behind() {
        let mut frame = vec![0; 12];
        frame.extend([0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 0x08, 0x06]);
        assert_eq!(payload(&frame), Some((EtherType::ARP, 22)));
        assert_eq!(payload(&frame[..21]), None);
        frame.truncate(20);
        frame.extend([0x81, 0, 0, 7, 0x08, 0x00]);
        assert_eq!(payload(&frame), Some((EtherType::VLAN, 22)), "a third tag is left alone");
        assert_eq!(payload(&[0; 13]), None);
    }
}
