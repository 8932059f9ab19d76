//! A flood of new connections into a full table: it pushes out half-open ones, and no established one.

use forwarder::clock::Tick;
use forwarder::flow_table::{Slot, slots_for};
use forwarder::pipeline::DropReason;
use rvs_bench::frames::{LENGTH, Proto, flags};
use rvs_bench::rig::{BURST, Rig, Setup};
use rvs_bench::traffic::{self, Mode};

/// Connections that the table is for.
const CAPACITY: usize = 8_192;
/// As many of them are established.
const ESTABLISHED: u32 = 7_000;
/// Many times what the table can take.
const FLOOD: u32 = 400_000;

#[test]
fn half_open_connections_give_way_before_established_ones() {
    let mut rig = Rig::new(&Setup::new(CAPACITY), |slots| vec![Slot::default(); slots]);
    rig.restore(&traffic::rules(Mode::Dr, Proto::Tcp));
    let frames = |clients: std::ops::Range<u32>, tcp_flags| -> Vec<_> {
        clients.map(|number| traffic::request(Proto::Tcp, traffic::client(number), tcp_flags)).collect()
    };
    let mut send = |frames: &[[u8; LENGTH]], now| {
        // A burst at a time, and the last one is whole.
        assert!(frames.len().is_multiple_of(BURST));
        rig.replay(frames, LENGTH, BURST);
        rig.run(frames.len(), now);
        let stats = rig.stats();
        (stats.created.get(), stats.evicted.get(), stats.drops[DropReason::NoConnection as usize].get())
    };
    let established = 0..ESTABLISHED.next_multiple_of(BURST as u32);
    let count = u64::from(established.end);
    send(&frames(established.clone(), flags::SYN), Tick(2));
    assert_eq!(send(&frames(established.clone(), flags::ACK), Tick(2)), (count, 0, 0), "established");

    let (made, gave_way, lost) = send(&frames(1 << 20..(1 << 20) + FLOOD, flags::SYN), Tick(10));
    assert_eq!((made, lost), (count + u64::from(FLOOD), 0), "each SYN gets its connection");
    let left = slots_for(CAPACITY) as u64 - count;
    assert!(gave_way >= u64::from(FLOOD) - left, "{gave_way} gave way");

    // A segment of a connection that is not there would be dropped.
    let (after, _, lost) = send(&frames(established, flags::ACK), Tick(20));
    assert_eq!((after, lost), (made, 0), "the established ones are there");
}
