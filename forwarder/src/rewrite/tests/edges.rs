//! Rows that no recording has.

use super::*;
use crate::rewrite::icmp_error::{Message, QuotedTtl, Sender};
use crate::rewrite::nat::Nat;
use crate::wire::tcp::{self, flags};

fn to_server(port: u16) -> Nat {
    Nat::new(endpoint(VIP, 53), endpoint(SERVER, port))
}

fn sender() -> Sender {
    Sender { source: VIP.into(), id: 1, hop: hop(1500) }
}

fn segment(sequence: u32, acknowledgement: u32, flags: u8, data: usize) -> Vec<u8> {
    let ports = u32::from_ne_bytes([4, 0, 0, 80]);
    let header = tcp::segment(ports, sequence, acknowledgement, flags);
    packet(from_client(6), &[], &[&header[..], &vec![7; data]].concat())
}

#[test]
fn a_computed_udp_checksum_of_zero_is_sent_as_ones() {
    // The last two data bytes are chosen so that the sum after the rewrite comes out as 0.
    let mut found = 0;
    for word in 0..=u16::MAX {
        let mut data = datagram(53, 2);
        data[8..].copy_from_slice(&word.to_be_bytes());
        let bytes = packet(from_client(17), &[], &data);
        let mut frame = wrap(&bytes, WRAPPINGS[1]);
        let parsed = parse(frame.bytes(), Checksums::Unknown);
        assert_eq!(nat::request(&mut frame, &parsed, &to_server(8080), &hop(1500)), Outcome::Send);
        let sum = &unwrap(&frame, &[])[26..28];
        assert_ne!(sum, [0, 0]);
        found += usize::from(sum == [0xff, 0xff]);
    }
    assert_eq!(found, 1);
}

#[test]
fn a_datagram_without_checksum_gets_one_as_the_kernel_gives_it() {
    for wrapping in WRAPPINGS {
        let mut bytes = packet(from_client(17), &[], &datagram(53, 5));
        bytes[26..28].fill(0);
        let mut frame = wrap(&bytes, wrapping);
        let parsed = parse(frame.bytes(), Checksums::Unknown);
        assert_eq!(nat::request(&mut frame, &parsed, &to_server(53), &hop(1500)), Outcome::Send);
        let mut expected = packet(
            ipv4::New { ttl: 63, destination: u32::from_ne_bytes(SERVER), ..from_client(17) },
            &[],
            &datagram(53, 5),
        );
        expected.truncate(33);
        assert_eq!(unwrap(&frame, wrapping.0), expected);
    }
}

#[test]
fn a_segment_is_reset_as_rfc_9293_says() {
    let all = flags::SYN | flags::FIN;
    for (bytes, expected) in [
        (segment(10, 0, flags::SYN, 0), Some((0, 11, flags::RST | flags::ACK))),
        (segment(10, 0, all, 5), Some((0, 17, flags::RST | flags::ACK))),
        (segment(u32::MAX, 0, flags::PSH, 5), Some((0, 4, flags::RST | flags::ACK))),
        (segment(10, 77, flags::ACK | flags::FIN, 5), Some((77, 0, flags::RST))),
        (segment(10, 77, flags::RST, 0), None),
        (segment(10, 77, flags::RST | flags::ACK, 0), None),
    ] {
        for wrapping in WRAPPINGS {
            let mut frame = wrap(&bytes, wrapping);
            let parsed = parse(frame.bytes(), Checksums::Unknown);
            assert_eq!(reset::write(&mut frame, &parsed, &hop(1500)), expected.is_some());
            let Some((sequence, acknowledgement, flags)) = expected else { continue };
            let ip = ipv4::New {
                source: u32::from_ne_bytes(VIP),
                destination: u32::from_ne_bytes(CLIENT),
                id: 0,
                ..from_client(6)
            };
            let ports = u32::from_ne_bytes([0, 80, 4, 0]);
            assert_eq!(
                unwrap(&frame, wrapping.0),
                packet(ip, &[], &tcp::segment(ports, sequence, acknowledgement, flags))
            );
        }
    }
}

#[test]
fn a_damaged_segment_is_not_reset() {
    for (at, byte) in [(25, 1), (32, 0x40), (32, 0xf0)] {
        let mut bytes = segment(10, 0, flags::SYN, 0);
        bytes[at] = byte;
        let mut frame = wrap(&bytes, WRAPPINGS[0]);
        let parsed = parse(frame.bytes(), Checksums::Unknown);
        assert!(!reset::write(&mut frame, &parsed, &hop(1500)), "byte {at}");
    }
}

