//! The desired state of a director, with the kernel's semantics (`net/netfilter/ipvs/ip_vs_ctl.c` of Linux 6.1).
//!
//! One [`State::execute`] for every front end. It knows no packets, threads or sockets: the running director is what
//! [`Observed`] says. Who publishes it to the data path asks [`State::take_changes`] what to look at.

mod daemons;
mod drain;
mod estimator;
mod list;
mod observed;
mod origin;
mod settings;
pub mod table;

#[cfg(test)]
mod tests;

pub use daemons::Daemons;
pub use drain::Drained;
pub use estimator::PERIOD;
pub use observed::{Idle, Live, Observed};
pub use settings::Settings;
pub use table::{Destination, Limits, Service, Table};

use crate::command::{
    Command, Counters, Error, ExceptionView, MarkSpec, Netmask, Reply, ServerName, ServerSpec, ServiceName, ServiceSpec,
};
use crate::command::{Origin, Statistics, Timeouts, Version};
use crate::protocol::PROTOCOL;
use drain::Drain;
use estimator::{Estimator, Schedule};
use forwarder::clock::{TICKS_PER_SECOND, Tick};
use forwarder::police::{self, Class};
use forwarder::scheduler::Kind;
use forwarder::service::{DestId, Family, Method, ServiceId, Tunnel};
use origin::Origins;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// A deleted destination without connections is remembered this long (IP_VS_DEST_TRASH_PERIOD).
const TRASH_PERIOD: u32 = 120 * TICKS_PER_SECOND;

/// Marking rules, at most: far more than a lookup stays quick with.
const MAX_MARKS: usize = 65_536;

/// The longest name of a service, bytes.
const MAX_NAME: usize = 63;

/// The longest timeout, seconds: 31 days.
const MAX_TIMEOUT: u32 = 31 * 86_400;

/// What is wanted of the director.
#[derive(Clone, Debug)]
pub struct State {
    table: Table,
    timeouts: Timeouts,
    settings: Settings,
    marks: Vec<MarkSpec>,
    exceptions: police::Limits,
    daemons: Daemons,
    /// The kernel mixes the address of a structure into the order of its service table; here it is a number.
    hash_key: u8,
    schedule: Schedule,
    /// When deleted destinations were last looked at: a long restore need not look at each line.
    trash_seen: Tick,
    total: Estimator,
    /// What deleted services counted.
    carried: Counters,
    changes: Changes,
    origins: Origins,
    drains: Vec<Drain>,
    drained: Vec<Drained>,
}

/// What commands changed since somebody last asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Services that were added, edited or deleted, or whose members were.
    pub services: BTreeSet<ServiceId>,
    /// Destinations that were added, edited, deleted, revived or forgotten.
    pub destinations: BTreeSet<DestId>,
    /// Destinations that count as overloaded no more, because their upper threshold was raised or taken away.
    pub relieved: BTreeSet<DestId>,
    /// The settings.
    pub settings: bool,
    /// The timeouts.
    pub timeouts: bool,
    /// The marking rules.
    pub marks: bool,
    /// What the kernel gets of each class.
    pub exceptions: bool,
    /// The synchronisation daemons.
    pub daemons: bool,
}

impl Changes {
    /// True if nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl State {
    /// No services, the kernel's defaults. The first estimation is about 2 s after `now`.
    #[must_use]
    pub fn new(limits: Limits, now: Tick) -> Self {
        Self {
            table: Table::new(limits),
            timeouts: Timeouts::default(),
            settings: Settings::default(),
            marks: Vec::new(),
            exceptions: police::Limits::default(),
            daemons: Daemons::default(),
            hash_key: 0,
            schedule: Schedule::new(now),
            trash_seen: now,
            total: Estimator::default(),
            carried: Counters::default(),
            changes: Changes::default(),
            origins: Origins::default(),
            drains: Vec::new(),
            drained: Vec::new(),
        }
    }

