//! A director in memory, with two ports, real servers, clients and a kernel: what the pipeline target plays with.

use crate::notes::Notes;
use control::command::{Command, ConnectionPage, Error, PortView, Reply};
use control::console::{self, Console, Outcome};
use control::director::{self, Director, Workers};
use control::ipvsadm::Executor;
use control::ipvsadm::names;
use control::publish::Builder;
use forwarder::clock::Tick;
use forwarder::flow_table::{FlowTable, Secret, Slot};
use forwarder::pipeline::{ConnSlot, DropReason, Flushed, Listing, Pipeline, Waiting, Which};
use forwarder::publication::Publisher;
use forwarder::route::{Event, Hop, Mac, Neighbour, Place, Route, RoutesBuilder, Table, Target};
use forwarder::rss::Spread;
use forwarder::service::Snapshot;
use forwarder::stats::WorkerStats;
use forwarder::worker::{KernelLink, Resolver, Watcher, Wiring, Worker};
use packet_io::memory::{MemFrame, MemPool, MemQueue};
use packet_io::{Burst, Frame as _};
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The port of GUE tunnels.
pub(crate) const GUE: u16 = 6080;
/// Slots for destinations: few, so that they are used again.
pub(crate) const DESTINATIONS: usize = 12;
/// The ports' MAC addresses.
pub(crate) const MACS: [Mac; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
/// The virtual address of the services.
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
/// The gateway of the first port.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 254);

/// The pool, shared with whoever counts.
#[derive(Clone)]
pub(crate) struct Pool(pub Arc<Mutex<MemPool>>);

impl packet_io::FramePool for Pool {
    type Frame = MemFrame;
    fn allocate(&mut self) -> Option<MemFrame> {
        lock(&self.0).allocate()
    }
}

/// The kernel interfaces: what they got, what they have to say, and whether they take more.
#[derive(Default)]
pub(crate) struct Kernel {
    pub got: Vec<(u16, MemFrame)>,
    pub says: [VecDeque<MemFrame>; 2],
    pub room: usize,
    /// A port without one.
    pub missing: Option<u16>,
}

impl KernelLink for Kernel {
    type Frame = MemFrame;
    fn exists(&self, port: u16) -> bool {
        self.missing != Some(port)
    }
    fn send(&mut self, port: u16, frame: MemFrame) -> Result<(), MemFrame> {
        if self.got.len() < self.room {
            self.got.push((port, frame));
            return Ok(());
        }
        Err(frame)
    }
    fn receive(&mut self, port: u16, burst: &mut Burst<MemFrame>) -> usize {
        let before = burst.len();
        while !burst.is_full()
            && let Some(frame) = self.says[usize::from(port)].pop_front()
        {
            let _ = burst.push(frame);
        }
        burst.len() - before
    }
}

/// Asks nobody.
pub(crate) struct Silent;

impl Resolver for Silent {
    fn resolve(&mut self, _: Waiting) {}
}

pub(crate) type Machine = Worker<MemQueue, MemQueue, Kernel, Silent, Pool, Vec<ConnSlot>>;

/// The workers and their time, as the director sees them.
pub(crate) struct Running {
    pub workers: Vec<Machine>,
    pub now: Tick,
    /// They take no new snapshot while the director waits.
    pub stubborn: bool,
}

impl Running {
    /// A turn of each worker.
    pub fn turn(&mut self) {
        let Self { workers, now, .. } = self;
        workers.iter_mut().for_each(|worker| {
            worker.turn(*now);
        });
    }

    /// Of each worker that has one, the transmit queue of a port.
    pub fn transmit_queues(&mut self, port: u16) -> impl Iterator<Item = &mut MemQueue> {
        self.workers.iter_mut().filter_map(move |worker| worker.transmit_queue(port))
    }
}

#[derive(Clone)]
pub(crate) struct Lcore(pub Arc<Mutex<Running>>);

impl Lcore {
    pub fn lock(&self) -> MutexGuard<'_, Running> {
        lock(&self.0)
    }
}

