//! rvsd with several workers on real queues of several kinds of devices. The other end of its cables is this process, on
//! DPDK too, so it says which queue a frame comes by, and sees every frame that leaves.

mod changes;
mod flows;
#[path = "../lab/mod.rs"]
mod lab;
#[path = "../../control/tests/workers/packets.rs"]
#[allow(dead_code)] // it is shared
mod packets;
mod rig;
mod scenes;

use dpdk_ffi::Eal;
use dpdk_ffi::log::Level;
use rig::{Cable, Rig};
use std::process::Command;

const INSIDE: &str = "RVS_TEST_INSIDE_NAMESPACE";
/// Interfaces are quiet, and frames have their checksums.
const NAMESPACE: &str =
    "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1; ip link set lo up";

/// The EAL starts once in a process, so this is one test; and its interfaces are in a namespace of its own.
#[test]
fn several_workers_on_queues_of_every_kind() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    if !rustix::process::geteuid().is_root() || !std::path::Path::new("/dev/net/tun").exists() {
        return lab::skipped("queues of several kinds need root and /dev/net/tun");
    }
    let status = Command::new("unshare")
        .args(["-n", "timeout", "150"])
        .arg(std::env::current_exe().expect("this one"))
        .args(["--exact", "several_workers_on_queues_of_every_kind", "--nocapture"])
        .env(INSIDE, "1")
        .status();
    assert!(status.expect("unshare can be run").success());
}

fn complain(level: Level, line: &str) {
    if matches!(level, Level::Error | Level::Warning) {
        eprintln!("the other end: {line}");
    }
}

fn inside() {
    rig::sh(NAMESPACE);
    let prefix = format!("rvs-far-{}", std::process::id());
    let arguments = [lab::lcores(&prefix, 0), lab::NO_HUGE_PAGES.map(str::to_owned).to_vec()].concat();
    let eal = Eal::init(&arguments, complain).expect("DPDK starts");
    let pool = rig::pool(&eal);
    for (cable, workers) in
        [(Cable::Vhost, 2), (Cable::Vhost, 4), (Cable::Ring, 3), (Cable::Veth, 4), (Cable::VirtioUser, 3)]
    {
        eprintln!("{workers} workers on {cable:?}");
        let mut rig = Rig::start(&eal, &pool, cable, workers);
        flows::nothing_is_lost_and_nothing_overtakes(&mut rig, workers);
        if cable == Cable::Vhost && workers == 4 {
            scenes::errors_reach_the_owner_of_what_they_quote(&mut rig);
            scenes::fragments_meet_and_follow_their_connection(&mut rig);
            scenes::a_client_stays_with_its_server(&mut rig);
            scenes::a_threshold_closes_and_opens_for_all(&mut rig);
        }
        if matches!(cable, Cable::Vhost | Cable::Veth) {
            changes::a_port_comes_and_goes_while_others_forward(&mut rig);
            changes::fewer_workers_serve_from_the_next_start_on(&mut rig);
        }
        rig.stop();
    }
    assert_eq!(pool.in_use(), 0);
    drop(pool);
    eal.cleanup().expect("nothing is held");
}
