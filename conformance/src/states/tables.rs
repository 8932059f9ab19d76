//! Tables: what state a sequence of packets leads to, how it counts, and what a new SYN does to it.

use super::{CLIENT, Recording, Scene, VIP, number, text, written};
use crate::report::Case;
use crate::subject::Subject;
use forwarder::clock::TICKS_PER_SECOND;
use forwarder::pipeline::ConnView;
use serde_json::Value;
use std::net::SocketAddrV4;

/// Columns of a row of [`active_counts`], and of [`reuse`].
pub(super) const ACTIVE_COUNTS: usize = 5;
pub(super) const REUSE: usize = 8;

/// The n-th client.
fn client(n: usize) -> SocketAddrV4 {
    SocketAddrV4::new(CLIENT, 2000 + n as u16)
}

/// `map`: packet sequence to state and seconds to expiry. Each sequence is a connection of its own.
pub(super) fn sequences(recording: &Recording, map: &serde_json::Map<String, Value>) -> Result<Vec<Case>, String> {
    let mut scene = Scene::new(map.len() * 2, 0);
    scene.set(recording.sysctl.iter().map(|(name, value)| (name.as_str(), written(value))))?;
    scene.service('t', 80, &recording.fwd, &[2])?;
    for line in &recording.extra_cmds {
        scene.must(line.as_str().or_else(|| line.get(0).and_then(Value::as_str)).unwrap_or_default())?;
    }
    let mut cases = Vec::new();
    for (n, (sequence, expected)) in map.iter().enumerate() {
        for word in sequence.split(' ') {
            scene.segment(word, client(n), 80, None);
        }
        let got = of_client(&mut scene, client(n));
        cases.push(match (expected.as_array(), newest(&got)) {
            (None, None) => Case::passed(sequence),
            (Some(row), Some((state, seconds)))
                if row[0] == state && row[1].as_u64().is_some_and(|n| n.abs_diff(seconds.into()) <= 1) =>
            {
                Case::passed(sequence)
            }
            (_, got) => Case::failed(sequence, expected, format!("{got:?}")),
        });
    }
    if let Some(expected) = &recording.services_after_all {
        let name = "ipvsadm -Ln after all";
        let before = scene.command("ipvsadm -Ln")?.output;
        // Entries whose place was taken go a moment later; how long a moment the recorder waited nobody noted.
        scene.rig.wait(1.0);
        let after = scene.command("ipvsadm -Ln")?.output;
        cases.push(if is_between(expected, &before, &after) {
            Case::passed(name)
        } else {
            Case::failed(name, expected, format!("{before}and a moment later\n{after}"))
        });
    }
    Ok(cases)
}

/// True if a list of services is one of these two, or between them: each number of it, and all else as in both.
fn is_between(list: &str, before: &str, after: &str) -> bool {
    let words = |list: &str| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let (list, before, after) = (words(list), words(before), words(after));
    let number = |word: &str| word.parse::<u32>().ok();
    let between =
        |((word, before), after): ((&String, &String), &String)| match (number(word), number(before), number(after)) {
            (Some(word), Some(before), Some(after)) => (after..=before).contains(&word),
            _ => word == before && word == after,
        };
    let same_length = list.len() == before.len() && list.len() == after.len();
    same_length && list.iter().zip(&before).zip(&after).all(between)
}

fn of_client(scene: &mut Scene, client: SocketAddrV4) -> Vec<ConnView> {
    scene.rig.connections().into_iter().filter(|view| view.client == client).collect()
}

/// State and time left of a connection; that of one which has ended only if there is no other.
fn newest(views: &[ConnView]) -> Option<(&'static str, u32)> {
    let newest = views.iter().max_by_key(|view| view.expires)?;
    Some((newest.state, newest.expires.div_ceil(TICKS_PER_SECOND)))
}

/// Rows of method, packets, state, ActiveConn, InActConn, each with exactly one connection.
pub(super) fn active_counts(rows: &[Vec<Value>]) -> Result<Vec<Case>, String> {
    let case = |row: &Vec<Value>| {
        let (fwd, packets) = (text(row, 0)?, text(row, 1)?);
        let mut scene = Scene::new(100, 0);
        if packets == "udp" {
            scene.service('u', 53, fwd, &[2])?;
            scene.datagram("request", client(0), 53, None);
        } else {
            scene.service('t', 80, fwd, &[2])?;
            packets.split(' ').for_each(|word| {
                scene.segment(word, client(0), 80, None);
            });
        }
        let state = of_client(&mut scene, client(0)).first().map_or("none", |view| view.state);
        let list = scene.command("ipvsadm -Ln")?.output;
        let counts = list.lines().last().unwrap_or_default().split_whitespace().rev();
        let counts: Vec<String> = counts.take(2).map(str::to_owned).collect();
        let expected = format!("{} {} {}", text(row, 2)?, number(row, 3)?, number(row, 4)?);
        let got = format!("{state} {} {}", counts[1], counts[0]);
        let name = format!("{fwd} {packets}");
        Ok(if expected == got { Case::passed(name) } else { Case::failed(name, expected, got) })
    };
    rows.iter().map(case).collect()
}

/// Rows of method, conn_reuse_mode, expire_nodest_conn, `live` or `w0`, packets, state, where the new SYN went, and the
/// entries after it.
pub(super) fn reuse(rows: &[Vec<Value>]) -> Result<Vec<Case>, String> {
    let case = |row: &Vec<Value>| {
        let (fwd, packets) = (text(row, 0)?, text(row, 4)?);
        let mut scene = Scene::new(100, 0);
        scene.service('t', 80, fwd, &[2, 3])?;
        let settings = [("conn_reuse_mode", number(row, 1)?), ("expire_nodest_conn", number(row, 2)?)];
        scene.set(settings.map(|(name, value)| (name, value.to_string())))?;
        packets.split(' ').for_each(|word| {
            scene.segment(word, client(0), 80, None);
        });
        let before = of_client(&mut scene, client(0)).first().map_or("none", |view| view.state);
        if text(row, 3)? == "w0" {
            let method = if fwd == "nat" {
                "-m"
            } else if fwd == "dr" {
                "-g"
            } else {
                "-i"
            };
            scene.must(&format!("ipvsadm -e -t {VIP}:80 -r 192.168.1.3:80 {method} -w 0"))?;
        }
        let sent = scene.segment("cS", client(0), 80, None);
        let went: Vec<String> = sent.iter().map(|sent| format!("server {}", sent.mac[5])).collect();
        let mut after: Vec<&str> = of_client(&mut scene, client(0)).iter().map(|view| view.state).collect();
        after.sort_unstable();
        let states = row.get(7).and_then(Value::as_array).ok_or("a row without entries")?;
        let mut expected_after: Vec<String> = states.iter().map(|entry| written(&entry[0])).collect();
        expected_after.sort_unstable();
        let expected_went: Vec<String> = row[6].as_array().into_iter().flatten().map(written).collect();
        let name = format!(
            "{fwd} conn_reuse_mode={} expire_nodest_conn={} {} {packets}",
            number(row, 1)?,
            number(row, 2)?,
            text(row, 3)?
        );
        let expected = format!("{}, then {expected_went:?}, entries {expected_after:?}", text(row, 5)?);
        let got = format!("{before}, then {went:?}, entries {after:?}");
        Ok(if expected == got { Case::passed(name) } else { Case::failed(name, expected, got) })
    };
    rows.iter().map(case).collect()
}
