//! A whole director on replayed frames: the real commands, snapshot, tables and worker, without a device, without root.
//! Time is an argument.

use crate::frames::{LENGTH, Mac, Proto};
use crate::replay::{Pool, Replayed, Sink, Source};
use crate::traffic::{self, DIRECTOR, DIRECTOR_MAC, GATEWAY, GATEWAY_MAC, Mode, VIRTUAL};
use control::command::{Command, ConnectionPage, Error, PortView, Reply};
use control::director::{Director, Workers};
use control::ipvsadm::Executor;
use control::ipvsadm::run::Session;
use control::ipvsadm::system::SystemNames;
use control::kernel::{Fixed, FixedNeighbour, FixedPort, FixedRoute, Network};
use control::publish::Builder;
use forwarder::clock::Tick;
use forwarder::flow_table::{FlowTable, Secret, Slot, slots_for};
use forwarder::pipeline::{ConnSlot, Pipeline, Waiting, templates_for};
use forwarder::publication::Publisher;
use forwarder::rss::Spread;
use forwarder::stats::WorkerStats;
use forwarder::worker::{KernelLink, Resolver, Wiring, Worker};
pub use packet_io::BURST;
use packet_io::{Burst, TableMemory};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Turns that a change may take to reach the worker.
const TURNS: u32 = 8;

/// A director whose worker replays frames.
pub struct Rig<M: TableMemory<ConnSlot>> {
    director: Director<Alone<M>>,
    stats: Arc<WorkerStats>,
}

/// A worker that replays frames.
type Replayer<M> = Worker<Source, Sink, Nobody, Nobody, Pool, M>;

/// The worker, and others if there are any, and the time.
struct Alone<M: TableMemory<ConnSlot>> {
    worker: Replayer<M>,
    others: Vec<Replayer<Vec<ConnSlot>>>,
    now: Tick,
}

/// There is no kernel, and every neighbour is known.
struct Nobody;

impl Resolver for Nobody {
    fn resolve(&mut self, _: Waiting) {}
}

impl KernelLink for Nobody {
    type Frame = Replayed;
    fn exists(&self, _: u16) -> bool {
        false
    }
    fn send(&mut self, _: u16, frame: Replayed) -> Result<(), Replayed> {
        Err(frame)
    }
    fn receive(&mut self, _: u16, _: &mut Burst<Replayed>) -> usize {
        0
    }
}

impl<M: TableMemory<ConnSlot>> Workers for Alone<M> {
    fn now(&self) -> Tick {
        self.now
    }
    fn wait(&mut self, looks: u32) -> bool {
        self.worker.turn(self.now);
        self.others.iter_mut().for_each(|worker| _ = worker.turn(self.now));
        looks < TURNS
    }
    fn connections(&mut self, _: u64) -> Result<ConnectionPage, Error> {
        Ok(ConnectionPage::default())
    }
    fn interface_mtu(&self, _: &str) -> Option<u32> {
        None
    }
    fn ports(&mut self, _: Option<u16>, _: bool) -> Vec<PortView> {
        Vec::new()
    }
    fn set_forwarding(&mut self, _: bool) {}
    fn set_promiscuous(&mut self, _: u16, _: bool) -> Result<(), String> {
        Ok(())
    }
}

/// What a rig is to be.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Connections there is room for.
    pub connections: usize,
    /// Slots for servers.
    pub destinations: usize,
    /// The servers' addresses with their MAC addresses.
    pub neighbours: Vec<(Ipv4Addr, Mac)>,
    /// The key of the flow table's hash.
    pub secret: [u64; 2],
    /// It is the first of so many workers ([`spread`]). The others have no frames but those it hands over.
    pub workers: usize,
}

/// How clients are spread over so many workers.
#[must_use]
pub fn spread(workers: usize) -> Spread {
    Spread::new(workers as u32, Spread::MANY, 7)
}

impl Setup {
    /// Room for so many connections, and the servers of the benches.
    #[must_use]
    pub fn new(connections: usize) -> Self {
        Self::with(connections, traffic::SERVERS, 1)
    }

    /// Room for so many connections, and so many servers of each of so many services.
    #[must_use]
    pub fn with(connections: usize, servers: usize, services: usize) -> Self {
        Self {
            connections,
            destinations: (servers * services).next_multiple_of(64),
            neighbours: (0..servers).map(|n| (*traffic::server(n).ip(), traffic::server_mac(n))).collect(),
            secret: [1, 2],
            workers: 1,
        }
    }
}

impl<M: TableMemory<ConnSlot> + Send> Rig<M> {
    /// A director without services. `memory` makes the flow table's memory, of so many slots.
    ///
    /// # Panics
    /// If the network does not fit together.
    #[must_use]
    pub fn new(setup: &Setup, memory: impl FnOnce(usize) -> M) -> Self {
        let network = |address, prefix| Network { address, prefix };
        let neighbour = |&(address, mac): &(Ipv4Addr, Mac)| FixedNeighbour { port: 0, address, mac };
        let fixed = Fixed {
            ports: vec![FixedPort {
                port: 0,
                mac: DIRECTOR_MAC,
                mtu: 1500,
                addresses: vec![network(DIRECTOR, 16), network(*VIRTUAL.ip(), 32)],
            }],
            neighbours: setup.neighbours.iter().chain([&(GATEWAY, GATEWAY_MAC)]).map(neighbour).collect(),
            routes: vec![FixedRoute { network: network(Ipv4Addr::UNSPECIFIED, 0), gateway: GATEWAY }],
        };
        let (routes, ports) = fixed.routes(1).expect("the network of the benches");
        let builder = Builder::new(routes, ports);
        let all: Vec<_> = (0..setup.workers).map(|_| Arc::new(WorkerStats::new(setup.destinations))).collect();
        let publisher = Publisher::new(builder.snapshot().clone(), all.clone());
        let now = Tick(1);
        let spread = Arc::new(spread(setup.workers));
        let queues = (0..setup.workers).map(|_| vec![(vec![Source::default()], Some(Sink::default()))]);
        let wirings = Wiring::among(queues.collect()).expect("a transmit queue each");
        let mut wirings = wirings.into_iter().zip(&all);
        let (wiring, stats) = wirings.next().expect("one worker at least");
        let worker =
            started(setup, memory(slots_for(setup.connections)), wiring, stats, &all, &spread, &publisher, now);
        let others = wirings.map(|(wiring, stats)| {
            let memory = vec![Slot::default(); slots_for(setup.connections)];
            started(setup, memory, wiring, stats, &all, &spread, &publisher, now)
        });
        let (stats, alone) = (stats.clone(), Alone { worker, others: others.collect(), now });
        let director = Director::new(builder, publisher, all, alone);
        Self { director, stats }
    }

