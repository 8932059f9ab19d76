//! A network and a file system of a test's own: the test calls itself again inside. They go with its last process.

use std::process::Command;

/// Says to a test that it runs inside, and which file to make when it has passed.
const INSIDE: &str = "RVS_CLI_TEST_INSIDE";

/// The recorded director's interfaces and host names.
const SET_UP: &str = "
mount -t sysfs none /sys
ip link set lo up
ip link add ext0 type veth peer name int0
ip address add 10.0.0.1/24 dev ext0
ip address add 192.168.1.1/24 dev int0
ip link set ext0 up
ip link set int0 up
mount -t tmpfs none /mnt
cat >/mnt/hosts <<END
127.0.0.1 localhost
172.16.0.9 vip9.example.com vip9
192.168.1.9 rs9.example.com rs9
192.168.1.10 a-very-long-real-server-name.cluster.example.com
END
mount --bind /mnt/hosts /etc/hosts
";

/// Runs `body` of the test with this name, modules included, inside, in a process of its own. Says so and does nothing where the system does
/// not let us.
pub fn inside(test: &str, body: impl FnOnce()) {
    if let Some(passed) = std::env::var_os(INSIDE) {
        body();
        std::fs::write(passed, "").expect("a new file");
        return;
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--mount"]);
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    let possible = Command::new(unshare.get_program()).args(unshare.get_args()).arg("true").output();
    if !possible.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: {test}: no namespaces to be had (root, or user namespaces)");
        return;
    }
    let me = std::env::current_exe().expect("it runs");
    unshare.args(["sh", "-ec", &format!("{SET_UP}\nexec \"$@\""), "sh"]).arg(me).args([test, "--exact", "--nocapture"]);
    let files = tempfile::tempdir().expect("a place for files");
    let passed = files.path().join("passed");
    let status = unshare.env(INSIDE, &passed).status().expect("it was just run");
    assert!(status.success() && passed.exists(), "{test} failed inside: {status}");
}
