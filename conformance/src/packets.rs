//! `packets/*.json`: packets sent in, and every byte that came out.

use crate::compare::{Recorded as Out, same, tell_recorded, tell_sent};
use crate::kernel::mac;
use crate::listing::{Times, same_connections};
use crate::packet::from_hex;
use crate::report::{Case, Difference};
use crate::rig::{Rig, Setup};
use crate::shell::{self, Printed};
use crate::subject::{Subject, port};
use control::state::Settings;
use serde::Deserialize;
use std::net::Ipv4Addr;

/// Differences of one file that are told; the rest often follows from the first.
const TOLD: usize = 5;

/// Between two events some time passed, seconds.
const MOMENT: f64 = 0.02;

#[derive(Deserialize)]
struct Recording {
    desc: String,
    events: Vec<Event>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Event {
    Packet {
        tx: String,
        #[serde(default)]
        from_rs: Option<u8>,
        #[serde(default)]
        note: String,
        hex: String,
        rx: Vec<Out>,
    },
    Command {
        cmd: String,
        rc: u8,
        out: String,
        err: String,
    },
    Wait {
        wait: f64,
        #[serde(default)]
        rx: Vec<Out>,
    },
}

/// Replays a file: one case.
///
/// # Errors
/// It is no recording.
pub fn replay(text: &str, _: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Case>, String> {
    replay_on(text, |int_mtu| Rig::new(&Setup { int_mtu, ..Setup::default() }))
}

/// The same on a director with this MTU towards the real servers.
///
/// # Errors
/// It is no recording.
pub fn replay_on<S: Subject>(text: &str, subject: impl FnOnce(u16) -> S) -> Result<Vec<Case>, String> {
    let recording: Recording = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut subject = subject(mtu(&recording.desc));
    if let Some((name, value)) = settings(&recording.desc).into_iter().find(|(name, value)| !subject.set(name, value)) {
        return Err(format!("{name}={value} is refused"));
    }
    let mut differences = Vec::new();
    for (at, event) in recording.events.iter().enumerate() {
        subject.wait(MOMENT);
        if let Some(difference) = replay_event(&mut subject, at, event)? {
            differences.push(difference);
        }
    }
    differences.truncate(TOLD);
    Ok(vec![Case::of(recording.desc, differences)])
}

/// The settings that a recording was made with: its description says NAME=VALUE.
fn settings(description: &str) -> Vec<(&str, &str)> {
    let known = Settings::default().list();
    let words = description.split([' ', ',', ':', ';', '(', ')']).filter_map(|word| word.split_once('='));
    let plain = words.map(|(name, value)| (name.strip_prefix("net.ipv4.vs.").unwrap_or(name), value));
    plain.filter(|(name, _)| known.iter().any(|setting| setting.name == *name)).collect()
}

/// The MTU of the real servers' interface.
fn mtu(description: &str) -> u16 {
    let said = description.split_once("int MTU ").map(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next());
    said.flatten().and_then(|mtu| mtu.parse().ok()).unwrap_or(1500)
}

fn replay_event(subject: &mut impl Subject, at: usize, event: &Event) -> Result<Option<Difference>, String> {
    Ok(match event {
        Event::Packet { tx, from_rs, note, hex, rx } => {
            let packet = from_hex(hex).ok_or("a packet that is not hexadecimal")?;
            let from = from_rs.map_or(mac::GATEWAY, mac::server);
            let sent = subject.send(port(tx), from, &packet);
            let told = || Difference::new(format!("event {at}, {note}"), tell_recorded(rx), tell_sent(&sent));
            (!same(rx, &sent, &own())).then(told)
        }
        Event::Command { cmd, rc, out, err } => {
            let expected = Printed { status: *rc, output: out.clone(), errors: err.clone() };
            let got = shell::run(subject, cmd, "").ok_or_else(|| format!("'{cmd}' is not known here"))?;
            let told = || Difference::new(format!("event {at}, {cmd}"), &expected, &got);
            (!same_print(&expected, &got)).then(told)
        }
        Event::Wait { wait, rx } => {
            subject.wait(*wait);
            let told = || Difference::new(format!("event {at}, while waiting"), tell_recorded(rx), "(nothing)");
            (!rx.is_empty()).then(told)
        }
    })
}

/// Equal, but for the times and the order of connections.
#[must_use]
pub fn same_print(expected: &Printed, got: &Printed) -> bool {
    let titles = ["IPVS connection entries\n", "Pro FromIP "];
    let of = |printed: &Printed| titles.iter().position(|title| printed.output.starts_with(title));
    if of(expected).is_some() && of(expected) == of(got) {
        expected.status == got.status
            && expected.errors == got.errors
            && same_connections(expected.output.lines(), got.output.lines(), Times::Unknown)
    } else {
        expected == got
    }
}

/// Addresses of the recorded director.
fn own() -> [Ipv4Addr; 3] {
    [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(172, 16, 0, 1), Ipv4Addr::new(192, 168, 1, 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_say_what_was_set() {
        let text = "existing connections; expire_nodest_conn=0 expire_quiescent_template=1";
        assert_eq!(settings(text), [("expire_nodest_conn", "0"), ("expire_quiescent_template", "1")]);
        assert_eq!(settings("loaded, net.ipv4.vs.conntrack=1: active"), [("conntrack", "1")]);
        assert_eq!(settings("not owned with ip_nonlocal_bind=1"), []);
        assert_eq!((mtu("int MTU 1400, sysctl pmtu_disc=0"), mtu("TCP session")), (1400, 1500));
    }
}
