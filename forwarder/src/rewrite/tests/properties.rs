//! Rewriters against a slow model that computes every checksum anew, and against hostile bytes.

use super::*;
use crate::parse::Parsed;
use crate::rewrite::icmp_error::{Message, QuotedTtl, Sender};
use crate::rewrite::nat::Nat;
use proptest::prelude::*;

/// A packet from client to virtual address, of one of three protocols, with or without options and damage.
#[derive(Clone, Debug)]
struct Sample {
    ip: ipv4::New,
    options: Vec<u8>,
    ports: (u16, u16),
    body: Vec<u8>,
    wrapping: (&'static [u8], usize),
}

fn sample() -> impl Strategy<Value = Sample> {
    (
        (prop_oneof![Just(6u8), Just(17), Just(132)], any::<[u8; 2]>(), 2u8..=255, any::<u16>(), any::<bool>()),
        (any::<[u8; 8]>(), any::<(u16, u16)>(), 0usize..3),
        proptest::collection::vec(any::<u8>(), 0..80),
        0..WRAPPINGS.len(),
    )
        .prop_map(|((protocol, [tos, _], ttl, id, df), (addresses, ports, options), body, wrapping)| Sample {
            ip: ipv4::New {
                tos,
                total_length: 0,
                id,
                fragment: if df { ipv4::DF } else { 0 },
                ttl,
                protocol,
                source: u32::from_ne_bytes(addresses[..4].try_into().unwrap()),
                destination: u32::from_ne_bytes(addresses[4..].try_into().unwrap()),
            },
            options: [0x94, 4, 0, 0].repeat(options),
            ports,
            body,
            wrapping: WRAPPINGS[wrapping],
        })
}

impl Sample {
    /// Its bytes, with all checksums computed.
    fn packet(&self) -> Vec<u8> {
        let (source, destination) = self.ports;
        let mut transport = [source.to_be_bytes(), destination.to_be_bytes()].concat();
        let header = match self.ip.protocol {
            6 => 20,
            17 => 8,
            _ => 12,
        };
        transport.resize(header, 0);
        if self.ip.protocol == 17 {
            let length = (8 + self.body.len()) as u16;
            transport[4..6].copy_from_slice(&length.to_be_bytes());
        } else if self.ip.protocol == 6 {
            transport[4..14].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8, 0x50, 0x10]);
        }
        transport.extend(&self.body);
        packet(self.ip, &self.options, &transport)
    }
}

