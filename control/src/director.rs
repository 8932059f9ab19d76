//! The director as a whole: the desired state, the snapshot made from it, and the workers that run by it.
//!
//! Every command of every front end comes to [`Director::execute`]; a command that changes the data path is answered
//! when every worker has taken the new snapshot.

mod flush;
mod journal;
mod meter;
pub mod still;
pub mod trail;

use crate::command::network;
use crate::command::{
    Command, ConnectionPage, ConnectionView, Counters, Error, LayoutView, PortView, RecentLoad, Reply, WorkerView,
};
use crate::publish::Builder;
use crate::state::{Drained, Limits, Live, Observed, State};
use forwarder::clock::{TICKS_PER_SECOND, Tick};
use forwarder::pipeline::{ConnView, Flushed, Listing, Which};
use forwarder::publication::{Publisher, Stalled, Subscription};
use forwarder::route::{NextHop, Port, Routes};
use forwarder::service::{DestId, Snapshot};
use forwarder::stats::WorkerStats;
use journal::Journal;
use meter::{Baseline, Meter};
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// The running workers, as the director needs them.
pub trait Workers {
    /// The moment.
    fn now(&self) -> Tick;
    /// Called again and again while the director waits for workers to take a snapshot, with the number of looks so far;
    /// false ends the wait.
    fn wait(&mut self, looks: u32) -> bool;
    /// A page of the connections of all workers; see [`Observed::connections`].
    ///
    /// # Errors
    /// [`Error::Silent`].
    fn connections(&mut self, cursor: u64) -> Result<ConnectionPage, Error>;
    /// The same, of these alone. A page may be empty, and not the last.
    ///
    /// # Errors
    /// [`Error::Silent`].
    fn connections_of(&mut self, _which: &Which, _cursor: u64) -> Result<ConnectionPage, Error> {
        Err(Error::Unsupported { what: "to list the connections of one service".to_owned() })
    }
    /// Takes connections and templates of a worker away, from some place in its tables on; answers where to go on, as
    /// `Pipeline::flush` does, perhaps after many pieces.
    ///
    /// # Errors
    /// [`Error::Stalled`].
    fn flush(
        &mut self,
        _worker: usize,
        _which: &Arc<Which>,
        _snapshot: &Arc<Snapshot>,
        _from: Listing,
        _flushed: &mut Flushed,
    ) -> Result<Listing, Error> {
        Err(Error::Unsupported { what: "to flush connections".to_owned() })
    }
    /// The MTU of a network interface, if there is one of this name.
    fn interface_mtu(&self, name: &str) -> Option<u32>;
    /// The ports by number, or only this one; `extended` with all that their drivers count.
    fn ports(&mut self, only: Option<u16>, extended: bool) -> Vec<PortView>;
    /// Lets workers serve their queues, or leave them alone.
    fn set_forwarding(&mut self, on: bool);
    /// Lets a port receive frames for every MAC address, or only for its own.
    ///
    /// # Errors
    /// What its driver says.
    fn set_promiscuous(&mut self, port: u16, on: bool) -> Result<(), String>;
    /// Which of them serves which queue.
    fn layout(&mut self) -> LayoutView {
        LayoutView::default()
    }
    /// Adds a device in place of one that was detached; answers the number of its port, which is stopped.
    ///
    /// # Errors
    /// Why there is no such device, or no place for it.
    fn attach(&mut self, _device: &str) -> Result<u16, String> {
        Err("its frames come from memory".to_owned())
    }
    /// Changes how frames are received. Workers on ports in memory have nothing to change.
    ///
    /// # Errors
    /// What a port's driver says, or that a worker does not answer.
    fn adjust(&mut self, _: Adjustment) -> Result<(), String> {
        Err("its frames come from memory".to_owned())
    }
}

