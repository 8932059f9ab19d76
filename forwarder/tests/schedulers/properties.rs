//! What schedulers promise, on random services: against the plain models, and against the weights.

use crate::model;
use crate::rig::{Rig, server};
use forwarder::scheduler::{Flags, SCHEDULERS};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};

/// Something that happens to a service. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Event {
    /// A server is added, or added back.
    Add(usize, u32),
    Edit(usize, u32),
    Delete(usize),
    Overload(usize, bool),
    /// Connections open or close elsewhere.
    Load(usize, u32, u32),
    /// Ticks pass.
    Wait(u32),
    /// Connections come from this client to this target.
    Connect(u8, u8),
}

fn weight() -> impl Strategy<Value = u32> {
    prop_oneof![1 => Just(0), 6 => 1..8u32, 3 => (1..20u32).prop_map(|n| n * 6), 1 => 1..300u32]
}

/// Events among so many servers and targets.
fn event(servers: usize, targets: u8) -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..servers, weight()).prop_map(|(n, weight)| Event::Add(n, weight)),
        2 => (any::<usize>(), weight()).prop_map(|(n, weight)| Event::Edit(n, weight)),
        1 => any::<usize>().prop_map(Event::Delete),
        3 => (0..servers, any::<bool>()).prop_map(|(n, over)| Event::Overload(n, over)),
        4 => (0..servers, 0..20u32, 0..600u32).prop_map(|(n, active, inactive)| Event::Load(n, active, inactive)),
        2 => prop_oneof![1..2000u32, 1..400_000u32].prop_map(Event::Wait),
        30 => (any::<u8>(), 0..targets).prop_map(|(client, target)| Event::Connect(client, target)),
    ]
}

/// Few servers, or many and many targets; or few that stay and are only overloaded now and then.
fn events() -> impl Strategy<Value = Vec<Event>> {
    let staying =
        |weights: Vec<u32>| weights.into_iter().enumerate().map(|(n, weight)| Event::Add(n, weight)).collect();
    let passing = prop_oneof![
        1 => (0..4usize, any::<bool>()).prop_map(|(n, over)| Event::Overload(n, over)),
        2 => (any::<u8>(), 0..3u8).prop_map(|(client, target)| Event::Connect(client, target)),
    ];
    let calm = (proptest::collection::vec(weight(), 1..4), proptest::collection::vec(passing, 1..200));
    prop_oneof![
        proptest::collection::vec(event(3, 2), 1..300),
        proptest::collection::vec(event(12, 250), 1..600),
        calm.prop_map(move |(weights, events)| [staying(weights), events].concat()),
    ]
}

fn client(n: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 7, n).into()
}

fn target(n: u8) -> IpAddr {
    Ipv4Addr::new(93, 9, 136, n).into()
}

