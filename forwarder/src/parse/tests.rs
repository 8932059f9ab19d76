use super::*;
use crate::wire::ipv4::New;
use proptest::prelude::*;

const CLIENT: [u8; 4] = [10, 9, 8, 1];
const VIP: [u8; 4] = [172, 16, 0, 1];

/// An untagged frame with an IPv4 packet; `options` are a multiple of 4 bytes.
fn frame(protocol: u8, fragment: u16, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let header = 20 + options.len();
    let new = New {
        tos: 0,
        total_length: (header + payload.len()) as u16,
        id: 7,
        fragment,
        ttl: 64,
        protocol,
        source: u32::from_ne_bytes(CLIENT),
        destination: u32::from_ne_bytes(VIP),
    };
    let mut frame = [2, 0, 0, 0, 0, 0xfe, 2, 0, 0, 0, 0, 1, 8, 0].to_vec();
    frame.extend(new.bytes());
    frame.extend(options);
    frame[14] = 0x40 | (header / 4) as u8;
    ipv4::seal(&mut frame[14..]);
    frame.extend(payload);
    frame
}

/// The first bytes of any transport: ports 1024 and 80.
fn payload(length: usize) -> Vec<u8> {
    let mut payload = vec![4, 0, 0, 80];
    payload.resize(length, 0);
    if length > 13 {
        payload[13] = tcp::flags::SYN;
    }
    payload
}

fn tagged(mut frame: Vec<u8>, tags: &[[u8; 4]]) -> Vec<u8> {
    frame.splice(12..12, tags.concat());
    frame
}

fn kind(frame: &[u8]) -> Kind {
    parse(frame, Checksums::Unknown).kind
}

#[test]
fn a_segment_is_read_to_its_last_field() {
    let bytes = frame(6, ipv4::DF, &[], &payload(20));
    let parsed = parse(&bytes, Checksums::Unknown);
    assert_eq!(parsed.kind, Kind::Tcp);
    assert_eq!((parsed.l3, parsed.l4, parsed.total_length, parsed.protocol), (14, 34, 40, 6));
    assert_eq!((parsed.source(), parsed.destination()), (CLIENT.into(), VIP.into()));
    assert_eq!((parsed.source_port(), parsed.destination_port(), parsed.flags), (1024, 80, tcp::flags::SYN));
    assert!(parsed.is_plain());
    let request = parsed.source_endpoint();
    let mut swapped = parsed;
    swapped.addresses = swapped.addresses.rotate_left(32);
    swapped.ports = swapped.ports.rotate_left(16);
    assert_eq!(swapped.destination_endpoint(), request);
    assert_ne!(swapped.source_endpoint(), request);
}

