//! Files of captured frames, in the format of the IETF draft draft-ietf-opsawg-pcapng: an interface for each port, and with
//! each frame which way it went, or why it was dropped. Three kinds of blocks are written, and none is read; the crates
//! that do all of it wait for their next release.

use crate::command::CapturedFrame;
use std::io::{self, Write};

/// Ethernet, without FCS.
const ETHERNET: u16 = 1;
/// Types of blocks.
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
/// Options.
const COMMENT: u16 = 1;
const INTERFACE_NAME: u16 = 2;
const FLAGS: u16 = 2;
/// Values of the flags.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// A file that is written.
pub(super) struct Writer<W: Write> {
    to: W,
    snaplen: u16,
    /// The ports of its interfaces, by the numbers of these.
    ports: Vec<u16>,
}

impl<W: Write> Writer<W> {
    /// With the head of a file whose frames are cut to so many bytes.
    pub fn new(mut to: W, snaplen: u16) -> io::Result<Self> {
        // The magic number of this byte order, version 1.0, and a section of unknown length.
        let head = [0x1a2b_3c4d_u32.to_le_bytes(), [1, 0, 0, 0]].concat();
        block(&mut to, SECTION, &[&head[..], &u64::MAX.to_le_bytes()].concat())?;
        Ok(Self { to, snaplen, ports: Vec::new() })
    }

    /// Writes a frame.
    pub fn write(&mut self, frame: &CapturedFrame) -> io::Result<()> {
        let interface = match self.ports.iter().position(|port| *port == frame.port) {
            Some(interface) => interface,
            None => {
                let mut body = [ETHERNET.to_le_bytes(), [0; 2]].concat();
                body.extend(u32::from(self.snaplen).to_le_bytes());
                option(&mut body, INTERFACE_NAME, format!("port {}", frame.port).as_bytes());
                body.extend([0; 4]);
                block(&mut self.to, INTERFACE, &body)?;
                self.ports.push(frame.port);
                self.ports.len() - 1
            }
        };
        let digits = frame.bytes.as_bytes().chunks_exact(2);
        let bytes = digits.filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        let bytes: Vec<u8> = bytes.collect();
        let (high, low) = ((frame.microseconds >> 32) as u32, frame.microseconds as u32);
        let head = [interface as u32, high, low, bytes.len() as u32, frame.length];
        let mut body: Vec<u8> = head.iter().flat_map(|number| number.to_le_bytes()).collect();
        padded(&mut body, &bytes);
        if let Some(reason) = &frame.dropped {
            option(&mut body, COMMENT, format!("dropped: {reason}").as_bytes());
        } else {
            option(&mut body, FLAGS, &if frame.sent { OUTBOUND } else { INBOUND }.to_le_bytes());
        }
        body.extend([0; 4]);
        block(&mut self.to, PACKET, &body)
    }

    /// Everything is in the file from here on.
    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A block: its type and length, the body, and its length again.
fn block(to: &mut impl Write, kind: u32, body: &[u8]) -> io::Result<()> {
    let length = (body.len() as u32 + 12).to_le_bytes();
    [&kind.to_le_bytes()[..], &length, body, &length].iter().try_for_each(|part| to.write_all(part))
}

/// Bytes, filled up to a multiple of four.
fn padded(body: &mut Vec<u8>, bytes: &[u8]) {
    body.extend(bytes);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn option(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend(kind.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    padded(body, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_as_others_read_it() {
        let mut file = Vec::new();
        let mut writer = Writer::new(&mut file, 96).unwrap();
        let frame = |port, sent, dropped: Option<&str>| CapturedFrame {
            port,
            sent,
            dropped: dropped.map(str::to_owned),
            microseconds: 0x1_0000_0007,
            length: 60,
            bytes: "02ff04".into(),
        };
        writer.write(&frame(3, true, None)).unwrap();
        writer.write(&frame(3, false, Some("no_route"))).unwrap();
        let section = [
            &[0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0][..],
            &[0xff; 8],
            &[28, 0, 0, 0],
        ];
        let interface = [
            &[1, 0, 0, 0, 36, 0, 0, 0, 1, 0, 0, 0, 96, 0, 0, 0, 2, 0, 6, 0][..],
            b"port 3\0\0",
            &[0, 0, 0, 0, 36, 0, 0, 0],
        ];
        let packet = |length: u8| {
            [[6, 0, 0, 0, length, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 3, 0, 0, 0, 60, 0, 0, 0, 2, 255, 4, 0]]
        };
        let sent = [&packet(48).concat()[..], &[2, 0, 4, 0, 2, 0, 0, 0], &[0, 0, 0, 0, 48, 0, 0, 0]].concat();
        let dropped =
            [&packet(64).concat()[..], &[1, 0, 17, 0], b"dropped: no_route\0\0\0", &[0, 0, 0, 0, 64, 0, 0, 0]].concat();
        assert_eq!(file, [section.concat(), interface.concat(), sent, dropped].concat());
    }
}