impl Workers for Lcore {
    fn now(&self) -> Tick {
        self.lock().now
    }
    fn wait(&mut self, _: u32) -> bool {
        let running = &mut *self.lock();
        if !running.stubborn {
            running.turn();
        }
        !running.stubborn
    }
    fn connections(&mut self, _: u64) -> Result<ConnectionPage, Error> {
        Ok(ConnectionPage::default())
    }
    fn flush(
        &mut self,
        worker: usize,
        which: &Arc<Which>,
        snapshot: &Arc<Snapshot>,
        from: Listing,
        flushed: &mut Flushed,
    ) -> Result<Listing, Error> {
        let running = &mut *self.lock();
        running.turn();
        Ok(running.workers[worker].pipeline().flush(snapshot, running.now, which, from, flushed))
    }
    fn interface_mtu(&self, _: &str) -> Option<u32> {
        Some(1500)
    }
    fn ports(&mut self, _: Option<u16>, _: bool) -> Vec<PortView> {
        Vec::new()
    }
    fn set_forwarding(&mut self, _: bool) {}
    fn set_promiscuous(&mut self, _: u16, _: bool) -> Result<(), String> {
        Ok(())
    }
}

/// How big everything is.
pub(crate) struct Sizes {
    /// One to three. The second has no transmit queue of the second port, the third none at all.
    pub workers: usize,
    pub slots: usize,
    pub templates: usize,
    pub frames: usize,
    pub mtu: [u16; 2],
    pub now: Tick,
    pub seed: u64,
    /// Whether bursts are run together.
    pub together: bool,
}

/// The director, its workers, and the network as the kernel knows it.
pub(crate) struct World {
    pub director: Director<Lcore>,
    pub lcore: Lcore,
    /// By worker.
    pub stats: Vec<Arc<WorkerStats>>,
    pub pool: Arc<Mutex<MemPool>>,
    network: RoutesBuilder,
    mtu: [u16; 2],
}

impl World {
    pub fn new(sizes: &Sizes) -> Self {
        let mut network = RoutesBuilder::new(2);
        for (port, address, net) in [(0, [172, 16, 0, 1], [172, 16, 0, 0]), (1, [192, 168, 1, 1], [192, 168, 1, 0])] {
            let mtu = sizes.mtu[usize::from(port)];
            network.apply(Event::Port { port, up: true, mac: MACS[usize::from(port)], mtu });
            network.apply(Event::AddressAdded { port, address: address.into() });
            let route = |table, network: [u8; 4], prefix, target| {
                Event::RouteAdded(Route { table, network: network.into(), prefix, metric: 0, target }, Place::Last)
            };
            network.apply(route(Table::Local, address, 32, Target::Local));
            network.apply(route(Table::Main, net, 24, Target::Hops(vec![Hop { port, gateway: None, weight: 1 }])));
        }
        network.apply(Event::RouteAdded(default_route(), Place::Last));
        network.apply(Event::RouteAdded(own_vip(), Place::Last));
        let (routes, ports) = network.build().expect("something was applied");
        let builder = Builder::new(routes, ports);
        let stats: Vec<_> = (0..sizes.workers).map(|_| Arc::new(WorkerStats::new(DESTINATIONS))).collect();
        let publisher = Publisher::new(builder.snapshot().clone(), stats.clone());
        let pool = Arc::new(Mutex::new(MemPool::new(sizes.frames)));
        let queues = |worker: usize| {
            let queues = |port: usize| (vec![MemQueue::default()], (worker + port < 2).then(MemQueue::default));
            vec![queues(0), queues(1)]
        };
        let wirings = Wiring::among((0..sizes.workers).map(queues).collect()).expect("each port has a transmit queue");
        let secret = Secret::new([sizes.seed, 1]);
        let spread = Arc::new(Spread::new(sizes.workers as u32, Spread::MANY, sizes.seed));
        let workers = wirings.into_iter().zip(&stats).map(|(wiring, own)| {
            let conns = FlowTable::new(vec![Slot::default(); sizes.slots], sizes.now).expect("a multiple of 32");
            let templates =
                FlowTable::new(vec![Slot::default(); sizes.templates], sizes.now).expect("a multiple of 32");
            let mut pipeline = Pipeline::new(conns, templates, own.clone(), secret);
            if sizes.together {
                pipeline.run_together_from(0);
            }
            let pipeline = pipeline.among(wiring.share(), &stats, &spread);
            let kernel = Kernel { room: usize::MAX, ..Kernel::default() };
            let pool = Pool(pool.clone());
            Worker::wired(publisher.subscribe(), pipeline, wiring, kernel, Silent, pool, sizes.now)
        });
        let workers = workers.collect();
        let lcore = Lcore(Arc::new(Mutex::new(Running { workers, now: sizes.now, stubborn: false })));
        let director = Director::new(builder, publisher, stats.clone(), lcore.clone());
        Self { director, lcore, stats, pool, network, mtu: sizes.mtu }
    }

    /// One turn of each worker.
    pub fn turn(&mut self) {
        self.lcore.lock().turn();
    }

