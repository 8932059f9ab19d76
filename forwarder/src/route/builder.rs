//! Makes [`Routes`] from what the kernel says (or the configuration), event by event.
//!
//! It follows the kernel's rules for IPv4: the local table is asked before the main one, the longest prefix counts,
//! then the lowest metric, then the first of the list. It knows no netlink; `control` translates.

use super::{Answer, Link, LinkId, Mac, Paths, Port, Routes};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::Ipv4Addr;

/// A table of the kernel. The derived order matters: see `Key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// What the operator and routing daemons write.
    Main,
    /// The kernel's own: local and broadcast addresses. Asked before the main table.
    Local,
}

/// A next hop of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hop {
    /// The port to leave by.
    pub port: u16,
    /// The gateway; none if the destination is on the port's own network.
    pub gateway: Option<Ipv4Addr>,
    /// Its share among the route's next hops; 0 counts as 1.
    pub weight: u16,
}

/// What a route says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The kernel takes the packet: own and broadcast addresses, and routes by interfaces that are none of our ports.
    Local,
    /// Nobody takes it: blackhole, unreachable, prohibit.
    Unreachable,
    /// Leaves by one of these.
    Hops(Vec<Hop>),
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The table it is in.
    pub table: Table,
    /// The network. Bits beyond the prefix are ignored.
    pub network: Ipv4Addr,
    /// The prefix length, 0 to 32; more counts as 32.
    pub prefix: u8,
    /// The kernel's priority: the lowest counts.
    pub metric: u32,
    /// What it says.
    pub target: Target,
}

/// Where a route goes among those with the same table, network, prefix and metric: the flags of RTM_NEWROUTE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before the others (`ip route add`, `prepend`).
    First,
    /// Behind the others (`ip route append`; also the order of a dump).
    Last,
    /// In place of the first (`ip route replace`).
    Replace,
}

/// What is known about an address on a port's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The port.
    pub port: u16,
    /// The address.
    pub address: Ipv4Addr,
    /// Its MAC address; none while it is unresolved.
    pub mac: Option<Mac>,
}

/// A change of the kernel's network state, or a piece of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A port's state. Until the first one a port is down and has no MAC address.
    Port {
        /// The port.
        port: u16,
        /// False while its interface is down or gone: routes by it do not count.
        up: bool,
        /// Its MAC address.
        mac: Mac,
        /// Its MTU, bytes of IP packet.
        mtu: u16,
    },
    /// A port has this address; the first one that it was given and still has is its [`Port::source`].
    AddressAdded {
        /// The port.
        port: u16,
        /// The address.
        address: Ipv4Addr,
    },
    /// A port has this address no more.
    AddressRemoved {
        /// The port.
        port: u16,
        /// The address.
        address: Ipv4Addr,
    },
    /// A new route. One that is already there changes nothing.
    RouteAdded(Route, Place),
    /// A route is gone.
    RouteRemoved(Route),
    /// A new neighbour, or its new state.
    Neighbour(Neighbour),
    /// The neighbour has no entry any more.
    NeighbourRemoved {
        /// The port.
        port: u16,
        /// The address.
        address: Ipv4Addr,
    },
}

/// Orders routes for the sweep in [`RoutesBuilder::build`]: outer networks before the inner ones, the local table
/// inside the main one, the lowest metric first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    network: u32,
    prefix: u8,
    table: Table,
    metric: u32,
}

impl Key {
    fn of(route: &Route) -> Self {
        let prefix = route.prefix.min(32);
        let network = u32::from(route.network) & mask(prefix);
        Self { network, prefix, table: route.table, metric: route.metric }
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

#[derive(Clone, Debug)]
struct PortState {
    up: bool,
    mac: Mac,
    mtu: u16,
    addresses: Vec<Ipv4Addr>,
}

impl PortState {
    const DOWN: Self = Self { up: false, mac: [0; 6], mtu: 1500, addresses: Vec::new() };
}

type LinkKey = (Ipv4Addr, u16);

/// Collects events and makes [`Routes`] and [`Port`]s of them.
#[derive(Debug)]
pub struct RoutesBuilder {
    ports: Vec<PortState>,
    routes: BTreeMap<Key, Vec<Target>>,
    neighbours: HashMap<LinkKey, Option<Mac>>,
    /// Gateways of routes: they have a number even before the kernel has an entry for them.
    gateways: HashSet<LinkKey>,
    /// The neighbour that has each link number.
    numbers: Vec<Option<LinkKey>>,
    by_neighbour: HashMap<LinkKey, LinkId>,
    dirty: Dirty,
    built: (Routes, Vec<Port>),
}

/// What has to be made anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Dirty {
    ports: bool,
    routes: bool,
    neighbours: bool,
}

impl RoutesBuilder {
    /// A builder for ports 0 to `ports` - 1, all of them down. Events about other ports are ignored.
    #[must_use]
    pub fn new(ports: u16) -> Self {
        Self {
            ports: vec![PortState::DOWN; usize::from(ports)],
            routes: BTreeMap::new(),
            neighbours: HashMap::new(),
            gateways: HashSet::new(),
            numbers: Vec::new(),
            by_neighbour: HashMap::new(),
            dirty: Dirty { ports: true, ..Dirty::default() },
            built: (Routes::default(), Vec::new()),
        }
    }

