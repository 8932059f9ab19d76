//! What a pick costs: every scheduler at 10, 16 and 1,000 servers of mixed weights, with the connection kept, so that
//! the next pick meets other loads.

mod cpu_time;

use cpu_time::{Stages, stages};
use criterion::{BenchmarkId, criterion_group, criterion_main};
use forwarder::clock::Tick;
use forwarder::scheduler::{Flags, Kind, Request, SCHEDULERS};
use forwarder::service::{DestId, Family, Member, Protocol, Service, ServiceId, ServiceKey, Settings};
use forwarder::stats::{DestCounters, Loads, Touched};
use std::hint::black_box;
use std::net::Ipv4Addr;

fn service(scheduler: Kind, servers: u32) -> Service {
    let member = |n: u32| {
        let weight = 1 + n * 7 % 5;
        let address = Ipv4Addr::from(0xC0A8_0002 + n).into();
        Member { id: DestId(n), address, port: 80, weight, last_weight: weight, upper: 0, lower: 0 }
    };
    let members: Vec<Member> = (0..servers).map(member).collect();
    let table = (scheduler.definition().prepare)(&members, Flags::default(), Family::V4);
    Service {
        id: ServiceId(0),
        generation: 0,
        key: ServiceKey::Address(Protocol::Tcp, Ipv4Addr::new(172, 16, 0, 1).into(), 80),
        scheduler,
        flags: Flags::default(),
        persistence: None,
        one_packet: false,
        timeouts: None,
        members,
        edits: 0,
        table,
    }
}

fn picks(criterion: &mut Stages) {
    let settings = Settings::default();
    for known in SCHEDULERS {
        let mut group = criterion.benchmark_group(format!("pick/{}", known.name));
        for servers in [10, 16, 1000] {
            let service = service(Kind::by_name(known.name).expect("a known scheduler"), servers);
            let mut state = (known.start)(&service, Tick(0), 1);
            let own: Vec<DestCounters> = service.members.iter().map(|_| DestCounters::default()).collect();
            let overloaded = vec![0; own.len().div_ceil(64)];
            let touched = Touched::new(own.len());
            let mut client = 0u32;
            group.bench_function(BenchmarkId::from_parameter(servers), |bencher| {
                bencher.iter(|| {
                    client = client.wrapping_add(0x9E37_79B1);
                    let loads = Loads { own: &own, others: &[], overloaded: &overloaded, touched: &touched };
                    let request = Request {
                        client: Ipv4Addr::from(client).into(),
                        client_port: client as u16,
                        target: Ipv4Addr::new(172, 16, 0, (client >> 24) as u8).into(),
                        now: Tick(client >> 20),
                        settings: &settings,
                    };
                    let picked = state.pick(black_box(&service), &loads, &request);
                    if let Some(index) = picked {
                        own[service.members[index].id.0 as usize].opened(true);
                        touched.mark(service.members[index].id);
                    }
                    picked
                });
            });
        }
        group.finish();
    }
}

fn tables(criterion: &mut Stages) {
    for name in ["dh", "sh", "mh"] {
        let kind = Kind::by_name(name).expect("a known scheduler");
        let service = service(kind, 10);
        criterion.bench_function(&format!("prepare/{name}/10"), |bencher| {
            bencher.iter(|| (kind.definition().prepare)(black_box(&service.members), Flags::default(), Family::V4));
        });
    }
}

criterion_group! {
    name = benches;
    config = stages();
    targets = picks, tables
}
criterion_main!(benches);
