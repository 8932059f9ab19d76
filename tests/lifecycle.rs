//! How rvsd starts, refuses to start, and ends.

mod lab;

use lab::{Director, Lab, Options, PATIENCE, RVSD, config, eal, terminate};
use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs rvsd to its end, which must come soon.
fn rvsd(command: &mut Command) -> Output {
    let output = command.output().expect("it can be run");
    assert_ne!(output.status.code(), Some(124), "it did not end within {PATIENCE:?}: {output:?}");
    output
}

fn within_patience(program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.arg(PATIENCE.as_secs().to_string()).arg(program);
    command
}

/// It failed, and its last line says why; what it said.
fn refusal(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it started");
    assert_eq!(text.lines().count(), 1, "one line is wanted:\n{text}");
    text
}

/// Ports that need nothing: no interface, no device, no privilege.
const ALONE: [&str; 3] = ["--no-pci", "--no-telemetry", "--vdev=net_null0"];
/// Memory without huge pages.
const SMALL: [&str; 4] = ["--no-huge", "--no-shconf", "-m", "128"];

#[test]
fn sigterm_ends_it_and_removes_the_socket() {
    let Some(lab) = Lab::new() else { return };
    let mut director = Director::start(&lab);
    let meta = fs::metadata(director.socket()).expect("the socket is there");
    assert!(meta.file_type().is_socket());
    assert_eq!(meta.permissions().mode() & 0o777, 0o660);
    director.stop();
    assert!(!director.socket().exists());
    let interfaces = lab.sh("director", "ip -brief link");
    assert!(!interfaces.contains("lvs0"), "its kernel interfaces are gone too: {interfaces}");
}

#[test]
fn a_second_one_on_the_same_socket_refuses() {
    let Some(lab) = Lab::new() else { return };
    let director = Director::start(&lab);
    let mut second = within_patience(RVSD);
    second.args(ALONE).args(SMALL).args(["--", "--socket"]);
    let said = refusal(&rvsd(second.arg(director.socket())));
    assert!(said.contains(director.socket().to_str().expect("text")), "{said}");
    assert!(director.ipvsadm("-Ln").status.success(), "the first one still answers");
}

/// The kernel would let them share a tap, and give each of them a part of its frames.
#[test]
fn a_second_one_on_the_same_kernel_interface_refuses() {
    let Some(lab) = Lab::new() else { return };
    let _director = Director::start(&lab);
    let files = tempfile::tempdir().expect("a place for files");
    let file = files.path().join("rvs.toml");
    fs::write(&file, config(&files.path().join("control.sock"), Options::default())).expect("a new file");
    let mut second = lab.command("director", "timeout");
    second.arg(PATIENCE.as_secs().to_string()).arg(RVSD);
    second.args(eal("rvs-second", Options::default())).arg("--").arg("--config").arg(file);
    let output = rvsd(&mut second);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("'lvs0' already"), "{said}");
}

#[test]
fn a_socket_that_nobody_serves_is_taken_over() {
    let Some(lab) = Lab::new() else { return };
    let mut first = Director::start(&lab);
    first.kill();
    assert!(first.socket().exists(), "a killed one cannot clean up");
    let files = tempfile::tempdir().expect("a place for files");
    fs::write(files.path().join("rvs.toml"), config(first.socket(), Options::default())).expect("a new file");
    let mut second = lab.command("director", RVSD);
    second.args(eal("rvs-second", Options::default())).arg("--").arg("--config").arg(files.path().join("rvs.toml"));
    let mut second = lab::Killed(second.spawn().expect("ip can be run"));
    lab::eventually("the second to answer", || first.ipvsadm("-Ln").status.success());
    assert!(terminate(&mut second.0).success());
}

#[test]
fn without_ports_it_says_how_to_give_some() {
    let files = tempfile::tempdir().expect("a place for files");
    let mut command = within_patience(RVSD);
    command.args(["--no-pci", "--no-telemetry"]).args(SMALL).args(["--", "--socket"]);
    let said = refusal(&rvsd(command.arg(files.path().join("control.sock"))));
    assert!(said.contains("dpdk-devbind.py") && said.contains("--vdev"), "{said}");
}

