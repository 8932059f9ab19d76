//! What workers keep of a packet that is watched, as data.

use super::connection;
use crate::command::{TraceStep, TracedConnection, TracedPacket, TracedService, TracedTemplate};
use crate::packet::{changes, line};
use forwarder::conn::{Direction, Forward};
use forwarder::parse::Kind;
use forwarder::pipeline::{Found, Offer, Remembered, Verdict};
use forwarder::service::{Family, Protocol, ServiceKey};
use forwarder::worker::{Came, Trail};
use std::collections::HashMap;

/// A worker's part of a packet's way, which ended at that time, in microseconds since 1970.
#[must_use]
pub fn step(trail: &Trail, microseconds: u64) -> TraceStep {
    let (head, parsed) = (&trail.before, &trail.sight.parsed);
    let mut step = TraceStep {
        worker: trail.worker,
        microseconds,
        port: trail.port,
        length: head.length,
        frame: line(head.bytes(), head.length as usize),
        ..TraceStep::default()
    };
    let came = match trail.came {
        Came::Received(queue) => {
            step.queue = Some(queue);
            "received"
        }
        Came::HandedOver => "handed_over",
        Came::Whole(fragments) => {
            step.fragments = Some(fragments);
            "whole"
        }
        Came::Answered => "answered",
        Came::Held => "held",
        Came::FromKernel => "from_kernel",
    };
    came.clone_into(&mut step.came);
    let kind = match parsed.kind {
        Kind::Tcp => "tcp",
        Kind::Udp => "udp",
        Kind::Sctp => "sctp",
        Kind::IcmpError => "icmp_error",
        Kind::Fragment => "fragment",
        Kind::Kernel => "other",
        Kind::Malformed(_) => "malformed",
    };
    kind.clone_into(&mut step.kind);
    decide(&mut step, trail);
    // Who hands a packet on has not looked for what it belongs to, and what the kernel sends is at most a reply.
    let looked = !matches!(trail.verdict, Verdict::HandOver(_));
    let of_kernel = trail.came == Came::FromKernel;
    let before = trail.sight.found.filter(|found| looked && (!of_kernel || found.direction == Direction::Reply));
    step.connection = before.map(|found| connection_as_met(&found));
    step.made = trail.made && looked;
    let is_first = looked && !of_kernel && (before.is_none() || trail.made);
    step.service = trail.sight.offer.filter(|_| is_first).map(|offer| service_as_met(&offer));
    let after = trail.connection.filter(|_| before.is_some() || step.made);
    step.after = after.map(|found| connection_as_met(&found));
    step.one_packet_server = trail.one_packet_server.map(|server| server.to_string());
    (step.pushed_out, step.no_room) = (trail.pushed_out, trail.no_room);
    step
}

fn decide(step: &mut TraceStep, trail: &Trail) {
    let (mut reason, mut sent) = (trail.dropped, false);
    step.neighbour = trail.neighbour;
    let mut decision = match trail.verdict {
        Verdict::Transmit(port) | Verdict::Split { port, .. } => {
            (step.out_port, sent) = (Some(port), true);
            if matches!(trail.verdict, Verdict::Split { .. }) { "sent_in_fragments" } else { "sent" }
        }
        Verdict::Kernel => {
            sent = true;
            "kernel"
        }
        Verdict::Drop(why) => {
            reason = Some(why);
            "dropped"
        }
        Verdict::Answer(port, why) => {
            (step.out_port, reason) = (Some(port), Some(why));
            step.answer = Some(line(trail.after.bytes(), trail.after.length as usize));
            "answered"
        }
        Verdict::Hold(waiting) => {
            (step.out_port, step.neighbour, sent) = (Some(waiting.port), Some(waiting.neighbour), true);
            "held"
        }
        Verdict::Collect => "collected",
        Verdict::HandOver(worker) => {
            step.to_worker = Some(worker);
            "handed_over"
        }
        Verdict::Ask(_) => {
            step.to_worker = match trail.sight.offer.map(|offer| offer.template) {
                Some(Remembered::Elsewhere(worker)) => Some(worker),
                _ => None,
            };
            "asked"
        }
    };
    if trail.dropped.is_some() {
        decision = "dropped";
    }
    decision.clone_into(&mut step.decision);
    step.reason = reason.map(|reason| reason.name().to_owned());
    if sent {
        step.changes = changes(trail.before.bytes(), trail.after.bytes());
    }
}

fn connection_as_met(found: &Found) -> TracedConnection {
    let forwarding = match found.forward {
        _ if found.bypass => "bypass",
        Forward::Nat => "nat",
        Forward::Tun => "tun",
        Forward::Dr => "dr",
        Forward::Local => "local",
    };
    TracedConnection {
        view: connection(&found.view),
        reply: found.direction == Direction::Reply,
        forwarding: forwarding.to_owned(),
        by_template: found.templated,
    }
}

fn service_as_met(offer: &Offer) -> TracedService {
    let name = match offer.key {
        ServiceKey::Address(protocol, address, port) => {
            let protocol = match protocol {
                Protocol::Tcp => "TCP",
                Protocol::Udp => "UDP",
                Protocol::Sctp => "SCTP",
            };
            format!("{protocol} {}", std::net::SocketAddr::new(address, port))
        }
        ServiceKey::Mark(mark, Family::V4) => format!("FWM {mark}"),
        ServiceKey::Mark(mark, Family::V6) => format!("FWM {mark} IPv6"),
    };
    let template = match offer.template {
        Remembered::Nothing => None,
        Remembered::Nobody => Some(TracedTemplate::None),
        Remembered::Server(server) => Some(TracedTemplate::Server(server.to_string())),
        Remembered::Elsewhere(worker) => Some(TracedTemplate::Worker(worker)),
    };
    let (mark, one_packet) = (offer.mark, offer.one_packet);
    TracedService { name, mark, scheduler: offer.scheduler.to_owned(), one_packet, template }
}

/// Puts what several workers did for the same packets together: each step has its number, and that of the step before it
/// or 0.
#[must_use]
pub fn joined(steps: impl IntoIterator<Item = (u32, u32, TraceStep)>) -> Vec<TracedPacket> {
    let mut packets: Vec<TracedPacket> = Vec::new();
    let mut last: HashMap<u32, usize> = HashMap::new();
    let mut steps: Vec<_> = steps.into_iter().collect();
    // Numbers are given in the order of time.
    steps.sort_by_key(|step| step.0);
    for (number, follows, step) in steps {
        match last.get(&follows).copied() {
            Some(packet) => {
                packets[packet].steps.push(step);
                last.insert(number, packet);
            }
            None => {
                last.insert(number, packets.len());
                packets.push(TracedPacket { steps: vec![step] });
            }
        }
    }
    packets
}