/// A change of how frames are received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adjustment {
    /// So many at once, at most.
    Burst(u16),
    /// Of which frames a line is logged: 0 of none, 1 of those received, 2 of those with what was decided, 3 of those received
    /// and those sent.
    Verbose(u8),
    /// This port is started.
    Start(u16),
    /// This port is stopped.
    Stop(u16),
    /// This stopped port loses its device.
    Detach(u16),
    /// Only so many workers serve queues. No frames are forwarded meanwhile.
    Serving(u16),
    /// This port's link is to be up, or down.
    Link(u16, bool),
    /// This port takes all multicast frames, or not.
    AllMulticast(u16, bool),
    /// This port counts from zero; with true, all that its driver counts.
    Clear(u16, bool),
}

fn in_range(name: &str, value: u16, range: std::ops::RangeInclusive<u16>) -> Result<(), Error> {
    if range.contains(&value) {
        return Ok(());
    }
    let takes = format!("{} to {}", range.start(), range.end());
    Err(Error::BadSetting { name: name.to_owned(), value: value.to_string(), takes })
}

/// Frames that can be received at once. Drivers that use vector instructions receive none of less than four.
const BURSTS: std::ops::RangeInclusive<u16> = 4..=32;

/// The director.
pub struct Director<W> {
    state: State,
    builder: Builder,
    publisher: Publisher,
    stats: Vec<Arc<WorkerStats>>,
    workers: W,
    forwarding: bool,
    /// How many workers are to serve queues from the next start on, if that changes.
    serving: Option<u16>,
    baseline: Baseline,
    /// Since when drops are counted.
    drops: Baseline,
    meter: Meter,
    journal: Journal,
}

impl<W: Workers> Director<W> {
    /// A director without services. `stats` are the workers' counters, and `publisher` is what they subscribe to; its
    /// first snapshot must be `builder`'s.
    pub fn new(builder: Builder, publisher: Publisher, stats: Vec<Arc<WorkerStats>>, workers: W) -> Self {
        let slots = stats.iter().map(|stats| stats.destinations.len()).min().unwrap_or_default();
        let limits = Limits { destinations: slots as u32, ..Limits::default() };
        let state = State::new(limits, workers.now());
        Self {
            state,
            builder,
            publisher,
            stats,
            workers,
            forwarding: true,
            serving: None,
            baseline: Baseline::default(),
            drops: Baseline::default(),
            meter: Meter::default(),
            journal: Journal::default(),
        }
    }

    /// Does a command. One that is refused changed nothing.
    ///
    /// # Errors
    /// Why it was refused; or [`Error::Stalled`] when a worker did not take the change in time (it was made all the same).
    pub fn execute(&mut self, command: Command) -> Result<Reply, Error> {
        if let Command::Changes { since } = command {
            return Ok(Reply::Changes(self.journal.since(since)));
        }
        let change = command.is_change().then(|| command.clone());
        let result = self.dispatch(command);
        if let Some(change) = change {
            match &result {
                Ok(reply) => {
                    note_drains(&change);
                    self.journal.done(change, reply);
                }
                Err(Error::Stalled { .. }) => self.journal.done(change, &Reply::Done),
                Err(_) => {}
            }
        }
        result
    }

    /// Remembers a change that somebody else has made, for those who watch.
    pub fn note(&mut self, change: Command) {
        self.journal.done(change, &Reply::Done);
    }

