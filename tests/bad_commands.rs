//! Bad command lines: ipvsadm's message and exit status, and nothing changes in a running director.

mod lab;

use lab::{Director, Lab, ROOT};
use serde_json::Value;

/// Every call that a real ipvsadm refused, with what it said and its exit status; and the rules they were made upon.
fn recorded() -> (Vec<String>, Vec<Value>) {
    let text = std::fs::read_to_string(format!("{ROOT}/tests/corpus/ipvsadm/bad.json")).expect("a recording");
    let recording: Value = serde_json::from_str(&text).expect("JSON");
    let steps = recording["steps"].as_array().expect("steps").clone();
    let base = steps[0]["base"].as_array().expect("the base rules come first");
    let base = base.iter().map(|line| line.as_str().expect("text").to_owned()).collect();
    (base, steps.into_iter().filter(|step| step["rc"].as_i64().is_some_and(|status| status != 0)).collect())
}

#[test]
fn they_change_nothing() {
    let Some(lab) = Lab::new() else { return };
    let director = Director::start(&lab);
    let (base, refused) = recorded();
    for line in base {
        assert!(director.sh(&line).status.success(), "{line}");
    }
    let before = director.list("-Sn");
    assert!(refused.len() > 100, "the recording is not read");
    for step in refused {
        let line = step["cmd"].as_str().expect("text");
        let output = director.sh(line);
        assert_eq!(output.status.code().map(i64::from), step["rc"].as_i64(), "{line}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), step["err"].as_str().expect("text"), "{line}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), step["out"].as_str().expect("text"), "{line}");
        assert_eq!(director.list("-Sn"), before, "after {line}");
    }
    assert_eq!(lab.curl("client", "http://172.16.0.1/", 5).iter().filter(|who| *who == "rs3").count(), 3);
}

#[test]
fn without_a_director_it_says_so() {
    let Some(lab) = Lab::new() else { return };
    let mut director = Director::start(&lab);
    director.stop();
    let output = director.ipvsadm("-Ln");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains(director.socket().to_str().expect("text")), "{output:?}");
}
