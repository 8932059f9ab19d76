//! Every packet that the recorded kernel rewrote, rewritten again and compared byte for byte. What is random in the
//! recording (identifications, GUE source ports, timestamps) is taken from it as a parameter.

use super::*;
use crate::parse::Parsed;
use crate::rewrite::gue::Gue;
use crate::rewrite::icmp_error::{Message, QuotedTtl, Sender};
use crate::rewrite::nat::Nat;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Deserialize)]
struct Recording {
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    tx: Option<String>,
    #[serde(default)]
    cmd: String,
    #[serde(default)]
    note: String,
    #[serde(default)]
    hex: String,
    #[serde(default)]
    rx: Vec<Received>,
}

#[derive(Deserialize)]
struct Received {
    hex: String,
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().map(|digit| (digit as char).to_digit(16).expect("hex") as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn read(path: &Path) -> Vec<Event> {
    let text = std::fs::read_to_string(path).expect("a readable recording");
    serde_json::from_str::<Recording>(&text).expect("a recording").events
}

fn u16_of(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// What a file and its commands say about how packets are forwarded.
struct Case<'a> {
    name: &'a str,
    /// The `ipvsadm -a` in force.
    destination: String,
    /// MTU towards the servers: the file's, until an ICMP error said less.
    mtu: u16,
}

impl Case<'_> {
    fn has(&self, flag: &str) -> bool {
        self.destination.split(' ').any(|word| word == flag)
    }
    fn pmtu_disc(&self) -> bool {
        !self.name.contains("pmtudisc0")
    }
}

/// Files about other things: rewriting of data, IPv6, the director's own addresses, routing by its kernel.
const OTHERS: [&str; 7] = ["ftp-", "v6-", "sync-", "localnode", "nat-nonlocal", "fwmark-nodest", "icmp-echo"];

#[test]
fn every_recorded_packet_is_rewritten_as_the_kernel_did() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/packets");
    let mut done = BTreeMap::new();
    for entry in folder.read_dir().expect("the corpus") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
        if path.extension().is_none_or(|kind| kind != "json") || OTHERS.iter().any(|other| name.starts_with(other)) {
            continue;
        }
        let mtu = if name.starts_with("mtu1400") { 1400 } else { 1500 };
        let mut case = Case { name: &name, destination: String::new(), mtu };
        for event in read(&path) {
            if event.cmd.starts_with("ipvsadm -a ") {
                case.destination = event.cmd.clone();
            }
            if event.tx.is_none() {
                continue;
            }
            for wrapping in WRAPPINGS {
                if let Some(what) = replay(&case, &event, wrapping) {
                    *done.entry(what).or_insert(0) += 1;
                }
            }
            if event.note.starts_with("frag needed about the outer") && !event.rx.is_empty() {
                case.mtu = 1300;
            }
        }
    }
    // A guard against a test that tests nothing: four wrappings of at least so many packets of each kind.
    for (what, least) in [
        ("dr", 60),
        ("nat request", 80),
        ("nat reply", 40),
        ("ipip", 60),
        ("gre", 8),
        ("gue", 8),
        ("icmp about a connection", 20),
        ("icmp about a tunnel", 6),
        ("time exceeded", 8),
        ("fragmentation needed", 20),
        ("port unreachable", 10),
        ("reset", 20),
        ("fragmented", 20),
        ("dropped", 4),
    ] {
        let count = done.get(what).copied().unwrap_or(0);
        assert!(count >= least * WRAPPINGS.len(), "{what}: only {count} of {done:?}");
    }
}

