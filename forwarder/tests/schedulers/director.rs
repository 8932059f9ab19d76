//! A director reduced to what schedulers see: services, servers, and a model of connections that counts them as active
//! or inactive, sets and clears the overload flag, and lets entries expire. No packets.

use crate::ipvsadm::Line;
use forwarder::clock::Tick;
use forwarder::scheduler::{Flags, Kind, Request, Scheduler};
use forwarder::service::{DestId, Family, Member, Persistence, Service, ServiceId, ServiceKey, Settings};
use forwarder::stats::{DestCounters, Loads, Touched};
use std::collections::HashMap;
use std::net::IpAddr;

/// Where a new connection comes from and goes to.
pub type Tuple = (IpAddr, u16, IpAddr, u16);

/// How a connection of a recording ends, or what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// An established TCP connection.
    Held,
    /// A TCP connection that was closed by FINs.
    Finished,
    /// A TCP connection that was reset.
    Reset,
    /// Datagrams.
    Datagram,
}

struct Connection {
    dest: DestId,
    active: bool,
    expires: Tick,
    template: Option<TemplateKey>,
}

type TemplateKey = (ServiceKey, u32, u16);

struct Template {
    dest: DestId,
    expires: Tick,
    connections: u32,
}

struct Running {
    service: Service,
    scheduler: Box<dyn Scheduler>,
}

/// The model.
pub struct Director {
    now: Tick,
    /// Timeouts of `--set`, seconds: established, FIN_WAIT, UDP.
    timeouts: [u32; 3],
    pub settings: Settings,
    pub expire_quiescent_template: bool,
    services: Vec<Running>,
    counters: Vec<DestCounters>,
    overloaded: Vec<u64>,
    touched: Touched,
    thresholds: Vec<(u32, u32)>,
    /// Deleted servers that still have connections come back with their slot.
    trash: HashMap<(ServiceKey, IpAddr, u16), DestId>,
    connections: HashMap<Tuple, Connection>,
    templates: HashMap<TemplateKey, Template>,
}

/// CLOSE, seconds: not changed by `--set`. TIME_WAIT is FIN_WAIT's default too.
const CLOSE: u32 = 10;
const TIME_WAIT: u32 = 120;

impl Director {
    pub fn new() -> Self {
        Self {
            now: Tick(u32::MAX - 1000), // so that every longer case crosses the wrap
            timeouts: [900, 120, 300],
            settings: Settings::default(),
            expire_quiescent_template: false,
            services: Vec::new(),
            counters: Vec::new(),
            overloaded: vec![0; 16],
            touched: Touched::new(16 * 64),
            thresholds: Vec::new(),
            trash: HashMap::new(),
            connections: HashMap::new(),
            templates: HashMap::new(),
        }
    }

    /// Executes an ipvsadm line that the recorded ipvsadm accepted.
    pub fn execute(&mut self, line: &Line) {
        match line.verb.as_str() {
            "set" => {
                for (timeout, &given) in self.timeouts.iter_mut().zip(&line.timeouts) {
                    *timeout = if given == 0 { *timeout } else { given };
                }
            }
            "A" => self.add_service(line),
            "E" => self.edit_service(line),
            "a" | "e" | "d" => self.change_members(line),
            verb => panic!("-{verb} is not known here"),
        }
    }

    fn add_service(&mut self, line: &Line) {
        let key = line.service.expect("a service");
        let service = configure(line, Vec::new(), self.services.len() as u32);
        assert!(self.services.iter().all(|running| running.service.key != key), "the service exists");
        let scheduler = (service.scheduler.definition().start)(&service, self.now, 1);
        self.services.push(Running { service, scheduler });
    }

    fn edit_service(&mut self, line: &Line) {
        let (at, now) = (self.find(line.service.expect("a service")), self.now);
        let running = &mut self.services[at];
        let old = running.service.clone();
        running.service = configure(line, old.members.clone(), old.id.0);
        running.service.edits = old.edits;
        if running.service.scheduler == old.scheduler {
            running.scheduler.changed(&old, &running.service);
        } else {
            running.scheduler = (running.service.scheduler.definition().start)(&running.service, now, 1);
        }
    }

