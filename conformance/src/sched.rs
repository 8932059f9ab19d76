//! `sched/*.json`: which server each connection got.

use crate::kernel::{EXT, mac};
use crate::listing::{Times, same_connections};
use crate::packet::{Packet, flags, protocol, tcp, udp};
use crate::report::{Case, Difference};
use crate::rig::{Rig, Setup};
use crate::shell;
use crate::subject::{Sent, Subject};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Differences of one case that are told; the rest follows from the first.
const TOLD: usize = 3;

/// A command takes so long, seconds: entries whose place was taken are gone by then.
const MOMENT: f64 = 0.02;

#[derive(Deserialize)]
struct Recording {
    cases: Vec<Recorded>,
}

#[derive(Deserialize)]
struct Recorded {
    id: String,
    proto: String,
    fwd: String,
    mode: String,
    setup: Vec<Vec<Value>>,
    steps: Vec<Step>,
    #[serde(default)]
    sysctl: HashMap<String, Value>,
    #[serde(rename = "final_Ln")]
    final_services: String,
    #[serde(rename = "final_Lnc")]
    final_connections: Option<String>,
    /// Where the scheduler is random: how many connections each server got.
    counts: Option<HashMap<String, u32>>,
}

#[derive(Deserialize)]
#[serde(try_from = "Vec<Value>")]
enum Step {
    Connection { client: SocketAddrV4, target: SocketAddrV4, result: String },
    Command { line: String, status: u8, output: String, errors: String },
    Close { step: usize, reset: bool },
    Wait(f64),
}

impl TryFrom<Vec<Value>> for Step {
    type Error = String;

    fn try_from(step: Vec<Value>) -> Result<Self, String> {
        let wrong = || format!("unknown step {}", Value::from(step.clone()));
        let text = |at: usize| step.get(at).and_then(Value::as_str).map(str::to_owned).ok_or_else(wrong);
        let number = |at: usize| step.get(at).and_then(Value::as_u64).ok_or_else(wrong);
        let endpoint = |at: usize| {
            let address: Ipv4Addr = text(at)?.parse().map_err(|_| wrong())?;
            Ok::<_, String>(SocketAddrV4::new(address, number(at + 1)? as u16))
        };
        Ok(match text(0)?.as_str() {
            "c" => Self::Connection { client: endpoint(1)?, target: endpoint(3)?, result: text(5)? },
            "cmd" => Self::Command { line: text(1)?, status: number(2)? as u8, output: text(3)?, errors: text(4)? },
            "close" => Self::Close { step: number(1)? as usize, reset: text(2)? == "rst" },
            "wait" => Self::Wait(step.get(1).and_then(Value::as_f64).ok_or_else(wrong)?),
            _ => return Err(wrong()),
        })
    }
}

/// Replays a file.
///
/// # Errors
/// It is no recording.
pub fn replay(text: &str, skip: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Case>, String> {
    replay_on(text, skip, |setup| Rig::new(&setup))
}

/// The same on a director of its own for each case.
///
/// # Errors
/// It is no recording.
pub fn replay_on<S: Subject>(
    text: &str,
    skip: &dyn Fn(&str) -> Option<String>,
    mut subject: impl FnMut(Setup) -> S,
) -> Result<Vec<Case>, String> {
    let recording: Recording = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let case = |recorded: &Recorded| match skip(&recorded.id) {
        Some(reason) => Case::skipped(&recorded.id, reason),
        None => {
            let subject = subject(recorded.needs());
            Case::of(&recorded.id, Replay::new(recorded, subject).run(recorded))
        }
    };
    Ok(recording.cases.iter().map(case).collect())
}

impl Recorded {
    /// What its director needs: room, and the addresses of its services.
    fn needs(&self) -> Setup {
        let counted = self.counts.as_ref().map_or(0, |counts| counts.values().sum::<u32>() as usize);
        let lines = self.setup.iter().filter_map(|command| command.first()?.as_str());
        Setup {
            addresses: lines.filter_map(shell::added_address).collect(),
            connections: counted.max(self.steps.len()) * 2,
            ..Setup::default()
        }
    }
}

/// What became of the first packet of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Picked {
    Server(SocketAddrV4),
    Told(u8, u8),
    Dropped,
    Odd(String),
}

