//! What a worker's turn costs by the number of workers: it looks into a ring of each other one, whether there is anything
//! or not. Without frames, and with 128 of its own connections, on ordinary memory and in one thread: no other writes
//! what it looks at.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use forwarder::clock::Tick;
use forwarder::flow_table::Slot;
use forwarder::parse;
use rvs_bench::frames::{LENGTH, Proto, flags};
use rvs_bench::rig::{BURST, Rig, Setup, spread};
use rvs_bench::traffic::{self, Mode};

/// Connections.
const FLOWS: usize = 1_000;

fn turns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("turn");
    for workers in [1, 2, 4, 16, 64] {
        let mut rig = Rig::new(&Setup { workers, ..Setup::new(FLOWS) }, |slots| vec![Slot::default(); slots]);
        rig.serve(Mode::Dr, Proto::Tcp);
        let spread = spread(workers);
        let own = |number: &u32| {
            let client = traffic::client(*number);
            spread.owner(parse::endpoint(u32::from_ne_bytes(client.ip().octets()), client.port().to_be(), 6)) == 0
        };
        let request = |number| traffic::request(Proto::Tcp, traffic::client(number), flags::ACK);
        let frames: Vec<_> = (0..).filter(own).take(FLOWS).map(request).collect();
        let now = Tick(2);
        group.bench_function(BenchmarkId::new("empty", workers), |bencher| bencher.iter(|| rig.turn(now)));
        rig.replay(&frames, LENGTH, BURST);
        rig.run(2 * FLOWS, now);
        let before = [rig.stats().received.get(), rig.stats().forwarded.get()];
        group.bench_function(BenchmarkId::new("of 128 frames", workers), |bencher| bencher.iter(|| rig.turn(now)));
        let after = [rig.stats().received.get(), rig.stats().forwarded.get()];
        assert_eq!(after[0] - before[0], after[1] - before[1], "frames that were not forwarded");
    }
    group.finish();
}

criterion_group!(benches, turns);
criterion_main!(benches);
