//! A client's persistence holds whichever queue its connections arrive on.

use crate::ownership::{VIP, service};
use crate::packets::{ACK, SYN, datagram, endpoints, ip, tcp, udp};
use crate::rig::{FULL, INSIDE, OUTSIDE, Rig, SECOND};
use forwarder::pipeline::DropReason;
use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};

const SERVERS: u8 = 5;

/// Clients in /24 networks share a server.
fn rig(workers: usize, flags: &str) -> Rig {
    let mut rig = Rig::new(&vec![FULL; workers]);
    rig.ipvsadm(&format!("-A -u 172.16.0.1:53 -s rr {flags}"));
    rig.ipvsadm("-A -t 172.16.0.1:80 -s rr -p 300 -M 255.255.255.0");
    for last in 2..2 + SERVERS {
        rig.ipvsadm(&format!("-a -u 172.16.0.1:53 -r 192.168.1.{last}:53 -m"));
        rig.ipvsadm(&format!("-a -t 172.16.0.1:80 -r 192.168.1.{last}:80 -m"));
    }
    rig
}

/// Client `n` of a network.
fn client(network: u8, n: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 8, network, n), 30_000 + u16::from(n) * 7)
}

/// The server of a packet that was sent on, in.
fn server(sent: &[(u16, Vec<u8>)]) -> Ipv4Addr {
    let [(INSIDE, packet)] = sent else { panic!("{sent:?}") };
    *endpoints(packet, 0).1.ip()
}

#[test]
fn the_connections_of_a_network_find_one_server_by_every_queue() {
    let mut rig = rig(4, "-p 300 -M 255.255.255.0");
    for n in 1..40 {
        for network in 0..20 {
            let queue = usize::from(n + network) % 4;
            let sent = rig.send(queue, OUTSIDE, &udp(client(network, n), service(53), b"?"));
            let (_, first) = endpoints(&sent[0].1, 0);
            let sent = rig.send(queue, OUTSIDE, &udp(client(network, 0), service(53), b"?"));
            assert_eq!(server(&sent), *first.ip(), "network {network}, client {n}");
        }
    }
    let all = rig.connections();
    let templates: Vec<_> = all.iter().filter(|(_, view)| view.template).collect();
    let keepers: HashSet<_> = templates.iter().map(|(worker, _)| worker).collect();
    assert_eq!((templates.len(), keepers.len()), (20, 4));
    let servers: HashSet<_> = templates.iter().map(|(_, view)| *view.server.ip()).collect();
    assert_eq!(servers.len(), usize::from(SERVERS));
    rig.audit();
}

#[test]
fn templates_live_as_long_as_connections_anywhere_hang_on_them() {
    let mut rig = rig(3, "-p 60 -M 255.255.255.0");
    for network in 0..12 {
        for n in 0..12 {
            rig.send(0, OUTSIDE, &udp(client(network, n), service(53), b"?"));
        }
    }
    let templates = |rig: &mut Rig| rig.connections().iter().filter(|(_, view)| view.template).count();
    rig.audit();
    // UDP connections live 300 s, and their templates, whose time is 60 s, with them, in steps of 60 s.
    rig.wait(290 * SECOND);
    assert_eq!((rig.connections().len(), templates(&mut rig)), (12 * 13, 12));
    rig.wait(12 * SECOND);
    // Those whose step ended a moment before their last connection did have another one.
    assert_eq!(rig.connections().len(), templates(&mut rig));
    rig.audit();
    rig.wait(61 * SECOND);
    assert_eq!(rig.connections().len(), 0);
    rig.audit();
}

