//! A director with several workers on queues in memory, simulated time, and two ports: clients before the first, real
//! servers behind the second. Every neighbour is known.

use control::command::{Command, ConnectionPage, Error, PortView, Reply};
use control::director::{Director, Workers, connection};
use control::ipvsadm::Executor;
use control::ipvsadm::names::Table;
use control::ipvsadm::run::Session;
use control::kernel::{Fixed, FixedNeighbour, FixedPort, FixedRoute, Network};
use control::publish::Builder;
use forwarder::clock::Tick;
use forwarder::flow_table::{FlowTable, Secret, Slot, slots_for};
use forwarder::pipeline::{ConnSlot, ConnView, DropReason, Flushed, Listing, Pipeline, Waiting, Which};
use forwarder::publication::{Publisher, Subscription};
use forwarder::rss::Spread;
use forwarder::service::Snapshot;
use forwarder::stats::{Counter, WorkerStats};
use forwarder::worker::{KernelLink, Resolver, Watcher, Wiring, Worker};
use packet_io::memory::{MemFrame, MemPool, MemQueue};
use packet_io::{Burst, Frame};

use std::collections::HashMap;
use std::net::Ipv4Addr;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// Ticks.
pub const SECOND: u32 = forwarder::clock::TICKS_PER_SECOND;
pub const OUTSIDE: u16 = 0;
pub const INSIDE: u16 = 1;
pub const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
const GATEWAY: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];
pub const CONNECTIONS: usize = 4_000;

/// The kernel interfaces, which keep what they get.
#[derive(Clone, Default)]
struct Kernel {
    frames: Arc<Mutex<Vec<(u16, MemFrame)>>>,
    /// It has room for so many; 0 is no limit.
    room: Arc<AtomicUsize>,
}

impl KernelLink for Kernel {
    type Frame = MemFrame;
    fn exists(&self, _: u16) -> bool {
        true
    }
    fn send(&mut self, port: u16, frame: MemFrame) -> Result<(), MemFrame> {
        let mut frames = self.frames.lock().unwrap();
        if frames.len() == self.room.load(Relaxed) && !frames.is_empty() {
            return Err(frame);
        }
        frames.push((port, frame));
        Ok(())
    }
    fn receive(&mut self, _: u16, _: &mut Burst<MemFrame>) -> usize {
        0
    }
}

struct Nobody;

impl Resolver for Nobody {
    fn resolve(&mut self, _: Waiting) {}
}

type MemWorker = Worker<MemQueue, MemQueue, Kernel, Nobody, MemPool, Vec<ConnSlot>>;

/// The workers, and the time.
struct Crew {
    workers: Vec<MemWorker>,
    now: Tick,
    published: Subscription,
}

