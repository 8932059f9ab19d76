//! The mirror against a real kernel, in network namespaces that each test makes for itself.

mod namespace;

use control::command::{Command, Error, Reply, RouteSpec};
use control::kernel::{Config, Counts, Mirror, Operator, Update, set_up};
use forwarder::route::{Mac, NextHop, Routes};
use namespace::{inside, ip, ip_batch, sysctl, try_ip};
use std::net::Ipv4Addr;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Longer than anything here takes; only a failure waits so long.
const PATIENCE: Duration = Duration::from_secs(40);

fn at(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

/// A mirror of ports named lvs0, lvs1, … and what it published last.
struct Followed {
    mirror: Mirror,
    updates: Receiver<Update>,
    last: Update,
}

impl Followed {
    fn start(ports: u16) -> Self {
        let (sender, updates) = channel();
        let interfaces = (0..ports).map(|port| (port, format!("lvs{port}"))).collect();
        let config = Config { ports, interfaces, ..Config::default() };
        let (mirror, last) = Mirror::start(config, move |update| {
            let _ = sender.send(update);
        })
        .unwrap();
        Self { mirror, updates, last }
    }

    /// Waits for an update of which `condition` is true.
    fn until(&mut self, what: &str, condition: impl Fn(&Update) -> bool) -> &Update {
        let deadline = Instant::now() + PATIENCE;
        while !condition(&self.last) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.updates.recv_timeout(left) {
                Ok(update) => self.last = update,
                Err(error) => panic!("{what}: {error}; last {:?}, {:?}", self.last, self.mirror.counts()),
            }
        }
        &self.last
    }

    /// Waits until an address is reached as described: see [`says`].
    fn expect(&mut self, address: &str, expected: &str) {
        let what = format!("{address}: expected '{expected}'");
        self.until(&what, |update| says(&update.routes, at(address)) == expected);
    }

    fn counts(&self) -> Counts {
        self.mirror.counts()
    }
}

/// How an address is reached, in words: `local`, `unreachable`, `unknown PORT`, `GATEWAY PORT [MAC]`.
fn says(routes: &Routes, address: Ipv4Addr) -> String {
    match routes.lookup(address) {
        NextHop::Local => "local".to_owned(),
        NextHop::Unreachable => "unreachable".to_owned(),
        NextHop::Unknown(port) => format!("unknown {port}"),
        NextHop::Link(id) => {
            let link = routes.link(id).unwrap();
            let mac = link.mac.map(|mac| format!(" {}", mac_text(mac))).unwrap_or_default();
            format!("{} {}{mac}", link.address, link.port)
        }
    }
}

fn mac_text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Makes an interface that is up, with nobody at its other end.
fn interface(name: &str) {
    ip(&format!("link add {name} type veth peer name far-{name}"));
    ip(&format!("link set far-{name} up"));
    ip(&format!("link set {name} up"));
}

/// Makes lvs0 (10.0.0.254/24) with a peer `server` (10.0.0.7/24) in another namespace.
fn pair(other: &str) {
    ip(&format!("link add lvs0 type veth peer name server netns {other}"));
    ip("link set lvs0 address 02:00:00:00:00:fe up");
    ip("address add 10.0.0.254/24 dev lvs0");
    ip(&format!("-n {other} link set server address 02:00:00:00:00:07 up"));
    ip(&format!("-n {other} address add 10.0.0.7/24 dev server"));
}

