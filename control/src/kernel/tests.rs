//! The parts without a kernel: messages made by hand, and time that is told.

use super::pace::Pace;
use super::resolver::{Key, MOST_ASKED, Millis, Resolver};
use super::socket::{Message, messages};
use super::translate::{Then, Translator};
use super::*;
use forwarder::route::{
    Event, Hop, LinkId, Mac, Neighbour, NextHop, Place, Route, Routes, RoutesBuilder, Table, Target,
};
use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NetlinkMessage};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHop, RouteNextHopFlags, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};

const MAC: Mac = [2, 0, 0, 0, 0, 1];
/// Interface indices: two of ports, one of nobody's.
const LVS0: u32 = 10;
const LVS1: u32 = 11;
const ETH0: u32 = 2;

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn link(index: u32, name: &str, flags: LinkFlags) -> LinkMessage {
    let mut message = LinkMessage::default();
    (message.header.index, message.header.flags) = (index, flags);
    message.attributes =
        vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::Address(MAC.to_vec()), LinkAttribute::Mtu(1500)];
    message
}

fn up() -> LinkFlags {
    LinkFlags::Up | LinkFlags::LowerUp
}

/// A translator that knows lvs0 (port 0), lvs1 (port 1) and eth0 (nobody's).
fn translator() -> Translator {
    let mut translator = Translator::new(&[(0, "lvs0".to_owned()), (1, "lvs1".to_owned())]);
    for (index, name) in [(LVS0, "lvs0"), (LVS1, "lvs1"), (ETH0, "eth0")] {
        let _ = translator.translate(&RouteNetlinkMessage::NewLink(link(index, name, up())), 0, |_| {});
    }
    translator
}

fn events(translator: &mut Translator, message: RouteNetlinkMessage, flags: u16) -> (Vec<Event>, Then) {
    let mut events = Vec::new();
    let then = translator.translate(&message, flags, |event| events.push(event));
    (events, then)
}

/// A main route to 192.0.2.0/24 with these attributes.
fn route(kind: RouteType, attributes: Vec<RouteAttribute>) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.destination_prefix_length = 24;
    message.header.table = 254;
    message.header.kind = kind;
    message.attributes = vec![RouteAttribute::Destination(RouteAddress::Inet(ip("192.0.2.0")))];
    message.attributes.extend(attributes);
    message
}

fn gateway(address: &str) -> RouteAttribute {
    RouteAttribute::Gateway(RouteAddress::Inet(ip(address)))
}

fn target_of(message: RouteMessage) -> Option<Target> {
    let (events, then) = events(&mut translator(), RouteNetlinkMessage::NewRoute(message), 0);
    assert_eq!(then, Then::Carry);
    match events.as_slice() {
        [] => None,
        [Event::RouteAdded(route, _)] => Some(route.target.clone()),
        other => panic!("{other:?}"),
    }
}

fn hop(port: u16, gateway: Option<&str>, weight: u16) -> Hop {
    Hop { port, gateway: gateway.map(ip), weight }
}

#[test]
fn an_interface_of_ours_is_a_port_and_its_appearance_and_loss_ask_for_a_resync() {
    let mut translator = Translator::new(&[(3, "lvs0".to_owned())]);
    let message = |flags| RouteNetlinkMessage::NewLink(link(LVS0, "lvs0", flags));
    let port = |up| Event::Port { port: 3, up, mac: MAC, mtu: 1500 };
    assert_eq!(events(&mut translator, message(up()), 0), (vec![port(true)], Then::Resync));
    assert_eq!(translator.index_of(3), Some(LVS0));
    assert_eq!(events(&mut translator, message(up()), 0), (vec![port(true)], Then::Carry));
    assert_eq!(events(&mut translator, message(LinkFlags::empty()), 0), (vec![port(false)], Then::Resync));

    let renamed = RouteNetlinkMessage::NewLink(link(LVS0, "other", up()));
    assert_eq!(events(&mut translator, renamed, 0), (vec![port(false)], Then::Resync));
    assert_eq!(translator.index_of(3), None);

    let _ = events(&mut translator, message(up()), 0);
    let gone = RouteNetlinkMessage::DelLink(link(LVS0, "lvs0", up()));
    let (heard, then) = events(&mut translator, gone, 0);
    assert!(matches!(heard.as_slice(), [Event::Port { port: 3, up: false, .. }]) && then == Then::Resync);
}

