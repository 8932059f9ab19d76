//! From the desired state to the snapshot that workers read: what changed is built anew, the rest is shared with the
//! version before.

mod addresses;

use crate::command::{self, Netmask, ServiceName};
use crate::state::{Changes, State, table};
use addresses::{Addresses, User};
use forwarder::conn::Timeouts;
use forwarder::marks::{MarkRule, MarkRules};
use forwarder::route::{NextHop, Port, Routes};
use forwarder::scheduler::{Flags, Kind};
use forwarder::service::{
    CHUNK, DestId, Destination, Exit, Family, Member, Method, Persistence, Service, ServiceId, ServiceKey, Snapshot,
    Tunnel,
};
use forwarder::way::ways;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Stands for the virtual addresses of a mark service, which may be any.
const EVERYWHERE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

/// Builds one snapshot after the other.
#[derive(Debug, Default)]
pub struct Builder {
    snapshot: Snapshot,
    /// How often destinations of a service were added, edited or deleted, by service slot and generation.
    edits: HashMap<(ServiceId, u32), u32>,
    /// Addresses whose packets may be replies: those of destinations that are or were NAT's, deleted ones included.
    nat_servers: Addresses,
    /// Virtual addresses of services, and of deleted destinations; [`EVERYWHERE`] stands for a mark's.
    virtual_addresses: Addresses,
    /// What is known about all destinations together must be made anew, once before the next snapshot.
    stale: bool,
}

impl Builder {
    /// A builder whose first snapshot has no service, and these routes and ports.
    #[must_use]
    pub fn new(routes: Routes, ports: Vec<Port>) -> Self {
        let ways = ways(&routes, &ports);
        Self { snapshot: Snapshot { routes, ports, ways, ..Snapshot::default() }, ..Self::default() }
    }

    /// With the time of day: milliseconds since midnight UT at tick 0.
    #[must_use]
    pub fn with_day(mut self, day: u32) -> Self {
        self.snapshot.day = day;
        self
    }

    /// The snapshot as it stands.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Takes over what commands changed. Answers the next snapshot.
    pub fn apply(&mut self, state: &State, changes: &Changes) -> Snapshot {
        for &id in &changes.destinations {
            self.destination(state, id);
        }
        let mut touched = changes.services.clone();
        for &id in &changes.destinations {
            if let Some(destination) = state.table().destination(id)
                && let Some(service) = state.table().service(destination.service)
                && service.spec.service == destination.service_name
            {
                *self.edits.entry((service.id, service.generation)).or_default() += 1;
                touched.insert(service.id);
            }
        }
        if changes.timeouts {
            let timeouts = state.timeouts();
            self.snapshot.timeouts.set(timeouts.tcp, timeouts.tcp_fin, timeouts.udp);
            let own = state.table().services().filter(|service| service.spec.timeouts.is_some());
            touched.extend(own.map(|service| service.id));
        }
        for &id in &touched {
            self.service(state, id);
        }
        if changes.settings {
            self.snapshot.settings = state.settings().for_forwarder();
        }
        if changes.exceptions {
            self.snapshot.exceptions = state.exceptions();
        }
        if changes.marks {
            let rules: Vec<MarkRule> = state.marks().iter().map(MarkRule::from).collect();
            self.snapshot.marks = MarkRules::new(&rules);
        }
        let next = self.next(touched.into_iter().collect());
        Snapshot { relieved: changes.relieved.iter().copied().collect(), ..next }
    }

    /// Takes over new routes and ports. Answers the next snapshot.
    pub fn route(&mut self, routes: Routes, ports: Vec<Port>) -> Snapshot {
        let moved = routes.version != self.snapshot.routes.version;
        self.snapshot.ways = ways(&routes, &ports);
        self.snapshot.routes = routes;
        self.snapshot.ports = ports;
        let mut destinations = std::mem::take(&mut self.snapshot.destinations);
        let now = |destination: &Destination| {
            let next_hop = if moved { next_hop(&self.snapshot.routes, destination) } else { destination.next_hop };
            (next_hop, exit(&self.snapshot, &Destination { next_hop, ..destination.clone() }))
        };
        for chunk in &mut destinations {
            if chunk.iter().any(|old| now(old) != (old.next_hop, old.exit.clone())) {
                for destination in Arc::make_mut(chunk) {
                    (destination.next_hop, destination.exit) = now(destination);
                }
            }
        }
        self.snapshot.destinations = destinations;
        if moved {
            self.stale = true;
        }
        self.next(Vec::new())
    }

