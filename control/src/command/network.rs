//! Routes and neighbours as the data path has them, as data.

use forwarder::route::{NextHop, Routes};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// Ranges that one answer has at most.
const RANGES: usize = 4096;

/// A neighbour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct NeighbourView {
    /// Its address.
    pub address: IpAddr,
    /// The port it is reached by.
    pub port: u16,
    /// Its MAC address, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}

/// A route as an operator describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteSpec {
    /// Where to: a network (`10.0.0.0/8`), an address, or `default`.
    pub to: String,
    /// By this gateway; without one the hosts are neighbours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Ipv4Addr>,
    /// By this port; without one it is the gateway's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Of routes to the same network the one with the lowest metric counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
}

/// A part of the routing table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RoutePage {
    /// In the order of their addresses.
    pub routes: Vec<RouteView>,
    /// How many more there are.
    pub more: u64,
}

/// Addresses that share a way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RouteView {
    /// The first.
    pub first: IpAddr,
    /// The last.
    pub last: IpAddr,
    /// Where their packets go; several share them, by address.
    pub ways: Vec<WayView>,
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WayView {
    /// To the director's own kernel.
    Local,
    /// Nowhere.
    Unreachable,
    /// To the address itself, on this port.
    OnLink {
        /// The port's number.
        port: u16,
    },
    /// To a gateway.
    Via {
        /// Its address.
        gateway: IpAddr,
        /// The port it is reached by.
        port: u16,
    },
}

/// The neighbours, by address.
pub(crate) fn neighbours(routes: &Routes) -> Vec<NeighbourView> {
    // Numbers that nobody has have no address.
    let there = routes.links.iter().filter(|link| link.address != Ipv4Addr::UNSPECIFIED);
    let mut views: Vec<_> = there
        .map(|link| NeighbourView {
            address: link.address.into(),
            port: link.port,
            mac: link.mac.map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":")),
        })
        .collect();
    views.sort_by_key(|view| (view.address, view.port));
    views
}

/// The routes, or the one to an address.
pub(crate) fn routes(routes: &Routes, to: Option<Ipv4Addr>) -> RoutePage {
    let way = |hop: &NextHop| match *hop {
        NextHop::Local => WayView::Local,
        NextHop::Unreachable => WayView::Unreachable,
        NextHop::Unknown(port) => WayView::OnLink { port },
        NextHop::Link(id) => match routes.link(id) {
            Some(link) => WayView::Via { gateway: link.address.into(), port: link.port },
            None => WayView::Unreachable,
        },
    };
    let mut fitting = routes.ranges().filter(|range| to.is_none_or(|to| (range.first..=range.last).contains(&to)));
    let shown: Vec<_> = fitting
        .by_ref()
        .take(RANGES)
        .map(|range| RouteView {
            first: range.first.into(),
            last: range.last.into(),
            ways: range.hops.iter().map(way).collect(),
        })
        .collect();
    RoutePage { routes: shown, more: fitting.count() as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forwarder::route::{Event, Hop, Neighbour, Place, Route, RoutesBuilder, Table, Target};

    /// 10.0.0.0/24 on port 0, and a default route by 10.0.0.254, which is known.
    #[test]
    fn ranges_and_neighbours_are_told() {
        let mut builder = RoutesBuilder::new(1);
        let mac = [2, 0, 0, 0, 0, 9];
        let gateway = Ipv4Addr::new(10, 0, 0, 254);
        builder.apply(Event::Port { port: 0, up: true, mac: [2, 0, 0, 0, 1, 0], mtu: 1500 });
        for (network, prefix, gateway) in [([10, 0, 0, 0], 24, None), ([0; 4], 0, Some(gateway))] {
            let target = Target::Hops(vec![Hop { port: 0, gateway, weight: 1 }]);
            let route = Route { table: Table::Main, network: network.into(), prefix, metric: 0, target };
            builder.apply(Event::RouteAdded(route, Place::Last));
        }
        builder.apply(Event::Neighbour(Neighbour { port: 0, address: gateway, mac: Some(mac) }));
        let (built, _) = builder.build().expect("something has changed");
        let views = neighbours(&built);
        assert_eq!(views, [NeighbourView { address: gateway.into(), port: 0, mac: Some("02:00:00:00:00:09".into()) }]);
        let all = routes(&built, None);
        assert_eq!((all.routes.len(), all.more), (3, 0));
        assert_eq!(all.routes[2].last, Ipv4Addr::BROADCAST);
        let one = routes(&built, Some([10, 0, 0, 7].into()));
        let view = RouteView {
            first: Ipv4Addr::new(10, 0, 0, 0).into(),
            last: Ipv4Addr::new(10, 0, 0, 255).into(),
            ways: vec![WayView::OnLink { port: 0 }],
        };
        assert_eq!(one, RoutePage { routes: vec![view], more: 0 });
        let way = &routes(&built, Some([8; 4].into())).routes[0].ways;
        assert_eq!(way, &[WayView::Via { gateway: gateway.into(), port: 0 }]);
    }
}
