//! A director on the recorded network: two ports in memory, simulated time. What is sent in at a port comes out at once.

use crate::kernel::{EXT, INT, Interface, Kernel, Mac, mac};
use crate::shell::Printed;
use crate::subject::{Sent, Subject};
use control::command::mark::MarkSpec;
use control::command::{Command, ConnectionPage, Error, PortView, Reply};
use control::director::{Director, Workers, connection};
use control::ipvsadm::Executor;
use control::ipvsadm::names::Table;
use control::ipvsadm::proc;
use control::ipvsadm::run::Session;
use control::kernel::{Fixed, FixedNeighbour, FixedPort, FixedRoute, Network};
use control::publish::Builder;
use control::state::PERIOD;
use forwarder::clock::{TICKS_PER_SECOND, Tick};
use forwarder::flow_table::{FlowTable, Secret, Slot, slots_for};
use forwarder::pipeline::{ConnSlot, ConnView, Listing, Pipeline, Waiting, templates_for};
use forwarder::publication::Publisher;
use forwarder::service::Snapshot;
use forwarder::stats::WorkerStats;
use forwarder::worker::{Resolver, Worker};
use packet_io::Frame;
use packet_io::memory::{MemFrame, MemPool, MemQueue};
use std::net::Ipv4Addr;
use std::sync::{Arc, LazyLock};

/// The names that the recorded machine knew.
const HOSTS: &str = "127.0.0.1 localhost\n\
     172.16.0.9 vip9.example.com vip9\n\
     192.168.1.9 rs9.example.com rs9\n\
     192.168.1.10 a-very-long-real-server-name.cluster.example.com\n";

/// Ports that have names in the recordings, for machines without `/etc/services`.
const SERVICES: &str = "\
ssh 22/tcp\ndomain 53/tcp\ndomain 53/udp\ntftp 69/udp\nhttp 80/tcp www\nkerberos 88/tcp\nkerberos 88/udp\nhttps 443/tcp\n\
https 443/udp\nsip 5060/tcp\nsip 5060/udp\nmdns 5353/udp\nhttp-alt 8080/tcp\n";

static NAMES: LazyLock<Table> = LazyLock::new(|| {
    let services = std::fs::read_to_string("/etc/services").unwrap_or_default() + SERVICES;
    Table::parse(HOSTS, &services)
});

/// Servers that a recording may have, deleted ones included.
const DESTINATIONS: usize = 512;
/// Frames that the director may write itself at a time.
const FRAMES: usize = 4096;
/// While time passes, a worker turns this often, ticks.
const STRIDE: u32 = TICKS_PER_SECOND / 2;
/// So often while it is long until something is sent or asked again, and from when on that is.
const LONG_STRIDE: u32 = 4 * TICKS_PER_SECOND;
const LONG: u32 = 600 * TICKS_PER_SECOND;
/// Turns of a worker that follow a packet: what the kernel answers comes back in the first.
const TURNS: usize = 2;

/// What differs between recordings.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Addresses of the director beside the recorded ones.
    pub addresses: Vec<Ipv4Addr>,
    /// Of the real servers' interface.
    pub int_mtu: u16,
    /// Connections that there will be, about.
    pub connections: usize,
    /// The director is this old when the recording begins, ticks: when its estimator looks depends on it.
    pub age: u32,
}

impl Default for Setup {
    fn default() -> Self {
        Self { addresses: Vec::new(), int_mtu: 1500, connections: 1000, age: 0 }
    }
}

/// Ages of a director at which its estimator looks at different moments after the recording's beginning, ticks: what
/// the recorder did not note has to be tried.
pub fn ages() -> impl Iterator<Item = u32> {
    (0..16).map(|n| n * PERIOD / 16)
}

/// The director.
pub struct Rig {
    director: Director<Twin>,
}

type TwinWorker = Worker<MemQueue, MemQueue, Kernel, Nobody, MemPool, Vec<ConnSlot>>;