#[test]
fn links_addresses_routes_and_neighbours_are_followed() {
    inside("links_addresses_routes_and_neighbours_are_followed", 1, |_| {
        let mut followed = Followed::start(2);
        assert_eq!(says(&followed.last.routes, at("10.0.0.1")), "unreachable");
        assert_eq!(says(&followed.last.routes, at("127.0.0.1")), "local");

        ip("link add lvs0 type veth peer name far0");
        ip("link set lvs0 address 02:00:00:00:00:fe mtu 1400 up");
        followed.until("lvs0", |update| update.ports[0].mac == [2, 0, 0, 0, 0, 0xfe] && update.ports[0].mtu == 1400);
        ip("address add 10.0.0.254/24 brd + dev lvs0");
        ip("address add 10.0.0.253/24 dev lvs0");
        followed.expect("10.0.0.1", "unknown 0");
        followed.expect("10.0.0.254", "local");
        followed.expect("10.0.0.253", "local");
        followed.expect("10.0.0.255", "local");
        followed.until("source", |update| update.ports[0].source == at("10.0.0.254"));

        ip("route add default via 10.0.0.1");
        followed.expect("8.8.8.8", "10.0.0.1 0");
        ip("neigh replace 10.0.0.1 lladdr 02:00:00:00:00:01 dev lvs0");
        followed.expect("8.8.8.8", "10.0.0.1 0 02:00:00:00:00:01");
        let version = followed.last.routes.version;
        ip("neigh replace 10.0.0.1 lladdr 02:00:00:00:00:02 dev lvs0");
        followed.expect("8.8.8.8", "10.0.0.1 0 02:00:00:00:00:02");
        assert_eq!(followed.last.routes.version, version, "a MAC address is no answer");
        ip("route replace default via 10.0.0.2");
        followed.expect("8.8.8.8", "10.0.0.2 0");
        ip("neigh replace 10.0.0.9 lladdr 02:00:00:00:00:09 dev lvs0");
        followed.expect("10.0.0.9", "10.0.0.9 0 02:00:00:00:00:09");
        ip("neigh del 10.0.0.9 dev lvs0");
        followed.until("a deleted neighbour loses its MAC address", |update| {
            ["unknown 0", "10.0.0.9 0"].contains(&says(&update.routes, at("10.0.0.9")).as_str())
        });

        ip("route add blackhole 192.0.2.0/24");
        followed.expect("192.0.2.1", "unreachable");
        ip("route add 192.0.2.0/24 via 10.0.0.3 metric 5");
        ip("route del blackhole 192.0.2.0/24");
        followed.expect("192.0.2.1", "10.0.0.3 0");
        ip("route add 192.0.2.128/25 via 10.0.0.4 table 77");
        ip("route add 192.0.2.128/26 dev lo");
        followed.expect("192.0.2.130", "local");
        followed.expect("192.0.2.200", "10.0.0.3 0");

        ip("address del 10.0.0.254/24 dev lvs0");
        followed.until("the next source", |update| update.ports[0].source != at("10.0.0.254"));
    });
}

#[test]
fn what_the_kernel_drops_without_a_word_is_noticed() {
    inside("what_the_kernel_drops_without_a_word_is_noticed", 1, |_| {
        let mut followed = Followed::start(2);
        for port in 0..2 {
            interface(&format!("lvs{port}"));
            ip(&format!("address add 10.{port}.0.254/24 dev lvs{port}"));
        }
        interface("eth9");
        ip("route add default via 10.0.0.1 metric 5");
        ip("route add default dev eth9");
        followed.expect("8.8.8.8", "local");
        // Routes go with their interface, one that is no port too.
        ip("link set eth9 down");
        followed.expect("8.8.8.8", "10.0.0.1 0");
        ip("link set lvs0 down");
        followed.expect("8.8.8.8", "unreachable");
        ip("link set lvs0 up");
        followed.expect("10.0.0.9", "unknown 0");

        // With their source address.
        ip("address add 10.1.0.200/32 dev lo");
        ip("route add 198.51.100.0/24 via 10.1.0.1 src 10.1.0.200");
        followed.expect("198.51.100.1", "10.1.0.1 1");
        ip("address del 10.1.0.200/32 dev lo");
        followed.expect("198.51.100.1", "unreachable");

        // With their next hop object.
        ip("nexthop add id 5 via 10.0.0.5 dev lvs0");
        ip("route add 203.0.113.0/24 nhid 5");
        followed.expect("203.0.113.1", "10.0.0.5 0");
        ip("nexthop replace id 5 via 10.1.0.6 dev lvs1");
        followed.expect("203.0.113.1", "10.1.0.6 1");
        ip("nexthop del id 5");
        followed.expect("203.0.113.1", "unreachable");

        ip("link del lvs1");
        followed.expect("10.1.0.9", "unreachable");
        // A new interface of that name is the port again.
        interface("lvs1");
        ip("address add 10.1.0.254/24 dev lvs1");
        followed.expect("10.1.0.9", "unknown 1");
    });
}

