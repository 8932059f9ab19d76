//! Routes against the kernel's rules: single cases by hand, and random ones against a model that scans lists.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

const MAC: Mac = [2, 0, 0, 0, 0, 1];

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn route(network: &str, target: Target) -> Route {
    let (network, prefix) = network.split_once('/').unwrap();
    Route { table: Table::Main, network: ip(network), prefix: prefix.parse().unwrap(), metric: 0, target }
}

fn via(port: u16, gateway: &str) -> Hop {
    Hop { port, gateway: Some(ip(gateway)), weight: 1 }
}

fn on_link(port: u16) -> Target {
    Target::Hops(vec![Hop { port, gateway: None, weight: 1 }])
}

fn up(port: u16) -> Event {
    Event::Port { port, up: true, mac: [2, 0, 0, 0, 1, port as u8], mtu: 1500 }
}

fn neighbour(port: u16, address: &str, mac: Option<Mac>) -> Event {
    Event::Neighbour(Neighbour { port, address: ip(address), mac })
}

/// A builder with two ports up, 10.0.0.0/24 on port 0 and a default route by 10.0.0.1.
fn builder() -> RoutesBuilder {
    let mut builder = RoutesBuilder::new(2);
    builder.apply(up(0));
    builder.apply(up(1));
    builder.apply(Event::RouteAdded(route("10.0.0.0/24", on_link(0)), Place::Last));
    builder.apply(Event::RouteAdded(route("0.0.0.0/0", Target::Hops(vec![via(0, "10.0.0.1")])), Place::Last));
    builder
}

fn link_address(routes: &Routes, address: &str) -> Ipv4Addr {
    match routes.lookup(ip(address)) {
        NextHop::Link(id) => routes.link(id).unwrap().address,
        other => panic!("{address}: {other:?} is no link"),
    }
}

#[test]
fn nothing_is_reachable_before_the_first_route() {
    assert_eq!(Routes::default().lookup(ip("10.0.0.1")), NextHop::Unreachable);
    let (routes, ports) = RoutesBuilder::new(1).build().unwrap();
    assert_eq!(routes.lookup(ip("10.0.0.1")), NextHop::Unreachable);
    assert_eq!(ports, [Port { mac: [0; 6], mtu: 1500, source: Ipv4Addr::UNSPECIFIED }]);
}

#[test]
fn a_gateway_has_a_link_before_it_is_resolved_and_an_address_on_link_has_none() {
    let mut builder = builder();
    let (routes, _) = builder.build().unwrap();
    assert_eq!(link_address(&routes, "8.8.8.8"), ip("10.0.0.1"));
    let id = routes.neighbour(0, ip("10.0.0.1")).unwrap();
    assert_eq!(routes.link(id).unwrap(), &Link { address: ip("10.0.0.1"), port: 0, mac: None });
    assert_eq!(routes.lookup(ip("10.0.0.7")), NextHop::Unknown(0));
    assert_ne!(routes.version, 0);

    builder.apply(neighbour(0, "10.0.0.7", None));
    let (later, _) = builder.build().unwrap();
    assert_eq!(link_address(&later, "10.0.0.7"), ip("10.0.0.7"));
    assert_ne!(later.version, routes.version);
    assert_eq!(later.neighbour(0, ip("10.0.0.1")), Some(id));
}

#[test]
fn a_new_mac_changes_the_link_and_no_answer() {
    let mut builder = builder();
    builder.apply(neighbour(0, "10.0.0.7", Some(MAC)));
    let (before, _) = builder.build().unwrap();
    let NextHop::Link(id) = before.lookup(ip("10.0.0.7")) else { panic!("no link") };
    for mac in [None, Some([2, 0, 0, 0, 0, 9])] {
        builder.apply(neighbour(0, "10.0.0.7", mac));
        let (after, _) = builder.build().unwrap();
        assert_eq!((after.version, after.lookup(ip("10.0.0.7"))), (before.version, NextHop::Link(id)));
        assert_eq!(after.link(id).unwrap().mac, mac);
    }
    builder.apply(neighbour(0, "10.0.0.7", Some([2, 0, 0, 0, 0, 9])));
    assert!(builder.build().is_none(), "the same again is no change");
}

