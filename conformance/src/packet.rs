//! IPv4 packets: written, checked, and told in the words of the recordings. Independent of the data path's own code.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Protocol numbers.
#[allow(missing_docs)]
pub mod protocol {
    pub const ICMP: u8 = 1;
    pub const IPIP: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const GRE: u8 = 47;
    pub const SCTP: u8 = 132;
}

/// TCP's flags, in the order in which the recordings write their letters.
const FLAGS: [(u8, char); 6] = [(0x01, 'F'), (0x02, 'S'), (0x04, 'R'), (0x08, 'P'), (0x10, 'A'), (0x20, 'U')];

/// A byte of TCP flags from letters as in `SA`; letters that are none are ignored.
#[must_use]
pub fn flags(letters: &str) -> u8 {
    FLAGS.iter().filter(|(_, letter)| letters.contains(*letter)).fold(0, |all, (bit, _)| all | bit)
}

/// The Internet checksum of bytes (RFC 1071): 0 over bytes that contain a good one.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// A big-endian word.
#[must_use]
pub fn word(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |two| u16::from_be_bytes([two[0], two[1]]))
}

/// A big-endian double word.
#[must_use]
pub fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from(word(bytes, at)) << 16 | u32::from(word(bytes, at + 2))
}

/// Writes a big-endian word.
pub fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// An IPv4 packet, looked at. What is not there reads as 0.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a>(pub &'a [u8]);

#[allow(missing_docs)]
impl<'a> Packet<'a> {
    pub fn header_length(self) -> usize {
        usize::from(self.0.first().unwrap_or(&0) & 15) * 4
    }
    pub fn total_length(self) -> usize {
        usize::from(word(self.0, 2))
    }
    pub fn tos(self) -> u8 {
        *self.0.get(1).unwrap_or(&0)
    }
    pub fn id(self) -> u16 {
        word(self.0, 4)
    }
    pub fn dont_fragment(self) -> bool {
        word(self.0, 6) & 0x4000 != 0
    }
    pub fn more_fragments(self) -> bool {
        word(self.0, 6) & 0x2000 != 0
    }
    /// Bytes.
    pub fn fragment_offset(self) -> usize {
        usize::from(word(self.0, 6) & 0x1fff) * 8
    }
    pub fn ttl(self) -> u8 {
        *self.0.get(8).unwrap_or(&0)
    }
    pub fn protocol(self) -> u8 {
        *self.0.get(9).unwrap_or(&0)
    }
    pub fn source(self) -> Ipv4Addr {
        Ipv4Addr::from(long(self.0, 12))
    }
    pub fn destination(self) -> Ipv4Addr {
        Ipv4Addr::from(long(self.0, 16))
    }
    /// Behind the header, up to the total length.
    pub fn payload(self) -> &'a [u8] {
        let end = self.total_length().min(self.0.len());
        self.0.get(self.header_length()..end).unwrap_or(&[])
    }
    pub fn source_port(self) -> u16 {
        word(self.payload(), 0)
    }
    pub fn destination_port(self) -> u16 {
        word(self.payload(), 2)
    }
    pub fn header_good(self) -> bool {
        let header = self.header_length();
        self.0.len() >= 20 && self.0[0] >> 4 == 4 && header >= 20 && self.0.get(..header).map(checksum) == Some(0)
    }
    /// True for a good checksum of TCP, UDP (none is good too) or ICMP.
    pub fn transport_good(self) -> bool {
        match self.protocol() {
            protocol::UDP if word(self.payload(), 6) == 0 => true,
            protocol::TCP | protocol::UDP => checksum(&self.with_pseudo_header()) == 0,
            protocol::ICMP => checksum(self.payload()) == 0,
            _ => true,
        }
    }
    fn with_pseudo_header(self) -> Vec<u8> {
        let payload = self.payload();
        let mut bytes = self.0[12..20].to_vec();
        bytes.extend([0, self.protocol()]);
        bytes.extend((payload.len() as u16).to_be_bytes());
        bytes.extend(payload);
        bytes
    }
}

/// An IPv4 packet around a payload: no options, TTL 64.
#[must_use]
pub fn ip(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    tos: u8,
    id: u16,
    dont_fragment: bool,
    payload: &[u8],
) -> Vec<u8> {
    let mut packet = vec![0; 20];
    packet[0] = 0x45;
    packet[1] = tos;
    put(&mut packet, 2, 20 + payload.len() as u16);
    put(&mut packet, 4, id);
    put(&mut packet, 6, if dont_fragment { 0x4000 } else { 0 });
    packet[8] = 64;
    packet[9] = protocol;
    packet[12..16].copy_from_slice(&source.octets());
    packet[16..20].copy_from_slice(&destination.octets());
    let sum = checksum(&packet);
    put(&mut packet, 10, sum);
    packet.extend(payload);
    packet
}

/// Recomputes the checksum of an IP header.
pub fn mend(packet: &mut [u8]) {
    let header = Packet(packet).header_length();
    put(packet, 10, 0);
    let sum = checksum(&packet[..header]);
    put(packet, 10, sum);
}

/// A TCP segment: DF, id 0, window 29200 (0 for a reset).
#[must_use]
pub fn tcp(source: SocketAddrV4, destination: SocketAddrV4, flags: u8, seq: u32, ack: u32, data: &[u8]) -> Vec<u8> {
    let mut segment = vec![0; 20];
    put(&mut segment, 0, source.port());
    put(&mut segment, 2, destination.port());
    segment[4..8].copy_from_slice(&seq.to_be_bytes());
    segment[8..12].copy_from_slice(&ack.to_be_bytes());
    segment[12] = 5 << 4;
    segment[13] = flags;
    put(&mut segment, 14, if flags & 4 == 0 { 29200 } else { 0 });
    segment.extend(data);
    transport(source, destination, protocol::TCP, 0, segment, 16)
}