    fn dispatch(&mut self, command: Command) -> Result<Reply, Error> {
        match command {
            Command::Workers => Ok(Reply::Workers(self.worker_views())),
            Command::Ports { port, extended } => self.ports(port, extended).map(Reply::Ports),
            Command::StartForwarding => self.set_forwarding(true),
            Command::StopForwarding => self.set_forwarding(false),
            Command::Forwarding => {
                let ports = self.ports(None, false)?;
                Ok(Reply::Forwarding(self.baseline.since(self.forwarding, &self.worker_views(), ports)))
            }
            Command::ClearForwarding => {
                self.baseline = Baseline::new(self.worker_views(), self.workers.ports(None, false));
                Ok(Reply::Done)
            }
            Command::Neighbours => Ok(Reply::Neighbours(network::neighbours(&self.publisher.current().routes))),
            Command::Routes { to } => Ok(Reply::Routes(network::routes(&self.publisher.current().routes, to))),
            Command::Layout => Ok(Reply::Layout(self.workers.layout())),
            Command::FlushConnections { service, server, client } => self.flush(service, server, client),
            Command::Connections { cursor, service: Some(service) } => {
                let destinations = Some(self.destinations(service, None)?);
                let page = self.workers.connections_of(&Which { destinations, client: None }, cursor)?;
                Ok(Reply::Connections(page))
            }
            Command::Exceptions => self.exceptions(),
            Command::Drops => Ok(Reply::Drops(self.drops.drops(&self.worker_views()))),
            Command::ClearDrops => {
                self.drops = Baseline::new(self.worker_views(), Vec::new());
                Ok(Reply::Done)
            }
            Command::SetBurst { frames } => self.adjust("burst", frames, BURSTS, Adjustment::Burst(frames)),
            Command::SetVerbose { level } => self.adjust("verbose", level.into(), 0..=3, Adjustment::Verbose(level)),
            Command::SetWorkers { workers } => {
                let most = self.stats.len() as u16;
                in_range("nbcore", workers, 1..=most)?;
                self.serving = Some(workers);
                Ok(Reply::Done)
            }
            Command::AttachPort { device } => {
                let port = self.workers.attach(&device).map_err(|why| Error::Refused { why })?;
                self.ports(Some(port), false).map(Reply::Ports)
            }
            Command::DetachPort { port } => {
                if self.ports(Some(port), false)?.iter().any(|view| !view.stopped) {
                    return Err(Error::PortStarted);
                }
                self.adjust_each(Some(port), Adjustment::Detach)
            }
            Command::StartPort { port } => self.adjust_each(port, Adjustment::Start),
            Command::StopPort { port } => self.adjust_each(port, Adjustment::Stop),
            Command::ClearPort { port, extended } => {
                self.adjust_each(port, |port| Adjustment::Clear(port, extended))?;
                self.baseline.forget(port);
                Ok(Reply::Done)
            }
            Command::SetLink { port, up } => self.adjust_each(Some(port), |port| Adjustment::Link(port, up)),
            Command::SetAllMulticast { port, on } => self.adjust_each(port, |port| Adjustment::AllMulticast(port, on)),
            Command::SetPromiscuous { port, on } => {
                for view in self.ports(port, false)? {
                    let port = view.port;
                    self.workers.set_promiscuous(port, on).map_err(|why| Error::Port { port, why })?;
                }
                Ok(Reply::Done)
            }
            command => self.of_state(command),
        }
    }

    fn adjust(
        &mut self,
        name: &str,
        value: u16,
        range: std::ops::RangeInclusive<u16>,
        to: Adjustment,
    ) -> Result<Reply, Error> {
        in_range(name, value, range)?;
        self.workers.adjust(to).map_err(|why| Error::Refused { why })?;
        Ok(Reply::Done)
    }

    fn adjust_each(&mut self, port: Option<u16>, to: impl Fn(u16) -> Adjustment) -> Result<Reply, Error> {
        for PortView { port, .. } in self.ports(port, false)? {
            self.workers.adjust(to(port)).map_err(|why| Error::Port { port, why })?;
        }
        Ok(Reply::Done)
    }

    /// What the kernel got, and may get.
    fn exceptions(&mut self) -> Result<Reply, Error> {
        let workers = self.worker_views();
        let reply = self.of_state(Command::Exceptions)?;
        let Reply::Exceptions(mut views) = reply else { return Ok(reply) };
        for view in &mut views {
            for class in workers.iter().filter_map(|worker| worker.classes.get(view.class.name())) {
                view.packets += class.passed;
                view.policed += class.policed;
                view.dropped += class.dropped;
            }
        }
        Ok(Reply::Exceptions(views))
    }

