//! Every recording in `tests/corpus` and `tests/recorded`; and that a recording which says something else is noticed.

use conformance::report::{Report, Tally};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn differences() -> String {
    std::fs::read_to_string(root().join("docs/differences.md")).unwrap()
}

#[test]
fn rvs_does_as_the_kernel_did() {
    for directory in ["tests/corpus", "tests/recorded"] {
        let report = conformance::run(&root().join(directory), &differences()).unwrap();
        let Tally { passed, failed, .. } = report.tally();
        assert!(passed > 0 && failed == 0, "{report}");
    }
}

/// A file of the corpus, its JSON altered, replayed alone.
fn altered(group: &str, name: &str, alter: impl Fn(&mut Value)) -> Report {
    let text = std::fs::read_to_string(root().join(format!("tests/corpus/{group}/{name}.json"))).unwrap();
    let mut recording = serde_json::from_str(&text).unwrap();
    alter(&mut recording);
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join(group)).unwrap();
    std::fs::write(directory.path().join(group).join(format!("{name}.json")), recording.to_string()).unwrap();
    conformance::run(directory.path(), &differences()).unwrap()
}

/// The place that a pointer (RFC 6901) names.
fn at<'a>(recording: &'a mut Value, pointer: &str) -> &'a mut Value {
    recording.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} is not there"))
}

fn replace(place: &mut Value, from: &str, to: &str) {
    let text = place.as_str().unwrap();
    assert!(text.contains(from), "{text}");
    *place = text.replacen(from, to, 1).into();
}

#[test]
fn what_was_recorded_otherwise_is_a_failure() {
    type Alter = fn(&mut Value);
    let rows: [(&str, &str, Alter); 12] = [
        ("sched", "rr", |r| replace(at(r, "/cases/0/steps/1/5"), "192.168.1.3", "192.168.1.2")),
        ("sched", "wrr", |r| replace(at(r, "/cases/0/final_Ln"), "Masq    1", "Masq    2")),
        ("sched", "twos", |r| *at(r, "/cases/0/counts") = serde_json::json!({"192.168.1.2:80": 1500})),
        ("states", "tcp-seq-tun", |r| *at(r, "/map/cS cA") = serde_json::json!(["ESTABLISHED", 800])),
        ("states", "reuse-matrix", |r| *at(r, "/rows/0/6/0") = "server 2".into()),
        ("states", "active-counts", |r| *at(r, "/rows/3/3") = 1.into()),
        ("states", "persist-nat", |r| replace(at(r, "/log/4/2/1"), "05:00", "04:00")),
        ("states", "delete-readd-nat", |r| replace(at(r, "/log/9/2/1"), "3          0", "2          0")),
        ("packets", "tcp-nat", |r| replace(at(r, "/events/2/rx/0/hex"), "3f06", "3e06")),
        ("packets", "tcp-dr", |r| replace(at(r, "/events/2/rx/0/dmac"), ":02", ":03")),
        ("packets", "weight0-nat", |r| *at(r, "/events/6/rx") = serde_json::json!([])),
        ("ipvsadm", "timeouts", |r| *at(r, "/steps/0/rc") = 7.into()),
    ];
    for (group, name, alter) in rows {
        let before = altered(group, name, |_| {}).tally();
        let after = altered(group, name, alter).tally();
        assert_eq!((before.failed, after.failed), (0, 1), "{group}/{name}");
    }
}

#[test]
fn what_cannot_be_read_is_a_failure() {
    assert!(conformance::run(Path::new("/nonexistent"), "").is_err());
    let report = altered("sched", "rr", |recording| *recording = serde_json::json!({"cases": [{"id": 1}]}));
    assert_eq!(report.tally(), Tally { passed: 0, failed: 1, skipped: 0 });
    let report = altered("packets", "tcp-nat", |recording| {
        *at(recording, "/events/0/cmd") = "reboot".into();
    });
    assert_eq!(report.tally().failed, 1);
}
