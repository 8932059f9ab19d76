//! Whose a frame is.

use crate::packets::{ACK, RST, SYN, data, datagram, endpoints, ip, tcp, udp, unreachable};
use crate::rig::{FULL, INSIDE, OUTSIDE, Queues, Rig, SECOND};
use forwarder::pipeline::DropReason;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};

pub const VIP: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 1);
const NAT: &str = "
    -A -u 172.16.0.1:53 -s rr
    -a -u 172.16.0.1:53 -r 192.168.1.2:5353 -m
    -a -u 172.16.0.1:53 -r 192.168.1.3:5353 -m
    -a -u 172.16.0.1:53 -r 192.168.1.4:5353 -m
    -A -t 172.16.0.1:80 -s wlc
    -a -t 172.16.0.1:80 -r 192.168.1.2:80 -m
    -a -t 172.16.0.1:80 -r 192.168.1.3:80 -m
";

pub fn client(number: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 9, (number >> 8) as u8, number as u8), 40_000 + number)
}

pub fn service(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(VIP, port)
}

#[test]
fn a_connection_has_one_owner_whatever_queues_its_packets_come_by() {
    for workers in 2..=4 {
        let mut rig = Rig::new(&vec![FULL; workers]);
        rig.ipvsadm(NAT);
        for number in 0..100u16 {
            let client = client(number);
            let request = |flags| tcp(client, service(80), flags, b"");
            let sent = rig.send(usize::from(number) % workers, OUTSIDE, &request(SYN));
            let [(INSIDE, packet)] = &sent[..] else { panic!("{sent:?}") };
            let (_, server) = endpoints(packet, 0);
            for queue in 0..workers {
                let sent = rig.send(queue, OUTSIDE, &request(ACK));
                assert_eq!(endpoints(&sent[0].1, 0), (client, server));
                let sent = rig.send(queue, INSIDE, &tcp(server, client, SYN | ACK, b""));
                assert_eq!((sent[0].0, endpoints(&sent[0].1, 0)), (OUTSIDE, (service(80), client)));
            }
        }
        let owners: HashSet<_> = rig.connections().iter().map(|(worker, _)| *worker).collect();
        assert_eq!((rig.connections().len(), owners.len()), (100, workers));
        rig.check_identities();
    }
}

/// Two services with one real server, and a client that talks from one port to both: to the server it is one and the same
/// peer. As in the kernel, whose lists are searched from the newest on, a reply belongs to the newest connection.
#[test]
fn a_reply_belongs_to_the_newest_of_the_connections_that_it_may_be_of() {
    let mut rig = Rig::new(&[FULL; 2]);
    for port in [80, 8080, 8081] {
        rig.ipvsadm(&format!("-A -t 172.16.0.1:{port} -s rr\n-a -t 172.16.0.1:{port} -r 192.168.1.2:80 -m"));
    }
    for number in 0..100 {
        let (client, server) = (client(number), SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 2), 80));
        for port in [80, 8080, 8081] {
            rig.send(0, OUTSIDE, &tcp(client, service(port), SYN, b""));
            for flags in [SYN | ACK, ACK] {
                let sent = rig.send(1, INSIDE, &tcp(server, client, flags, b""));
                assert_eq!(endpoints(&sent[0].1, 0), (service(port), client), "client {number}");
                rig.send(0, OUTSIDE, &tcp(client, service(port), ACK, b""));
            }
        }
        // The others are still found by their requests.
        let sent = rig.send(0, OUTSIDE, &tcp(client, service(80), ACK, b""));
        assert_eq!(endpoints(&sent[0].1, 0), (client, server));
    }
    assert_eq!(rig.connections().len(), 300);
    rig.audit();
    rig.check_identities();
}

/// The older connection was met already when the newer one came, and the newer one found a place that is looked at first.
#[test]
fn a_reply_in_the_burst_of_a_newer_connections_first_packet_belongs_to_it() {
    let mut rig = Rig::new(&[FULL]);
    for (port, server) in [(79, 3), (80, 2), (8080, 2)] {
        rig.ipvsadm(&format!("-A -t 172.16.0.1:{port} -s rr\n-a -t 172.16.0.1:{port} -r 192.168.1.{server}:80 -m"));
    }
    let server = |last| SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, last), 80);
    // As many as let a worker look for all of a burst's connections before it decides about the first packet.
    for client in (0..200).map(client) {
        for (port, last) in [(79, 3), (80, 2)] {
            rig.send(0, OUTSIDE, &tcp(client, service(port), SYN, b""));
            rig.send(0, INSIDE, &tcp(server(last), client, SYN | ACK, b""));
            rig.send(0, OUTSIDE, &tcp(client, service(port), ACK, b""));
        }
        rig.send(0, OUTSIDE, &tcp(client, service(79), RST, b""));
    }
    rig.wait(12 * SECOND);
    assert_eq!(rig.connections().len(), 200);
    for client in (0..200).map(client) {
        rig.receive(0, INSIDE, &tcp(client, service(8080), SYN, b""));
        rig.receive(0, INSIDE, &tcp(server(2), client, ACK, b"data"));
        let sent = rig.settle();
        assert_eq!(endpoints(&sent[0].1, 0), (service(8080), client), "{sent:?}");
        // The older one is where its client finds it.
        let sent = rig.send(0, OUTSIDE, &tcp(client, service(80), ACK, b""));
        assert_eq!(endpoints(&sent[0].1, 0), (client, server(2)));
    }
    assert_eq!((rig.connections().len(), rig.sum(|stats| &stats.created)), (400, 600));
    rig.audit();
}

