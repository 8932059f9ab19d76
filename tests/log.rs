//! The forms of the log: JSON, the journal's, and colours only where somebody sees them.

use std::process::{Command, Output};

/// Runs rvsd to a start that fails, which needs nothing and says much.
fn failing_start(options: &str) -> Command {
    let prefix = format!("--file-prefix=rvs-log-{}", std::process::id());
    let eal = format!("--no-huge -m 128 --no-pci --no-shconf --no-telemetry {prefix} --vdev=net_nosuch0");
    let socket = format!("{}/rvs-log-{}.sock", std::env::temp_dir().display(), std::process::id());
    let mut command = Command::new("timeout");
    command.args(["60", env!("CARGO_BIN_EXE_rvsd")]).args(eal.split(' '));
    command.arg("--").arg("--socket").arg(socket).args(options.split(' '));
    command.env_remove("JOURNAL_STREAM").env_remove("NO_COLOR");
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn lines_of_dpdk_have_the_form_of_all_others() {
    let output = failing_start("--log-level debug --log-format json").output().expect("it can be run");
    let text = said(&output);
    // The last line is the error that ends it, for people.
    let (error, lines) =
        text.lines().collect::<Vec<_>>().split_last().map(|(e, l)| (e.to_string(), l.join("\n"))).expect("lines");
    assert!(error.starts_with("rvsd: ") && error.contains("net_nosuch0"), "{text}");
    let mut of_dpdk = 0;
    for line in lines.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
        assert!(value["timestamp"].is_string() && value["level"].is_string(), "{line}");
        of_dpdk += usize::from(value["target"] == "dpdk");
    }
    assert!(of_dpdk > 0, "{text}");
    let text = said(&failing_start("--log-level debug").output().expect("it can be run"));
    // 2026-11-24T03:53:27.123Z LEVEL target: text
    let line = text.lines().find(|line| line.contains("DEBUG dpdk: EAL: ")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.as_bytes()[19] == b'.' && line[23..].starts_with("Z DEBUG dpdk: EAL: "), "{line}");
    assert!(!text.contains('\x1b'), "this is no terminal: {text}");
}

#[test]
fn the_journal_is_told_how_grave_a_line_is() {
    let files = tempfile::tempdir().expect("a place for files");
    let log = files.path().join("log");
    let file = std::fs::File::create(&log).expect("a new file");
    let stat = rustix::fs::fstat(&file).expect("its numbers");
    let mut command = failing_start("--log-level debug");
    command.env("JOURNAL_STREAM", format!("{}:{}", stat.st_dev, stat.st_ino)).stderr(file);
    assert!(!command.status().expect("it can be run").success());
    let text = std::fs::read_to_string(&log).expect("it was made");
    assert!(text.lines().any(|line| line.starts_with("<7>dpdk: EAL: ")), "{text}");
    // Somebody else's stream.
    let text = said(&failing_start("--log-level debug").env("JOURNAL_STREAM", "1:1").output().expect("it can be run"));
    assert!(!text.contains("<7>"), "{text}");
}

#[test]
fn colours_are_for_terminals_whose_owner_has_not_said_no() {
    let on_a_terminal = |no: &str| {
        let run = failing_start("--log-level debug");
        let words: Vec<_> =
            std::iter::once(run.get_program()).chain(run.get_args()).map(|w| w.to_string_lossy()).collect();
        let mut script = Command::new("script");
        script.args(["-qec", &words.join(" "), "/dev/null"]).env("NO_COLOR", no).env_remove("JOURNAL_STREAM");
        String::from_utf8_lossy(&script.output().expect("bsdutils is essential").stdout).into_owned()
    };
    let text = on_a_terminal("");
    assert!(text.contains("dpdk") && text.contains("\x1b["), "{text:?}");
    let text = on_a_terminal("1");
    assert!(text.contains("dpdk") && !text.contains("\x1b["), "{text:?}");
}