#[test]
fn no_error_is_sent_about_what_must_not_be_answered() {
    let udp = |ip: ipv4::New| packet(ip, &[], &datagram(53, 20));
    let source = |address: [u8; 4]| udp(ipv4::New { source: u32::from_ne_bytes(address), ..from_client(17) });
    let destination = |address: [u8; 4]| udp(ipv4::New { destination: u32::from_ne_bytes(address), ..from_client(17) });
    let icmp = |kind: u8| packet(from_client(1), &[], &[kind, 0, 0, 0, 0, 0, 0, 0]);
    for (bytes, answered) in [
        (udp(from_client(17)), true),
        (icmp(8), true),
        (icmp(3), false),
        (icmp(5), false),
        (icmp(11), false),
        (icmp(12), false),
        (source([0, 0, 0, 0]), false),
        (source([127, 0, 0, 1]), false),
        (source([224, 0, 0, 1]), false),
        (source([255, 255, 255, 255]), false),
        (destination([224, 0, 0, 81]), false),
        (destination([255, 255, 255, 255]), false),
        (udp(ipv4::New { fragment: ipv4::MF, ..from_client(17) }), true),
        (udp(ipv4::New { fragment: 1, ..from_client(17) }), false),
    ] {
        let mut frame = wrap(&bytes, WRAPPINGS[0]);
        let parsed = parse(frame.bytes(), Checksums::Unknown);
        let sent = icmp_error::write(&mut frame, &parsed, Message::PortUnreachable, QuotedTtl::AsReceived, &sender());
        assert_eq!(sent, answered, "{bytes:02x?}");
    }
}

#[test]
fn a_mtu_too_small_for_a_tunnel_is_not_told_below_68() {
    let bytes = packet(from_client(17), &[], &datagram(53, 200));
    let mut frame = wrap(&bytes, WRAPPINGS[0]);
    let parsed = parse(frame.bytes(), Checksums::Unknown);
    let outcome = ipip::send(&mut frame, &parsed, &outer(true), &hop(70), &mut 0);
    assert_eq!(outcome, Outcome::FragmentationNeeded(68));
    assert_eq!(unwrap_received(&frame), bytes, "it is untouched");
}

/// The packet of a frame that did not leave.
fn unwrap_received(frame: &MemFrame) -> &[u8] {
    assert_eq!(frame.bytes()[..12], RECEIVED);
    &frame.bytes()[14..]
}

#[test]
fn a_frame_without_room_is_dropped() {
    let bytes = packet(from_client(17), &[], &datagram(53, 20));
    let mut frame = wrap(&bytes, WRAPPINGS[0]);
    assert!(frame.grow_front(120) && frame.shrink_front(0));
    // A frame whose headroom is used up: 8 bytes are left of 128.
    let mut tight = frame;
    tight.bytes_mut().copy_within(120.., 0);
    tight.truncate(14 + bytes.len());
    let parsed = parse(tight.bytes(), Checksums::Unknown);
    assert_eq!(ipip::send(&mut tight, &parsed, &outer(true), &hop(1500), &mut 0), Outcome::NoRoom);
    assert!(!icmp_error::write(&mut tight, &parsed, Message::TimeExceeded, QuotedTtl::AsReceived, &sender()));
    let mut short = MemFrame::new(&tight.bytes()[..20]);
    assert_eq!(dr::send(&mut short, &parsed, &hop(1500)), Outcome::NoRoom);
    assert_eq!(nat::reply(&mut short, &parsed, &to_server(53), &hop(1500)), Outcome::NoRoom);
}

#[test]
fn sctp_gets_a_new_crc_only_with_a_new_port() {
    for (port, mended) in [(8080, true), (53, false)] {
        let mut bytes = packet(from_client(132), &[], &[&[4, 0, 0, 53, 1, 1, 1, 1, 0, 0, 0, 0], &[9; 21][..]].concat());
        bytes[28] ^= 0xff; // damaged on its way to us
        let mut frame = wrap(&bytes, WRAPPINGS[2]);
        let parsed = parse(frame.bytes(), Checksums::Unknown);
        assert_eq!(nat::request(&mut frame, &parsed, &to_server(port), &hop(1500)), Outcome::Send);
        let sent = unwrap(&frame, WRAPPINGS[2].0);
        assert_eq!(sent[22..24], port.to_be_bytes());
        assert_eq!(crate::wire::sctp::checksum(&sent[20..]).unwrap() == sent[28..32], mended);
    }
}