impl Workers for Crew {
    fn now(&self) -> Tick {
        self.now
    }
    fn wait(&mut self, looks: u32) -> bool {
        self.workers.iter_mut().for_each(|worker| _ = worker.turn(self.now));
        looks < 4
    }
    fn connections(&mut self, _: u64) -> Result<ConnectionPage, Error> {
        Ok(ConnectionPage::default())
    }
    fn connections_of(&mut self, which: &Which, cursor: u64) -> Result<ConnectionPage, Error> {
        // A page for each worker.
        let snapshot = self.published.load().clone();
        let mut page = ConnectionPage::default();
        let mut place = Listing::Start;
        while place != Listing::End {
            let visit = |view: ConnView| page.connections.extend(which.listed(&view).then(|| connection(&view)));
            place = self.workers[cursor as usize].pipeline().list(&snapshot, self.now, place, usize::MAX, visit);
        }
        page.next = (cursor + 1 < self.workers.len() as u64).then_some(cursor + 1);
        Ok(page)
    }
    fn flush(
        &mut self,
        worker: usize,
        which: &Arc<Which>,
        snapshot: &Arc<Snapshot>,
        from: Listing,
        flushed: &mut Flushed,
    ) -> Result<Listing, Error> {
        self.workers.iter_mut().for_each(|worker| _ = worker.turn(self.now));
        Ok(self.workers[worker].pipeline().flush(snapshot, self.now, which, from, flushed))
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

/// The network around the director: gateway and clients outside, real servers 192.168.1.2 to 254 inside, and virtual
/// addresses 172.16.0.1 to 9.
pub fn network() -> Fixed {
    let network = |address, prefix| Network { address, prefix };
    let address = Ipv4Addr::new;
    let gateway = address(10, 0, 0, 254);
    // The kernel has them, so they are the director's.
    let virtual_addresses = |port| {
        if port == OUTSIDE { (1..10).map(|last| network(address(172, 16, 0, last), 32)).collect() } else { Vec::new() }
    };
    let port = |port: u16, own| FixedPort {
        port,
        mac: MACS[usize::from(port)],
        mtu: 1500,
        addresses: [vec![network(own, 24)], virtual_addresses(port)].concat(),
    };
    let server =
        |last| FixedNeighbour { port: INSIDE, address: address(192, 168, 1, last), mac: [2, 0, 0, 0, 1, last] };
    Fixed {
        ports: vec![port(OUTSIDE, address(10, 0, 0, 1)), port(INSIDE, address(192, 168, 1, 1))],
        neighbours: (2..=254)
            .map(server)
            .chain([FixedNeighbour { port: OUTSIDE, address: gateway, mac: GATEWAY }])
            .collect(),
        routes: vec![FixedRoute { network: network(Ipv4Addr::UNSPECIFIED, 0), gateway }],
    }
}

/// See the module.
pub struct Rig {
    director: Director<Crew>,
    pub stats: Vec<Arc<WorkerStats>>,
    kernel: Kernel,
    /// Frames of which each is in one place.
    pool: MemPool,
    sent: Vec<(u16, Vec<u8>)>,
    /// Where the last frame was sent to.
    last_mac: [u8; 6],
}

/// The queues that a worker has of each port: to receive, and to transmit.
pub type Queues = [(bool, bool); 2];

/// Every worker has a pair of queues of each port.
pub const FULL: Queues = [(true, true); 2];

impl Rig {
    /// A director with a worker for each of these.
    pub fn new(workers: &[Queues]) -> Self {
        let fixed = network();
        let (routes, ports) = fixed.routes(2).unwrap();
        let builder = Builder::new(routes, ports);
        let stats: Vec<_> = workers.iter().map(|_| Arc::new(WorkerStats::new(128))).collect();
        let publisher = Publisher::new(builder.snapshot().clone(), stats.clone());
        let now = Tick(u32::MAX - 500);
        let kernel = Kernel::default();
        let spread = Arc::new(Spread::new(workers.len() as u32, Spread::MANY, 5));
        let queue = |exists: bool| exists.then(MemQueue::default);
        let queues = |ports: &Queues| ports.map(|(rx, tx)| (queue(rx).into_iter().collect(), queue(tx))).into();
        let wirings = Wiring::among(workers.iter().map(queues).collect()).unwrap();
        let crew = wirings.into_iter().zip(&stats).map(|(wiring, own)| {
            let slots = slots_for(CONNECTIONS);
            let conns = FlowTable::new(vec![Slot::default(); slots], now).unwrap();
            let templates = FlowTable::new(vec![Slot::default(); slots], now).unwrap();
            let pipeline = Pipeline::new(conns, templates, own.clone(), Secret::new([1, 2]));
            let pipeline = pipeline.among(wiring.share(), &stats, &spread);
            Worker::wired(publisher.subscribe(), pipeline, wiring, kernel.clone(), Nobody, MemPool::new(4096), now)
        });
        let crew = Crew { workers: crew.collect(), now, published: publisher.subscribe() };
        let director = Director::new(builder, publisher, stats.clone(), crew);
        Self { director, stats, kernel, pool: MemPool::new(1 << 20), sent: Vec::new(), last_mac: [0; 6] }
    }

    /// Does lines of ipvsadm, which must succeed.
    pub fn ipvsadm(&mut self, lines: &str) {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let (mut output, mut errors) = (Vec::new(), Vec::new());
            let mut session = Session {
                program: "ipvsadm",
                executor: self,
                names: &Table::default(),
                input: &mut std::io::empty(),
                output: &mut output,
                errors: &mut errors,
            };
            let status = session.run(&arguments);
            assert_eq!(status.status, 0, "{line}: {}", String::from_utf8_lossy(&errors));
        }
    }

    fn crew(&mut self) -> &mut Crew {
        self.director.workers()
    }

    /// All workers run bursts together from so many connections on.
    pub fn run_together_from(&mut self, connections: usize) {
        self.crew().workers.iter_mut().for_each(|worker| worker.pipeline().run_together_from(connections));
    }

    /// Puts a packet into a worker's receive queue of a port. It stays there until a worker turns.
    pub fn receive(&mut self, worker: usize, port: u16, packet: &[u8]) {
        let frame = [&MACS[usize::from(port)][..], &GATEWAY, &[8, 0], packet].concat();
        let frame = self.pool.frame(&frame).unwrap();
        self.crew().workers[worker].receive_queue(port).expect("a queue").frames.push_back(frame);
    }

    /// Turns one worker once, and collects what it sent.
    pub fn turn(&mut self, worker: usize) -> usize {
        let Crew { workers, now, .. } = self.director.workers();
        let came = workers[worker].turn(*now);
        for port in [OUTSIDE, INSIDE] {
            let Some(queue) = workers[worker].transmit_queue(port) else { continue };
            for frame in queue.frames.drain(..) {
                self.last_mac = *frame.bytes().first_chunk().unwrap();
                self.sent.push((port, frame.bytes()[14..].to_vec()));
            }
        }
        came
    }

    /// Turns all workers until nothing moves. Answers what was sent since the last answer, in order for each port.
    pub fn settle(&mut self) -> Vec<(u16, Vec<u8>)> {
        let workers = self.stats.len();
        let mut quiet = 0;
        while quiet < 3 {
            let came: usize = (0..workers).map(|worker| self.turn(worker)).sum();
            quiet = if came == 0 { quiet + 1 } else { 0 };
        }
        std::mem::take(&mut self.sent)
    }

    /// Sends a packet in by a queue, and lets it come out.
    pub fn send(&mut self, worker: usize, port: u16, packet: &[u8]) -> Vec<(u16, Vec<u8>)> {
        self.receive(worker, port, packet);
        self.settle()
    }

    /// Lets somebody watch all workers, or nobody.
    pub fn watch(&mut self, watcher: Option<&Arc<dyn Watcher>>) {
        self.crew().workers.iter_mut().for_each(|worker| worker.watch(watcher.cloned()));
    }

    /// Gives the transmit queues of a port room for so many frames between two turns.
    pub fn narrow(&mut self, port: u16, room: usize) {
        for worker in &mut self.crew().workers {
            worker.transmit_queue(port).into_iter().for_each(|queue| queue.room = room);
        }
    }

    /// Where the last frame was sent to.
    pub fn last_mac(&self) -> [u8; 6] {
        self.last_mac
    }

    /// Changes a setting.
    pub fn set(&mut self, name: &str, value: &str) {
        let command = Command::Set { name: name.to_owned(), value: value.to_owned() };
        self.director.execute(command).unwrap();
    }

    /// Adds a marking rule.
    pub fn mark(&mut self, rule: &str) {
        self.director.execute(Command::AddMark(rule.parse().unwrap())).unwrap();
    }

    /// Lets time pass, a tick at a time at first, and in longer steps from then on.
    pub fn wait(&mut self, ticks: u32) {
        let mut left = ticks;
        while left > 0 {
            let step = if ticks - left < 4 { 1 } else { left.min(50) };
            left -= step;
            let crew = self.crew();
            crew.now = crew.now.plus(step);
            let turns = if step == 1 { 4 } else { slots_for(CONNECTIONS) / 32 + 1 };
            for _ in 0..turns {
                crew.workers.iter_mut().for_each(|worker| _ = worker.turn(crew.now));
            }
            self.director.tick().unwrap();
        }
    }

    /// Tables, counters and references between workers add up, when nothing is on its way.
    pub fn audit(&mut self) {
        self.audit_tables();
        self.check_identities();
    }

    /// The same without the counters of frames.
    pub fn audit_tables(&mut self) {
        let snapshot = self.director.snapshot();
        let mut hanging = HashMap::new();
        for worker in &mut self.crew().workers {
            worker.pipeline().audit(&snapshot).unwrap();
            worker.pipeline().hang(&mut hanging);
        }
        hanging.retain(|_, missing| *missing != 0);
        assert!(hanging.is_empty(), "templates and the connections that they count: {hanging:?}");
    }

    /// Connections and templates, each with its worker.
    pub fn connections(&mut self) -> Vec<(usize, ConnView)> {
        let snapshot = self.director.snapshot();
        let Crew { workers, now, .. } = self.director.workers();
        let mut views = Vec::new();
        for (index, worker) in workers.iter_mut().enumerate() {
            let mut place = Listing::Start;
            while place != Listing::End {
                let visit = |view| views.push((index, view));
                place = worker.pipeline().list(&snapshot, *now, place, usize::MAX, visit);
            }
        }
        views
    }

    /// A counter, summed over the workers.
    pub fn sum(&self, counter: impl Fn(&WorkerStats) -> &Counter) -> u64 {
        self.stats.iter().map(|stats| counter(stats).get()).sum()
    }

    /// Frames dropped for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.sum(|stats| &stats.drops[reason as usize])
    }