/// A connection that is idle for long must not take its old link for a current one.
#[test]
fn a_version_does_not_come_again_soon() {
    let mut builder = builder();
    let (first, _) = builder.build().unwrap();
    for change in 1..=u32::from(u16::MAX) {
        builder.apply(match change % 2 {
            1 => neighbour(0, "10.0.0.7", Some(MAC)),
            _ => Event::NeighbourRemoved { port: 0, address: ip("10.0.0.7") },
        });
        let (routes, _) = builder.build().unwrap();
        assert_ne!(routes.version, first.version, "after {change} changes");
    }
}

#[test]
fn a_removed_neighbour_is_unknown_again_and_its_number_serves_another() {
    let mut builder = builder();
    builder.apply(neighbour(0, "10.0.0.7", Some(MAC)));
    let (before, _) = builder.build().unwrap();
    let old = before.neighbour(0, ip("10.0.0.7")).unwrap();
    builder.apply(Event::NeighbourRemoved { port: 0, address: ip("10.0.0.7") });
    let (after, _) = builder.build().unwrap();
    assert_eq!(after.lookup(ip("10.0.0.7")), NextHop::Unknown(0));
    assert_ne!(after.version, before.version);
    builder.apply(neighbour(0, "10.0.0.8", Some(MAC)));
    let (last, _) = builder.build().unwrap();
    assert_eq!(last.lookup(ip("10.0.0.8")), NextHop::Link(old));
    assert_eq!(last.links.len(), before.links.len());
}

#[test]
fn the_local_table_is_asked_first_even_for_a_shorter_prefix() {
    let mut builder = builder();
    let local = Route { table: Table::Local, ..route("10.0.0.0/16", Target::Local) };
    builder.apply(Event::RouteAdded(local.clone(), Place::Last));
    let (routes, _) = builder.build().unwrap();
    assert_eq!(routes.lookup(ip("10.0.0.7")), NextHop::Local);
    assert_eq!(link_address(&routes, "10.1.0.0"), ip("10.0.0.1"));
    builder.apply(Event::RouteRemoved(local));
    let (routes, _) = builder.build().unwrap();
    assert_eq!(routes.lookup(ip("10.0.0.7")), NextHop::Unknown(0));
}

#[test]
fn a_blackhole_hides_the_shorter_route_and_edges_of_networks_are_exact() {
    let mut builder = builder();
    builder.apply(Event::RouteAdded(route("192.0.2.128/25", Target::Unreachable), Place::Last));
    builder.apply(Event::RouteAdded(route("255.255.255.254/31", Target::Unreachable), Place::Last));
    builder.apply(Event::RouteAdded(route("0.0.0.0/32", Target::Unreachable), Place::Last));
    let (routes, _) = builder.build().unwrap();
    for (address, reachable) in [
        ("192.0.2.127", true),
        ("192.0.2.128", false),
        ("192.0.2.255", false),
        ("192.0.3.0", true),
        ("0.0.0.0", false),
        ("0.0.0.1", true),
        ("255.255.255.253", true),
        ("255.255.255.254", false),
    ] {
        assert_eq!(routes.lookup(ip(address)) != NextHop::Unreachable, reachable, "{address}");
    }
    assert_eq!(routes.lookup(ip("255.255.255.255")), NextHop::Local);
    assert_eq!(routes.lookup(ip("224.0.0.18")), NextHop::Local);
}

#[test]
fn the_lowest_metric_counts_then_the_first_of_the_list() {
    let mut builder = builder();
    let by = |gateway: &str, metric| Route { metric, ..route("192.0.2.0/24", Target::Hops(vec![via(0, gateway)])) };
    let mut check = |event: Event, expected: &str| {
        builder.apply(event);
        let (routes, _) = builder.build().unwrap();
        assert_eq!(link_address(&routes, "192.0.2.1"), ip(expected));
    };
    check(Event::RouteAdded(by("10.0.0.20", 20), Place::First), "10.0.0.20");
    check(Event::RouteAdded(by("10.0.0.10", 10), Place::First), "10.0.0.10");
    check(Event::RouteAdded(by("10.0.0.11", 10), Place::Last), "10.0.0.10");
    check(Event::RouteAdded(by("10.0.0.12", 10), Place::First), "10.0.0.12");
    check(Event::RouteAdded(by("10.0.0.13", 10), Place::Replace), "10.0.0.13");
    check(Event::RouteRemoved(by("10.0.0.13", 10)), "10.0.0.10");
    check(Event::RouteRemoved(by("10.0.0.10", 10)), "10.0.0.11");
    check(Event::RouteRemoved(by("10.0.0.11", 10)), "10.0.0.20");
}