    /// Says which servers are drained, and remembers those that were deleted for it.
    fn note_drained(&mut self) {
        for Drained { service, server, seconds, connections, deleted } in self.state.take_drained() {
            if connections == 0 {
                tracing::info!(%service, %server, seconds, deleted, "drained");
            } else {
                tracing::warn!(%service, %server, seconds, connections, deleted, "not drained in time");
            }
            if deleted {
                self.journal.done(Command::DeleteServer { service, server }, &Reply::Done);
            }
        }
    }

    /// What it does, in a line: `forwarding: 2 workers, 3 ports, 120 services`.
    #[must_use]
    pub fn brief(&self) -> String {
        let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
        let (workers, ports) = (count(self.stats.len(), "worker"), count(self.publisher.current().ports.len(), "port"));
        let services = count(self.state.table().services().count(), "service");
        let doing = if self.forwarding { "forwarding" } else { "stopped" };
        format!("{doing}: {workers}, {ports}, {services}")
    }

    /// What the workers did, by number.
    pub fn worker_views(&self) -> Vec<WorkerView> {
        let slots = self.state.table().destination_slots() as usize;
        let view = |(worker, stats): (usize, &Arc<WorkerStats>)| WorkerView::new(worker, stats, slots);
        let mut views: Vec<_> = self.stats.iter().enumerate().map(view).collect();
        self.meter.fill_workers(&mut views);
        views
    }

    fn ports(&mut self, only: Option<u16>, extended: bool) -> Result<Vec<PortView>, Error> {
        let mut views = self.workers.ports(only, extended);
        self.meter.fill(&mut views);
        match only {
            Some(port) if views.is_empty() => {
                let valid = self.workers.ports(None, false).iter().map(|view| view.port).collect();
                Err(Error::NoSuchPort { port, valid })
            }
            _ => Ok(views),
        }
    }

    fn set_forwarding(&mut self, on: bool) -> Result<Reply, Error> {
        match (self.forwarding, on) {
            (true, true) => return Err(Error::Forwarding),
            (false, false) => return Err(Error::NotForwarding),
            (false, true) if self.workers.ports(None, false).iter().any(|port| port.stopped) => {
                return Err(Error::PortsStopped);
            }
            (false, true) => {
                if let Some(workers) = self.serving {
                    let done = self.workers.adjust(Adjustment::Serving(workers));
                    done.map_err(|why| Error::Refused { why })?;
                    self.serving = None;
                }
                self.baseline = Baseline::new(self.worker_views(), self.workers.ports(None, false));
            }
            (true, false) => {}
        }
        self.workers.set_forwarding(on);
        self.forwarding = on;
        Ok(Reply::Done)
    }

    /// What the desired state answers, or what changes it.
    fn of_state(&mut self, command: Command) -> Result<Reply, Error> {
        let snapshot = self.publisher.current();
        let Self { state, stats, workers, .. } = self;
        let observed = View { stats, workers: RefCell::new(workers), snapshot: &snapshot };
        let reply = state.execute(command, &observed);
        self.note_drained();
        self.publish_changes()?;
        reply
    }

    /// Lets time pass; to be called about once a second.
    ///
    /// # Errors
    /// [`Error::Stalled`].
    pub fn tick(&mut self) -> Result<(), Error> {
        let snapshot = self.publisher.current();
        let Self { state, stats, workers, .. } = self;
        state.advance(&View { stats, workers: RefCell::new(workers), snapshot: &snapshot });
        self.note_drained();
        let now = self.workers.now();
        if self.meter.due(now) {
            let ports = self.workers.ports(None, false);
            let workers = self.stats.iter().map(|stats| RecentLoad {
                busy_cycles: stats.busy_cycles.get(),
                idle_cycles: stats.idle_cycles.get(),
                frames: stats.received.get().wrapping_add(stats.handed_in.get()),
                turns: stats.turns.get(),
                permille: 0,
            });
            self.meter.sample(now, &ports, workers);
        }
        self.publish_changes()
    }

    /// Takes over new routes and ports.
    ///
    /// # Errors
    /// [`Error::Stalled`].
    pub fn route(&mut self, routes: Routes, ports: Vec<Port>) -> Result<(), Error> {
        let next = self.builder.route(routes, ports);
        self.publish(next)
    }

