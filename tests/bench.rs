//! `rvsd bench`: measures without DPDK running, and says what it measured.

use serde_json::Value;
use std::process::{Command, Output};

fn bench(arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rvsd")).arg("bench").args(arguments.split(' ')).output().unwrap()
}

#[test]
fn it_measures_every_mode() {
    for mode in ["nat", "nat-reply", "nat-mixed", "tun", "dr"] {
        let output = bench(&format!("--mode {mode} --proto udp --flows 1000 --seconds 0.05 --frame-size 512 --json"));
        let report: Value = serde_json::from_slice(&output.stdout).expect("a line of JSON");
        assert_eq!(report["mode"], mode);
        assert_eq!((&report["connections"], &report["created"]), (&Value::from(1000), &Value::from(0)), "{report}");
        for figure in ["mpps", "cycles_per_packet", "replay_cycles_per_packet", "packets"] {
            assert!(report[figure].as_f64() > Some(0.0), "{figure}: {report}");
        }
        let latency = ["p50", "p90", "p99", "p999", "max"].map(|at| report["burst_latency_us"][at].as_f64().unwrap());
        assert!(latency[0] > 0.0 && latency.is_sorted(), "{report}");
    }
}

#[test]
fn it_makes_as_many_connections_as_it_is_told() {
    let output = bench("--new 25 --scheduler wlc --servers 100 --services 20 --flows 2000 --seconds 0.05 --json");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a line of JSON");
    let share = report["created"].as_f64().unwrap() / report["packets"].as_f64().unwrap();
    assert!((share - 0.25).abs() < 0.01, "{report}");
}

#[test]
fn what_cannot_be_measured_is_refused_in_a_line() {
    for (arguments, reason) in [
        ("--scheduler nope", "no scheduler 'nope'"),
        ("--mode nat-reply --scheduler rr", "need the scheduler sh"),
        ("--new 101", "percentage"),
        ("--services 10000 --servers 10000", "more than there is room for"),
    ] {
        let output = bench(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(reason) && said.lines().count() == 1, "{arguments}: {said}");
    }
}