#[test]
fn packets_that_follow_the_first_wait_behind_it() {
    let mut rig = rig(2, "-p 60");
    // A client whose connection is worker 0's and whose template is worker 1's.
    let client = (0..200)
        .map(|n| client(7, n))
        .find(|&client| {
            rig.send(0, OUTSIDE, &udp(client, service(53), b"?"));
            let all = rig.connections();
            let keeper = |template| {
                let same = |view: &&(usize, _)| {
                    let view: &forwarder::pipeline::ConnView = &view.1;
                    view.template == template && view.client.ip() == client.ip()
                };
                all.iter().find(same).map(|(worker, _)| *worker)
            };
            (keeper(false), keeper(true)) == (Some(0), Some(1))
        })
        .expect("one in four");
    rig.wait(500 * SECOND);
    assert_eq!(rig.connections().len(), 0);
    for n in 0..10u8 {
        rig.receive(0, OUTSIDE, &udp(client, service(53), &[n]));
        // Only the owner moves: all wait.
        rig.turn(0);
    }
    assert_eq!(rig.stats[0].held.get(), 10);
    rig.check_worker(0);
    let sent = rig.settle();
    let order: Vec<u8> = sent.iter().map(|(_, packet)| packet[28]).collect();
    assert_eq!(order, (0..10).collect::<Vec<_>>());
    assert_eq!(sent.iter().map(|(_, packet)| endpoints(packet, 0).1).collect::<HashSet<_>>().len(), 1);
    rig.audit();
}

#[test]
fn a_first_packet_in_fragments_finds_its_template_too() {
    let mut rig = rig(4, "-p 60 -M 255.255.255.0");
    for network in 0..8 {
        let expected = server(&rig.send(0, OUTSIDE, &udp(client(network, 1), service(53), b"?")));
        for n in 2..12 {
            let client = client(network, n);
            let whole = datagram(client.port(), 53, &[n; 1000]);
            let piece = |at: usize, end: usize, more: u16| {
                ip(*client.ip(), VIP, 17, u16::from(n), more | (at / 8) as u16, &whole[at..end])
            };
            rig.receive(1, OUTSIDE, &piece(0, 504, 0x2000));
            let sent = rig.send(2, OUTSIDE, &piece(504, 1008, 0));
            assert_eq!((sent.len(), *endpoints(&sent[0].1, 0).1.ip()), (2, expected));
        }
    }
    rig.audit();
}

#[test]
fn one_packet_scheduling_keeps_nothing_but_the_template() {
    let mut rig = rig(3, "-p 60 -M 255.255.255.0 -o");
    let mut servers: HashMap<u8, Ipv4Addr> = HashMap::new();
    for n in 0..30 {
        for network in 0..9 {
            let sent = rig.send(usize::from(n) % 3, OUTSIDE, &udp(client(network, n), service(53), b"?"));
            let found = server(&sent);
            assert_eq!(*servers.entry(network).or_insert(found), found);
        }
    }
    assert!(rig.connections().iter().all(|(_, view)| view.template));
    rig.audit();
    rig.wait(62 * SECOND);
    assert_eq!(rig.connections().len(), 0);
}

#[test]
fn a_quiesced_server_is_left_by_all_workers_when_its_templates_may_not_hold() {
    let mut rig = rig(3, "-p 60 -M 255.255.255.0");
    rig.set("expire_quiescent_template", "1");
    let first: Vec<_> =
        (0..30).map(|network| server(&rig.send(0, OUTSIDE, &udp(client(network, 1), service(53), b"?")))).collect();
    rig.ipvsadm("-e -u 172.16.0.1:53 -r 192.168.1.2:53 -m -w 0");
    for (network, first) in (0..).zip(first) {
        let next: HashSet<_> = (2..9)
            .map(|n| server(&rig.send(usize::from(n) % 3, OUTSIDE, &udp(client(network, n), service(53), b"?"))))
            .collect();
        assert_eq!(next.len(), 1);
        let quiesced = first == Ipv4Addr::new(192, 168, 1, 2);
        assert_eq!(next.contains(&first), !quiesced);
    }
    rig.audit();
}