/// The one worker, and the time.
struct Twin {
    worker: TwinWorker,
    now: Tick,
    /// After so many turns the hand that finds expired entries has gone round once.
    turns: usize,
    snapshot: Box<dyn Fn() -> Arc<Snapshot> + Send + Sync>,
}

/// Every neighbour is known.
struct Nobody;

impl Resolver for Nobody {
    fn resolve(&mut self, _: Waiting) {}
}

impl Workers for Twin {
    fn now(&self) -> Tick {
        self.now
    }

    fn wait(&mut self, looks: u32) -> bool {
        self.worker.turn(self.now);
        looks < 8
    }

    fn connections(&mut self, _: u64) -> Result<ConnectionPage, Error> {
        Ok(ConnectionPage { connections: self.list().iter().map(connection).collect(), next: None })
    }

    fn interface_mtu(&self, name: &str) -> Option<u32> {
        matches!(name, "ext0" | "int0").then_some(1500)
    }

    fn ports(&mut self, _: Option<u16>, _: bool) -> Vec<PortView> {
        Vec::new()
    }

    // No recording stops a director or looks at its ports.
    fn set_forwarding(&mut self, _: bool) {}

    fn set_promiscuous(&mut self, _: u16, _: bool) -> Result<(), String> {
        Err("ports in memory have no such mode".to_owned())
    }
}

impl Twin {
    fn list(&mut self) -> Vec<ConnView> {
        let (snapshot, mut views, mut place) = ((self.snapshot)(), Vec::new(), Listing::Start);
        while place != Listing::End {
            place = self.worker.pipeline().list(&snapshot, self.now, place, usize::MAX, |view| views.push(view));
        }
        views
    }
}

impl Rig {
    /// A director without services.
    ///
    /// # Panics
    /// If the recorded network does not fit together.
    #[must_use]
    pub fn new(setup: &Setup) -> Self {
        let network = |address, prefix| Network { address, prefix };
        let (ext, int) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(192, 168, 1, 1));
        let gateway = Ipv4Addr::new(10, 0, 0, 254);
        let mut own = vec![Ipv4Addr::new(172, 16, 0, 1)];
        own.extend(setup.addresses.iter().filter(|address| !own.contains(address)).copied().collect::<Vec<_>>());
        let vips = own.iter().map(|&address| network(address, 32));
        let fixed = Fixed {
            ports: vec![
                FixedPort {
                    port: EXT,
                    mac: mac::EXT,
                    mtu: 1500,
                    addresses: [network(ext, 24)].into_iter().chain(vips).collect(),
                },
                FixedPort { port: INT, mac: mac::INT, mtu: setup.int_mtu, addresses: vec![network(int, 24)] },
            ],
            neighbours: (2..=254)
                .map(|k| FixedNeighbour { port: INT, address: Ipv4Addr::new(192, 168, 1, k), mac: mac::server(k) })
                .chain([FixedNeighbour { port: EXT, address: gateway, mac: mac::GATEWAY }])
                .collect(),
            routes: vec![FixedRoute { network: network(Ipv4Addr::UNSPECIFIED, 0), gateway }],
        };
        let (routes, ports) = fixed.routes(2).expect("the recorded network");
        own.extend([ext, int]);
        let interfaces = [
            Interface { mac: mac::EXT, mtu: 1500, address: ext },
            Interface { mac: mac::INT, mtu: setup.int_mtu, address: int },
        ];

