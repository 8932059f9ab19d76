//! rvsadm's console as scripts use it: files of lines, one line, a session that outlives its director's.

use super::{Alone, eventually, rvsadm};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

/// A line that fails does not stop a file, unless that is wanted; either way the exit status tells of it.
#[test]
fn a_file_of_lines_goes_on_or_stops_at_what_fails() {
    let director = Alone::start("");
    let file = director.at("lines");
    std::fs::write(&file, "# a comment\nservice add tcp 10.0.0.1:80\nservice add tcp 10.0.0.1:80\n-A -t 10.0.0.1:81\n")
        .expect("a file");
    let file = file.display().to_string();
    let services = || director.rvsadm(&["-Sn"]).lines().count();
    let cases: [(&[&str], usize); 4] = [
        (&["-f", &file], 2),
        (&["-e", "-f", &file], 1),
        (&["console", "-e", "-f", &file], 1),
        (&["console", "--stop-at-error", "--file", &file], 1),
    ];
    for (words, expected) in cases {
        let output = director.call(words);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("Service already exists"), "{output:?}");
        assert_eq!(services(), expected, "{words:?}");
        director.rvsadm(&["service", "flush"]);
    }
    let missing = director.call(&["-f", "/nonexistent"]);
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");
    // One line, and what it says to be JSON.
    for words in [["show", "worker", "--json"], ["show", "worker", "json"], ["--json", "show", "worker"]] {
        assert!(director.rvsadm(&words).starts_with("{\"workers\":["));
    }
    assert_eq!(director.call(&["frobnicate"]).status.code(), Some(2));
}

/// A session goes on with a director that was started anew.
#[test]
fn a_session_outlives_its_director() {
    let mut director = Alone::start("");
    let mut session = Command::new(rvsadm())
        .args(["console", "-f", "-"])
        .env("RVS_SOCKET", director.at("control.sock"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it was built");
    let mut lines = session.stdin.take().expect("piped");
    let mut said = BufReader::new(session.stdout.take().expect("piped"));
    let mut ask = |line: &str| {
        lines.write_all(format!("{line}\n").as_bytes()).expect("it reads");
        let mut answer = String::new();
        said.read_line(&mut answer).expect("it answers");
        answer
    };
    assert!(ask("show version").starts_with("RVS "));
    director.restart();
    eventually("the second director", || director.call(&["show", "version"]).status.success());
    assert!(ask("show version").starts_with("RVS "));
    drop(lines);
    assert!(session.wait().expect("it was started").success());
}

/// The file is the client's, and others read it.
#[test]
fn frames_are_captured_into_a_file() {
    let director = Alone::start("");
    let file = director.at("frames.pcap").display().to_string();
    let said = director.rvsadm(&["capture", "start", &file, "point", "rx", "count", "20", "snaplen", "40"]);
    assert!(said.starts_with("20 frames captured"), "{said}");
    // net_null's frames have 64 bytes, of which each block has 40; behind the head of the file and of its only port.
    assert_eq!(std::fs::metadata(&file).expect("it was written").len(), 28 + 36 + 20 * (44 + 40));
    // They are for no service, and this port has no kernel interface.
    let said = director.rvsadm(&["capture", "start", &file, "point", "drop", "count", "20"]);
    assert!(said.starts_with("20 frames captured"), "{said}");
    let dropped = std::fs::read(&file).expect("it was written");
    let reason = b"dropped: no_kernel_interface";
    assert_eq!(dropped.windows(reason.len()).filter(|part| part == reason).count(), 20);
    let read = Command::new("tcpdump").args(["-e", "-r", &file]).output().expect("make setup installs tcpdump");
    let lines = String::from_utf8_lossy(&read.stdout);
    assert!(read.status.success(), "{read:?}");
    assert_eq!(lines.lines().filter(|line| line.contains("00:00:00:00:00:00")).count(), 20, "{lines}");
    // Nobody there: it ends by itself.
    let none = director.rvsadm(&["capture", "start", &file, "host", "10.9.9.9", "seconds", "1"]);
    assert_eq!(none, "0 frames captured\n");
    let refused = director.call(&["capture", "start", &file, "snaplen", "9999"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert_eq!(std::fs::metadata(&file).expect("it is there").len(), 28, "a refusal touches no file");
    // A file that cannot be made leaves no capture behind.
    assert_eq!(director.call(&["capture", "start", "/nonexistent/file"]).status.code(), Some(1));
    assert_eq!(director.rvsadm(&["capture", "start", &file, "host", "10.9.9.9", "seconds", "1"]), none);
}
