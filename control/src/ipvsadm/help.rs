//! `--help` and `--version`.

use super::described::{CALLS, Described, GROUPS};
use std::fmt::Write as _;

/// The column of what an option does.
const COLUMN: usize = 31;

/// What `--version` prints.
#[must_use]
pub fn version(program: &str) -> String {
    let name = program.rsplit('/').next().unwrap_or(program);
    format!("{name} of RVS v{} (speaks ipvsadm v1.31, IPVS v1.2.1)\n", env!("CARGO_PKG_VERSION"))
}

/// What `--help` prints.
#[must_use]
pub fn usage(program: &str) -> String {
    let mut text = version(program) + "Usage:\n";
    for call in CALLS {
        let _ = writeln!(text, "  {program} {call}");
    }
    for group in GROUPS {
        let _ = writeln!(text, "\n{}:", group.title);
        group.options.iter().for_each(|option| line(&mut text, option));
        if !group.note.is_empty() {
            let _ = writeln!(text, "{}", group.note);
        }
    }
    let schedulers: Vec<&str> = forwarder::scheduler::SCHEDULERS.iter().map(|known| known.name).collect();
    let _ = writeln!(text, "\nSchedulers: {}", schedulers.join(" "));
    text
}

fn line(text: &mut String, option: &Described) {
    let letters: String = option.letters().map(|letter| format!("-{letter}, ")).collect();
    let indent = if letters.is_empty() { "    " } else { "" };
    let left = format!("  {indent}{letters}--{} {}", option.long, option.argument);
    let _ = match left.trim_end() {
        // too long: the rest is on a line of its own
        left if left.len() >= COLUMN => writeln!(text, "{left}\n{:COLUMN$}{}", "", option.text),
        left => writeln!(text, "{left:<COLUMN$}{}", option.text),
    };
}