#[test]
fn without_a_driver_it_says_where_drivers_come_from() {
    let files = tempfile::tempdir().expect("a place for files");
    let mut command = within_patience(RVSD);
    command.args(["--no-pci", "--no-telemetry", "--vdev=net_nosuch0"]).args(SMALL).args(["--", "--socket"]);
    let said = refusal(&rvsd(command.arg(files.path().join("control.sock"))));
    assert!(said.contains("net_nosuch0") && said.contains("apt-get install"), "{said}");
}

#[test]
fn without_huge_pages_it_says_how_to_reserve_some() {
    if !fs::read_to_string("/proc/meminfo").expect("Linux").contains("HugePages_Free:        0") {
        return lab::skipped("this machine has free huge pages");
    }
    let files = tempfile::tempdir().expect("a place for files");
    let mut command = within_patience(RVSD);
    let said = refusal(&rvsd(
        command.args(ALONE).arg("--in-memory").arg("--").arg("--socket").arg(files.path().join("control.sock")),
    ));
    assert!(said.contains("vm.nr_hugepages") && said.contains("--no-huge"), "{said}");
}

#[test]
fn without_privileges_it_names_them() {
    if !rustix::process::geteuid().is_root() {
        return lab::skipped("becoming somebody else needs root");
    }
    let files = tempfile::tempdir().expect("a place for files");
    fs::set_permissions(files.path(), Permissions::from_mode(0o777)).expect("it is ours");
    // The build's directory may be closed to others.
    let program = files.path().join("rvsd");
    fs::copy(RVSD, &program).expect("a copy");
    let mut command = within_patience("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
    command.args(["--no-pci", "--no-telemetry"]).args(SMALL);
    command.args(["--vdev=net_af_packet0,iface=lo", "--", "--socket"]).arg(files.path().join("control.sock"));
    let said = refusal(&rvsd(&mut command));
    assert!(said.contains("CAP_NET_RAW") || said.contains("CAP_NET_ADMIN"), "{said}");
}

#[test]
fn a_bad_configuration_is_refused_with_its_place() {
    let files = tempfile::tempdir().expect("a place for files");
    let path = files.path().join("rvs.toml");
    let with = |text: &str| {
        fs::write(&path, text).expect("a file");
        let mut command = within_patience(RVSD);
        refusal(&rvsd(command.args(ALONE).args(SMALL).args(["--", "--config"]).arg(&path)))
    };
    let said = with("[control]\nsocket = 5\n");
    assert!(said.contains(path.to_str().expect("text")) && said.contains('2'), "{said}");
    let said = with("[control]\nsoket = \"/tmp/x\"\n");
    assert!(said.contains("soket"), "{said}");
    let mut command = within_patience(RVSD);
    let missing = Path::new("/nonexistent/rvs.toml");
    let said = refusal(&rvsd(command.args(ALONE).args(SMALL).args(["--", "--config"]).arg(missing)));
    assert!(said.contains("/nonexistent/rvs.toml"), "{said}");
}

#[test]
fn arguments_that_are_not_understood_are_named() {
    for (arguments, name) in
        [(vec!["--no-such-argument"], "--no-such-argument"), (vec!["--", "--no-such"], "--no-such")]
    {
        let output = rvsd(within_patience(RVSD).args(arguments));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(name), "{output:?}");
    }
}

#[test]
fn help_and_version_need_nothing() {
    let version = rvsd(within_patience(RVSD).args(["--", "--version"]));
    assert!(String::from_utf8_lossy(&version.stdout).contains(env!("CARGO_PKG_VERSION")), "{version:?}");
    let help = rvsd(within_patience(RVSD).args(["--", "--help"]));
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(help.status.success() && text.contains("--config") && text.contains("--socket"), "{help:?}");
}

/// A session on standard input, in memory that needs no privilege.
fn prompt(files: &Path) -> Vec<String> {
    let socket = files.join("control.sock").display().to_string();
    let eal = ALONE.iter().chain(&SMALL).copied();
    eal.chain(["--", "-i", "--idle", "pause", "--socket", &socket]).map(str::to_owned).collect()
}

