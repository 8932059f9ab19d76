//! `states/*.json`: connections' states and times, in virtual time: timelines, and tables of packet sequences.

mod log;
mod tables;

use crate::packet::{Packet, flags, tcp, udp};
use crate::report::Case;
use crate::rig::{Rig, Setup};
use crate::shell::{self, Printed};
use crate::subject::{Sent, Subject};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddrV4};

const VIP: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 7, 7, 7);

#[derive(Deserialize)]
struct Recording {
    id: String,
    #[serde(default)]
    sysctl: BTreeMap<String, Value>,
    #[serde(default)]
    fwd: String,
    #[serde(default)]
    extra_cmds: Vec<Value>,
    log: Option<Vec<Vec<Value>>>,
    map: Option<serde_json::Map<String, Value>>,
    rows: Option<Vec<Vec<Value>>>,
    #[serde(rename = "Ln_after_all")]
    services_after_all: Option<String>,
}

/// Replays a file.
///
/// # Errors
/// It is no recording.
pub fn replay(text: &str, skip: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Case>, String> {
    let recording: Recording = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let cases = if let Some(log) = &recording.log {
        vec![log::replay(&recording, log)?]
    } else if let Some(map) = &recording.map {
        tables::sequences(&recording, map)?
    } else {
        match &recording.rows {
            Some(rows) if rows.iter().all(|row| row.len() == tables::ACTIVE_COUNTS) => tables::active_counts(rows)?,
            Some(rows) if rows.iter().all(|row| row.len() == tables::REUSE) => tables::reuse(rows)?,
            _ => return Err("this is no kind of recording that is known here".to_owned()),
        }
    };
    let or_skipped = |case: Case| skip(&case.name).map_or(case.clone(), |reason| Case::skipped(&case.name, reason));
    Ok(cases.into_iter().map(or_skipped).collect())
}

/// A director and its clients.
struct Scene {
    rig: Rig,
    /// The server that a client's packets last went to.
    servers: HashMap<SocketAddrV4, SocketAddrV4>,
}

impl Scene {
    fn new(connections: usize, age: u32) -> Self {
        Self { rig: Rig::new(&Setup { connections, age, ..Setup::default() }), servers: HashMap::new() }
    }

    /// Changes settings.
    fn set<'a>(&mut self, settings: impl IntoIterator<Item = (&'a str, String)>) -> Result<(), String> {
        for (name, value) in settings {
            if !self.rig.set(name, &value) {
                return Err(format!("{name}={value} is refused"));
            }
        }
        Ok(())
    }

    fn command(&mut self, line: &str) -> Result<Printed, String> {
        shell::run(&mut self.rig, line, "").ok_or_else(|| format!("'{line}' is not known here"))
    }

    /// A command that must work.
    fn must(&mut self, line: &str) -> Result<(), String> {
        let printed = self.command(line)?;
        if printed.status == 0 { Ok(()) } else { Err(format!("'{line}': {printed}")) }
    }

    /// A service on rr with these servers, the last of which gets the first connection.
    fn service(&mut self, letter: char, port: u16, fwd: &str, servers: &[u8]) -> Result<(), String> {
        let method = match fwd {
            "nat" => "-m",
            "dr" => "-g",
            "tun" => "-i",
            _ => return Err(format!("unknown method '{fwd}'")),
        };
        self.must(&format!("ipvsadm -A -{letter} {VIP}:{port} -s rr"))?;
        for server in servers {
            self.must(&format!("ipvsadm -a -{letter} {VIP}:{port} -r 192.168.1.{server}:{port} {method}"))?;
        }
        Ok(())
    }

    /// A segment in the recordings' words: `c` or `s` for who sends it, then its flags; P is data with ACK, F and R
    /// stand for FIN with ACK and RST alone, f for FIN alone.
    fn segment(&mut self, word: &str, client: SocketAddrV4, port: u16, server: Option<Ipv4Addr>) -> Vec<Sent> {
        let (sender, letters) = word.split_at(1);
        let bits = match letters {
            "P" => flags("PA"),
            "F" => flags("FA"),
            "f" => flags("F"),
            letters => flags(letters),
        };
        let data: &[u8] = if letters == "P" { b"data" } else { b"" };
        if sender == "c" {
            self.ask(client, &tcp(client, SocketAddrV4::new(VIP, port), bits, 1000, 2000, data))
        } else {
            let from = self.server(client, port, server);
            self.rig.server_sends(*from.ip(), &tcp(from, client, bits, 2000, 1000, data))
        }
    }

    /// A datagram: a `request`, or else its reply.
    fn datagram(&mut self, word: &str, client: SocketAddrV4, port: u16, server: Option<Ipv4Addr>) -> Vec<Sent> {
        if word == "request" {
            self.ask(client, &udp(client, SocketAddrV4::new(VIP, port), b"x"))
        } else {
            let from = self.server(client, port, server);
            self.rig.server_sends(*from.ip(), &udp(from, client, b"x"))
        }
    }

    fn ask(&mut self, client: SocketAddrV4, packet: &[u8]) -> Vec<Sent> {
        let sent = self.rig.client_sends(packet);
        if let [only] = sent.as_slice()
            && only.side() == "int"
        {
            let inner = Packet(&only.packet);
            let server = Ipv4Addr::new(192, 168, 1, only.mac[5]);
            self.servers.insert(client, SocketAddrV4::new(server, inner.destination_port()));
        }
        sent
    }

    /// Who answers: the one that the recording says, or who was asked.
    fn server(&self, client: SocketAddrV4, port: u16, said: Option<Ipv4Addr>) -> SocketAddrV4 {
        let asked = self.servers.get(&client).copied();
        let server = said.or_else(|| asked.map(|server| *server.ip())).unwrap_or(Ipv4Addr::new(192, 168, 1, 2));
        SocketAddrV4::new(server, port)
    }
}

/// What came out, as these recordings tell it.
fn tell(sent: &[Sent]) -> Vec<String> {
    sent.iter().map(|sent| format!("{} {}", sent.side(), crate::packet::describe(&sent.packet))).collect()
}

/// The same without the identification of a director's own ICMP.
fn masked(text: &str) -> String {
    let Some((before, after)) = text.split_once(" p=1 ttl=64 tos=0xc0 id=") else { return text.to_owned() };
    format!("{before} p=1 ttl=64 tos=0xc0 id=*{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// A value of a settings table, as it would be written to its file.
fn written(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn text(row: &[Value], at: usize) -> Result<&str, String> {
    row.get(at).and_then(Value::as_str).ok_or_else(|| format!("no text at {at} in {}", Value::from(row.to_vec())))
}

fn number(row: &[Value], at: usize) -> Result<u64, String> {
    row.get(at).and_then(Value::as_u64).ok_or_else(|| format!("no number at {at} in {}", Value::from(row.to_vec())))
}