proptest! {
    #[test]
    fn nat_agrees_with_a_model_that_builds_the_packet_anew(
        sample in sample(), address in any::<[u8; 4]>(), port in any::<u16>(), is_request in any::<bool>(),
    ) {
        let mut frame = wrap(&sample.packet(), sample.wrapping);
        let parsed = parse(frame.bytes(), Checksums::Unknown);
        let to = endpoint(address, port);
        let mut model = sample.clone();
        model.ip.ttl -= 1;
        let outcome = if is_request {
            (model.ip.destination, model.ports.1) = (to.0, port);
            let nat = Nat::new((parsed.destination_bits(), parsed.destination_port_bits()), to);
            nat::request(&mut frame, &parsed, &nat, &hop(1500))
        } else {
            (model.ip.source, model.ports.0) = (to.0, port);
            let nat = Nat::new((parsed.source_bits(), parsed.source_port_bits()), to);
            nat::reply(&mut frame, &parsed, &nat, &hop(1500))
        };
        prop_assert_eq!(outcome, Outcome::Send);
        prop_assert_eq!(unwrap(&frame, sample.wrapping.0), model.packet());
    }

    #[test]
    fn a_wrong_checksum_stays_as_wrong_as_it_was(sample in sample(), damage in 1u16..0xffff, port in any::<u16>()) {
        prop_assume!(sample.ip.protocol != 132);
        let mut bytes = sample.packet();
        let at = 20 + sample.options.len() + if sample.ip.protocol == 6 { 16 } else { 6 };
        let sum = checksum::join(u16::from_ne_bytes([bytes[at], bytes[at + 1]]), damage);
        prop_assume!(sum != 0);
        bytes[at..at + 2].copy_from_slice(&sum.to_ne_bytes());
        let there = endpoint(SERVER, port);
        let mut frame = wrap(&bytes, sample.wrapping);
        let parsed = parse(frame.bytes(), Checksums::Unknown);
        let back = (parsed.destination_bits(), parsed.destination_port_bits());
        prop_assert_eq!(nat::request(&mut frame, &parsed, &Nat::new(back, there), &hop(1500)), Outcome::Send);
        let mut model = sample.clone();
        (model.ip.ttl, model.ip.destination, model.ports.1) = (sample.ip.ttl - 1, there.0, port);
        let right = model.packet();
        let sent = unwrap(&frame, sample.wrapping.0);
        let difference = |at: usize| {
            let [one, other] = [sent, &right[..]].map(|bytes| u16::from_ne_bytes([bytes[at], bytes[at + 1]]));
            checksum::join(one, !other) % 0xffff
        };
        prop_assert_eq!(difference(at), damage);
    }

    #[test]
    fn rewriting_there_and_back_changes_only_the_ttl(sample in sample(), port in any::<u16>()) {
        prop_assume!(sample.ip.ttl > 2);
        let mut frame = wrap(&sample.packet(), sample.wrapping);
        let parsed = parse(frame.bytes(), Checksums::Unknown);
        let (here, there) = ((parsed.destination_bits(), parsed.destination_port_bits()), endpoint(SERVER, port));
        prop_assert_eq!(nat::request(&mut frame, &parsed, &Nat::new(here, there), &hop(1500)), Outcome::Send);
        let parsed = parse(frame.bytes(), Checksums::Unknown);
        prop_assert_eq!(nat::request(&mut frame, &parsed, &Nat::new(there, here), &hop(1500)), Outcome::Send);
        let mut model = sample.clone();
        model.ip.ttl -= 2;
        prop_assert_eq!(unwrap(&frame, sample.wrapping.0), model.packet());
    }

    #[test]
    fn a_tunnel_carries_the_packet_that_dr_would_send(
        sample in sample(), pmtu_disc in any::<bool>(), kind in 0usize..5, first_id in any::<u16>(),
    ) {
        let bytes = sample.packet();
        let mut plain = wrap(&bytes, sample.wrapping);
        let parsed = parse(plain.bytes(), Checksums::Unknown);
        prop_assert_eq!(dr::send(&mut plain, &parsed, &hop(1500)), Outcome::Send);
        let mut frame = wrap(&bytes, sample.wrapping);
        let (outer, mut id) = (outer(pmtu_disc), first_id);
        let gue = |checksum| gue::Gue { source_port: gue::source_port(7), port: 6080, checksum };
        let (outcome, overhead) = match kind {
            0 => (ipip::send(&mut frame, &parsed, &outer, &hop(1500), &mut id), ipip::OVERHEAD),
            1 | 2 => {
                let sum = kind == 2;
                (gre::send(&mut frame, &parsed, &outer, sum, &hop(1500), &mut id), gre::overhead(sum))
            }
            _ => (gue::send(&mut frame, &parsed, &outer, &gue(kind == 4), &hop(1500), &mut id), gue::OVERHEAD),
        };
        prop_assert_eq!(outcome, Outcome::Send);
        let sent = unwrap(&frame, sample.wrapping.0);
        prop_assert_eq!(&sent[usize::from(overhead)..], unwrap(&plain, sample.wrapping.0));
        let parsed_outer = parse(frame.bytes(), Checksums::Unknown);
        prop_assert!(!matches!(parsed_outer.kind, Kind::Malformed(_)));
        prop_assert_eq!(parsed_outer.frame_length(), frame.bytes().len());
        let header = ipv4::Ipv4::at(sent, 0).unwrap();
        let df = pmtu_disc && sample.ip.fragment != 0;
        prop_assert_eq!((header.ttl(), header.fragment() != 0), (sample.ip.ttl - 1, df));
        prop_assert_eq!((header.id(), id), if df { (0, first_id) } else { (first_id, first_id.wrapping_add(1)) });
        let sum = checksum::sum(&sent[20..]);
        match kind {
            2 => prop_assert!(checksum::good(sum)),
            4 => prop_assert!(checksum::good(sum + checksum::pseudo(header.addresses(), 17, (sent.len() - 20) as u16))),
            _ => {}
        }
    }

    #[test]
    fn fragments_put_together_are_the_packet(
        mut sample in sample(), mtu in 68u16..300, length in 0usize..1400, more in any::<bool>(), offset in 0u16..100,
    ) {
        sample.body.resize(length, 0x61);
        sample.options.extend([7, 3, 4, 1].repeat(sample.options.len() / 8));
        sample.ip.fragment = offset | if more { ipv4::MF } else { 0 };
        let bytes = sample.packet();
        let frame = wrap(&bytes, sample.wrapping);
        let l3 = 14 + sample.wrapping.0.len();
        let mut pool = MemPool::new(200);
        let mut pieces = Vec::new();
        prop_assert!(fragment::split(frame.bytes(), l3, mtu, &mut pool, |frame| pieces.push(frame)));
        let header = 20 + sample.options.len();
        let mut at = usize::from(offset) * 8;
        let mut whole: Vec<u8> = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            let packet = &piece.bytes()[l3..];
            prop_assert_eq!(&piece.bytes()[..l3], &frame.bytes()[..l3]);
            prop_assert!(packet.len() <= mtu.into());
            prop_assert!(checksum::good(checksum::sum(&packet[..header])));
            let ip = ipv4::Ipv4::at(packet, 0).unwrap();
            prop_assert_eq!(usize::from(ip.total_length()), packet.len());
            let last = index + 1 == pieces.len();
            prop_assert_eq!(ip.fragment() & ipv4::MF != 0, more || !last);
            prop_assert_eq!(usize::from(ip.fragment() & ipv4::OFFSET) * 8, at);
            prop_assert_eq!(ip.id(), sample.ip.id);
            prop_assert_eq!(packet[20..header] == sample.options[..], at == 0 || !sample.options.contains(&7));
            at += packet.len() - header;
            whole.extend(&packet[header..]);
        }
        prop_assert_eq!(&whole, &bytes[header..]);
        drop(pieces);
        prop_assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn no_frame_makes_a_rewriter_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..120), l3 in any::<u8>(), l4 in any::<u8>(), total_length in any::<u16>(),
        kind in 0usize..6, protocol in prop_oneof![Just(1u8), Just(6), Just(17), Just(132), any::<u8>()], near in any::<bool>(),
    ) {
        // What was parsed need not fit the frame.
        let near_by = |offset: u8, least: u8| if near { least + offset % 30 } else { offset };
        let parsed = Parsed {
            addresses: 0x0101_0102_0301_0203,
            ports: 0x0102_0304,
            total_length: if near { total_length % 130 } else { total_length },
            l3: near_by(l3, 10),
            l4: if l4 % 3 == 0 { 34 } else { near_by(l4, 30) },
            kind: [Kind::Tcp, Kind::Udp, Kind::Sctp, Kind::IcmpError, Kind::Fragment, Kind::Kernel][kind],
            protocol,
            flags: 0,
        };
        let frame = || MemFrame::new(&bytes);
        let nat = Nat::new(endpoint(VIP, 80), endpoint(SERVER, 80));
        let (hop, outer, mut id) = (hop(100), outer(true), 1);
        let sender = Sender { source: VIP.into(), id: 1, hop };
        let gue = gue::Gue { source_port: 1, port: 2, checksum: true };
        let outcomes = [
            dr::send(&mut frame(), &parsed, &hop),
            nat::request(&mut frame(), &parsed, &nat, &hop),
            nat::reply(&mut frame(), &parsed, &nat, &hop),
            ipip::send(&mut frame(), &parsed, &outer, &hop, &mut id),
            gre::send(&mut frame(), &parsed, &outer, true, &hop, &mut id),
            gue::send(&mut frame(), &parsed, &outer, &gue, &hop, &mut id),
        ];
        prop_assert!(bytes.len() >= 20 || outcomes.iter().all(|outcome| *outcome == Outcome::NoRoom));
        let message = Message::PortUnreachable;
        let _ = icmp_error::write(&mut frame(), &parsed, message, QuotedTtl::Decremented, &sender);
        let _ = reset::write(&mut frame(), &parsed, &hop);
        let _ = options::record(&mut frame(), &parsed, VIP.into(), 5);
        let mut pool = MemPool::new(1000);
        let _ = fragment::split(&bytes, parsed.l3.into(), 100, &mut pool, drop);
        if let Some(quote) = read_quote(&bytes, &parsed, |_| true) {
            let server = endpoint(SERVER, 80);
            let _ = quoted::to_server(&mut frame(), &parsed, &quote, server, &hop);
            let _ = quoted::to_client(&mut frame(), &parsed, &quote, server, &hop);
            let _ = quoted::from_tunnel(&mut frame(), &parsed, &quote, message, &sender);
        }
    }
}
