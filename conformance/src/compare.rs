//! What came out of a port, against what was recorded: byte for byte, but for the fields that a director chooses at random.

use crate::packet::{Packet, describe, mend, protocol, put, word};
use crate::subject::Sent;
use serde::Deserialize;
use std::net::Ipv4Addr;

/// A packet that came out, as recorded.
#[derive(Clone, Debug, Deserialize)]
pub struct Recorded {
    /// `ext` or `int`.
    pub side: String,
    /// The destination MAC address.
    pub dmac: String,
    /// The IP packet, hexadecimal.
    pub hex: String,
}

/// A MAC address as it is written.
#[must_use]
pub fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

/// True if the same packets came out, in the same order on each side.
#[must_use]
pub fn same(expected: &[Recorded], got: &[Sent], own: &[Ipv4Addr]) -> bool {
    ["ext", "int"].iter().all(|side| {
        let expected: Vec<_> = expected.iter().filter(|packet| packet.side == *side).collect();
        let got: Vec<_> = got.iter().filter(|packet| packet.side() == *side).collect();
        expected.len() == got.len()
            && expected.iter().zip(got).all(|(expected, got)| {
                let bytes = crate::packet::from_hex(&expected.hex);
                bytes.is_some_and(|bytes| expected.dmac == mac(got.mac) && same_packet(&bytes, &got.packet, own))
            })
    })
}

/// True if two packets differ in nothing but what the director chooses at random. `own` are its addresses.
#[must_use]
pub fn same_packet(expected: &[u8], got: &[u8], own: &[Ipv4Addr]) -> bool {
    // A checksum that covers a random field must be as good as the recorded one.
    let good = |bytes| (Packet(bytes).header_good(), is_whole(bytes).then(|| Packet(bytes).transport_good()));
    good(expected) == good(got) && masked(expected, own) == masked(got, own)
}

fn is_whole(bytes: &[u8]) -> bool {
    !Packet(bytes).more_fragments() && Packet(bytes).fragment_offset() == 0
}

/// With the random fields put to 0:
/// the identification of a packet that the director made itself and that has no DF;
/// of a GUE tunnel's packets the source port, and so the UDP checksum, unless that says "none";
/// the times in an answer to an ICMP timestamp, and in an IP option that asks for them.
fn masked(bytes: &[u8], own: &[Ipv4Addr]) -> Vec<u8> {
    let packet = Packet(bytes);
    let mut masked = bytes.to_vec();
    mask_stamps(&mut masked);
    if packet.protocol() == protocol::IPIP && packet.fragment_offset() == 0 {
        mask_stamps(&mut masked[packet.header_length()..]);
    }
    if bytes.len() < 20 || !own.contains(&packet.source()) {
        return masked;
    }
    let l4 = packet.header_length();
    let first = packet.fragment_offset() == 0 && bytes.len() >= l4 + 8;
    let icmp = packet.protocol() == protocol::ICMP && packet.ttl() == 64;
    let is_tunnel = matches!(packet.protocol(), protocol::IPIP | protocol::GRE | protocol::UDP);
    if icmp || is_tunnel && !packet.dont_fragment() {
        put(&mut masked, 4, 0);
        mend(&mut masked);
    }
    if packet.protocol() == protocol::UDP && first && is_gue(packet) {
        put(&mut masked, l4, 0);
        if word(bytes, l4 + 6) != 0 {
            put(&mut masked, l4 + 6, 1);
        }
    }
    if icmp && first && bytes[l4] == 14 && bytes.len() >= l4 + 20 {
        put(&mut masked, l4 + 2, 0);
        masked[l4 + 12..l4 + 20].fill(0);
    }
    masked
}

/// Puts the filled places of a timestamp option to 0, if it is the first of the header.
fn mask_stamps(packet: &mut [u8]) {
    const FIRST: usize = 20;
    let header = Packet(packet).header_length();
    if header < FIRST + 5 || packet.len() < header || packet[FIRST] != 68 {
        return;
    }
    let filled = FIRST + 4..(FIRST + usize::from(packet[FIRST + 2]).saturating_sub(1)).min(header);
    if filled.start < filled.end {
        packet[filled].fill(0);
        mend(packet);
    }
}

/// The director sends no UDP of its own but that of tunnels; what it translates comes from a virtual address's port, and
/// goes to a client: an IP header inside tells them apart.
fn is_gue(packet: Packet<'_>) -> bool {
    let Some(gue) = packet.payload().get(8..) else { return false };
    let Some(&control) = gue.first() else { return false };
    let inner = 4 + usize::from(control & 31) * 4;
    gue.get(1) == Some(&protocol::IPIP) && gue.get(inner).is_some_and(|byte| byte >> 4 == 4)
}

/// What was recorded, in words.
#[must_use]
pub fn tell_recorded(packets: &[Recorded]) -> String {
    let tell = |packet: &Recorded| {
        let bytes = crate::packet::from_hex(&packet.hex).unwrap_or_default();
        format!("{} dmac={} {} {}", packet.side, packet.dmac, describe(&bytes), packet.hex)
    };
    lines(packets.iter().map(tell))
}

/// What came out, in words.
#[must_use]
pub fn tell_sent(packets: &[Sent]) -> String {
    let tell = |packet: &Sent| {
        let hex = crate::packet::to_hex(&packet.packet);
        format!("{} dmac={} {} {hex}", packet.side(), mac(packet.mac), describe(&packet.packet))
    };
    lines(packets.iter().map(tell))
}

fn lines(packets: impl Iterator<Item = String>) -> String {
    let lines: Vec<String> = packets.collect();
    if lines.is_empty() { "(nothing)".to_owned() } else { lines.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{flags, from_hex, ip, tcp, udp};

    const OWN: [Ipv4Addr; 1] = [Ipv4Addr::new(192, 168, 1, 1)];
    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 2);

    #[test]
    fn only_what_the_director_makes_itself_has_random_fields() {
        let tunnel = |id, df| ip(OWN[0], SERVER, protocol::IPIP, 0, id, df, &[0x45; 40]);
        assert!(same_packet(&tunnel(1, false), &tunnel(2, false), &OWN));
        assert!(!same_packet(&tunnel(1, true), &tunnel(2, true), &OWN));
        assert!(!same_packet(&tunnel(1, false), &tunnel(2, false), &[]));
        let mut bad = tunnel(2, false);
        bad[10] ^= 1;
        assert!(!same_packet(&tunnel(1, false), &bad, &OWN), "the checksum must be good all the same");
    }

    #[test]
    fn a_tunnel_of_gue_chooses_its_source_port() {
        let gue = |port| {
            let inner = from_hex("00040000").unwrap();
            let inner = [&inner[..], &ip(SERVER, OWN[0], 6, 0, 0, true, &[0; 20])].concat();
            udp((OWN[0].to_string() + port).parse().unwrap(), "192.168.1.2:6080".parse().unwrap(), &inner)
        };
        assert!(same_packet(&gue(":40000"), &gue(":50000"), &OWN));
        assert!(!same_packet(&gue(":40000"), &gue(":50000"), &[]));
    }

    #[test]
    fn every_other_bit_counts() {
        let (from, to) = ("192.168.1.1:80".parse().unwrap(), "10.9.8.1:100".parse().unwrap());
        let segment = tcp(from, to, flags("A"), 1, 2, b"data");
        for bit in 0..segment.len() * 8 {
            let mut other = segment.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!same_packet(&segment, &other, &OWN), "bit {bit}");
        }
    }
}
