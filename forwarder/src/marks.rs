//! Firewall marks of our own: rules that give a first packet its mark, as iptables' `-j MARK` would. No iptables sees
//! packets before a director on DPDK does.
//!
//! The first rule that matches wins. The lookup is a tuple-space search (Srinivasan, Suri, Varghese 1999): rules with
//! the same protocol and prefix lengths share a hash map, so a lookup costs one probe for each combination in use, not
//! one comparison for each rule; and the ports of rules that differ in nothing else are cut into ranges with one answer each, so
//! that behind the probe there is a binary search.

use crate::service::{Mix, Protocol};
use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// An IPv4 prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Its first address.
    pub address: Ipv4Addr,
    /// Its length, 0 to 32.
    pub length: u8,
}

impl Prefix {
    /// Every address.
    pub const ANY: Self = Self { address: Ipv4Addr::UNSPECIFIED, length: 0 };
}

/// One marking rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkRule {
    /// Only this protocol, or any.
    pub protocol: Option<Protocol>,
    /// Clients it is for.
    pub source: Prefix,
    /// Destination addresses it is for.
    pub destination: Prefix,
    /// Destination ports it is for, host byte order.
    pub ports: RangeInclusive<u16>,
    /// The mark, not 0.
    pub mark: u32,
}

/// Rules in order of their priority, prepared for lookup.
#[derive(Clone, Debug, Default)]
pub struct MarkRules {
    tuples: Vec<Tuple>,
}

#[derive(Clone, Debug)]
struct Tuple {
    protocol: Option<Protocol>,
    source_mask: u32,
    destination_mask: u32,
    /// The best priority in this tuple: a better match elsewhere saves the probe.
    best: usize,
    rules: HashMap<u64, Ports, Mix>,
}

/// Priority and mark of a rule.
type Answer = (usize, u32);

/// A rule among those that differ in their ports alone.
type OnPorts = (RangeInclusive<u16>, Answer);

/// All ports, cut into ranges.
#[derive(Clone, Debug, Default)]
struct Ports {
    /// First ports of the ranges, rising; the first one is 0.
    starts: Vec<u16>,
    /// The best rule of each range, if there is any.
    answers: Vec<Option<Answer>>,
}

impl Ports {
    /// From the rules' ports and answers.
    fn new(rules: &[OnPorts]) -> Self {
        // Where rules begin and end, in the order of ports.
        let mut edges: Vec<(u32, bool, Answer)> = rules
            .iter()
            .filter(|(ports, _)| !ports.is_empty())
            .flat_map(|(ports, answer)| {
                [(u32::from(*ports.start()), true, *answer), (u32::from(*ports.end()) + 1, false, *answer)]
            })
            .collect();
        edges.sort_unstable();
        let (mut open, mut ports) = (BTreeSet::new(), Self { starts: vec![0], answers: vec![None] });
        for (at, begins, answer) in edges {
            if begins {
                open.insert(answer)
            } else {
                open.remove(&answer)
            };
            let Ok(start) = u16::try_from(at) else { break };
            ports.put(start, open.first().copied());
        }
        ports
    }

    /// From this port on there is this answer.
    fn put(&mut self, start: u16, answer: Option<Answer>) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.answers.pop();
        }
        if self.answers.last() != Some(&answer) {
            self.starts.push(start);
            self.answers.push(answer);
        }
    }

    fn find(&self, port: u16) -> Option<Answer> {
        let after = self.starts.partition_point(|start| *start <= port);
        *self.answers.get(after.wrapping_sub(1))?
    }
}

fn mask(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0)
}

fn key(source: u32, destination: u32) -> u64 {
    u64::from(source) << 32 | u64::from(destination)
}

impl MarkRules {
    /// Prepares rules, the first being the one that wins.
    #[must_use]
    pub fn new(rules: &[MarkRule]) -> Self {
        let mut tuples: Vec<Tuple> = Vec::new();
        let mut groups: HashMap<(usize, u64), Vec<OnPorts>> = HashMap::new();
        for (priority, rule) in rules.iter().enumerate() {
            let (source_mask, destination_mask) = (mask(rule.source.length), mask(rule.destination.length));
            let same = |tuple: &Tuple| {
                (tuple.protocol, tuple.source_mask, tuple.destination_mask)
                    == (rule.protocol, source_mask, destination_mask)
            };
            let index = tuples.iter().position(same).unwrap_or_else(|| {
                let rules = HashMap::default();
                tuples.push(Tuple { protocol: rule.protocol, source_mask, destination_mask, best: priority, rules });
                tuples.len() - 1
            });
            let at = key(
                u32::from(rule.source.address) & source_mask,
                u32::from(rule.destination.address) & destination_mask,
            );
            groups.entry((index, at)).or_default().push((rule.ports.clone(), (priority, rule.mark)));
        }
        for ((index, at), rules) in groups {
            tuples[index].rules.insert(at, Ports::new(&rules));
        }
        Self { tuples }
    }

