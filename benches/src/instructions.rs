//! Forwards a number of frames in one mode, for callgrind to count the instructions of: see tests/instructions.rs.

use clap::Parser;
use forwarder::clock::Tick;
use forwarder::flow_table::Slot;
use forwarder::pipeline::BURSTS;
use forwarder::pipeline::ConnSlot;
use rvs_bench::frames::{LENGTH, Proto};
use rvs_bench::rig::{BURST, Rig, Setup};
use rvs_bench::traffic::{self, Mode};

/// Forwards frames of established connections, or frames that each make one
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
    /// Every frame is the first of a connection
    #[arg(long)]
    new: bool,
}

/// Frames of the first turn, which are not counted: what is needed once is made.
const FIRST: usize = BURSTS * BURST;

fn main() {
    let Options { mode, proto, flows, frames, new } = Options::parse();
    let connections = if new { frames } else { flows.max(1024) };
    let mut rig = Rig::new(&Setup::new(connections), |slots| vec![Slot::default(); slots]);
    rig.serve(mode, proto);
    if new {
        let first = |number| traffic::first(proto, traffic::client(number));
        rig.replay(&(0..frames as u32).map(first).collect::<Vec<_>>(), LENGTH, BURST);
        rig.run(FIRST, Tick(2));
    } else {
        rig.connect(mode, proto, flows, LENGTH, Tick(2));
    }
    let before = [rig.stats().forwarded.get(), rig.stats().created.get()];
    counted(&mut rig, frames - FIRST);
    let [forwarded, created] = [rig.stats().forwarded.get() - before[0], rig.stats().created.get() - before[1]];
    assert!(forwarded >= (frames - FIRST) as u64, "{forwarded} of {frames} frames were forwarded");
    assert_eq!(created, if new { (frames - FIRST) as u64 } else { 0 }, "connections made");
}

/// What callgrind looks into, by its name.
#[inline(never)]
fn counted(rig: &mut Rig<Vec<ConnSlot>>, frames: usize) {
    rig.run(frames, Tick(2));
}