/// A UDP datagram: DF, id 0.
#[must_use]
pub fn udp(source: SocketAddrV4, destination: SocketAddrV4, data: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0; 8];
    put(&mut datagram, 0, source.port());
    put(&mut datagram, 2, destination.port());
    put(&mut datagram, 4, 8 + data.len() as u16);
    datagram.extend(data);
    transport(source, destination, protocol::UDP, 0, datagram, 6)
}

fn transport(
    source: SocketAddrV4,
    destination: SocketAddrV4,
    protocol: u8,
    tos: u8,
    mut payload: Vec<u8>,
    at: usize,
) -> Vec<u8> {
    let whole = ip(*source.ip(), *destination.ip(), protocol, tos, 0, true, &payload);
    let sum = match checksum(&Packet(&whole).with_pseudo_header()) {
        0 if protocol == protocol::UDP => 0xffff,
        sum => sum,
    };
    put(&mut payload, at, sum);
    ip(*source.ip(), *destination.ip(), protocol, tos, 0, true, &payload)
}

/// A packet in the words of the recordings' `text`.
#[must_use]
pub fn describe(bytes: &[u8]) -> String {
    let packet = Packet(bytes);
    let mut text = format!(
        "{}>{} p={} ttl={} tos={:#x} id={}",
        packet.source(),
        packet.destination(),
        packet.protocol(),
        packet.ttl(),
        packet.tos(),
        packet.id()
    );
    if packet.dont_fragment() {
        text.push_str(" DF");
    }
    if packet.more_fragments() || packet.fragment_offset() > 0 {
        let _ = write!(text, " frag off={} mf={}", packet.fragment_offset(), u8::from(packet.more_fragments()));
    }
    let good = |good| if good { "ok" } else { "BAD" };
    let _ = write!(text, " len={} ipcsum={}", packet.total_length(), good(packet.header_good()));
    let payload = packet.payload();
    if packet.fragment_offset() > 0 {
        return text;
    }
    let (from, to) = (word(payload, 0), word(payload, 2));
    let _ = match packet.protocol() {
        protocol::TCP if payload.len() >= 20 => {
            let letters: String =
                FLAGS.iter().filter(|(bit, _)| payload[13] & bit != 0).map(|(_, letter)| letter).collect();
            let (seq, ack) = (long(payload, 4), long(payload, 8));
            write!(text, " tcp {from}>{to} [{letters}] seq={seq} ack={ack} l4csum={}", good(packet.transport_good()))
        }
        protocol::UDP if payload.len() >= 8 => {
            write!(text, " udp {from}>{to} len={} l4csum={}", word(payload, 4), good(packet.transport_good()))
        }
        protocol::SCTP if payload.len() >= 13 => {
            write!(text, " sctp {from}>{to} vtag={:08x} chunk={}", long(payload, 4), payload[12])
        }
        protocol::ICMP if payload.len() >= 8 => {
            let _ = write!(
                text,
                " icmp {}/{} rest={:08x} icsum={}",
                payload[0],
                payload[1],
                long(payload, 4),
                good(packet.transport_good())
            );
            match payload[0] {
                3 | 4 | 5 | 11 | 12 => write!(text, " {{{}}}", describe(&payload[8..])),
                _ => Ok(()),
            }
        }
        protocol::IPIP => write!(text, " {{{}}}", describe(payload)),
        _ => Ok(()),
    };
    text
}

/// Bytes from hexadecimal digits.
#[must_use]
pub fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = hex.chars().map(|digit| Some(digit.to_digit(16)? as u8)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Packets of the recordings, with the recorder's words for them.
    const SYN: (&str, &str) = (
        "450000280000400040067cb50a090801ac1000010579005000000001000000005002721079ed0000",
        "10.9.8.1>172.16.0.1 p=6 ttl=64 tos=0x0 id=0 DF len=40 ipcsum=ok tcp 1401>80 [S] seq=1 ack=0 l4csum=ok",
    );
    const UNREACHABLE: (&str, &str) = (
        "45c00039c43900004001f7afac1000010a0908010303bb32000000004500001d0000400040117cb50a090801ac100001057900350009c71275",
        "172.16.0.1>10.9.8.1 p=1 ttl=64 tos=0xc0 id=50233 len=57 ipcsum=ok icmp 3/3 rest=00000000 icsum=ok \
         {10.9.8.1>172.16.0.1 p=17 ttl=64 tos=0x0 id=0 DF len=29 ipcsum=ok udp 1401>53 len=9 l4csum=ok}",
    );

    #[test]
    fn packets_are_told_as_recorded() {
        for (hex, text) in [SYN, UNREACHABLE] {
            let bytes = from_hex(hex).unwrap();
            assert_eq!(describe(&bytes), text);
            assert_eq!(to_hex(&bytes), hex);
        }
    }

    #[test]
    fn packets_are_written_as_recorded() {
        let (client, vip) = ("10.9.8.1:1401".parse().unwrap(), "172.16.0.1:80".parse().unwrap());
        assert_eq!(to_hex(&tcp(client, vip, flags("S"), 1, 0, &[])), SYN.0);
        let quoted = "4500001d0000400040117cb50a090801ac100001057900350009c71275";
        assert_eq!(to_hex(&udp(client, "172.16.0.1:53".parse().unwrap(), b"u")), quoted);
    }

    #[test]
    fn no_length_is_trusted() {
        for hex in ["", "4f", "4500ffff", "4fffffff00000000ff06", &SYN.0[..46], &UNREACHABLE.0[..58]] {
            let _ = describe(&from_hex(hex).unwrap());
        }
    }
}