    /// True without any rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tuples.is_empty()
    }

    /// The mark of a packet; `port` is its destination port in host byte order. 0 is no mark.
    #[must_use]
    pub fn mark(&self, protocol: Protocol, source: Ipv4Addr, destination: Ipv4Addr, port: u16) -> u32 {
        let mut found = (usize::MAX, 0);
        // Tuples are in order of their best priority, so the search ends where none can win any more.
        for tuple in &self.tuples {
            if tuple.best > found.0 {
                break;
            }
            if tuple.protocol.is_some_and(|only| only != protocol) {
                continue;
            }
            let at = key(u32::from(source) & tuple.source_mask, u32::from(destination) & tuple.destination_mask);
            if let Some(best) = tuple.rules.get(&at).and_then(|ports| ports.find(port))
                && best.0 < found.0
            {
                found = best;
            }
        }
        found.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix() -> impl Strategy<Value = Prefix> {
        (0u32..4, prop::sample::select(vec![0u8, 8, 30, 31, 32]))
            .prop_map(|(low, length)| Prefix { address: Ipv4Addr::from(0x0A00_0000 | low), length })
    }

    fn rule() -> impl Strategy<Value = MarkRule> {
        let protocol = prop::option::of(prop::sample::select(vec![Protocol::Tcp, Protocol::Udp]));
        let port = || prop_oneof![4 => 0u16..6, 1 => Just(u16::MAX)];
        (protocol, prefix(), prefix(), port(), port(), 1u32..9).prop_map(
            |(protocol, source, destination, low, high, mark)| MarkRule {
                protocol,
                source,
                destination,
                ports: low..=high,
                mark,
            },
        )
    }

    fn covers(prefix: Prefix, address: Ipv4Addr) -> bool {
        (u32::from(prefix.address) ^ u32::from(address)) & mask(prefix.length) == 0
    }

    #[test]
    fn a_thousand_rules_cost_a_few_probes() {
        // Each combination of prefix lengths is a probe, each list of ports a binary search, whatever the number of rules.
        let rule = |n: u16, length| MarkRule {
            protocol: Some(Protocol::Tcp),
            source: Prefix::ANY,
            destination: Prefix { address: Ipv4Addr::from(0xC000_0000 | u32::from(n) << 8), length },
            ports: n..=n + 1,
            mark: u32::from(n) + 1,
        };
        let apart = MarkRules::new(&(0..1000).map(|n| rule(n, 24)).collect::<Vec<_>>());
        assert_eq!(apart.tuples.len(), 1);
        let together = MarkRules::new(&(0..1000).map(|n| rule(n, 0)).collect::<Vec<_>>());
        assert_eq!((together.tuples.len(), together.tuples[0].rules.len()), (1, 1));
        let client = Ipv4Addr::new(10, 0, 0, 1);
        for n in 0..1000u16 {
            let target = Ipv4Addr::from(0xC000_0000 | u32::from(n) << 8 | 7);
            assert_eq!(apart.mark(Protocol::Tcp, client, target, n), u32::from(n) + 1);
            assert_eq!(together.mark(Protocol::Tcp, client, target, n + 1), u32::from(n) + 1, "the first that fits");
        }
        assert_eq!(together.mark(Protocol::Tcp, client, client, 1002), 0);
    }

    proptest! {
        #[test]
        fn the_first_matching_rule_wins(
            rules in prop::collection::vec(rule(), 0..12),
            source in 0u32..5, destination in 0u32..5,
            port in prop_oneof![5 => 0u16..7, 1 => Just(u16::MAX)],
        ) {
            let (source, destination) =
                (Ipv4Addr::from(0x0A00_0000 | source), Ipv4Addr::from(0x0A00_0000 | destination));
            let expected = rules.iter().find(|rule| {
                rule.protocol.is_none_or(|only| only == Protocol::Tcp)
                    && covers(rule.source, source)
                    && covers(rule.destination, destination)
                    && rule.ports.contains(&port)
            });
            let got = MarkRules::new(&rules).mark(Protocol::Tcp, source, destination, port);
            prop_assert_eq!(got, expected.map_or(0, |rule| rule.mark));
        }
    }
}
