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
    // Not in step with the port: RSS hashes are linear.
    let [_, .., high, low] = (number as u32).wrapping_mul(0x9e37_79b9).to_le_bytes();
    SocketAddrV4::new(Ipv4Addr::new(10, 9, high, low), 40_000 + number as u16)
}

/// A flow's requests come by one queue, its replies by another, as NICs bring them that know nothing of ownership.
pub struct Flows {
    sent: Vec<u32>,
    /// The next number that a flow's server expects, and that its client does.
    next: Vec<(u32, u32)>,
    server: Vec<Option<SocketAddrV4>>,
    /// What reached clients that are none of these.
    strangers: Vec<Vec<u8>>,
    under_way: usize,
    moved: Instant,
}

impl Flows {
    /// None has begun. Their service is there from now on.
    pub fn new(rig: &Rig) -> Self {
        rig.ipvsadm("-A -u 172.16.0.1:53 -s rr");
        (2..2 + SERVERS).for_each(|n| rig.ipvsadm(&format!("-a -u 172.16.0.1:53 -r 192.168.1.{n}:5353 -m")));
        let (sent, next) = (vec![0; FLOWS], vec![(0, 0); FLOWS]);
        Self { sent, next, server: vec![None; FLOWS], strangers: Vec::new(), under_way: 0, moved: Instant::now() }
    }

    /// One more request of each.
    pub fn round(&mut self, rig: &mut Rig) {
        for flow in 0..FLOWS {
            while self.under_way >= WINDOW {
                self.look(rig);
            }
            let request = udp(client(flow), SocketAddrV4::new(VIP, 53), &self.sent[flow].to_be_bytes());
            rig.send(OUTSIDE, flow % rig.queues(OUTSIDE), &request);
            self.sent[flow] += 1;
            self.under_way += 1;
        }
    }

    /// What reached other clients.
    pub fn strangers(&mut self, rig: &mut Rig) -> Vec<Vec<u8>> {
        self.look(rig);
        std::mem::take(&mut self.strangers)
    }

    /// Waits until all is answered. The service goes. Answers how many requests there were.
    pub fn finish(mut self, rig: &mut Rig) -> u64 {
        while self.under_way > 0 {
            self.look(rig);
        }
        assert!(self.next.iter().zip(&self.sent).all(|(next, sent)| *next == (*sent, *sent)));
        rig.ipvsadm("-D -u 172.16.0.1:53");
        self.sent.iter().map(|&sent| u64::from(sent)).sum()
    }

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
            if to.ip().octets()[1] != 9 {
                self.strangers.push(packet);
                continue;
            }
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

/// So many workers, from the first on, serve queues.
pub fn nothing_is_lost_and_nothing_overtakes(rig: &mut Rig, serving: usize) {
    let before = rig.views();
    let mut flows = Flows::new(rig);
    (0..ROUNDS).for_each(|_| flows.round(rig));
    let frames = flows.finish(rig);

    // Every frame is in the workers' counters once, whoever received it and whoever sent it.
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
    for (worker, (now, then)) in rig.views().iter().zip(&before).enumerate() {
        assert!(now.forwarded > then.forwarded, "worker {worker} owns no flow");
        assert_eq!(now.received > then.received, worker < serving, "worker {worker}'s queues");
    }
}