    /// Chooses the order in which services are listed without sorting, which in the kernel is random at each boot.
    pub fn set_hash_key(&mut self, key: u8) {
        self.state.set_hash_key(key);
    }

    /// What is wanted.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The workers.
    pub fn workers(&mut self) -> &mut W {
        &mut self.workers
    }

    /// The snapshot in force.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.publisher.current()
    }

    /// The addresses of all real servers that may get packets.
    #[must_use]
    pub fn servers(&self) -> Vec<Ipv4Addr> {
        let destinations = self.builder.snapshot().destinations.iter().flat_map(|chunk| chunk.iter());
        let mut servers: Vec<_> =
            destinations.filter(|destination| destination.available).map(|destination| destination.address).collect();
        servers.sort_unstable();
        servers.dedup();
        servers
    }

    /// A worker's end of what is published.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        self.publisher.subscribe()
    }

    fn publish_changes(&mut self) -> Result<(), Error> {
        let changes = self.state.take_changes();
        if changes.is_empty() {
            return Ok(());
        }
        let next = self.builder.apply(&self.state, &changes);
        self.publish(next)
    }

    fn publish(&mut self, next: Snapshot) -> Result<(), Error> {
        let Self { publisher, workers, .. } = self;
        let mut looks = 0;
        let wait = || {
            looks += 1;
            workers.wait(looks)
        };
        publisher.publish(next, wait).map_err(|Stalled { worker }| Error::Stalled { worker })
    }
}

/// Says which servers drain from now on.
fn note_drains(change: &Command) {
    match change {
        Command::DrainServer { service, server, deadline, delete } => {
            tracing::info!(%service, %server, deadline, delete, "draining");
        }
        Command::Transaction { commands } | Command::Configure { commands } => commands.iter().for_each(note_drains),
        _ => {}
    }
}

/// What the state sees of the workers.
struct View<'a, W> {
    stats: &'a [Arc<WorkerStats>],
    workers: RefCell<&'a mut W>,
    snapshot: &'a Snapshot,
}

impl<W: Workers> Observed for View<'_, W> {
    fn now(&self) -> Tick {
        self.workers.borrow().now()
    }

    fn counters(&self, id: DestId) -> Counters {
        let each = self.stats.iter().map(|stats| Counters::from(&stats.destinations[id.0 as usize]));
        each.fold(Counters::default(), Counters::plus)
    }

    fn live(&self, id: DestId) -> Live {
        self.stats.iter().fold(Live::default(), |sum, stats| {
            let counters = &stats.destinations[id.0 as usize];
            Live {
                active: sum.active.wrapping_add(counters.active.get()),
                inactive: sum.inactive.wrapping_add(counters.inactive.get()),
                persistent: sum.persistent.wrapping_add(counters.persistent.get()),
            }
        })
    }

    fn connections(&self, cursor: u64) -> Result<ConnectionPage, Error> {
        self.workers.borrow_mut().connections(cursor)
    }

    fn interface_mtu(&self, name: &str) -> Option<u32> {
        self.workers.borrow().interface_mtu(name)
    }

    fn is_own(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.snapshot.routes.lookup(address) == NextHop::Local,
            IpAddr::V6(_) => false,
        }
    }
}

/// A connection of the data path as it is listed.
#[must_use]
pub fn connection(view: &ConnView) -> ConnectionView {
    ConnectionView {
        protocol: match view.protocol {
            6 => "TCP",
            17 => "UDP",
            132 => "SCTP",
            _ => "IP",
        }
        .to_owned(),
        expires: view.expires / TICKS_PER_SECOND,
        state: view.state.to_owned(),
        client: IpAddr::V4(*view.client.ip()),
        client_port: view.client.port(),
        target: IpAddr::V4(*view.target.ip()),
        target_port: view.target.port(),
        server: IpAddr::V4(*view.server.ip()),
        server_port: view.server.port(),
        engine: None,
    }
}
