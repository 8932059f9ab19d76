//! What the stages of a packet's way cost by themselves: parsing, and each rewriting.

mod cpu_time;

use cpu_time::{Stages, stages};
use criterion::{Throughput, criterion_group, criterion_main};
use forwarder::parse::parse;
use forwarder::rewrite::gue::{self, Gue};
use forwarder::rewrite::nat::{self, Nat};
use forwarder::rewrite::{Hop, Outcome, Outer, dr, gre, ipip};
use packet_io::memory::MemFrame;
use packet_io::{Checksums, Frame};
use rvs_bench::frames::{LENGTH, Proto};
use rvs_bench::traffic::{self, DIRECTOR, DIRECTOR_MAC, VIRTUAL};
use std::hint::black_box;
use std::net::Ipv4Addr;

fn bits(address: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(address.octets())
}

fn end(at: std::net::SocketAddrV4) -> (u32, u16) {
    (bits(*at.ip()), at.port().to_be())
}

fn parsing(criterion: &mut Stages) {
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(1));
    for proto in [Proto::Tcp, Proto::Udp] {
        let frame = traffic::first(proto, traffic::client(7));
        for (name, checksums) in [("checked", Checksums::Unknown), ("checked by the NIC", Checksums::Ipv4Good)] {
            group.bench_function(format!("{proto:?} {name}").to_lowercase(), |bencher| {
                bencher.iter(|| parse(black_box(&frame), checksums));
            });
        }
    }
    group.finish();
}

/// Each on the same frame again and again, put back to what it was: what that takes is `restore`.
fn rewriting(criterion: &mut Stages) {
    let original = traffic::request(Proto::Tcp, traffic::client(7), rvs_bench::frames::flags::ACK);
    let parsed = parse(&original, Checksums::Unknown);
    let server = traffic::server(3);
    let hop = Hop::new(traffic::server_mac(3), DIRECTOR_MAC, 1500);
    let outer = Outer { source: bits(DIRECTOR), destination: bits(*server.ip()), pmtu_disc: true };
    let to_server = Nat::new(end(VIRTUAL), end(server));
    let mut group = criterion.benchmark_group("rewrite");
    group.throughput(Throughput::Elements(1));
    let mut bench = |name: &str, rewrite: &mut dyn FnMut(&mut MemFrame) -> Outcome| {
        let mut frame = MemFrame::new(&original);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let grown = frame.bytes().len() - LENGTH;
                assert!(frame.shrink_front(grown));
                frame.bytes_mut().copy_from_slice(&original);
                rewrite(black_box(&mut frame))
            });
        });
    };
    let mut id = 0;
    bench("restore", &mut |_| Outcome::Send);
    bench("dr", &mut |frame| dr::send(frame, &parsed, &hop));
    bench("nat request", &mut |frame| nat::request(frame, &parsed, &to_server, &hop));
    bench("nat reply", &mut |frame| nat::reply(frame, &parsed, &to_server, &hop));
    bench("ipip", &mut |frame| ipip::send(frame, &parsed, &outer, &hop, &mut id));
    for (name, checksum) in [("gue", false), ("gue with checksum", true)] {
        let gue = Gue { source_port: 40_000, port: 6080, checksum };
        bench(name, &mut |frame| gue::send(frame, &parsed, &outer, &gue, &hop, &mut id));
    }
    for (name, checksum) in [("gre", false), ("gre with checksum", true)] {
        bench(name, &mut |frame| gre::send(frame, &parsed, &outer, checksum, &hop, &mut id));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = stages();
    targets = parsing, rewriting
}
criterion_main!(benches);