#[test]
fn templates_go_with_a_removed_server_and_connections_tell_of_it() {
    let mut rig = rig(3, "-p 600 -M 255.255.255.0");
    rig.set("expire_nodest_conn", "1");
    for network in 0..20 {
        for n in 0..20 {
            rig.send(0, OUTSIDE, &tcp(client(network, n), service(80), SYN, b""));
        }
    }
    for last in 2..2 + SERVERS {
        rig.ipvsadm(&format!("-d -t 172.16.0.1:80 -r 192.168.1.{last}:80"));
    }
    rig.wait(3 * SECOND);
    assert_eq!(rig.connections(), []);
    rig.audit();
}

#[test]
fn a_server_that_is_removed_while_the_answer_is_on_its_way_is_not_used() {
    let mut rig = Rig::new(&[FULL; 2]);
    rig.ipvsadm("-A -t 172.16.0.1:80 -s rr -p 300");
    for network in 0..16 {
        rig.ipvsadm("-a -t 172.16.0.1:80 -r 192.168.1.2:80 -m");
        rig.receive(0, OUTSIDE, &tcp(client(network, 0), service(80), SYN, b""));
        // Its owner asks, if it does not keep the template itself, and the keeper answers.
        rig.turn(0);
        rig.turn(1);
        rig.ipvsadm("-d -t 172.16.0.1:80 -r 192.168.1.2:80");
        rig.settle();
    }
    assert!(rig.dropped(DropReason::DestinationGone) > 0, "no answer was on its way");
    assert_eq!(rig.dropped(DropReason::NoRoute), 0);
    let connections = rig.connections().iter().filter(|(_, view)| !view.template).count() as u64;
    assert_eq!(connections + rig.dropped(DropReason::DestinationGone), 16);
    rig.audit();
}

#[test]
fn a_keeper_that_does_not_answer_costs_new_connections_only() {
    let mut rig = rig(2, "-p 60");
    rig.send(0, OUTSIDE, &tcp(client(0, 0), service(80), SYN, b""));
    let held = |rig: &Rig| rig.stats[0].held.get();
    for network in 0..100 {
        for n in 0..10 {
            rig.receive(0, OUTSIDE, &udp(client(network, n), service(53), b"?"));
        }
        rig.turn(0);
    }
    assert!((100..=256).contains(&held(&rig)), "{} wait", held(&rig));
    assert!(rig.dropped(DropReason::HandoverFull) > 0);
    rig.check_worker(0);
    rig.settle();
    let sent = rig.send(0, OUTSIDE, &tcp(client(0, 0), service(80), ACK, b""));
    assert_eq!(sent.len(), 1);
    assert_eq!(held(&rig), 0);
    rig.audit();
    rig.wait(700 * SECOND);
    assert_eq!(rig.connections().iter().filter(|(_, view)| view.protocol == 17).count(), 0);
    rig.audit();
}

#[test]
fn a_first_packet_that_proves_real_assures_its_own_template() {
    let mut rig = Rig::new(&[FULL]);
    rig.set("sloppy_tcp", "1");
    let targets = [1, 2].map(|last| SocketAddrV4::new(Ipv4Addr::new(172, 16, 0, last), 443));
    for target in targets {
        rig.ipvsadm(&format!("-A -t {target} -s rr -p 60"));
        rig.ipvsadm(&format!("-a -t {target} -r 192.168.1.2:443 -m"));
    }
    // From one port to two services of one server: replies are the second connection's, which takes the first one's place.
    rig.send(0, OUTSIDE, &tcp(client(0, 1), targets[0], SYN, b""));
    rig.send(0, OUTSIDE, &tcp(client(0, 1), targets[1], ACK, b""));
    let templates = rig.connections().into_iter().filter(|(_, view)| view.template);
    let states: HashMap<_, _> = templates.map(|(_, view)| (*view.target.ip(), view.state)).collect();
    assert_eq!(targets.map(|target| states[target.ip()]), ["NONE", "ASSURED"]);
    rig.audit();
}