    fn next(&mut self, changed: Vec<ServiceId>) -> Snapshot {
        if std::mem::take(&mut self.stale) {
            self.derive();
        }
        self.nat_servers.settle(&mut self.snapshot.nat_servers);
        self.virtual_addresses.settle(&mut self.snapshot.virtual_addresses);
        self.snapshot.virtual_everywhere = self.virtual_addresses.contain(EVERYWHERE);
        self.snapshot.version += 1;
        self.snapshot.changed = changed;
        self.snapshot.clone()
    }

    fn destination(&mut self, state: &State, id: DestId) {
        let index = id.0 as usize;
        while self.snapshot.destinations.len() <= index / CHUNK {
            self.snapshot.destinations.push(Arc::new([const { Destination::NONE }; CHUNK]));
        }
        let wanted = state.table().destination(id);
        let new = wanted.and_then(|wanted| self.built(wanted)).unwrap_or(Destination::NONE);
        // One that was masqueraded once still has connections that are.
        let user = User::Destination(id);
        let masquerades = new.method == Method::Nat || self.nat_servers.of(user) == Some(new.address);
        self.nat_servers.need(user, (masquerades && !new.address.is_unspecified()).then_some(new.address));
        let served = wanted.and_then(|wanted| virtual_address(wanted.service_name));
        self.virtual_addresses.need(user, served);
        let method = new.method;
        let local = new.next_hop == NextHop::Local;
        let old = &mut Arc::make_mut(&mut self.snapshot.destinations[index / CHUNK])[index % CHUNK];
        self.snapshot.removals += u64::from(old.available && !new.available);
        let tunnelled = |method| matches!(method, Method::Tun(_));
        let tunnels = old.method != method && (tunnelled(old.method) || tunnelled(method));
        self.stale |= tunnels || (old.next_hop == NextHop::Local) != local;
        *old = new;
    }

    fn built(&self, wanted: &table::Destination) -> Option<Destination> {
        // IPv6 destinations are configuration only, until IPv6 is forwarded.
        let IpAddr::V4(address) = wanted.spec.address else { return None };
        let mut built = Destination {
            generation: wanted.generation,
            available: wanted.available,
            weight: wanted.spec.weight,
            upper: wanted.spec.upper,
            lower: wanted.spec.lower,
            method: wanted.spec.method,
            address,
            port: wanted.spec.port,
            service: wanted.service,
            next_hop: NextHop::Unreachable,
            exit: Exit::CLOSED,
        };
        built.next_hop = next_hop(&self.snapshot.routes, &built);
        built.exit = exit(&self.snapshot, &built);
        Some(built)
    }

    /// What is known about all destinations together.
    fn derive(&mut self) {
        let mut ports = Vec::new();
        let mut local = false;
        for destination in self.snapshot.destinations.iter().flat_map(|chunk| chunk.iter()) {
            local |= destination.next_hop == NextHop::Local && !destination.address.is_unspecified();
            if let Method::Tun(Tunnel::Gue(port, _)) = destination.method
                && !ports.contains(&port)
            {
                ports.push(port);
            }
        }
        self.snapshot.gue_ports = ports;
        self.snapshot.local_servers = local;
    }

    fn service(&mut self, state: &State, id: ServiceId) {
        let index = id.0 as usize;
        if self.snapshot.services.len() <= index {
            self.snapshot.services.resize(index + 1, None);
        }
        if let Some(old) = self.snapshot.services[index].take() {
            self.snapshot.index.remove(old.key);
            if state.table().service(id).is_none_or(|new| new.generation != old.generation) {
                self.edits.remove(&(id, old.generation));
            }
        }
        let wanted = state.table().service(id);
        let served = wanted.and_then(|wanted| virtual_address(wanted.spec.service));
        self.virtual_addresses.need(User::Service(id), served);
        let Some(wanted) = wanted else { return };
        let Some(scheduler) = Kind::by_name(&wanted.spec.scheduler) else { return };
        let key = key(wanted.spec.service);
        let flags =
            Flags { fallback: wanted.spec.flags.flag1, port: wanted.spec.flags.flag2, flag3: wanted.spec.flags.flag3 };
        let members: Vec<Member> =
            wanted.members.iter().filter_map(|&id| state.table().destination(id)).map(member).collect();
        let table = (scheduler.definition().prepare)(&members, flags, wanted.spec.service.family());
        self.snapshot.services[index] = Some(Arc::new(Service {
            id,
            generation: wanted.generation,
            key,
            scheduler,
            flags,
            persistence: wanted.spec.persistence.map(|timeout| persistence(timeout, wanted)),
            one_packet: wanted.spec.one_packet,
            timeouts: wanted.spec.timeouts.map(|own| with_own(&self.snapshot.timeouts, own)),
            members,
            edits: self.edits.get(&(id, wanted.generation)).copied().unwrap_or_default(),
            table,
        }));
        self.snapshot.index.insert(key, id);
    }
}

