//! Packets to send, and what is read from packets that come out.

use std::net::{Ipv4Addr, SocketAddrV4};

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMP: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

/// One's complement sum over 16-bit words, folded and complemented (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let sum = words.fold(0, |sum, word| {
        let sum = sum + word;
        (sum & 0xffff) + (sum >> 16)
    });
    !(sum as u16)
}

/// An IPv4 packet. `fragment` is the word with the flags and the offset.
pub fn ip(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, id: u16, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let length = (20 + payload.len()) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend(id.to_be_bytes());
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(payload);
    packet
}

/// The same packet with this time to live.
pub fn with_ttl(mut packet: Vec<u8>, ttl: u8) -> Vec<u8> {
    packet[8] = ttl;
    packet[10..12].fill(0);
    let sum = checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// The payload of an IP packet that carries a datagram without a checksum.
pub fn datagram(source: u16, destination: u16, data: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend(source.to_be_bytes());
    payload.extend(destination.to_be_bytes());
    payload.extend(((8 + data.len()) as u16).to_be_bytes());
    payload.extend([0, 0]);
    payload.extend(data);
    payload
}

/// A UDP packet.
pub fn udp(source: SocketAddrV4, destination: SocketAddrV4, data: &[u8]) -> Vec<u8> {
    ip(*source.ip(), *destination.ip(), UDP, 0, 0x4000, &datagram(source.port(), destination.port(), data))
}

/// A TCP packet; its checksum is nobody's business on the way.
pub fn tcp(source: SocketAddrV4, destination: SocketAddrV4, flags: u8, data: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend(source.port().to_be_bytes());
    payload.extend(destination.port().to_be_bytes());
    payload.extend([0; 8]);
    payload.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    payload.extend(data);
    ip(*source.ip(), *destination.ip(), TCP, 0, 0x4000, &payload)
}

/// "Host unreachable" about a packet.
pub fn unreachable(source: Ipv4Addr, destination: Ipv4Addr, about: &[u8]) -> Vec<u8> {
    let mut payload = vec![3, 1, 0, 0, 0, 0, 0, 0];
    payload.extend(&about[..about.len().min(48)]);
    let sum = checksum(&payload);
    payload[2..4].copy_from_slice(&sum.to_be_bytes());
    ip(source, destination, ICMP, 0, 0, &payload)
}

/// Source and destination of a TCP or UDP packet, or of the one that an ICMP error quotes at `at`.
pub fn endpoints(packet: &[u8], at: usize) -> (SocketAddrV4, SocketAddrV4) {
    let address = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap());
    let port = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    (SocketAddrV4::new(address(at + 12), port(at + 20)), SocketAddrV4::new(address(at + 16), port(at + 22)))
}

/// What a UDP packet carries.
pub fn data(packet: &[u8]) -> &[u8] {
    let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    &packet[28..length]
}