#[test]
fn other_interfaces_have_no_events_but_their_loss_may_take_routes() {
    let mut translator = Translator::new(&[(0, "lvs0".to_owned())]);
    let message = |flags| RouteNetlinkMessage::NewLink(link(ETH0, "eth0", flags));
    assert_eq!(events(&mut translator, message(up()), 0), (vec![], Then::Carry));
    assert_eq!(events(&mut translator, message(LinkFlags::empty()), 0), (vec![], Then::Resync));
    let mut bridge = link(ETH0, "eth0", up());
    bridge.header.interface_family = AddressFamily::Bridge;
    assert_eq!(events(&mut translator, RouteNetlinkMessage::DelLink(bridge), 0), (vec![], Then::Carry));
}

#[test]
fn only_global_primary_addresses_can_be_sources() {
    let address = |index, scope, flags| {
        let mut message = AddressMessage::default();
        (message.header.index, message.header.scope, message.header.flags) = (index, scope, flags);
        message.attributes = vec![AddressAttribute::Local(IpAddr::V4(ip("10.0.0.5")))];
        message
    };
    let plain = AddressHeaderFlags::Permanent;
    let added = Event::AddressAdded { port: 1, address: ip("10.0.0.5") };
    for (message, expected) in [
        (address(LVS1, AddressScope::Universe, plain), vec![added]),
        (address(ETH0, AddressScope::Universe, plain), vec![]),
        (address(LVS1, AddressScope::Link, plain), vec![]),
        (address(LVS1, AddressScope::Universe, AddressHeaderFlags::Secondary), vec![]),
    ] {
        let (heard, then) = events(&mut translator(), RouteNetlinkMessage::NewAddress(message), 0);
        assert_eq!((heard, then), (expected, Then::Carry));
    }
    let removed = RouteNetlinkMessage::DelAddress(address(ETH0, AddressScope::Universe, plain));
    assert_eq!(events(&mut translator(), removed, 0), (vec![], Then::Resync));
}

#[test]
fn the_header_says_where_a_route_goes() {
    let message = || RouteNetlinkMessage::NewRoute(route(RouteType::Unicast, vec![RouteAttribute::Oif(LVS0)]));
    for (flags, expected) in [
        (NLM_F_CREATE | NLM_F_EXCL, Place::First),
        (NLM_F_CREATE | NLM_F_APPEND, Place::Last),
        (NLM_F_CREATE | NLM_F_REPLACE, Place::Replace),
    ] {
        let (heard, _) = events(&mut translator(), message(), flags);
        assert!(matches!(heard.as_slice(), [Event::RouteAdded(_, place)] if *place == expected), "{heard:?}");
    }
}

#[test]
fn a_route_keeps_its_table_network_and_metric() {
    let attributes = vec![RouteAttribute::Oif(LVS1), gateway("10.0.0.1"), RouteAttribute::Priority(7)];
    let message = RouteNetlinkMessage::DelRoute(route(RouteType::Unicast, attributes));
    let expected = Route {
        table: Table::Main,
        network: ip("192.0.2.0"),
        prefix: 24,
        metric: 7,
        target: Target::Hops(vec![hop(1, Some("10.0.0.1"), 1)]),
    };
    assert_eq!(events(&mut translator(), message, 0), (vec![Event::RouteRemoved(expected)], Then::Carry));
}

