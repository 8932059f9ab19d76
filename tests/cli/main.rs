//! The real `rvsadm`, as ipvsadm, against a real `rvsd`: every recorded call, with and without packets to balance, and
//! scripts that were written for the kernel.
//!
//! The director has ports that need no network: they drop what is sent, and one can repeat a file of frames. Each test runs
//! in a network and a file system of its own, where the recorded interfaces and host names are.

mod daemon;
mod exporter;
mod inside;
mod long_lists;
mod packages;
mod replay;
mod scripts;
mod telemetry;

use daemon::{Daemon, ipvsadm, rvsadm};
use replay::Compare;

#[test]
fn recorded_calls() {
    inside::inside("recorded_calls", || {
        let daemon = Daemon::start(None);
        let (passed, failed) = replay::all(&daemon, Compare::Exactly);
        assert!(passed > 800 && failed == 0, "{passed} calls did as recorded, {failed} did not");
    });
}

/// Packets to the services that the recorded calls make, as fast as they can be read: tables come and go under them.
#[test]
fn recorded_calls_under_load() {
    inside::inside("recorded_calls_under_load", || {
        let daemon = Daemon::start(Some(&daemon::load()));
        let before = daemon.received();
        let (passed, failed) = replay::all(&daemon, Compare::WithoutCounts);
        assert!(passed > 800 && failed == 0, "{passed} calls did as recorded, {failed} did not");
        let after = daemon.received();
        assert!(after > before + 1000, "there was no load: {before}, then {after} frames");
        ipvsadm("-C", "");
        ipvsadm("-A -t 172.16.0.1:80", "");
        ipvsadm("-a -t 172.16.0.1:80 -r 192.168.1.2 -m", "");
        daemon.eventually("connections of the load", || ipvsadm("-Lnc", "").output.lines().count() > 10);
    });
}

/// Twenty thousand servers, line by line and at once, saved and restored.
#[test]
fn large_tables() {
    inside::inside("large_tables", || {
        let daemon = Daemon::start(None);
        let mut rules = String::new();
        for n in 0..2_000 {
            let service = format!("10.{}.{}.1:80", n / 250, n % 250);
            rules += &format!("-A -t {service} -s rr\n");
            for k in (0..10).rev() {
                rules += &format!("-a -t {service} -r 172.{}.{}.{}:80 -m -w 1\n", 16 + k, n / 250, n % 250 + 1);
            }
        }
        let lines = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort_unstable();
            lines
        };
        for options in ["-R", "-R --atomic"] {
            assert_eq!(rvsadm(options, &rules).status, 0, "{options}: {}", daemon.log());
            assert!(lines(&rvsadm("-S -n", "").output) == lines(&rules), "{options}: the table is another");
        }
        assert_eq!(ipvsadm("-Ln", "").output.lines().count(), 3 + 22_000);
        let refused = rvsadm("-R --atomic", &(rules + "-a -t 10.0.0.1:80 -r 172.16.0.1 -m\n"));
        assert_eq!(refused.status, 255);
        assert_eq!(refused.errors, "line 22001: Destination already exists; nothing was changed\n");
        assert_eq!(ipvsadm("-Ln", "").output.lines().count(), 3 + 22_000);
    });
}

#[test]
fn save_and_restore_under_their_names() {
    inside::inside("save_and_restore_under_their_names", || {
        let _daemon = Daemon::start(None);
        let rules =
            "-A -t 172.16.0.1:80 -s wrr\n-a -t 172.16.0.1:80 -r 192.168.1.2:80 -m -w 3\n-A -f 7 -s sh -b sh-port\n";
        let restored = daemon::call("ipvsadm-restore", "", &format!("# saved\n{rules}"));
        assert_eq!((restored.status, restored.output + &restored.errors), (0, String::new()));
        assert_eq!(daemon::call("ipvsadm-save", "-n", "").output, rules);
        // Somebody who asks all the time never sees half of a table.
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|threads| {
            let seen = threads.spawn(|| {
                let mut seen = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    assert_eq!(daemon::call("ipvsadm-save", "-n", "").output, rules);
                    seen += 1;
                }
                seen
            });
            for _ in 0..50 {
                assert_eq!(daemon::call("ipvsadm-restore", "", rules).status, 0);
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(seen.join().expect("it saw whole tables only") > 5);
        });
    });
}

/// Packets to a service never find it missing while its table is restored, and of several restores one comes last, whole.
#[test]
fn restores_leave_no_gap() {
    inside::inside("restores_leave_no_gap", || {
        let daemon = Daemon::start(Some(&(0..512).map(daemon::datagram).collect::<Vec<_>>()));
        let rules = |servers: std::ops::Range<u32>| {
            let servers = servers.map(|n| format!("-a -u 172.16.0.1:53 -r 192.168.1.{n}:53 -m -w 1\n"));
            "-A -u 172.16.0.1:53 -s rr\n".to_owned() + &servers.collect::<String>()
        };
        let tables = [rules(2..5), rules(3..9), rules(2..3)];
        let restore =
            |table: &str| assert_eq!(daemon::call("ipvsadm-restore", "", table).status, 0, "{}", daemon.log());
        restore(&tables[0]);
        // Some came before there was a service.
        let (received, missed) = (daemon.received(), daemon.of_no_service());
        std::thread::scope(|threads| {
            for first in 0..3 {
                let (tables, restore) = (&tables, &restore);
                threads.spawn(move || (0..10).for_each(|n| restore(&tables[(first + n) % 3])));
            }
        });
        daemon.eventually("packets", || daemon.received() > received + 1000);
        let whole = ipvsadm("-Sn", "").output;
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
        assert!(tables.iter().any(|table| lines(table) == lines(&whole)), "{whole}");
        assert_eq!(daemon.of_no_service(), missed, "packets passed a service by");
        // And it would be seen if they did.
        ipvsadm("-C", "");
        daemon.eventually("packets of no service", || daemon.of_no_service() > missed);
    });
}

#[test]
fn who_may_not_ask_is_told_so() {
    inside::inside("who_may_not_ask_is_told_so", || {
        let daemon = Daemon::start(None);
        let other = "setpriv --reuid=65534 --regid=65534 --clear-groups";
        if daemon::shell(&format!("{other} true"), "").status != 0 {
            eprintln!("SKIPPED: no other user to be had");
            return;
        }
        // A place where that user may run programs.
        let place = tempfile::tempdir_in("/mnt").expect("a place for files");
        let make = format!(
            "chmod 755 /mnt {0}; cp \"$(command -v rvsadm)\" {0}/ipvsadm; cp {0}/ipvsadm {0}/rvsadm",
            place.path().display()
        );
        assert_eq!(daemon::shell(&make, "").status, 0);
        daemon.open_directory();
        for (name, status) in [("ipvsadm", 2), ("rvsadm", 3)] {
            for options in ["-Ln", "-C", "-A -t 10.0.0.1:80", "-Lnc"] {
                let refused = daemon::shell(&format!("{other} {}/{name} {options}", place.path().display()), "");
                assert_eq!((refused.status, refused.output.as_str()), (status, ""), "{refused:?}");
                assert_eq!(refused.errors.lines().count(), 1, "{refused:?}");
                assert!(refused.errors.contains("Permission denied (you must be root)"), "{refused:?}");
            }
        }
        assert_eq!(ipvsadm("-Ln", "").status, 0);
    });
}