#[test]
fn an_address_is_resolved_and_a_changed_mac_is_followed() {
    inside("an_address_is_resolved_and_a_changed_mac_is_followed", 2, |names| {
        let mut followed = Followed::start(1);
        pair(&names[1]);
        // The kernel doubts an address after a second instead of half a minute.
        sysctl("net/ipv4/neigh/lvs0/base_reachable_time_ms", "1000");
        sysctl("net/ipv4/neigh/lvs0/delay_first_probe_time", "1");
        sysctl("net/ipv4/neigh/lvs0/retrans_time_ms", "100");
        followed.expect("10.0.0.7", "unknown 0");
        let asker = followed.mirror.asker();
        assert!(asker.resolve(0, at("10.0.0.7")));
        followed.expect("10.0.0.7", "10.0.0.7 0 02:00:00:00:00:07");
        assert!(asker.resolve(0, at("10.0.0.8")));
        followed.expect("10.0.0.8", "10.0.0.8 0");

        // The server changes its MAC address and tells nobody: the kernel finds out when it looks again.
        asker.keep_fresh(vec![at("10.0.0.7")]);
        ip(&format!("-n {} link set server address 02:00:00:00:00:77", names[1]));
        followed.expect("10.0.0.7", "10.0.0.7 0 02:00:00:00:00:77");
        assert!(followed.counts().asked > 0);
    });
}

#[test]
fn a_gateway_is_resolved_unasked() {
    inside("a_gateway_is_resolved_unasked", 2, |names| {
        let mut followed = Followed::start(1);
        pair(&names[1]);
        ip("route add 192.0.2.0/24 via 10.0.0.7");
        followed.expect("192.0.2.1", "10.0.0.7 0 02:00:00:00:00:07");
    });
}

#[test]
fn what_an_operator_wrote_stays() {
    inside("what_an_operator_wrote_stays", 2, |names| {
        let mut followed = Followed::start(1);
        pair(&names[1]);
        ip("neigh replace 10.0.0.1 lladdr 02:00:00:00:00:01 dev lvs0 nud permanent");
        ip("route add default via 10.0.0.1");
        followed.expect("8.8.8.8", "10.0.0.1 0 02:00:00:00:00:01");
        // Asked for after both of these: when it is resolved, so would they have been.
        followed.mirror.asker().keep_fresh(vec![at("10.0.0.1"), at("10.0.0.7")]);
        followed.expect("10.0.0.7", "10.0.0.7 0 02:00:00:00:00:07");
        let neighbour = ip("neigh show 10.0.0.1 dev lvs0");
        assert!(neighbour.contains("PERMANENT"), "{neighbour}");
    });
}

#[test]
fn lost_messages_are_made_good() {
    inside("lost_messages_are_made_good", 1, |_| {
        interface("lvs0");
        ip("address add 10.0.0.254/24 dev lvs0");
        ip("route add 198.51.100.0/24 via 10.0.0.1");
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let (entered, inside_callback) = channel();
        let (sender, updates) = channel();
        let config =
            Config { ports: 1, interfaces: vec![(0, "lvs0".to_owned())], receive_buffer: 4096, ..Config::default() };
        let callback_gate = Arc::clone(&gate);
        let (mirror, last) = Mirror::start(config, move |update| {
            let _ = entered.send(());
            let (open, changed) = &*callback_gate;
            drop(changed.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
            let _ = sender.send(update);
        })
        .unwrap();
        let mut followed = Followed { mirror, updates, last };
        // The callback takes its time while much happens.
        ip("route add 192.0.2.0/24 via 10.0.0.2");
        inside_callback.recv_timeout(PATIENCE).unwrap();
        let network = |n: u32| Ipv4Addr::from(u32::from(at("172.16.0.0")) + n * 256);
        ip_batch((0..2000).map(|n| format!("route add {}/24 via 10.0.0.3", network(n))));
        ip("route del 198.51.100.0/24");
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
        followed.expect("198.51.100.1", "unreachable");
        followed.until("every route", |update| (0..2000).all(|n| says(&update.routes, network(n)) == "10.0.0.3 0"));
        let counts = followed.counts();
        assert!(counts.overruns > 0 && counts.resyncs > 1, "{counts:?}");
    });
}

#[test]
fn thousands_of_routes_come_in_few_updates() {
    inside("thousands_of_routes_come_in_few_updates", 1, |_| {
        interface("lvs0");
        ip("address add 10.0.0.254/16 dev lvs0");
        let mut followed = Followed::start(1);
        let start = Instant::now();
        let network = |n: u32| Ipv4Addr::from(u32::from(at("20.0.0.0")) + n * 512);
        ip_batch((0..12_000).map(|n| format!("route add {}/24 via 10.0.0.{}", network(n), n % 16 + 1)));
        followed.until("every route", |update| {
            (0..12_000).all(|n| says(&update.routes, network(n)) == format!("10.0.0.{} 0", n % 16 + 1))
        });
        let most = start.elapsed().as_millis() / 20 + 2;
        let counts = followed.counts();
        assert!(u128::from(counts.published) <= most, "{counts:?} in {:?}", start.elapsed());
        assert_eq!(says(&followed.last.routes, at("20.0.1.1")), "unreachable");
    });
}

/// Numbers that are the same in every run.
struct Draws(u64);

impl Draws {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32 % limit
    }
}

