//! Holds RVS against the recorded ipvsadm calls of `tests/corpus/ipvsadm`: parser, state and listings, and a data path
//! if the caller has one.
//!
//! A recording is a list of steps: calls with what they printed, connections and traffic, and waits. Time is simulated.

use crate::command::{Command, ConnectionPage, Counters, Error, Reply};
use crate::ipvsadm::Executor;
use crate::ipvsadm::names::Names;
use crate::ipvsadm::run::Session;
use crate::state::{Limits, Live, Observed, State};
use forwarder::clock::{TICKS_PER_SECOND, Tick};
use forwarder::service::DestId;
use serde::Deserialize;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// A step that this data path cannot do, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported(pub String);

/// What connections, traffic and waits of a recording act on.
pub trait DataPath: Observed + Send {
    /// The state changed: from here on it holds.
    fn publish(&mut self, state: &mut State);
    /// Opens a connection as the recording did; `connection` is its description there.
    fn connection(&mut self, connection: &serde_json::Value) -> Result<(), Unsupported>;
    /// Sends traffic; `text` is its description in the recording.
    fn traffic(&mut self, text: &str) -> Result<(), Unsupported>;
    /// Lets time pass.
    fn wait(&mut self, ticks: u32);
}

/// No data path: only the clock runs. Steps about packets, and what they would have changed, are skipped.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDataPath {
    now: Tick,
}

impl Observed for NoDataPath {
    fn now(&self) -> Tick {
        self.now
    }
    fn counters(&self, _: DestId) -> Counters {
        Counters::default()
    }
    fn live(&self, _: DestId) -> Live {
        Live::default()
    }
    fn connections(&self, _: u64) -> ConnectionPage {
        ConnectionPage::default()
    }
    fn interface_mtu(&self, name: &str) -> Option<u32> {
        recorded_mtu(name)
    }
    fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        recorded_broadcast(address)
    }
}

/// The interfaces of the recorded director.
#[must_use]
pub fn recorded_mtu(name: &str) -> Option<u32> {
    matches!(name, "ext0" | "int0").then_some(1500)
}

/// The broadcast addresses of its networks.
#[must_use]
pub fn recorded_broadcast(address: Ipv4Addr) -> bool {
    [Ipv4Addr::new(10, 0, 0, 255), Ipv4Addr::new(192, 168, 1, 255), Ipv4Addr::new(127, 255, 255, 255)]
        .contains(&address)
}

impl DataPath for NoDataPath {
    fn publish(&mut self, _: &mut State) {}
    fn connection(&mut self, _: &serde_json::Value) -> Result<(), Unsupported> {
        Err(Unsupported("needs a data path".to_owned()))
    }
    fn traffic(&mut self, _: &str) -> Result<(), Unsupported> {
        Err(Unsupported("needs a data path".to_owned()))
    }
    fn wait(&mut self, ticks: u32) {
        self.now = self.now.plus(ticks);
    }
}

/// A recorded file.
#[derive(Clone, Debug, Deserialize)]
pub struct Recording {
    /// Its name.
    pub id: String,
    steps: Vec<Step>,
}

impl Recording {
    /// Reads one.
    ///
    /// # Errors
    /// The file is no recording.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Step {
    Call(Call),
    Connection {
        conn: serde_json::Value,
    },
    Wait {
        wait: f64,
    },
    Traffic {
        traffic: String,
    },
    /// Every call that follows starts from this table.
    Base {
        base: Vec<String>,
    },
    Note {
        #[allow(dead_code)]
        note: String,
    },
}

#[derive(Clone, Debug, Deserialize)]
struct Call {
    cmd: String,
    rc: u8,
    out: String,
    err: String,
    #[serde(default)]
    stdin: String,
    #[serde(rename = "state_after_Sn")]
    state_after: Option<String>,
}

/// How a recording went: one entry for each call.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Calls that did as recorded.
    pub passed: usize,
    /// Calls that did not.
    pub failed: Vec<Difference>,
    /// Calls that were not compared, and why.
    pub skipped: Vec<(String, String)>,
}

/// A call that did not do as recorded.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The command line.
    pub call: String,
    /// As recorded: status, standard output and error.
    pub expected: String,
    /// What RVS did.
    pub got: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "$ {}\nexpected {}got      {}", self.call, self.expected, self.got)
    }
}