#[test]
fn routers_options_are_filled_in_where_there_is_room() {
    let address = Ipv4Addr::from(VIP);
    let [a, b, c, d] = VIP;
    for (before, after) in [
        (vec![7, 7, 4, 0, 0, 0, 0, 0], Some(vec![7, 7, 8, a, b, c, d, 0])),
        (vec![7, 7, 8, 9, 9, 9, 9, 0], Some(vec![7, 7, 8, 9, 9, 9, 9, 0])),
        (vec![7, 7, 3, 0, 0, 0, 0, 0], None),
        (vec![7, 7, 5, 0, 0, 0, 0, 0], None),
        (vec![7, 3, 4, 7, 3, 4, 0, 0], None),
        (vec![7, 2, 0, 0], None),
        (vec![68, 8, 5, 0, 0, 0, 0, 0], Some(vec![68, 8, 9, 0, 0, 0, 1, 2])),
        (vec![68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0], Some(vec![68, 12, 13, 1, a, b, c, d, 0, 0, 1, 2])),
        (vec![68, 12, 5, 3, a, b, c, d, 0, 0, 0, 0], Some(vec![68, 12, 13, 3, a, b, c, d, 0, 0, 1, 2])),
        (vec![68, 12, 5, 3, 8, 8, 8, 8, 0, 0, 0, 0], Some(vec![68, 12, 5, 3, 8, 8, 8, 8, 0, 0, 0, 0])),
        (vec![68, 8, 9, 0xe0, 1, 1, 1, 1], Some(vec![68, 8, 9, 0xf0, 1, 1, 1, 1])),
        (vec![68, 8, 9, 0xf0, 1, 1, 1, 1], None),
        (vec![68, 8, 7, 0, 1, 1, 1, 1], None),
        (vec![68, 8, 4, 0, 1, 1, 1, 1], None),
        (vec![1, 1, 0x94, 4, 0, 0, 0, 0], Some(vec![1, 1, 0x94, 4, 0, 0, 0, 0])),
    ] {
        let bytes = packet(from_client(17), &before, &datagram(53, 3));
        let mut frame = wrap(&bytes, WRAPPINGS[0]);
        let parsed = parse(frame.bytes(), Checksums::Unknown);
        assert_eq!(options::record(&mut frame, &parsed, address, 0x102), after.is_some(), "{before:?}");
        if let Some(after) = after {
            assert_eq!(unwrap_received(&frame), packet(from_client(17), &after, &datagram(53, 3)), "{before:?}");
        }
    }
}

#[test]
fn what_a_router_says_of_a_tunnel_is_told_of_the_packet_in_it() {
    let inner = |fragment| packet(ipv4::New { fragment, ..from_client(17) }, &[], &datagram(53, 20));
    let error = |kind: u8, code: u8, mtu: u16, fragment: u16| {
        let ip = ipv4::New {
            protocol: 4,
            source: u32::from_ne_bytes(DIRECTOR),
            destination: u32::from_ne_bytes(SERVER),
            ..from_client(4)
        };
        let quote = packet(ip, &[], &inner(fragment));
        let [high, low] = mtu.to_be_bytes();
        let ip = ipv4::New { destination: u32::from_ne_bytes(DIRECTOR), ..from_client(1) };
        wrap(&packet(ip, &[], &[&[kind, code, 0, 0, 0, 0, high, low], &quote[..]].concat()), WRAPPINGS[0])
    };
    for (frame, known, message) in [
        (error(3, 4, 1400, ipv4::DF), None, Some(Message::FragmentationNeeded(1380))),
        (error(3, 4, 1400, ipv4::DF), Some(1300), Some(Message::FragmentationNeeded(1280))),
        (error(3, 4, 80, ipv4::DF), None, Some(Message::FragmentationNeeded(80))),
        (error(3, 4, 1400, 0), None, None),
        (error(3, 1, 0, 0), Some(1300), Some(Message::Other(3, 1, [0; 4]))),
        (error(11, 1, 0, ipv4::DF), None, Some(Message::Other(11, 1, [0; 4]))),
    ] {
        let parsed = parse(frame.bytes(), Checksums::Unknown);
        let quote = read_quote(frame.bytes(), &parsed, |_| false).expect("a quoted packet");
        assert_eq!(quoted::about_tunnel(&quote, known), message);
    }
}
