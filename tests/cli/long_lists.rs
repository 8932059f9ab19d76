//! Lists of very many connections: all of them, in memory that does not grow with their number, and past traffic.

use crate::daemon::{Daemon, shell};
use crate::inside::inside;

/// `RVS_CLI_CONNECTIONS` says another number; a million takes a release build some seconds, and one for tests minutes.
const CONNECTIONS: u32 = 150_000;
/// What a list may cost rvsd, kB, whatever its length: some pages.
const DAEMON: u64 = 24_000;
/// What rvsadm may need in all, kB.
const CLIENT: u64 = 32_000;

/// Runs a program, and prints how often a text stands in its output, whether it ended well, and the most memory it had, in kB.
const COUNT: &str = r"
import resource, subprocess, sys
text = sys.argv[1].encode()
program = subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE)
count, rest = 0, b''
while piece := program.stdout.read(1 << 16):
    count += (rest + piece).count(text)
    rest = (rest + piece)[len(rest + piece) - len(text) + 1:]
print(count, program.wait(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
";

#[test]
fn of_two_workers() {
    inside("long_lists::of_two_workers", || {
        let said = std::env::var("RVS_CLI_CONNECTIONS").ok().and_then(|said| said.parse().ok());
        let wanted = said.unwrap_or(CONNECTIONS);
        let daemon = Daemon::with_clients(wanted);
        daemon.eventually("all frames", || daemon.counted("received") == u64::from(wanted));
        let connections = daemon.counted("entries");
        // What one worker has for the other is dropped when the other does not keep up, as on too few CPUs.
        assert!(connections > u64::from(wanted / 4), "{connections} connections of {wanted} clients");
        std::fs::write(daemon.file("count.py"), COUNT).expect("a new file");
        for (options, row) in [("-Lnc", "\nUDP "), ("-L -c --json", "client_port"), ("-L -c", "\nUDP ")] {
            let (before, script) = (daemon.memory("VmRSS"), daemon.file("count.py").display().to_string());
            daemon.forget_peak();
            let counted = shell(&format!("python3 '{script}' '{row}' rvsadm {options}"), "");
            let figures: Vec<u64> =
                counted.output.split_whitespace().map(|word| word.parse().expect("a number")).collect();
            let cost = daemon.memory("VmHWM").saturating_sub(before);
            println!("{options}: {connections} rows, {} kB in rvsadm, {cost} kB more in rvsd", figures[2]);
            assert_eq!((figures[0], figures[1]), (connections, 0), "{options}: {counted:?}");
            assert!(figures[2] < CLIENT && cost < DAEMON, "{options}: {} kB in rvsadm, {cost} in rvsd", figures[2]);
        }
        let broken_off = shell("rvsadm -Lnc | head -n 3 | wc -l", "");
        assert_eq!((broken_off.output.trim(), broken_off.errors.as_str()), ("3", ""));
    });
}