#[test]
fn route_types_say_who_takes_the_packet() {
    let oif = |index| vec![RouteAttribute::Oif(index)];
    for (kind, attributes, expected) in [
        (RouteType::Unicast, oif(LVS0), Some(Target::Hops(vec![hop(0, None, 1)]))),
        (RouteType::Unicast, oif(ETH0), Some(Target::Local)),
        (RouteType::Local, oif(LVS0), Some(Target::Local)),
        (RouteType::Broadcast, oif(LVS0), Some(Target::Local)),
        (RouteType::Multicast, oif(LVS0), Some(Target::Local)),
        (RouteType::BlackHole, vec![], Some(Target::Unreachable)),
        (RouteType::Unreachable, vec![], Some(Target::Unreachable)),
        (RouteType::Prohibit, vec![], Some(Target::Unreachable)),
        (RouteType::Throw, vec![], Some(Target::Unreachable)),
        (RouteType::Unspec, vec![], None),
    ] {
        assert_eq!(target_of(route(kind, attributes)), expected, "{kind:?}");
    }
}

#[test]
fn routes_of_other_tables_caches_and_types_of_service_do_not_count() {
    let with = |change: fn(&mut RouteMessage)| {
        let mut message = route(RouteType::Unicast, vec![RouteAttribute::Oif(LVS0)]);
        change(&mut message);
        target_of(message)
    };
    assert!(with(|_| {}).is_some());
    assert!(with(|message| message.attributes.push(RouteAttribute::Table(255))).is_some());
    assert_eq!(with(|message| message.header.table = 100), None);
    assert_eq!(with(|message| message.attributes.push(RouteAttribute::Table(1000))), None);
    assert_eq!(with(|message| message.header.tos = 16), None);
    assert_eq!(with(|message| message.header.flags = RouteFlags::Cloned), None);
}

#[test]
fn of_several_next_hops_the_living_ones_by_our_ports_count() {
    let next_hop = |index, hops, flags, attributes| {
        let mut next_hop = RouteNextHop::default();
        (next_hop.interface_index, next_hop.hops, next_hop.flags, next_hop.attributes) =
            (index, hops, flags, attributes);
        next_hop
    };
    let alive = RouteNextHopFlags::empty();
    let hops = vec![
        next_hop(LVS0, 2, alive, vec![gateway("10.0.0.1")]),
        next_hop(LVS1, 0, RouteNextHopFlags::Dead, vec![gateway("10.1.0.1")]),
        next_hop(LVS1, 0, alive, vec![gateway("10.1.0.2")]),
        next_hop(ETH0, 0, alive, vec![gateway("10.2.0.1")]),
    ];
    let ours = vec![hop(0, Some("10.0.0.1"), 3), hop(1, Some("10.1.0.2"), 1)];
    assert_eq!(target_of(route(RouteType::Unicast, vec![RouteAttribute::MultiPath(hops)])), Some(Target::Hops(ours)));
    let foreign = vec![next_hop(ETH0, 0, alive, vec![gateway("10.2.0.1")])];
    assert_eq!(target_of(route(RouteType::Unicast, vec![RouteAttribute::MultiPath(foreign)])), Some(Target::Local));
    let mut dead = route(RouteType::Unicast, vec![RouteAttribute::Oif(ETH0)]);
    dead.header.flags = RouteFlags::Dead;
    assert_eq!(target_of(dead), Some(Target::Hops(vec![])));
}

#[test]
fn an_ipv6_gateway_is_left_to_the_kernel() {
    let via = netlink_packet_route::route::RouteVia::Inet6("fe80::1".parse().unwrap());
    let attributes = vec![RouteAttribute::Oif(LVS0), RouteAttribute::Via(via)];
    assert_eq!(target_of(route(RouteType::Unicast, attributes)), Some(Target::Local));
}

