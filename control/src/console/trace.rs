//! `trace`: what became of single packets, and why, as VPP's `trace` shows it.

use super::Console;
use super::grammar::Matched;
use crate::command::{
    Command, Error, Reply, TRACED, TracePage, TraceSpec, TraceStep, TracedConnection, TracedPacket, TracedTemplate,
};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};

impl Console<'_> {
    pub(super) fn add_trace(&mut self, said: &Matched) -> Result<(), Error> {
        let bad = |text: &str| Error::BadRequest { why: format!("'{text}' is no IPv4 address") };
        let client = said.argument("ADDRESS").map(|text| text.parse().map_err(|_| bad(text))).transpose()?;
        let target = said.argument("VIP").map(|text| target(text).ok_or_else(|| bad(text))).transpose()?;
        let count = said.argument("N").map_or(TRACED, |_| said.number("N").unwrap_or(u32::MAX));
        let (target, target_port) = target.map_or((None, None), |(address, port)| (Some(address), port));
        self.executor.execute(Command::AddTrace(TraceSpec { client, target, target_port, count })).map(|_| ())
    }

    pub(super) fn show_trace(&mut self, json: bool) -> Result<(), Error> {
        self.show(Command::Trace, json, |reply| match reply {
            Reply::Traced(page) => text(&page),
            _ => String::new(),
        })
    }
}

/// An address, perhaps with a port.
fn target(text: &str) -> Option<(Ipv4Addr, Option<u16>)> {
    match text.parse::<SocketAddrV4>() {
        Ok(end) => Some((*end.ip(), Some(end.port()).filter(|port| *port != 0))),
        Err(_) => Some((text.parse().ok()?, None)),
    }
}

/// All that was traced, and what is waited for.
#[must_use]
pub fn text(page: &TracePage) -> String {
    let mut text = String::new();
    for (number, packet) in (1..).zip(&page.packets) {
        let _ = writeln!(text, "Packet {number}");
        text += &self::packet(packet);
        text += "\n";
    }
    for spec in &page.waiting {
        let _ = writeln!(text, "waiting for {}{}", number_of(spec.count.into(), "packet"), of(spec));
    }
    if page.missed > 0 {
        let _ = writeln!(text, "{} passed by too fast", page.missed);
    }
    if text.is_empty() {
        text += "no packets are traced\n";
    }
    text
}

fn of(spec: &TraceSpec) -> String {
    let mut text = String::new();
    if let Some(client) = spec.client {
        let _ = write!(text, " of client {client}");
    }
    match (spec.target, spec.target_port) {
        (Some(target), Some(port)) => _ = write!(text, " of vip {target}:{port}"),
        (Some(target), None) => _ = write!(text, " of vip {target}"),
        (None, _) => {}
    }
    text
}

