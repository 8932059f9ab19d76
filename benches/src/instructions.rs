//! Forwards a number of frames in one mode, for callgrind to count the instructions of: see tests/instructions.rs.

use clap::Parser;
use control::command::Command;
use forwarder::clock::Tick;
use forwarder::flow_table::Slot;
use rvs_bench::frames::{LENGTH, Proto};
use rvs_bench::rig::{Rig, Setup};
use rvs_bench::traffic::{self, Mode};

/// Forwards frames of established connections
#[derive(Parser)]
struct Options {
    /// How, and which
    mode: Mode,
    /// The protocol
    proto: Proto,
    /// Connections
    flows: usize,
    /// Frames
    frames: usize,
}

fn main() {
    let Options { mode, proto, flows, frames } = Options::parse();
    let setup = Setup {
        connections: flows.max(1024),
        destinations: 64,
        neighbours: (0..traffic::SERVERS).map(|n| (*traffic::server(n).ip(), traffic::server_mac(n))).collect(),
        secret: [1, 2],
    };
    let mut rig = Rig::new(&setup, |slots| vec![Slot::default(); slots]);
    let set = Command::Set { name: "sloppy_tcp".to_owned(), value: "1".to_owned() };
    rig.execute(set).expect("a setting of the kernel's");
    rig.restore(&traffic::rules(mode, proto));
    let now = Tick(2);
    if mode == Mode::NatReply {
        let requests = traffic::file(Mode::Nat, proto, flows);
        let count = requests.len();
        rig.replay(&requests, LENGTH, 32);
        rig.run(count, now);
    }
    let file = traffic::file(mode, proto, flows);
    let count = file.len();
    rig.replay(&file, LENGTH, 32);
    // Twice, as replies may come before their request.
    rig.run(2 * count, now);
    let before = rig.stats().forwarded.get();
    rig.run(frames, now);
    let forwarded = rig.stats().forwarded.get() - before;
    assert!(forwarded >= frames as u64, "{forwarded} of {frames} frames were forwarded");
}
