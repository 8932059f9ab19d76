//! Which virtual addresses are the director's own, as the routes say. Every first packet asks, of a few addresses, and the
//! routes stay the same for long: their answers are kept.

use super::answer;
use crate::route::Routes;
use std::net::Ipv4Addr;

/// Addresses whose answer is kept, at most.
const KEPT: usize = 64;

/// Answers of the routes of one version.
#[derive(Debug)]
pub(super) struct Own {
    version: u32,
    /// By a hash of the address.
    kept: [Option<(Ipv4Addr, bool)>; KEPT],
}

impl Own {
    pub fn new() -> Self {
        Self { version: 0, kept: [None; KEPT] }
    }

    /// Forgets what routes of another version said. To be called with every snapshot.
    pub fn adopt(&mut self, routes: &Routes) {
        if self.version != routes.version {
            *self = Self { version: routes.version, ..Self::new() };
        }
    }

    /// True if packets to this address are not another's ([`answer::is_anothers`]).
    #[inline]
    pub fn is_own(&mut self, routes: &Routes, address: Ipv4Addr) -> bool {
        debug_assert_eq!(self.version, routes.version, "routes that were not adopted");
        // Any multiplication spreads the last byte, in which virtual addresses differ.
        let place = u32::from(address).wrapping_mul(0x9e37_79b1) as usize >> 26;
        match self.kept[place % KEPT] {
            Some((kept, is_own)) if kept == address => is_own,
            _ => {
                let is_own = !answer::is_anothers(routes.lookup(address));
                self.kept[place % KEPT] = Some((address, is_own));
                is_own
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Event, Hop, Place, Route, RoutesBuilder, Table, Target};

    #[test]
    fn the_routes_answer_and_new_routes_anew() {
        let mut builder = RoutesBuilder::new(1);
        builder.apply(Event::Port { port: 0, up: true, mac: [2; 6], mtu: 1500 });
        let route = |table, network: Ipv4Addr, prefix, target| {
            Event::RouteAdded(Route { table, network, prefix, metric: 0, target }, Place::Last)
        };
        let (address, hop) = (|n: u32| Ipv4Addr::from(0x0a00_0000 + n), Hop { port: 0, gateway: None, weight: 1 });
        builder.apply(route(Table::Main, address(0), 8, Target::Hops(vec![hop])));
        for n in (0..500).step_by(3) {
            builder.apply(route(Table::Local, address(n), 32, Target::Local));
        }
        let mut own = Own::new();
        let (routes, _) = builder.build().unwrap();
        own.adopt(&routes);
        // More addresses than are kept, and each asked for twice.
        (0..500).chain(0..500).for_each(|n| assert_eq!(own.is_own(&routes, address(n)), n % 3 == 0, "{n}"));
        builder.apply(route(Table::Local, address(7), 32, Target::Local));
        let (routes, _) = builder.build().unwrap();
        own.adopt(&routes);
        assert!(own.is_own(&routes, address(7)) && !own.is_own(&routes, address(8)));
    }
}
