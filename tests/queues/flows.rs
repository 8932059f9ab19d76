//! Many flows in both directions, each datagram with its number.

use crate::lab::{PATIENCE, eventually};
use crate::packets::{data, endpoints, udp};
use crate::rig::{INSIDE, OUTSIDE, Rig, SERVERS, VIP};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

const FLOWS: usize = 120;
const ROUNDS: u32 = 25;
/// Frames that are under way at once: less than any queue on the way holds.
const WINDOW: usize = 96;

pub fn client(number: usize) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 9, (number >> 8) as u8, number as u8), 40_000 + number as u16)
}

/// A flow's requests come by one queue, its replies by another, as NICs bring them that know nothing of ownership.
struct Flows {
    /// The next number that a flow's server expects, and that its client does.
    next: Vec<(u32, u32)>,
    server: Vec<Option<SocketAddrV4>>,
    under_way: usize,
    moved: Instant,
}

impl Flows {
    fn number(client: SocketAddrV4) -> usize {
        usize::from(client.port() - 40_000)
    }

    fn take(number: &mut u32, packet: &[u8], what: &str) {
        assert_eq!(data(packet), number.to_be_bytes(), "{what}: lost or overtaken");
        *number += 1;
    }

    /// Serves, and hears answers, if there are any.
    fn look(&mut self, rig: &mut Rig) {
        let before = self.under_way;
        while let Some((_, packet)) = rig.receive(INSIDE) {
            let (from, server) = endpoints(&packet, 0);
            let flow = Self::number(from);
            assert_eq!(from, client(flow));
            assert_eq!(*self.server[flow].get_or_insert(server), server, "a connection stays with its server");
            Self::take(&mut self.next[flow].0, &packet, "a request");
            let queues = rig.queues(INSIDE);
            rig.send(INSIDE, (flow + 1 + flow / queues) % queues, &udp(server, from, data(&packet)));
            self.moved = Instant::now();
        }
        while let Some((_, packet)) = rig.receive(OUTSIDE) {
            let (from, to) = endpoints(&packet, 0);
            let flow = Self::number(to);
            assert_eq!((from, to), (SocketAddrV4::new(VIP, 53), client(flow)));
            Self::take(&mut self.next[flow].1, &packet, "a reply");
            self.under_way -= 1;
        }
        if self.under_way < before {
            self.moved = Instant::now();
        }
        assert!(self.moved.elapsed() < PATIENCE, "{} are lost: {:?}\n{}", self.under_way, rig.counters(), rig.log());
    }
}

pub fn nothing_is_lost_and_nothing_overtakes(rig: &mut Rig) {
    rig.ipvsadm("-A -u 172.16.0.1:53 -s rr");
    (2..2 + SERVERS).for_each(|n| rig.ipvsadm(&format!("-a -u 172.16.0.1:53 -r 192.168.1.{n}:5353 -m")));
    let before = rig.views();
    let mut flows = Flows { next: vec![(0, 0); FLOWS], server: vec![None; FLOWS], under_way: 0, moved: Instant::now() };
    for round in 0..ROUNDS {
        for flow in 0..FLOWS {
            while flows.under_way >= WINDOW {
                flows.look(rig);
            }
            let request = udp(client(flow), SocketAddrV4::new(VIP, 53), &round.to_be_bytes());
            rig.send(OUTSIDE, flow % rig.queues(OUTSIDE), &request);
            flows.under_way += 1;
        }
    }
    while flows.under_way > 0 {
        flows.look(rig);
    }
    assert!(flows.next.iter().all(|&next| next == (ROUNDS, ROUNDS)));

    // Every frame is in the workers' counters once, whoever received it and whoever sent it.
    let frames = u64::from(ROUNDS) * FLOWS as u64;
    let kernel = if rig.cable.has_kernel() { 2 * frames } else { 0 };
    eventually("exact counters", || {
        let (now, then) = (rig.counters(), crate::lab::Counters::of(&before));
        assert_eq!(now.drops, then.drops);
        let went = now.forwarded + now.to_kernel + now.held + now.drops.values().sum::<u64>();
        now.received == went
            && now.handed.0 == now.handed.1
            && now.handed.0 > then.handed.0
            && now.forwarded - then.forwarded == 2 * frames
            && now.to_kernel - then.to_kernel == kernel
    });
    for (now, then) in rig.views().iter().zip(&before) {
        assert!(now.forwarded > then.forwarded, "worker {} owns no flow", now.worker);
        assert!(now.received > then.received, "worker {} has no queue", now.worker);
    }
    rig.ipvsadm("-D -u 172.16.0.1:53");
}