#[test]
fn answers_are_those_of_the_kernel() {
    inside("answers_are_those_of_the_kernel", 1, |_| {
        let mut followed = Followed::start(2);
        for port in 0..2 {
            interface(&format!("lvs{port}"));
            ip(&format!("address add 10.{port}.0.254/24 dev lvs{port}"));
        }
        let mut draws = Draws(1);
        for round in 0..6 {
            for _ in 0..40 {
                let prefix = 8 + draws.below(25);
                let mask = u32::MAX << (32 - prefix);
                let network = Ipv4Addr::from((u32::from(at("20.0.0.0")) + draws.below(1 << 24)) & mask);
                let verb = ["add", "add", "append", "replace", "prepend", "del"][draws.below(6) as usize];
                let (port, host) = (draws.below(2), draws.below(5) + 1);
                let metric = draws.below(2) * 10;
                try_ip(&format!("route {verb} {network}/{prefix} via 10.{port}.0.{host} metric {metric}"));
            }
            // The marker is the last change, so the update that has it has all.
            let marker = format!("30.0.0.{round}");
            ip(&format!("route add {marker}/32 via 10.0.0.1"));
            followed.expect(&marker, "10.0.0.1 0");
            for _ in 0..60 {
                let address = Ipv4Addr::from(u32::from(at("20.0.0.0")) + draws.below(1 << 24));
                let kernel = try_ip(&format!("route get {address}")).map_or("unreachable".to_owned(), |answer| {
                    let word_after = |word: &str| {
                        answer.split_whitespace().skip_while(|other| *other != word).nth(1).unwrap().to_owned()
                    };
                    format!("{} {}", word_after("via"), word_after("dev").trim_start_matches("lvs"))
                });
                assert_eq!(says(&followed.last.routes, address), kernel, "{address} in round {round}");
            }
        }
    });
}

#[test]
fn an_interface_is_set_up_by_name() {
    inside("an_interface_is_set_up_by_name", 1, |_| {
        let mut followed = Followed::start(1);
        ip("link add lvs0 type veth peer name far0");
        set_up("lvs0", Some([2, 0, 0, 0, 0, 0xab]), Some(1450)).unwrap();
        followed.until("set up", |update| update.ports[0].mac == [2, 0, 0, 0, 0, 0xab] && update.ports[0].mtu == 1450);
        assert!(ip("link show lvs0").contains(",UP"), "it is up");
        set_up("lvs0", None, None).unwrap();
        let error = set_up("lvs7", None, None).unwrap_err().to_string();
        assert_eq!(error, "cannot set up the interface 'lvs7': there is no such interface");
    });
}

