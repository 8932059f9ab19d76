//! The recorded calls of `tests/corpus/ipvsadm`, through the real programs.

use crate::daemon::{Daemon, Printed, call, ipvsadm, shell};
use serde_json::Value;
use std::path::Path;

/// What of a list is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// All but the order of services, which in the kernel is random.
    Exactly,
    /// Numbers of a list that count connections or packets may be any: there is a load.
    WithoutCounts,
}

/// Replays every file; answers how many calls did as recorded and how many did not, and prints those.
pub fn all(daemon: &Daemon, compare: Compare) -> (usize, usize) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/ipvsadm");
    let mut files: Vec<_> =
        std::fs::read_dir(directory).expect("the recordings").map(|file| file.expect("a file").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let (mut passed, mut failed) = (0, 0);
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a recording");
        let recording: Value = serde_json::from_str(&text).expect("JSON");
        let outcome = replay(&recording, compare);
        passed += outcome.0;
        failed += outcome.1;
    }
    if failed > 0 {
        println!("{}", daemon.log());
    }
    (passed, failed)
}

fn replay(recording: &Value, compare: Compare) -> (usize, usize) {
    // As the recorded kernel was when it had just booted.
    ipvsadm("-C", "");
    ipvsadm("--set 900 120 300", "");
    for role in ["master", "backup"] {
        ipvsadm(&format!("--stop-daemon {role}"), "");
    }
    let (mut passed, mut failed, mut base, mut counts) = (0, 0, None, compare);
    for step in recording["steps"].as_array().expect("steps") {
        let text = |field: &str| step[field].as_str().unwrap_or_default();
        if let Some(lines) = step["base"].as_array() {
            base = Some(lines.iter().map(|line| line.as_str().expect("text").to_owned() + "\n").collect::<String>());
        }
        // Nobody sends these packets here: what they would have been counted for may be anything.
        if ["conn", "traffic"].iter().any(|kind| !step[kind].is_null()) {
            counts = Compare::WithoutCounts;
        }
        let line = text("cmd");
        if line.is_empty() || is_elsewhere(line, counts) {
            continue;
        }
        if let Some(base) = &base {
            let mut restored = call("ipvsadm-restore", "", base);
            if is_starved(&restored) {
                restored = call("ipvsadm-restore", "", base);
            }
            assert!(restored.status == 0, "{restored:?} of\n{base}");
        }
        let before = base.as_ref().map(|_| ipvsadm("-Sn", "").output);
        let got = shell(line, text("stdin"));
        if is_starved(&got) {
            eprintln!("SKIPPED: {line}: {}", got.errors.trim_end());
            continue;
        }
        let expected = Printed {
            status: step["rc"].as_i64().expect("a status") as i32,
            output: text("out").to_owned(),
            errors: text("err").to_owned(),
        };
        let same = expected.status == got.status
            && expected.errors == got.errors
            && comparable(&expected.output, counts) == comparable(&got.output, counts);
        let after = step["state_after_Sn"].as_str().map(|after| {
            let expected = if after == "unchanged" { before.as_deref().unwrap_or_default() } else { after };
            (expected.to_owned(), ipvsadm("-Sn", "").output)
        });
        let same_after = after.as_ref().is_none_or(|(expected, got)| sorted(expected) == sorted(got));
        if same && same_after {
            passed += 1;
        } else {
            failed += 1;
            println!("{}: $ {line}\nexpected {expected:#?}\ngot {got:#?}\nafterwards {after:#?}", recording["id"]);
        }
    }
    (passed, failed)
}

/// The machine had no time for the worker: the change was made, but the call says something else than was recorded. Many
/// such are seen, since enough calls must pass.
fn is_starved(printed: &Printed) -> bool {
    printed.errors.contains("did not take the change in time")
}

/// Calls that say nothing here: files of the kernel, what names RVS, and lists of connections and rates of traffic that
/// was not sent.
fn is_elsewhere(line: &str, counts: Compare) -> bool {
    let has = |option: &str| line.split(' ').any(|word| word == option);
    let of_connections = has("-Lnc") || has("-Lc") || has("-c") || has("--connection");
    let names_rvs = ["-v", "--version", "-h", "--help"].iter().any(|option| line == format!("ipvsadm {option}"));
    line.starts_with("cat ") || names_rvs || of_connections && counts == Compare::WithoutCounts
}

/// Services with their servers, in an order that does not depend on the kernel's.
fn comparable(output: &str, counts: Compare) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    for line in output.lines() {
        let line = if counts == Compare::WithoutCounts { without_counts(line) } else { line.to_owned() };
        let of_last = line.starts_with("  -> ") || line.starts_with("-a ");
        match blocks.last_mut() {
            Some(last) if of_last => *last += &format!("\n{line}"),
            _ => blocks.push(line),
        }
    }
    blocks.sort_unstable();
    blocks
}

/// A line of a list whose numbers, from the second word on, are gone, and with them the blanks between.
fn without_counts(line: &str) -> String {
    let listed = ["  -> ", "TCP ", "UDP ", "SCTP", "FWM "].iter().any(|start| line.starts_with(start));
    let is_count = |word: &str| !word.trim_end_matches(['K', 'M', 'G', 'T']).contains(|c: char| !c.is_ascii_digit());
    let words = line.split_whitespace().enumerate();
    match listed {
        true => {
            words.filter(|(at, word)| *at < 2 || !is_count(word)).map(|(_, word)| word).collect::<Vec<_>>().join(" ")
        }
        false => line.to_owned(),
    }
}

fn sorted(rules: &str) -> Vec<String> {
    comparable(rules, Compare::Exactly)
}
