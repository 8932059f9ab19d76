//! The `virtual_server` blocks of a keepalived.conf (keepalived.conf(5)). Everything else there is keepalived's own
//! business, which it can go on minding: addresses by VRRP, and checks whose scripts call ipvsadm.

use super::Note;
use crate::command::{Command, Netmask, ServerSpec, ServiceName, ServiceSpec};
use forwarder::scheduler::SCHEDULERS;
use forwarder::service::{Method, Protocol, Tunnel, TunnelChecksum};
use std::collections::HashMap;
use std::net::IpAddr;

/// What a text says.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// What makes its services, each with its line.
    pub commands: Vec<(usize, Command)>,
    /// What has no counterpart.
    pub notes: Vec<Note>,
    /// What is wrong.
    pub mistakes: Vec<Note>,
}

/// A line of words, and the lines in its braces.
#[derive(Debug, Default)]
struct Item {
    line: usize,
    words: Vec<String>,
    block: Option<Vec<Item>>,
}

impl Item {
    fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }

    fn items(&self) -> &[Item] {
        self.block.as_deref().unwrap_or_default()
    }
}

pub(super) fn read(text: &str) -> Read {
    let mut reader = Reader::default();
    let items = reader.parse(text);
    for item in &items {
        if item.word(0) == "virtual_server_group" {
            let targets = item.items().iter().flat_map(|item| reader.targets(item)).collect();
            reader.groups.insert(item.word(1).to_owned(), targets);
        }
    }
    for item in &items {
        match item.word(0) {
            "virtual_server" => reader.virtual_server(item),
            "virtual_server_group" => {}
            "" => {}
            word if word.starts_with('$') || word.starts_with('@') || word == "include" => {
                let message = format!("'{word}' is not followed: give what keepalived makes of it");
                reader.read.mistakes.push(Note { line: item.line, message });
            }
            word => {
                let message = format!("{word} is keepalived's own business, and stays there");
                reader.read.notes.push(Note { line: item.line, message });
            }
        }
    }
    reader.read
}

#[derive(Default)]
struct Reader {
    read: Read,
    groups: HashMap<String, Vec<Target>>,
}

/// What a virtual server answers for; its protocol stands elsewhere.
#[derive(Clone, Copy)]
enum Target {
    Address(IpAddr, u16),
    Mark(u32),
}

impl Reader {
    fn wrong(&mut self, line: usize, message: impl Into<String>) {
        self.read.mistakes.push(Note { line, message: message.into() });
    }

    fn leave(&mut self, item: &Item, why: &str) {
        let message = format!("{} is left out: {why}", item.word(0));
        self.read.notes.push(Note { line: item.line, message });
    }