#[test]
fn icmp_errors_find_the_owner_of_what_they_quote() {
    let mut rig = Rig::new(&[FULL; 4]);
    rig.ipvsadm(NAT);
    for number in 0..40 {
        let client = client(number);
        let sent = rig.send(0, OUTSIDE, &udp(client, service(53), b"?"));
        let (_, server) = endpoints(&sent[0].1, 0);
        let router = Ipv4Addr::new(10, 5, 5, 5);
        for queue in 0..4 {
            // The client's side complains about a reply; its server hears of it.
            let reply = udp(service(53), client, b"!");
            let sent = rig.send(queue, OUTSIDE, &unreachable(router, VIP, &reply));
            assert_eq!((sent[0].0, endpoints(&sent[0].1, 28)), (INSIDE, (server, client)), "client {number}");
            // The server's side complains about a request; its client hears of it.
            let request = udp(client, server, b"?");
            let sent = rig.send(queue, INSIDE, &unreachable(*server.ip(), *client.ip(), &request));
            assert_eq!((sent[0].0, endpoints(&sent[0].1, 28)), (OUTSIDE, (client, service(53))), "client {number}");
            // About no connection: the kernel's.
            let stranger = udp(service(53), SocketAddrV4::new(*client.ip(), 1), b"!");
            assert_eq!(rig.send(queue, OUTSIDE, &unreachable(router, VIP, &stranger)), []);
            assert_eq!(rig.to_kernel().len(), 1);
        }
    }
    rig.check_identities();
}

#[test]
fn a_real_server_is_a_client_too() {
    let mut rig = Rig::new(&[FULL; 4]);
    rig.ipvsadm(NAT);
    for port in 0..100 {
        let own = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 9), 50_000);
        let server = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 3), 50_000 + port);
        for queue in 0..4 {
            let sent = rig.send(queue, INSIDE, &tcp(server, service(80), SYN, b""));
            assert_eq!(endpoints(&sent[0].1, 0).0, server);
            // Not to a service: the kernel forwards it.
            assert_eq!(rig.send(queue, INSIDE, &tcp(server, own, SYN, b"")), []);
            assert_eq!(rig.to_kernel().len(), 1);
        }
    }
    assert_eq!(rig.connections().len(), 100);
    rig.check_identities();
}

#[test]
fn frames_of_no_service_are_decided_where_they_arrive() {
    let mut rig = Rig::new(&[FULL; 3]);
    rig.ipvsadm(NAT);
    let elsewhere = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 22);
    for port in 0..300 {
        let client = SocketAddrV4::new(*client(0).ip(), 1024 + port);
        rig.receive(usize::from(port) % 3, OUTSIDE, &tcp(client, elsewhere, SYN, b""));
    }
    rig.settle();
    assert_eq!((rig.to_kernel().len(), rig.sum(|stats| &stats.handed_out)), (300, 0));
    rig.check_identities();
}

#[test]
fn connections_of_a_deleted_service_are_still_their_owners() {
    let mut rig = Rig::new(&[FULL; 3]);
    rig.ipvsadm(NAT);
    let servers: Vec<_> = (0..30)
        .map(|number| endpoints(&rig.send(0, OUTSIDE, &udp(client(number), service(53), b"?"))[0].1, 0).1)
        .collect();
    rig.ipvsadm("-D -u 172.16.0.1:53");
    rig.ipvsadm("-D -t 172.16.0.1:80");
    rig.ipvsadm("-A -t 172.16.0.9:80 -s rr");
    for (number, server) in (0..).zip(servers) {
        for queue in 0..3 {
            assert_eq!(rig.send(queue, OUTSIDE, &udp(client(number), service(53), b"?")), []);
            let sent = rig.send(queue, INSIDE, &udp(server, client(number), b"!"));
            assert_eq!(endpoints(&sent[0].1, 0), (service(53), client(number)));
        }
    }
    assert_eq!((rig.dropped(DropReason::DestinationGone), rig.to_kernel().len()), (90, 0));
    rig.check_identities();
}

