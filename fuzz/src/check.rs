//! What every frame that leaves must be: sound headers and right checksums. Written from the RFCs, byte by byte, so that
//! it shares no mistake with the code under test.

use std::collections::BTreeMap;

/// The Internet checksum's sum (RFC 1071): 0xffff for bytes with a right checksum among them.
pub(crate) fn sum(pieces: &[&[u8]]) -> u16 {
    let bytes: Vec<u8> = pieces.concat();
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// CRC32c, bit by bit (RFC 9260, appendix A), as it stands in an SCTP packet.
pub(crate) fn crc32c(bytes: &[u8]) -> [u8; 4] {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 != 0 { 0x82f6_3b78 } else { 0 };
        }
    }
    (!crc).to_le_bytes()
}

pub(crate) fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The sum of a transport header with its pseudo header.
pub(crate) fn transport_sum(addresses: &[u8], protocol: u8, payload: &[u8]) -> u16 {
    let length = (payload.len() as u16).to_be_bytes();
    sum(&[addresses, &[0, protocol], &length, payload])
}

/// Checks the IPv4 header at `l3`. Answers the packet's length.
pub(crate) fn ip_header(frame: &[u8], l3: usize) -> Result<usize, String> {
    let header = frame.get(l3..l3 + 20).ok_or("the frame ends in its IP header")?;
    let (length, total) = (usize::from(header[0] & 15) * 4, usize::from(word(header, 2)));
    if header[0] >> 4 != 4 || length < 20 || total < length || l3 + total > frame.len() {
        return Err(format!("an impossible header {header:02x?} in {} bytes", frame.len()));
    }
    match sum(&[&frame[l3..l3 + length]]) {
        0xffff => Ok(total),
        wrong => Err(format!("IP checksum off: sum {wrong:#x} of {:02x?}", &frame[l3..l3 + length])),
    }
}

/// Where the IPv4 header of a frame is; none if there is no IPv4 in it.
pub(crate) fn l3(frame: &[u8]) -> Option<usize> {
    let mut at = 12;
    while matches!(frame.get(at..at + 2)?, [0x81, 0] | [0x88, 0xa8]) && at < 20 {
        at += 4;
    }
    (frame.get(at..at + 2)? == [8, 0]).then_some(at + 2)
}

/// By offset: whether more follow, and the data.
type Pieces = BTreeMap<usize, (bool, Vec<u8>)>;

/// Whole IPv4 packets, some of which leave in fragments.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    /// By addresses, protocol and identification: header and pieces by offset.
    fragments: BTreeMap<Vec<u8>, Pieces>,
}

impl Leaving {
    /// Checks the IPv4 packet in a frame that leaves, as far as it is there: with `transport` its payload too.
    pub fn frame(&mut self, frame: &[u8], transport: bool) -> Result<(), String> {
        let Some(l3) = l3(frame) else { return Ok(()) };
        let total = ip_header(frame, l3)?;
        self.packet(&frame[l3..l3 + total], transport)
    }

    fn packet(&mut self, packet: &[u8], transport: bool) -> Result<(), String> {
        if !transport {
            return Ok(());
        }
        let header = usize::from(packet[0] & 15) * 4;
        let (field, protocol) = (word(packet, 6), packet[9]);
        if field & 0x3fff == 0 {
            return self.payload(&packet[12..20], protocol, &packet[header..]);
        }
        let key = [&packet[4..6], &packet[9..10], &packet[12..20]].concat();
        let pieces = self.fragments.entry(key.clone()).or_default();
        pieces.insert(usize::from(field & 0x1fff) * 8, (field & 0x2000 != 0, packet[header..].to_vec()));
        let mut whole = Vec::new();
        let mut more = true;
        for (offset, (is_followed, bytes)) in pieces.iter() {
            if *offset != whole.len() {
                return Ok(());
            }
            whole.extend(bytes);
            more = *is_followed;
        }
        if more {
            return Ok(());
        }
        self.fragments.remove(&key);
        self.payload(&packet[12..20], protocol, &whole)
    }

    /// Checks what an IPv4 packet carries.
    fn payload(&mut self, addresses: &[u8], protocol: u8, payload: &[u8]) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("{what} checksum off in {payload:02x?} between {addresses:?}"));
        let inner = |leaving: &mut Self, at: usize| match payload.get(at..) {
            Some(inner) => ip_header(inner, 0).and_then(|total| leaving.packet(&inner[..total], true)),
            None => Err("a tunnel with nothing in it".to_owned()),
        };
        match protocol {
            1 if sum(&[payload]) != 0xffff => wrong("ICMP"),
            6 if transport_sum(addresses, 6, payload) != 0xffff => wrong("TCP"),
            17 => {
                let Some(header) = payload.get(..8) else { return Err("a short UDP header".to_owned()) };
                // A GUE tunnel of the worlds here.
                let tunnel = word(header, 2) == crate::world::GUE;
                if word(header, 6) != 0 && transport_sum(addresses, 17, payload) != 0xffff {
                    return wrong("UDP");
                }
                if tunnel { inner(self, 12) } else { Ok(()) }
            }
            4 => inner(self, 0),
            47 => match payload.first() {
                Some(0) => inner(self, 4),
                Some(0x80) if sum(&[payload]) != 0xffff => wrong("GRE"),
                _ => inner(self, 8),
            },
            132 => {
                let mut copy = payload.to_vec();
                let Some(field) = copy.get_mut(8..12) else { return Err("a short SCTP header".to_owned()) };
                field.fill(0);
                if crc32c(&copy) != payload[8..12] { wrong("SCTP") } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_checksum_is_noticed() {
        // RFC 1071's example, and CRC32c's check value.
        assert_eq!(sum(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), 0xddf2);
        assert_eq!(u32::from_le_bytes(crc32c(b"123456789")), 0xe306_9283);
        let frame = crate::frames::Packet::default().frame([2; 6], [4; 6]);
        assert_eq!(Leaving::default().frame(&frame, true), Ok(()));
        for at in 14..34 {
            let mut damaged = frame.clone();
            damaged[at] ^= 8;
            assert!(Leaving::default().frame(&damaged, true).is_err(), "byte {at}");
        }
        let tcp = crate::frames::Packet { protocol: 6, ..Default::default() }.sealed(vec![7; 24]);
        let mut frame = tcp.frame([2; 6], [4; 6]);
        assert_eq!(Leaving::default().frame(&frame, true), Ok(()));
        frame[40] ^= 1;
        assert!(Leaving::default().frame(&frame, true).is_err());
        assert_eq!(Leaving::default().frame(&frame, false), Ok(()));
    }
}