    /// Chooses the order in which services are listed without sorting. In the kernel it is random at each boot.
    pub fn set_hash_key(&mut self, key: u8) {
        self.hash_key = key;
    }

    /// Services and destinations.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Timeouts of connections.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The marking rules, the first being the one that wins.
    #[must_use]
    pub fn marks(&self) -> &[MarkSpec] {
        &self.marks
    }

    /// What the kernel gets of each class, at most.
    #[must_use]
    pub fn exceptions(&self) -> police::Limits {
        self.exceptions
    }

    /// The classes of frames for the kernel, of which nothing is counted here.
    fn exception_views(&self) -> Vec<ExceptionView> {
        let view = |(class, limit)| ExceptionView { class, limit, packets: 0, policed: 0, dropped: 0 };
        Class::ALL.into_iter().zip(self.exceptions.0).map(view).collect()
    }

    /// The synchronisation daemons.
    #[must_use]
    pub fn daemons(&self) -> &Daemons {
        &self.daemons
    }

    /// What changed since this was last called.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// Does a command. One that is refused changed nothing.
    pub fn execute(&mut self, command: Command, observed: &dyn Observed) -> Result<Reply, Error> {
        self.advance(observed);
        Ok(match command {
            Command::Services { service } => Reply::Services(self.list(service, observed)?),
            Command::Connections { cursor, .. } => Reply::Connections(observed.connections(cursor)?),
            Command::Timeouts => Reply::Timeouts(self.timeouts),
            Command::Daemons => Reply::Daemons(self.daemons.running().to_vec()),
            Command::Settings => Reply::Settings(self.settings.list()),
            Command::Marks => Reply::Marks(self.marks.clone()),
            Command::Exceptions => Reply::Exceptions(self.exception_views()),
            Command::Statistics => Reply::Statistics(self.statistics()),
            Command::Version => {
                Reply::Version(Version { rvs: env!("CARGO_PKG_VERSION").to_owned(), protocol: PROTOCOL })
            }
            Command::Transaction { commands } => self.transaction(commands, observed)?,
            Command::Configure { commands } => {
                self.origins.acting = Origin::File;
                let done = self.transaction(commands, observed);
                self.origins.acting = Origin::Runtime;
                done?
            }
            Command::Each { commands } => {
                Reply::Each(commands.into_iter().map(|command| self.change(command, observed).err()).collect())
            }
            change => {
                self.change(change, observed)?;
                Reply::Done
            }
        })
    }

    /// All of the commands or none.
    fn transaction(&mut self, commands: Vec<Command>, observed: &dyn Observed) -> Result<Reply, Error> {
        let before = self.clone();
        for (index, command) in commands.into_iter().enumerate() {
            if let Err(error) = self.change(command, observed) {
                *self = before;
                return Err(Error::Transaction { index, error: Box::new(error) });
            }
        }
        Ok(Reply::Done)
    }

    /// Lets time pass: estimates rates and forgets deleted destinations. To be called at least once a second.
    pub fn advance(&mut self, observed: &dyn Observed) {
        let due = self.schedule.due(observed.now());
        if self.settings.is_on("run_estimation") {
            (0..due).for_each(|_| self.estimate(observed));
        }
        if observed.now().since(self.trash_seen) >= TICKS_PER_SECOND {
            self.trash_seen = observed.now();
            self.empty_trash(observed);
            self.end_drains(observed);
        }
    }