#[test]
fn fragments_meet_at_one_worker_and_go_to_the_owner_of_the_whole() {
    let mut rig = Rig::new(&[FULL; 4]);
    rig.ipvsadm(NAT);
    for number in 0..60u16 {
        let client = client(number);
        let whole = datagram(client.port(), 53, &[number as u8; 1000]);
        let piece = |at: usize, end: usize, more: u16| {
            ip(*client.ip(), VIP, 17, number, more | (at / 8) as u16, &whole[at..end])
        };
        // The pieces come by different queues, the last one first.
        rig.receive(usize::from(number + 1) % 4, OUTSIDE, &piece(504, 1008, 0));
        assert_eq!(rig.settle(), []);
        let sent = rig.send(usize::from(number) % 4, OUTSIDE, &piece(0, 504, 0x2000));
        assert_eq!(sent.len(), 2, "client {number}");
        let (from, server) = endpoints(&sent[0].1, 0);
        assert_eq!(from, client);
        // A whole packet of the same connection finds the same server, and so does one more in fragments.
        let sent = rig.send(0, OUTSIDE, &udp(client, service(53), b"whole"));
        assert_eq!(endpoints(&sent[0].1, 0).1, server);
        rig.receive(2, OUTSIDE, &piece(0, 504, 0x2000));
        let sent = rig.send(3, OUTSIDE, &piece(504, 1008, 0));
        assert_eq!((sent.len(), endpoints(&sent[0].1, 0).1), (2, server));
    }
    assert_eq!(rig.connections().len(), 60);
    rig.check_identities();
}

#[test]
fn a_full_ring_drops_by_name_and_never_waits() {
    let mut rig = Rig::new(&[FULL; 2]);
    rig.ipvsadm(NAT);
    for number in 0..2000 {
        rig.receive(0, OUTSIDE, &udp(client(number), service(53), b"?"));
    }
    // Worker 1 is stalled.
    while rig.turn(0) > 0 {}
    let dropped = rig.dropped(DropReason::HandoverFull);
    assert!((1..1500).contains(&dropped), "{dropped}");
    let waiting = rig.sum(|stats| &stats.handed_out) - rig.sum(|stats| &stats.handed_in);
    assert_eq!(waiting, 512, "what a ring holds");
    let sent = rig.settle();
    assert_eq!(sent.len() as u64 + dropped, 2000);
    rig.check_identities();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Flows of requests and replies by whatever queues there are, with workers that turn whenever they like: each
    /// arrives complete, in order, at one server, and its replies come back complete and in order.
    #[test]
    fn nothing_is_lost_and_nothing_overtakes(
        persistent in any::<bool>(),
        crew in prop::collection::vec(prop::array::uniform2((any::<bool>(), any::<bool>())), 1..4),
        flows in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..24),
        steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..400),
    ) {
        // The first worker has every queue.
        let crew: Vec<Queues> = [FULL].into_iter().chain(crew).collect();
        let having = |port: usize| (0..crew.len()).filter(|&worker| crew[worker][port].0).collect::<Vec<_>>();
        let (outside, inside) = (having(0), having(1));
        let mut rig = Rig::new(&crew);
        rig.ipvsadm(NAT);
        if persistent {
            // Then the first packets of most connections wait for another worker.
            rig.ipvsadm("-E -u 172.16.0.1:53 -s rr -p 60 -M 255.255.255.254");
        }
        let mut servers: HashMap<usize, SocketAddrV4> = HashMap::new();
        let mut expected: HashMap<(u16, usize), u32> = HashMap::new();
        let mut seen: HashMap<(u16, usize), u32> = HashMap::new();
        let mut sent_in = HashMap::new();
        for (is_request, flow, turn) in steps {
            let flow = flow.index(flows.len());
            let client = client(flow as u16);
            let known = servers.get(&flow).copied();
            let (port, queue) = match known {
                Some(_) if !is_request => (INSIDE, *flows[flow].1.get(&inside)),
                _ => (OUTSIDE, *flows[flow].0.get(&outside)),
            };
            let number = sent_in.entry((port, flow)).or_insert(0u32);
            let packet = match known {
                Some(server) if port == INSIDE => udp(server, client, &number.to_be_bytes()),
                _ => udp(client, service(53), &number.to_be_bytes()),
            };
            *number += 1;
            *expected.entry((1 - port, flow)).or_default() += 1;
            rig.receive(queue, port, &packet);
            let sent = if turn.index(4) == 0 { rig.settle() } else {
                rig.turn(turn.index(crew.len()));
                Vec::new()
            };
            check(sent, &mut servers, &mut seen)?;
        }
        check(rig.settle(), &mut servers, &mut seen)?;
        prop_assert_eq!(expected, seen);
        rig.audit();
    }
}

/// Counts what came out, and holds it against its flow's server and numbers.
fn check(
    sent: Vec<(u16, Vec<u8>)>,
    servers: &mut HashMap<usize, SocketAddrV4>,
    seen: &mut HashMap<(u16, usize), u32>,
) -> Result<(), TestCaseError> {
    for (port, packet) in sent {
        let (source, destination) = endpoints(&packet, 0);
        let client = if port == INSIDE { source } else { destination };
        let flow = usize::from(client.port() - 40_000);
        if port == INSIDE {
            prop_assert_eq!(*servers.entry(flow).or_insert(destination), destination);
        } else {
            prop_assert_eq!(source, service(53));
        }
        let next = seen.entry((port, flow)).or_insert(0);
        prop_assert_eq!(data(&packet), next.to_be_bytes());
        *next += 1;
    }
    Ok(())
}