        let builder = Builder::new(routes, ports);
        let stats = Arc::new(WorkerStats::new(DESTINATIONS));
        let publisher = Publisher::new(builder.snapshot().clone(), vec![stats.clone()]);
        // So that every longer recording crosses the wrap of the clock.
        let now = Tick(u32::MAX - 500);
        let slots = (slots_for(setup.connections), slots_for(templates_for(setup.connections)));
        let conns = FlowTable::new(vec![Slot::default(); slots.0], now).expect("a size from slots_for");
        let templates = FlowTable::new(vec![Slot::default(); slots.1], now).expect("a size from slots_for");
        // A turn looks at some blocks of 32 slots; were every one of these full, it would take this long.
        let turns = slots.0.max(slots.1) / 32 + 1;
        let pipeline = Pipeline::new(conns, templates, stats.clone(), Secret::new([1, 2]));
        let queues = vec![(MemQueue::default(), MemQueue::default()), (MemQueue::default(), MemQueue::default())];
        let kernel = Kernel::new(interfaces, own);
        let worker = Worker::new(publisher.subscribe(), pipeline, queues, kernel, Nobody, MemPool::new(FRAMES), now);
        let twin = Twin { worker, now, turns, snapshot: publisher.reader() };
        let director = Director::new(builder, publisher, vec![stats], twin);
        let mut rig = Self { director };
        rig.pass(setup.age);
        rig
    }

    /// Chooses the order in which services are listed without sorting.
    pub fn set_hash_key(&mut self, key: u8) {
        self.director.set_hash_key(key);
    }

    /// Lets time pass, ticks.
    pub fn pass(&mut self, ticks: u32) {
        let mut left = ticks;
        while left > 0 {
            let stride = if left > LONG { LONG_STRIDE } else { left.min(STRIDE) };
            left -= stride;
            let twin = self.director.workers();
            twin.now = twin.now.plus(stride);
            for _ in 0..twin.turns {
                twin.worker.turn(twin.now);
            }
            // Nobody else looks at the workers, so they cannot stall.
            let _ = self.director.tick();
        }
    }

    /// Connections and templates.
    pub fn connections(&mut self) -> Vec<ConnView> {
        self.director.workers().list()
    }
}

impl Executor for Rig {
    fn execute(&mut self, command: Command) -> Result<Reply, Error> {
        self.director.execute(command)
    }
}

impl Subject for Rig {
    fn ipvsadm(&mut self, arguments: &[String], input: &str) -> Printed {
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let mut session = Session {
            program: "ipvsadm",
            executor: self,
            names: &*NAMES,
            input: &mut input.as_bytes(),
            output: &mut output,
            errors: &mut errors,
        };
        let status = session.run(arguments).status;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Printed { status, output: text(output), errors: text(errors) }
    }

    fn set(&mut self, name: &str, value: &str) -> bool {
        self.execute(Command::Set { name: name.to_owned(), value: value.to_owned() }).is_ok()
    }

    fn read(&mut self, file: &str) -> Option<String> {
        if let Some(name) = file.strip_prefix("/proc/net/") {
            let mut text = Vec::new();
            proc::write(name, self, &mut text).ok()?;
            return Some(String::from_utf8_lossy(&text).into_owned());
        }
        let name = file.strip_prefix("/proc/sys/net/ipv4/vs/")?;
        let Ok(Reply::Settings(settings)) = self.execute(Command::Settings) else { return None };
        settings.into_iter().find(|setting| setting.name == name).map(|setting| setting.value + "\n")
    }

    fn mark(&mut self, rule: MarkSpec) -> bool {
        self.execute(Command::AddMark(rule)).is_ok()
    }

    fn send(&mut self, port: u16, from: Mac, packet: &[u8]) -> Vec<Sent> {
        let to = if port == EXT { mac::EXT } else { mac::INT };
        let frame = [&to[..], &from, &[8, 0], packet].concat();
        let Twin { worker, now, .. } = self.director.workers();
        worker.receive_queue(port).expect("a port").frames.push_back(MemFrame::new(&frame));
        for _ in 0..TURNS {
            worker.turn(*now);
        }
        let mut sent = Vec::new();
        for port in [EXT, INT] {
            for frame in worker.transmit_queue(port).expect("a port").frames.drain(..) {
                let bytes = frame.bytes();
                let mac = bytes.first_chunk().copied().unwrap_or_default();
                sent.push(Sent { port, mac, packet: bytes.get(14..).unwrap_or(&[]).to_vec() });
            }
        }
        sent
    }

    fn wait(&mut self, seconds: f64) {
        self.pass((seconds * f64::from(TICKS_PER_SECOND)).round() as u32);
    }
}
