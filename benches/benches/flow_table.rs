//! What the flow table costs: bursts of 32 hits and misses among 1,000, 65,536 and a million connections in random
//! order, and connections that come and go. On ordinary memory, where the prefetch does nothing and pages are small:
//! it compares versions of the table, not machines. `make bench` measures the whole data path on huge pages.

mod cpu_time;

use cpu_time::{Stages, stages};
use criterion::{BenchmarkId, Throughput, criterion_group, criterion_main};
use forwarder::clock::Tick;
use forwarder::conn::{Conn, Endpoints, Forward};
use forwarder::flow_table::{Fate, FlowTable, Secret, Slot, hash, slots_for};
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddrV4};

const BURST: usize = 32;
const SIZES: [usize; 3] = [1_000, 65_536, 1_048_576];

/// What the parse stage knows of a packet.
#[derive(Clone, Copy)]
struct Packet {
    key: u64,
    request: Endpoints,
}

/// The packet of the `n`-th client.
fn packet(n: u32) -> Packet {
    let client = SocketAddrV4::new(Ipv4Addr::from_bits(0x0a00_0000 | n >> 4), 1024 + (n & 15) as u16);
    let request = Endpoints::new(client, SocketAddrV4::new(Ipv4Addr::new(172, 16, 0, 1), 80));
    Packet { key: u64::from(client.ip().to_bits()) << 32 | u64::from(client.port()) << 16 | 6, request }
}

fn connection(packet: &Packet) -> Conn {
    Conn::new(packet.request, 6, Forward::Nat, SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 2), 80))
}

struct Flows {
    table: FlowTable<Conn, Vec<Slot<Conn>>>,
    secret: Secret,
    /// Packets of the table's connections, in an order of no system.
    hits: Vec<Packet>,
    /// Packets of no connection.
    misses: Vec<Packet>,
}

fn flows(count: usize) -> Flows {
    let secret = Secret::new([1, 2]);
    let mut table = FlowTable::new(vec![Slot::default(); slots_for(count)], Tick(0)).expect("a good size");
    let mut hits: Vec<Packet> = (0..count as u32).map(packet).collect();
    for hit in &hits {
        table.insert(hash(hit.key, &secret), connection(hit), Tick(90_000), Conn::evictable).expect("room");
    }
    let order = Secret::new([3, 4]);
    hits.sort_unstable_by_key(|hit| hash(hit.key, &order));
    let misses = (0..count as u32).map(|n| packet(0x0800_0000 + n)).collect();
    Flows { table, secret, hits, misses }
}

/// Two stages, as in the pipeline: hash and prefetch all, then find all and store a new expiry in what was found.
fn find(flows: &mut Flows, packets: impl Fn(&Flows, usize) -> Packet, expires: Tick) -> usize {
    let mut hashes = [0; BURST];
    for (n, slot) in hashes.iter_mut().enumerate() {
        *slot = hash(packets(flows, n).key, &flows.secret);
        black_box(flows.table.begin(*slot));
    }
    let mut found = 0;
    for (n, &hash) in hashes.iter().enumerate() {
        let Endpoints { addresses, ports } = packets(flows, n).request;
        if let Some(slot) = flows.table.find(hash, |conn| conn.is_request(addresses, ports, 6)) {
            flows.table.touch(slot, expires);
            found += 1;
        }
    }
    found
}

fn lookups(criterion: &mut Stages) {
    let mut group = criterion.benchmark_group("flow_table");
    group.throughput(Throughput::Elements(BURST as u64));
    for size in SIZES {
        let mut flows = flows(size);
        let mut at = 0;
        group.bench_function(BenchmarkId::new("hit", size), |bencher| {
            bencher.iter(|| {
                at = (at + BURST) % (size - BURST);
                let found = find(&mut flows, |flows, n| flows.hits[at + n], Tick(90_000));
                assert_eq!(found, BURST);
            });
        });
        group.bench_function(BenchmarkId::new("miss", size), |bencher| {
            bencher.iter(|| {
                at = (at + BURST) % (size - BURST);
                assert_eq!(find(&mut flows, |flows, n| flows.misses[at + n], Tick(90_000)), 0);
            });
        });
        // A new connection each, and an old one that expires: the table stays as full as it is.
        let mut now = Tick(0);
        let mut next = 0x0400_0000;
        let mut gone = 0;
        group.bench_function(BenchmarkId::new("insert and expire", size), |bencher| {
            bencher.iter(|| {
                now = now.plus(1);
                for _ in 0..BURST {
                    let packet = packet(next);
                    next += 1;
                    let inserted = flows.table.insert(
                        hash(packet.key, &flows.secret),
                        connection(&packet),
                        now.plus(300),
                        Conn::evictable,
                    );
                    let _ = black_box(inserted);
                }
                flows.table.advance(now, usize::MAX, |_, _| {
                    gone += 1;
                    Fate::Expire
                });
            });
        });
    }
    group.finish();
}

/// Endpoints whose hashes are all the same, as who knows the secret could choose them, or as one client has that talks to
/// many services: as many as there can be. What a search looks at is bounded, and this is the bound.
fn collisions(criterion: &mut Stages) {
    let mut table = FlowTable::new(vec![Slot::default(); slots_for(65_536)], Tick(0)).expect("a good size");
    let hash = hash(7, &Secret::new([1, 2]));
    let mut connections = Vec::new();
    for n in 0.. {
        let packet = packet(n);
        if table.insert(hash, connection(&packet), Tick(90_000), |_| None).is_err() {
            break;
        }
        connections.push(packet.request);
    }
    let mut group = criterion.benchmark_group(format!("flow_table/{} of one hash", connections.len()));
    let stranger = packet(1 << 20).request;
    let asked = [("first", connections[0]), ("last", *connections.last().expect("some")), ("none", stranger)];
    for (name, Endpoints { addresses, ports }) in asked {
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(table.find(black_box(hash), |conn| conn.is_request(addresses, ports, 6))));
        });
    }
    group.bench_function("no room", |bencher| {
        let conn = connection(&packet(1 << 20));
        bencher.iter(|| black_box(table.insert(black_box(hash), conn, Tick(90_000), |_| None)).is_err());
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = stages();
    targets = lookups, collisions
}
criterion_main!(benches);
