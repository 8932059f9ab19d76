//! The same director on huge pages. (Every other test runs without.)

mod lab;

use lab::{Director, Lab, Options};
use std::fs;

const NR: &str = "/proc/sys/vm/nr_hugepages";
/// Of memory for the director, and some to spare.
const WANTED_MB: usize = 384;

/// Huge pages of this machine that go back to what they were.
struct Reserved {
    before: String,
}

impl Reserved {
    /// None, after a word about it, where the machine cannot spare them.
    fn new() -> Option<Self> {
        let reserved = Self { before: fs::read_to_string(NR).ok()? };
        let size = meminfo("Hugepagesize")?;
        let missing = (WANTED_MB * 1024).saturating_sub(meminfo("HugePages_Free")? * size).div_ceil(size);
        if missing > 0 {
            let total: usize = reserved.before.trim().parse().ok()?;
            fs::write(NR, (total + missing).to_string()).ok()?;
        }
        (meminfo("HugePages_Free")? * size >= WANTED_MB * 1024).then_some(reserved)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let _ = fs::write(NR, &self.before);
    }
}

fn meminfo(name: &str) -> Option<usize> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    text.lines().find(|line| line.starts_with(name))?.split_whitespace().nth(1)?.parse().ok()
}

/// Kilobytes of huge pages that a process has mapped; those of the whole machine change by others' doing, too.
fn used_by(pid: u32) -> Option<usize> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("HugetlbPages:"))?.split_whitespace().next()?.parse().ok()
}

#[test]
fn it_balances_on_huge_pages() {
    let Some(lab) = Lab::new() else { return };
    let Some(_reserved) = Reserved::new() else {
        return lab::skipped("this machine cannot reserve huge pages");
    };
    let director = Director::start_with(&lab, Options { huge_pages: true, ..Options::default() });
    assert!(used_by(director.pid()) > Some(0), "it does not use them");
    director.configure(&[
        "-A -t 172.16.0.1:80 -s rr",
        "-a -t 172.16.0.1:80 -r 192.168.1.2:80 -m",
        "-a -t 172.16.0.1:80 -r 192.168.1.3:80 -m",
    ]);
    let answers = lab.curl("client", "http://172.16.0.1/", 10);
    assert_eq!(answers.iter().filter(|who| *who == "rs2").count(), 5, "{answers:?}");
    assert_eq!(answers.iter().filter(|who| *who == "rs3").count(), 5, "{answers:?}");
}
