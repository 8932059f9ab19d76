//! One frame through the parser and every reader and rewriter that takes what it found.

use crate::check;
use forwarder::parse::{Kind, Parsed, fragment, icmp_checksum_good, parse, quoted};
use forwarder::rewrite::icmp_error::{self, Message, QuotedTtl, Sender};
use forwarder::rewrite::{Hop, Outcome, Outer, dr, fragment::split, gre, gue, ipip, nat, options, reset};
use packet_io::memory::{MemFrame, MemPool};
use packet_io::{Checksums, Frame};
use std::net::Ipv4Addr;

/// The first byte chooses the MTU; the others are the frame.
pub fn run(data: &[u8]) {
    let Some((&choice, frame)) = data.split_first() else { return };
    let mtu = [1500, 576, 68, 28, 9000, 0][usize::from(choice) % 6];
    let parsed = parse(frame, Checksums::Unknown);
    let _ = fragment(frame, &parsed);
    let _ = quoted(frame, &parsed, |port| port & 1 == 0);
    let _ = icmp_checksum_good(frame, &parsed);
    if matches!(parsed.kind, Kind::Malformed(_) | Kind::Kernel) {
        return;
    }
    assert!(parsed.frame_length() <= frame.len() && parsed.l3 < parsed.l4);
    let hop = Hop::new([2; 6], [4; 6], mtu);
    let outer = Outer { source: 1, destination: 2, pmtu_disc: choice & 64 != 0 };
    let nat = nat::Nat::new((parsed.destination_bits(), parsed.destination_port_bits()), (0x0201_0a0a, 0x1234));
    let gue = gue::Gue { source_port: 40_000, port: 6080, checksum: choice & 32 != 0 };
    let rewriters: [&dyn Fn(&mut MemFrame) -> Outcome; 6] = [
        &|frame| dr::send(frame, &parsed, &hop),
        &|frame| nat::request(frame, &parsed, &nat, &hop),
        &|frame| nat::reply(frame, &parsed, &nat, &hop),
        &|frame| ipip::send(frame, &parsed, &outer, &hop, &mut 7),
        &|frame| gue::send(frame, &parsed, &outer, &gue, &hop, &mut 7),
        &|frame| gre::send(frame, &parsed, &outer, choice & 16 != 0, &hop, &mut 7),
    ];
    for rewrite in rewriters {
        let mut copy = MemFrame::new(frame);
        match rewrite(&mut copy) {
            Outcome::Send => {
                let length = check::ip_header(copy.bytes(), parsed.l3.into()).expect("a sent header is sound");
                assert!(length <= usize::from(mtu), "{length} bytes by an MTU of {mtu}");
                assert_eq!(copy.bytes().len(), usize::from(parsed.l3) + length, "padding was left");
            }
            Outcome::Fragment => split_soundly(&copy, &parsed, mtu),
            Outcome::TimeExceeded | Outcome::FragmentationNeeded(_) => {
                assert_eq!(copy.bytes(), frame, "a refused frame was touched");
            }
            Outcome::NoRoom => {}
        }
    }
    let sender = Sender { source: Ipv4Addr::LOCALHOST, id: 1, hop };
    for message in [Message::TimeExceeded, Message::FragmentationNeeded(mtu), Message::PortUnreachable] {
        let mut copy = MemFrame::new(frame);
        if icmp_error::write(&mut copy, &parsed, message, QuotedTtl::AsReceived, &sender) {
            check::ip_header(copy.bytes(), parsed.l3.into()).expect("an answer's header is sound");
        }
    }
    let mut copy = MemFrame::new(frame);
    if reset::write(&mut copy, &parsed, &hop) {
        check::ip_header(copy.bytes(), parsed.l3.into()).expect("an answer's header is sound");
    }
    let mut copy = MemFrame::new(frame);
    if options::record(&mut copy, &parsed, Ipv4Addr::LOCALHOST, 99) {
        check::ip_header(copy.bytes(), parsed.l3.into()).expect("a recorded header is sound");
    }
}

fn split_soundly(frame: &MemFrame, parsed: &Parsed, mtu: u16) {
    let mut pool = MemPool::new(64);
    let _ = split(frame.bytes(), parsed.l3.into(), mtu, &mut pool, |piece| {
        let length = check::ip_header(piece.bytes(), parsed.l3.into()).expect("a fragment's header is sound");
        assert!(length <= usize::from(mtu), "a fragment of {length} bytes by an MTU of {mtu}");
    });
    assert_eq!(pool.in_use(), 0);
}