    /// What the director did in all.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.total.statistics()
    }

    fn change(&mut self, command: Command, observed: &dyn Observed) -> Result<(), Error> {
        match command {
            Command::AddService(spec) => self.add_service(spec),
            Command::EditService(spec) => self.edit_service(spec),
            Command::DeleteService { service } => {
                let id = self.table.find(&service).ok_or(Error::NoSuchService)?.id;
                self.delete_service(id, observed);
                Ok(())
            }
            Command::AddServer { service, server } => self.add_server(service, server, observed),
            Command::EditServer { service, server } => self.edit_server(service, server),
            Command::DeleteServer { service, server } => self.delete_server(service, server, observed),
            Command::DrainServer { service, server, deadline, delete } => {
                self.drain(service, server, deadline, delete, observed)
            }
            Command::Clear => {
                let ids: Vec<_> = self.table.services().map(|service| service.id).collect();
                ids.into_iter().for_each(|id| self.delete_service(id, observed));
                Ok(())
            }
            Command::Zero { service } => self.zero(service),
            Command::SetTimeouts(timeouts) => self.set_timeouts(timeouts),
            Command::StartDaemon(spec) => {
                let mtu = observed.interface_mtu(&spec.interface);
                self.daemons.start(spec, mtu).map(|()| self.changes.daemons = true)
            }
            Command::StopDaemon { role } => self.daemons.stop(role).map(|()| self.changes.daemons = true),
            Command::Set { name, value } => self.settings.set(&name, &value).map(|()| self.changes.settings = true),
            Command::SetExceptionLimit { class, limit } => {
                self.exceptions.0[class as usize] = limit;
                self.changes.exceptions = true;
                Ok(())
            }
            Command::AddMark(rule) => self.add_mark(rule),
            Command::DeleteMark(rule) => self.delete_mark(&rule),
            _ => Err(Error::Unsupported { what: "a question or a transaction within a transaction".to_owned() }),
        }
    }

    fn add_service(&mut self, spec: ServiceSpec) -> Result<(), Error> {
        if self.table.find(&spec.service).is_some() {
            return Err(Error::ServiceExists);
        }
        check_service(&spec)?;
        let spec = ServiceSpec { name: self.free_name(spec.name.clone(), None)?, ..spec };
        let name = spec.service;
        let id = self.table.add_service(spec)?;
        self.origins.note_service(name);
        self.changes.services.insert(id);
        Ok(())
    }

    fn edit_service(&mut self, spec: ServiceSpec) -> Result<(), Error> {
        let old = self.table.find(&spec.service).ok_or(Error::NoSuchService)?;
        let (id, kept) = (old.id, old.spec.name.clone());
        check_service(&spec)?;
        let name = match spec.name {
            None => kept,
            name => self.free_name(name, Some(id))?,
        };
        self.origins.note_service(spec.service);
        self.table.edit_service(id, ServiceSpec { name, ..spec });
        self.changes.services.insert(id);
        Ok(())
    }

    /// A name that this service, or a new one, can have; none for the empty one.
    fn free_name(&self, name: Option<String>, of: Option<ServiceId>) -> Result<Option<String>, Error> {
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(None) };
        check_name(&name)?;
        match self.table.named(&name) {
            Some(other) if Some(other) != of => Err(Error::NameTaken { name }),
            _ => Ok(Some(name)),
        }
    }

    fn delete_service(&mut self, id: ServiceId, observed: &dyn Observed) {
        let Some(service) = self.table.service(id) else { return };
        self.origins.forget_service(&service.spec.service);
        self.drains.retain(|drain| !service.members.contains(&drain.id()));
        self.carried = self.carried.plus(self.table.counted(service, observed));
        for member in service.members.clone() {
            self.table.leave(member, observed);
            self.changes.destinations.insert(member);
        }
        self.table.remove_service(id);
        self.changes.services.insert(id);
    }

    fn add_server(&mut self, name: ServiceName, spec: ServerSpec, observed: &dyn Observed) -> Result<(), Error> {
        let service = self.table.find(&name).ok_or(Error::ServiceNotDefined)?;
        let spec = with_service_port(name, spec);
        self.check_server(name, &spec)?;
        if self.table.member(service, spec.name()).is_some() {
            return Err(Error::DestinationExists);
        }
        let revived = self.table.trashed(name, spec.name());
        if revived.is_none() && !is_unicast(spec.address, observed) {
            return Err(Error::Invalid);
        }
        let service = service.id;
        let old_upper = revived.and_then(|id| self.table.destination(id)).map(|old| old.spec.upper);
        let id = self.table.join(service, spec, observed)?;
        self.origins.note_server(name, spec.name());
        self.note_server(service, id, old_upper, spec.upper);
        Ok(())
    }

    fn edit_server(&mut self, name: ServiceName, spec: ServerSpec) -> Result<(), Error> {
        let service = self.table.find(&name).ok_or(Error::ServiceNotDefined)?;
        let spec = with_service_port(name, spec);
        self.check_server(name, &spec)?;
        let (service, id) = match self.table.member(service, spec.name()) {
            Some(member) => (service.id, member.id),
            None => return Err(Error::NoSuchDestination),
        };
        if let Some(member) = self.table.destination_mut(id) {
            let old_upper = member.spec.upper;
            member.spec = spec;
            if spec.weight != 0 {
                member.last_weight = spec.weight;
            }
            self.note_server(service, id, Some(old_upper), spec.upper);
            self.origins.note_server(name, spec.name());
            self.forget_drain(id);
        }
        Ok(())
    }

    fn delete_server(&mut self, name: ServiceName, server: ServerName, observed: &dyn Observed) -> Result<(), Error> {
        let service = self.table.find(&name).ok_or(Error::ServiceNotDefined)?;
        let id = self.table.member(service, server).ok_or(Error::NoSuchDestination)?.id;
        self.changes.services.insert(service.id);
        self.changes.destinations.insert(id);
        self.table.leave(id, observed);
        self.origins.forget_server(name, server);
        self.forget_drain(id);
        Ok(())
    }

    /// Notes a changed server, and whether its new upper threshold takes it out of overload. A new server (`old_upper` is
    /// none) does not start with what its slot's former one left in a worker.
    fn note_server(&mut self, service: ServiceId, id: DestId, old_upper: Option<u32>, upper: u32) {
        self.changes.services.insert(service);
        self.changes.destinations.insert(id);
        if old_upper.is_none_or(|old| upper == 0 || upper > old) {
            self.changes.relieved.insert(id);
        }
    }

    fn check_server(&self, name: ServiceName, spec: &ServerSpec) -> Result<(), Error> {
        let tunnelled = matches!(spec.method, Method::Tun(_));
        let mixed = spec.address.is_ipv4() != (name.family() == Family::V4);
        if mixed && (!tunnelled || !self.daemons.running().is_empty()) {
            return Err(Error::Invalid);
        }
        if spec.weight > i32::MAX as u32 || spec.lower > spec.upper {
            return Err(Error::OutOfRange);
        }
        match spec.method {
            Method::Tun(Tunnel::Gue(0, _)) | Method::Local => Err(Error::Invalid),
            _ => Ok(()),
        }
    }

    fn zero(&mut self, name: Option<ServiceName>) -> Result<(), Error> {
        let ids: Vec<ServiceId> = match name {
            Some(name) => vec![self.table.find(&name).ok_or(Error::NoSuchService)?.id],
            None => {
                self.total.zero();
                self.table.services().map(|service| service.id).collect()
            }
        };
        for id in ids {
            let Some(service) = self.table.service_mut(id) else { continue };
            service.estimator.zero();
            for member in service.members.clone() {
                if let Some(member) = self.table.destination_mut(member) {
                    member.estimator.zero();
                }
            }
        }
        Ok(())
    }

    fn add_mark(&mut self, rule: MarkSpec) -> Result<(), Error> {
        rule.check()?;
        if self.marks.contains(&rule) {
            return Err(Error::MarkExists);
        }
        if self.marks.len() >= MAX_MARKS {
            return Err(Error::OutOfMemory);
        }
        self.marks.push(rule);
        self.changes.marks = true;
        Ok(())
    }

    fn delete_mark(&mut self, rule: &MarkSpec) -> Result<(), Error> {
        let at = self.marks.iter().position(|other| other == rule).ok_or(Error::NoSuchMark)?;
        self.marks.remove(at);
        self.changes.marks = true;
        Ok(())
    }

    fn set_timeouts(&mut self, new: Timeouts) -> Result<(), Error> {
        if !is_possible(new) {
            return Err(Error::Invalid);
        }
        let or_old = |new: u32, old: u32| if new == 0 { old } else { new };
        self.timeouts = Timeouts {
            tcp: or_old(new.tcp, self.timeouts.tcp),
            tcp_fin: or_old(new.tcp_fin, self.timeouts.tcp_fin),
            udp: or_old(new.udp, self.timeouts.udp),
        };
        self.changes.timeouts = true;
        Ok(())
    }

    fn estimate(&mut self, observed: &dyn Observed) {
        let ids: Vec<_> = self.table.services().map(|service| service.id).collect();
        let mut total = self.carried;
        for id in ids {
            let Some(service) = self.table.service(id) else { continue };
            let counted = self.table.counted(service, observed);
            total = total.plus(counted);
            for member in service.members.clone() {
                if let Some(member) = self.table.destination_mut(member) {
                    let counted = member.counted(observed);
                    member.estimator.estimate(counted);
                }
            }
            if let Some(service) = self.table.service_mut(id) {
                service.estimator.estimate(counted);
            }
        }
        self.total.estimate(total);
    }

    fn empty_trash(&mut self, observed: &dyn Observed) {
        let now = observed.now();
        for id in self.table.trash() {
            let Some(destination) = self.table.destination_mut(id) else { continue };
            if observed.in_use(id) {
                destination.idle_since = None;
            } else if now.since(*destination.idle_since.get_or_insert(now)) >= TRASH_PERIOD {
                self.table.forget(id);
                self.changes.destinations.insert(id);
            }
        }
    }
}