    /// A sum over the workers.
    pub fn sum(&self, of: impl Fn(&WorkerStats) -> u64) -> u64 {
        self.stats.iter().map(|stats| of(stats)).sum()
    }

    /// Frames that were dropped for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.sum(|stats| stats.drops[reason as usize].get())
    }

    /// Lets somebody watch all workers, or nobody.
    pub fn watch(&mut self, notes: Option<Arc<Notes>>) {
        let workers = &mut self.lcore.lock().workers;
        workers.iter_mut().for_each(|worker| worker.watch(notes.clone().map(|notes| notes as Arc<dyn Watcher>)));
    }

    /// Time goes on; the hand follows it.
    pub fn pass(&mut self, ticks: u32) {
        let running = &mut *self.lcore.lock();
        running.now = running.now.plus(ticks);
    }

    /// The kernel learns a neighbour's MAC address, loses it, or forgets the neighbour.
    pub fn neighbour(&mut self, port: u16, address: Ipv4Addr, state: Option<Option<Mac>>) {
        match state {
            Some(mac) => self.network.apply(Event::Neighbour(Neighbour { port, address, mac })),
            None => self.network.apply(Event::NeighbourRemoved { port, address }),
        }
        self.rebuild();
    }

    /// The default route comes or goes.
    pub fn default_route(&mut self, is_there: bool) {
        self.network.apply(match is_there {
            true => Event::RouteAdded(default_route(), Place::Last),
            false => Event::RouteRemoved(default_route()),
        });
        self.rebuild();
    }

    /// The director gets the virtual address, or it is taken away, as a VRRP daemon does.
    pub fn vip(&mut self, is_there: bool) {
        self.network.apply(match is_there {
            true => Event::RouteAdded(own_vip(), Place::Last),
            false => Event::RouteRemoved(own_vip()),
        });
        self.rebuild();
    }

    /// A port's interface goes up or down.
    pub fn port(&mut self, port: u16, up: bool) {
        let mtu = self.mtu[usize::from(port)];
        self.network.apply(Event::Port { port, up, mac: MACS[usize::from(port)], mtu });
        self.rebuild();
    }

    /// A port's interface is taken away.
    #[cfg(test)]
    pub fn port_gone(&mut self, port: u16) {
        self.network.apply(Event::Port { port, up: false, mac: Mac::default(), mtu: 1500 });
        self.rebuild();
    }

    fn rebuild(&mut self) {
        if let Some((routes, ports)) = self.network.build() {
            let stubborn = self.lcore.lock().stubborn;
            let published = self.director.route(routes, ports);
            assert!(published.is_ok() || stubborn, "{published:?}");
        }
    }

    /// Does a line of the console; answers what it printed, refusals included.
    pub fn say(&mut self, line: &str) -> (Outcome, String) {
        let (mut output, mut errors, known) = (Vec::new(), Vec::new(), names::Table::default());
        let outcome = Console::new(self, &known, console::Place::Socket, &mut output, &mut errors).line(line);
        output.extend(errors);
        (outcome, String::from_utf8_lossy(&output).into_owned())
    }

    /// What has left since the last look, with its port.
    pub fn sent(&mut self) -> Vec<(u16, Vec<u8>)> {
        let running = &mut *self.lcore.lock();
        let mut sent = Vec::new();
        for port in 0..2 {
            for queue in running.transmit_queues(port) {
                sent.extend(queue.frames.drain(..).map(|frame| (port, frame.bytes().to_vec())));
            }
        }
        sent
    }

    /// Everything that the connection listing shows.
    pub fn list(&mut self) -> usize {
        let snapshot = self.director.snapshot();
        let running = &mut *self.lcore.lock();
        let (now, mut seen) = (running.now, 0);
        for worker in &mut running.workers {
            let mut from = Listing::Start;
            while from != Listing::End {
                from = worker.pipeline().list(&snapshot, now, from, 50, |view| {
                    let _ = director::connection(&view);
                    seen += 1;
                });
            }
        }
        seen
    }
}

fn default_route() -> Route {
    let target = Target::Hops(vec![Hop { port: 0, gateway: Some(GATEWAY), weight: 1 }]);
    Route { table: Table::Main, network: Ipv4Addr::UNSPECIFIED, prefix: 0, metric: 0, target }
}

fn own_vip() -> Route {
    Route { table: Table::Local, network: VIP, prefix: 32, metric: 0, target: Target::Local }
}

impl Executor for World {
    fn execute(&mut self, command: Command) -> Result<Reply, Error> {
        self.director.execute(command)
    }
}

/// Nothing here is shared between threads; the locks are there because a director could be.
pub(crate) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
