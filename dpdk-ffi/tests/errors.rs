//! What the operator reads when DPDK does not start. Each start needs a process of its own: this binary runs itself.

use dpdk_ffi::Eal;
use std::process::Command;

const ARGUMENTS: &str = "RVS_TEST_EAL_ARGUMENTS";

/// Not a test by itself: starts the EAL as its parent asks, and prints what comes of it.
#[test]
fn child() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else { return };
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    match Eal::init(&arguments, |level, line| println!("log: {level:?} {line}")) {
        Ok(eal) => {
            assert!(matches!(Eal::init(&arguments, |_, _| ()), Err(dpdk_ffi::Error::AlreadyInitialised)));
            println!("answer: {} ports, huge pages {}", eal.ports().len(), eal.has_huge_pages());
            eal.cleanup().unwrap();
        }
        Err(error) => println!("answer: {error}"),
    }
}

/// All that a process prints that starts the EAL so, and its answer.
fn start(name: &str, arguments: &str) -> (String, String) {
    let arguments = format!("--no-pci --no-telemetry --file-prefix=rvs-{name}-{} {arguments}", std::process::id());
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(ARGUMENTS, arguments)
        .env("RUNTIME_DIRECTORY", env!("CARGO_TARGET_TMPDIR")) // what the EAL leaves there goes with the build
        .output()
        .unwrap();
    let all = String::from_utf8(child.stdout).unwrap() + &String::from_utf8(child.stderr).unwrap();
    let answer = all.lines().find_map(|line| line.split_once("answer: ")).map(|(_, answer)| answer.to_owned());
    (answer.unwrap_or_else(|| panic!("{name}: no answer in {all}")), all)
}

#[test]
fn a_start_that_fails_says_why_in_one_line() {
    let cases = [
        ("bad-option", "--no-huge -m 64 --bad-option", "EAL argument '--bad-option' is not understood"),
        ("bad-value", "--no-huge -m 64 -l 9999", "the EAL refuses its arguments: "),
        ("no-value", "--no-huge -m 64 --vdev", "EAL argument '--vdev' is not understood"),
        ("stray", "--no-huge -m 64 stray", "EAL argument 'stray' is not understood"),
        ("both", "--no-huge -m 64 --in-memory", "the EAL refuses its arguments: Option --legacy-mem is not compatible"),
        ("driver", "--no-huge -m 64 --vdev=net_nosuch0,a=b", "no driver for device 'net_nosuch0"),
        ("file", "--no-huge -m 64 --vdev=net_pcap0,rx_pcap=/nosuch/file", "device 'net_pcap0' cannot be used: "),
        ("argument", "--no-huge -m 64 --vdev=net_null0,nosuch=1", "device 'net_null0' cannot be used: "),
        ("plugin", "--no-huge -m 64 -d /nosuch.so", "the EAL cannot start: /nosuch.so"),
        ("works", "--no-huge -m 64 --no-shconf --vdev=net_null0 --vdev=net_null1", "2 ports, huge pages false"),
    ];
    for (name, arguments, expected) in cases {
        let (answer, all) = start(name, arguments);
        assert!(answer.starts_with(expected), "{name}: {answer}");
        assert!(!all.contains("EAL common options"), "{name}: the EAL printed its usage");
        assert!(all.contains("log: Info EAL: Detected CPU lcores"), "{name}: the log went elsewhere");
    }
}

#[test]
fn huge_pages_are_used_or_missed_by_name() {
    let free = std::fs::read_to_string("/proc/meminfo").unwrap();
    let free = free.lines().find(|line| line.starts_with("HugePages_Free:")).unwrap().split_whitespace().nth(1);
    let (answer, _) = start("huge", "--in-memory -m 2");
    if free == Some("0") {
        assert!(answer.starts_with("no free huge pages: reserve some with `sysctl"), "{answer}");
    } else {
        assert_eq!(answer, "0 ports, huge pages true");
    }
}