/// Runs a recording. The kernel's order of services depends on a number that was random at each boot, so every one of
/// its 256 values is tried, and the first that fits best is reported.
pub fn run<P: DataPath>(recording: &Recording, names: &dyn Names, data_path: impl Fn() -> P) -> Outcome {
    let mut best: Option<Outcome> = None;
    for key in 0..=u8::MAX {
        let outcome = Replay::new(key, data_path()).run(recording, names);
        if outcome.failed.is_empty() {
            return outcome;
        }
        if best.as_ref().is_none_or(|best| outcome.failed.len() < best.failed.len()) {
            best = Some(outcome);
        }
    }
    best.unwrap_or_default()
}

/// A director of its own for one recording.
struct Replay<P> {
    state: State,
    data_path: P,
    /// What did not happen, from where on lists cannot be compared.
    missing: Option<String>,
}

impl<P: DataPath> Executor for Replay<P> {
    fn execute(&mut self, command: Command) -> Result<Reply, Error> {
        let reply = self.state.execute(command, &self.data_path);
        self.data_path.publish(&mut self.state);
        reply
    }
}

impl<P: DataPath> Replay<P> {
    fn new(key: u8, data_path: P) -> Self {
        let mut state = State::new(Limits::default(), data_path.now());
        state.set_hash_key(key);
        Self { state, data_path, missing: None }
    }

    fn run(mut self, recording: &Recording, names: &dyn Names) -> Outcome {
        let mut outcome = Outcome::default();
        let mut base = None;
        for step in &recording.steps {
            match step {
                Step::Note { .. } => {}
                Step::Wait { wait } => self.wait((wait * f64::from(TICKS_PER_SECOND)).round() as u32),
                Step::Connection { conn } => {
                    let result = self.data_path.connection(conn);
                    self.note(result);
                }
                Step::Traffic { traffic } => {
                    let result = self.data_path.traffic(traffic);
                    self.note(result);
                }
                Step::Base { base: calls } => {
                    for call in calls {
                        self.call(call, "", names);
                    }
                    base = Some(self.state.clone());
                }
                Step::Call(call) => {
                    if let Some(base) = &base {
                        self.state = base.clone();
                    }
                    self.compare(call, names, &mut outcome);
                }
            }
        }
        outcome
    }

    fn note(&mut self, result: Result<(), Unsupported>) {
        if let Err(Unsupported(why)) = result {
            self.missing.get_or_insert(why);
        }
    }

    /// The director works each second while time passes.
    fn wait(&mut self, ticks: u32) {
        let mut left = ticks;
        while left > 0 {
            let step = left.min(TICKS_PER_SECOND / 10);
            self.data_path.wait(step);
            self.state.advance(&self.data_path);
            left -= step;
        }
        self.data_path.publish(&mut self.state);
    }

    fn compare(&mut self, call: &Call, names: &dyn Names, outcome: &mut Outcome) {
        if let Some(why) = self.skip(call) {
            outcome.skipped.push((call.cmd.clone(), why));
            return;
        }
        let unchanged = self.call("ipvsadm -Sn", "", names);
        let got = self.call(&call.cmd, &call.stdin, names);
        let expected = Printed { status: call.rc, output: call.out.clone(), errors: call.err.clone() };
        let mut differences = Vec::new();
        if got.comparable() != expected.comparable() {
            differences.push((expected.to_string(), got.to_string()));
        }
        if let Some(after) = &call.state_after {
            let after = if after == "unchanged" { &unchanged.output } else { after };
            let got = self.call("ipvsadm -Sn", "", names);
            if *after != got.output {
                differences.push((format!("afterwards\n{after}"), format!("afterwards\n{}", got.output)));
            }
        }
        if differences.is_empty() {
            outcome.passed += 1;
        }
        outcome.failed.extend(differences.into_iter().map(|(expected, got)| Difference {
            call: call.cmd.clone(),
            expected,
            got,
        }));
    }