    /// The items of a text; what is in braces is below the line that they end.
    fn parse(&mut self, text: &str) -> Vec<Item> {
        let mut open: Vec<Item> = vec![Item { block: Some(Vec::new()), ..Item::default() }];
        let close = |open: &mut Vec<Item>| match (open.pop(), open.last_mut()) {
            (Some(item), Some(above)) => {
                above.block.get_or_insert_default().push(item);
                true
            }
            (Some(root), None) => {
                open.push(root);
                false
            }
            _ => false,
        };
        let mut wrong = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let mut item = Item { line, ..Item::default() };
            for word in words(text) {
                match word.as_str() {
                    "{" => {
                        // A brace may stand on a line of its own.
                        if item.words.is_empty()
                            && let Some(last) = open.last_mut().and_then(|above| above.block.as_mut()?.pop())
                            && last.block.is_none()
                        {
                            item = last;
                        }
                        open.push(Item { block: Some(Vec::new()), ..std::mem::take(&mut item) });
                        item.line = line;
                    }
                    "}" => {
                        if !item.words.is_empty()
                            && let Some(above) = open.last_mut()
                        {
                            above.block.get_or_insert_default().push(std::mem::take(&mut item));
                            item.line = line;
                        }
                        if !close(&mut open) {
                            wrong.push((line, "'}' closes nothing"));
                        }
                    }
                    _ => item.words.push(word),
                }
            }
            if !item.words.is_empty()
                && let Some(above) = open.last_mut()
            {
                above.block.get_or_insert_default().push(item);
            }
        }
        while open.len() > 1 {
            wrong.push((open.last().map_or(0, |item| item.line), "'{' is never closed"));
            close(&mut open);
        }
        wrong.into_iter().for_each(|(line, message)| self.wrong(line, message));
        open.pop().and_then(|root| root.block).unwrap_or_default()
    }

    /// A line of a group: an address or a range of them, or a mark.
    fn targets(&mut self, item: &Item) -> Vec<Target> {
        if item.word(0) == "fwmark" {
            return self.number(item, 1).map(Target::Mark).into_iter().collect();
        }
        let Some(port) = self.port(item, 1) else { return Vec::new() };
        let (first, last) = item.word(0).split_once('-').unwrap_or((item.word(0), ""));
        let range = match (first.parse(), last) {
            (Ok(first), "") => Some(vec![first]),
            (Ok(first), last) => range(first, last),
            (Err(_), _) => None,
        };
        if range.is_none() {
            self.wrong(item.line, format!("'{}' is no address and no range of addresses", item.word(0)));
        }
        range.unwrap_or_default().into_iter().map(|address| Target::Address(address, port)).collect()
    }

    fn virtual_server(&mut self, item: &Item) {
        let targets = match item.word(1) {
            "group" => match self.groups.get(item.word(2)) {
                Some(targets) => targets.clone(),
                None => return self.wrong(item.line, format!("there is no virtual_server_group {}", item.word(2))),
            },
            "fwmark" => self.number(item, 2).map(Target::Mark).into_iter().collect(),
            _ => self.endpoint(item).map(|(address, port)| Target::Address(address, port)).into_iter().collect(),
        };
        let mut protocol = Protocol::Tcp;
        let mut spec = ServiceSpec::new(ServiceName::Mark { mark: 1, ipv6: false });
        let mut defaults = ServerSpec::new([0, 0, 0, 0].into(), 0);
        let (mut ipv6, mut servers) = (false, Vec::new());
        for item in item.items() {
            match item.word(0) {
                "lb_algo" | "lvs_sched" => self.scheduler(item, &mut spec),
                "lb_kind" | "lvs_method" => self.method(item, &mut defaults),
                "protocol" => match item.word(1).to_ascii_uppercase().as_str() {
                    "TCP" => protocol = Protocol::Tcp,
                    "UDP" => protocol = Protocol::Udp,
                    "SCTP" => protocol = Protocol::Sctp,
                    other => self.wrong(item.line, format!("'{other}' is no protocol: TCP, UDP or SCTP")),
                },
                "persistence_timeout" if item.words.len() == 1 => spec.persistence = Some(360),
                "persistence_timeout" => spec.persistence = self.number(item, 1).filter(|seconds| *seconds > 0),
                "persistence_engine" => spec.engine = Some(item.word(1).to_owned()),
                "persistence_granularity" => match (item.word(1).parse(), item.word(1).parse()) {
                    (Ok(mask), _) => spec.netmask = Some(Netmask::Mask(mask)),
                    (_, Ok(prefix)) => spec.netmask = Some(Netmask::Prefix(prefix)),
                    _ => self.wrong(item.line, format!("'{}' is no mask", item.word(1))),
                },
                "ops" => spec.one_packet = true,
                "sh-fallback" | "mh-fallback" | "flag-1" => spec.flags.flag1 = true,
                "sh-port" | "mh-port" | "flag-2" => spec.flags.flag2 = true,
                "flag-3" => spec.flags.flag3 = true,
                "ip_family" => ipv6 = item.word(1) == "inet6",
                "weight" => self.weight(item, &mut defaults),
                "real_server" => servers.push(item),
                "sorry_server" => self.leave(item, "there is no spare server yet; the scheduler fo comes nearest"),
                other => self.leave(item, without(other)),
            }
        }
        if spec.persistence.is_none() {
            // Without persistence they say nothing.
            (spec.netmask, spec.engine) = (None, None);
        }
        for target in targets {
            let service = match target {
                Target::Address(address, port) => ServiceName::Address { protocol, address, port },
                Target::Mark(mark) => ServiceName::Mark { mark, ipv6: ipv6 || self.is_of_ipv6(&servers) },
            };
            self.read.commands.push((item.line, Command::AddService(ServiceSpec { service, ..spec.clone() })));
            for server in &servers {
                if let Some(server) = self.real_server(server, defaults, service) {
                    self.read.commands.push(server);
                }
            }
        }
    }

    fn is_of_ipv6(&self, servers: &[&Item]) -> bool {
        servers.first().is_some_and(|server| server.word(1).contains(':'))
    }

    fn real_server(&mut self, item: &Item, defaults: ServerSpec, service: ServiceName) -> Option<(usize, Command)> {
        let (address, port) = self.endpoint(item)?;
        let mut spec = ServerSpec { address, port, ..defaults };
        for item in item.items() {
            match item.word(0) {
                "weight" => self.weight(item, &mut spec),
                "lb_kind" | "lvs_method" => self.method(item, &mut spec),
                "uthreshold" => spec.upper = self.number(item, 1)?,
                "lthreshold" => spec.lower = self.number(item, 1)?,
                other => {
                    let note = Note { line: item.line, message: format!("{other} is left out: {}", without(other)) };
                    // A server of a group is read once for each of its addresses.
                    if !self.read.notes.contains(&note) {
                        self.read.notes.push(note);
                    }
                }
            }
        }
        Some((item.line, Command::AddServer { service, server: spec }))
    }

    fn scheduler(&mut self, item: &Item, spec: &mut ServiceSpec) {
        let name = item.word(1);
        if SCHEDULERS.iter().any(|known| known.name == name) {
            spec.scheduler = name.to_owned();
        } else {
            self.wrong(item.line, format!("there is no scheduler '{name}'"));
        }
    }

    fn method(&mut self, item: &Item, spec: &mut ServerSpec) {
        match item.word(1).to_ascii_uppercase().as_str() {
            "NAT" => spec.method = Method::Nat,
            "DR" => spec.method = Method::Dr,
            "TUN" => spec.method = self.tunnel(item),
            other => self.wrong(item.line, format!("'{other}' is no method: NAT, DR or TUN")),
        }
    }

    /// `TUN [type ipip|gue port PORT|gre] [nocsum|csum|remcsum]`.
    fn tunnel(&mut self, item: &Item) -> Method {
        let mut words = item.words.iter().skip(2).map(String::as_str);
        let (mut kind, mut port, mut checksum) = ("ipip", 0, TunnelChecksum::None);
        while let Some(word) = words.next() {
            match word {
                "type" => kind = words.next().unwrap_or_default(),
                "port" => port = words.next().and_then(|port| port.parse().ok()).unwrap_or_default(),
                "nocsum" => checksum = TunnelChecksum::None,
                "csum" => checksum = TunnelChecksum::Full,
                "remcsum" => checksum = TunnelChecksum::Remote,
                other => self.wrong(item.line, format!("'{other}' is nothing that a tunnel has")),
            }
        }
        Method::Tun(match kind {
            "gue" => Tunnel::Gue(port, checksum),
            "gre" => Tunnel::Gre(checksum),
            "ipip" => Tunnel::Ipip,
            other => {
                self.wrong(item.line, format!("'{other}' is no type of tunnel: ipip, gue or gre"));
                Tunnel::Ipip
            }
        })
    }

    fn weight(&mut self, item: &Item, spec: &mut ServerSpec) {
        if let Some(weight) = self.number(item, 1) {
            spec.weight = weight;
        }
    }

    fn endpoint(&mut self, item: &Item) -> Option<(IpAddr, u16)> {
        let Ok(address) = item.word(1).parse() else {
            self.wrong(item.line, format!("'{}' is no address", item.word(1)));
            return None;
        };
        Some((address, self.port(item, 2)?))
    }

    /// A port; every port if there is none.
    fn port(&mut self, item: &Item, index: usize) -> Option<u16> {
        match item.word(index) {
            "" => Some(0),
            word => {
                let port = word.parse().ok();
                if port.is_none() {
                    self.wrong(item.line, format!("'{word}' is no port (0 to 65535)"));
                }
                port
            }
        }
    }

    fn number(&mut self, item: &Item, index: usize) -> Option<u32> {
        let number = item.word(index).parse().ok();
        if number.is_none() {
            self.wrong(item.line, format!("'{}' is no number for {}", item.word(index), item.word(0)));
        }
        number
    }
}

