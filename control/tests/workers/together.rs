//! Bursts that are run together, and bursts that are run one after the other, come to the same.

use crate::ownership::{client, service};
use crate::packets::{ACK, RST, SYN, tcp, udp};
use crate::rig::{FULL, INSIDE, OUTSIDE, Rig};
use forwarder::flow_table::slots_for;
use proptest::prelude::*;

const FIN: u8 = 1;
const RULES: &str = "
    -A -t 172.16.0.1:80 -s lc
    -a -t 172.16.0.1:80 -r 192.168.1.2:80 -m
    -a -t 172.16.0.1:80 -r 192.168.1.3:80 -g
    -a -t 172.16.0.1:80 -r 192.168.1.4:80 -i
    -A -t 172.16.0.1:81 -s rr
    -a -t 172.16.0.1:81 -r 192.168.1.2:80 -m
    -A -t 172.16.0.1:82 -s rr
    -a -t 172.16.0.1:82 -r 192.168.1.2:80 -m
    -A -u 172.16.0.1:53 -s rr
    -a -u 172.16.0.1:53 -r 192.168.1.2:5353 -m
    -a -u 172.16.0.1:53 -r 192.168.1.5:5353 -g
";

/// A packet of one of a few clients, so that most follow others of their connection closely.
fn packet() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let flags = prop_oneof![6 => Just(ACK), 2 => Just(SYN), 1 => Just(FIN | ACK), 1 => Just(RST)];
    (0..24u16, flags, 0..8u8).prop_map(|(number, flags, kind)| match kind {
        0 => (INSIDE, tcp("192.168.1.2:80".parse().unwrap(), client(number), flags | ACK, b"")),
        1 | 2 => (OUTSIDE, udp(client(number), service(53), b"who")),
        3 => (OUTSIDE, tcp(client(number), service(83), flags, b"")),
        4 | 5 => (OUTSIDE, tcp(client(number), service(81 + u16::from(kind % 2)), flags, b"")),
        _ => (OUTSIDE, tcp(client(number), service(80), flags, b"")),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn bursts_together_are_bursts_one_by_one(
        bursts in prop::collection::vec(prop::collection::vec(packet(), 1..200), 1..8),
        workers in 1..3usize,
        sparse in any::<bool>(),
        one_armed in any::<bool>(),
    ) {
        let mut rigs = [0, usize::MAX].map(|from| {
            let mut rig = Rig::new(&vec![FULL; workers]);
            rig.run_together_from(from);
            rig.ipvsadm(RULES);
            if !sparse {
                // One slot in 64 and more is taken: the second stage is not left out.
                for number in 100..100 + (slots_for(crate::rig::CONNECTIONS) / 40) as u16 {
                    rig.receive(0, OUTSIDE, &tcp(client(number), service(80), SYN, b""));
                }
                rig.settle();
            }
            rig
        });
        for burst in bursts {
            let [one, other] = rigs.each_mut().map(|rig| {
                for (port, packet) in &burst {
                    rig.receive(0, if one_armed { OUTSIDE } else { *port }, packet);
                }
                rig.settle()
            });
            prop_assert_eq!(one, other);
        }
        let [one, other] = rigs.each_mut().map(|rig| {
            rig.audit();
            let mut connections: Vec<_> = rig.connections().iter().map(|found| format!("{found:?}")).collect();
            connections.sort();
            (connections, rig.to_kernel(), rig.sum(|stats| &stats.forwarded))
        });
        prop_assert_eq!(one, other);
    }
}