/// Like testpmd -i: lines come from standard input, and the daemon ends with them.
#[test]
fn the_console_is_in_the_foreground_if_wanted() {
    let files = tempfile::tempdir().expect("a place for files");
    fs::write(files.path().join("rules"), "-A -t 10.0.0.1:80 -s rr\n").expect("a new file");
    let lines = format!(
        "load {}\nshow service\nshow port summary all\nfrobnicate\nset verbose 1\nset burst 8\n\
         port detach 0\nstop\nstop\nport stop 0\nstart\nport start all\nstart\nshow worker 0\n\
         show rxq info 0 0\nshow config fwd\nclear port stats 0\nset link-down port 0\n\
         set log rvsd debug\nshow log\nshow memory\ndoctor\nshow route\nshutdown\n",
        files.path().join("rules").display()
    );
    for last in ["quit\n", "shutdown confirm\n", ""] {
        fs::write(files.path().join("lines"), format!("{lines}{last}")).expect("a new file");
        let mut command = within_patience(RVSD);
        let input = fs::File::open(files.path().join("lines")).expect("it was written");
        let output = rvsd(command.args(prompt(files.path())).stdin(input));
        let (said, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}{log}");
        for expected in [
            "Finished reading all CLI commands",
            "TCP  10.0.0.1:http rr\n",
            "net_null0",
            "packets per burst set to 8\n",
            "Telling cores to stop...\n",
            "Stopping ports...\nChecking link statuses...\nDone\nPort 0: ",
            "Number of RXDs: 1024\nServed by worker: 0\n",
            "  RX P=0/Q=0 (socket 0) -> TX by route: P=0/Q=0\n",
            "  NIC statistics for port 0 cleared\n",
            "info,rvsd=debug\n",
            "rvs_frames",
            "huge pages",
            "port net_null0 (net_null): ",
            "255.255.255.255: local\n",
        ] {
            assert!(said.contains(expected), "{expected}: {said}{log}");
        }
        let refusals = [
            "Command not found",
            "Port not stopped",
            "forwarding not started",
            "Not all ports",
            "port 0: its driver, net_null, cannot; 'port stop 0' takes",
        ];
        assert!(refusals.iter().all(|refusal| log.contains(refusal)), "{log}");
        assert!(log.contains("packet: received src="), "{log}");
        assert!(!files.path().join("control.sock").exists());
    }
}

/// Also a signal in the middle of a line leaves the terminal as it was.
#[test]
fn a_prompt_at_a_terminal_edits_completes_and_leaves_it_as_it_was() {
    let files = tempfile::tempdir().expect("a place for files");
    let started = format!("sh -c 'echo pid $$; exec {RVSD} {} 2>/dev/null'; stty -a", prompt(files.path()).join(" "));
    let mut script = within_patience("script");
    let script = script.args(["-qec", &started, "/dev/null"]).env("HOME", files.path()).env("TERM", "xterm");
    let mut script =
        lab::Killed(script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script (bsdutils)"));
    let mut keys = script.0.stdin.take().expect("it is piped");
    let mut screen = script.0.stdout.take().expect("it is piped");
    let mut rest = String::new();
    let mut read_until = |wanted: &str| {
        let mut buffer = [0; 4096];
        loop {
            if let Some(at) = rest.find(wanted) {
                let after = rest.split_off(at + wanted.len());
                return std::mem::replace(&mut rest, after);
            }
            let read = screen.read(&mut buffer).expect("it is a pipe");
            assert!(read > 0, "no '{wanted}' in {rest}");
            rest += &String::from_utf8_lossy(&buffer[..read]);
        }
    };
    let pid = read_until("rvs> ");
    let pid = pid.split_whitespace().nth(1).expect("pid N").parse().expect("a number");
    keys.write_all(b"show vers\t\r").expect("it reads");
    read_until("RVS ");
    read_until("rvs> ");
    keys.write_all(b"show port ?").expect("it reads");
    assert!(read_until("xstats").contains("info"));
    let pid = rustix::process::Pid::from_raw(pid).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    let settings = read_until("extproc");
    assert!(settings.contains(" icanon ") && settings.contains(" echo "), "{settings}");
    assert!(script.0.wait().expect("it was started").success());
}