#[test]
fn routes_by_a_port_that_is_down_do_not_count() {
    let mut builder = builder();
    builder.apply(Event::RouteAdded(route("192.0.2.0/24", Target::Hops(vec![via(1, "10.1.0.1")])), Place::Last));
    let (routes, _) = builder.build().unwrap();
    assert_eq!(link_address(&routes, "192.0.2.1"), ip("10.1.0.1"));
    builder.apply(Event::Port { port: 1, up: false, mac: [2, 0, 0, 0, 1, 1], mtu: 1500 });
    let (routes, _) = builder.build().unwrap();
    assert_eq!(link_address(&routes, "192.0.2.1"), ip("10.0.0.1"));
}

#[test]
fn several_next_hops_share_by_weight_and_an_address_keeps_its_own() {
    let mut builder = builder();
    let hops = vec![Hop { weight: 3, ..via(0, "10.0.0.2") }, via(1, "10.1.0.3")];
    builder.apply(Event::RouteAdded(route("172.16.0.0/12", Target::Hops(hops)), Place::Last));
    let (routes, _) = builder.build().unwrap();
    let mut first = 0;
    for n in 0..4000u32 {
        let address = Ipv4Addr::from(u32::from(ip("172.16.0.0")) + n * 7);
        let NextHop::Link(id) = routes.lookup(address) else { panic!("no link") };
        assert_eq!(routes.lookup(address), NextHop::Link(id));
        first += u32::from(routes.link(id).unwrap().address == ip("10.0.0.2"));
    }
    let mut gateways: Vec<_> = routes.gateways().map(|id| routes.link(id).unwrap().address).collect();
    gateways.sort_unstable();
    gateways.dedup();
    assert_eq!(gateways, ["10.0.0.1", "10.0.0.2", "10.1.0.3"].map(ip));
    assert!((2700..=3300).contains(&first), "{first} of 4000 by a path of weight 3 in 4");
}

#[test]
fn the_first_address_of_a_port_is_its_source() {
    let mut builder = builder();
    let _ = builder.build();
    let mut source = |event: Event| {
        builder.apply(event);
        builder.build().map(|(_, ports)| ports[0].source)
    };
    let added = |address: &str| Event::AddressAdded { port: 0, address: ip(address) };
    assert_eq!(source(added("10.0.0.254")), Some(ip("10.0.0.254")));
    assert_eq!(source(added("10.0.0.253")), None);
    assert_eq!(source(Event::AddressRemoved { port: 0, address: ip("10.0.0.254") }), Some(ip("10.0.0.253")));
    assert_eq!(source(Event::AddressAdded { port: 7, address: ip("10.7.0.1") }), None);
}

#[test]
fn being_told_everything_anew_changes_nothing() {
    let tell = |builder: &mut RoutesBuilder| {
        builder.apply(up(0));
        builder.apply(neighbour(0, "10.0.0.9", Some(MAC)));
        builder.apply(neighbour(0, "10.0.0.7", Some(MAC)));
        builder.apply(Event::RouteAdded(route("10.0.0.0/24", on_link(0)), Place::Last));
        builder.apply(Event::RouteAdded(route("0.0.0.0/0", Target::Hops(vec![via(0, "10.0.0.9")])), Place::Last));
    };
    let mut builder = RoutesBuilder::new(1);
    tell(&mut builder);
    assert!(builder.build().is_some());
    builder.reset();
    tell(&mut builder);
    assert_eq!(builder.build().map(|(routes, _)| routes.version), None);
}

#[test]
fn numbers_run_out_for_neighbours_before_gateways_and_without_harm() {
    let mut builder = builder();
    for n in 0..70_000u32 {
        let address = Ipv4Addr::from(u32::from(ip("10.64.0.0")) + n);
        builder.apply(Event::Neighbour(Neighbour { port: 0, address, mac: Some(MAC) }));
    }
    builder.apply(Event::RouteAdded(route("10.64.0.0/10", on_link(0)), Place::Last));
    let (routes, _) = builder.build().unwrap();
    assert_eq!(routes.links.len(), 65_536);
    assert_eq!(link_address(&routes, "8.8.8.8"), ip("10.0.0.1"));
    let last = Ipv4Addr::from(u32::from(ip("10.64.0.0")) + 69_999);
    assert_eq!(routes.lookup(last), NextHop::Unknown(0));
}