impl fmt::Display for Picked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(server) => write!(f, "{server}"),
            Self::Told(kind, code) => write!(f, "icmp{kind}/{code}"),
            Self::Dropped => f.write_str("drop"),
            Self::Odd(what) => f.write_str(what),
        }
    }
}

/// A connection that was opened.
#[derive(Clone, Copy)]
struct Connection {
    client: SocketAddrV4,
    target: SocketAddrV4,
    server: SocketAddrV4,
}

struct Replay<S> {
    subject: S,
    nat: bool,
    udp: bool,
    connections: Vec<Option<Connection>>,
    differences: Vec<Difference>,
}

impl<S: Subject> Replay<S> {
    fn new(recorded: &Recorded, subject: S) -> Self {
        let (nat, udp) = (recorded.fwd == "nat", recorded.proto == "udp");
        Self { subject, nat, udp, connections: Vec::new(), differences: Vec::new() }
    }

    fn run(mut self, recorded: &Recorded) -> Vec<Difference> {
        for (name, value) in &recorded.sysctl {
            if !self.subject.set(name, &value.to_string()) {
                self.differs(format!("sysctl {name}"), value, "refused");
            }
        }
        for command in &recorded.setup {
            let text = |at: usize| command.get(at).and_then(Value::as_str).unwrap_or_default();
            let status = command.get(1).and_then(Value::as_u64).unwrap_or_default() as u8;
            self.command(text(0), status, text(2), text(3));
        }
        match &recorded.counts {
            Some(counts) => self.draw(recorded, counts),
            None => recorded.steps.iter().enumerate().for_each(|(at, step)| self.step(at, step, recorded)),
        }
        if self.differences.is_empty() && recorded.counts.is_none() {
            self.compare_lists(recorded);
        }
        self.differences.truncate(TOLD);
        self.differences
    }

    fn differs(&mut self, at: impl Into<String>, expected: impl fmt::Display, got: impl fmt::Display) {
        self.differences.push(Difference::new(at, expected, got));
    }

    fn step(&mut self, at: usize, step: &Step, recorded: &Recorded) {
        match step {
            Step::Connection { client, target, result } => {
                let picked = self.open(*client, *target, &recorded.mode);
                if picked.to_string() != *result {
                    self.differs(format!("step {at}, {client} to {target}"), result, picked);
                }
            }
            Step::Command { line, status, output, errors } => self.command(line, *status, output, errors),
            Step::Close { step, reset } => {
                if let Some(connection) = self.connections.get(*step).copied().flatten() {
                    self.close(connection, *reset);
                }
            }
            Step::Wait(seconds) => self.subject.wait(*seconds),
        }
    }

    fn command(&mut self, line: &str, status: u8, output: &str, errors: &str) {
        self.subject.wait(MOMENT);
        let expected = shell::Printed { status, output: output.to_owned(), errors: errors.to_owned() };
        match shell::run(&mut self.subject, line, "") {
            Some(got) if got == expected => {}
            Some(got) => self.differs(line, expected, got),
            None => self.differs(line, expected, "(no such command here)"),
        }
    }

