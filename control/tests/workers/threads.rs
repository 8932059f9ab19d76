//! The same with real threads: workers that run, while frames come and the director changes its mind.

use crate::ownership::{VIP, client, service};
use crate::packets::{data, endpoints, udp};
use crate::rig::{MACS, network};
use control::command::{Command, ConnectionPage, Error, PortView, ServerName, ServerSpec, ServiceName, ServiceSpec};
use control::director::{Director, Workers};
use control::publish::Builder;
use crossbeam_queue::ArrayQueue;
use forwarder::clock::Tick;
use forwarder::flow_table::{FlowTable, Secret, Slot, slots_for};
use forwarder::pipeline::{DropReason, Pipeline, Waiting};
use forwarder::publication::Publisher;
use forwarder::rss::Spread;
use forwarder::service::{Method, Protocol};
use forwarder::stats::{Counter, WorkerStats};
use forwarder::worker::{KernelLink, Resolver, Wiring, Worker};
use packet_io::memory::{MemFrame, MemPool};
use packet_io::{Burst, Frame, RxQueue, TxQueue};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};

const WORKERS: usize = 3;
const FLOWS: u16 = 200;
const ROUNDS: u32 = 150;
const CHANGES: u32 = 120;
/// Looks before a test that does not end is given up.
const LOOKS: u32 = 100_000_000;

/// A queue between threads, both ends.
#[derive(Clone)]
struct Wire(Arc<ArrayQueue<MemFrame>>);

impl RxQueue for Wire {
    type Frame = MemFrame;
    fn receive(&mut self, burst: &mut Burst<MemFrame>) -> usize {
        let before = burst.len();
        while !burst.is_full()
            && let Some(frame) = self.0.pop()
        {
            let _ = burst.push(frame);
        }
        burst.len() - before
    }
}

/// Notes what was sent, in order: the client's port and the number that the packet carries.
struct Sink(Vec<(u16, u32)>);

impl TxQueue for Sink {
    type Frame = MemFrame;
    fn transmit(&mut self, burst: &mut Burst<MemFrame>) -> usize {
        let count = burst.len();
        for frame in burst.drain() {
            let packet = &frame.bytes()[14..];
            self.0.push((endpoints(packet, 0).0.port(), u32::from_be_bytes(data(packet).try_into().unwrap())));
        }
        count
    }
}

struct NoKernel;

impl KernelLink for NoKernel {
    type Frame = MemFrame;
    fn exists(&self, _: u16) -> bool {
        false
    }
    fn send(&mut self, _: u16, frame: MemFrame) -> Result<(), MemFrame> {
        Err(frame)
    }
    fn receive(&mut self, _: u16, _: &mut Burst<MemFrame>) -> usize {
        0
    }
}

impl Resolver for NoKernel {
    fn resolve(&mut self, _: Waiting) {}
}

/// The director's view: it waits for the threads.
struct Threads;

