//! Frames to throw at a director: packets of every protocol, whole, cut and bent.

use crate::check::{crc32c, sum, transport_sum, word};
use crate::draw::Draw;

/// An IPv4 packet.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    /// VLAN identifiers, outermost first.
    pub tags: Vec<u16>,
    pub tos: u8,
    pub id: u16,
    /// DF, MF and offset.
    pub fragment: u16,
    pub ttl: u8,
    pub protocol: u8,
    pub source: [u8; 4],
    pub destination: [u8; 4],
    /// A multiple of four bytes.
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Default for Packet {
    fn default() -> Self {
        Self {
            tags: Vec::new(),
            tos: 0,
            id: 1,
            fragment: 0,
            ttl: 64,
            protocol: 253,
            source: [192, 0, 2, 1],
            destination: [192, 0, 2, 2],
            options: Vec::new(),
            payload: Vec::new(),
        }
    }
}

impl Packet {
    /// With this payload, whose checksum is made right.
    pub fn sealed(mut self, mut payload: Vec<u8>) -> Self {
        let addresses = [self.source, self.destination].concat();
        let put = |payload: &mut Vec<u8>, at: usize, value: u16| {
            if let Some(field) = payload.get_mut(at..at + 2) {
                field.copy_from_slice(&value.to_be_bytes());
            }
        };
        match self.protocol {
            1 => {
                put(&mut payload, 2, 0);
                let checksum = !sum(&[&payload]);
                put(&mut payload, 2, checksum);
            }
            6 => {
                put(&mut payload, 16, 0);
                let checksum = !transport_sum(&addresses, 6, &payload);
                put(&mut payload, 16, checksum);
            }
            17 => {
                put(&mut payload, 6, 0);
                let checksum = !transport_sum(&addresses, 17, &payload);
                put(&mut payload, 6, if checksum == 0 { 0xffff } else { checksum });
            }
            132 if payload.len() >= 12 => {
                payload[8..12].fill(0);
                let crc = crc32c(&payload);
                payload[8..12].copy_from_slice(&crc);
            }
            _ => {}
        }
        self.payload = payload;
        self
    }