fn next_hop(routes: &Routes, destination: &Destination) -> NextHop {
    if destination.address.is_unspecified() { NextHop::Unreachable } else { routes.lookup(destination.address) }
}

/// How ordinary packets leave to a destination whose next hop is known.
fn exit(snapshot: &Snapshot, destination: &Destination) -> Exit {
    match destination.next_hop {
        NextHop::Link(id) if destination.available => {
            let way = snapshot.ways.get(usize::from(id.0));
            way.map_or(Exit::CLOSED, |way| Exit::new(way, destination.method))
        }
        _ => Exit::CLOSED,
    }
}

/// The IPv4 address that a service answers for.
fn virtual_address(name: ServiceName) -> Option<Ipv4Addr> {
    match name {
        ServiceName::Address { address: IpAddr::V4(address), .. } => Some(address),
        ServiceName::Mark { ipv6: false, .. } => Some(EVERYWHERE),
        ServiceName::Address { address: IpAddr::V6(_), .. } | ServiceName::Mark { ipv6: true, .. } => None,
    }
}

fn key(name: ServiceName) -> ServiceKey {
    match name {
        ServiceName::Address { protocol, address, port } => ServiceKey::Address(protocol, address, port),
        ServiceName::Mark { mark, ipv6 } => ServiceKey::Mark(mark, if ipv6 { Family::V6 } else { Family::V4 }),
    }
}

fn member(destination: &table::Destination) -> Member {
    Member {
        id: destination.id,
        address: destination.spec.address,
        port: destination.spec.port,
        weight: destination.spec.weight,
        last_weight: destination.last_weight,
        upper: destination.spec.upper,
        lower: destination.spec.lower,
    }
}

/// A service's timeouts: its own over everybody's.
fn with_own(all: &Timeouts, own: command::Timeouts) -> Timeouts {
    let mut timeouts = all.clone();
    timeouts.set(own.tcp, own.tcp_fin, own.udp);
    timeouts
}

fn persistence(timeout: u32, wanted: &table::Service) -> Persistence {
    let (mask, prefix) = match wanted.spec.netmask {
        Some(Netmask::Mask(mask)) => (u32::from(mask), 128),
        Some(Netmask::Prefix(prefix)) => (u32::MAX, prefix),
        None => (u32::MAX, 128),
    };
    Persistence { timeout, mask, prefix, sip: wanted.spec.engine.as_deref() == Some("sip") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Command, ServerSpec, ServiceSpec};
    use crate::state::{Idle, Limits};
    use forwarder::service::{Protocol, TunnelChecksum};
    use proptest::prelude::*;

    fn service(n: u8) -> ServiceName {
        ServiceName::Address { protocol: Protocol::Tcp, address: Ipv4Addr::new(172, 16, n, 1).into(), port: 80 }
    }

    fn command() -> impl Strategy<Value = Command> {
        let methods = [Method::Nat, Method::Dr, Method::Tun(Tunnel::Gue(6080, TunnelChecksum::None))];
        let server = (any::<u8>(), prop::sample::select(methods.to_vec()))
            .prop_map(|(n, method)| ServerSpec { method, ..ServerSpec::new(Ipv4Addr::new(10, 0, n, 1).into(), 80) });
        (0..6, 0..40u8, server).prop_map(|(what, n, server)| match what {
            0 => Command::DeleteService { service: service(n) },
            1 => Command::DeleteServer { service: service(n), server: server.name() },
            2 => Command::EditServer { service: service(n), server },
            3 => Command::AddServer { service: service(n), server },
            _ => Command::AddService(ServiceSpec::new(service(n))),
        })
    }

    proptest! {
        /// The sets of addresses miss none, whatever came and went, one by one or together; and what is derived is right.
        #[test]
        fn no_address_is_missing(commands in prop::collection::vec(command(), 1..400), together in 1..50usize) {
            let mut state = State::new(Limits::default(), Default::default());
            let mut builder = Builder::default();
            for commands in commands.chunks(together) {
                state.execute(Command::Each { commands: commands.to_vec() }, &Idle::default()).unwrap();
                let changes = state.take_changes();
                let snapshot = builder.apply(&state, &changes);
                let mut gue = false;
                for destination in snapshot.destinations.iter().flat_map(|chunk| chunk.iter()) {
                    if destination.method == Method::Nat {
                        prop_assert!(snapshot.nat_servers.may_contain(destination.address));
                    }
                    gue |= matches!(destination.method, Method::Tun(_));
                }
                prop_assert_eq!(&snapshot.gue_ports, if gue { &[6080][..] } else { &[] });
                for service in state.table().services() {
                    let ServiceName::Address { address: IpAddr::V4(address), .. } = service.spec.service else { panic!() };
                    prop_assert!(snapshot.virtual_addresses.may_contain(address));
                }
            }
        }
    }
}
