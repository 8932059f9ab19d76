//! Services, daemons, timeouts and metrics of the file; what is written is what is read.

use super::mistakes;
use crate::command::{DaemonRole, DaemonSpec, Netmask, SchedulerFlags, ServerSpec, ServiceName, ServiceSpec, Timeouts};
use crate::config::{Config, Device, Format, Idle, Level, Log, Metrics, Port, Service, Side};
use crate::kernel::{FixedNeighbour, FixedRoute, Network};
use forwarder::scheduler::SCHEDULERS;
use forwarder::service::{Method, Protocol, Tunnel, TunnelChecksum};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn tcp(address: &str, port: u16) -> ServiceName {
    ServiceName::Address { protocol: Protocol::Tcp, address: address.parse().unwrap(), port }
}

#[test]
fn services_are_understood() {
    let config = Config::parse(
        r#"
        [timeouts]
        tcp = "15m"
        udp = 60

        [metrics]
        listen = "[::1]:9100"
        backends = false

        [[sync]]
        role = "master"
        interface = "eth0"
        id = 7

        [[service]]
        tcp = "192.0.2.1:80"
        scheduler = "sh"
        flags = ["sh-port"]
        name = "web"
        persistent = "5m"
        netmask = "255.255.255.0"

        [[service.server]]
        address = "10.0.0.2:8080"
        method = "nat"
        weight = 3

        [[service.server]]
        address = "10.0.0.3:8080"

        [[service]]
        fwmark = 7
        ipv6 = true
        ops = true

        [[service.server]]
        address = "2001:db8::2"
        tunnel = "gue"
        tunnel_port = 6080
        tunnel_checksum = "remote"
        upper = 10
        lower = 5
        "#,
    )
    .unwrap();
    assert_eq!(config.timeouts, Timeouts { tcp: 900, tcp_fin: 0, udp: 60 });
    assert_eq!(
        config.metrics,
        Metrics { listen: Some("[::1]:9100".parse().unwrap()), backends: false, ..Metrics::default() }
    );
    let daemon = DaemonSpec {
        role: DaemonRole::Master,
        interface: "eth0".to_owned(),
        sync_id: 7,
        max_len: None,
        group: None,
        port: None,
        ttl: None,
    };
    assert_eq!(config.daemons, [daemon]);
    let mut web = ServiceSpec::new(tcp("192.0.2.1", 80));
    web.scheduler = "sh".to_owned();
    web.flags.flag2 = true;
    web.name = Some("web".to_owned());
    web.persistence = Some(300);
    web.netmask = Some(Netmask::Mask([255, 255, 255, 0].into()));
    let server = |address: &str, port| ServerSpec::new(address.parse().unwrap(), port);
    let servers = vec![
        ServerSpec { method: Method::Nat, weight: 3, ..server("10.0.0.2", 8080) },
        // DR: the port is the service's, whatever is written.
        server("10.0.0.3", 80),
    ];
    assert_eq!(config.services[0], Service { spec: web, servers });
    let mut marked = ServiceSpec::new(ServiceName::Mark { mark: 7, ipv6: true });
    marked.one_packet = true;
    let method = Method::Tun(Tunnel::Gue(6080, TunnelChecksum::Remote));
    let servers = vec![ServerSpec { method, upper: 10, lower: 5, ..server("2001:db8::2", 0) }];
    assert_eq!(config.services[1], Service { spec: marked, servers });
}

#[test]
fn every_mistake_is_found_at_its_place() {
    let text = r#"
[timeouts]
tcp = "0s"
[[service]]
tcp = "192.0.2.1"
scheduler = "wcl"
netmask = "255.255.0.0"
[[service]]
tcp = "192.0.2.2:80"
udp = "192.0.2.2:80"
[[service]]
tcp = "192.0.2.3:80"
flags = ["sh-port"]
[[service.server]]
address = "10.0.0.2:0:0"
[[service.server]]
address = "10.0.0.2"
method = "nat"
tunnel = "gre"
[[service.server]]
address = "10.0.0.4"
lower = 5
[[service.server]]
address = "10.0.0.5"
[[service.server]]
address = "10.0.0.5"
[[service]]
tcp = "192.0.2.3:80"
[[service]]
fwmark = 0
[[service]]
udp = "192.0.2.3:80"
name = "a b"
[[service]]
udp = "192.0.2.4:80"
name = "a"
[[service]]
udp = "192.0.2.5:80"
name = "a"
"#;
    let expected = [
        "line 3, column 7: a timeout is 1 second to 31 days",
        "line 6, column 13: there is no scheduler 'wcl' (did you mean 'wlc'?)",
        "line 7, column 11: a netmask means nothing without persistent",
        "line 8, column 1: a service has one of tcp, udp, sctp and fwmark, like tcp = \"192.0.2.1:80\"",
        "line 13, column 10: 'sh-port' is no flag of wlc (flag-1, flag-2, flag-3; with sh sh-fallback, sh-port; with mh \
         mh-fallback, mh-port)",
        "line 15, column 11: '10.0.0.2:0:0' is no address with or without a port, like 10.0.0.2:8080",
        "line 18, column 10: a tunnel is for method = \"tun\"",
        "line 20, column 1: Numerical result out of range",
        "line 25, column 1: Destination already exists",
        "line 27, column 1: Service already exists",
        "line 30, column 10: a mark is 1 to 4294967295, not 0",
        "line 33, column 8: 'a b' is no name for a service: 1 to 63 letters, digits, '.', '_' and '-'",
        "line 37, column 1: another service is called 'a'",
    ];
    assert_eq!(mistakes(text), expected);
    for (text, expected) in [
        ("[timeouts]\ntcp = \"5 minutes\"", "expected a duration with its unit like"),
        ("[[service]]\ntpc = \"192.0.2.1:80\"", "did you mean 'tcp'?"),
        ("[[service]]\ntcp = \"192.0.2.1:80\"\n[[service.server]]\nadress = \"x\"", "did you mean 'address'?"),
        ("[metrics]\nprocfs = \"/proc\"", "line 2, column 10: '/proc' is no directory for files like the kernel's"),
        ("[metrics]\nlisten = \"localhost\"", "line 2, column 10: 'localhost' is no address with a port"),
    ] {
        assert!(mistakes(text)[0].contains(expected), "{:?}", mistakes(text));
    }
}

