//! The recordings of the kernel's picks, replayed on the model: every result of every case must be the kernel's.
//!
//! `CORPUS=DIR` replays another directory of the same layout.

use crate::director::{Director, Ending, Tuple};
use crate::ipvsadm;
use forwarder::scheduler::Kind;
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use std::path::PathBuf;

#[derive(Deserialize)]
struct Recording {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    sched: String,
    mode: String,
    setup: Vec<Vec<Value>>,
    steps: Vec<Vec<Value>>,
    #[serde(default)]
    sysctl: HashMap<String, u32>,
    /// Only for twos: picks by server, where the sequence is random.
    counts: Option<HashMap<String, u32>>,
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

fn tuple(step: &[Value]) -> Tuple {
    let port = |value: &Value| value.as_u64().expect("a port") as u16;
    let address = |value: &Value| text(value).parse().expect("an address");
    (address(&step[1]), port(&step[2]), address(&step[3]), port(&step[4]))
}

/// What the n-th connection of a case of this mode is.
fn ending(mode: &str, n: usize) -> Ending {
    match mode {
        "held" | "mix" => Ending::Held,
        "closed" => Ending::Finished,
        "udp" => Ending::Datagram,
        _ => {
            let held: usize = mode.strip_prefix("hold").and_then(|n| n.parse().ok()).expect("a known mode");
            if n < held { Ending::Held } else { Ending::Finished }
        }
    }
}

/// A director as the case's setup leaves it.
fn set_up(case: &Case) -> Director {
    let mut director = Director::new();
    for (name, &value) in &case.sysctl {
        match name.as_str() {
            "lblc_expiration" => director.settings.lblc_expiration = value,
            "lblcr_expiration" => director.settings.lblcr_expiration = value,
            "expire_quiescent_template" => director.expire_quiescent_template = value != 0,
            _ => panic!("setting {name} is not known here"),
        }
    }
    for line in &case.setup {
        if let Some(line) = ipvsadm::parse(text(&line[0])) {
            director.execute(&line);
        }
    }
    director
}

/// Replays a case: the first difference, if there is one.
fn replay(case: &Case) -> Result<(), String> {
    let mut director = set_up(case);
    let mut connections = Vec::new();
    for (number, step) in case.steps.iter().enumerate() {
        match text(&step[0]) {
            "c" => {
                let tuple = tuple(step);
                let expected = text(&step[5]);
                let refused = expected.starts_with("icmp") || expected == "drop";
                let got = director.connect(tuple, ending(&case.mode, connections.len()));
                connections.push(tuple);
                if got != expected.parse().ok().map(|at: std::net::SocketAddr| (at.ip(), at.port())) {
                    return Err(format!("step {number}: expected {expected}, got {got:?}"));
                }
                assert!(refused || got.is_some(), "step {number}: {expected} is no result that is known here");
            }
            "cmd" => director.execute(&ipvsadm::parse(text(&step[1])).expect("an ipvsadm line")),
            "close" => {
                let which = step[1].as_u64().expect("a step") as usize;
                let ending = if text(&step[2]) == "rst" { Ending::Reset } else { Ending::Finished };
                director.end(connections[which], ending);
            }
            "wait" => director.wait((step[1].as_f64().expect("seconds") * 100.0) as u32),
            other => panic!("step {other} is not known here"),
        }
    }
    Ok(())
}

/// Repeats a recording of which only counts are known: no server's share may differ by more than a twentieth.
fn compare_counts(case: &Case, expected: &HashMap<String, u32>) -> Result<(), String> {
    let mut director = set_up(case);
    let total: u32 = expected.values().sum();
    let mut counts: HashMap<String, u32> = HashMap::new();
    for n in 0..total {
        let client = std::net::Ipv4Addr::from(0x0A01_0000 + n / 60_000);
        let tuple = (client.into(), (1024 + n % 60_000) as u16, "172.16.0.1".parse().expect("an address"), 80);
        let (address, port) = director.connect(tuple, ending(&case.mode, n as usize)).ok_or("nobody served")?;
        *counts.entry(format!("{address}:{port}")).or_default() += 1;
    }
    let near = |server: &String| expected[server].abs_diff(counts.get(server).copied().unwrap_or(0)) <= total / 20;
    if expected.keys().all(near) && counts.keys().all(|server| expected.contains_key(server)) {
        Ok(())
    } else {
        Err(format!("expected about {expected:?}, got {counts:?}"))
    }
}

#[test]
fn picks_are_the_kernels() {
    let corpus = std::env::var_os("CORPUS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus")), PathBuf::from);
    let directory = std::fs::read_dir(corpus.join("sched")).expect("the corpus has a directory sched");
    let mut files: Vec<PathBuf> = directory.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "json")) {
        let recording: Recording =
            serde_json::from_slice(&std::fs::read(file).expect("a readable file")).expect("a recording");
        let (mut good, mut bad, mut left) = (0, 0, 0);
        for case in &recording.cases {
            if Kind::by_name(&case.sched).is_none() {
                left += 1;
                continue;
            }
            let result = case.counts.as_ref().map_or_else(|| replay(case), |counts| compare_counts(case, counts));
            match result {
                Ok(()) => good += 1,
                Err(difference) => {
                    bad += 1;
                    println!("  {}: {difference}", case.id);
                }
            }
        }
        println!("{}: {good} passed, {bad} failed, {left} skipped", file.file_name().expect("a name").display());
        (passed, failed, skipped) = (passed + good, failed + bad, skipped + left);
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    assert!(passed > 0, "no case was replayed");
    assert_eq!(failed, 0, "see the differences above");
}