/// Why something is left out.
fn without(word: &str) -> &'static str {
    let checks = word.ends_with("_CHECK") || word.ends_with("_GET");
    if checks || ["delay_loop", "retry", "warmup", "connect_timeout", "delay_before_retry"].contains(&word) {
        "rvsd does not check servers; a check's script can say `rvsadm server edit … weight 0`"
    } else {
        "it has no counterpart"
    }
}

/// The addresses from `first` to the one whose last part is `last`, as groups have them: 192.0.2.10-15.
fn range(first: IpAddr, last: &str) -> Option<Vec<IpAddr>> {
    match first {
        IpAddr::V4(first) => {
            let [a, b, c, from] = first.octets();
            let to: u8 = last.parse().ok()?;
            (from <= to).then(|| (from..=to).map(|d| IpAddr::from([a, b, c, d])).collect())
        }
        IpAddr::V6(first) => {
            let mut segments = first.segments();
            let (from, to) = (segments[7], u16::from_str_radix(last, 16).ok()?);
            let each = (from..=to).map(|last| {
                segments[7] = last;
                IpAddr::from(segments)
            });
            // So many are nobody's wish.
            (from <= to && to - from < 4096).then(|| each.collect())
        }
    }
}

/// The words of a line: apart by blanks, braces by themselves, quotes around what has blanks; `!` and `#` begin a
/// comment.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    for c in line.chars() {
        match (c, quote) {
            (c, Some(end)) if c == end => quote = None,
            (c, Some(_)) => word.push(c),
            ('!' | '#', None) => break,
            ('"' | '\'', None) => quote = Some(c),
            ('{' | '}', None) => {
                words.push(std::mem::take(&mut word));
                words.push(c.to_string());
            }
            (c, None) if c.is_whitespace() => words.push(std::mem::take(&mut word)),
            (c, None) => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}