impl Workers for Threads {
    fn now(&self) -> Tick {
        Tick(0)
    }
    fn wait(&mut self, looks: u32) -> bool {
        std::thread::yield_now();
        looks < LOOKS
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

fn server(last: u8) -> ServerSpec {
    let mut server = ServerSpec::new(IpAddr::V4(Ipv4Addr::new(192, 168, 1, last)), 53);
    server.method = Method::Nat;
    server
}

#[test]
fn threads_lose_nothing_reorder_nothing_and_free_what_is_retired() {
    let (routes, ports) = network().routes(2).unwrap();
    let builder = Builder::new(routes, ports);
    let stats: Vec<_> = (0..WORKERS).map(|_| Arc::new(WorkerStats::new(64))).collect();
    let publisher = Publisher::new(builder.snapshot().clone(), stats.clone());
    let reader = publisher.reader();
    let wires: Vec<_> = (0..WORKERS).map(|_| Wire(Arc::new(ArrayQueue::new(256)))).collect();
    let inside = || (vec![], Some(Sink(Vec::new())));
    let queues = wires.iter().map(|wire| vec![(vec![wire.clone()], Some(Sink(Vec::new()))), inside()]).collect();
    let now = Tick(7);
    let spread = Arc::new(Spread::new(WORKERS as u32, Spread::FEW, 6));
    let crew: Vec<_> = Wiring::among(queues)
        .unwrap()
        .into_iter()
        .zip(&stats)
        .map(|(wiring, own)| {
            let slots = slots_for(4000);
            let conns = FlowTable::new(vec![Slot::default(); slots], now).unwrap();
            let templates = FlowTable::new(vec![Slot::default(); slots], now).unwrap();
            let pipeline = Pipeline::new(conns, templates, own.clone(), Secret::new([3, 4])).among(
                wiring.share(),
                &stats,
                &spread,
            );
            let pool = MemPool::new(64);
            Worker::wired(publisher.subscribe(), pipeline, wiring, NoKernel, NoKernel, pool, now)
        })
        .collect();
    let mut director = Director::new(builder, publisher, stats.clone(), Threads);
    let stop = AtomicBool::new(false);
    let (sunk, retired): (Vec<_>, Vec<_>) = std::thread::scope(|scope| {
        let running: Vec<_> = crew
            .into_iter()
            .map(|mut worker| {
                let stop = &stop;
                scope.spawn(move || {
                    while !stop.load(Relaxed) {
                        if worker.turn(now) == 0 {
                            std::thread::yield_now();
                        }
                    }
                    std::mem::take(&mut worker.transmit_queue(1).unwrap().0)
                })
            })
            .collect();
        // Two services at one address, one of them persistent.
        let name = |port| ServiceName::Address { protocol: Protocol::Udp, address: IpAddr::V4(VIP), port };
        for (port, persistence) in [(53, None), (54, Some(60))] {
            let spec = ServiceSpec { scheduler: "wlc".into(), persistence, ..ServiceSpec::new(name(port)) };
            director.execute(Command::AddService(spec)).unwrap();
            for last in 2..6 {
                director.execute(Command::AddServer { service: name(port), server: server(last) }).unwrap();
            }
        }
        let sending = wires.iter().enumerate().map(|(worker, wire)| scope.spawn(move || send(worker, wire)));
        let sending: Vec<_> = sending.collect();
        // Servers come and go, so that every change is a snapshot that every worker must take.
        let mut retired: Vec<Weak<_>> = Vec::new();
        for change in 0..CHANGES {
            let service = name(53 + (change / 2 % 2) as u16);
            let command = match change % 2 {
                0 => Command::AddServer { service, server: server(9) },
                _ => Command::DeleteServer { service, server: ServerName { ..server(9).name() } },
            };
            retired.push(Arc::downgrade(&reader()));
            director.execute(command).unwrap();
        }
        sending.into_iter().for_each(|thread| thread.join().unwrap());
        let sum = |counter: fn(&WorkerStats) -> &Counter| stats.iter().map(|stats| counter(stats).get()).sum::<u64>();
        let dropped = || stats.iter().map(|stats| stats.dropped()).sum::<u64>();
        let sent = u64::from(FLOWS) * u64::from(ROUNDS);
        let done = || sum(|stats| &stats.forwarded) + dropped() == sent;
        let mut looks = 0;
        while !done() {
            looks += 1;
            assert!(looks < LOOKS, "frames are lost");
            std::thread::yield_now();
        }
        stop.store(true, Relaxed);
        let sunk = running.into_iter().map(|thread| thread.join().unwrap()).collect();
        (sunk, retired)
    });
    for stats in &stats {
        let came = [stats.received.get(), stats.handed_in.get()];
        let went = [stats.forwarded.get(), stats.dropped(), stats.held.get(), stats.handed_out.get()];
        assert_eq!(came.iter().sum::<u64>(), went.iter().sum::<u64>(), "{came:?} are not {went:?}");
    }
    assert!(stats.iter().all(|stats| stats.forwarded.get() > 0 && stats.handed_in.get() > 0));
    // What was dropped was dropped because somebody was slow, or had no server for a moment.
    let named = [DropReason::HandoverFull, DropReason::DestinationGone];
    for stats in &stats {
        for reason in DropReason::ALL.iter().filter(|reason| !named.contains(reason)) {
            assert_eq!(stats.drops[*reason as usize].get(), 0, "dropped as {reason:?}");
        }
    }
    let mut last = std::collections::HashMap::new();
    for (worker, sunk) in sunk.iter().enumerate() {
        for &(port, number) in sunk {
            let (owner, before) = last.insert(port, (worker, number)).unwrap_or((worker, 0));
            assert!(owner == worker && (before < number || number == 0), "flow {port}: {number} after {before}");
        }
    }
    assert_eq!(last.len(), usize::from(FLOWS), "flows of which something came out");
    assert!(retired.iter().all(|snapshot| snapshot.strong_count() == 0), "a retired snapshot is still alive");
}

/// Sends the packets of a worker's flows, each numbered, and waits while the queue is full.
fn send(worker: usize, wire: &Wire) {
    for number in 0..ROUNDS {
        for flow in (0..FLOWS).filter(|flow| usize::from(*flow) % WORKERS == worker) {
            let packet = udp(client(flow), service(53 + flow / 3 % 2), &number.to_be_bytes());
            let mut frame = MemFrame::new(&[&MACS[0][..], &MACS[1], &[8, 0], &packet].concat());
            while let Err(back) = wire.0.push(frame) {
                frame = back;
                std::thread::yield_now();
            }
        }
    }
}
