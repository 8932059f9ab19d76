//! What a worker's turn costs by the number of workers: it looks into a ring of each other one, whether there is anything
//! or not. Without frames, and with 128 of its own connections, on ordinary memory and in one thread: no other writes
//! what it looks at. And what it costs two workers, in one thread, to hand a frame over.

mod cpu_time;

use cpu_time::{Stages, stages};
use criterion::{BenchmarkId, criterion_group, criterion_main};
use forwarder::clock::Tick;
use forwarder::flow_table::Slot;
use forwarder::parse;
use forwarder::pipeline::ConnSlot;
use rvs_bench::frames::{LENGTH, Proto, flags};
use rvs_bench::rig::{BURST, Rig, Setup, spread};
use rvs_bench::traffic::{self, Mode};

/// Connections.
const FLOWS: usize = 1_000;
const NOW: Tick = Tick(2);

/// Requests of clients that belong to this one of so many workers.
fn requests(worker: u32, workers: usize) -> Vec<[u8; LENGTH]> {
    let spread = spread(workers);
    let own = |number: &u32| {
        let client = traffic::client(*number);
        let endpoint = parse::endpoint(u32::from_ne_bytes(client.ip().octets()), client.port().to_be(), 6);
        spread.owner(endpoint) == worker
    };
    let request = |number| traffic::request(Proto::Tcp, traffic::client(number), flags::ACK);
    (0..).filter(own).take(FLOWS).map(request).collect()
}

fn serving(mode: Mode, workers: usize) -> Rig<Vec<ConnSlot>> {
    let mut rig = Rig::new(&Setup { workers, ..Setup::new(FLOWS) }, |slots| vec![Slot::default(); slots]);
    rig.serve(mode, Proto::Tcp);
    rig
}

fn turns(criterion: &mut Stages) {
    let mut group = criterion.benchmark_group("turn");
    for workers in [1, 2, 4, 16, 64] {
        let mut rig = serving(Mode::Dr, workers);
        group.bench_function(BenchmarkId::new("empty", workers), |bencher| bencher.iter(|| rig.turn(NOW)));
        rig.replay(&requests(0, workers), LENGTH, BURST);
        rig.run(2 * FLOWS, NOW);
        let before = [rig.stats().received.get(), rig.stats().forwarded.get()];
        group.bench_function(BenchmarkId::new("of 128 frames", workers), |bencher| bencher.iter(|| rig.turn(NOW)));
        let after = [rig.stats().received.get(), rig.stats().forwarded.get()];
        assert_eq!(after[0] - before[0], after[1] - before[1], "frames that were not forwarded");
    }
    group.finish();
}

/// A turn of the worker that gets 128 frames and one of the other, who owns all of them, or none. The difference is what
/// handing over takes where no cache line has to come from another core.
fn handovers(criterion: &mut Stages) {
    let mut group = criterion.benchmark_group("two workers");
    for mode in [Mode::Dr, Mode::Nat] {
        for (name, owner) in [("own", 0), ("handed over", 1)] {
            let mut rig = serving(mode, 2);
            rig.replay(&requests(owner, 2), LENGTH, BURST);
            let mut turn = || rig.turn(NOW) + rig.turn_others(NOW);
            (0..FLOWS).for_each(|_| _ = turn());
            group.bench_function(format!("{mode:?} {name}").to_lowercase(), |bencher| bencher.iter(&mut turn));
            let [received, dropped, handed] =
                [rig.stats().received.get(), rig.stats().dropped(), rig.stats().handed_out.get()];
            // A few are handed over because their source is taken for a real server's.
            let wrong = if owner == 0 { handed } else { received - handed };
            assert!(dropped == 0 && wrong < received / 50, "{handed} of {received} frames handed over, {dropped} lost");
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = stages();
    targets = turns, handovers
}
criterion_main!(benches);
