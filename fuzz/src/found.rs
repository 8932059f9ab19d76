//! What was found broken, one test each.

use crate::check::{Leaving, l3};
use crate::frames::Packet;
use crate::world::{GATEWAY, MACS, Sizes, World, lock};
use control::console::Outcome;
use forwarder::clock::Tick;
use forwarder::pipeline::DropReason;
use packet_io::Frame as _;

const CLIENT: [u8; 4] = [172, 16, 0, 10];
const VIP: [u8; 4] = [10, 0, 0, 100];
const TWO: [u8; 4] = [192, 168, 1, 2];
const SYN: u8 = 0x02;
const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;

fn world() -> World {
    world_with(100, 1500)
}

/// With so many frames in all, and this MTU of the port to the servers.
fn world_with(frames: usize, mtu: u16) -> World {
    let sizes = Sizes {
        workers: 1,
        slots: 64,
        templates: 32,
        frames,
        mtu: [1500, mtu],
        now: Tick(0),
        seed: 1,
        together: false,
    };
    let mut world = World::new(&sizes);
    world.neighbour(1, TWO.into(), Some(Some([2, 1, 0, 0, 0, 2])));
    world.neighbour(0, CLIENT.into(), Some(Some([2, 1, 0, 0, 0, 10])));
    world.neighbour(0, GATEWAY, Some(Some([2, 1, 0, 0, 0, 0xfe])));
    world
}

fn say(world: &mut World, lines: &[&str]) {
    for line in lines {
        assert_eq!(world.say(line), (Outcome::Done, String::new()), "{line}");
    }
}

fn tcp(source: ([u8; 4], u16), destination: ([u8; 4], u16), flags: u8) -> Packet {
    let mut segment = [source.1.to_be_bytes(), destination.1.to_be_bytes()].concat();
    segment.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    Packet { protocol: 6, source: source.0, destination: destination.0, ..Packet::default() }.sealed(segment)
}

/// One packet comes in by a port: what leaves because of it, port and IPv4 packet.
fn pass(world: &mut World, port: u16, packet: &Packet) -> Vec<(u16, Vec<u8>)> {
    let frame = packet.frame(MACS[usize::from(port)], [2, 1, 0, 0, 1, 1]);
    let frame = lock(&world.pool).frame(&frame).expect("a frame");
    world.lcore.lock().workers[0].receive_queue(port).expect("a port").frames.push_back(frame);
    world.turn();
    let sent = world.sent();
    for (_, frame) in &sent {
        Leaving::default().frame(frame, true).expect("right checksums");
    }
    sent.into_iter().map(|(port, frame)| (port, frame[l3(&frame).expect("IPv4")..].to_vec())).collect()
}

fn from_client(port: u16, flags: u8) -> Packet {
    tcp((CLIENT, port), (VIP, 80), flags)
}

/// Destination address and port of the only packet that left.
fn went_to(sent: &[(u16, Vec<u8>)]) -> ([u8; 4], u16) {
    let [(_, packet)] = sent else { panic!("one packet should leave, not {sent:02x?}") };
    assert_eq!((packet[0], packet[9]), (0x45, 6), "{packet:02x?}");
    (packet[16..20].try_into().unwrap(), u16::from_be_bytes([packet[22], packet[23]]))
}

/// A worker that was late for a snapshot, and never saw the one in which a service came, had no scheduler for it.
#[test]
fn a_worker_that_skipped_a_snapshot_schedules_all_the_same() {
    let mut world = world();
    world.lcore.lock().stubborn = true;
    for line in ["-A -t 10.0.0.100:80 -s wrr", "-a -t 10.0.0.100:80 -r 192.168.1.2:80 -m"] {
        let (_, text) = world.say(line);
        assert!(text.contains("worker"), "{text}");
    }
    world.neighbour(1, [192, 168, 1, 3].into(), Some(None));
    assert_eq!(went_to(&pass(&mut world, 0, &from_client(1000, SYN))), (TWO, 80));
}

