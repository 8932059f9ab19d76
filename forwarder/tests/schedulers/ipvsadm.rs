//! The few ipvsadm lines that recordings of schedulers use. The real grammar is in `control`; this one trusts its input.

use forwarder::service::{Family, Protocol, ServiceKey};
use std::net::{IpAddr, SocketAddr};

/// A parsed line. What was not given is none.
#[derive(Debug, Default)]
pub struct Line {
    /// `A`, `E`, `D`, `C`, `a`, `e`, `d`, or `set`.
    pub verb: String,
    pub service: Option<ServiceKey>,
    pub scheduler: Option<String>,
    pub flags: Vec<String>,
    /// `-p`, seconds.
    pub persistence: Option<u32>,
    /// `-M`, as an address.
    pub mask: Option<IpAddr>,
    pub one_packet: bool,
    pub server: Option<(IpAddr, Option<u16>)>,
    /// `m`, `i` or `g`.
    pub method: Option<char>,
    pub weight: Option<u32>,
    pub upper: u32,
    pub lower: u32,
    /// `--set TCP TCPFIN UDP`, seconds.
    pub timeouts: [u32; 3],
}

/// An address and port, or an address alone.
fn endpoint(text: &str) -> (IpAddr, Option<u16>) {
    match text.parse::<SocketAddr>() {
        Ok(both) => (both.ip(), Some(both.port())),
        Err(_) => (text.trim_matches(['[', ']']).parse().expect("an address"), None),
    }
}

/// Parses `ipvsadm …`; none for another command.
pub fn parse(line: &str) -> Option<Line> {
    let mut words = line.split_whitespace().peekable();
    if words.next()? != "ipvsadm" {
        return None;
    }
    let mut parsed = Line { verb: words.next()?.trim_start_matches('-').to_owned(), ..Line::default() };
    if parsed.verb == "set" {
        parsed.timeouts = [(); 3].map(|()| words.next().expect("three timeouts").parse().expect("seconds"));
        return Some(parsed);
    }
    while let Some(option) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| panic!("{option} needs a value: {line}"));
        match option {
            "-t" | "-u" => {
                let (address, port) = endpoint(value());
                let protocol = if option == "-t" { Protocol::Tcp } else { Protocol::Udp };
                parsed.service = Some(ServiceKey::Address(protocol, address, port.unwrap_or(0)));
            }
            "-f" => parsed.service = Some(ServiceKey::Mark(value().parse().expect("a mark"), Family::V4)),
            "-s" => parsed.scheduler = Some(value().to_owned()),
            "-b" => parsed.flags = value().split(',').map(str::to_owned).collect(),
            "-p" => {
                let seconds = words.next_if(|word| !word.starts_with('-'));
                parsed.persistence = Some(seconds.map_or(360, |seconds| seconds.parse().expect("seconds")));
            }
            "-M" => parsed.mask = Some(value().parse().expect("a mask")),
            "-o" => parsed.one_packet = true,
            "-r" => parsed.server = Some(endpoint(value())),
            "-m" | "-i" | "-g" => parsed.method = option.chars().last(),
            "-w" => parsed.weight = Some(value().parse().expect("a weight")),
            "-x" => parsed.upper = value().parse().expect("a threshold"),
            "-y" => parsed.lower = value().parse().expect("a threshold"),
            _ => panic!("{option} is not known here: {line}"),
        }
    }
    Some(parsed)
}