    /// What the kernel got since the last answer.
    pub fn to_kernel(&self) -> Vec<(u16, Vec<u8>)> {
        self.kernel.frames.lock().unwrap().drain(..).map(|(port, frame)| (port, frame.bytes()[14..].to_vec())).collect()
    }

    /// The kernel takes so many frames until they are looked at.
    pub fn kernel_room(&self, frames: usize) {
        self.kernel.room.store(frames, Relaxed);
    }

    /// The identity of a worker's counters.
    pub fn check_worker(&self, worker: usize) {
        let stats = &self.stats[worker];
        let came = stats.received.get() + stats.handed_in.get();
        let went = stats.forwarded.get() + stats.to_kernel.get() + stats.dropped();
        assert_eq!(came, went + stats.held.get() + stats.handed_out.get(), "worker {worker}");
    }

    /// The identities of the counters: of each worker, and of all together when nothing moves any more. And every frame
    /// is somewhere once.
    pub fn check_identities(&self) {
        (0..self.stats.len()).for_each(|worker| self.check_worker(worker));
        assert_eq!(
            self.sum(|stats| &stats.handed_out),
            self.sum(|stats| &stats.handed_in),
            "frames are still in rings"
        );
        let held: u64 = self.stats.iter().map(|stats| stats.held.get()).sum();
        let with_kernel = self.kernel.frames.lock().unwrap().len();
        assert_eq!(self.pool.in_use(), held as usize + with_kernel, "frames were lost or kept");
    }
}

impl Executor for Rig {
    fn execute(&mut self, command: Command) -> Result<Reply, Error> {
        self.director.execute(command)
    }
}
