//! Frames for the tests of the rewriters.

mod edges;
mod golden;
mod properties;

use super::*;
use crate::parse::{Kind, Malformed, parse, quoted as read_quote};
use crate::wire::checksum;
use packet_io::Checksums;
use packet_io::memory::{MemFrame, MemPool};
use std::net::Ipv4Addr;

const CLIENT: [u8; 4] = [10, 9, 8, 1];
const VIP: [u8; 4] = [172, 16, 0, 1];
const SERVER: [u8; 4] = [192, 168, 1, 2];
const DIRECTOR: [u8; 4] = [192, 168, 1, 1];

/// The MAC addresses of a frame that comes to the director.
const RECEIVED: [u8; 12] = [2, 0, 0, 0, 0, 0xfe, 2, 0, 0, 0, 0, 1];
/// And of one that leaves it.
const SENT: [u8; 12] = [2, 0, 0, 0, 1, 2, 2, 0, 0, 0, 1, 0xfe];

/// Ways in which one IP packet may come: tags, and bytes of Ethernet padding.
const WRAPPINGS: [(&[u8], usize); 4] =
    [(&[], 0), (&[], 46), (&[0x81, 0, 0x20, 5], 3), (&[0x88, 0xa8, 0, 1, 0x81, 0, 0, 2], 0)];

fn hop(mtu: u16) -> Hop {
    Hop { macs: SENT, mtu }
}

/// An IP packet in a frame as it is received.
fn wrap(packet: &[u8], (tags, padding): (&[u8], usize)) -> MemFrame {
    let mut bytes = [&RECEIVED[..], tags, &[8, 0], packet].concat();
    bytes.resize(bytes.len() + padding, 0xee);
    MemFrame::new(&bytes)
}

/// The IP packet in a frame that left with these tags, after a look at its Ethernet header.
fn unwrap<'a>(frame: &'a MemFrame, tags: &[u8]) -> &'a [u8] {
    let head = [&SENT[..], tags, &[8, 0]].concat();
    assert_eq!(&frame.bytes()[..head.len()], head);
    &frame.bytes()[head.len()..]
}

/// An endpoint as it stands in a packet.
fn endpoint(address: [u8; 4], port: u16) -> (u32, u16) {
    (u32::from_ne_bytes(address), port.to_be())
}

fn outer(pmtu_disc: bool) -> Outer {
    Outer { source: u32::from_ne_bytes(DIRECTOR), destination: u32::from_ne_bytes(SERVER), pmtu_disc }
}

/// An IP packet with right checksums. `header` is the transport header with zeros where the checksum belongs.
fn packet(ip: ipv4::New, options: &[u8], transport: &[u8]) -> Vec<u8> {
    let length = 20 + options.len() + transport.len();
    let mut bytes = ipv4::New { total_length: length as u16, ..ip }.bytes().to_vec();
    bytes[0] = 0x40 | ((20 + options.len()) / 4) as u8;
    bytes.extend(options);
    ipv4::seal(&mut bytes);
    bytes.extend(transport);
    let l4 = 20 + options.len();
    let sum = |bytes: &[u8]| {
        let addresses = u64::from_ne_bytes(bytes[12..20].try_into().unwrap());
        let pseudo = checksum::pseudo(addresses, ip.protocol, (length - l4) as u16);
        checksum::finish(pseudo + checksum::sum(&bytes[l4..])).to_ne_bytes()
    };
    match ip.protocol {
        6 => {
            let sum = sum(&bytes);
            bytes[l4 + 16..l4 + 18].copy_from_slice(&sum);
        }
        17 => {
            let sum = checksum::udp(u16::from_ne_bytes(sum(&bytes))).to_ne_bytes();
            bytes[l4 + 6..l4 + 8].copy_from_slice(&sum);
        }
        132 => {
            let sum = crate::wire::sctp::checksum(&bytes[l4..]).unwrap();
            bytes[l4 + 8..l4 + 12].copy_from_slice(&sum);
        }
        _ => {}
    }
    bytes
}

/// The start of a packet from the client to the virtual address.
fn from_client(protocol: u8) -> ipv4::New {
    ipv4::New {
        tos: 0,
        total_length: 0,
        id: 0x4242,
        fragment: ipv4::DF,
        ttl: 64,
        protocol,
        source: u32::from_ne_bytes(CLIENT),
        destination: u32::from_ne_bytes(VIP),
    }
}

/// A UDP header to `port` and `data` bytes of data, without checksum.
fn datagram(port: u16, data: usize) -> Vec<u8> {
    let mut bytes = crate::wire::udp::datagram(5000, port, (8 + data) as u16).to_vec();
    bytes.extend((0..data).map(|n| n as u8));
    bytes
}
