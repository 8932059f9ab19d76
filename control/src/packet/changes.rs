//! What was changed in a frame on its way, in words. It knows bytes and nothing else.

use super::{IPV4, VLAN, mac, number};
use std::net::Ipv4Addr;

/// The differences between a frame as it came and as it left, of what an operator wants to know: checksums and
/// identifications follow from the rest. Both may be cut off.
#[must_use]
pub fn changes(before: &[u8], after: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let (Some(old), Some(new)) = (before.get(..12), after.get(..12)) else { return found };
    for (what, at) in [("source MAC", 6), ("destination MAC", 0)] {
        let (old, new) = (&old[at..at + 6], &new[at..at + 6]);
        if old != new {
            found.push(format!("{what} {} -> {}", mac(old), mac(new)));
        }
    }
    let (Some(old), Some(mut new)) = (packet(before), packet(after)) else { return found };
    if new.protocol != old.protocol
        && let Some((outer, inner)) = new.opened()
    {
        found.push(outer);
        new = inner;
    }
    old.compare(&new, "", &mut found);
    if let (Some(old), Some(new)) = (old.quoted(), new.quoted()) {
        old.compare(&new, "quoted ", &mut found);
    }
    found
}

/// An IPv4 packet.
struct Packet<'a> {
    header: &'a [u8],
    payload: &'a [u8],
    protocol: u8,
}

fn packet(frame: &[u8]) -> Option<Packet<'_>> {
    let at = match (number(frame, 12)?, number(frame, 16)) {
        (IPV4, _) => 14,
        (VLAN, Some(IPV4)) => 18,
        _ => return None,
    };
    ipv4(frame.get(at..)?)
}

fn ipv4(bytes: &[u8]) -> Option<Packet<'_>> {
    let length = usize::from(bytes.first()? & 15) * 4;
    let (header, payload) = bytes.split_at_checked(length)?;
    (header.len() >= 20).then(|| Packet { header, payload, protocol: header[9] })
}

impl<'a> Packet<'a> {
    fn address(&self, at: usize) -> Ipv4Addr {
        Ipv4Addr::new(self.header[at], self.header[at + 1], self.header[at + 2], self.header[at + 3])
    }

    /// Of a later fragment there are none.
    fn port(&self, at: usize) -> Option<u16> {
        let is_first = number(self.header, 6)? & 0x1fff == 0;
        let has_ports = matches!(self.protocol, 6 | 17 | 132);
        number(self.payload, at).filter(|_| is_first && has_ports)
    }

    /// What is around the packet in it, in words, and that packet.
    fn opened(&self) -> Option<(String, Packet<'a>)> {
        let (kind, skip) = match self.protocol {
            4 => ("IPIP".to_owned(), 0),
            47 => ("GRE".to_owned(), if self.payload.first()? & 0x80 != 0 { 8 } else { 4 }),
            17 => {
                let words = usize::from(self.payload.get(8)? & 0x1f);
                (format!("GUE (UDP port {})", number(self.payload, 2)?), 12 + 4 * words)
            }
            _ => return None,
        };
        let inner = ipv4(self.payload.get(skip..)?)?;
        Some((format!("put into {kind} from {} to {}", self.address(12), self.address(16)), inner))
    }

    /// The packet that an ICMP error quotes.
    fn quoted(&self) -> Option<Packet<'a>> {
        let is_error = self.protocol == 1 && matches!(self.payload.first(), Some(3 | 4 | 11));
        ipv4(self.payload.get(8..)?).filter(|_| is_error)
    }

    fn compare(&self, new: &Self, what: &str, found: &mut Vec<String>) {
        for (name, address, port) in [("source", 12, 0), ("destination", 16, 2)] {
            let end = |packet: &Self| match packet.port(port) {
                Some(number) => format!("{}:{number}", packet.address(address)),
                None => packet.address(address).to_string(),
            };
            let (old, new) = (end(self), end(new));
            if old != new {
                found.push(format!("{what}{name} {old} -> {new}"));
            }
        }
        for (name, at) in [("TTL", 8), ("ToS", 1)] {
            let (old, new) = (self.header[at], new.header[at]);
            if old != new {
                found.push(format!("{what}{name} {old} -> {new}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(to: u8, source: [u8; 4], destination: [u8; 4], ports: [u8; 4], ttl: u8) -> Vec<u8> {
        let mut bytes =
            vec![2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, to + 1, 8, 0, 0x45, 0, 0, 40, 0, 0, 0x40, 0, ttl, 6, 0, 0];
        bytes.extend(source);
        bytes.extend(destination);
        bytes.extend(ports);
        bytes.extend([0; 16]);
        bytes
    }

    #[test]
    fn what_a_director_changes_is_told() {
        let client = [10, 0, 0, 1];
        let came = frame(1, client, [10, 0, 0, 9], [0x12, 0x34, 0, 80], 64);
        assert!(changes(&came, &came).is_empty());
        let nat = frame(3, client, [192, 168, 1, 2], [0x12, 0x34, 0x1f, 0x90], 63);
        assert_eq!(
            changes(&came, &nat),
            [
                "source MAC 02:00:00:00:00:02 -> 02:00:00:00:00:04",
                "destination MAC 02:00:00:00:00:01 -> 02:00:00:00:00:03",
                "destination 10.0.0.9:80 -> 192.168.1.2:8080",
                "TTL 64 -> 63",
            ]
        );
        // Into a tunnel.
        let mut outer = frame(1, [10, 0, 0, 9], [192, 168, 1, 2], [0; 4], 64)[..34].to_vec();
        for (protocol, between, kind) in [
            (4, &[][..], "IPIP"),
            (47, &[0, 0, 8, 0], "GRE"),
            (17, &[0, 9, 0x17, 0xc0, 0, 0, 0, 0, 0, 4, 0, 0], "GUE (UDP port 6080)"),
        ] {
            outer[23] = protocol;
            let tunnel = [&outer, between, &came[14..]].concat();
            assert_eq!(changes(&came, &tunnel), [format!("put into {kind} from 10.0.0.9 to 192.168.1.2")]);
        }
        // What an error quotes.
        let error = |quoted: &[u8]| {
            let mut error = frame(1, client, [10, 0, 0, 9], [0; 4], 64)[..34].to_vec();
            error[23] = 1;
            error.extend([3, 1, 0, 0, 0, 0, 0, 0]);
            error.extend(&quoted[14..]);
            error
        };
        let told = changes(&error(&came), &error(&nat));
        assert_eq!(told, ["quoted destination 10.0.0.9:80 -> 192.168.1.2:8080", "quoted TTL 64 -> 63"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_compared(before in proptest::collection::vec(any::<u8>(), 0..96), after in proptest::collection::vec(any::<u8>(), 0..96), cut in 0..54_usize) {
            let whole = frame(1, [1; 4], [2; 4], [0; 4], 9);
            let _ = (changes(&before, &after), changes(&whole[..cut], &after), changes(&whole, &whole[..cut]));
        }
    }
}