/// That a service can be called so.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let possible = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(possible) {
        return Ok(());
    }
    Err(Error::BadName { name: name.to_owned() })
}

fn check_service(spec: &ServiceSpec) -> Result<(), Error> {
    let engine_known = spec.engine.as_deref().is_none_or(|engine| engine == "sip");
    if Kind::by_name(&spec.scheduler).is_none() || !engine_known {
        return Err(Error::SchedulerNotFound);
    }
    // Mark 0 is no mark; and moments more than a month ahead are not told from those that have passed.
    let no_mark = matches!(spec.service, ServiceName::Mark { mark: 0, .. });
    if no_mark || spec.persistence.is_some_and(|seconds| !(1..=MAX_TIMEOUT).contains(&seconds)) {
        return Err(Error::Invalid);
    }
    if spec.timeouts.is_some_and(|timeouts| !is_possible(timeouts)) {
        return Err(Error::Invalid);
    }
    match (spec.service.family(), spec.netmask) {
        (Family::V4, None | Some(Netmask::Mask(_))) | (Family::V6, None | Some(Netmask::Prefix(1..=128))) => Ok(()),
        _ => Err(Error::Invalid),
    }
}

fn is_possible(timeouts: Timeouts) -> bool {
    [timeouts.tcp, timeouts.tcp_fin, timeouts.udp].into_iter().all(|seconds| seconds <= MAX_TIMEOUT)
}

/// DR and TUN leave the packet's port alone, so the server's port is the service's whatever was asked for.
fn with_service_port(name: ServiceName, spec: ServerSpec) -> ServerSpec {
    match (spec.method, name.port()) {
        (Method::Dr | Method::Tun(_), Some(port)) => ServerSpec { port, ..spec },
        _ => spec,
    }
}

/// What the kernel takes as a real server's address (`inet_addr_type`, `ipv6_addr_type`).
fn is_unicast(address: IpAddr, observed: &dyn Observed) -> bool {
    match address {
        IpAddr::V4(v4) => !(v4.is_unspecified() || v4.is_broadcast() || v4.is_multicast() || observed.is_broadcast(v4)),
        IpAddr::V6(v6) => {
            let odd = v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local();
            !(odd || v6.to_ipv4_mapped().is_some()) || observed.is_own(address)
        }
    }
}
