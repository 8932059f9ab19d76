//! Every recorded ipvsadm call through parser, state and listings.

use control::ipvsadm::names::Table;
use control::recordings::{NoDataPath, Recording, recorded_hosts, run};
use std::path::Path;

/// Ports that have names in the recordings, for machines without `/etc/services`.
const SERVICES: &str = "\
ssh 22/tcp\ndomain 53/tcp\ndomain 53/udp\ntftp 69/udp\nhttp 80/tcp www\nkerberos 88/tcp\nkerberos 88/udp\nhttps 443/tcp\n\
https 443/udp\nsip 5060/tcp\nsip 5060/udp\nmdns 5353/udp\nhttp-alt 8080/tcp\n";

#[test]
fn recorded_calls() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/ipvsadm");
    let services = std::fs::read_to_string("/etc/services").unwrap_or_default() + SERVICES;
    let names = Table::parse(recorded_hosts(), &services);
    let mut files: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for file in files {
        let recording = Recording::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let outcome = run(&recording, &names, NoDataPath::default);
        let (p, f, s) = (outcome.passed, outcome.failed.len(), outcome.skipped.len());
        println!("{}: {p} passed, {f} failed, {s} skipped", recording.id);
        for (call, why) in &outcome.skipped {
            println!("  skipped $ {call}: {why}");
        }
        for difference in &outcome.failed {
            println!("{difference}");
        }
        passed += p;
        failed += f;
        skipped += s;
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    assert!(passed > 0 && failed == 0, "{failed} recorded calls do not do as recorded");
}
