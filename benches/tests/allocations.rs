//! Nothing on a packet's way allocates: a million packets of connections, and a million of none, in every mode.

use allocation_counter::measure;
use forwarder::clock::Tick;
use forwarder::flow_table::Slot;
use forwarder::pipeline::ConnSlot;
use rvs_bench::frames::{LENGTH, Proto};
use rvs_bench::rig::{BURST, Rig, Setup};
use rvs_bench::traffic::{self, Mode};

const PACKETS: usize = 1_000_000;
/// Connections, of the packets that have one.
const FLOWS: usize = 1_000;
/// Packets of no connection that differ: many times what the table has room for.
const STRANGERS: u32 = 1 << 16;

fn rig(mode: Mode, proto: Proto) -> Rig<Vec<ConnSlot>> {
    let mut rig = Rig::new(&Setup::new(FLOWS), |slots| vec![Slot::default(); slots]);
    rig.serve(mode, proto);
    rig
}

/// Allocations while so many packets or a few more are forwarded, or what becomes of them. Time passes, so that entries
/// expire.
fn allocations(rig: &mut Rig<Vec<ConnSlot>>, packets: usize) -> u64 {
    let counted = measure(|| {
        let (mut now, mut left) = (Tick(100), packets);
        while left > 0 {
            now = now.plus(1);
            left = left.saturating_sub(rig.turn(now));
        }
    });
    counted.count_total
}

fn hits(mode: Mode, proto: Proto) {
    let mut rig = rig(mode, proto);
    rig.connect(mode, proto, FLOWS, LENGTH, Tick(2));
    let counts = |rig: &Rig<_>| (rig.stats().received.get(), rig.stats().forwarded.get());
    let before = counts(&rig);
    assert_eq!(allocations(&mut rig, PACKETS), 0, "allocations for packets of connections");
    let after = counts(&rig);
    assert!(after.0 - before.0 >= PACKETS as u64);
    assert_eq!(after.1 - before.1, after.0 - before.0, "not every packet was forwarded");
}

fn misses(mode: Mode, proto: Proto) {
    let mut rig = rig(mode, proto);
    // Replies of no connection are a request's miss after a reply's.
    let stranger = |number| match mode {
        Mode::NatReply => traffic::reply(proto, traffic::client(number), number as usize % traffic::SERVERS),
        _ => traffic::first(proto, traffic::client(number)),
    };
    let frames: Vec<_> = (0..STRANGERS).map(stranger).collect();
    rig.replay(&frames, LENGTH, BURST);
    // Until the table is full for the first time.
    rig.run(STRANGERS as usize, Tick(2));
    let before = rig.stats().created.get();
    assert_eq!(allocations(&mut rig, PACKETS), 0, "allocations for packets without a connection");
    let created = rig.stats().created.get() - before;
    assert!(mode == Mode::NatReply || created > PACKETS as u64 / 2, "only {created} connections were made");
}

macro_rules! modes {
    ($($name:ident: $mode:expr, $proto:expr;)*) => {$(
        mod $name {
            use super::*;
            #[test]
            fn hits() {
                super::hits($mode, $proto);
            }
            #[test]
            fn misses() {
                super::misses($mode, $proto);
            }
        }
    )*};
}

modes! {
    nat: Mode::Nat, Proto::Tcp;
    nat_reply: Mode::NatReply, Proto::Tcp;
    nat_mixed: Mode::NatMixed, Proto::Udp;
    tun: Mode::Tun, Proto::Udp;
    dr: Mode::Dr, Proto::Tcp;
}