    /// Forgets everything, to be told it anew. Neighbours that are back by the next [`build`](Self::build) keep their
    /// numbers, and if everything is as before then nothing has changed.
    pub fn reset(&mut self) {
        self.ports.fill(PortState::DOWN);
        self.routes.clear();
        self.neighbours.clear();
        self.dirty = Dirty { ports: true, routes: true, neighbours: true };
    }

    /// Takes an event. Saying twice what is already so is harmless.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Port { port, up, mac, mtu } => {
                if let Some(state) = self.ports.get_mut(usize::from(port)) {
                    self.dirty.routes |= state.up != up;
                    self.dirty.ports = true;
                    (state.up, state.mac, state.mtu) = (up, mac, mtu);
                }
            }
            Event::AddressAdded { port, address } => {
                if let Some(state) = self.ports.get_mut(usize::from(port))
                    && !state.addresses.contains(&address)
                {
                    state.addresses.push(address);
                    self.dirty.ports = true;
                }
            }
            Event::AddressRemoved { port, address } => {
                if let Some(state) = self.ports.get_mut(usize::from(port)) {
                    state.addresses.retain(|known| *known != address);
                    self.dirty.ports = true;
                }
            }
            Event::RouteAdded(route, place) => self.add_route(route, place),
            Event::RouteRemoved(route) => self.remove_route(&route),
            Event::Neighbour(Neighbour { port, address, mac }) => {
                // The kernel keeps entries for multicast too; nobody asks for them here.
                if usize::from(port) < self.ports.len() && !address.is_multicast() {
                    let old = self.neighbours.insert((address, port), mac);
                    self.dirty.neighbours |= old != Some(mac);
                }
            }
            Event::NeighbourRemoved { port, address } => {
                self.dirty.neighbours |= self.neighbours.remove(&(address, port)).is_some();
            }
        }
    }

    fn add_route(&mut self, route: Route, place: Place) {
        let list = self.routes.entry(Key::of(&route)).or_default();
        if list.contains(&route.target) {
            return;
        }
        match place {
            Place::Replace if !list.is_empty() => list[0] = route.target,
            Place::First | Place::Replace => list.insert(0, route.target),
            Place::Last => list.push(route.target),
        }
        self.dirty.routes = true;
    }

    fn remove_route(&mut self, route: &Route) {
        let key = Key::of(route);
        if let Some(list) = self.routes.get_mut(&key) {
            list.retain(|target| *target != route.target);
            if list.is_empty() {
                self.routes.remove(&key);
            }
            self.dirty.routes = true;
        }
    }

    /// The routes and ports as they are now, or nothing if they are what was built last.
    pub fn build(&mut self) -> Option<(Routes, Vec<Port>)> {
        let dirty = std::mem::take(&mut self.dirty);
        if dirty == Dirty::default() {
            return None;
        }
        let mut changed = false;
        if dirty.routes || dirty.neighbours {
            self.number_neighbours(dirty.routes);
            let mut next = self.built.0.clone();
            let mut answers_differ = false;
            if dirty.routes {
                let Flat { starts, answers, groups } = self.flatten();
                answers_differ |= *starts != *next.starts || *answers != *next.answers || *groups != *next.groups;
                (next.starts, next.answers, next.groups) = (starts.into(), answers.into(), groups.into());
            }
            let mut neighbours: Vec<_> = self.by_neighbour.iter().map(|(key, id)| (key.0, key.1, *id)).collect();
            neighbours.sort_unstable_by_key(|entry| (entry.0, entry.1));
            answers_differ |= *neighbours != *next.neighbours;
            next.neighbours = neighbours.into();
            let links: Vec<Link> = self.numbers.iter().map(|key| self.link(*key)).collect();
            changed = answers_differ || *links != *next.links;
            next.links = links.into();
            if answers_differ {
                next.version = next.version.checked_add(1).unwrap_or(1);
            }
            self.built.0 = next;
        }
        if dirty.ports {
            let ports: Vec<Port> = self.ports.iter().map(port).collect();
            changed |= ports != self.built.1;
            self.built.1 = ports;
        }
        changed.then(|| self.built.clone())
    }

    /// Gives every neighbour and gateway a number; those that have one keep it, those that left give theirs back.
    fn number_neighbours(&mut self, routes_changed: bool) {
        if routes_changed {
            let targets = self.routes.values().flatten();
            let hops = targets.flat_map(|target| if let Target::Hops(hops) = target { hops.as_slice() } else { &[] });
            self.gateways = hops.filter_map(|hop| Some((hop.gateway?, hop.port))).collect();
        }
        for number in &mut self.numbers {
            if let Some(key) = *number
                && !self.neighbours.contains_key(&key)
                && !self.gateways.contains(&key)
            {
                self.by_neighbour.remove(&key);
                *number = None;
            }
        }
        let mut new: Vec<LinkKey> =
            self.gateways.iter().filter(|key| !self.by_neighbour.contains_key(key)).copied().collect();
        // Gateways first: should numbers run out, whole networks must not be what lacks one.
        new.sort_unstable();
        let gateways = new.len();
        let is_new = |key: &&LinkKey| !self.by_neighbour.contains_key(key) && !self.gateways.contains(key);
        new.extend(self.neighbours.keys().filter(is_new));
        new[gateways..].sort_unstable();
        let mut free = 0;
        for key in new {
            while self.numbers.get(free).is_some_and(Option::is_some) {
                free += 1;
            }
            let Ok(number) = u16::try_from(free) else { return };
            if free == self.numbers.len() {
                self.numbers.push(None);
            }
            self.numbers[free] = Some(key);
            self.by_neighbour.insert(key, LinkId(number));
        }
    }

    fn link(&self, key: Option<LinkKey>) -> Link {
        let (address, port) = key.unwrap_or((Ipv4Addr::UNSPECIFIED, 0));
        let mac = key.and_then(|key| self.neighbours.get(&key).copied().flatten());
        Link { address, port, mac }
    }

    /// Sweeps over the routes in the order of their keys, with a stack of the networks that enclose the current one.
    fn flatten(&self) -> Flat {
        let mut flat = Flat::default();
        let mut groups = HashMap::new();
        let mut stack = vec![Enclosing { last: u32::MAX, table: Table::Main, answer: Answer::Unreachable }];
        flat.push(0, Answer::Unreachable);
        let mut taken = None;
        for (key, targets) in &self.routes {
            let place = (key.network, key.prefix, key.table);
            if taken == Some(place) {
                continue;
            }
            let Some(mut answer) = targets.iter().find_map(|target| self.answer(target, &mut groups, &mut flat)) else {
                continue;
            };
            taken = Some(place);
            flat.close(&mut stack, Some(key.network));
            let mut table = key.table;
            if let Some(outer) = stack.last()
                && outer.table > table
            {
                (table, answer) = (outer.table, outer.answer);
            }
            stack.push(Enclosing { last: key.network | !mask(key.prefix), table, answer });
            flat.push(key.network, answer);
        }
        flat.close(&mut stack, None);
        flat
    }

    /// The answer of a route, or none if all its ports are down.
    fn answer(&self, target: &Target, groups: &mut HashMap<Paths, u32>, flat: &mut Flat) -> Option<Answer> {
        let hops = match target {
            Target::Local => return Some(Answer::Local),
            Target::Unreachable => return Some(Answer::Unreachable),
            Target::Hops(hops) => hops,
        };
        let mut sum = 0u32;
        let mut paths = Vec::new();
        for hop in hops {
            if !self.ports.get(usize::from(hop.port)).is_some_and(|port| port.up) {
                continue;
            }
            let answer = match hop.gateway {
                None => Answer::OnLink(hop.port),
                Some(gateway) => match self.by_neighbour.get(&(gateway, hop.port)) {
                    Some(id) => Answer::Via(*id),
                    None => continue,
                },
            };
            sum = sum.saturating_add(u32::from(hop.weight.max(1)));
            paths.push((sum, answer));
        }
        match paths.as_slice() {
            [] => None,
            [(_, only)] => Some(*only),
            _ => {
                let next = groups.len() as u32;
                let paths = paths.into_boxed_slice();
                let number = *groups.entry(paths).or_insert_with_key(|paths| {
                    flat.groups.push(paths.clone());
                    next
                });
                Some(Answer::Several(number))
            }
        }
    }
}

fn port(state: &PortState) -> Port {
    let source = state.addresses.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED);
    Port { mac: state.mac, mtu: state.mtu, source }
}

/// A network whose end the sweep has not reached, and what is said inside it.
struct Enclosing {
    last: u32,
    table: Table,
    answer: Answer,
}

#[derive(Default)]
struct Flat {
    starts: Vec<u32>,
    answers: Vec<Answer>,
    groups: Vec<Paths>,
}

impl Flat {
    /// From `start` on this is the answer.
    fn push(&mut self, start: u32, answer: Answer) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.answers.pop();
        }
        if self.answers.last() != Some(&answer) {
            self.starts.push(start);
            self.answers.push(answer);
        }
    }

    /// Leaves the networks that end before `next` (or all).
    fn close(&mut self, stack: &mut Vec<Enclosing>, next: Option<u32>) {
        while stack.len() > 1 && next.is_none_or(|next| stack[stack.len() - 1].last < next) {
            let ended = stack.pop().map_or(u32::MAX, |network| network.last);
            if let (Some(outer), Some(after)) = (stack.last(), ended.checked_add(1)) {
                self.push(after, outer.answer);
            }
        }
    }
}
