//! Schedulers that weigh servers by their connections, and thresholds, count the connections of all workers.

use crate::ownership::{client, service};
use crate::packets::{ACK, SYN, endpoints, tcp};
use crate::rig::{FULL, OUTSIDE, Rig, SECOND};
use proptest::prelude::*;
use std::collections::HashMap;

const FIN: u8 = 1;
const RST: u8 = 4;

fn rig(workers: usize, scheduler: &str, servers: &[(&str, u32)]) -> Rig {
    let mut rig = Rig::new(&vec![FULL; workers]);
    rig.ipvsadm(&format!("-A -t 172.16.0.1:80 -s {scheduler}"));
    for (number, (more, weight)) in servers.iter().enumerate() {
        rig.ipvsadm(&format!("-a -t 172.16.0.1:80 -r 192.168.1.{} -g -w {weight} {more}", number + 2));
    }
    rig
}

/// Opens a connection by some queue, and answers the number of its server, if it got one.
fn open(rig: &mut Rig, number: u16) -> Option<u8> {
    let queue = usize::from(number) % rig.stats.len();
    let sent = rig.send(queue, OUTSIDE, &tcp(client(number), service(80), SYN, b""));
    let packet = &sent.first()?.1;
    // An answer of the director's own goes to the client.
    (endpoints(packet, 0).0 == client(number)).then(|| rig.last_mac()[5])
}

fn say(rig: &mut Rig, number: u16, flags: u8) {
    rig.send(usize::from(number) % rig.stats.len(), OUTSIDE, &tcp(client(number), service(80), flags, b""));
}

#[test]
fn with_time_to_look_several_workers_pick_as_one() {
    let servers = [("", 3), ("", 1), ("", 2), ("", 7), ("", 1)];
    for scheduler in ["lc", "wlc", "sed", "nq", "ovf"] {
        let picks = |workers| {
            let mut rig = rig(workers, scheduler, &servers);
            let mut picks = Vec::new();
            for number in 0..120 {
                picks.push(open(&mut rig, number));
                if number % 3 == 0 {
                    say(&mut rig, number, ACK);
                    say(&mut rig, number, FIN | ACK);
                }
                rig.wait(1);
            }
            picks
        };
        assert_eq!(picks(1), picks(4), "{scheduler}");
    }
}

#[test]
fn without_time_to_look_they_still_share_out() {
    let mut rig = rig(4, "wlc", &[("", 1), ("", 1), ("", 1), ("", 1)]);
    let mut counts: HashMap<_, u32> = HashMap::new();
    for number in 0..400 {
        *counts.entry(open(&mut rig, number)).or_default() += 1;
    }
    // Each worker's share is even within one; nobody knows of the others'.
    assert!(counts.values().all(|&count| (96..=104).contains(&count)), "{counts:?}");
}

#[test]
fn a_threshold_holds_over_all_workers_and_reopens_for_all() {
    for (limits, reopens_below) in [("-x 12", 9), ("-x 12 -y 4", 4)] {
        let mut rig = rig(3, "rr", &[(limits, 1)]);
        let mut served = Vec::new();
        for number in 0..30 {
            if open(&mut rig, number).is_some() {
                say(&mut rig, number, ACK);
                served.push(number);
            }
            rig.wait(1);
        }
        assert_eq!(served.len(), 12, "{limits}");
        // They end one after the other. A closed connection's entry goes 10 s after its RST.
        let mut left = served.len();
        for &number in &served {
            say(&mut rig, number, RST);
            rig.wait(12 * SECOND);
            left -= 1;
            assert_eq!(rig.connections().len(), left);
            let opened: Vec<_> = (1000..1003).filter_map(|number| open(&mut rig, number + 10 * left as u16)).collect();
            assert_eq!(!opened.is_empty(), left < reopens_below, "{limits}, {left} left");
            if !opened.is_empty() {
                break;
            }
        }
        rig.audit();
    }
}

#[test]
fn a_threshold_that_is_lifted_is_lifted_for_all() {
    let mut rig = rig(4, "rr", &[("-x 4", 1)]);
    for number in 0..40 {
        open(&mut rig, number);
        rig.wait(1);
    }
    assert_eq!(rig.connections().len(), 4);
    rig.ipvsadm("-e -t 172.16.0.1:80 -r 192.168.1.2 -g -x 8");
    for number in 100..140 {
        open(&mut rig, number);
        rig.wait(1);
    }
    assert_eq!(rig.connections().len(), 8);
    rig.ipvsadm("-e -t 172.16.0.1:80 -r 192.168.1.2 -g");
    for number in 200..220 {
        assert_eq!(open(&mut rig, number), Some(2));
    }
    rig.audit();
}

#[test]
fn a_threshold_is_overstepped_by_no_more_than_what_comes_between_two_looks() {
    let mut rig = rig(4, "rr", &[("-x 10", 1)]);
    // Nobody has time to look: each worker lets ten through.
    for number in 0..400 {
        open(&mut rig, number);
    }
    assert_eq!(rig.connections().len(), 40);
    rig.wait(1);
    for number in 400..500 {
        assert_eq!(open(&mut rig, number), None);
    }
    rig.audit();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Connections come in crowds, and workers look at each other between them. A crowd that finds the threshold reached
    /// gets nothing; another gets what is left, for each worker that does not see the others' part of it.
    #[test]
    fn a_threshold_is_overstepped_by_one_crowd_at_most(
        workers in 2usize..5, upper in 1usize..24, crowds in prop::collection::vec(1u16..40, 1..8),
    ) {
        let mut rig = rig(workers, "lc", &[(&format!("-x {upper}"), 1)]);
        let mut number = 0;
        let mut served = 0;
        for crowd in crowds {
            let came = (0..crowd).filter(|n| open(&mut rig, number + n).is_some()).count();
            number += crowd;
            let most = usize::from(crowd).min(workers * upper.saturating_sub(served));
            let least = usize::from(crowd).min(upper.saturating_sub(served));
            prop_assert!((least..=most).contains(&came), "{came} of {crowd} were served, after {served} of {upper}");
            served += came;
            prop_assert_eq!(rig.connections().len(), served);
            rig.wait(1);
        }
        rig.audit();
    }

    /// Crowds of connections, by weight: over all workers a server has what one worker would give it, but for what each
    /// of the others could not know of one crowd.
    #[test]
    fn crowds_are_shared_out_nearly_as_by_one_worker(
        workers in 2usize..5, scheduler in prop::sample::select(vec!["lc", "wlc", "sed", "nq"]),
        weights in prop::collection::vec(1u32..5, 2..6), crowd in 1u16..30, crowds in 1u16..8,
    ) {
        let servers: Vec<_> = weights.iter().map(|&weight| ("", weight)).collect();
        let counts = |workers: usize| {
            let mut rig = rig(workers, scheduler, &servers);
            let mut counts = vec![0u32; servers.len()];
            for number in 0..crowds * crowd {
                let server = open(&mut rig, number).expect("one is always there");
                counts[usize::from(server) - 2] += 1;
                if number % crowd == crowd - 1 {
                    rig.wait(1);
                }
            }
            counts
        };
        let (one, several) = (counts(1), counts(workers));
        for (one, several) in one.iter().zip(&several) {
            let unknown = u32::from(crowd).max(workers as u32);
            prop_assert!(one.abs_diff(*several) <= unknown, "{one} by one worker, {several} by {workers}");
        }
    }
}
