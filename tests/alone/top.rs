//! `rvsadm top` on a real terminal, which is tmux's.

use super::{Alone, SERVICES, eventually, rvsadm};
use std::process::{Command, Output};

/// A terminal, which ends with this.
struct Terminal(String);

impl Terminal {
    fn tmux(&self, words: &[&str]) -> Output {
        Command::new("tmux").args(["-L", &self.0, "-f", "/dev/null"]).args(words).output().expect("there is a tmux")
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p", "-t", "top"]).stdout).into_owned()
    }

    fn shows(&self, what: &str) {
        let mut last = String::new();
        eventually(&format!("{what:?}"), || {
            last = self.screen();
            last.contains(what)
        });
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

#[test]
fn top_on_a_terminal() {
    if Command::new("tmux").arg("-V").output().is_err() {
        eprintln!("SKIPPED: there is no tmux: make setup installs it");
        return;
    }
    let director = Alone::start(SERVICES);
    let terminal = Terminal(format!("rvs-top-{}", std::process::id()));
    let program = format!(
        "{} --socket {} top -d 0.25; echo ended $?; cat",
        rvsadm().display(),
        director.at("control.sock").display()
    );
    let started = terminal.tmux(&["new-session", "-d", "-s", "top", "-x", "118", "-y", "24", &program]);
    assert!(started.status.success(), "{started:?}");
    for what in [
        "rvsd 0.1.0",
        "SERVICE / SERVER",
        "tcp 172.16.0.1:80",
        "  10.0.0.2:80                nat          3",
        "fwmark 7",
    ] {
        terminal.shows(what);
    }
    // A worker on empty frames is busy, and drops what is no packet.
    terminal.shows("WORKER");
    terminal.tmux(&["send-keys", "-t", "top", "s"]);
    terminal.shows("s sort: conn/s");
    terminal.tmux(&["send-keys", "-t", "top", "/", "fwm"]);
    terminal.shows("filter: fwm_");
    eventually("a filtered list", || !terminal.screen().contains("172.16.0.1:80"));
    terminal.tmux(&["send-keys", "-t", "top", "Enter"]);
    terminal.tmux(&["send-keys", "-t", "top", "q"]);
    terminal.shows("ended 0");
    // Whoever has no terminal is told what else there is.
    let refused = director.call(&["top"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).starts_with("top needs a terminal"), "{refused:?}");
}