#[test]
fn every_kind_has_its_frames() {
    let rows: &[(&str, Vec<u8>, Kind)] = &[
        ("tcp", frame(6, 0, &[], &payload(20)), Kind::Tcp),
        ("udp, 42 bytes", frame(17, 0, &[], &payload(8)), Kind::Udp),
        ("udp", frame(17, 0, &[], &payload(100)), Kind::Udp),
        ("sctp", frame(132, 0, &[], &payload(12)), Kind::Sctp),
        ("tcp with options", frame(6, 0, &[1, 1, 1, 1], &payload(20)), Kind::Tcp),
        ("tagged tcp", tagged(frame(6, 0, &[], &payload(20)), &[[0x81, 0, 0, 9]]), Kind::Tcp),
        ("doubly tagged", tagged(frame(6, 0, &[], &payload(20)), &[[0x88, 0xa8, 0, 9], [0x81, 0, 0, 1]]), Kind::Tcp),
        ("three tags", tagged(frame(6, 0, &[], &payload(20)), &[[0x81, 0, 0, 9]; 3]), Kind::Kernel),
        ("port unreachable", frame(1, 0, &[], &[3, 3, 0, 0, 0, 0, 0, 0]), Kind::IcmpError),
        ("source quench", frame(1, 0, &[], &[4, 0, 0, 0, 0, 0, 0, 0]), Kind::IcmpError),
        ("time exceeded", frame(1, 0, &[], &[11, 0, 0, 0, 0, 0, 0, 0]), Kind::IcmpError),
        ("echo", frame(1, 0, &[], &[8, 0, 0, 0, 0, 0, 0, 0]), Kind::Kernel),
        ("redirect", frame(1, 0, &[], &[5, 1, 0, 0, 0, 0, 0, 0]), Kind::Kernel),
        ("parameter problem", frame(1, 0, &[], &[12, 0, 0, 0, 0, 0, 0, 0]), Kind::Kernel),
        ("gre", frame(47, 0, &[], &[0; 30]), Kind::Kernel),
        ("first fragment", frame(17, ipv4::MF, &[], &payload(8)), Kind::Fragment),
        ("later fragment", frame(6, 3, &[], &[1; 3]), Kind::Fragment),
        ("fragment of gre", frame(47, 3, &[], &[1; 30]), Kind::Kernel),
        ("fragment of echo", frame(1, ipv4::MF, &[], &[8; 16]), Kind::Fragment),
        ("short tcp", frame(6, 0, &[], &payload(19)), Kind::Malformed(Malformed::ShortTransport)),
        ("short udp", frame(17, 0, &[], &payload(7)), Kind::Malformed(Malformed::ShortTransport)),
        ("short sctp", frame(132, 0, &[], &payload(11)), Kind::Malformed(Malformed::ShortTransport)),
        ("short icmp", frame(1, 0, &[], &[3, 3, 0, 0]), Kind::Malformed(Malformed::ShortTransport)),
        ("tiny first fragment", frame(6, ipv4::MF, &[], &[0; 16]), Kind::Malformed(Malformed::ShortTransport)),
        ("ping of death", frame(1, 0x1fff, &[], &[0; 8]), Kind::Malformed(Malformed::FragmentTooLong)),
        (
            "loose source route",
            frame(17, 0, &[131, 7, 4, 10, 0, 0, 1, 0], &payload(9)),
            Kind::Malformed(Malformed::SourceRouted),
        ),
        ("strict source route", frame(17, 0, &[1, 137, 3, 4], &payload(9)), Kind::Malformed(Malformed::SourceRouted)),
        ("bad option", frame(17, 0, &[7, 9, 4, 0], &payload(9)), Kind::Malformed(Malformed::BadOptions)),
        ("empty", vec![], Kind::Malformed(Malformed::ShortFrame)),
        ("13 bytes", vec![0; 13], Kind::Malformed(Malformed::ShortFrame)),
        ("arp", [&[0xff; 12][..], &[8, 6], &[0; 46]].concat(), Kind::Kernel),
        ("ipv6", [&[2; 12][..], &[0x86, 0xdd], &[0x60; 46]].concat(), Kind::Kernel),
    ];
    for (name, frame, expected) in rows {
        assert_eq!(kind(frame), *expected, "{name}");
    }
}

#[test]
fn every_broken_header_has_a_name() {
    let good = frame(17, 0, &[], &payload(30));
    let broken = |at: usize, byte: u8, sealed: bool| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        if sealed {
            ipv4::seal(&mut bytes[14..34]);
        }
        kind(&bytes)
    };
    assert_eq!(broken(14, 0x65, true), Kind::Malformed(Malformed::BadVersion));
    assert_eq!(broken(14, 0x44, true), Kind::Malformed(Malformed::BadHeaderLength));
    assert_eq!(broken(14, 0x4f, true), Kind::Malformed(Malformed::BadHeaderLength));
    assert_eq!(broken(17, 19, true), Kind::Malformed(Malformed::BadTotalLength));
    assert_eq!(broken(17, 51, true), Kind::Malformed(Malformed::BadTotalLength));
    assert_eq!(broken(16, 255, true), Kind::Malformed(Malformed::BadTotalLength));
    assert_eq!(broken(22, 63, false), Kind::Malformed(Malformed::BadHeaderChecksum));
    assert_eq!(kind(&good[..33]), Kind::Malformed(Malformed::ShortHeader));
    assert_eq!(broken(0, 1, false), Kind::Kernel, "a multicast frame");
    let mut damaged = good.clone();
    damaged[24] ^= 1;
    assert_eq!(parse(&damaged, Checksums::Ipv4Good).kind, Kind::Udp, "the NIC has looked");
}

#[test]
fn padding_is_told_from_the_packet() {
    let mut bytes = frame(17, 0, &[], &payload(9));
    bytes.resize(60, 0xaa);
    let parsed = parse(&bytes, Checksums::Unknown);
    assert_eq!((parsed.kind, parsed.frame_length()), (Kind::Udp, 43));
}

#[test]
fn a_fragment_says_its_place() {
    let bytes = frame(17, ipv4::MF | 185, &[1, 1, 1, 1], &payload(16));
    let parsed = parse(&bytes, Checksums::Unknown);
    assert_eq!((parsed.kind, parsed.ports), (Kind::Fragment, 0));
    let piece = fragment(&bytes, &parsed).expect("an IP header");
    assert_eq!(piece, Fragment { id: 7, offset: 1480, length: 16, more: true, df: false });
    let first = frame(6, ipv4::MF, &[], &payload(24));
    let parsed = parse(&first, Checksums::Unknown);
    assert_eq!((parsed.destination_port(), parsed.flags), (80, 0));
}

