//! Scripts that were written for ipvsadm, unchanged.

use crate::daemon::{self, Daemon, ipvsadm, shell};
use crate::inside::inside;
use crate::packages::unpacked;
use std::path::Path;
use std::process::Command;

fn script(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/scripts").join(name).display().to_string()
}

/// Puts these directories' files over the system's /sbin and /etc, for this test only.
fn overlay(sbin: &Path, etc: Option<&Path>) {
    let work = tempfile::tempdir_in("/mnt").expect("a place for files").keep();
    for (directory, over) in [("/usr/sbin", Some(sbin)), ("/etc", etc)] {
        let Some(over) = over else { continue };
        let (upper, scratch) = (work.join("upper").join(&directory[1..]), work.join("scratch").join(&directory[1..]));
        std::fs::create_dir_all(&upper).expect("a new directory");
        std::fs::create_dir_all(&scratch).expect("a new directory");
        let options = format!(
            "lowerdir={}:{directory},upperdir={},workdir={}",
            over.display(),
            upper.display(),
            scratch.display()
        );
        let mounted = Command::new("mount").args(["-t", "overlay", "-o", &options, "overlay", directory]).output();
        let mounted = mounted.expect("there is a mount");
        assert!(mounted.status.success(), "{}", String::from_utf8_lossy(&mounted.stderr));
    }
}

#[test]
fn tutorials() {
    inside("scripts::tutorials", || {
        let daemon = Daemon::start(None);
        overlay(&daemon.names(), None);
        for (mode, method, option) in [("nat", "Masq", "-m"), ("dr", "Route", "-g"), ("tun", "Tunnel", "-i")] {
            let done = shell(&format!("sh '{}' {mode}", script("tutorial.sh")), "");
            let rows: String = (2..5).map(|n| format!("192.168.1.{n}:80 {method} {} 0\n", n - 1)).collect();
            let expected =
                format!("clearing the table\nadding 172.16.0.1:80 ({mode})\n{rows}172.16.0.1:80 0\n172.16.0.1:443 0\n");
            assert_eq!((done.status, done.output.as_str(), done.errors.as_str()), (0, expected.as_str(), ""));
            let rules = ipvsadm("-Sn", "").output;
            assert!(rules.contains("-A -t 172.16.0.1:443 -s rr -p 600\n"), "{rules}");
            assert_eq!(rules.matches(&format!(" {option} -w ")).count(), 6, "{rules}");
        }
    });
}

#[test]
fn a_notify_script_of_keepalived() {
    inside("scripts::a_notify_script_of_keepalived", || {
        let daemon = Daemon::start(None);
        let rules = "-A -t 172.16.0.1:80 -s wlc\n-a -t 172.16.0.1:80 -r 192.168.1.2:80 -m -w 2\n\
                     -a -t 172.16.0.1:80 -r 192.168.1.3:80 -m -w 3\n";
        std::fs::write(daemon.file("rules"), rules).expect("a new file");
        let notify = |state: &str| {
            let rules = daemon.file("rules");
            let line = format!(
                "RULES='{}' INTERFACE=ext0 sh '{}' INSTANCE VI_1 {state} 100",
                rules.display(),
                script("notify.sh")
            );
            let done = shell(&line, "");
            (done.status, done.output, done.errors)
        };
        let said = |text: &str| (0, format!("VI_1: {text}\n"), String::new());
        let daemons = || ipvsadm("-L --daemon", "").output;
        for _ in 0..2 {
            assert_eq!(notify("MASTER"), said("master with 1 services"));
            assert!(daemons().starts_with("master sync daemon (mcast=ext0, syncid=51"), "{}", daemons());
            assert_eq!(ipvsadm("-Sn", "").output, rules);
            assert_eq!(notify("BACKUP"), said("backup"));
            assert!(daemons().starts_with("backup sync daemon (mcast=ext0, syncid=51"), "{}", daemons());
            assert_eq!(ipvsadm("-Sn", "").output, rules.replace("-w 2", "-w 0").replace("-w 3", "-w 0"));
        }
        assert_eq!(notify("FAULT"), said("fault"));
        assert_eq!((daemons(), ipvsadm("-Sn", "").output), (String::new(), String::new()));
        assert_eq!(notify("ASLEEP").0, 1);
    });
}

/// Debian's package of ipvsadm, unpacked: its init script, its /etc/default and its wrappers, with rvsadm for its program.
#[test]
fn debians_init_script() {
    inside("scripts::debians_init_script", || {
        let daemon = Daemon::start(None);
        let Some(package) = unpacked("ipvsadm", &[], &daemon.file("package")) else { return };
        let etc = package.join("etc");
        let (sbin, original) = (daemon.file("sbin"), package.join("sbin"));
        std::fs::create_dir(&sbin).expect("a new directory");
        std::os::unix::fs::symlink(daemon.names().join("rvsadm"), sbin.join("ipvsadm")).expect("a new file");
        for wrapper in ["ipvsadm-save", "ipvsadm-restore"] {
            std::fs::copy(original.join(wrapper), sbin.join(wrapper)).expect("a file of the package");
        }
        overlay(&sbin, Some(&etc));
        let init = |action: &str| {
            let done = shell(&format!("/etc/init.d/ipvsadm {action}"), "");
            assert_eq!(done.errors, "", "{action}: {done:?}");
            (done.status, done.output)
        };
        let default = |lines: &str| {
            std::fs::write("/etc/default/ipvsadm", lines).expect("the package's file");
        };
        // As it comes it does nothing.
        assert!(init("start").1.contains("not configured to run"));
        let rules = "-A -t 172.16.0.1:80 -s wlc\n-a -t 172.16.0.1:80 -r 192.168.1.2:80 -m -w 1\n";
        assert_eq!(ipvsadm("-R", rules).status, 0);
        assert_eq!(init("save").0, 0);
        let saved = std::fs::read_to_string("/etc/ipvsadm.rules").expect("it was saved");
        assert_eq!(saved, format!("# ipvsadm.rules\n{rules}"));
        ipvsadm("-C", "");
        // With AUTO it loads at start what was saved, and clears at stop; with DAEMON it starts and stops those.
        default("AUTO=\"true\"\nDAEMON=\"both\"\nIFACE=\"ext0\"\nSYNCID=\"3\"\n");
        for action in ["start", "restart"] {
            let (status, said) = init(action);
            assert_eq!(status, 0, "{said}");
            assert_eq!(ipvsadm("-Sn", "").output, rules);
            let daemons = ipvsadm("-L --daemon", "").output;
            assert!(daemons.contains("master sync daemon (mcast=ext0, syncid=3"), "{daemons}");
            assert!(daemons.contains("backup sync daemon (mcast=ext0, syncid=3"), "{daemons}");
        }
        assert!(init("status").1.contains("TCP  172.16.0.1:80 wlc"));
        assert!(init("rate").1.contains("CPS"));
        ipvsadm("-A -f 9", "");
        assert_eq!(init("reload").0, 0);
        assert_eq!(ipvsadm("-Sn", "").output, rules);
        assert_eq!(init("stop").0, 0);
        assert_eq!((ipvsadm("-Sn", "").output, ipvsadm("-L --daemon", "").output), (String::new(), String::new()));
        // The package's own wrappers.
        let restored = shell("/sbin/ipvsadm-restore", &format!("# rules\n{rules}"));
        assert_eq!((restored.status, restored.output + &restored.errors), (0, String::new()));
        assert_eq!(shell("/sbin/ipvsadm-save -n", "").output, rules);
        assert_eq!(daemon::call("ipvsadm-save", "-n", "").output, rules);
    });
}
