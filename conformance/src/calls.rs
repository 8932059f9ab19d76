//! `ipvsadm/*.json`: what every call printed.

use crate::kernel::mac;
use crate::packet::{flags, tcp, udp};
use crate::packets::same_print;
use crate::report::{Case, Outcome};
use crate::rig::{Rig, Setup, ages};
use crate::shell::{self, Printed};
use crate::subject::Subject;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};

#[derive(Deserialize)]
struct Recording {
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Step {
    Call(Call),
    Connection {
        conn: Connection,
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

#[derive(Deserialize)]
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

#[derive(Deserialize)]
struct Connection {
    proto: String,
    fwd: String,
    client: SocketAddrV4,
    dst: SocketAddrV4,
    mode: String,
    server: SocketAddrV4,
}

/// Replays a file. Rates depend on when the estimator looked and on how long each call took: what fits is searched for.
///
/// # Errors
/// It is no recording.
pub fn replay(text: &str, skip: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Case>, String> {
    let recording: Recording = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut best = Attempt::new(&recording, Unknown::default(), skip)?;
    if recording.steps.iter().any(|step| matches!(step, Step::Call(call) if call.cmd.contains("--rate"))) {
        for (pace, age) in PACES.iter().flat_map(|pace| ages().map(move |age| (*pace, age))) {
            best = best.or(|| Attempt::new(&recording, Unknown { pace, age }, skip))?;
        }
    }
    Ok(best.cases)
}

/// What nobody noted.
#[derive(Clone, Copy, Default)]
struct Unknown {
    /// How long a call took, ticks.
    pace: u32,
    /// How old the director was, ticks.
    age: u32,
}

/// How long a call may have taken on a busy machine, ticks.
const PACES: [u32; 3] = [10, 5, 15];

/// A replay with some choice of what nobody noted.
struct Attempt {
    failed: usize,
    cases: Vec<Case>,
}

impl Attempt {
    fn new(recording: &Recording, unknown: Unknown, skip: &dyn Fn(&str) -> Option<String>) -> Result<Self, String> {
        let cases = with(recording, unknown, skip)?;
        let failed = cases.iter().filter(|case| matches!(case.outcome, Outcome::Failed { .. })).count();
        Ok(Self { failed, cases })
    }

    /// The better of two, the other being made only if this one has failures.
    fn or(self, other: impl FnOnce() -> Result<Self, String>) -> Result<Self, String> {
        if self.failed == 0 {
            return Ok(self);
        }
        let other = other()?;
        Ok(if other.failed < self.failed { other } else { self })
    }
}

/// True if this list shows in which order the kernel holds services. A sorted one does, too: ipvsadm's comparison is not
/// transitive.
fn shows_order(list: &str) -> bool {
    let is_service = |line: &&str| ["TCP ", "UDP ", "SCTP ", "FWM ", "-A "].iter().any(|word| line.starts_with(word));
    !list.starts_with("IPVS connection") && list.lines().filter(is_service).count() > 1
}

/// The cases of a replay.
fn with(recording: &Recording, unknown: Unknown, skip: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Case>, String> {
    let addresses: BTreeSet<Ipv4Addr> = recording
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Connection { conn } => Some(*conn.dst.ip()),
            Step::Call(call) => shell::added_address(&call.cmd),
            _ => None,
        })
        .collect();
    let setup = Setup { addresses: addresses.into_iter().collect(), age: unknown.age, ..Setup::default() };
    let mut replay = Replay {
        rig: Rig::new(&setup),
        setup,
        base: Vec::new(),
        service: None,
        pace: unknown.pace,
        keys: (0..=u8::MAX).collect(),
    };
    let mut cases = Vec::new();
    for step in &recording.steps {
        match step {
            Step::Note { .. } => {}
            Step::Wait { wait } => replay.rig.wait(*wait),
            Step::Connection { conn } => cases.extend(replay.connection(conn)),
            Step::Traffic { traffic } => replay.traffic(traffic)?,
            Step::Base { base } => replay.base.clone_from(base),
            Step::Call(call) => cases.push(match skip(&call.cmd) {
                Some(reason) => Case::skipped(&call.cmd, reason),
                None => replay.call(call),
            }),
        }
    }
    Ok(cases)
}

struct Replay {
    rig: Rig,
    setup: Setup,
    base: Vec<String>,
    /// The UDP service that was added last.
    service: Option<SocketAddrV4>,
    pace: u32,
    /// The kernel's order of services depends on a number that was random at each boot: those that fit so far.
    keys: Vec<u8>,
}

impl Replay {
    fn print(&mut self, line: &str, input: &str) -> Printed {
        let unknown = || Printed { status: 127, errors: "not known here".to_owned(), ..Printed::default() };
        shell::run(&mut self.rig, line, input).unwrap_or_else(unknown)
    }

    /// Prints a list in each order that is possible until now; from here on only those are that made it match.
    fn print_in_some_order(&mut self, line: &str, matches: impl Fn(&Printed) -> bool) -> Printed {
        let keys = std::mem::take(&mut self.keys);
        let mut print = |key: &u8| {
            self.rig.set_hash_key(*key);
            self.print(line, "")
        };
        let fitting: Vec<u8> = keys.iter().copied().filter(|key| matches(&print(key))).collect();
        self.keys = if fitting.is_empty() { keys } else { fitting };
        self.rig.set_hash_key(self.keys[0]);
        self.print(line, "")
    }

    fn call(&mut self, call: &Call) -> Case {
        if !self.base.is_empty() {
            self.rig = Rig::new(&self.setup);
            self.rig.set_hash_key(self.keys[0]);
            for line in self.base.clone() {
                self.print(&line, "");
            }
        }
        if let Some(service) = call.cmd.strip_prefix("ipvsadm -A -u ") {
            self.service = service.split(' ').next().and_then(|service| service.parse().ok());
        }
        let before = call.state_after.as_ref().map(|_| self.print("ipvsadm -Sn", "").output);
        let expected = Printed { status: call.rc, output: call.out.clone(), errors: call.err.clone() };
        let matches = |got: &Printed| same_print(&expected, got);
        let got = match shows_order(&call.out) {
            true => self.print_in_some_order(&call.cmd, matches),
            false => self.print(&call.cmd, &call.stdin),
        };
        self.rig.pass(self.pace);
        if !matches(&got) {
            return Case::failed(&call.cmd, expected, got);
        }
        if let (Some(before), Some(after)) = (before, &call.state_after) {
            let after = if after == "unchanged" { &before } else { after };
            let got = self.print_in_some_order("ipvsadm -Sn", |got| got.output == *after).output;
            if *after != got {
                return Case::failed(&call.cmd, format!("afterwards\n{after}"), format!("afterwards\n{got}"));
            }
        }
        Case::passed(&call.cmd)
    }

    /// Opens a connection, and perhaps closes it. A case only if it does not find its server.
    fn connection(&mut self, conn: &Connection) -> Option<Case> {
        let Connection { client, dst, server, .. } = conn;
        let (nat, datagram) = (conn.fwd == "nat", conn.proto == "udp");
        let ask = |letters: &str| tcp(*client, *dst, flags(letters), 1001, 5001, &[]);
        let first = if datagram { udp(*client, *dst, b"x") } else { tcp(*client, *dst, flags("S"), 1000, 0, &[]) };
        let sent = self.rig.client_sends(&first);
        let found = sent.iter().any(|sent| sent.mac == mac::server(server.ip().octets()[3]));
        let answer = |rig: &mut Rig, letters: &str| {
            if nat {
                let reply = if datagram {
                    udp(*server, *client, b"y")
                } else {
                    tcp(*server, *client, flags(letters), 5000, 1001, &[])
                };
                rig.server_sends(*server.ip(), &reply);
            }
        };
        match conn.mode.as_str() {
            "udp" => {}
            "udpr" => answer(&mut self.rig, ""),
            mode => {
                answer(&mut self.rig, "SA");
                self.rig.client_sends(&ask("A"));
                if mode == "closed" {
                    self.rig.client_sends(&ask("FA"));
                    answer(&mut self.rig, "FA");
                    if nat {
                        self.rig.client_sends(&ask("A"));
                    }
                }
            }
        }
        let name = format!("{client} to {dst}");
        (!found).then(|| Case::failed(name, server, crate::compare::tell_sent(&sent)))
    }

    /// `N UDP packets of L bytes (IP length) in F flows`, and time for the estimator to see them.
    fn traffic(&mut self, text: &str) -> Result<(), String> {
        let numbers: Vec<usize> = text.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
        let ([count, length, flows], Some(service)) = (&numbers[..], self.service) else {
            return Err(format!("unknown traffic '{text}'"));
        };
        let client = |flow: usize| SocketAddrV4::new(Ipv4Addr::new(10, 9, 8, 1), (5000 + flow) as u16);
        let data = vec![0; length.saturating_sub(28)];
        let packets: Vec<_> = (0..(*flows).max(1)).map(|flow| udp(client(flow), service, &data)).collect();
        // The recorder sent them by the batch.
        for n in 0..count.next_multiple_of(64) {
            self.rig.client_sends(&packets[n % packets.len()]);
        }
        self.rig.wait(2.1);
        Ok(())
    }
}