#[test]
fn an_operator_changes_neighbours_and_routes() {
    inside("an_operator_changes_neighbours_and_routes", 1, |_| {
        interface("lvs0");
        ip("address add 10.0.0.254/24 dev lvs0");
        let mut followed = Followed::start(3);
        let interfaces = vec![Some("lvs0".to_owned()), None, Some("lvs2".to_owned())];
        let operator = Operator::new(interfaces, followed.mirror.asker());
        let neighbour = |port, address: &str, mac: &str| {
            let (address, mac) = (at(address), mac.to_owned());
            operator.execute(&Command::AddNeighbour { port, address, mac })
        };
        let forget = |address| operator.execute(&Command::DeleteNeighbour { port: 0, address: at(address) });
        let route =
            |to: &str, via: Option<&str>, port, metric| RouteSpec { to: to.to_owned(), via: via.map(at), port, metric };
        let add = |route| operator.execute(&Command::AddRoute(route));
        let delete = |route| operator.execute(&Command::DeleteRoute(route));
        // What is answered has been published: there is nothing to wait for.
        let mut now = |address: &str| {
            while let Ok(update) = followed.updates.try_recv() {
                followed.last = update;
            }
            says(&followed.last.routes, at(address))
        };

        assert_eq!(neighbour(0, "10.0.0.7", "02:00:00:00:00:07"), Ok(Reply::Done));
        assert_eq!(now("10.0.0.7"), "10.0.0.7 0 02:00:00:00:00:07");
        assert_eq!(neighbour(0, "10.0.0.7", "02:00:00:00:00:08"), Ok(Reply::Done), "another in its place");
        assert_eq!(now("10.0.0.7"), "10.0.0.7 0 02:00:00:00:00:08");
        assert!(ip("neigh show 10.0.0.7").contains("PERMANENT"));
        assert_eq!(add(route("192.0.2.0/24", Some("10.0.0.7"), None, None)), Ok(Reply::Done));
        assert_eq!(now("192.0.2.9"), "10.0.0.7 0 02:00:00:00:00:08");
        assert_eq!(add(route("default", Some("10.0.0.1"), Some(0), Some(7))), Ok(Reply::Done));
        assert_eq!(add(route("default", Some("10.0.0.2"), None, Some(3))), Ok(Reply::Done));
        assert_eq!(now("8.8.8.8"), "10.0.0.2 0");
        assert_eq!(delete(route("default", None, None, Some(3))), Ok(Reply::Done));
        assert_eq!(now("8.8.8.8"), "10.0.0.1 0");
        assert_eq!(add(route("203.0.113.5", None, Some(0), None)), Ok(Reply::Done));
        assert_eq!(now("203.0.113.5"), "unknown 0");
        assert_eq!(delete(route("203.0.113.5", None, None, None)), Ok(Reply::Done));
        assert_eq!(forget("10.0.0.7"), Ok(Reply::Done));
        assert_eq!(now("192.0.2.9"), "10.0.0.7 0");

        let why = |result: Result<Reply, Error>| result.unwrap_err().to_string();
        assert_eq!(why(forget("10.0.0.99")), "cannot delete neighbour 10.0.0.99 on lvs0: there is none");
        assert_eq!(
            why(neighbour(1, "10.0.0.7", "02:00:00:00:00:07")),
            "port 1: it has no interface in the kernel: [[neighbour]] in the configuration file is for it"
        );
        assert_eq!(
            why(neighbour(2, "10.0.0.7", "02:00:00:00:00:07")),
            "cannot use the interface 'lvs2': there is no such interface"
        );
        assert!(matches!(neighbour(3, "10.0.0.7", "02:00:00:00:00:07"), Err(Error::NoSuchPort { port: 3, .. })));
        assert_eq!(why(neighbour(0, "10.0.0.7", "2")), "'2' is no MAC address like 02:00:00:00:00:01");
        assert_eq!(
            why(add(route("192.0.2.0/24", Some("10.0.0.9"), None, None))),
            "cannot add a route to 192.0.2.0/24: there is one already; delete it first, or give this one another metric"
        );
        assert_eq!(
            why(add(route("192.0.3.0/24", Some("172.31.0.9"), Some(0), None))),
            "cannot add a route to 192.0.3.0/24: the gateway 172.31.0.9 is on no network of the director"
        );
        assert_eq!(why(add(route("192.0.3.0/24", None, None, None))), "a route has a gateway (via) or a port");
        assert_eq!(
            why(add(route("192.0.3.1/24", Some("10.0.0.9"), None, None))),
            "'192.0.3.1/24' is an address inside a network (did you mean '192.0.3.0/24'?)"
        );
        assert_eq!(
            why(delete(route("192.0.4.0/24", None, None, None))),
            "cannot delete the route to 192.0.4.0/24: there is none like that"
        );
        ip("link set lvs0 down");
        assert!(why(add(route("192.0.3.0/24", None, Some(0), None))).ends_with("the interface is down"));
    });
}