/// The kernel's rules on plain lists.
#[derive(Default)]
struct Model {
    up: [bool; 3],
    routes: Vec<Route>,
    neighbours: HashMap<(u16, Ipv4Addr), Option<Mac>>,
}

impl Model {
    fn same_place(a: &Route, b: &Route) -> bool {
        (a.table, a.network, a.prefix, a.metric) == (b.table, b.network, b.prefix, b.metric)
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Port { port, up, .. } => self.up[usize::from(*port)] = *up,
            Event::RouteAdded(route, place) if !self.routes.contains(route) => {
                let first = self.routes.iter().position(|known| Self::same_place(known, route));
                match (place, first) {
                    (Place::Last, _) | (_, None) => self.routes.push(route.clone()),
                    (Place::First, Some(first)) => self.routes.insert(first, route.clone()),
                    (Place::Replace, Some(first)) => self.routes[first] = route.clone(),
                }
            }
            Event::RouteRemoved(route) => self.routes.retain(|known| known != route),
            Event::Neighbour(Neighbour { port, address, mac }) => {
                self.neighbours.insert((*port, *address), *mac);
            }
            Event::NeighbourRemoved { port, address } => {
                self.neighbours.remove(&(*port, *address));
            }
            _ => {}
        }
    }

    fn matches(route: &Route, address: Ipv4Addr) -> bool {
        let shift = 32 - u32::from(route.prefix);
        u64::from(u32::from(route.network)) >> shift == u64::from(u32::from(address)) >> shift
    }

    /// The next hops that the best route allows: (port, gateway or the address itself), or what else it says.
    fn lookup(&self, address: Ipv4Addr) -> Result<Vec<(u16, Ipv4Addr, bool)>, NextHop> {
        for table in [Table::Local, Table::Main] {
            let mut best: Option<(&Route, Result<Vec<_>, NextHop>)> = None;
            for route in self.routes.iter().filter(|route| route.table == table && Self::matches(route, address)) {
                let says = match &route.target {
                    Target::Local => Err(NextHop::Local),
                    Target::Unreachable => Err(NextHop::Unreachable),
                    Target::Hops(hops) => {
                        let live = hops.iter().filter(|hop| self.up[usize::from(hop.port)]);
                        Ok(live.map(|hop| (hop.port, hop.gateway.unwrap_or(address), hop.gateway.is_some())).collect())
                    }
                };
                if says.as_ref().is_ok_and(Vec::is_empty) {
                    continue;
                }
                let rank = |route: &Route| (32 - route.prefix, route.metric);
                if best.as_ref().is_none_or(|(known, _)| rank(route) < rank(known)) {
                    best = Some((route, says));
                }
            }
            if let Some((_, says)) = best {
                return says;
            }
        }
        Err(NextHop::Unreachable)
    }

    fn agrees(&self, routes: &Routes, address: Ipv4Addr) -> Result<(), TestCaseError> {
        let got = routes.lookup(address);
        match (self.lookup(address), got) {
            (Err(expected), _) => prop_assert_eq!(got, expected, "{}", address),
            (Ok(hops), NextHop::Link(id)) => {
                let link = routes.link(id).unwrap();
                let allowed = hops.iter().any(|hop| (hop.0, hop.1) == (link.port, link.address));
                prop_assert!(allowed, "{} by {:?}, expected one of {:?}", address, link, hops);
                let mac = self.neighbours.get(&(link.port, link.address)).copied().flatten();
                prop_assert_eq!(link.mac, mac);
            }
            (Ok(hops), NextHop::Unknown(port)) => {
                let unknown = !self.neighbours.contains_key(&(port, address));
                let on_link = hops.iter().any(|hop| (hop.0, hop.1, hop.2) == (port, address, false));
                prop_assert!(unknown && on_link, "{} unknown on {}, expected one of {:?}", address, port, hops);
            }
            (Ok(hops), _) => prop_assert!(false, "{}: {:?}, expected one of {:?}", address, got, hops),
        }
        Ok(())
    }
}

/// Few addresses, so that routes and neighbours meet: 64.0.0.0 and up, with ends of address space among them.
fn any_address() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![
        8 => (0u32..32).prop_map(|n| Ipv4Addr::from(0x4000_0000 + n)),
        1 => (0u32..4).prop_map(Ipv4Addr::from),
        1 => (0u32..4).prop_map(|n| Ipv4Addr::from(0xFFFF_FFFE - n)),
    ]
}