    fn change_members(&mut self, line: &Line) {
        let key = line.service.expect("a service");
        let at = self.find(key);
        let (address, port) = line.server.expect("a server");
        let service_port = if let ServiceKey::Address(_, _, port) = key { port } else { 0 };
        let port =
            if line.method == Some('m') || line.verb == "d" { port.unwrap_or(service_port) } else { service_port };
        let old = self.services[at].service.clone();
        let mut members = old.members.clone();
        let place = members.iter().position(|member| member.address == address && member.port == port);
        match (line.verb.as_str(), place) {
            ("d", Some(place)) => {
                let gone = members.remove(place);
                let load = self.load(gone.id);
                if load > 0 {
                    self.trash.insert((key, address, port), gone.id);
                }
            }
            ("a", None) => {
                let id = self.trash.remove(&(key, address, port)).unwrap_or_else(|| self.new_slot());
                let weight = line.weight.unwrap_or(1);
                self.limit(id, line);
                let (upper, lower) = (line.upper, line.lower);
                members.insert(0, Member { id, address, port, weight, last_weight: weight, upper, lower });
            }
            ("e", Some(place)) => {
                let member = &mut members[place];
                member.weight = line.weight.unwrap_or(1);
                if member.weight > 0 {
                    member.last_weight = member.weight;
                }
                (member.upper, member.lower) = (line.upper, line.lower);
                let id = member.id;
                self.limit(id, line);
            }
            (verb, place) => panic!("-{verb} {address}:{port} with the server at {place:?}"),
        }
        let running = &mut self.services[at];
        running.service.edits += 1;
        running.service.table = prepare(&running.service, &members);
        running.service.members = members;
        running.scheduler.changed(&old, &running.service);
    }

    /// New thresholds: the flag goes if there is none or a larger one.
    fn limit(&mut self, id: DestId, line: &Line) {
        let index = id.0 as usize;
        if line.upper == 0 || line.upper > self.thresholds[index].0 {
            self.overloaded[index / 64] &= !(1 << (index % 64));
        }
        self.thresholds[index] = (line.upper, line.lower);
        self.touched.mark(id);
    }

    fn new_slot(&mut self) -> DestId {
        self.counters.push(DestCounters::default());
        self.thresholds.push((0, 0));
        DestId(self.counters.len() as u32 - 1)
    }

    fn find(&self, key: ServiceKey) -> usize {
        self.services.iter().position(|running| running.service.key == key).expect("the service exists")
    }

    fn load(&self, id: DestId) -> u32 {
        let counters = &self.counters[id.0 as usize];
        counters.active.get() + counters.inactive.get()
    }

    /// Time passes; what expires in it goes.
    pub fn wait(&mut self, ticks: u32) {
        self.now = self.now.plus(ticks);
        let now = self.now;
        let dead = |connection: &Connection| now.reached(connection.expires);
        let gone: Vec<Tuple> = self.connections.iter().filter(|(_, c)| dead(c)).map(|(&tuple, _)| tuple).collect();
        for tuple in gone {
            self.forget(tuple);
        }
        self.templates.retain(|_, template| {
            if now.reached(template.expires) && template.connections > 0 {
                template.expires = now.plus_seconds(60);
            }
            !now.reached(template.expires)
        });
    }

    fn forget(&mut self, tuple: Tuple) {
        let connection = self.connections.remove(&tuple).expect("a connection");
        self.unbind(connection.dest, connection.active);
        if let Some(template) = connection.template.and_then(|key| self.templates.get_mut(&key)) {
            template.connections -= 1;
        }
    }

    fn unbind(&mut self, dest: DestId, active: bool) {
        let index = dest.0 as usize;
        let counters = &self.counters[index];
        counters.closed(active);
        self.touched.mark(dest);
        let (upper, lower) = self.thresholds[index];
        let total = self.load(dest);
        let back = if lower != 0 { total < lower } else { upper == 0 || total * 4 < upper * 3 };
        if back {
            self.overloaded[index / 64] &= !(1 << (index % 64));
        }
    }

    fn bind(&mut self, dest: DestId, active: bool) {
        let index = dest.0 as usize;
        let counters = &self.counters[index];
        counters.opened(active);
        self.touched.mark(dest);
        let upper = self.thresholds[index].0;
        if upper != 0 && self.load(dest) >= upper {
            self.overloaded[index / 64] |= 1 << (index % 64);
        }
    }