    /// The IPv4 packet.
    pub fn packet(&self) -> Vec<u8> {
        let header = 20 + self.options.len();
        let total = (header + self.payload.len()) as u16;
        let mut bytes = vec![0x40 | (header / 4) as u8, self.tos];
        bytes.extend(total.to_be_bytes());
        bytes.extend(self.id.to_be_bytes());
        bytes.extend(self.fragment.to_be_bytes());
        bytes.extend([self.ttl, self.protocol, 0, 0]);
        bytes.extend(self.source);
        bytes.extend(self.destination);
        bytes.extend(&self.options);
        let checksum = !sum(&[&bytes]);
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// The frame.
    pub fn frame(&self, destination: [u8; 6], source: [u8; 6]) -> Vec<u8> {
        let mut bytes = [destination, source].concat();
        for tag in &self.tags {
            bytes.extend([0x81, 0x00]);
            bytes.extend(tag.to_be_bytes());
        }
        bytes.extend([8, 0]);
        bytes.extend(self.packet());
        bytes
    }
}

const PORTS: [u16; 8] = [80, 81, 8080, 53, 5060, 21, 1000, 1001];
/// Protocols and ports of the worlds' services.
const SERVED: [(u8, u16); 7] = [(6, 80), (6, 80), (17, 53), (17, 53), (132, 80), (17, 5060), (6, 21)];

/// The transport header and data of a packet between two ports.
pub(crate) fn transport(draw: &mut Draw<'_>, protocol: u8, ports: [u16; 2]) -> Vec<u8> {
    let mut payload = [ports[0].to_be_bytes(), ports[1].to_be_bytes()].concat();
    let data = data(draw, ports[1]);
    match protocol {
        6 => {
            payload.extend([0, 0, 0, 1, 0, 0, 0, 2]);
            let flags =
                draw.of(&[0x02, 0x02, 0x02, 0x10, 0x11, 0x12, 0x10, 0x18, 0x11, 0x04, 0x14, 0x00, 0x01, 0x3f, 0x06]);
            payload.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
            payload.extend(data);
        }
        17 => {
            payload.extend(((8 + data.len()) as u16).to_be_bytes());
            payload.extend([0, 0]);
            payload.extend(data);
        }
        _ => {
            payload.extend([0, 0, 0, 9, 0, 0, 0, 0]);
            for _ in 0..1 + draw.below(2) {
                let chunk = draw.of(&[1, 0, 2, 3, 6, 7, 8, 9, 10, 11, 14, 200]);
                payload.extend([chunk, 0, 0, draw.of(&[4, 8, 0, 3, 255])]);
            }
            payload.extend(data);
        }
    }
    payload
}

fn data(draw: &mut Draw<'_>, port: u16) -> Vec<u8> {
    if port == 5060 {
        let id = draw.below(4);
        return format!("INVITE sip:a SIP/2.0\r\nVia: b\r\nCall-ID: call-{id}\r\n\r\n").into_bytes();
    }
    let length = draw.of(&[0, 1, 5, 6, 0, 3, 0, 26, 512, 1232, 1352, 1460, 1480, 1600, 1900]);
    (0..length).map(|n| (n * 7 + length) as u8).collect()
}

/// A packet of some protocol. `addresses` are where sources and destinations are drawn from.
pub(crate) fn packet(draw: &mut Draw<'_>, sources: &[[u8; 4]], destinations: &[[u8; 4]]) -> Packet {
    let (protocol, port) = match draw.below(8) {
        0 => (draw.of(&[6, 17, 132, 1, 47, 4]), draw.of(&PORTS)),
        _ => draw.of(&SERVED),
    };
    let mut packet =
        Packet { protocol, source: draw.of(sources), destination: draw.of(destinations), ..Packet::default() };
    let ports = [draw.of(&[1000, 1001, 1002, 1003, 1004, 1005, 1006, 80, 5060, 0]), port];
    let payload = match protocol {
        6 | 17 | 132 => transport(draw, protocol, ports),
        1 => vec![draw.of(&[8, 0, 3, 11, 5, 255]), 0, 0, 0, 0, 1, 0, 2],
        _ => draw.bytes(40).to_vec(),
    };
    dress(draw, &mut packet);
    let mut packet = packet.sealed(payload);
    if protocol == 17 && draw.once_in(4) {
        packet.payload[6..8].fill(0); // without a checksum
    }
    packet
}

/// What a packet wears besides: identification, tags, options, TTL, fragment fields.
pub(crate) fn dress(draw: &mut Draw<'_>, packet: &mut Packet) {
    packet.id = draw.serial();
    match draw.below(24) {
        0 => packet.tags = draw.of(&[&[5][..], &[5, 6], &[1, 2, 3]]).to_vec(),
        1 => packet.ttl = draw.of(&[0, 1, 2, 255]),
        2 => packet.tos = draw.of(&[3, 0xb9, 0xff]),
        3 => {
            let fragments: &[u16] = &[0x4000, 0x4000, 0x2000, 1, 0x2001, 0x1fff, 0x3fff];
            packet.fragment = draw.of(if draw.bent { fragments } else { &fragments[..2] });
            if draw.bent {
                packet.id = draw.below(4) as u16;
            }
        }
        4 => {
            let options: [&[u8]; 5] =
                [&[1, 1, 1, 0], &[7, 7, 4, 0, 0, 0, 0, 0], &[68, 8, 5, 0, 0, 0, 0, 0], &[131, 3, 4, 0], &[7, 1, 0, 0]];
            packet.options = draw.of(&options).to_vec();
        }
        5 => packet.fragment = 0x4000,
        _ => {}
    }
}

/// An ICMP error about a packet, from `source` to the packet's source (or where `to` says).
pub(crate) fn error_about(draw: &mut Draw<'_>, quoted: &[u8], source: [u8; 4], to: [u8; 4]) -> Packet {
    let (kind, code) = draw.of(&[(3, 3), (3, 4), (11, 0), (3, 4), (3, 1), (3, 1), (4, 0), (5, 1), (12, 0)]);
    let mut payload = vec![kind, code, 0, 0, 0, 0];
    payload.extend(draw.of(&[0u16, 68, 576, 1400, 1500]).to_be_bytes());
    let length = draw.of(&[28, 548, 60, 120, 28, 20, 24, 27, 0, 1500]);
    payload.extend(&quoted[..quoted.len().min(length)]);
    let mut packet = Packet { protocol: 1, source, destination: to, ..Packet::default() };
    dress(draw, &mut packet);
    packet.sealed(payload)
}

/// The answer of whoever received an IPv4 packet: endpoints exchanged, something else in it.
pub(crate) fn reply_to(draw: &mut Draw<'_>, packet: &[u8]) -> Option<Packet> {
    let header = usize::from(packet.first()? & 15) * 4;
    let mut reply = Packet {
        protocol: *packet.get(9)?,
        source: packet.get(16..20)?.try_into().ok()?,
        destination: packet.get(12..16)?.try_into().ok()?,
        ..Packet::default()
    };
    let ports = packet.get(header..header + 4)?;
    if !matches!(reply.protocol, 6 | 17 | 132) {
        return None;
    }
    let payload = transport(draw, reply.protocol, [word(ports, 2), word(ports, 0)]);
    dress(draw, &mut reply);
    Some(reply.sealed(payload))
}

/// Damages a frame: bits, its end, padding.
pub(crate) fn bend(draw: &mut Draw<'_>, frame: &mut Vec<u8>) {
    match draw.below(4) {
        0 => frame.truncate(draw.below(64)),
        1 => frame.extend(std::iter::repeat_n(0xa5, draw.below(40))),
        _ => {
            for _ in 0..=draw.below(4) {
                let at = usize::from(draw.word()) % frame.len().max(1);
                let bits = draw.byte();
                if let Some(byte) = frame.get_mut(at.min(63)) {
                    *byte ^= bits;
                }
            }
        }
    }
}