    /// Does what these lines of ipvsadm's say (as `ipvsadm --restore` takes them), at once.
    ///
    /// # Panics
    /// If a line is wrong.
    pub fn restore(&mut self, rules: &str) {
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let end = Session {
            program: "rvsadm",
            executor: &mut Front(&mut self.director),
            names: &SystemNames::new(),
            input: &mut rules.as_bytes(),
            output: &mut output,
            errors: &mut errors,
        }
        .run(&["--restore".to_owned(), "--atomic".to_owned()]);
        assert_eq!(end.status, 0, "{}", String::from_utf8_lossy(&errors));
    }

    /// Serves this traffic, and lets packets in the middle of a connection start one, as replayed flows do.
    ///
    /// # Panics
    /// If a setting of the kernel's is missing.
    pub fn serve(&mut self, mode: Mode, proto: Proto) {
        self.serve_by(&traffic::rules(mode, proto));
    }

    /// The same by these rules.
    ///
    /// # Panics
    /// As [`serve`](Self::serve), and if a rule is wrong.
    pub fn serve_by(&mut self, rules: &str) {
        let set = Command::Set { name: "sloppy_tcp".to_owned(), value: "1".to_owned() };
        self.execute(set).expect("a setting of the kernel's");
        self.restore(rules);
    }

    /// Makes the connections of so many flows, and replays their packets from now on, of this length on the wire.
    pub fn connect(&mut self, mode: Mode, proto: Proto, flows: usize, length: usize, now: Tick) {
        if mode == Mode::NatReply {
            let requests = traffic::file(Mode::Nat, proto, flows);
            self.replay(&requests, length, BURST);
            self.run(requests.len(), now);
        }
        let file = traffic::file(mode, proto, flows);
        self.replay(&file, length, BURST);
        // Twice, as replies may come before their request.
        self.run(2 * file.len(), now);
    }

    /// Does a command.
    ///
    /// # Errors
    /// Why it was refused.
    pub fn execute(&mut self, command: Command) -> Result<Reply, Error> {
        self.director.execute(command)
    }

    /// Replays frames that begin like these, of this length, from now on, so many a burst.
    pub fn replay(&mut self, frames: &[[u8; LENGTH]], length: usize, burst: usize) {
        self.source().replay(frames, length, burst);
    }

    /// What frames come from.
    ///
    /// # Panics
    /// Never: there is a port.
    pub fn source(&mut self) -> &mut Source {
        self.director.workers().worker.receive_queue(0).expect("there is a port")
    }

    /// One turn of the worker.
    #[inline]
    pub fn turn(&mut self, now: Tick) -> usize {
        let alone = self.director.workers();
        alone.now = now;
        alone.worker.turn(now)
    }

    /// One turn of each other worker. Answers how many frames they were handed.
    pub fn turn_others(&mut self, now: Tick) -> usize {
        self.director.workers().others.iter_mut().map(|worker| worker.turn(now)).sum()
    }

    /// Turns until so many frames were received.
    pub fn run(&mut self, frames: usize, now: Tick) {
        let mut left = frames;
        while left > 0 {
            left = left.saturating_sub(self.turn(now));
        }
    }

    /// What the worker has counted.
    #[must_use]
    pub fn stats(&self) -> &WorkerStats {
        &self.stats
    }
}

/// A worker on this memory.
#[expect(clippy::too_many_arguments, reason = "each is another part of it")]
fn started<M: TableMemory<ConnSlot>>(
    setup: &Setup,
    memory: M,
    wiring: Wiring<Source, Sink, Replayed>,
    stats: &Arc<WorkerStats>,
    all: &[Arc<WorkerStats>],
    spread: &Arc<Spread>,
    publisher: &Publisher,
    now: Tick,
) -> Replayer<M> {
    let conns = FlowTable::new(memory, now).expect("a size from slots_for");
    let templates = vec![Slot::default(); slots_for(templates_for(setup.connections))];
    let templates = FlowTable::new(templates, now).expect("a size from slots_for");
    let pipeline = Pipeline::new(conns, templates, stats.clone(), Secret::new(setup.secret));
    let pipeline = pipeline.among(wiring.share(), all, spread);
    Worker::wired(publisher.subscribe(), pipeline, wiring, Nobody, Nobody, Pool, now)
}

struct Front<'a, M: TableMemory<ConnSlot>>(&'a mut Director<Alone<M>>);

impl<M: TableMemory<ConnSlot> + Send> Executor for Front<'_, M> {
    fn execute(&mut self, command: Command) -> Result<Reply, Error> {
        self.0.execute(command)
    }
}