/// A server that is added back with a higher threshold is taken back at once (ip_vs_update_dest), as one that is edited.
#[test]
fn a_server_that_comes_back_with_a_higher_threshold_serves() {
    let mut world = world();
    say(&mut world, &["-A -t 10.0.0.100:80 -s rr", "-a -t 10.0.0.100:80 -r 192.168.1.2:80 -m -x 1"]);
    assert_eq!(went_to(&pass(&mut world, 0, &from_client(1000, SYN))), (TWO, 80));
    pass(&mut world, 0, &from_client(1001, SYN));
    assert_eq!(world.stats[0].drops[DropReason::NoDestination as usize].get(), 1, "the threshold is reached");
    say(&mut world, &["-d -t 10.0.0.100:80 -r 192.168.1.2:80", "-a -t 10.0.0.100:80 -r 192.168.1.2:80 -m -x 3"]);
    assert_eq!(went_to(&pass(&mut world, 0, &from_client(1002, SYN))), (TWO, 80));
    say(&mut world, &["-e -t 10.0.0.100:80 -r 192.168.1.2:80 -m -x 2"]);
    assert_eq!(went_to(&pass(&mut world, 0, &from_client(1003, SYN))), (TWO, 80), "the mark comes with a connection");
    pass(&mut world, 0, &from_client(1004, SYN));
    assert_eq!(world.stats[0].drops[DropReason::NoDestination as usize].get(), 2);
}

/// A datagram from the client, in two fragments.
fn fragments(source: ([u8; 4], u16), destination: ([u8; 4], u16), id: u16) -> [Packet; 2] {
    let mut datagram = [source.1.to_be_bytes(), destination.1.to_be_bytes(), [0, 40], [0, 0]].concat();
    datagram.resize(40, 0x5a);
    let whole = Packet { protocol: 17, id, source: source.0, destination: destination.0, ..Packet::default() };
    let whole = whole.sealed(datagram);
    let (first, second) = whole.payload.split_at(24);
    [(0x2000, first), (3, second)].map(|(fragment, piece)| Packet {
        fragment,
        payload: piece.to_vec(),
        ..whole.clone()
    })
}

/// The answer to a packet whose fragments came by two ports left by one port to a MAC address of the other.
#[test]
fn fragments_of_several_ports_are_answered_where_the_first_came_from() {
    let mut world = world();
    say(&mut world, &["-A -u 10.0.0.100:53 -s rr"]);
    let [first, second] = fragments(([172, 16, 0, 77], 1000), (VIP, 53), 9);
    assert!(pass(&mut world, 0, &first).is_empty());
    let sent = pass(&mut world, 1, &second);
    assert_eq!((sent.len(), sent[0].0, sent[0].1[9]), (1, 0, 1), "port unreachable, by port 0: {sent:02x?}");
}

/// The director as its own real server got the fragments of a datagram as they came, with the virtual address.
#[test]
fn fragments_for_the_director_itself_are_translated() {
    let mut world = world();
    say(&mut world, &["-A -u 10.0.0.100:53 -s rr", "-a -u 10.0.0.100:53 -r 172.16.0.1:5353 -m"]);
    for fragment in fragments((CLIENT, 1000), (VIP, 53), 9) {
        assert!(pass(&mut world, 0, &fragment).is_empty());
    }
    let got = std::mem::take(&mut world.lcore.lock().workers[0].kernel_link().got);
    assert_eq!((got.len(), world.stats[0].to_kernel.get()), (2, 2));
    let mut leaving = Leaving::default();
    for (port, frame) in &got {
        leaving.frame(frame.bytes(), true).expect("right checksums");
        assert_eq!((*port, &frame.bytes()[30..34]), (0, &[172, 16, 0, 1][..]));
    }
    assert_eq!(got[0].1.bytes()[36..38], 5353u16.to_be_bytes());
}

/// Connections keep the forwarding method they began with, in both directions.
#[test]
fn connections_of_a_server_that_was_nats_are_still_masqueraded() {
    let mut world = world();
    say(&mut world, &["-A -t 10.0.0.100:80 -s rr", "-a -t 10.0.0.100:80 -r 192.168.1.2:80 -m"]);
    assert_eq!(went_to(&pass(&mut world, 0, &from_client(1000, SYN))), (TWO, 80));
    say(&mut world, &["-e -t 10.0.0.100:80 -r 192.168.1.2:80 -g"]);
    let reply = pass(&mut world, 1, &tcp((TWO, 80), (CLIENT, 1000), SYN_ACK));
    assert_eq!(went_to(&reply), (CLIENT, 1000));
    assert_eq!(reply[0].1[12..16], VIP, "the reply comes from the virtual address");
    assert_eq!(went_to(&pass(&mut world, 0, &from_client(1000, ACK))), (TWO, 80));
    assert_eq!(
        went_to(&pass(&mut world, 0, &from_client(1001, SYN))),
        (VIP, 80),
        "a new connection is routed directly"
    );
}