/// Does to the packet what the kernel was seen to do, and compares; names what that was.
fn replay(case: &Case<'_>, event: &Event, wrapping: (&[u8], usize)) -> Option<&'static str> {
    let from_client = event.tx.as_deref() == Some("ext");
    let (sent, received): (_, Vec<_>) = (unhex(&event.hex), event.rx.iter().map(|rx| unhex(&rx.hex)).collect());
    let mut frame = wrap(&sent, wrapping);
    let parsed = parse(frame.bytes(), Checksums::Unknown);
    let label = format!("{}: {} ({})", case.name, event.note, event.tx.as_deref().unwrap_or_default());
    let Some(expected) = received.first() else {
        if ["wrong IP header checksum", "lsrr"].contains(&event.note.as_str()) {
            assert!(matches!(parsed.kind, Kind::Malformed(Malformed::BadHeaderChecksum | Malformed::SourceRouted)));
            return Some("dropped");
        }
        if ["RST, no connection", "SYN+RST"].contains(&event.note.as_str()) {
            assert!(!reset::write(&mut frame, &parsed, &hop(1500)), "{label}");
            return Some("reset");
        }
        return None;
    };
    if matches!(parsed.kind, Kind::Kernel | Kind::Fragment) {
        return None;
    }
    if parsed.l4 > parsed.l3 + 20 {
        let time = u32::from_be_bytes(expected[expected.len() - 17..][..4].try_into().unwrap());
        assert!(options::record(&mut frame, &parsed, VIP.into(), time), "{label}");
    }
    let id = u16_of(expected, 4);
    let sender =
        Sender { source: Ipv4Addr::new(expected[12], expected[13], expected[14], expected[15]), id, hop: hop(1500) };

    // What the director says itself.
    if expected[9] == 1 && expected[1] == 0xc0 && parsed.kind != Kind::IcmpError {
        let method = |frame: &mut MemFrame| {
            if from_client { forward_request(case, frame, &parsed, expected) } else { forward_reply(frame, &parsed) }
        };
        let (what, message, ttl) = match (expected[20], expected[21]) {
            (11, 0) => {
                assert_eq!(method(&mut frame), Outcome::TimeExceeded, "{label}");
                ("time exceeded", Message::TimeExceeded, QuotedTtl::AsReceived)
            }
            (3, 4) => {
                let mtu = u16_of(expected, 26);
                assert_eq!(method(&mut frame), Outcome::FragmentationNeeded(mtu), "{label}");
                ("fragmentation needed", Message::FragmentationNeeded(mtu), QuotedTtl::Decremented)
            }
            (3, 3) if from_client => ("port unreachable", Message::PortUnreachable, QuotedTtl::AsReceived),
            (3, 3) => ("port unreachable", Message::PortUnreachable, QuotedTtl::Decremented),
            (3, 2) => return None, // the stack's answer to an unknown protocol
            other => panic!("{label}: {other:?}"),
        };
        assert!(icmp_error::write(&mut frame, &parsed, message, ttl, &sender), "{label}");
        assert_eq!(unwrap(&frame, wrapping.0), expected, "{label}");
        return Some(what);
    }
    if parsed.kind == Kind::Tcp && expected[9] == 6 && expected[12..16] == sent[16..20] && expected[8] == 64 {
        assert!(reset::write(&mut frame, &parsed, &hop(1500)), "{label}");
        assert_eq!(unwrap(&frame, wrapping.0), expected, "{label}");
        return Some("reset");
    }
    if parsed.kind == Kind::IcmpError && (!from_client || case.has("-m")) {
        return about_connection(frame, &parsed, expected, &sender, (&label, from_client, wrapping.0));
    }

    // What it forwards.
    if !from_client && expected[12..16] == sent[12..16] {
        return None; // a server's own packet, routed by the kernel
    }
    let (what, outcome) = if from_client || sent[16..20] == VIP {
        let what = match () {
            () if case.has("-m") => "nat request",
            () if case.has("gre") => "gre",
            () if case.has("gue") => "gue",
            () if case.has("-i") => "ipip",
            () => "dr",
        };
        (what, forward_request(case, &mut frame, &parsed, expected))
    } else {
        let nat = Nat::new(
            (parsed.source_bits(), parsed.source_port_bits()),
            endpoint(expected[12..16].try_into().unwrap(), u16_of(expected, 20)),
        );
        ("nat reply", nat::reply(&mut frame, &parsed, &nat, &hop(1500)))
    };
    if received.len() == 1 {
        assert_eq!(outcome, Outcome::Send, "{label}");
        assert_eq!(unwrap(&frame, wrapping.0), expected, "{label}");
        return Some(what);
    }
    assert_eq!(outcome, Outcome::Fragment, "{label}");
    let mut fragments = Vec::new();
    let l3 = parsed.l3.into();
    let all = fragment::split(frame.bytes(), l3, case.mtu, &mut MemPool::new(9), |frame| fragments.push(frame));
    assert!(all, "{label}");
    let fragments: Vec<_> = fragments.iter().map(|frame| unwrap(frame, wrapping.0)).collect();
    assert_eq!(fragments, received, "{label}");
    Some("fragmented")
}

/// Sends a request to the recorded server in the way of the case.
fn forward_request(case: &Case<'_>, frame: &mut MemFrame, parsed: &Parsed, expected: &[u8]) -> Outcome {
    let hop = hop(case.mtu);
    let mut outer = outer(case.pmtu_disc());
    let tunnelled = [4, 47].contains(&expected[9]) || case.has("gue") && expected[9] == 17;
    if tunnelled {
        outer.source = u32::from_ne_bytes(expected[12..16].try_into().unwrap());
        outer.destination = u32::from_ne_bytes(expected[16..20].try_into().unwrap());
    }
    let (mut id, counted) = (u16_of(expected, 4), u16_of(expected, 6) & ipv4::DF == 0);
    let first_id = id;
    let outcome = if case.has("-m") {
        let to = if expected[9] == parsed.protocol {
            let l4 = usize::from(expected[0] & 0xf) * 4;
            endpoint(expected[16..20].try_into().unwrap(), u16_of(expected, l4 + 2))
        } else {
            endpoint(SERVER, 80)
        };
        let nat = Nat::new((parsed.destination_bits(), parsed.destination_port_bits()), to);
        return nat::request(frame, parsed, &nat, &hop);
    } else if case.has("gre") {
        gre::send(frame, parsed, &outer, case.has("--tun-csum"), &hop, &mut id)
    } else if case.has("gue") {
        let with_checksum = case.has("--tun-csum") || case.has("--tun-remcsum");
        let gue = Gue { source_port: u16_of(expected, 20), port: 6080, checksum: with_checksum };
        gue::send(frame, parsed, &outer, &gue, &hop, &mut id)
    } else if case.has("-i") {
        ipip::send(frame, parsed, &outer, &hop, &mut id)
    } else {
        return dr::send(frame, parsed, &hop);
    };
    if tunnelled {
        assert_eq!(id, first_id.wrapping_add(u16::from(counted)), "{}: the counter", case.name);
    }
    outcome
}

fn forward_reply(frame: &mut MemFrame, parsed: &Parsed) -> Outcome {
    let nat = Nat::new((parsed.source_bits(), parsed.source_port_bits()), endpoint(VIP, 80));
    nat::reply(frame, parsed, &nat, &hop(1500))
}

/// An ICMP error about a connection, from either side, or about a tunnel.
fn about_connection(
    mut frame: MemFrame,
    parsed: &Parsed,
    expected: &[u8],
    sender: &Sender,
    (label, from_client, tags): (&str, bool, &[u8]),
) -> Option<&'static str> {
    let quote = read_quote(frame.bytes(), parsed, |_| false).expect("a quoted packet");
    assert!(crate::parse::icmp_checksum_good(frame.bytes(), parsed), "{label}");
    if quote.tunnel.is_some() {
        // The kernel goes by the route's MTU, which it has not lowered yet.
        let message = quoted::about_tunnel(&quote, Some(1500)).expect("a message");
        assert!(quoted::from_tunnel(&mut frame, parsed, &quote, message, sender), "{label}");
        assert_eq!(unwrap(&frame, tags), expected, "{label}");
        return Some("icmp about a tunnel");
    }
    let outcome = if from_client {
        let server = endpoint(expected[40..44].try_into().unwrap(), u16_of(expected, 48));
        quoted::to_server(&mut frame, parsed, &quote, server, &hop(1500))
    } else {
        let service = endpoint(expected[44..48].try_into().unwrap(), u16_of(expected, 50));
        quoted::to_client(&mut frame, parsed, &quote, service, &hop(1500))
    };
    assert_eq!(outcome, Outcome::Send, "{label}");
    assert_eq!(unwrap(&frame, tags), expected, "{label}");
    Some("icmp about a connection")
}
