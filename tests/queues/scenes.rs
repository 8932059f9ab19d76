//! What concerns a connection without being one of its packets, and what all workers have to agree on, whatever queue it
//! comes by.

use crate::flows::client;
use crate::lab::eventually;
use crate::packets::{SYN, datagram, endpoints, ip, tcp, udp, unreachable};
use crate::rig::{INSIDE, OUTSIDE, Rig, SERVERS, VIP};
use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddrV4};

const UDP: u8 = 17;

/// A service with all servers, under a new port.
fn service(rig: &Rig, port: u16, flags: &str) -> SocketAddrV4 {
    rig.ipvsadm(&format!("-A -u 172.16.0.1:{port} {flags}"));
    (2..2 + SERVERS).for_each(|n| rig.ipvsadm(&format!("-a -u 172.16.0.1:{port} -r 192.168.1.{n}:5353 -m")));
    SocketAddrV4::new(VIP, port)
}

/// What a client asks, and the server that it reaches.
fn ask(rig: &mut Rig, queue: usize, client: SocketAddrV4, service: SocketAddrV4) -> SocketAddrV4 {
    rig.send(OUTSIDE, queue, &udp(client, service, b"?"));
    let (from, server) = endpoints(&rig.next(INSIDE), 0);
    assert_eq!(from, client);
    server
}

pub fn errors_reach_the_owner_of_what_they_quote(rig: &mut Rig) {
    let service = service(rig, 54, "-s rr");
    let router = Ipv4Addr::new(10, 5, 5, 5);
    for number in 0..30 {
        let client = client(1000 + number);
        let server = ask(rig, number % rig.queues(OUTSIDE), client, service);
        for queue in 0..rig.queues(OUTSIDE) {
            // The client's side complains about a reply; its server hears of it.
            rig.send(OUTSIDE, queue, &unreachable(router, VIP, &udp(service, client, b"!")));
            assert_eq!(endpoints(&rig.next(INSIDE), 28), (server, client), "client {number}, queue {queue}");
            // The server's side complains about a request; its client hears of it.
            rig.send(INSIDE, queue, &unreachable(*server.ip(), *client.ip(), &udp(client, server, b"?")));
            assert_eq!(endpoints(&rig.next(OUTSIDE), 28), (client, service), "client {number}, queue {queue}");
        }
    }
}

pub fn fragments_meet_and_follow_their_connection(rig: &mut Rig) {
    let service = service(rig, 55, "-s rr");
    for number in 0..40u16 {
        let client = client(2000 + usize::from(number));
        let queues = rig.queues(OUTSIDE);
        let whole = datagram(client.port(), service.port(), &[number as u8; 1000]);
        let piece = |at: usize, end: usize, more: u16| {
            ip(*client.ip(), VIP, UDP, number, more | (at / 8) as u16, &whole[at..end])
        };
        // The last piece first, by another queue than the first.
        rig.send(OUTSIDE, usize::from(number + 1) % queues, &piece(504, 1008, 0));
        rig.send(OUTSIDE, usize::from(number) % queues, &piece(0, 504, 0x2000));
        let pieces = [rig.next(INSIDE), rig.next(INSIDE)];
        let (from, server) = endpoints(&pieces[0], 0);
        assert_eq!((from, pieces[0][20 + 8..].len() + pieces[1][20..].len()), (client, 1000));
        assert!(pieces[0][28..].iter().chain(&pieces[1][20..]).all(|&byte| byte == number as u8));
        // What is whole is of the same connection, by every queue, and so is the server's answer in fragments.
        for queue in 0..queues {
            assert_eq!(ask(rig, queue, client, service), server);
        }
        let answer = datagram(server.port(), client.port(), &[1; 1000]);
        let piece = |at: usize, end: usize, more: u16| {
            ip(*server.ip(), *client.ip(), UDP, number, more | (at / 8) as u16, &answer[at..end])
        };
        rig.send(INSIDE, usize::from(number + 2) % queues, &piece(0, 504, 0x2000));
        rig.send(INSIDE, usize::from(number + 3) % queues, &piece(504, 1008, 0));
        let first = rig.next(OUTSIDE);
        assert_eq!(endpoints(&first, 0), (service, client));
        assert_eq!(rig.next(OUTSIDE)[12..20], first[12..20]);
    }
}

pub fn a_client_stays_with_its_server(rig: &mut Rig) {
    let service = service(rig, 56, "-s rr -p 300 -M 255.255.255.0");
    let mut servers = HashSet::new();
    for network in 0..12 {
        let member = |n: u8| SocketAddrV4::new(Ipv4Addr::new(10, 8, network, n), 30_000 + u16::from(n) * 7);
        let server = ask(rig, 0, member(1), service);
        for n in 2..20 {
            let queue = usize::from(n) % rig.queues(OUTSIDE);
            assert_eq!(ask(rig, queue, member(n), service), server, "network {network}, client {n}");
        }
        // Its owners are several, and so are the keepers of what they agree on.
        servers.insert(server);
    }
    assert_eq!(servers.len(), usize::from(SERVERS));
}

/// Opens a connection, and answers whether it got the server; else the director itself answers.
fn open(rig: &mut Rig, queue: usize, number: usize) -> bool {
    let client = client(number);
    rig.send(OUTSIDE, queue, &tcp(client, SocketAddrV4::new(VIP, 80), SYN, b""));
    let (port, _) = rig.next_of(&[INSIDE, OUTSIDE]);
    port == INSIDE
}

pub fn a_threshold_closes_and_opens_for_all(rig: &mut Rig) {
    const UPPER: usize = 12;
    rig.ipvsadm("-A -t 172.16.0.1:80 -s rr");
    rig.ipvsadm(&format!("-a -t 172.16.0.1:80 -r 192.168.1.2:80 -m -x {UPPER}"));
    let queues = rig.queues(OUTSIDE);
    let mut served = 0;
    let mut number = 0;
    // Between two looks at each other, each worker may accept what was left when it looked last.
    eventually("a closed server", || {
        let any = (0..16).filter(|_| {
            number += 1;
            open(rig, number % queues, 3000 + number)
        });
        let any = any.count();
        served += any;
        any == 0
    });
    assert!((UPPER..=UPPER * rig.workers).contains(&served), "{served} connections of {UPPER}");
    rig.ipvsadm("-e -t 172.16.0.1:80 -r 192.168.1.2:80 -m");
    for number in 0..16 {
        assert!(open(rig, number % queues, 6000 + number), "it is open for all again");
    }
}