#[test]
fn files_of_conf_d_are_parts_of_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let path = directory.path().join("rvs.toml");
    std::fs::create_dir(directory.path().join("conf.d")).unwrap();
    write("rvs.toml", "[timeouts]\nudp = 60\n[[service]]\ntcp = \"192.0.2.1:80\"\n");
    write("conf.d/20-more.toml", "[[service]]\ntcp = \"192.0.2.3:80\"\n[marks]\nrules = [\"set 2\"]\n");
    write("conf.d/10-web.toml", "[[service]]\ntcp = \"192.0.2.2:80\"\n[marks]\nrules = [\"port 80 set 1\"]\n");
    write("conf.d/README", "not TOML");
    let config = Config::load(&path).unwrap();
    let names: Vec<_> = config.services.iter().map(|service| service.spec.service).collect();
    assert_eq!(names, [tcp("192.0.2.1", 80), tcp("192.0.2.2", 80), tcp("192.0.2.3", 80)]);
    assert_eq!(config.marks.iter().map(|rule| rule.mark).collect::<Vec<_>>(), [1, 2]);
    write("conf.d/20-more.toml", "[timeouts]\nudp = 61\n\n[[service]]\ntcp = \"192.0.2.1:80\"\n");
    let error = Config::load(&path).unwrap_err().to_string();
    assert!(error.ends_with("conf.d/20-more.toml: line 2, column 7: another file says this already"), "{error}");
    write("conf.d/20-more.toml", "[[service]]\ntcp = \"192.0.2.1:80\"\n");
    let error = Config::load(&path).unwrap_err().to_string();
    assert!(error.ends_with("conf.d/20-more.toml: line 1, column 1: Service already exists"), "{error}");
    write("conf.d/10-web.toml", "[[servise]]\n");
    let error = Config::load(&path).unwrap_err().to_string();
    assert!(error.contains("conf.d/10-web.toml: line 1, column 3: unknown field `servise`"), "{error}");
}

prop_compose! {
    fn server(v6: bool)(
        last in 1u8..250,
        port in 0u16..3,
        kind in 0u8..4,
        tunnel_port in 1u16..,
        checksum in 0u8..3,
        weight in 0u32..=i32::MAX as u32,
        upper in 0u32..,
        lower in 0u32..,
    ) -> ServerSpec {
        let checksum = match checksum {
            0 => TunnelChecksum::None,
            1 => TunnelChecksum::Full,
            _ => TunnelChecksum::Remote,
        };
        let method = match kind {
            0 => Method::Nat,
            1 => Method::Dr,
            2 => Method::Tun(Tunnel::Gue(tunnel_port, checksum)),
            _ if checksum == TunnelChecksum::Full => Method::Tun(Tunnel::Gre(checksum)),
            _ => Method::Tun(Tunnel::Ipip),
        };
        let address = match v6 {
            true => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into())),
            false => IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)),
        };
        ServerSpec { address, port, method, weight, upper, lower: if lower > upper { 0 } else { lower } }
    }
}