fn packet(packet: &TracedPacket) -> String {
    let mut text = String::new();
    for step in &packet.steps {
        let _ = writeln!(text, "{} worker {}", time(step.microseconds), step.worker);
        for line in [came(step)].into_iter().chain(found(step)).chain(step.changes.iter().cloned()).chain([done(step)])
        {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

fn number_of(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The time of the day, UTC.
fn time(microseconds: u64) -> String {
    let (seconds, rest) = (microseconds / 1_000_000 % 86_400, microseconds % 1_000_000);
    format!("{:02}:{:02}:{:02}.{rest:06}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// What was found and decided, in a line.
#[must_use]
pub fn decision(step: &TraceStep) -> String {
    found(step).into_iter().chain([done(step)]).collect::<Vec<_>>().join("; ")
}

fn came(step: &TraceStep) -> String {
    let TraceStep { port, frame, .. } = step;
    match (step.came.as_str(), step.queue, step.fragments) {
        (_, Some(queue), _) => format!("received by port {port}, queue {queue}: {frame}"),
        (_, _, Some(fragments)) => format!("put together from {}: {frame}", number_of(fragments.into(), "fragment")),
        ("handed_over", ..) => format!("handed over, came by port {port}: {frame}"),
        ("held", ..) => "was held".to_owned(),
        ("answered", ..) => format!("has waited, came by port {port}: {frame}"),
        _ => format!("sent by the kernel to port {port}: {frame}"),
    }
}

fn found(step: &TraceStep) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(connection) = &step.connection {
        let way = if connection.reply { "reply" } else { "request" };
        lines.push(format!("{way} of connection {}", self::connection(connection)));
    }
    if let Some(service) = &step.service {
        if step.connection.is_none() {
            lines.push("no connection".to_owned());
        }
        let mark = if service.mark == 0 { String::new() } else { format!(", by mark {}", service.mark) };
        let one = if service.one_packet { ", one packet" } else { "" };
        lines.push(format!("service {}{mark}, scheduler {}{one}", service.name, service.scheduler));
        match &service.template {
            Some(TracedTemplate::Server(server)) => lines.push(format!("the client's template names {server}")),
            Some(TracedTemplate::Worker(worker)) => lines.push(format!("worker {worker} keeps the client's template")),
            Some(TracedTemplate::None) => lines.push("the client has no template".to_owned()),
            None => {}
        }
    } else if step.connection.is_none()
        && !matches!(step.came.as_str(), "from_kernel" | "held")
        && step.decision != "handed_over"
    {
        let nothing = match step.kind.as_str() {
            "other" => Some("nothing for a director"),
            "icmp_error" => Some("about no connection"),
            "fragment" | "malformed" => None,
            _ => Some("no connection, no service"),
        };
        lines.extend(nothing.map(str::to_owned));
    }
    if let Some(server) = &step.one_packet_server {
        lines.push(format!("to {server}, and no connection is kept"));
    }
    match (&step.after, &step.connection) {
        (Some(after), _) if step.made => {
            let by = match &step.service {
                Some(service) if !after.by_template => format!("chosen by {}", service.scheduler),
                Some(service) if matches!(service.template, Some(TracedTemplate::None)) => {
                    format!("chosen by {}, template made", service.scheduler)
                }
                _ => "chosen by the template".to_owned(),
            };
            lines.push(format!("new connection {}, {by}", self::connection(after)));
        }
        (Some(after), Some(before)) if after.view.state != before.view.state => {
            let (old, new, expires) = (&before.view.state, &after.view.state, after.view.expires);
            lines.push(format!("state {old} -> {new}, expires in {expires} s"));
        }
        (None, Some(_)) => lines.push("the connection has ended".to_owned()),
        _ => {}
    }
    if step.pushed_out {
        lines.push("another connection gave way".to_owned());
    }
    if step.no_room {
        lines.push("no room for a connection".to_owned());
    }
    lines
}

fn connection(connection: &TracedConnection) -> String {
    let TracedConnection { view, forwarding, .. } = connection;
    let server = match forwarding.as_str() {
        "bypass" => "past the servers".to_owned(),
        forwarding => format!("to {}:{} ({forwarding})", view.server, view.server_port),
    };
    format!(
        "{} {}:{} -> {}:{} {server}, {}, expires in {} s",
        view.protocol, view.client, view.client_port, view.target, view.target_port, view.state, view.expires
    )
}

fn done(step: &TraceStep) -> String {
    let neighbour = step.neighbour.map(|address| format!(" to {address}")).unwrap_or_default();
    let port = step.out_port.map(|port| format!(" by port {port}")).unwrap_or_default();
    let worker = step.to_worker.map_or_else(|| "another worker".to_owned(), |worker| format!("worker {worker}"));
    let reason = step.reason.as_deref().unwrap_or_default();
    match step.decision.as_str() {
        "sent" => format!("sent{port}{neighbour}"),
        "sent_in_fragments" => format!("sent in fragments{port}{neighbour}"),
        "kernel" => format!("to the kernel's interface of port {}", step.port),
        "dropped" => format!("dropped: {reason}"),
        "answered" => {
            format!("dropped: {reason}; the sender is told{port}: {}", step.answer.as_deref().unwrap_or_default())
        }
        "held" => {
            let (neighbour, port) = (neighbour.trim_start_matches(" to "), port.replace(" by ", " on "));
            format!("held until the MAC address of {neighbour}{port} is known")
        }
        "collected" => "kept until all fragments are there".to_owned(),
        "handed_over" => format!("handed over to {worker}"),
        "asked" => format!("waits for {worker}, which keeps the client's template"),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{ConnectionView, TracedService};

    fn step() -> TraceStep {
        TraceStep {
            microseconds: 86_400_000_000 + 3_661_000_005,
            came: "received".to_owned(),
            queue: Some(1),
            frame: "FRAME".to_owned(),
            decision: "sent".to_owned(),
            out_port: Some(1),
            ..TraceStep::default()
        }
    }

    fn connected(state: &str) -> TracedConnection {
        let address = |text: &str| text.parse().expect("an address");
        TracedConnection {
            view: ConnectionView {
                protocol: "TCP".to_owned(),
                expires: 60,
                state: state.to_owned(),
                client: address("10.0.0.1"),
                client_port: 1000,
                target: address("10.0.0.9"),
                target_port: 80,
                server: address("10.1.0.2"),
                server_port: 8080,
                engine: None,
            },
            reply: false,
            forwarding: "nat".to_owned(),
            by_template: false,
        }
    }

    #[test]
    fn a_trail_is_told_line_by_line() {
        let service = |template| TracedService {
            name: "TCP 10.0.0.9:80".to_owned(),
            mark: 7,
            scheduler: "wlc".to_owned(),
            one_packet: false,
            template,
        };
        let first = TraceStep { decision: "handed_over".to_owned(), to_worker: Some(1), out_port: None, ..step() };
        let second = TraceStep {
            worker: 1,
            came: "handed_over".to_owned(),
            queue: None,
            service: Some(service(None)),
            made: true,
            after: Some(connected("SYN_RECV")),
            changes: vec!["TTL 64 -> 63".to_owned()],
            neighbour: Some(Ipv4Addr::new(10, 1, 0, 2)),
            ..step()
        };
        let waiting = TraceSpec { client: Some(Ipv4Addr::LOCALHOST), target: None, target_port: None, count: 1 };
        let packets = vec![TracedPacket { steps: vec![first, second.clone()] }];
        assert_eq!(
            text(&TracePage { packets, waiting: vec![waiting], missed: 2 }),
            "Packet 1\n\
             01:01:01.000005 worker 0\n  received by port 0, queue 1: FRAME\n  handed over to worker 1\n\
             01:01:01.000005 worker 1\n  handed over, came by port 0: FRAME\n  no connection\n  \
             service TCP 10.0.0.9:80, by mark 7, scheduler wlc\n  \
             new connection TCP 10.0.0.1:1000 -> 10.0.0.9:80 to 10.1.0.2:8080 (nat), SYN_RECV, expires in 60 s, chosen by wlc\n  \
             TTL 64 -> 63\n  sent by port 1 to 10.1.0.2\n\n\
             waiting for 1 packet of client 127.0.0.1\n2 passed by too fast\n"
        );
        assert_eq!(text(&TracePage::default()), "no packets are traced\n");
        let templated = TraceStep { service: Some(service(Some(TracedTemplate::None))), ..second };
        let by_template = TracedConnection { by_template: true, ..connected("NONE") };
        let told = decision(&TraceStep { after: Some(by_template), ..templated });
        assert!(
            told.contains("the client has no template; new connection") && told.contains("wlc, template made"),
            "{told}"
        );
        let change =
            TraceStep { connection: Some(connected("SYN_RECV")), after: Some(connected("ESTABLISHED")), ..step() };
        assert!(decision(&change).ends_with("; state SYN_RECV -> ESTABLISHED, expires in 60 s; sent by port 1"));
        let refused = TraceStep {
            decision: "answered".to_owned(),
            reason: Some("no_destination".to_owned()),
            answer: Some("ICMP".to_owned()),
            ..step()
        };
        assert_eq!(
            decision(&refused),
            "no connection, no service; dropped: no_destination; the sender is told by port 1: ICMP"
        );
    }

    #[test]
    fn a_target_may_have_a_port() {
        let address = Ipv4Addr::new(10, 0, 0, 1);
        assert_eq!(target("10.0.0.1"), Some((address, None)));
        assert_eq!(target("10.0.0.1:80"), Some((address, Some(80))));
        assert_eq!(target("10.0.0.1:0"), Some((address, None)));
        assert_eq!(target("10.0.0.1:80:"), None);
    }
}