#[test]
fn a_quoted_packet_is_read_from_four_bytes_of_transport() {
    let inner = &frame(6, ipv4::DF, &[], &payload(20))[14..];
    let error = |quote: &[u8]| frame(1, 0, &[], &[&[3, 4, 0, 0, 0, 0, 5, 0x14], quote].concat());
    let bytes = error(&inner[..24]);
    let parsed = parse(&bytes, Checksums::Unknown);
    let quote = quoted(&bytes, &parsed, |_| false).expect("a quoted packet");
    assert_eq!((quote.mtu(), quote.is_fragmentation_needed(), quote.df), (1300, true, true));
    assert_eq!((quote.l3, quote.l4, quote.protocol, quote.tunnel), (42, 62, 6, None));
    assert_eq!(quote.as_parsed().destination_port(), 80);
    let short = error(&inner[..23]);
    assert_eq!(quoted(&short, &parse(&short, Checksums::Unknown), |_| false), None);
    // Padding is not part of the quote.
    let mut padded = short;
    padded.extend([0; 20]);
    assert_eq!(quoted(&padded, &parse(&padded, Checksums::Unknown), |_| false), None);
}

#[test]
fn a_quoted_tunnel_packet_is_looked_into() {
    let inner = frame(6, ipv4::DF, &[], &payload(20))[14..].to_vec();
    let gue = [&[0xd3, 0x93, 0x17, 0xc0, 0, 52, 0, 0, 0, 4, 0, 0][..], &inner].concat();
    let gre = [&[0, 0, 8, 0][..], &inner].concat();
    let gre_checksum = [&[0x80, 0, 8, 0, 1, 2, 0, 0][..], &inner].concat();
    for (protocol, payload, overhead, port) in
        [(4u8, &inner, 20, 0), (17, &gue, 32, 6080), (47, &gre, 24, 0), (47, &gre_checksum, 28, 0)]
    {
        let outer = frame(protocol, ipv4::DF, &[], payload);
        let bytes = frame(1, 0, &[], &[&[11, 0, 0, 0, 0, 0, 0, 0], &outer[14..]].concat());
        let quote = quoted(&bytes, &parse(&bytes, Checksums::Unknown), |port| port == 6080).expect("a quoted packet");
        let tunnel = quote.tunnel.expect("a tunnel");
        assert_eq!((tunnel.protocol, tunnel.port), (protocol, port));
        assert_eq!((quote.l3, quote.protocol), (42 + overhead, 6));
        assert_eq!(quote.as_parsed().destination_port(), 80);
    }
    // UDP to another port is just a datagram.
    let outer = frame(17, 0, &[], &gue);
    let bytes = frame(1, 0, &[], &[&[11, 0, 0, 0, 0, 0, 0, 0], &outer[14..]].concat());
    let quote = quoted(&bytes, &parse(&bytes, Checksums::Unknown), |_| false).expect("a quoted packet");
    assert_eq!((quote.tunnel, quote.protocol), (None, 17));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), ip in any::<bool>(), first in any::<u8>()) {
        if ip && bytes.len() > 14 {
            bytes[12..14].copy_from_slice(&[8, 0]);
            bytes[14] = first;
        }
        for checksums in [Checksums::Unknown, Checksums::Ipv4Good] {
            let parsed = parse(&bytes, checksums);
            let _ = (fragment(&bytes, &parsed), quoted(&bytes, &parsed, |_| true), icmp_checksum_good(&bytes, &parsed));
            if matches!(parsed.kind, Kind::Tcp | Kind::Udp | Kind::Sctp | Kind::IcmpError | Kind::Fragment) {
                prop_assert!(parsed.l4 >= parsed.l3 + 20 && parsed.frame_length() <= bytes.len());
                prop_assert!(usize::from(parsed.l4) <= parsed.frame_length());
            }
        }
    }

    #[test]
    fn the_quick_way_and_the_long_way_agree(
        udp in any::<bool>(), fragment in prop_oneof![Just(0), Just(ipv4::DF), any::<u16>()],
        length in 0usize..60, padding in 0usize..30, flips in proptest::collection::vec((0usize..60, any::<u8>()), 0..2),
        good in any::<bool>(),
    ) {
        let mut bytes = frame(if udp { 17 } else { 6 }, fragment, &[], &vec![0x5a; length]);
        bytes.resize(bytes.len() + padding, 0);
        for (at, byte) in flips {
            if let Some(old) = bytes.get_mut(at) {
                *old = byte;
            }
        }
        let checksums = if good { Checksums::Ipv4Good } else { Checksums::Unknown };
        prop_assert_eq!(parse(&bytes, checksums), general(&bytes, checksums));
    }
}