#[test]
fn a_neighbour_is_usable_in_the_states_in_which_the_kernel_would_send_to_it() {
    let neighbour = |index, state, flags| {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Inet;
        (message.header.ifindex, message.header.state, message.header.flags) = (index, state, flags);
        message.attributes = vec![
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip("10.0.0.7"))),
            NeighbourAttribute::LinkLayerAddress(MAC.to_vec()),
        ];
        message
    };
    use NeighbourState::{Delay, Failed, Incomplete, Noarp, None as Nothing, Permanent, Probe, Reachable, Stale};
    let none = NeighbourFlags::empty();
    for (state, usable) in [
        (Reachable, true),
        (Stale, true),
        (Delay, true),
        (Probe, true),
        (Permanent, true),
        (Noarp, true),
        (Failed, false),
        (Incomplete, false),
        (Nothing, false),
    ] {
        let expected = Neighbour { port: 1, address: ip("10.0.0.7"), mac: usable.then_some(MAC) };
        let message = RouteNetlinkMessage::NewNeighbour(neighbour(LVS1, state, none));
        assert_eq!(events(&mut translator(), message, 0), (vec![Event::Neighbour(expected)], Then::Carry), "{state}");
    }
    let mut translator_with_fixed = translator();
    for (message, fixed) in [
        (RouteNetlinkMessage::NewNeighbour(neighbour(LVS1, Permanent, none)), true),
        (RouteNetlinkMessage::NewNeighbour(neighbour(LVS1, Reachable, none)), false),
        (RouteNetlinkMessage::NewNeighbour(neighbour(LVS1, Noarp, none)), true),
        (RouteNetlinkMessage::DelNeighbour(neighbour(LVS1, Noarp, none)), false),
    ] {
        let _ = events(&mut translator_with_fixed, message, 0);
        assert_eq!(translator_with_fixed.is_fixed((1, ip("10.0.0.7"))), fixed);
    }
    let gone = RouteNetlinkMessage::DelNeighbour(neighbour(LVS1, Failed, none));
    let removed = Event::NeighbourRemoved { port: 1, address: ip("10.0.0.7") };
    assert_eq!(events(&mut translator(), gone, 0).0, [removed]);
    for message in [neighbour(ETH0, Reachable, none), neighbour(LVS1, Reachable, NeighbourFlags::Proxy)] {
        assert_eq!(events(&mut translator(), RouteNetlinkMessage::NewNeighbour(message), 0).0, []);
    }
}

