//! A timeline: at each moment a command, a packet, or a list.

use super::{Recording, Scene, masked, number, tell, text, written};
use crate::listing::{Times, ending, same_connections, same_services};
use crate::report::{Case, Difference};
use crate::rig::ages;
use crate::subject::Subject;
use serde_json::Value;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Differences that are told; the rest often follows from the first.
const TOLD: usize = 4;

pub(super) fn replay(recording: &Recording, log: &[Vec<Value>]) -> Result<Case, String> {
    let mut best: Option<Vec<Difference>> = None;
    for age in ages() {
        let differences = replay_at(recording, log, age)?;
        if best.as_ref().is_none_or(|best| differences.len() < best.len()) {
            best = Some(differences);
        }
        if best.as_ref().is_some_and(Vec::is_empty) {
            break;
        }
    }
    let mut differences = best.unwrap_or_default();
    differences.truncate(TOLD);
    Ok(Case::of(&recording.id, differences))
}

/// Replays a timeline that begins at this age of the director.
fn replay_at(recording: &Recording, log: &[Vec<Value>], age: u32) -> Result<Vec<Difference>, String> {
    let mut scene = Scene::new(1000, age);
    scene.set(recording.sysctl.iter().map(|(name, value)| (name.as_str(), written(value))))?;
    let (mut differences, mut now) = (Vec::new(), 0.0);
    for (at, entry) in log.iter().enumerate() {
        let moment = moment(entry);
        if moment > now {
            scene.rig.wait(moment - now);
            now = moment;
        }
        let told = |expected: String, got: String| {
            Difference::new(format!("entry {at} at {now} s, {}", text(entry, 1).unwrap_or_default()), expected, got)
        };
        if let Some((expected, got)) = replay_entry(&mut scene, log, at)? {
            differences.push(told(expected, got));
        }
    }
    Ok(differences)
}

fn moment(entry: &[Value]) -> f64 {
    entry.first().and_then(Value::as_f64).unwrap_or_default()
}

/// What was recorded and what RVS did, if they differ.
fn replay_entry(scene: &mut Scene, log: &[Vec<Value>], at: usize) -> Result<Option<(String, String)>, String> {
    let entry = &log[at];
    let differ = |same: bool, expected: &str, got: &str| (!same).then(|| (expected.to_owned(), got.to_owned()));
    Ok(match text(entry, 1)? {
        "cmd" => {
            let (line, output) = (text(entry, 2)?, text(entry, 4)?);
            let status = number(entry, 3)? as u8;
            let got = scene.command(line)?;
            let same = got.status == status && got.output == output;
            differ(same, &format!("{line}\nexit {status}\n{output}"), &got.to_string())
        }
        "Ln" => {
            let expected = lines(entry)?;
            let got = scene.command("ipvsadm -Ln")?.output;
            let got: Vec<&str> = got.lines().skip(3).collect();
            let same = same_services(expected.iter().map(String::as_str), got.iter().copied(), &over(log, at));
            differ(same, &expected.join("\n"), &got.join("\n"))
        }
        "Lnc" => {
            let expected = lines(entry)?;
            let got = scene.command("ipvsadm -Lnc")?.output;
            let got: Vec<&str> = got.lines().skip(2).collect();
            let same = same_connections(expected.iter().map(String::as_str), got.iter().copied(), Times::Exact);
            differ(same, &expected.join("\n"), &got.join("\n"))
        }
        kind @ ("tcp" | "udp") => {
            let client: SocketAddrV4 = text(entry, 3)?.parse().map_err(|_| "a client that is no endpoint")?;
            let (word, port) = (text(entry, 2)?, number(entry, 4)? as u16);
            let expected: Vec<String> = entry
                .get(5)
                .and_then(Value::as_array)
                .map(|texts| texts.iter().map(written).collect())
                .ok_or("a packet without results")?;
            let server = untranslated(&expected);
            let sent = match kind {
                "tcp" => scene.segment(word, client, port, server),
                _ => scene.datagram(word, client, port, server),
            };
            let got = tell(&sent);
            let mask = |texts: &[String]| texts.iter().map(|text| masked(text)).collect::<Vec<_>>();
            let what = format!("{word} of {client}\n");
            differ(mask(&expected) == mask(&got), &(what.clone() + &expected.join("\n")), &(what + &got.join("\n")))
        }
        kind => return Err(format!("entry of unknown kind '{kind}'")),
    })
}

fn lines(entry: &[Value]) -> Result<Vec<String>, String> {
    let rows = entry.get(2).and_then(Value::as_array).ok_or("a list without rows")?;
    Ok(rows.iter().map(written).collect())
}

/// The server whose reply came out as it was sent.
fn untranslated(expected: &[String]) -> Option<Ipv4Addr> {
    let (source, _) = expected.first()?.strip_prefix("ext ")?.split_once('>')?;
    source.parse().ok().filter(|address: &Ipv4Addr| address.octets()[..3] == [192, 168, 1])
}

/// Connections of each server that the kernel listed at this moment with no time left.
fn over(log: &[Vec<Value>], at: usize) -> HashMap<String, u32> {
    let now = moment(&log[at]);
    let same_moment = |entry: &&Vec<Value>| (moment(entry) - now).abs() < 0.01 && text(entry, 1) == Ok("Lnc");
    let list = log[at..].iter().chain(log[..at].iter().rev()).find(same_moment);
    let rows = list.and_then(|entry| lines(entry).ok()).unwrap_or_default();
    ending(rows.iter().map(String::as_str))
}