    /// Opens the next connection, as this mode says.
    fn open(&mut self, client: SocketAddrV4, target: SocketAddrV4, mode: &str) -> Picked {
        let number = self.connections.len();
        let first = if self.udp { udp(client, target, b"x") } else { tcp(client, target, flags("S"), 1000, 0, &[]) };
        let sent = self.subject.client_sends(&first);
        let picked = self.picked(&sent, client, target);
        let Picked::Server(server) = picked else {
            self.connections.push(None);
            return picked;
        };
        let connection = Connection { client, target, server };
        self.connections.push(Some(connection));
        if !self.udp {
            self.answer(connection, "SA");
            self.ask(connection, "A");
            let held: Option<usize> = mode.strip_prefix("hold").and_then(|n| n.parse().ok());
            if mode == "closed" || held.is_some_and(|held| number >= held) {
                self.close(connection, false);
            }
        }
        picked
    }

    /// What came out for the first packet of a connection.
    fn picked(&self, sent: &[Sent], client: SocketAddrV4, target: SocketAddrV4) -> Picked {
        let [only] = sent else {
            return if sent.is_empty() { Picked::Dropped } else { Picked::Odd(crate::compare::tell_sent(sent)) };
        };
        let packet = Packet(&only.packet);
        if only.port == EXT && packet.protocol() == protocol::ICMP && packet.destination() == *client.ip() {
            return Picked::Told(packet.payload()[0], packet.payload()[1]);
        }
        if self.nat {
            return Picked::Server(SocketAddrV4::new(packet.destination(), packet.destination_port()));
        }
        // DR and TUN leave the ports alone; the neighbour tells the server.
        match only.mac {
            [2, 0, 0, 0, 1, k] if only.mac == mac::server(k) => {
                Picked::Server(SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, k), target.port()))
            }
            _ => Picked::Odd(crate::compare::tell_sent(sent)),
        }
    }

    fn ask(&mut self, connection: Connection, letters: &str) {
        self.subject.client_sends(&tcp(connection.client, connection.target, flags(letters), 1001, 5001, &[]));
    }

    /// A segment of the server, where its segments pass by here.
    fn answer(&mut self, connection: Connection, letters: &str) {
        if self.nat {
            let segment = tcp(connection.server, connection.client, flags(letters), 5000, 1001, &[]);
            self.subject.server_sends(*connection.server.ip(), &segment);
        }
    }

    fn close(&mut self, connection: Connection, reset: bool) {
        if reset {
            return self.ask(connection, "R");
        }
        self.ask(connection, "FA");
        if self.nat {
            self.answer(connection, "FA");
            self.ask(connection, "A");
        }
    }

    /// Repeats what only counts are known of: no server's share may differ by more than a twentieth of all.
    fn draw(&mut self, recorded: &Recorded, expected: &HashMap<String, u32>) {
        let total: u32 = expected.values().sum();
        let mut counts: HashMap<String, u32> = expected.keys().map(|server| (server.clone(), 0)).collect();
        for n in 0..total {
            let client = SocketAddrV4::new(Ipv4Addr::from(0x0A01_0000 + n / 60_000), (1024 + n % 60_000) as u16);
            let picked = self.open(client, SocketAddrV4::new(Ipv4Addr::new(172, 16, 0, 1), 80), &recorded.mode);
            *counts.entry(picked.to_string()).or_default() += 1;
        }
        let near =
            |(server, count): (&String, &u32)| count.abs_diff(expected.get(server).copied().unwrap_or(0)) <= total / 20;
        if !counts.iter().all(near) {
            self.differs("counts", format!("about {expected:?}"), format!("{counts:?}"));
        }
    }

    fn compare_lists(&mut self, recorded: &Recorded) {
        self.subject.wait(MOMENT);
        if let Some(got) = shell::run(&mut self.subject, "ipvsadm -Ln", "")
            && got.output != recorded.final_services
        {
            self.differs("ipvsadm -Ln", &recorded.final_services, &got.output);
        }
        if let Some(expected) = &recorded.final_connections
            && let Some(got) = shell::run(&mut self.subject, "ipvsadm -Lnc", "")
            && !same_connections(expected.lines(), got.output.lines(), Times::Unknown)
        {
            self.differs("ipvsadm -Lnc", expected, &got.output);
        }
    }
}