    fn skip(&self, call: &Call) -> Option<String> {
        let cmd = call.cmd.as_str();
        if cmd.starts_with("cat /proc/net/") {
            return Some("a file of the kernel that RVS does not have".to_owned());
        }
        if matches!(cmd, "ipvsadm -v" | "ipvsadm --version" | "ipvsadm -h" | "ipvsadm --help") {
            return Some("names RVS, see docs/differences.md".to_owned());
        }
        let lists_traffic = cmd == "ipvsadm" || cmd.contains(" -L") || cmd.contains(" -l") || cmd.contains(" --list");
        let of_traffic = lists_traffic && !cmd.contains("--timeout") && !cmd.contains("--daemon");
        self.missing.clone().filter(|_| of_traffic)
    }

    fn call(&mut self, line: &str, input: &str, names: &dyn Names) -> Printed {
        let words = shell_words(line);
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let status = match words.split_first() {
            Some((cat, [file])) if cat == "cat" => self.cat(file, &mut output),
            Some((program, arguments)) => {
                Session {
                    program,
                    executor: self,
                    names,
                    input: &mut input.as_bytes(),
                    output: &mut output,
                    errors: &mut errors,
                }
                .run(arguments)
                .status
            }
            None => 0,
        };
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Printed { status, output: text(output), errors: text(errors) }
    }

    fn cat(&mut self, file: &str, output: &mut Vec<u8>) -> u8 {
        let Some(name) = file.strip_prefix("/proc/sys/net/ipv4/vs/") else { return 1 };
        match self.state.settings().list().into_iter().find(|setting| setting.name == name) {
            Some(setting) => {
                output.extend(format!("{}\n", setting.value).bytes());
                0
            }
            None => 1,
        }
    }
}

/// What a call printed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Printed {
    status: u8,
    output: String,
    errors: String,
}

impl Printed {
    /// Lists of connections have a random order, and expire at a moment that nobody noted.
    fn comparable(&self) -> Self {
        if !self.output.starts_with("IPVS connection entries\n") {
            return self.clone();
        }
        let mut lines: Vec<String> = self.output.lines().map(mask_expiry).collect();
        if let Some(rows) = lines.get_mut(2..) {
            rows.sort_unstable();
        }
        Self { output: lines.join("\n"), ..self.clone() }
    }
}

/// A row without its second column.
fn mask_expiry(line: &str) -> String {
    match line.split_once(' ') {
        Some((protocol, rest)) if rest.as_bytes().get(2) == Some(&b':') => format!("{protocol} --:--{}", &rest[5..]),
        _ => line.to_owned(),
    }
}

impl fmt::Display for Printed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "exit {}", self.status)?;
        self.output.lines().try_for_each(|line| writeln!(f, "  | {line}"))?;
        self.errors.lines().try_for_each(|line| writeln!(f, "  ! {line}"))
    }
}

/// Words of a shell line: blanks divide, quotes of both kinds hold together.
fn shell_words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, ' ' | '\t') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// The names that the recorded machine knew.
#[must_use]
pub fn recorded_hosts() -> &'static str {
    "127.0.0.1 localhost\n\
     172.16.0.9 vip9.example.com vip9\n\
     192.168.1.9 rs9.example.com rs9\n\
     192.168.1.10 a-very-long-real-server-name.cluster.example.com\n"
}

/// An address of the recorded director.
#[must_use]
pub fn recorded_own(address: IpAddr) -> bool {
    ["10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "fd00::1", "fd01::1", "fd72::1", "::1"]
        .iter()
        .any(|own| own.parse() == Ok(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_shell_line() {
        assert_eq!(shell_words(r#"ipvsadm -A -t "" -r 'a b':80"#), ["ipvsadm", "-A", "-t", "", "-r", "a b:80"]);
    }

    #[test]
    fn lists_of_connections_compare_as_sets() {
        let list = |rows: &str| Printed {
            status: 0,
            output: format!("IPVS connection entries\npro expire state\n{rows}"),
            errors: String::new(),
        };
        assert_eq!(
            list("TCP 14:58  A\nUDP 04:58  B\n").comparable(),
            list("UDP 01:02  B\nTCP 14:57  A\n").comparable()
        );
        assert_ne!(list("TCP 14:58  A\n").comparable(), list("TCP 14:58  B\n").comparable());
    }
}