/// Plays the events; every answer must be the model's, or at least a server that may serve.
fn play(name: &str, flags: Flags, events: Vec<Event>) -> Result<(), TestCaseError> {
    let mut rig = Rig::new(name, flags, 7);
    let mut model = model::of(name);
    (rig.settings.lblc_expiration, rig.settings.lblcr_expiration) = (120, 600);
    for event in events {
        let count = rig.all().len();
        let changed = match event {
            Event::Add(n, weight) => (rig.all().all(|index| rig.id(index) != n)).then(|| {
                rig.add(n, weight);
                None
            }),
            Event::Edit(n, weight) => (count > 0).then(|| {
                rig.edit(n % count, weight);
                None
            }),
            Event::Delete(n) => (count > 0).then(|| {
                rig.delete(n % count);
                Some(n % count)
            }),
            Event::Overload(n, over) => {
                rig.overloaded.get_mut(n).into_iter().for_each(|flag| *flag = over);
                None
            }
            Event::Load(n, active, inactive) => {
                rig.loads.get_mut(n).into_iter().for_each(|load| (load.active, load.inactive) = (active, inactive));
                None
            }
            Event::Wait(ticks) => {
                rig.now = rig.now.plus(ticks);
                None
            }
            Event::Connect(from, to) => {
                let expected = model.as_mut().map(|model| model.expected(&rig, target(to)));
                let got = rig.pick(client(from), target(to));
                if let Some(expected) = expected {
                    prop_assert_eq!(got, expected, "{} among {:?}", name, rig.service.members);
                }
                if let Some(index) = got {
                    prop_assert!(rig.weight(index) > 0);
                    prop_assert!(name == "lblc" || !rig.over(index), "only lblc's memory may name such a server");
                    let id = rig.id(index);
                    rig.loads[id].active += 1;
                } else if !["dh", "sh", "mh", "ovf"].contains(&name) {
                    prop_assert!(!rig.all().any(|index| rig.usable(index)));
                }
                None
            }
        };
        if let (Some(deleted), Some(model)) = (changed, &mut model) {
            model.changed(&rig, deleted);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_pick_is_the_models_and_may_serve(
        events in events(), fallback: bool, port: bool
    ) {
        for known in SCHEDULERS {
            play(known.name, Flags { fallback, port, flag3: false }, events.clone())?;
        }
    }

    /// lc, wlc and sed keep held connections in proportion: no server could have been passed over for its last one.
    #[test]
    fn held_connections_follow_the_weights(
        weights in proptest::collection::vec(1..40u32, 1..12), connections in 1..400u32
    ) {
        // (scheduler, weights count, the one being placed counts)
        for (name, weighted, placed) in [("lc", false, 0), ("wlc", true, 0), ("sed", true, 1)] {
            let mut rig = Rig::with_weights(name, &weights);
            (0..connections).for_each(|n| assert!(rig.hold(n).is_some()));
            for (one, other) in rig.all().flat_map(|one| rig.all().map(move |other| (one, other))) {
                let weight = |index| if weighted { rig.weight(index) } else { 1 };
                let (has, had) = (rig.load(one).active, rig.load(other).active + placed);
                prop_assert!(has == 0 || (has - 1 + placed) * weight(other) <= had * weight(one), "{} {:?}", name, rig.loads);
            }
        }
    }

    /// A full round of wrr gives each server exactly its weight, over the common divisor; one of rr each one pick.
    #[test]
    fn rounds_are_exact(weights in proptest::collection::vec(0..60u32, 1..12)) {
        let divisor = (1..60).rev().find(|d| weights.iter().all(|weight| weight % d == 0)).unwrap_or(1);
        for (name, share) in [("rr", (|weight, _| weight.min(1)) as fn(u32, u32) -> u32), ("wrr", |weight, d| weight / d)] {
            let mut rig = Rig::with_weights(name, &weights);
            let round: u32 = weights.iter().map(|&weight| share(weight, divisor)).sum();
            (0..2 * round).for_each(|n| assert!(rig.hold(n).is_some()));
            for index in rig.all() {
                prop_assert_eq!(rig.load(index).active, 2 * share(rig.weight(index), divisor), "{} {:?}", name, &weights);
            }
        }
    }

    /// fo sends all to the heaviest; ovf fills the heaviest servers up to one more than their weights, and no more.
    #[test]
    fn failover_and_overflow_fill_from_the_top(weights in proptest::collection::vec(0..9u32, 1..8)) {
        let room: u32 = weights.iter().filter(|&&weight| weight > 0).map(|weight| weight + 1).sum();
        let mut rig = Rig::with_weights("ovf", &weights);
        for n in 0..room {
            let index = rig.hold(n).expect("there is room");
            let full = |at: usize| rig.weight(at) <= rig.weight(index) || rig.load(at).active == rig.weight(at) + 1;
            prop_assert!(rig.all().all(full));
        }
        prop_assert_eq!(rig.hold(room), None);
        let mut rig = Rig::with_weights("fo", &weights);
        if let Some(index) = rig.hold(0) {
            prop_assert!(rig.all().all(|other| rig.weight(other) <= rig.weight(index)));
            prop_assert!((1..50).all(|n| rig.hold(n) == Some(index)));
        }
    }

    /// Slots of sh and mh follow the weights, to within one turn of each server; dh's are even.
    #[test]
    fn slots_follow_the_weights(weights in proptest::collection::vec(0..40u32, 1..12)) {
        for (name, slots) in [("dh", 256), ("sh", 256), ("mh", 4093)] {
            let rig = Rig::with_weights(name, &weights);
            let share = |index: usize| match name {
                "dh" => 1,
                "sh" => rig.weight(index).max(1),
                _ => rig.weight(index),
            };
            let Some(table) = &rig.service.table else {
                prop_assert!(rig.all().all(|index| share(index) == 0));
                continue;
            };
            let round: u32 = rig.all().map(share).sum();
            prop_assert_eq!(table.len(), slots);
            for index in rig.all() {
                let has = table.iter().filter(|&&slot| usize::from(slot) == index).count() as u32;
                let rounds = slots as u32 / round;
                prop_assert!((rounds * share(index)..=(rounds + 1) * share(index)).contains(&has), "{} {:?}", name, &weights);
            }
        }
    }
}

/// Where each of many clients goes.
fn homes(rig: &mut Rig) -> Vec<IpAddr> {
    let clients = (0..20_000u32).map(|n| IpAddr::from(Ipv4Addr::from(n.wrapping_mul(0x9E37_79B1))));
    clients
        .map(|client| rig.pick(client, target(1)).map(|index| rig.service.members[index].address).expect("a server"))
        .collect()
}

/// Of all clients, how many per thousand have another server once one server has left, and how many had to.
fn moved(name: &str, servers: usize) -> (usize, usize) {
    let mut rig = Rig::with_weights(name, &vec![1; servers]);
    let before = homes(&mut rig);
    rig.delete(servers / 2);
    let left = server(servers - 1 - servers / 2);
    let after = homes(&mut rig);
    let count = |had_to: bool| {
        let moves =
            before.iter().zip(&after).filter(|(before, after)| if had_to { **before == left } else { before != after });
        moves.count() * 1000 / before.len()
    };
    (count(false), count(true))
}

#[test]
fn maglev_moves_few_clients_when_a_server_leaves() {
    println!("clients that move when one server leaves, per thousand (and had to): sh, mh");
    for servers in [3, 10, 50] {
        let ((sh, sh_least), (mh, mh_least)) = (moved("sh", servers), moved("mh", servers));
        println!("  of {servers:2} servers: sh {sh} ({sh_least}), mh {mh} ({mh_least})");
        assert!(mh_least * servers > 800 && mh_least * servers < 1200, "the server had its share");
        assert!(mh >= mh_least && mh <= mh_least + 60, "mh moves few clients that could have stayed");
        assert!(sh > mh, "sh deals its slots anew");
    }
}

#[test]
fn two_choices_follow_the_weights_and_the_loads() {
    const DRAWS: u32 = 60_000;
    let mut rig = Rig::with_weights("twos", &[1, 2, 3, 0, 4]);
    let mut counts = [0u32; 5];
    (0..DRAWS).for_each(|_| counts[rig.pick(client(1), target(1)).expect("a server")] += 1);
    // Of the 11 numbers of a draw the first server in the list has one more than its weight.
    for (count, numbers) in counts.into_iter().zip([5, 0, 3, 2, 1]) {
        assert!(count.abs_diff(DRAWS * numbers / 11) < DRAWS / 100, "{counts:?}");
    }
    // Between an idle and a busy server of the same weight, the busy one serves only if it was drawn twice.
    let mut rig = Rig::with_weights("twos", &[100, 100]);
    rig.loads[0].active = 50;
    let busy = (0..DRAWS).filter(|_| rig.pick(client(1), target(1)) == Some(1)).count() as u32;
    assert!(busy.abs_diff(DRAWS / 4) < DRAWS / 50, "{busy}");
}