/// A port whose kernel interface was taken away answered from the MAC address 00:00:00:00:00:00.
#[test]
fn a_port_without_a_mac_address_answers_nobody() {
    let mut world = world();
    say(&mut world, &["-A -t 10.0.0.100:80 -s rr", "-a -t 10.0.0.100:80 -r 192.168.1.2:80 -m"]);
    assert_eq!(pass(&mut world, 0, &from_client(1000, ACK)).len(), 1, "a reset");
    world.port_gone(0);
    assert_eq!(pass(&mut world, 0, &from_client(1000, ACK)), []);
    assert_eq!(world.stats[0].drops[DropReason::NoConnection as usize].get(), 2);
}

/// An error about a tunnel's outer packet went to the router that complained while the client was not resolved.
#[test]
fn errors_about_tunnels_go_to_clients_only() {
    let mut world = world();
    say(&mut world, &["-A -t 10.0.0.100:80 -s rr", "-a -t 10.0.0.100:80 -r 192.168.1.2:80 -i"]);
    let sent = pass(&mut world, 0, &from_client(1000, SYN));
    assert_eq!((sent.len(), sent[0].1[9]), (1, 4), "IPIP: {sent:02x?}");
    let mut message = vec![3, 1, 0, 0, 0, 0, 0, 0];
    message.extend(&sent[0].1);
    let source = [192, 168, 1, 254];
    let error = Packet { protocol: 1, source, destination: [192, 168, 1, 1], ..Packet::default() }.sealed(message);
    let told = pass(&mut world, 1, &error);
    assert_eq!((told.len(), told[0].0, &told[0].1[16..20]), (1, 0, &CLIENT[..]), "{told:02x?}");
    world.neighbour(0, CLIENT.into(), Some(None));
    assert_eq!(pass(&mut world, 1, &error), []);
    assert_eq!(world.stats[0].drops[DropReason::Unresolved as usize].get(), 1);
}

/// Whoever forged a source could make the director flood it with ICMP errors.
#[test]
fn errors_are_sent_at_a_bounded_rate() {
    let mut world = world();
    say(&mut world, &["-A -t 10.0.0.100:80 -s rr"]);
    let told = |world: &mut World| -> usize {
        (0..11_000).map(|port| pass(world, 0, &tcp(([203, 0, 113, 1], port), (VIP, 80), SYN)).len()).sum()
    };
    assert_eq!(told(&mut world), 10_000, "a burst");
    world.pass(1);
    assert_eq!(told(&mut world), 10, "a tick's worth of 1000 a second");
    assert_eq!(world.stats[0].drops[DropReason::NoDestination as usize].get(), 22_000);
}

/// A packet of which the last fragments found no frame counted as forwarded, and its first fragments left.
#[test]
fn a_packet_leaves_in_all_its_fragments_or_in_none() {
    for (frames, fragments) in [(3, 0), (4, 3)] {
        let mut world = world_with(frames, 576);
        say(&mut world, &["-A -u 10.0.0.100:53 -s rr", "-a -u 10.0.0.100:53 -r 192.168.1.2:53 -m"]);
        let mut datagram = [1000u16, 53, 1400, 0].map(u16::to_be_bytes).concat();
        datagram.resize(1400, 0x5a);
        let packet = Packet { protocol: 17, source: CLIENT, destination: VIP, ..Packet::default() }.sealed(datagram);
        assert_eq!(pass(&mut world, 0, &packet).len(), fragments);
        let stats = &world.stats[0];
        let dropped = stats.drops[DropReason::NoBuffer as usize].get();
        assert_eq!((stats.forwarded.get(), dropped), if fragments == 0 { (0, 1) } else { (1, 0) });
    }
}

/// Of a packet that waited for its server's MAC address in more fragments than it came in, the others were lost.
#[test]
fn a_packet_waits_in_all_its_fragments() {
    let mut world = world_with(100, 576);
    world.neighbour(1, TWO.into(), Some(None));
    say(&mut world, &["-A -u 10.0.0.100:53 -s rr", "-a -u 10.0.0.100:53 -r 192.168.1.2:53 -m"]);
    let mut datagram = [1000u16, 53, 1400, 0].map(u16::to_be_bytes).concat();
    datagram.resize(1400, 0x5a);
    let packet = Packet { protocol: 17, source: CLIENT, destination: VIP, ..Packet::default() }.sealed(datagram);
    assert_eq!(pass(&mut world, 0, &packet), []);
    assert_eq!(world.sum(|stats| stats.held.get()), 1, "one came");
    world.neighbour(1, TWO.into(), Some(Some([2, 1, 0, 0, 0, 2])));
    world.turn();
    assert_eq!((world.sent().len(), world.stats[0].forwarded.get(), world.stats[0].held.get()), (3, 1, 0));
}