fn any_target() -> impl Strategy<Value = Target> {
    let hop = (0u16..3, proptest::option::of(any_address()), 0u16..4);
    let hops = proptest::collection::vec(hop.prop_map(|(port, gateway, weight)| Hop { port, gateway, weight }), 1..4);
    prop_oneof![1 => Just(Target::Local), 1 => Just(Target::Unreachable), 4 => hops.prop_map(Target::Hops)]
}

fn any_route() -> impl Strategy<Value = Route> {
    let prefix = prop_oneof![4 => 26u8..=32, 1 => Just(0u8), 1 => 1u8..26];
    let table = prop_oneof![3 => Just(Table::Main), 1 => Just(Table::Local)];
    (table, any_address(), prefix, 0u32..3, any_target()).prop_map(|(table, address, prefix, metric, target)| {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        Route { table, network: Ipv4Addr::from(u32::from(address) & mask), prefix, metric, target }
    })
}

#[derive(Clone, Debug)]
enum Step {
    Event(Event),
    /// Removes one of the routes that are there.
    Remove(prop::sample::Index),
}

fn any_step() -> impl Strategy<Value = Step> {
    let place = prop_oneof![Just(Place::First), Just(Place::Last), Just(Place::Replace)];
    let mac = proptest::option::of((0u8..3).prop_map(|n| [2, 0, 0, 0, 0, n]));
    let event = prop_oneof![
        1 => (0u16..3, any::<bool>()).prop_map(|(port, up)| Event::Port { port, up, mac: MAC, mtu: 1500 }),
        6 => (any_route(), place).prop_map(|(route, place)| Event::RouteAdded(route, place)),
        3 => (0u16..3, any_address(), mac)
            .prop_map(|(port, address, mac)| Event::Neighbour(Neighbour { port, address, mac })),
        1 => (0u16..3, any_address()).prop_map(|(port, address)| Event::NeighbourRemoved { port, address }),
    ];
    prop_oneof![6 => event.prop_map(Step::Event), 1 => any::<prop::sample::Index>().prop_map(Step::Remove)]
}

proptest! {
    #[test]
    fn lookups_agree_with_a_linear_scan(steps in proptest::collection::vec((any_step(), any::<bool>()), 1..60)) {
        let mut builder = RoutesBuilder::new(3);
        let mut model = Model::default();
        for port in 0..3 {
            builder.apply(up(port));
            model.apply(&up(port));
        }
        let mut last = Routes::default();
        let probes: Vec<Ipv4Addr> = (0u32..5)
            .chain(0x3FFF_FFFE..0x4000_0022)
            .chain(0xFFFF_FFF9..0xFFFF_FFFF)
            .map(Ipv4Addr::from)
            .filter(|address| !address.is_multicast())
            .collect();
        for (step, build) in steps {
            let event = match step {
                Step::Event(event) => event,
                Step::Remove(_) if model.routes.is_empty() => continue,
                Step::Remove(index) => Event::RouteRemoved(index.get(&model.routes).clone()),
            };
            model.apply(&event);
            builder.apply(event);
            if !build {
                continue;
            }
            if let Some((next, _)) = builder.build() {
                let differs = probes.iter().any(|probe| next.lookup(*probe) != last.lookup(*probe));
                prop_assert!(!differs || next.version != last.version, "answers changed under one version");
                for link in &*last.links {
                    if let (Some(before), Some(now)) =
                        (last.neighbour(link.port, link.address), next.neighbour(link.port, link.address))
                    {
                        prop_assert_eq!(now, before, "a neighbour's number changed");
                    }
                }
                last = next;
            }
            for probe in &probes {
                model.agrees(&last, *probe)?;
            }
        }
    }
}

#[test]
fn an_address_set_misses_none_and_grows_by_being_made_anew() {
    let address = |n: u32| Ipv4Addr::from_bits(0x0a00_0000 + n);
    let mut set = AddressSet::default();
    let mut made = 0;
    for n in 0..5000 {
        if !set.insert(address(n)) {
            made += 1;
            set = AddressSet::new((0..n + 1).map(address));
        }
        assert!(set.may_contain(address(n)) && set.told() == n as usize + 1);
    }
    assert!((0..5000).all(|n| set.may_contain(address(n))) && made < 64, "made anew {made} times");
    assert!((5000..15_000).filter(|&n| set.may_contain(address(n))).count() < 1000);
}
