//! Saving and restoring loses nothing: whatever the table, `-S -n --full` restored is the same table.

use control::command::{
    Command, Error, Netmask, Reply, SchedulerFlags, ServerSpec, ServiceName, ServiceSpec, ServiceView, Timeouts,
};
use control::ipvsadm::Executor;
use control::ipvsadm::names::Table;
use control::ipvsadm::run::Session;
use control::state::{Idle, Limits, State};
use forwarder::clock::Tick;
use forwarder::service::{Method, Protocol, Tunnel, TunnelChecksum};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

struct Director(State);

impl Director {
    fn new() -> Self {
        Self(State::new(Limits::default(), Tick(0)))
    }

    fn call(&mut self, words: &[&str], input: &str) -> (u8, String, String) {
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let end = Session {
            program: "ipvsadm",
            executor: self,
            names: &Table::default(),
            input: &mut input.as_bytes(),
            output: &mut output,
            errors: &mut errors,
        }
        .run(&words);
        (end.status, String::from_utf8(output).unwrap(), String::from_utf8(errors).unwrap())
    }

    /// Services and servers by name, in no order.
    fn table(&mut self) -> Vec<ServiceView> {
        let Ok(Reply::Services(mut services)) = self.execute(Command::Services { service: None }) else { panic!() };
        services.sort_by_key(|service| format!("{:?}", service.spec.service));
        services
            .iter_mut()
            .for_each(|service| service.servers.sort_by_key(|server| format!("{:?}", server.spec.name())));
        services
    }
}

impl Executor for Director {
    fn execute(&mut self, command: Command) -> Result<Reply, Error> {
        self.0.execute(command, &Idle::default())
    }
}

fn unicast(ipv6: bool) -> BoxedStrategy<IpAddr> {
    if ipv6 {
        any::<u64>().prop_map(|low| IpAddr::V6(Ipv6Addr::from_bits(0xfd01 << 112 | u128::from(low)))).boxed()
    } else {
        (0x0100_0000u32..0xdfff_ffff).prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))).boxed()
    }
}

fn name() -> impl Strategy<Value = ServiceName> {
    let protocol = prop::sample::select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp]);
    let address = (protocol, any::<bool>().prop_flat_map(unicast), 1u16..);
    prop_oneof![
        3 => address.prop_map(|(protocol, address, port)| ServiceName::Address { protocol, address, port }),
        1 => (1u32.., any::<bool>()).prop_map(|(mark, ipv6)| ServiceName::Mark { mark, ipv6 }),
    ]
}

fn service() -> impl Strategy<Value = ServiceSpec> {
    let names: Vec<_> = forwarder::scheduler::SCHEDULERS.iter().map(|known| known.name.to_owned()).collect();
    let persistence = prop::option::of(1u32..=2_678_400);
    let more = (any::<u32>(), 1u8..=128, any::<bool>(), any::<bool>(), any::<[bool; 3]>());
    let seconds = 0u32..=2_678_400;
    let timeouts = prop::option::of((seconds.clone(), seconds.clone(), seconds));
    (name(), prop::sample::select(names), persistence, timeouts, more).prop_map(
        |(service, scheduler, persistence, timeouts, (mask, prefix, sip, ops, [flag1, flag2, flag3]))| {
            let ipv6 = service.family() == forwarder::service::Family::V6;
            let netmask = if ipv6 { Netmask::Prefix(prefix) } else { Netmask::Mask(Ipv4Addr::from_bits(mask)) };
            let everyone = [Netmask::Prefix(128), Netmask::Mask(Ipv4Addr::BROADCAST)].contains(&netmask);
            let datagrams = !matches!(service, ServiceName::Address { protocol: Protocol::Tcp | Protocol::Sctp, .. });
            ServiceSpec {
                service,
                // ipvsadm's rules have no word for it.
                name: None,
                scheduler,
                flags: SchedulerFlags { flag1, flag2, flag3 },
                persistence,
                netmask: Some(netmask).filter(|_| persistence.is_some() && !everyone),
                engine: sip.then(|| "sip".to_owned()),
                one_packet: ops && datagrams,
                timeouts: timeouts.map(|(tcp, tcp_fin, udp)| Timeouts { tcp, tcp_fin, udp }),
            }
        },
    )
}

fn server(ipv6: bool) -> impl Strategy<Value = ServerSpec> {
    let sum = prop::sample::select(vec![TunnelChecksum::None, TunnelChecksum::Full, TunnelChecksum::Remote]);
    let method = prop_oneof![
        Just(Method::Nat),
        Just(Method::Dr),
        Just(Method::Tun(Tunnel::Ipip)),
        (1u16.., sum).prop_map(|(port, sum)| Method::Tun(Tunnel::Gue(port, sum))),
        any::<bool>().prop_map(|sum| {
            Method::Tun(Tunnel::Gre(if sum { TunnelChecksum::Full } else { TunnelChecksum::None }))
        }),
    ];
    (method, any::<bool>(), any::<u16>(), 0..=i32::MAX as u32, 0u32..1 << 31, 0u32..1 << 31).prop_flat_map(
        move |(method, other_family, port, weight, a, b)| {
            let other = other_family && matches!(method, Method::Tun(_));
            unicast(ipv6 != other).prop_map(move |address| ServerSpec {
                address,
                port,
                method,
                weight,
                upper: a.max(b),
                lower: a.min(b),
            })
        },
    )
}

fn table() -> impl Strategy<Value = Vec<(ServiceSpec, Vec<ServerSpec>)>> {
    let with_servers = service().prop_flat_map(|service| {
        let ipv6 = service.service.family() == forwarder::service::Family::V6;
        (Just(service), prop::collection::vec(server(ipv6), 0..5))
    });
    prop::collection::vec(with_servers, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn saved_and_restored_is_the_same(table in table(), timeouts in any::<[u16; 3]>()) {
        let mut first = Director::new();
        let [tcp, tcp_fin, udp] = timeouts.map(u32::from);
        first.execute(Command::SetTimeouts(Timeouts { tcp, tcp_fin, udp })).unwrap();
        for (service, servers) in table {
            let name = service.service;
            if first.execute(Command::AddService(service)).is_ok() {
                for server in servers {
                    // two of the same address and port are one
                    let added = first.execute(Command::AddServer { service: name, server });
                    prop_assert!(matches!(added, Ok(_) | Err(Error::DestinationExists)), "{added:?}");
                }
            }
        }
        let (status, rules, errors) = first.call(&["-S", "-n", "--full"], "");
        prop_assert_eq!((status, errors.as_str()), (0, ""));
        for restore in [&["-R"][..], &["-R", "--atomic"]] {
            let mut second = Director::new();
            prop_assert_eq!(second.call(restore, &rules), (0, String::new(), String::new()));
            prop_assert_eq!(second.table(), first.table());
            prop_assert_eq!(second.0.timeouts(), first.0.timeouts());
            // ipvsadm's order of addresses is no order, so what is listed first depends on what was added first
            let again = second.call(&["-S", "-n", "--full"], "").1;
            prop_assert_eq!(again.lines().collect::<BTreeSet<_>>(), rules.lines().collect::<BTreeSet<_>>());
        }
    }

    /// Input that is no rules ends in a message and a status, and an atomic restore of it changes nothing.
    #[test]
    fn any_input_is_answered(input in any::<String>()) {
        let mut director = Director::new();
        let (status, _, errors) = director.call(&["-R", "--atomic"], &input);
        prop_assert_eq!(status == 0, errors.is_empty());
        director.call(&["-R"], &input);
    }
}
