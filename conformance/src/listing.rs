//! ipvsadm's listings, compared: connections as a set with their times, servers with their counts.

use std::collections::HashMap;

/// The kernel's timers are late by up to an eighth of their time, and those of templates that live on run again and
/// again: so far a template may be off, seconds.
const TEMPLATE: u32 = 10;

/// What may differ between a recorded list of connections and ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Nobody noted the moment: any time is right.
    Unknown,
    /// Recorded to the second.
    Exact,
}

/// A row of `-Lnc`, or of the kernel's ip_vs_conn and ip_vs_conn_sync.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    /// All but the time.
    what: String,
    /// Seconds to live.
    left: u32,
}

impl Row {
    fn parse(line: &str) -> Self {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        // ipvsadm has the time here, the kernel's files the client's address in hexadecimal
        let of_kernel = words.get(1).is_some_and(|word| word.len() == 8 && !word.contains(':') || word.len() == 39);
        let place = match words.get(8) {
            Some(&("LOCAL" | "SYNC")) if of_kernel => 9,
            _ if of_kernel => 8,
            _ => 1,
        };
        let time = words.get(place).copied().unwrap_or_default();
        let left = time.rsplit(':').zip([1, 60, 3600]).map(|(n, unit)| n.parse().unwrap_or(0) * unit).sum();
        if words.len() > place {
            words.remove(place);
        }
        Self { what: words.join(" "), left }
    }

    /// Templates have no client port.
    fn is_template(&self) -> bool {
        self.what.split(' ').nth(2).is_some_and(|client| client.ends_with(":0"))
    }

    /// It may be there in one list and not in the other: its end was near.
    fn is_ending(&self) -> bool {
        self.left == 0 || self.is_template() && self.left <= TEMPLATE
    }

    fn near(&self, other: &Self) -> bool {
        let apart = self.left.abs_diff(other.left);
        let lives_on = self.is_template() && self.left.max(other.left) <= 60;
        apart <= 1 || lives_on && apart.min(60 - apart) <= TEMPLATE
    }
}

/// True if two lists of connections, without titles, say the same.
#[must_use]
pub fn same_connections<'a>(
    expected: impl IntoIterator<Item = &'a str>,
    got: impl IntoIterator<Item = &'a str>,
    times: Times,
) -> bool {
    let mut expected: Vec<Row> = expected.into_iter().map(Row::parse).collect();
    let mut got: Vec<Row> = got.into_iter().map(Row::parse).collect();
    expected.sort();
    got.sort();
    if times == Times::Unknown {
        let what = |rows: &[Row]| rows.iter().map(|row| row.what.clone()).collect::<Vec<_>>();
        return what(&expected) == what(&got);
    }
    expected.retain(|row| match got.iter().position(|other| other.what == row.what && other.near(row)) {
        Some(at) => {
            got.remove(at);
            false
        }
        None => true,
    });
    expected.iter().chain(&got).all(Row::is_ending)
}

/// How many connections of each server a list of connections shows with no time left: the kernel may still count them.
#[must_use]
pub fn ending<'a>(connections: impl IntoIterator<Item = &'a str>) -> HashMap<String, u32> {
    let mut ending = HashMap::new();
    for row in connections.into_iter().map(Row::parse).filter(|row| row.left == 0 && !row.is_template()) {
        let server = row.what.rsplit(' ').next().unwrap_or_default();
        *ending.entry(server.to_owned()).or_default() += 1;
    }
    ending
}

/// True if two lists of services, without titles, say the same, where a server may lack up to as many connections as
/// `ending` says.
#[must_use]
pub fn same_services<'a>(
    expected: impl IntoIterator<Item = &'a str>,
    got: impl IntoIterator<Item = &'a str>,
    ending: &HashMap<String, u32>,
) -> bool {
    let (expected, got): (Vec<_>, Vec<_>) = (expected.into_iter().collect(), got.into_iter().collect());
    let same = |(expected, got): (&&str, &&str)| {
        expected == got
            || match (counts(expected), counts(got)) {
                (Some((server, expected)), Some((other, got))) if server == other => {
                    let missing = expected.checked_sub(got);
                    let address = server.split_whitespace().nth(1).unwrap_or_default();
                    missing.is_some_and(|missing| missing <= ending.get(address).copied().unwrap_or(0))
                }
                _ => false,
            }
    };
    expected.len() == got.len() && expected.iter().zip(&got).all(same)
}

/// A server's row without its connections, and how many it has.
fn counts(line: &str) -> Option<(&str, u32)> {
    let line = line.trim_end();
    let (rest, inactive) = line.rsplit_once(' ')?;
    let (rest, active) = rest.trim_end().rsplit_once(' ')?;
    Some((rest.trim_end(), active.parse::<u32>().ok()? + inactive.parse::<u32>().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "TCP 02:00  TIME_WAIT   10.7.7.7:2000      172.16.0.1:80      192.168.1.2:80";
    const OVER: &str = "TCP 00:00  TIME_WAIT   10.7.7.7:2000      172.16.0.1:80      192.168.1.2:80";
    const TEMPLATE: &str = "TCP 00:58  ASSURED     10.7.7.7:0         172.16.0.1:80      192.168.1.3:80";

    #[test]
    fn connections_are_a_set_with_times() {
        assert!(same_connections([ROW, TEMPLATE], [TEMPLATE, ROW], Times::Exact));
        assert!(same_connections([ROW], [&*ROW.replace("02:00", "01:59")], Times::Exact));
        assert!(!same_connections([ROW], [&*ROW.replace("02:00", "01:50")], Times::Exact));
        assert!(same_connections([ROW], [&*ROW.replace("02:00", "01:50")], Times::Unknown));
        assert!(!same_connections([ROW], [], Times::Exact));
        assert!(!same_connections([ROW], [ROW, ROW], Times::Exact));
        assert!(!same_connections([ROW], [&*ROW.replace("TIME_WAIT", "CLOSE")], Times::Unknown));
    }

    #[test]
    fn only_what_is_over_may_be_gone() {
        assert!(same_connections([OVER], [], Times::Exact) && same_connections([], [OVER], Times::Exact));
        assert!(!same_connections([OVER], [], Times::Unknown));
        assert!(same_connections([TEMPLATE], [&*TEMPLATE.replace("00:58", "00:02")], Times::Exact));
        assert!(!same_connections([TEMPLATE], [&*TEMPLATE.replace("00:58", "00:30")], Times::Exact));
    }

    #[test]
    fn counts_may_lack_what_is_over() {
        let list = |active, inactive| format!("  -> 192.168.1.2:80    Masq    1      {active}   {inactive}         ");
        let over = ending([OVER, ROW]);
        assert_eq!(over, HashMap::from([("192.168.1.2:80".to_owned(), 1)]));
        assert!(same_services([&*list(0, 2)], [&*list(0, 1)], &over));
        assert!(!same_services([&*list(0, 3)], [&*list(0, 1)], &over));
        assert!(!same_services([&*list(0, 1)], [&*list(0, 2)], &over));
        assert!(!same_services([&*list(0, 2)], [&*list(0, 1)], &HashMap::new()));
    }
}
