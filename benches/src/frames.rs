//! Frames of 64 bytes on the wire (60 without FCS), written and rewritten the plain way: every checksum is summed anew.

use std::net::{Ipv4Addr, SocketAddrV4};

/// Bytes of a frame without FCS.
pub const LENGTH: usize = 60;
/// Bytes of an Ethernet header.
pub const L3: usize = 14;
/// Where the transport header begins.
pub const L4: usize = L3 + 20;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// The transport protocol of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Proto {
    /// Segments with ACK alone (or SYN alone, of new connections).
    Tcp,
    /// Datagrams.
    Udp,
}

impl Proto {
    /// Its number.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// Where the checksum is, in the transport header.
    fn checksum(self) -> usize {
        match self {
            Self::Tcp => 16,
            Self::Udp => 6,
        }
    }
}

/// TCP flags.
pub mod flags {
    /// Starts a connection.
    pub const SYN: u8 = 0x02;
    /// Nearly every segment.
    pub const ACK: u8 = 0x10;
}

/// A frame.
#[must_use]
pub fn frame(macs: [Mac; 2], proto: Proto, from: SocketAddrV4, to: SocketAddrV4, tcp_flags: u8) -> [u8; LENGTH] {
    let mut frame = [0; LENGTH];
    frame[..6].copy_from_slice(&macs[0]);
    frame[6..12].copy_from_slice(&macs[1]);
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    ip_header(&mut frame[L3..], LENGTH - L3, 64, proto.number(), *from.ip(), *to.ip());
    frame[L4..L4 + 2].copy_from_slice(&from.port().to_be_bytes());
    frame[L4 + 2..L4 + 4].copy_from_slice(&to.port().to_be_bytes());
    match proto {
        Proto::Tcp => {
            frame[L4 + 4..L4 + 8].copy_from_slice(&u32::from(from.port()).to_be_bytes());
            frame[L4 + 12..L4 + 16].copy_from_slice(&[0x50, tcp_flags, 0xff, 0xff]);
        }
        Proto::Udp => frame[L4 + 4..L4 + 6].copy_from_slice(&((LENGTH - L4) as u16).to_be_bytes()),
    }
    seal_transport(&mut frame[L3..], proto);
    frame
}

/// Lets the beginning of a frame say that the whole is of this length. The transport checksum, which nobody looks at, is
/// that of the shorter frame.
pub fn stretch(frame: &mut [u8; LENGTH], length: usize) {
    let length = (length - L3) as u16;
    frame[L3 + 2..L3 + 4].copy_from_slice(&length.to_be_bytes());
    if frame[L3 + 9] == Proto::Udp.number() {
        frame[L4 + 4..L4 + 6].copy_from_slice(&(length - 20).to_be_bytes());
    }
    seal_ip(&mut frame[L3..]);
}

/// Writes an IPv4 header with DF, identification 0 and these values at the front of `packet`.
pub fn ip_header(packet: &mut [u8], length: usize, ttl: u8, protocol: u8, from: Ipv4Addr, to: Ipv4Addr) {
    packet[..20].fill(0);
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    packet[6] = 0x40;
    packet[8] = ttl;
    packet[9] = protocol;
    packet[12..16].copy_from_slice(&from.octets());
    packet[16..20].copy_from_slice(&to.octets());
    seal_ip(packet);
}

/// Sums the IP header anew.
pub fn seal_ip(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let sum = checksum(&[&packet[..20]]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// Sums the transport segment of an IP packet without options anew.
pub fn seal_transport(packet: &mut [u8], proto: Proto) {
    let at = 20 + proto.checksum();
    packet[at..at + 2].fill(0);
    let length = ((packet.len() - 20) as u16).to_be_bytes();
    let pseudo = [0, proto.number(), length[0], length[1]];
    let sum = checksum(&[&packet[12..20], &pseudo, &packet[20..]]);
    let sum = if proto == Proto::Udp && sum == 0 { 0xffff } else { sum };
    packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// RFC 1071 over pieces of even length.
fn checksum(pieces: &[&[u8]]) -> u16 {
    let words = pieces.iter().flat_map(|piece| piece.chunks(2));
    let mut sum = words.fold(0u32, |sum, word| sum + u32::from(u16::from_be_bytes([word[0], word[1]])));
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
