//! Recordings of the kernel's IPVS, replayed end to end: through rvsadm and rvsd, on veth pairs, with this machine's kernel
//! as the director's.

mod director;
#[path = "../lab/mod.rs"]
mod lab;

use conformance::report::{Case, Outcome};
use director::RealDirector;
use std::path::Path;

/// Recordings of packets, each a case.
const PACKETS: [&str; 32] = [
    "tcp-nat",
    "tcp-dr",
    "tcp-tun",
    "tcp-nat-rst-client",
    "tcp-nat-rst-server",
    "tcp-dr-rst-client",
    "tcp-tun-rst-client",
    "udp-nat",
    "udp-dr",
    "udp-tun",
    "ttl-nat",
    "ttl-dr",
    "ttl-tun",
    "tos-nat",
    "tos-tun",
    "nodest-nat",
    "overload-dr",
    "weight0-nat",
    "reuse-nat-mode1",
    "reuse-dr-mode0",
    "removed-nat-nodest0-quiescent0",
    "removed-nat-nodest1-quiescent0",
    "removed-dr-nodest1-quiescent1",
    "removed-tun-nodest0-quiescent1",
    "sloppy-nat",
    "fwmark-nat",
    "fwmark-dr",
    "localnode",
    "sctp-nat",
    "tun-ipip",
    "tun-gre-csum",
    "tun-gue",
];

/// Cases of recorded schedulers.
const PICKS: [(&str, &str); 10] = [
    ("rr", "rr-w102-tcp-nat-closed"),
    ("wrr", "wrr-w511-tcp-nat-closed"),
    ("lc", "lc-w123-udp-dr"),
    ("wlc", "wlc-w123-tcp-nat-closed"),
    ("sed", "sed-w123-udp-dr"),
    ("nq", "nq-w123-udp-dr"),
    ("ovf", "ovf-w123-udp-dr"),
    ("sh", "sh-w123-udp-dr"),
    ("mh", "mh-w123-udp-dr"),
    ("fwmark", "fwm-rr-nat"),
];

fn recording(group: &str, name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/corpus/{group}/{name}.json"));
    std::fs::read_to_string(file).expect("a recording")
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        lab::skipped("network namespaces need root");
    }
    root
}

/// The differences in words; the number of cases that passed is added.
fn failures(name: &str, cases: &[Case], passed: &mut usize) -> String {
    let mut text = String::new();
    for case in cases {
        match &case.outcome {
            Outcome::Passed => *passed += 1,
            Outcome::Failed { expected, got } => {
                text += &format!("{name}: {}\nexpected\n{expected}\ngot\n{got}\n", case.name);
            }
            Outcome::Skipped { .. } => {}
        }
    }
    text
}

#[test]
fn packets_are_the_kernels() {
    if !is_root() {
        return;
    }
    let (mut passed, mut failed) = (0, String::new());
    for name in PACKETS {
        let cases = conformance::packets::replay_on(&recording("packets", name), |_| RealDirector::start());
        failed += &failures(name, &cases.expect("a recording"), &mut passed);
    }
    assert!(failed.is_empty() && passed == PACKETS.len(), "{passed} passed\n{failed}");
}

#[test]
fn picks_are_the_kernels() {
    if !is_root() {
        return;
    }
    let (mut passed, mut failed) = (0, String::new());
    for (file, name) in PICKS {
        let others = |case: &str| (case != name).then(|| "not this one".to_owned());
        let cases = conformance::sched::replay_on(&recording("sched", file), &others, |_| RealDirector::start());
        failed += &failures(file, &cases.expect("a recording"), &mut passed);
    }
    assert!(failed.is_empty() && passed == PICKS.len(), "{passed} passed\n{failed}");
}
