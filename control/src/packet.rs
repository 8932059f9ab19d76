//! A frame in a line, for who wants to see frames go by (`set verbose`). It knows bytes and nothing else.

mod changes;

pub use changes::changes;

use std::fmt::Write as _;
use std::net::Ipv4Addr;

const IPV4: u16 = 0x0800;
const VLAN: u16 = 0x8100;

/// A line about a frame of `length` bytes that starts with these: in testpmd's words, and what goes from where to where in
/// tcpdump's. What is cut off or not understood is left out.
#[must_use]
pub fn line(head: &[u8], length: usize) -> String {
    let (Some(to), Some(from), Some(mut kind)) = (head.get(..6), head.get(6..12), number(head, 12)) else {
        return format!("length={length}");
    };
    let mut text = format!("src={} - dst={}", mac(from), mac(to));
    let mut rest = &head[14..];
    if let (VLAN, Some(tag), Some(inner)) = (kind, number(rest, 0), number(rest, 2)) {
        let _ = write!(text, " - VLAN {}", tag & 0xfff);
        (kind, rest) = (inner, &rest[4..]);
    }
    let _ = write!(text, " - type=0x{kind:04x} - length={length}");
    if kind == IPV4 {
        text += &ipv4(rest).unwrap_or_default();
    }
    text
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn mac(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

fn ipv4(packet: &[u8]) -> Option<String> {
    let header = packet.get(..20)?;
    let address = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    let (from, to) = (address(12), address(16));
    let protocol = header[9];
    let name = match protocol {
        1 => "ICMP".to_owned(),
        4 => "IPIP".to_owned(),
        6 => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        47 => "GRE".to_owned(),
        132 => "SCTP".to_owned(),
        other => format!("protocol {other}"),
    };
    let offset = number(header, 6)? & 0x1fff;
    if offset > 0 {
        return Some(format!(" - {from} > {to} {name} fragment at {}", usize::from(offset) * 8));
    }
    let payload = packet.get(usize::from(header[0] & 15) * 4..)?;
    match (protocol, number(payload, 0), number(payload, 2)) {
        (6 | 17 | 132, Some(source), Some(target)) => {
            let flags = payload.get(13).filter(|_| protocol == 6).map(|flags| tcp(*flags)).unwrap_or_default();
            Some(format!(" - {from}:{source} > {to}:{target} {name}{flags}"))
        }
        _ => Some(format!(" - {from} > {to} {name}")),
    }
}

fn tcp(flags: u8) -> String {
    const NAMES: [&str; 6] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"];
    let set = NAMES.iter().enumerate().filter(|(bit, _)| flags >> bit & 1 == 1);
    set.map(|(_, name)| format!(" {name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// From 02:00:00:00:00:01 to :02, from 10.0.0.1:4660 to 10.0.0.2:80, no options.
    fn frame(protocol: u8, fragment: u16) -> Vec<u8> {
        let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 40, 0, 0];
        bytes.extend(fragment.to_be_bytes());
        bytes.extend([64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x12, 0x34, 0, 80]);
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x12, 0, 0, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn frames_are_told_in_a_line() {
        let ethernet = "src=02:00:00:00:00:01 - dst=02:00:00:00:00:02";
        let rows = [
            (frame(6, 0), " - type=0x0800 - length=54 - 10.0.0.1:4660 > 10.0.0.2:80 TCP SYN ACK"),
            (frame(17, 0), " - type=0x0800 - length=54 - 10.0.0.1:4660 > 10.0.0.2:80 UDP"),
            (frame(1, 0), " - type=0x0800 - length=54 - 10.0.0.1 > 10.0.0.2 ICMP"),
            (frame(99, 0), " - type=0x0800 - length=54 - 10.0.0.1 > 10.0.0.2 protocol 99"),
            (frame(17, 0x2003), " - type=0x0800 - length=54 - 10.0.0.1 > 10.0.0.2 UDP fragment at 24"),
        ];
        for (bytes, expected) in rows {
            assert_eq!(line(&bytes, bytes.len()), format!("{ethernet}{expected}"));
        }
        let mut tagged = frame(6, 0);
        tagged.splice(12..12, [0x81, 0, 0x20, 7]);
        assert!(line(&tagged, 58).starts_with(&format!("{ethernet} - VLAN 7 - type=0x0800 - length=58 - 10.0.0.1:")));
        assert_eq!(line(&[0; 14], 60), "src=00:00:00:00:00:00 - dst=00:00:00:00:00:00 - type=0x0000 - length=60");
        assert_eq!(line(&[], 0), "length=0");
    }

    proptest! {
        #[test]
        fn any_bytes_are_told(bytes in proptest::collection::vec(any::<u8>(), 0..96), cut in 0..54_usize) {
            prop_assert!(line(&bytes, 77).contains("length=77"));
            prop_assert!(line(&frame(6, 0)[..cut], 54).contains("length=54"));
        }
    }
}
