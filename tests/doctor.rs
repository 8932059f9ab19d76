//! `rvsd doctor` on the machine that the test runs on, whatever it is like.

use std::process::{Command, Output};

fn doctor(line: &str) -> Output {
    let mut command = Command::new("timeout");
    command.args(["60", env!("CARGO_BIN_EXE_rvsd")]).args(line.split(' ')).output().expect("it can be run")
}

#[test]
fn says_what_is_in_the_way_and_what_its_ports_can_do() {
    let prefix = format!("--file-prefix=rvs-doctor-{}", std::process::id());
    let eal = format!("--no-huge -m 128 --no-pci --no-shconf --no-telemetry {prefix} --vdev=net_null0");
    let output = doctor(&format!("{eal} -- --port net_null0,kernel=none doctor"));
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // Nothing is needed here that can be missing.
    assert_eq!((output.status.code(), &*errors), (Some(0), ""), "{said}");
    assert!(said.contains("note huge pages: not used (--no-huge)"), "{said}");
    assert!(
        said.lines().any(|line| line.contains("port net_null0 (net_null): ") && line.contains("no flow rules")),
        "{said}"
    );

    let output = doctor(&format!("{eal} -- --port net_null0,kernel=none doctor --json"));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let findings = said["findings"].as_array().expect("a list");
    assert!(findings.iter().all(|finding| finding["level"] != "bad" && finding["found"].is_string()), "{said}");
}

#[test]
fn a_device_that_cannot_be_had_is_bad() {
    let prefix = format!("--file-prefix=rvs-doctor-bad-{}", std::process::id());
    let output = doctor(&format!(
        "--no-huge -m 128 --no-pci --no-shconf --no-telemetry {prefix} --vdev=net_nosuch0 -- --port a,kernel=none doctor"
    ));
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.lines().any(|line| line.starts_with("BAD  DPDK: does not start: ") && line.contains("net_nosuch0")),
        "{said}"
    );
}