prop_compose! {
    fn service()(
        kind in 0u8..6,
        last in 1u8..250,
        port in 0u16..4,
        scheduler in 0..SCHEDULERS.len(),
        flags in 0u8..8,
        persistence in proptest::option::of(1u32..=31 * 86_400),
        bits in proptest::option::of(1u8..=32),
        sip in any::<bool>(),
        one_packet in any::<bool>(),
        name in proptest::option::of("[a-z0-9._-]{1,8}"),
        timeouts in proptest::option::of((0u32..1000, 0u32..1000, 1u32..=31 * 86_400)),
        servers in proptest::collection::vec((server(false), server(true)), 0..5),
    ) -> Service {
        let v6 = kind % 2 == 1;
        let address = match v6 {
            true => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, last.into())),
            false => IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)),
        };
        let service = match kind / 2 {
            0 => ServiceName::Address { protocol: Protocol::Tcp, address, port },
            1 => ServiceName::Address { protocol: Protocol::Sctp, address, port },
            _ => ServiceName::Mark { mark: u32::from(last), ipv6: v6 },
        };
        let netmask = persistence.and(bits).map(|bits| match v6 {
            true => Netmask::Prefix(bits),
            false => Netmask::Mask(Ipv4Addr::from(u32::MAX << (32 - bits))),
        });
        let mut known = Vec::new();
        let servers = servers.into_iter().map(|(v4_server, v6_server)| if v6 { v6_server } else { v4_server });
        let servers = servers.map(|server| match (server.method, service.port()) {
            (Method::Dr | Method::Tun(_), Some(port)) => ServerSpec { port, ..server },
            _ => server,
        });
        let servers = servers.filter(|server| {
            let fresh = !known.contains(&server.name());
            known.push(server.name());
            fresh
        });
        let spec = ServiceSpec {
            scheduler: SCHEDULERS[scheduler].name.to_owned(),
            flags: SchedulerFlags { flag1: flags & 1 != 0, flag2: flags & 2 != 0, flag3: flags & 4 != 0 },
            persistence,
            netmask,
            engine: sip.then(|| "sip".to_owned()),
            one_packet,
            name,
            timeouts: timeouts.map(|(tcp, tcp_fin, udp)| Timeouts { tcp, tcp_fin, udp }),
            ..ServiceSpec::new(service)
        };
        Service { spec, servers: servers.collect() }
    }
}

/// Any table of services, each name once.
pub(in crate::config) fn services() -> impl Strategy<Value = Vec<Service>> {
    proptest::collection::vec(service(), 0..6).prop_map(|services| {
        let mut known = Vec::new();
        let mut services = services;
        services.retain(|service| {
            let fresh = !known.contains(&service.spec.service);
            known.push(service.spec.service);
            fresh
        });
        let mut names = Vec::new();
        for service in &mut services {
            service.spec.name = service.spec.name.take().filter(|name| !names.contains(name));
            names.extend(service.spec.name.clone());
        }
        services
    })
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(
        services in services(),
        tcp in 0u32..=31 * 86_400,
        udp in 0u32..=31 * 86_400,
        capacity in proptest::option::of(1u32..1 << 30),
        odd in any::<bool>(),
        exceptions in any::<[Option<u32>; 4]>(),
    ) {
        let port = |device, kernel: Option<&str>| {
            let addresses = match kernel {
                None => vec![Network { address: Ipv4Addr::new(10, 0, 0, 254), prefix: 24 }],
                Some(_) => Vec::new(),
            };
            let side = odd.then_some(Side::Inside);
            let (queues, mtu) = (odd.then_some(2), odd.then_some(9000));
            Port { device, kernel: kernel.map(str::to_owned), queues, side, mtu, addresses }
        };
        let config = Config {
            eal: if odd { vec!["-l".to_owned(), "0,\"2\\'\n".to_owned()] } else { Vec::new() },
            ports: vec![
                port(Device::Name("0000:3b:00.0".to_owned()), Some("lvs0")),
                port(Device::Number(5), Some("wan")),
                port(Device::Name("net_null0".to_owned()), None),
            ],
            socket: odd.then(|| "/run/a b.sock".into()),
            log: Log {
                level: if odd { Level::Debug } else { Level::Info },
                format: if odd { Format::Json } else { Format::Text },
            },
            capacity,
            idle: if odd { Idle::Pause } else { Idle::Poll },
            neighbours: vec![FixedNeighbour { port: 2, address: [10, 0, 0, 7].into(), mac: [2, 0, 0, 0, 0, 7] }],
            routes: vec![FixedRoute {
                network: Network { address: Ipv4Addr::UNSPECIFIED, prefix: 0 },
                gateway: [10, 0, 0, 7].into(),
            }],
            marks: vec!["tcp to 192.0.2.0/24 port 80-90 set 1".parse().unwrap(), "set 2".parse().unwrap()],
            exceptions,
            settings: vec![("expire_nodest_conn".into(), "1".into()), ("sync_threshold".into(), "3 50".into())],
            timeouts: Timeouts { tcp, tcp_fin: 0, udp },
            services,
            daemons: Vec::new(),
            metrics: Metrics {
                listen: odd.then(|| ([127, 0, 0, 1], 1).into()),
                backends: odd,
                workers: odd,
                node_names: !odd,
                procfs: odd.then(|| "/run/rvs/proc".into()),
            },
        };
        let text = config.text();
        prop_assert_eq!(Config::parse(&text).map_err(|mistakes| format!("{mistakes:?}\n{text}")), Ok(config));
    }
}
