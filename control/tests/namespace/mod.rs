//! Network namespaces of a test's own. A test calls itself again inside the first of them.

use std::path::Path;
use std::process::{Command, Output};

/// Says to a test that it runs inside, and in which namespaces (comma separated).
const INSIDE: &str = "RVS_TEST_NAMESPACES";

/// Namespaces that go when this does, also on a panic.
struct Namespaces(Vec<String>);

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

/// Runs `body` of the test with this name inside the first of `count` new network namespaces, in a process of its own;
/// it is given the names of all. Says so and does nothing without root.
pub fn inside(test: &str, count: usize, body: impl FnOnce(&[String])) {
    if let Ok(names) = std::env::var(INSIDE) {
        let names: Vec<String> = names.split(',').map(str::to_owned).collect();
        ip("link set lo up");
        body(&names);
        return;
    }
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED {test}: network namespaces need root");
        return;
    }
    let mut namespaces = Namespaces(Vec::new());
    for number in 0..count {
        let name = format!("rvs-{}-{test}-{number}", std::process::id());
        let made = Command::new("ip").args(["netns", "add", &name]).output().expect("iproute2 is installed");
        assert!(made.status.success(), "ip netns add {name}: {}", String::from_utf8_lossy(&made.stderr));
        namespaces.0.push(name);
    }
    let me = std::env::current_exe().unwrap();
    let status = Command::new("ip")
        .args(["netns", "exec", &namespaces.0[0]])
        .arg(me)
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, namespaces.0.join(","))
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed inside its namespace");
}

fn output(arguments: &[&str]) -> Output {
    Command::new("ip").args(arguments).output().expect("iproute2 is installed")
}

/// Runs `ip` with these words in the test's own namespace; answers what it printed.
pub fn ip(words: &str) -> String {
    let arguments: Vec<&str> = words.split_whitespace().collect();
    let output = output(&arguments);
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The same for what may fail: none if it does.
#[allow(dead_code)] // not every test program needs it
pub fn try_ip(words: &str) -> Option<String> {
    let arguments: Vec<&str> = words.split_whitespace().collect();
    let output = output(&arguments);
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// Runs many `ip` commands in one process.
#[allow(dead_code)]
pub fn ip_batch(lines: impl Iterator<Item = String>) {
    let path = std::env::temp_dir().join(format!("rvs-{}.batch", std::process::id()));
    std::fs::write(&path, lines.map(|line| line + "\n").collect::<String>()).unwrap();
    let done = output(&["-batch", path.to_str().unwrap()]);
    std::fs::remove_file(&path).unwrap();
    assert!(done.status.success(), "ip -batch: {}", String::from_utf8_lossy(&done.stderr));
}

/// Sets a value under /proc/sys of the test's own namespace.
#[allow(dead_code)]
pub fn sysctl(name: &str, value: &str) {
    let path = Path::new("/proc/sys").join(name);
    std::fs::write(&path, value).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