fn bytes(message: RouteNetlinkMessage) -> Vec<u8> {
    let mut message = NetlinkMessage::from(message);
    message.header.sequence_number = 77;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

#[test]
fn a_datagram_is_walked_message_by_message() {
    let mut datagram = bytes(RouteNetlinkMessage::NewLink(link(LVS0, "lvs", up())));
    // RTM_DELNEXTHOP with an empty body, then an error (ENODEV) and the end of a dump, then a message cut short.
    datagram.extend([16, 0, 0, 0, 105, 0, 0, 0, 78, 0, 0, 0, 0, 0, 0, 0]);
    datagram.extend([36, 0, 0, 0, 2, 0, 0, 0, 79, 0, 0, 0, 0, 0, 0, 0, 237, 255, 255, 255]);
    datagram.extend([0; 16]);
    datagram.extend([20, 0, 0, 0, 3, 0, 2, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    datagram.extend([200, 0, 0, 0, 16, 0, 0, 0, 81, 0, 0, 0, 0, 0, 0, 0]);
    let mut seen = Vec::new();
    messages(&datagram, |message, sequence| {
        let what = match message {
            Message::Route(RouteNetlinkMessage::NewLink(link), 0) if link.header.index == LVS0 => "link".to_owned(),
            Message::NextHops => "next hops".to_owned(),
            Message::Done(errno) => format!("done {errno}"),
            other => panic!("{other:?}"),
        };
        seen.push((what, sequence));
    });
    let expected = [("link", 77), ("next hops", 78), ("done 19", 79), ("done 0", 80)];
    assert_eq!(seen, expected.map(|(what, sequence)| (what.to_owned(), sequence)));
}

proptest! {
    #[test]
    fn spoilt_messages_are_no_trouble(
        spoil in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut datagram = bytes(RouteNetlinkMessage::NewLink(link(LVS0, "lvs0", up())));
        datagram.extend(bytes(RouteNetlinkMessage::NewRoute(route(RouteType::Unicast, vec![gateway("10.0.0.1")]))));
        for (index, byte) in spoil {
            let index = index.index(datagram.len());
            datagram[index] = byte;
        }
        datagram.truncate(cut.index(datagram.len() + 1));
        let mut translator = translator();
        let mut count = 0;
        messages(&datagram, |message, _| {
            count += 1;
            if let Message::Route(inner, flags) = message {
                let _ = translator.translate(&inner, flags, |_| {});
            }
        });
        prop_assert!(count <= datagram.len() / 16, "more messages than there is room for headers");
    }
}

#[test]
fn a_burst_is_published_when_it_ends_or_has_lasted_long_and_never_too_soon() {
    let mut pace = Pace::default();
    assert_eq!((pace.next(), pace.due(1_000)), (None, false));
    pace.changed(1_000);
    assert!(!pace.due(1_002));
    pace.changed(1_002);
    assert!(!pace.due(1_004));
    assert!(pace.due(1_005) && !pace.due(1_005));
    pace.published(1_005);
    pace.changed(1_006);
    assert_eq!(pace.next(), Some(1_025));

    let mut flood = Pace::default();
    let mut published = Vec::new();
    for now in 0..1_000 {
        flood.changed(now);
        if flood.due(now) {
            flood.published(now);
            published.push(now);
        }
    }
    assert_eq!(published[0], 50);
    assert!(published.len() < 25, "{} publications", published.len());
}

/// 10.0.0.0/24 on port 0 with a default route by 10.0.0.1; what `resolved` lists has a MAC address.
fn routes(resolved: &[&str]) -> Routes {
    let mut builder = RoutesBuilder::new(1);
    builder.apply(Event::Port { port: 0, up: true, mac: MAC, mtu: 1500 });
    let add = |network, prefix, hop| {
        let target = Target::Hops(vec![hop]);
        Event::RouteAdded(Route { table: Table::Main, network, prefix, metric: 0, target }, Place::Last)
    };
    builder.apply(add(ip("10.0.0.0"), 24, hop(0, None, 1)));
    builder.apply(add(ip("0.0.0.0"), 0, hop(0, Some("10.0.0.1"), 1)));
    for address in resolved {
        builder.apply(Event::Neighbour(Neighbour { port: 0, address: ip(address), mac: Some(MAC) }));
    }
    builder.build().unwrap().0
}

fn due(resolver: &mut Resolver, now: Millis, routes: &Routes) -> Vec<Key> {
    let mut keys = Vec::new();
    resolver.due(now, routes, |key| keys.push(key));
    keys
}

#[test]
fn an_address_is_asked_for_once_a_second_until_it_is_resolved() {
    let (before, after) = (routes(&[]), routes(&["10.0.0.7"]));
    let key = (0, ip("10.0.0.7"));
    let mut resolver = Resolver::default();
    assert!(resolver.ask(key, 5));
    assert_eq!(due(&mut resolver, 5, &before), [key]);
    assert!(resolver.ask(key, 6), "asking again is harmless");
    assert_eq!((due(&mut resolver, 1_004, &before), resolver.next()), (vec![], Some(1_005)));
    assert_eq!(due(&mut resolver, 1_005, &before), [key]);
    assert_eq!(due(&mut resolver, 2_005, &after), []);
    assert_eq!(resolver.next(), None);
}

#[test]
fn an_address_that_nobody_has_is_given_up() {
    let routes = routes(&[]);
    let mut resolver = Resolver::default();
    resolver.ask((0, ip("10.0.0.7")), 0);
    let asked: usize = (0..100).map(|second| due(&mut resolver, second * 1_000, &routes).len()).sum();
    assert_eq!((asked, resolver.next()), (10, None));
}

#[test]
fn real_servers_and_gateways_are_kept_fresh_as_long_as_they_are_wanted() {
    let gateway_unresolved = routes(&["10.0.0.7"]);
    let mut resolver = Resolver::default();
    // One on the port's network, one behind the gateway.
    resolver.keep(&[ip("10.0.0.7"), ip("172.16.0.1")], &gateway_unresolved, 0);
    let (server, gateway) = ((0, ip("10.0.0.7")), (0, ip("10.0.0.1")));
    assert_eq!(due(&mut resolver, 0, &gateway_unresolved), [gateway, server]);
    assert_eq!(due(&mut resolver, 1_000, &gateway_unresolved), [gateway], "a resolved one is asked for more seldom");
    assert_eq!(due(&mut resolver, 5_000, &gateway_unresolved), [gateway, server], "who waits longest comes first");

    let server_lost = routes(&["10.0.0.1"]);
    resolver.keep(&[ip("10.0.0.7")], &server_lost, 6_100);
    assert_eq!(due(&mut resolver, 6_100, &server_lost), [server]);
    resolver.keep(&[], &server_lost, 6_200);
    let later: Vec<_> = (7..30).flat_map(|second| due(&mut resolver, second * 1_000, &server_lost)).collect();
    assert!(!later.is_empty() && later.iter().all(|key| *key == gateway), "{later:?}");
}

#[test]
fn a_flood_of_unknown_addresses_asks_the_kernel_in_measure() {
    let routes = routes(&[]);
    let mut resolver = Resolver::default();
    let taken = (0..10_000u32).filter(|n| resolver.ask((0, Ipv4Addr::from(0x0A00_0100 + n)), 0)).count();
    assert_eq!(taken, MOST_ASKED);
    let mut sent = std::collections::HashMap::new();
    for now in 0..1_000 {
        for key in due(&mut resolver, now, &routes) {
            *sent.entry(key).or_insert(0) += 1;
        }
    }
    assert!(sent.values().sum::<i32>() <= 1_000, "at most 100 in a tenth of a second");
    assert!(sent.values().all(|count| *count == 1), "each address waits for its turn");
    assert_eq!(sent.len(), 1_000);
}

#[test]
fn the_configuration_alone_makes_routes() {
    let fixed = Fixed {
        ports: vec![FixedPort {
            port: 1,
            mac: MAC,
            mtu: 9000,
            addresses: vec![Network { address: ip("10.0.0.254"), prefix: 24 }],
        }],
        neighbours: vec![
            FixedNeighbour { port: 1, address: ip("10.0.0.7"), mac: [2, 0, 0, 0, 0, 7] },
            FixedNeighbour { port: 1, address: ip("172.16.0.1"), mac: [2, 0, 0, 0, 0, 8] },
        ],
        routes: vec![
            FixedRoute { network: Network { address: ip("0.0.0.0"), prefix: 0 }, gateway: ip("10.0.0.1") },
            FixedRoute { network: Network { address: ip("198.51.100.0"), prefix: 24 }, gateway: ip("172.16.0.1") },
        ],
    };
    let (routes, ports) = fixed.routes(2).unwrap();
    assert_eq!((ports[1].mac, ports[1].mtu, ports[1].source), (MAC, 9000, ip("10.0.0.254")));
    let by = |address: &str| match routes.lookup(ip(address)) {
        NextHop::Link(LinkId(id)) => Some((routes.links[usize::from(id)].address, routes.links[usize::from(id)].mac)),
        _ => None,
    };
    assert_eq!(by("10.0.0.7"), Some((ip("10.0.0.7"), Some([2, 0, 0, 0, 0, 7]))));
    assert_eq!(by("172.16.0.1"), Some((ip("172.16.0.1"), Some([2, 0, 0, 0, 0, 8]))));
    assert_eq!(by("198.51.100.9"), Some((ip("172.16.0.1"), Some([2, 0, 0, 0, 0, 8]))));
    assert_eq!(by("8.8.8.8"), Some((ip("10.0.0.1"), None)));
    assert_eq!(routes.lookup(ip("10.0.0.254")), NextHop::Local);
    assert_eq!(routes.lookup(ip("10.0.0.255")), NextHop::Local);
    assert_eq!(routes.lookup(ip("10.0.0.8")), NextHop::Unknown(1));

    let nowhere = FixedRoute { network: Network { address: ip("0.0.0.0"), prefix: 0 }, gateway: ip("10.9.0.1") };
    let fixed = Fixed { routes: vec![nowhere], ..fixed };
    assert_eq!(fixed.routes(2).unwrap_err(), NoPort { gateway: ip("10.9.0.1") });
}