    /// A packet of a connection, new or not: the server that got it (address, port), or none.
    pub fn connect(&mut self, tuple: Tuple, ending: Ending) -> Option<(IpAddr, u16)> {
        let (client, client_port, target, port) = tuple;
        let at = self.services.iter().position(|running| match running.service.key {
            ServiceKey::Address(_, address, own) => address == target && (own == port || own == 0),
            ServiceKey::Mark(..) => true,
        })?;
        let key = self.services[at].service.key;
        let dest = if let Some(known) = self.connections.get(&tuple) {
            known.dest
        } else {
            let request = Request { client, client_port, target, now: self.now, settings: &self.settings };
            let loads =
                Loads { own: &self.counters, others: &[], overloaded: &self.overloaded, touched: &self.touched };
            let running = &mut self.services[at];
            let persistence = running.service.persistence;
            let template = persistence.map(|persistence| (key, masked(client, persistence), own_port(key)));
            let usable = |template: &&Template| {
                let member = running.service.members.iter().find(|member| member.id == template.dest);
                member.is_some_and(|member| member.weight > 0 || !self.expire_quiescent_template)
            };
            let dest = match template.and_then(|key| self.templates.get(&key)).filter(usable) {
                Some(template) => template.dest,
                None => {
                    let index = running.scheduler.pick(&running.service, &loads, &request)?;
                    running.service.members[index].id
                }
            };
            let one_packet = running.service.one_packet;
            if let (Some(key), Some(persistence)) = (template, persistence) {
                let expires = self.now.plus_seconds(persistence.timeout);
                let fresh = Template { dest, expires, connections: 0 };
                let template = self.templates.entry(key).or_insert(fresh);
                if template.dest != dest {
                    *template = Template { dest, expires, connections: 0 };
                }
                template.expires = expires;
                template.connections += 1;
            }
            self.bind(dest, ending != Ending::Datagram);
            if one_packet {
                self.unbind(dest, false);
            } else {
                let active = ending != Ending::Datagram;
                self.connections.insert(tuple, Connection { dest, active, expires: self.now, template });
                self.end(tuple, ending);
            }
            dest
        };
        let service = &self.services[at].service;
        let member = service.members.iter().find(|member| member.id == dest)?;
        Some((member.address, if member.port == 0 { port } else { member.port }))
    }

    /// Brings a connection to the state that this ending leaves it in, and restarts its timer.
    pub fn end(&mut self, tuple: Tuple, ending: Ending) {
        let Some(connection) = self.connections.get_mut(&tuple) else { return };
        let seconds = match ending {
            Ending::Held => self.timeouts[0],
            Ending::Finished => TIME_WAIT,
            Ending::Reset => CLOSE,
            Ending::Datagram => self.timeouts[2],
        };
        connection.expires = self.now.plus_seconds(seconds);
        if connection.active && ending != Ending::Held {
            connection.active = false;
            let counters = &self.counters[connection.dest.0 as usize];
            counters.closed(true);
            counters.opened(false);
            self.touched.mark(connection.dest);
        }
    }
}

fn own_port(key: ServiceKey) -> u16 {
    if let ServiceKey::Address(_, _, port) = key { port } else { 0 }
}

fn masked(client: IpAddr, persistence: Persistence) -> u32 {
    match client {
        IpAddr::V4(client) => u32::from(client) & persistence.mask,
        IpAddr::V6(_) => panic!("persistence of IPv6 is not modelled here"),
    }
}

fn prepare(service: &Service, members: &[Member]) -> forwarder::scheduler::Table {
    (service.scheduler.definition().prepare)(members, service.flags, Family::V4)
}

/// The service that `-A` or `-E` describes.
fn configure(line: &Line, members: Vec<Member>, slot: u32) -> Service {
    let name = line.scheduler.as_deref().unwrap_or("wlc");
    let scheduler = Kind::by_name(name).unwrap_or_else(|| panic!("scheduler {name} is not known"));
    let has = |flag: &str| line.flags.iter().any(|given| given == &format!("{name}-{flag}"));
    let mask = match line.mask {
        Some(IpAddr::V4(mask)) => u32::from(mask),
        _ => u32::MAX,
    };
    let mut service = Service {
        id: ServiceId(slot),
        generation: 0,
        key: line.service.expect("a service"),
        scheduler,
        flags: Flags { fallback: has("fallback"), port: has("port"), flag3: false },
        persistence: line.persistence.map(|timeout| Persistence { timeout, mask, prefix: 128, sip: false }),
        one_packet: line.one_packet,
        timeouts: None,
        members: Vec::new(),
        edits: 0,
        table: None,
    };
    service.table = prepare(&service, &members);
    service.members = members;
    service
}
