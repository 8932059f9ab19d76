//! How many instructions a packet takes in each mode, as callgrind counts them, beside what it took when
//! `instructions.json` was written: a change that adds more than a tenth to one has to say so, by recording new figures
//! (`make instructions`).
//!
//! Instructions are no time. But they are the same on every run, so they show what no stop-watch on a shared machine can.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Frames that are counted, and the flows they belong to.
const FRAMES: usize = 4_096;
const FLOWS: usize = 1_000;
/// What a row may rise by.
const RISE: f64 = 1.1;
/// Set, the figures are written instead of compared.
const RECORD: &str = "RVS_RECORD_INSTRUCTIONS";

/// The rows: arguments of the program `instructions`.
const ROWS: &[&[&str]] = &[
    &["nat", "tcp"],
    &["nat", "udp"],
    &["nat-reply", "tcp"],
    &["nat-mixed", "tcp"],
    &["tun", "tcp"],
    &["dr", "tcp"],
    &["dr", "udp"],
    &["nat", "tcp", "--new"],
    &["tun", "tcp", "--new"],
    &["dr", "tcp", "--new"],
    &["dr", "udp", "--new"],
];

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.json")
}

/// The program that is counted, as it is released: what a debug build does says nothing.
fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["build", "--release", "--quiet", "-p", "rvs-bench", "--bin", "instructions"];
    let built = Command::new(cargo).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
    assert!(built.success(), "cargo build --release");
    // target/debug/deps/THIS
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned();
    target.join("release/instructions")
}

/// Instructions of a packet.
fn count(program: &Path, row: &[&str]) -> f64 {
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*instructions*counted*"])
        .arg(program)
        .args(&row[..2])
        .args([FLOWS, FRAMES].map(|number| number.to_string()))
        .args(&row[2..])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{row:?}: {said}");
    let line = said.lines().find_map(|line| line.split_once("Collected :")).expect("a line of callgrind's");
    let instructions: f64 = line.1.trim().parse().expect("a number");
    assert!(instructions > 0.0, "{row:?}: the function that is counted was not found");
    // The first turn is not counted.
    instructions / (FRAMES - 128) as f64
}

#[test]
fn no_packet_takes_a_tenth_more_than_before() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("skipped: valgrind is missing (make setup installs it)");
        return;
    }
    let program = build();
    let figures: BTreeMap<String, f64> = ROWS
        .iter()
        .map(|row| (row.join(" ").replace("--", ""), (count(&program, row) * 10.0).round() / 10.0))
        .collect();
    if std::env::var_os(RECORD).is_some() {
        std::fs::write(file(), serde_json::to_string_pretty(&figures).unwrap() + "\n").unwrap();
        return;
    }
    let recorded: BTreeMap<String, f64> = serde_json::from_slice(&std::fs::read(file()).unwrap()).unwrap();
    assert!(figures.keys().eq(recorded.keys()), "other rows than recorded: make instructions");
    for (row, figure) in &figures {
        let before = recorded[row];
        println!("{row}: {figure} instructions a packet, recorded {before}");
        assert!(
            *figure <= before * RISE,
            "{row}: {figure} instructions a packet, more than a tenth above the recorded {before}. If that is the price \
             of something worth it, `make instructions` records new figures"
        );
    }
}
